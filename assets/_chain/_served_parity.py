"""Served parity: what the service read, against what the lake would have said at the same instants. See docs/adr/0021."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._online import built, newest_known, newest_row
from assets._chain._paths import ChainPaths
from assets._chain._plays import counted
from assets._chain._served_sample import SAMPLE, compare_computed, compare_view, sample_of
from headwater.features import FeatureTable
from headwater.lake import Kind
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Severity, Verdict

REPORT_FILE: Final = "served_parity.json"
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Up to when a table without a row covers what was asked."""
ON_DEMAND: Final = "on demand"
"""Stands for the features that functions computed, which rest on all views."""


def served_parity_asset(product: Product) -> Asset:
    """The parity of what was served, of a product with feature views.

    It is made when feature tables change, never because somebody was answered: only a table that grew knows more about old answers.
    """
    assert product.labels is not None
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.served_parity,
        kind=Kind.FOLDER,
        compute=partial(_report, product=product),
        inputs=tuple(dict.fromkeys(view.path for view in product.features)),
        previous=(paths.predictions, product.labels.path),
        checks=(
            Check(
                name="served_equals_offline",
                judge=_served_equals_offline,
                blocking=False,
                description=(
                    "A sample of what the service read, whatever store answered and whatever streams had added, is what the "
                    "point-in-time join of the feature tables gives at the same instants."
                ),
            ),
            Check(
                name="served_values_are_known",
                judge=_values_are_known,
                blocking=False,
                severity=Severity.WARN,
                description="Of each view with predictions to compare, some had a value.",
            ),
        ),
        description="What the service read of each feature view, compared with the feature tables once they cover those instants.",
        kinds=("polars",),
        declaration=declared_values(
            features=product.features,
            settles={one.view: one.settles for one in product.streams},
            redacted=product.serving.redacted,
            window=product.serving.window,
        ),
    )


def _report(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    paths = ChainPaths(product=product.name)
    tables = [FeatureTable(view=view, rows=inputs.table(view.path)) for view in product.features]
    covered = _covered(tables, product, by=built(inputs, product.features))
    before = inputs.previous(paths.predictions)
    answers = None if before is None else counted(product, before.table(paths.predictions))
    is_empty = answers is None or answers.head(1).collect().is_empty()
    # Before anything was answered the report is one and the same, whatever the tables say.
    found = [] if answers is None or is_empty else _all(inputs, answers, tables, covered, product)
    document = {"sample": SAMPLE, "views": found}
    (folder / REPORT_FILE).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))
    return Result(facts={"views": found})


def _all(
    inputs: Inputs,
    answers: pl.LazyFrame,
    tables: Sequence[FeatureTable],
    covered: Mapping[str, datetime | None],
    product: Product,
) -> list[dict[str, Any]]:
    """What came of each view by itself, as far as its own table reaches; then of what was computed from all of them."""
    assert product.labels is not None
    truth = inputs.previous(product.labels.path)
    types = {} if truth is None else dict(truth.table(product.labels.path).collect_schema())
    window, found = product.serving.window, []
    for table in tables:
        sample = sample_of(answers, covered[table.view.name], window)
        found.append(sample.to_json(table.view.name, compare_view(sample, table)))
    if product.on_demand:
        limits = [moment for moment in covered.values() if moment is not None]
        sample = sample_of(answers, min(limits, default=None), window)
        computed = compare_computed(sample, tables, product.on_demand, time=product.labels.time, types=types)
        found.append(sample.to_json(ON_DEMAND, computed))
    return found


def _covered(tables: Sequence[FeatureTable], product: Product, *, by: datetime) -> Mapping[str, datetime | None]:
    """By view, up to when its table says all that was known; None for a table that stands still and is whole as it is.

    Of rows that a stream makes, the newest published ones may lack events until they settle. Rows that were to be known only after the tables
    were built (`by`) say nothing of this, and none that is known long after its event makes other tables seem to stand still.
    """
    newest = {table.view.name: _in_utc(newest_known(table, by=by)) for table in tables}
    reached = [_in_utc(newest_row(table, by=by)) for table in tables]
    last = max((moment for moment in reached if moment is not None), default=None)
    settles = {one.view: one.settles for one in product.streams}
    found: dict[str, datetime | None] = {}
    for name, moment in newest.items():
        if moment is None or last is None:
            found[name] = _NEVER
        elif name not in settles and moment < last - product.serving.window:
            found[name] = None
        else:
            found[name] = moment - settles.get(name, timedelta(0))
    return found


def _in_utc(moment: datetime | None) -> datetime | None:
    """An instant of a table whose times have no zone is one of UTC, as prediction times are."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _served_equals_offline(audit: Audit) -> Verdict:
    views: Sequence[Mapping[str, Any]] = audit.facts.get("views", ())
    other = [view for view in views if view["different"]]
    said = "; ".join(f"{view['view']}: {view['different']} of {view['compared']} values" for view in other)
    waiting = {view["view"]: view["not_yet_known"] for view in views if view["not_yet_known"]}
    facts = {
        "compared": sum(view["compared"] for view in views),
        "different": sum(view["different"] for view in views),
        "not_yet_known": waiting,
        "asked_ahead": {view["view"]: view["asked_ahead"] for view in views if view["asked_ahead"]},
        "examples": [example for view in other for example in view["examples"]],
    }
    told = f"What was served is not what the feature tables say: {said}." if said else ""
    return Verdict(passed=not other, facts=facts, description=told)


def _values_are_known(audit: Audit) -> Verdict:
    views: Sequence[Mapping[str, Any]] = audit.facts.get("views", ())
    empty = [view["view"] for view in views if view["compared"] and not view["with_a_value"]]
    said = f"Nothing served of {', '.join(empty)} had a value, so nothing is proven." if empty else ""
    return Verdict(passed=not empty, facts={"without_a_value": empty}, description=said)
