"""Numbers with names and labels, and how Prometheus reads them. The names are a promise to dashboards and alerts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from headwater.errors import HeadwaterError

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

_PREFIX: Final = "headwater_"
CATALOGUE: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "sensor_up": ("1 while a sensor ticks as it should.", ("sensor",)),
    "sensor_pulse": ("1 for how a sensor does: alive, failing, stopped, dead.", ("sensor", "pulse")),
    "sensor_last_tick_timestamp_seconds": ("When a sensor's newest tick began.", ("sensor",)),
    "sensor_limit_seconds": ("Age of its newest tick from which on a sensor is dead.", ("sensor",)),
    "daemon_heartbeat_timestamp_seconds": ("When a part of Dagster's daemon was last heard of.", ("daemon",)),
    "watch_timestamp_seconds": ("When the watch last saw a part whole.", ("part",)),
    "watch_failed": ("1 while the watch cannot see a part, or read what stands at a path.", ("part",)),
    "lake_commit_timestamp_seconds": ("When the newest commit was made.", ()),
    "refused_builds": ("Branches that refused builds left.", ("product",)),
    "stale_assets": ("Assets that are out of date.", ("product",)),
    "drift_shifted_columns": (
        "Watched columns beyond the limits of drift: of the newest window in service, or before it of the test part.",
        ("product", "data"),
    ),
    "drift_watched_columns": ("Columns whose drift is watched there.", ("product", "data")),
    "window_drift_effect": (
        "Effect size of a column's drift in the newest window in service that is over.",
        ("product", "column"),
    ),
    "window_score_drift_effect": (
        "Effect size of the drift of the live version's scores in the newest window in service that is over.",
        ("product",),
    ),
    "window_scores_shifted": ("1 while those scores lie beyond the limits of drift.", ("product",)),
    "window_calibration_error_change": (
        "Calibration error of the newest judged window that the live version answered alone, less that of its evaluation.",
        ("product",),
    ),
    "window_calibration_bias_change": (
        "Mean score less the share of positives there, less that of the evaluation.",
        ("product",),
    ),
    "window_calibration_lost": ("1 while calibration is lost there.", ("product",)),
    "window_label_coverage": ("Share of the newest window's awaited labels that are known.", ("product",)),
    "window_metric": ("A metric of the newest judged window.", ("product", "metric")),
    "window_end_timestamp_seconds": ("End of the newest judged window.", ("product",)),
    "evaluation_metric": ("A metric of the newest evaluation on its test part.", ("product", "metric")),
    "version_accuracy_high": (
        "Upper end of the interval of a version's accuracy in its own part of the newest judged window.",
        ("product", "version"),
    ),
    "version_evaluated_accuracy": ("The accuracy that the version's own evaluation found.", ("product", "version")),
    "promised_errors": ("Share of requests that may fail, as declared.", ("product",)),
    "promised_latency_share": ("Share of answers that are promised in time, as declared.", ("product",)),
    "promised_accuracy_drop": (
        "Drop of the accuracy, relative to the version's evaluation, that is too much.",
        ("product",),
    ),
    "promised_min_requests": ("Requests below which no budget is judged, as declared.", ("product",)),
    "windows_judged": ("Windows with enough labels to be judged.", ("product",)),
    "release_info": ("1 for the live version.", ("product", "version", "policy")),
    "release_timestamp_seconds": ("When the release was last changed.", ("product",)),
    "release_traffic_share": ("Share of the answers that a version gives.", ("product", "version")),
    "release_held": ("1 while nothing new goes live by itself.", ("product",)),
    "release_rolled_back_versions": ("Versions that were rolled back and stay out.", ("product",)),
    "retraining_info": ("1 for the newest decision on training again.", ("product", "action")),
    "retraining_timestamp_seconds": ("As of when the newest decision on training again is.", ("product",)),
    "online_view_newest_timestamp_seconds": ("Newest event time of a view's published rows.", ("product", "view")),
    "log_waiting_records": (
        "Answers in the log, or records of failures, that the lake does not have, counted as far as it matters.",
        ("product", "log"),
    ),
    "log_oldest_seconds": ("Age of the oldest of them.", ("product", "log")),
    "log_longest_wait_seconds": ("So long one of them may wait for others, as declared.", ("product", "log")),
    "log_bytes": ("Bytes of the log.", ("product", "log")),
    "log_damaged_segments": ("Segments that were changed after they were written.", ("product", "log")),
    "disk_free_bytes": ("Bytes that can be written on the disk of the state folder.", ()),
    "disk_size_bytes": ("Bytes of the disk of the state folder.", ()),
}
"""By name, without its prefix: what a number says, and its labels."""


class UnknownSampleError(HeadwaterError):
    """A number whose name or labels are not in the catalogue."""

    def __init__(self, *, name: str, labels: tuple[str, ...]) -> None:
        said = ", ".join(labels) or "no labels"
        super().__init__(
            f"There is no number {name!r} with {said}. Add it to CATALOGUE in headwater/watching/_samples.py."
        )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One number.

    Attributes:
        name: Its name in the catalogue.
        value: The number; making one of anything else raises ValueError or TypeError.
        labels: Values of its labels; what is no text, or none that UTF-8 has, raises TypeError or ValueError.
    """

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        float(self.value)  # what is no number would cost the whole exposition, as would what is no text
        "".join(self.labels.values()).encode()
        _, labels = CATALOGUE.get(self.name, ("", ("",)))
        if tuple(self.labels) != labels:
            raise UnknownSampleError(name=self.name, labels=tuple(self.labels))


def exposition(samples: Iterable[Sample]) -> bytes:
    """Samples in Prometheus' text format, each name once with its help."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Collector:
        def collect(self) -> "Iterator[GaugeMetricFamily]":
            yield from _families(samples)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return generate_latest(registry)


def _families(samples: Iterable[Sample]) -> "Iterator[GaugeMetricFamily]":
    from prometheus_client.core import GaugeMetricFamily

    by_name: dict[str, GaugeMetricFamily] = {}
    for sample in samples:
        said, labels = CATALOGUE[sample.name]
        family = by_name.setdefault(sample.name, GaugeMetricFamily(_PREFIX + sample.name, said, labels=labels))
        family.add_metric(list(sample.labels.values()), sample.value)
    yield from by_name.values()
