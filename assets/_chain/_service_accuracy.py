"""The accuracy that the service report holds to its promise: that of each version beside its own evaluation."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from assets._chain._paths import ChainPaths
from assets._chain._performance import REPORT_FILE
from assets._chain._performance_page import metric_of
from assets._chain._reference import live_metric, live_version
from assets._chain._retraining_windows import own_parts
from assets._chain._rollout_evidence import evaluation_of
from headwater.models import Metric, MetricName
from headwater.product import Inputs, Product

if TYPE_CHECKING:
    from headwater.monitoring import ServiceLevels


def accuracy_of(inputs: Inputs, product: Product, levels: "ServiceLevels") -> dict[str, Any] | None:
    """The newest judged window, and of each version that answered it how its own part did; None where no window is judged.

    Args:
        inputs: Of an asset that reads the performance report, and names release and evaluation as `previous`.
        product: The product.
        levels: Its promises.

    Returns:
        `window` (its first instant), `live` (the version that is live now, None without one), and `versions`: `value` and `high` of
        the accuracy, the `reference` that its evaluation found, the `problem`, or the `reason` why there is nothing to compare.
    """
    paths = ChainPaths(product=product.name)
    report = json.loads((inputs.folder(paths.performance_report) / REPORT_FILE).read_text())
    judged = [window for window in report["windows"] if window["overall"]["judged"]]
    if not judged:
        return None
    live = live_version(inputs, paths)
    versions = [
        {"version": version, **_compared(part, _reference(inputs, product, version, live), levels)}
        for version, part in sorted(own_parts(judged[-1]).items())
    ]
    return {"window": judged[-1]["start"], "live": live, "versions": versions}


def _reference(inputs: Inputs, product: Product, version: str, live: str | None) -> float | None:
    """The accuracy that a version's evaluation found: the one that it went live on, of an earlier one its newest."""
    if version == live:
        return live_metric(inputs, ChainPaths(product=product.name), MetricName.ACCURACY)
    metrics = evaluation_of(inputs, product, version).get("metrics", ())
    return next((one["value"] for one in metrics if one["name"] == MetricName.ACCURACY), None)


def _compared(part: Mapping[str, Any] | None, reference: float | None, levels: "ServiceLevels") -> dict[str, Any]:
    from headwater.monitoring import accuracy_below

    found: dict[str, Any] = {"value": None, "high": None, "reference": reference, "problem": None, "reason": ""}
    if part is None:
        return {**found, "reason": "several versions answered, and the report is not sliced by `version`"}
    if (raw := metric_of({"overall": part}, MetricName.ACCURACY)) is None:
        return {**found, "reason": part["reason"] or "its accuracy is not defined"}
    metric = Metric(name=raw["name"], value=raw["value"], low=raw["low"], high=raw["high"], n=raw["n"])
    found = {**found, "value": metric.value, "high": metric.high}
    if reference is None:
        return {**found, "reason": "its evaluation is not there"}
    if metric.high is None:
        return {**found, "reason": "it has too few days for an interval"}
    return {**found, "problem": accuracy_below(metric, reference=reference, levels=levels)}
