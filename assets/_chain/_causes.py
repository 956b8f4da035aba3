"""The root-cause view: why the newest judged window did better or worse than those before it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._causes_page import write_page
from assets._chain._declare import declared_values
from assets._chain._paths import ChainPaths
from assets._chain._performance import NEWEST_FACT, REPORT_FILE, rules_of
from assets._chain._performance_history import has_its_rows
from assets._chain._plays import counted
from assets._chain._recorded import recorded
from assets._chain._reference import live_reference, watched_features
from headwater.lake import Commit, Entry, Kind
from headwater.lake.errors import CollectedCommitError
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Verdict
from headwater.provenance import verdicts_on

if TYPE_CHECKING:
    from headwater.drift import DriftReport
    from headwater.monitoring import LossShift, MovedFeature, Writing

CAUSES_FILE: Final = "causes.json"
BEFORE: Final = 4
"""So many judged windows before it are what the newest one is compared with."""
_UNKNOWN: Final = "Not looked at: the history of the report does not say since when the two windows are judged."
_SAID: Final = "__said "
_ROUNDING: Final = 1e-9
_Window = Mapping[str, Any]


def causes_asset(product: Product) -> Asset:
    """The root-cause view of a product with a model."""
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.performance_causes,
        kind=Kind.FOLDER,
        compute=partial(_causes, product=product),
        inputs=(paths.performance_report, paths.outcomes),
        previous=(
            paths.performance_report,
            paths.predictions,
            paths.release,
            paths.model,
            paths.evaluation,
            *upstream_of(product),
        ),
        identity=(CAUSES_FILE,),
        checks=(
            Check(
                name="slices_add_up",
                judge=_slices_add_up,
                description="What the slices of a column contribute is the whole change of the loss.",
            ),
        ),
        description="Why the newest judged window did better or worse: features that moved, slices that carry the loss, what changed upstream.",
        kinds=("json",),
        declaration=declared_values(rules=rules_of(product), features=watched_features(product)),
    )


def upstream_of(product: Product) -> tuple[str, ...]:
    """Everything that a model is made from."""
    landed = [f"{product.name}/landing/{source.name}" for source in product.sources]
    modelled = list(product.dbt.models.values()) if product.dbt else []
    return (
        *landed,
        *(asset.path for asset in product.assets),
        *modelled,
        ChainPaths(product=product.name).training_set,
    )


def _causes(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    paths = ChainPaths(product=product.name)
    report = json.loads((inputs.folder(paths.performance_report) / REPORT_FILE).read_text())
    inputs.entry(paths.outcomes)  # looked at as soon as there is something to compare
    rows = _there(inputs, product)
    judged = [window for window in report["windows"] if window["overall"]["judged"]]
    document: dict[str, Any] = {"window": None, "reason": "No window is judged yet."}
    if judged and not has_its_rows(judged[-1], rows):
        reason = f"The predictions of the newest judged window, from {judged[-1]['start'][:10]}, are no longer kept (Serving.keep)."
        document = {"window": None, "reason": reason}
    elif judged:
        newest, before = judged[-1], [window for window in judged[-1 - BEFORE : -1] if has_its_rows(window, rows)]
        reason = f"There is no judged window before it{' whose predictions are kept' if len(judged) > 1 else ''}."
        document = {
            "window": newest,
            "before": before,
            "reason": "" if before else reason,
            "compared_with": newest["compared_with"],
            "moved": _moved(inputs, product, newest, before),
            "shifts": [shift.to_json() for shift in _shifts(inputs, product, newest, before)],
            **(_upstream(inputs, product, newest, before[-1]) if before else {"upstream": [], "upstream_unknown": ""}),
        }
    (folder / CAUSES_FILE).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))
    write_page(folder, product.question, document)
    return Result(facts={"window": document["window"] and document["window"]["start"]})


def _there(inputs: Inputs, product: Product) -> pl.DataFrame:
    """Of each prediction that is kept what it was about and when it came in. Outcomes follow the predictions late."""
    paths = ChainPaths(product=product.name)
    served = inputs.previous(paths.predictions)
    table = inputs.table(paths.outcomes) if served is None else counted(product, served.table(paths.predictions))
    return table.select("at", "received").collect()


def _inside(windows: Sequence[_Window]) -> pl.Expr:
    moments = [(datetime.fromisoformat(window["start"]), datetime.fromisoformat(window["end"])) for window in windows]
    return pl.any_horizontal(*(pl.col("at").is_between(*span, closed="left") for span in moments))


def _shifts(inputs: Inputs, product: Product, newest: _Window, before: Sequence[_Window]) -> "Sequence[LossShift]":
    from headwater.monitoring import Loss, loss_shifts

    rules = rules_of(product)
    if not before or not rules.slices:
        return ()
    outcomes = inputs.table(ChainPaths(product=product.name).outcomes).collect()
    sides = outcomes.filter(_inside(before)), outcomes.filter(_inside([newest]))
    return loss_shifts(*sides, columns=rules.slices, loss=Loss.LOG)


def _moved(inputs: Inputs, product: Product, newest: _Window, before: Sequence[_Window]) -> list[dict[str, Any]]:
    """Each watched feature's move against the windows before, and against training; the largest first."""
    from headwater.monitoring import Span

    paths = ChainPaths(product=product.name)
    served, reference = inputs.previous(paths.predictions), live_reference(inputs, product)
    if served is None or reference is None:
        return []
    columns, categories = reference.watched(product), reference.categories(product)
    answers = counted(product, served.table(paths.predictions))
    rows = answers.filter(_inside([newest, *before])).select("at", "features").collect()
    # What a version did not read is no null of it: both sides compare a feature on the predictions that say it.
    said = reference.preprocessing.said(rows["features"]).select(pl.col(name).alias(_SAID + name) for name in columns)
    read = rows.select("at").hstack(recorded(reference.preprocessing, rows["features"]).select(columns)).hstack(said)
    now, earlier = read.filter(_inside([newest])), read.filter(_inside(before)) if before else None
    learned = None
    if reference.features is not None:
        seasons = reference.by_season(product, reference.features)
        span = Span(start=datetime.fromisoformat(newest["start"]), end=datetime.fromisoformat(newest["end"]))
        learned = seasons.of(seasons.season(span))
    lately, since = (_moves(product, now, known, columns, categories) for known in (earlier, learned))
    found = [
        {
            "column": name,
            "against_before": lately[name].to_json() if name in lately else None,
            "against_training": since[name].to_json() if name in since else None,
        }
        for name in columns
    ]
    first = "against_before" if lately else "against_training"
    return sorted(found, key=lambda one: (-(one[first]["effect"] if one[first] else 0.0), one["column"]))


def _moves(
    product: Product, now: pl.DataFrame, known: Any, columns: Sequence[str], categories: Sequence[str]
) -> "Mapping[str, MovedFeature]":
    """Each feature's move from one side to the other, as one report; empty without a side to compare with."""
    from headwater.drift import joined
    from headwater.monitoring import moved_features

    found = (_drift(product, *part, categories) for part in _parts(now, known, columns))
    reports = [report for report in found if report is not None]
    if not reports:
        return {}
    return {one.column: one for one in moved_features(joined(reports, columns=columns, current_rows=now.height))}


def _parts(now: pl.DataFrame, known: Any, columns: Sequence[str]) -> list[tuple[Any, pl.DataFrame]]:
    """Both sides of a comparison: of the features that all predictions say together, of each other one on those that do."""
    sides = [now, known] if isinstance(known, pl.DataFrame) else [now]
    whole = [name for name in columns if all(side[_SAID + name].all() for side in sides)]

    def of(side: Any, names: Sequence[str]) -> Any:
        if not isinstance(side, pl.DataFrame):
            return side
        return side.filter(pl.all_horizontal(_SAID + name for name in names)).select(names)

    parts = [whole, *([name] for name in columns if name not in whole)]
    return [(of(known, names), of(now, names)) for names in parts if names]


def _drift(product: Product, reference: Any, current: pl.DataFrame, categories: Sequence[str]) -> "DriftReport | None":
    from headwater.drift import DriftLimits, drift_statistics

    if reference is None or current.is_empty() or (isinstance(reference, pl.DataFrame) and reference.is_empty()):
        return None
    return drift_statistics(
        reference,
        current,
        columns=current.columns,
        categorical=[name for name in categories if name in current.columns],
        limits=DriftLimits(psi=product.drift.psi_limit, min_rows=product.drift.min_rows),
        threads=1,
    )


def _upstream(inputs: Inputs, product: Product, newest: _Window, before: _Window) -> dict[str, Any]:
    """What was published between the report that first judged the window before, or the last one before that judged both at once, and the
    one that first judged the newest; or why nobody looked."""
    from headwater.monitoring import upstream_changes

    paths = ChainPaths(product=product.name)
    ends = first_judged(inputs, paths, newest["start"], before["start"])
    if ends is None:
        return {"upstream": [], "upstream_unknown": _UNKNOWN}
    found = {path: list(writings(inputs, path, *ends)) for path in (*upstream_of(product), paths.model, paths.release)}
    changes = upstream_changes({path: history for path, history in found.items() if history})
    return {"upstream": [change.to_json() for change in changes], "upstream_unknown": ""}


def first_judged(inputs: Inputs, paths: ChainPaths, newest: str, before: str) -> tuple[datetime, datetime] | None:
    """When the window before was first the newest judged one, and when the newest was; None where history does not say.

    Where one report was the first to judge both, the report before it, which judged neither, stands for the first of the two.
    Windows are known by their first instants: how many there are changes with the declaration.
    """
    first: dict[str, datetime] = {}
    for commit in inputs.history(paths.performance_report):
        output = commit.provenance.output(paths.performance_report) if commit.provenance else None
        facts = output.facts if output else {}
        found = facts.get(NEWEST_FACT)
        if found not in (newest, before) or (found == newest and before in first):
            is_older = NEWEST_FACT in facts and (found is None or found < before)
            if newest in first and before not in first and is_older:
                first[before] = commit.created
            break
        first[found] = commit.created
    return (first[before], first[newest]) if len(first) == 2 else None


def writings(inputs: Inputs, path: str, start: datetime, end: datetime) -> "Iterator[Writing]":
    """How an asset stood at one moment, and each commit that wrote it up to another, oldest first."""
    found: list[Writing] = []
    is_known = False
    for commit in inputs.history(path):
        if commit.created > end:
            continue
        found.append(_writing(inputs, commit, path))
        if commit.created <= start:
            is_known = True
            break
    if found and not is_known:
        found.append(_nothing(start))
    yield from reversed(found)


def _writing(inputs: Inputs, commit: Commit, path: str) -> "Writing":
    from headwater.monitoring import Writing

    record = commit.provenance
    output = record.output(path) if record else None
    entry, is_kept = _entry(inputs, commit, path)
    checks = verdicts_on(record.checks, path) if record else ()
    return Writing(
        commit=commit.id,
        time=commit.created,
        actor=record.actor if record else "",
        data_version=entry.data_version if entry else output.data_version if output and not is_kept else "",
        code_version=output.code_version if output else "",
        schema=entry.schema if entry else {} if is_kept else None,
        rows=output.rows if output else None,
        failed=tuple(check.name for check in checks if not check.passed),
    )


def _entry(inputs: Inputs, commit: Commit, path: str) -> tuple[Entry | None, bool]:
    """What stood at a path after a commit, None when nothing did, and whether the lake still says so: `gc` leaves the record alone."""
    try:
        there = inputs.previous(path, commit=commit.id)
    except CollectedCommitError:
        return None, False
    return (there.entry(path) if there is not None else None), True


def _nothing(moment: datetime) -> "Writing":
    from headwater.monitoring import Writing

    return Writing(commit="", time=moment, actor="", data_version="", code_version="", schema={})


def _slices_add_up(audit: Audit) -> Verdict:
    document = json.loads((audit.staged.folder(audit.path) / CAUSES_FILE).read_text())
    off = {
        shift["column"]: abs(sum(one["change"] for one in shift["slices"]) - shift["change"])
        for shift in document.get("shifts", ())
        if shift["change"] is not None
    }
    lost = sorted(column for column, gap in off.items() if gap > _ROUNDING)
    said = f"The slices of {', '.join(lost)} do not make up the change." if lost else ""
    return Verdict(passed=not lost, facts={"columns": len(off)}, description=said)
