"""The service report: how the service kept its promises, day by day, which budget burns, how old the features are."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._paths import ChainPaths
from assets._chain._performance import REPORT_FILE as PERFORMANCE_FILE
from assets._chain._performance_page import metric_of
from assets._chain._reference import live_metric
from assets._chain._rules_of_requests import levels_of
from assets._chain._service_page import write_page
from headwater.lake import Kind
from headwater.models import Metric, MetricName
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Severity, Verdict

if TYPE_CHECKING:
    from headwater.features import FeatureView
    from headwater.monitoring import ServiceLevels

REPORT_FILE: Final = "service.json"
FORMAT: Final = 1
BUDGET: Final = timedelta(days=30)
"""The time for which a budget is given; days before it stay as they were reported."""
_KEPT: Final = 366
"""Days that the report tells, at most."""
_CLAIMS: Final = {
    "promises_were_kept": "The newest whole day broke no promise of latency or errors.",
    "no_budget_burns": "No budget burns too fast, over a long time and still over a short one.",
    "accuracy_holds": "The newest judged window is not certainly less accurate than the live version was when it was judged.",
    "features_are_fresh": "No feature view was too old at the newest prediction; a product without a declared freshness watches none.",
}


def service_report_asset(product: Product) -> Asset:
    """The service report of a product with a model."""
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.service_report,
        kind=Kind.FOLDER,
        compute=partial(_report, product=product),
        inputs=(paths.predictions, paths.service_failures, paths.performance_report),
        previous=(
            paths.service_report,
            paths.release,
            paths.evaluation,
            *dict.fromkeys(view.path for view in product.features),
            *dict.fromkeys(streamed.events for streamed in product.streams),
        ),
        identity=(REPORT_FILE,),
        checks=tuple(
            Check(name=name, judge=partial(_holds, name=name), blocking=False, severity=Severity.WARN, description=said)
            for name, said in _CLAIMS.items()
        ),
        description="Latency, errors and budgets of the service by day, the accuracy beside its promise, the age of the features.",
        kinds=("json",),
        declaration={**_declaration(product), **declared_values(ttl=[(v.name, v.ttl) for v in product.features])},
    )


def _declaration(product: Product) -> dict[str, Any]:
    return declared_values(levels=levels_of(product), zone=product.split.timezone)


def _report(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    from headwater.monitoring import Windowing, burning, service_windows

    paths, levels = ChainPaths(product=product.name), levels_of(product)
    answers = inputs.table(paths.predictions)
    now = _newest(answers, "received")
    recent = pl.col("received") > now - BUDGET
    rows = answers.filter(recent).select("received", "latency_us").collect()
    failures = inputs.table(paths.service_failures).filter(recent).select("received", "count").collect()
    windowing = Windowing(length=timedelta(days=1), zone=product.split.timezone)
    found = [window.to_json() for window in service_windows(rows, failures, levels=levels, windowing=windowing)]
    first = found[0]["start"] if found else now.isoformat()
    before = [window for window in _before(inputs, paths, product) if window["end"] <= first]
    windows = [*before, *found][-_KEPT:]
    document = {
        "format": FORMAT,
        "declaration": _declaration(product),
        "windows": windows,
        "burning": [one.to_json() for one in burning(rows, failures, levels=levels, now=now)],
        "accuracy": _accuracy(inputs, paths, levels),
        "views": _views(inputs, product, _newest(answers, "at")),
    }
    (folder / REPORT_FILE).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))
    write_page(folder, product.question, document)
    return Result(facts={"now": now.isoformat(), "problems": _problems(document, now)})


def _newest(rows: pl.LazyFrame, column: str) -> datetime:
    found: Any = rows.select(pl.col(column).max()).collect().item()
    return datetime(1970, 1, 1, tzinfo=UTC) if found is None else found


def _before(inputs: Inputs, paths: ChainPaths, product: Product) -> list[dict[str, Any]]:
    """The days of the report before, unless it was made by other rules."""
    standing = inputs.previous(paths.service_report)
    if standing is None:
        return []
    document = json.loads((standing.folder(paths.service_report) / REPORT_FILE).read_text())
    is_same = (document["format"], document["declaration"]) == (FORMAT, _declaration(product))
    return document["windows"] if is_same else []


def _accuracy(inputs: Inputs, paths: ChainPaths, levels: "ServiceLevels") -> dict[str, Any] | None:
    """The newest judged window beside what the live version reached when it was judged; None where there is nothing to compare."""
    from headwater.monitoring import accuracy_below

    report = json.loads((inputs.folder(paths.performance_report) / PERFORMANCE_FILE).read_text())
    judged = [window for window in report["windows"] if window["overall"]["judged"]]
    reference = live_metric(inputs, paths, MetricName.ACCURACY)
    if not judged or reference is None or (raw := metric_of(judged[-1], MetricName.ACCURACY)) is None:
        return None
    found = Metric(name=raw["name"], value=raw["value"], low=raw["low"], high=raw["high"], n=raw["n"])
    return {
        "window": judged[-1]["start"],
        "value": found.value,
        "reference": reference,
        "problem": accuracy_below(found, reference=reference, levels=levels),
    }


def _views(inputs: Inputs, product: Product, now: datetime) -> list[dict[str, Any]]:
    """How old the newest of each feature view is at the newest prediction, by event and not by wall time.

    Where the product declares no freshness, a view is stale when no row of it could be used any more: older than its `ttl`.
    """
    from headwater.monitoring import freshness

    newest = {
        view.name: found for view in product.features if (found := _newest_row(inputs, product, view)) is not None
    }
    limits = {view.name: view.ttl for view in product.features}
    return [one.to_json() for one in freshness(newest, levels=levels_of(product), now=now, limits=limits)]


def _newest_row(inputs: Inputs, product: Product, view: "FeatureView") -> datetime | None:
    """When the newest row of a view, or the newest event that carries it on, was known."""
    streams = [streamed.events for streamed in product.streams if streamed.view == view.name]
    moments = []
    for path, column in ((view.path, view.known_at), *((path, "known_at") for path in streams)):
        standing = inputs.previous(path)
        found: Any = (
            standing.table(path).select(pl.col(column).max()).collect().item() if standing is not None else None
        )
        if isinstance(found, datetime):
            moments.append(found if found.tzinfo else found.replace(tzinfo=UTC))
    return max(moments, default=None)


def _problems(document: Mapping[str, Any], now: datetime) -> dict[str, list[str]]:
    """What speaks against each claim."""
    over: Sequence[Mapping[str, Any]] = [
        window for window in document["windows"] if datetime.fromisoformat(window["end"]) <= now and window["judged"]
    ]
    accuracy = document["accuracy"]
    return {
        "promises_were_kept": [f"{over[-1]['start'][:10]}: {said}." for said in over[-1]["broken"]] if over else [],
        "no_budget_burns": [
            f"{one['budget']} ({one['rule']}): {one['long']:.1f} times as fast as it may, {one['short']:.1f} lately."
            for one in document["burning"]
        ],
        "accuracy_holds": [accuracy["problem"]] if accuracy and accuracy["problem"] else [],
        "features_are_fresh": [
            f"{view['name']}: {timedelta(seconds=view['age'])} old." for view in document["views"] if view["stale"]
        ],
    }


def _holds(audit: Audit, *, name: str) -> Verdict:
    problems = list(audit.facts["problems"][name])
    return Verdict(passed=not problems, facts={"problems": len(problems)}, description=" ".join(problems))
