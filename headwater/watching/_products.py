"""What the lake says of products, read again only where it changed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from headwater.errors import HeadwaterError
from headwater.lake import Lake, Snapshot
from headwater.materialize import record_of
from headwater.names import DECISION_FACT, METRICS_FACT
from headwater.watching._samples import Sample

REPORT_FILE: Final = "service.json"
"""The file of a service report."""
ROLLED_BACK: Final = "rolled back"
"""How the reason begins for which a release bars a version that was live."""
TEST_PART, SERVICE = "test_part", "service"
"""Whose drift a number is: that of the newest rows of the training set, frozen until the next training, or of what is served."""
MALFORMED: Final = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a file that anybody may have published can raise."""
_DRIFT: Final = ("drift_shifted_columns", "drift_watched_columns")
_Read: TypeAlias = Callable[[Lake, Snapshot, str, str], Iterator[Sample]]


class ProductReader:
    """Reads the newest commit; of what stands there as before, nothing is read twice.

    Attributes:
        unreadable: Path to the reason why what stands there cannot be read, as of the newest look: it costs its own numbers and no others.
    """

    def __init__(self, lake: Lake, products: Sequence[str], *, branch: str) -> None:
        """Prepares.

        Args:
            lake: The lake.
            products: Names of the products.
            branch: Whose newest commit counts.
        """
        self._lake, self._products, self._branch = lake, tuple(products), branch
        self._held: dict[str, tuple[str, tuple[Sample, ...]]] = {}
        self._refusals: dict[str, str] = {}
        self.unreadable: Mapping[str, str] = {}

    def read(self) -> Iterator[Sample]:
        """Samples of every product; `watch_failed` with the path as its part of what cannot be read.

        Raises:
            HeadwaterError: The lake cannot be read.
        """
        now = self._lake.at(self._branch)
        yield Sample(name="lake_commit_timestamp_seconds", value=now.commit.created.timestamp())
        refused, unreadable = self._refused(), dict[str, str]()
        for product in self._products:
            yield Sample(name="refused_builds", value=refused.count(product), labels={"product": product})
            found: list[Sample] = []
            for name, read in _READERS.items():
                if not now.has(path := f"{product}/{name}"):
                    continue
                try:
                    found += self._once(path, read, now, product)
                except (*MALFORMED, OSError, HeadwaterError) as error:
                    unreadable[path] = f"{type(error).__name__}: {error}"
            yield from _newest_drift(found)
        yield from (Sample(name="watch_failed", value=1, labels={"part": path}) for path in unreadable)
        self.unreadable = unreadable

    def _once(self, path: str, read: _Read, now: Snapshot, product: str) -> tuple[Sample, ...]:
        version = now.entry(path).data_version
        held = self._held.get(path)
        if held is None or held[0] != version:
            held = self._held[path] = (version, tuple(read(self._lake, now, path, product)))
        return held[1]

    def _refused(self) -> list[str]:
        """The product of each branch that a refused build left."""
        for branch in self._lake.branches():
            if branch.commit not in self._refusals:
                record = self._lake.resolve(branch.commit).provenance if branch.name != self._branch else None
                refused = record is not None and record.action == "refuse" and record.outputs
                self._refusals[branch.commit] = record.outputs[0].path.split("/")[0] if record and refused else ""
        there = {branch.commit for branch in self._lake.branches()}
        self._refusals = {commit: product for commit, product in self._refusals.items() if commit in there}
        return list(self._refusals.values())


def _drift(lake: Lake, now: Snapshot, path: str, product: str) -> Iterator[Sample]:
    facts = _facts(lake, now, path)
    if "shifted" in facts:
        yield from _drift_of(product, TEST_PART, shifted=len(facts["shifted"]), columns=facts["columns"])


def _drift_of(product: str, data: str, *, shifted: int, columns: int) -> Iterator[Sample]:
    for name, value in zip(_DRIFT, (shifted, columns), strict=True):
        yield Sample(name=name, value=value, labels={"product": product, "data": data})


def _newest_drift(samples: Sequence[Sample]) -> Iterator[Sample]:
    """All samples, but of drift only what is served once that is known: the test part says nothing of today any more."""
    is_served = any(sample.name in _DRIFT and sample.labels["data"] == SERVICE for sample in samples)
    for sample in samples:
        if not (is_served and sample.name in _DRIFT and sample.labels["data"] == TEST_PART):
            yield sample


def _served_drift(report: Mapping[str, Any], product: str) -> Iterator[Sample]:
    """The drift of the newest window that is over and had enough rows, and what moved in it; a report of an older Headwater names no columns."""
    until = datetime.fromisoformat(report["now"])
    for window in reversed(report["windows"]):
        if window.get("drift") and "shifted" in window and datetime.fromisoformat(window["end"]) <= until:
            shifted, columns = len(window["shifted"]), len(window["drift"])
            yield from _drift_of(product, SERVICE, shifted=shifted, columns=columns)
            for column, effect in window["drift"].items():
                yield Sample(name="window_drift_effect", value=effect, labels={"product": product, "column": column})
            return


def _in_service(report: Mapping[str, Any], product: str) -> Iterator[Sample]:
    """What the report found of scores and calibration in the newest window that says it; an older Headwater's found nothing."""
    found, labels = report.get("in_service", {}), {"product": product}
    scores, calibration = found.get("scores", {}), found.get("calibration", {})
    if scores.get("window"):
        yield Sample(name="window_score_drift_effect", value=scores["effect"], labels=labels)
        yield Sample(name="window_scores_shifted", value=scores["shifted"], labels=labels)
    if calibration.get("window"):
        yield Sample(name="window_calibration_lost", value=calibration["lost"], labels=labels)
        for name, change in calibration["changes"].items():
            yield Sample(name=f"window_calibration_{name}_change", value=change["value"], labels=labels)


def _performance(lake: Lake, now: Snapshot, path: str, product: str) -> Iterator[Sample]:
    report = _json(now, path, "performance.json")
    windows = report["windows"]
    yield from _served_drift(report, product)
    yield from _in_service(report, product)
    judged = [window for window in windows if window["overall"]["judged"]]
    yield Sample(name="windows_judged", value=len(judged), labels={"product": product})
    if windows and windows[-1]["overall"]["coverage"] is not None:
        coverage = windows[-1]["overall"]["coverage"]
        yield Sample(name="window_label_coverage", value=coverage, labels={"product": product})
    if judged:
        yield Sample(
            name="window_end_timestamp_seconds", value=_seconds(judged[-1]["end"]), labels={"product": product}
        )
        for metric in judged[-1]["overall"]["metrics"]:
            if metric["value"] is not None:
                labels = {"product": product, "metric": metric["name"]}
                yield Sample(name="window_metric", value=metric["value"], labels=labels)


def _evaluation(lake: Lake, now: Snapshot, path: str, product: str) -> Iterator[Sample]:
    for name, metric in _facts(lake, now, path).get(METRICS_FACT, {}).items():
        if metric["value"] is not None:
            yield Sample(name="evaluation_metric", value=metric["value"], labels={"product": product, "metric": name})


def _promises(lake: Lake, now: Snapshot, path: str, product: str) -> Iterator[Sample]:
    """What the product declares, and how each version did beside its own evaluation; an older Headwater's report says less."""
    report, labels = _json(now, path, REPORT_FILE), {"product": product}
    levels = report.get("declaration", {}).get("levels", {})
    for name in ("errors", "latency_share", "accuracy_drop", "min_requests"):
        if name in levels:
            yield Sample(name=f"promised_{name}", value=levels[name], labels=labels)
    for one in (report.get("accuracy") or {}).get("versions", ()):
        if one["high"] is not None and one["reference"] is not None:
            found = {**labels, "version": one["version"]}
            yield Sample(name="version_accuracy_high", value=one["high"], labels=found)
            yield Sample(name="version_evaluated_accuracy", value=one["reference"], labels=found)


def _release(lake: Lake, now: Snapshot, path: str, product: str) -> Iterator[Sample]:
    said, labels = _json(now, path, "release.json"), {"product": product}
    policy = said["policy"] if isinstance(said["policy"], str) else said["policy"]["kind"]
    yield Sample(
        name="release_info", value=1, labels={"product": product, "version": said["version"], "policy": policy}
    )
    for version, share in said.get("traffic", {}).items():
        yield Sample(name="release_traffic_share", value=share, labels={"product": product, "version": version})
    back = sum(reason.startswith(ROLLED_BACK) for reason in said.get("barred", {}).values())
    yield Sample(name="release_rolled_back_versions", value=back, labels=labels)
    yield Sample(name="release_held", value=bool(said.get("held")), labels=labels)
    record = record_of(lake, now, path)
    if record is not None:
        yield Sample(name="release_timestamp_seconds", value=record.commit.created.timestamp(), labels=labels)


def _retraining(lake: Lake, now: Snapshot, path: str, product: str) -> Iterator[Sample]:
    decision = _facts(lake, now, path).get(DECISION_FACT)
    if decision is not None:
        labels = {"product": product, "action": str(decision["action"])}
        yield Sample(name="retraining_info", value=1, labels=labels)
        seconds = _seconds(decision["now"])
        yield Sample(name="retraining_timestamp_seconds", value=seconds, labels={"product": product})


def _online(lake: Lake, now: Snapshot, path: str, product: str) -> Iterator[Sample]:
    for view in _json(now, path, "online.json")["views"]:
        if view.get("newest"):  # rows that always held, such as a register's, stand at 1970 and have no age
            labels = {"product": product, "view": view["name"]}
            yield Sample(name="online_view_newest_timestamp_seconds", value=view["newest"] / 1e6, labels=labels)


_READERS: Final[Mapping[str, _Read]] = {
    "drift_report": _drift,
    "performance_report": _performance,
    "evaluation": _evaluation,
    "release": _release,
    "retraining": _retraining,
    "online_features": _online,
    "service_report": _promises,
}


def _facts(lake: Lake, now: Snapshot, path: str) -> Mapping[str, Any]:
    """What the build that made it told, empty for what no build made."""
    record = record_of(lake, now, path)
    return record.output.facts if record is not None and record.output is not None else {}


def _json(now: Snapshot, path: str, file: str) -> Any:
    return json.loads((now.folder(path) / file).read_text(encoding="utf-8"))


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
