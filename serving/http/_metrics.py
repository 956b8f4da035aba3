"""What the service counts, for Prometheus. The names are a promise to dashboards and alerts."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PROCESSES: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where workers share their metrics, as prometheus_client names it."""
_ANSWERED: Final = 200
_FAILURES: Final = (429, 500, 503, 504)
_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The service's counters, each registry's own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers them."""
        self.registry = registry
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram, Histogram]] = {}
        self._promised: dict[str, tuple[float, Counter]] = {}
        self._answered: dict[str, Counter] = {}
        self._positive: dict[tuple[str, str], Counter] = {}
        self.requests = Counter(
            "headwater_requests_total", "Requests by how they ended.", ["product", "version", "code"], registry=registry
        )
        self.seconds = Histogram(
            "headwater_request_seconds",
            "Of requests with one instance: from when all of it was there to the answer, the log included.",
            ["product"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "headwater_batch_seconds",
            "The same of requests with several instances, of which nobody promised how long they take.",
            ["product"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.slow = Counter(
            "headwater_slow_requests_total", "Requests with one instance that took longer than their product promises.",
            ["product"], registry=registry,
        )  # fmt: skip
        self.sync = Histogram(
            "headwater_log_sync_seconds",
            "Time that the prediction log took for one turn.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch = Histogram(
            "headwater_batch_instances",
            "Instances answered in one turn.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 1_000),
            registry=registry,
        )
        self.refused = Counter(
            "headwater_refused_total", "Requests refused because too many waited.", registry=registry
        )
        self.late = Counter(
            "headwater_late_total", "Requests that were not answered by their deadline.", registry=registry
        )
        self.defaulted = Counter(
            "headwater_defaulted_views_total",
            "Answers in which a view's features read as defaults: all of them (unknown, stale), or those that are null (missing).",
            ["product", "view", "reason"],
            registry=registry,
        )
        self.trained_default = _gauge(
            registry,
            "headwater_trained_default_share",
            "Share of the rows that the live version was trained with that read nothing but defaults of a view.",
            ["product", "view"],
        )
        self.positives = Counter(
            "headwater_positive_decisions_total", "Positive decisions.", ["product", "version"], registry=registry
        )
        self.answers = Counter(
            "headwater_answers_total", "Instances that were answered, of a batch each.", ["product"], registry=registry
        )
        self.unlogged = Counter(
            "headwater_unlogged_answers_total",
            "Answers that were given although the log had no room for them.",
            ["product"],
            registry=registry,
        )
        self.log_full = _gauge(
            registry, "headwater_log_full", "1 while the prediction log has no room for another answer.", ["product"]
        )
        self.retired = Counter(
            "headwater_retired_calls_total", "Calls of retired versions, which were refused.", ["product", "version", "caller"],
            registry=registry,
        )  # fmt: skip
        self.not_served = Counter(
            "headwater_not_served_calls_total", "Calls by name of versions that were released once and are not served, which were refused.",
            ["product", "version", "caller"], registry=registry,
        )  # fmt: skip
        self.deployed = _gauge(
            registry, "headwater_deployment_info", "1 for what is live.", ["product", "version", "policy", "commit"]
        )
        self.trouble = _gauge(
            registry,
            "headwater_release_not_served",
            "1 while the newest release of a product cannot be served.",
            ["product"],
        )
        self.lake_away = _gauge(registry, "headwater_lake_away", "1 while the lake cannot be read.")
        self.refreshed = _gauge(registry, "headwater_refreshed_timestamp_seconds", "When the lake was last read.")
        self.ready = _gauge(registry, "headwater_ready", "1 while the service is ready.")

    def begin(self, product: str, versions: Iterable[str], views: Mapping[str, float], *, promised: float) -> None:
        """Shows what has not happened yet as zero, so that the first time is an increase.

        Args:
            product: The product.
            versions: What may answer, as answers name it.
            views: What is looked up, with the share of the training's rows that read nothing but its defaults.
            promised: Seconds within which an answer is promised.
        """
        self._promised[product] = (promised, self.slow.labels(product))
        for status in _FAILURES:
            self.of_request(product, "", status)
        for view, share in views.items():
            self.defaulted.labels(product, view, "stale")
            self.trained_default.labels(product, view).set(share)
        for version in versions:
            self.of_request(product, version, _ANSWERED)
            self.positives.labels(product, version)
        self.unlogged.labels(product)
        self.of_answers(product)
        self.log_full.labels(product)

    def of_request(self, product: str, version: str, status: int) -> tuple[Counter, Histogram, Histogram]:
        """The counter of requests that ended so, and the histograms of single instances and of batches; finding them by their labels
        takes longer than counting."""
        key = (product, version, status)
        found = self._known.get(key)
        if found is None:
            counter = self.requests.labels(product, version, str(status))
            found = self._known[key] = (counter, self.seconds.labels(product), self.batch_seconds.labels(product))
        return found

    def note_request(self, product: str, version: str, status: int, seconds: float, *, is_batch: bool = False) -> None:
        """Counts a request that ended; a batch is one, and never slow."""
        counter, single, batch = self.of_request(product, version, status)
        counter.inc()
        (batch if is_batch else single).observe(seconds)
        promised = self._promised.get(product)
        if promised is not None and not is_batch and seconds > promised[0]:
            promised[1].inc()

    def of_answers(self, product: str) -> Counter:
        """The counter of a product's answers; finding it by its label takes longer than counting."""
        found = self._answered.get(product)
        if found is None:
            found = self._answered[product] = self.answers.labels(product)
        return found

    def of_positives(self, product: str, version: str) -> Counter:
        """The counter of a version's positive decisions, likewise."""
        found = self._positive.get((product, version))
        if found is None:
            found = self._positive[product, version] = self.positives.labels(product, version)
        return found


def show(gauge: Gauge, values: Mapping[tuple[str, ...], int]) -> None:
    """Sets a gauge by its labels. Several workers share what no label is ever taken out of: what went reads 0."""
    if PROCESSES not in os.environ:
        gauge.clear()
    for labels, value in values.items():
        gauge.labels(*labels).set(value)


def _gauge(registry: CollectorRegistry, name: str, said: str, labels: Sequence[str] = ()) -> Gauge:
    """A gauge of which the greatest value of all living workers is shown."""
    return Gauge(name, said, labels, registry=registry, multiprocess_mode="livemax")
