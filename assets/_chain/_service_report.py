"""The service report: how the service kept its promises, day by day, which budget burns, how old the features are and how often they were not there."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._paths import ChainPaths
from assets._chain._plays import counted
from assets._chain._rules_of_requests import levels_of
from assets._chain._served import served_of
from assets._chain._service_accuracy import accuracy_of
from assets._chain._service_page import write_page
from headwater.lake import Kind
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Severity, Verdict

if TYPE_CHECKING:
    from headwater.features import FeatureView

REPORT_FILE: Final = "service.json"
FORMAT: Final = 1
BUDGET: Final = timedelta(days=30)
"""The time for which a budget is given; days before it stay as they were reported."""
RECEIVED: Final = "received"
_ANSWERS: Final = ("request_id", RECEIVED, "latency_us", "log_us", "variant")
"""What is read of the predictions; a table of an older Headwater has no `log_us`."""
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT: Final = 366
"""Days that the report tells, at most."""
_CLAIMS: Final = {
    "promises_were_kept": "The newest whole day broke no promise of latency or errors.",
    "no_budget_burns": "No budget burns too fast, over a long time and still over a short one.",
    "accuracy_holds": "No version did certainly worse in its own part of the newest judged window than when it was evaluated.",
    "features_are_served": "In the last 24 hours no version read defaults for a view in certainly more than 5% of the answers above what its training did.",
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
            paths.model,
            paths.evaluation,
            *dict.fromkeys(view.path for view in product.features),
            *dict.fromkeys(streamed.events for streamed in product.streams),
        ),
        identity=(REPORT_FILE,),
        checks=tuple(
            Check(name=name, judge=partial(_holds, name=name), blocking=False, severity=Severity.WARN, description=said)
            for name, said in _CLAIMS.items()
        ),
        description="Latency, errors and budgets of the service by day, the accuracy beside its promise, what of the features was served, and their age.",
        kinds=("json",),
        declaration={**_declaration(product), **declared_values(ttl=[(v.name, v.ttl) for v in product.features])},
    )


def _declaration(product: Product) -> dict[str, Any]:
    return declared_values(levels=levels_of(product), zone=product.split.timezone)


def _report(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    from headwater.monitoring import Windowing, burning, service_windows

    paths, levels = ChainPaths(product=product.name), levels_of(product)
    answers, failures = inputs.table(paths.predictions), inputs.table(paths.service_failures)
    now = _now(inputs.started, answers, failures)
    before = _before(inputs, paths, product)
    since = _since(inputs, product, before, now)
    # A rule may look further back than the days that are told.
    reach = min(since, now - max(BUDGET, *(rule.long for rule in levels.rules)))
    seen = pl.col(RECEIVED).is_between(reach, now)
    there = answers.collect_schema()
    rows = answers.filter(seen).select(name for name in _ANSWERS if name in there).collect()
    failed = failures.filter(seen).select(RECEIVED, "count").collect()
    found = service_windows(
        *(frame.filter(pl.col(RECEIVED) >= since) for frame in (rows, failed)),
        levels=levels, windowing=Windowing(length=_DAY, zone=product.split.timezone),
    )  # fmt: skip
    kept = [one for one in before if not found or datetime.fromisoformat(one["end"]) <= found[0].start]
    ahead = _ahead(inputs.started, answers) + _ahead(inputs.started, failures)
    document = {
        "format": FORMAT,
        "ahead": ahead,
        "declaration": _declaration(product),
        "windows": [*kept, *(window.to_json() for window in found)][-_KEPT:],
        "burning": [one.to_json() for one in burning(rows, failed, levels=levels, now=now)],
        "accuracy": accuracy_of(inputs, product, levels),
        "served": served_of(inputs, product, answers, now=now, levels=levels),
        "views": _views(inputs, product, _newest_asked(counted(product, answers), inputs.started)),
    }
    (folder / REPORT_FILE).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))
    write_page(folder, product.question, document)
    return Result(facts={"now": now.isoformat(), "ahead": ahead, "problems": _problems(document, now)})


def _now(started: datetime, answers: pl.LazyFrame, failures: pl.LazyFrame) -> datetime:
    """As of when: the newest request that was answered or failed. What a wrong clock says came in after the build began is none."""
    past = pl.col(RECEIVED) <= started
    moments = (_newest(rows.filter(past), RECEIVED) for rows in (answers, failures))
    return max((_EPOCH, *(moment for moment in moments if moment is not None)))


def _newest_asked(answers: pl.LazyFrame, started: datetime) -> datetime:
    """The newest instant that a question was about and came in at: one about tomorrow makes no feature of today old."""
    past = answers.filter(pl.col(RECEIVED) <= started)
    return _newest(past.select(pl.min_horizontal("at", RECEIVED).alias("at")), "at") or _EPOCH


def _ahead(started: datetime, rows: pl.LazyFrame) -> int:
    """Rows that came in, by the service's clock, after the build began: told when that time has come."""
    found: Any = rows.filter(pl.col(RECEIVED) > started).select(pl.len()).collect().item()
    return int(found)


def _since(inputs: Inputs, product: Product, before: Sequence[Mapping[str, Any]], now: datetime) -> datetime:
    """From when on days are told anew: whole days, of which every row is still there.

    Those of the last `BUDGET`, and from the newest day of the report before on: that one may not have been over.
    """
    first = now - BUDGET
    if before:
        first = min(first, datetime.fromisoformat(before[-1]["start"]))
    first = max(first, now - _KEPT * _DAY)
    if product.serving.keep is not None:
        first = max(first, inputs.started - product.serving.keep)
    return _midnight(first, product.split.timezone)


def _midnight(moment: datetime, zone: str) -> datetime:
    """The first one at or after an instant."""
    from headwater.monitoring import Windowing

    (day,) = Windowing(length=_DAY, zone=zone).spans(moment, moment)
    return day.start if day.start == moment else day.end


def _newest(rows: pl.LazyFrame, column: str) -> datetime | None:
    found: Any = rows.select(pl.col(column).max()).collect().item()
    moment: datetime | None = found
    return moment


def _before(inputs: Inputs, paths: ChainPaths, product: Product) -> list[dict[str, Any]]:
    """The days of the report before, unless it was made by other rules."""
    standing = inputs.previous(paths.service_report)
    if standing is None:
        return []
    document = json.loads((standing.folder(paths.service_report) / REPORT_FILE).read_text())
    is_same = (document["format"], document["declaration"]) == (FORMAT, _declaration(product))
    return document["windows"] if is_same else []


def _views(inputs: Inputs, product: Product, now: datetime) -> list[dict[str, Any]]:
    """How old the newest of each feature view is at the newest prediction, by event and not by wall time.

    A view that was never built is left out; one without a row is stale. Where the product declares no freshness, a view is stale
    when no row of it could be used any more: older than its `ttl`.
    """
    from headwater.monitoring import freshness

    newest = {
        view.name: _newest_row(inputs, product, view) for view in product.features if _is_built(inputs, product, view)
    }
    limits = {view.name: view.ttl for view in product.features}
    return [one.to_json() for one in freshness(newest, levels=levels_of(product), now=now, limits=limits)]


def _events(product: Product, view: "FeatureView") -> list[str]:
    return [streamed.events for streamed in product.streams if streamed.view == view.name]


def _is_built(inputs: Inputs, product: Product, view: "FeatureView") -> bool:
    return any(inputs.previous(path) is not None for path in (view.path, *_events(product, view)))


def _newest_row(inputs: Inputs, product: Product, view: "FeatureView") -> datetime | None:
    """When the newest row of a view, or the newest event that carries it on, was known; None without any.

    One that is known in the future, such as the year 9999, says nothing of how old the others are.
    """
    from assets._chain._retraining import up_to

    moments = []
    for path, column in ((view.path, view.known_at), *((path, "known_at") for path in _events(product, view))):
        standing = inputs.previous(path)
        if standing is None:
            continue
        rows = standing.table(path)
        found: Any = rows.filter(up_to(rows, column, inputs.started)).select(pl.col(column).max()).collect().item()
        if isinstance(found, date) and not isinstance(found, datetime):
            found = datetime(found.year, found.month, found.day, tzinfo=UTC)
        if found is not None:
            moments.append(found if found.tzinfo else found.replace(tzinfo=UTC))
    return max(moments, default=None)


def _problems(document: Mapping[str, Any], now: datetime) -> dict[str, list[str]]:
    """What speaks against each claim."""
    over: Sequence[Mapping[str, Any]] = [
        window for window in document["windows"] if datetime.fromisoformat(window["end"]) <= now and window["judged"]
    ]
    accuracy = document["accuracy"] or {"versions": []}
    return {
        "promises_were_kept": [f"{over[-1]['start'][:10]}: {said}." for said in over[-1]["broken"]] if over else [],
        "no_budget_burns": [
            f"{one['budget']} ({one['rule']}): {one['long']:.1f} times as fast as it may, {one['short']:.1f} lately."
            for one in document["burning"]
        ],
        "accuracy_holds": [f"{one['version']}: {one['problem']}" for one in accuracy["versions"] if one["problem"]],
        "features_are_served": [
            f"{one['version']}, {one['view']}: {one['problem']}." for one in document["served"] if one["problem"]
        ],
        "features_are_fresh": [f"{view['name']}: {_age(view['age'])}." for view in document["views"] if view["stale"]],
    }


def _age(seconds: float | None) -> str:
    return "no row at all" if seconds is None else f"{timedelta(seconds=seconds)} old"


def _holds(audit: Audit, *, name: str) -> Verdict:
    problems = list(audit.facts["problems"][name])
    return Verdict(passed=not problems, facts={"problems": len(problems)}, description=" ".join(problems))
