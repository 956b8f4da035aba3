"""The performance report: how the model in service did, window by window, and how far its inputs moved."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._drift import watched
from assets._chain._outcomes import slices_of
from assets._chain._paths import ChainPaths
from assets._chain._performance_page import write_page
from assets._chain._training_set import SPLIT, TRAIN
from headwater.lake import Kind
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Severity, Verdict

if TYPE_CHECKING:
    from headwater.monitoring import PerformanceRules, WindowDrift

REPORT_FILE: Final = "performance.json"
SETTLED: Final = timedelta(days=28)
"""So long after its end a window's report is what it is: labels that come in later do not change it."""


def performance_asset(product: Product) -> Asset:
    """The performance report of a product with a model."""
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.performance_report,
        kind=Kind.FOLDER,
        compute=partial(_report, product=product),
        inputs=(paths.outcomes,),
        previous=(paths.performance_report, paths.predictions, paths.training_set),
        identity=(REPORT_FILE,),
        checks=(
            Check(
                name="labels_come_in",
                judge=_labels_come_in,
                blocking=False,
                severity=Severity.WARN,
                description="Every window that is long over has the labels it needs to be judged.",
            ),
        ),
        description="Metrics with intervals of each window and slice whose labels are known, and the drift of what the model read.",
        kinds=("matplotlib",),
        declaration=declaration_of(product),
    )


def declaration_of(product: Product) -> dict[str, Any]:
    """What of the product's declaration makes the report."""
    return declared_values(rules=rules_of(product), drift=product.drift, features=watched(product))


def rules_of(product: Product) -> "PerformanceRules":
    """How the model in service is judged: as declared, or by the week."""
    from headwater.monitoring import PerformanceRules, Windowing

    if product.performance is not None:
        return product.performance
    return PerformanceRules(windowing=Windowing(zone=product.split.timezone), slices=slices_of(product))


def _report(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    from headwater.monitoring import Span, performance_windows

    paths, rules = ChainPaths(product=product.name), rules_of(product)
    outcomes = inputs.table(paths.outcomes).collect()
    now = _now(outcomes)
    settled = _settled(inputs, paths, now, product)
    since = max((datetime.fromisoformat(window["end"]) for window in settled), default=None)
    open_rows = outcomes if since is None else outcomes.filter(pl.col("at") >= since)
    windows = settled
    if open_rows.height:
        first: Any = open_rows["at"].min()
        last: Any = open_rows["at"].max()
        span = Span(start=first, end=max(last, first) + timedelta(microseconds=1))
        drift = {item.start: item for item in _drift(inputs, product, span)}
        found = performance_windows(open_rows, rules=rules, now=now, span=span)
        windows = settled + [{**item.to_json(), "drift": _shown(drift.get(item.start))} for item in found]
    document = {"now": now.isoformat(), "declaration": declaration_of(product), "windows": windows}
    (folder / REPORT_FILE).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))
    write_page(folder, product.question, windows)
    judged = [window for window in windows if window["overall"]["judged"]]
    return Result(facts={"now": now.isoformat(), "windows": len(windows), "judged": len(judged), **_late(windows, now)})


def _now(outcomes: pl.DataFrame) -> datetime:
    """As of when: the newest instant that the outcomes know of."""
    moments: list[Any] = [outcomes["at"].max(), outcomes["label_known_at"].max()]
    return max((moment for moment in moments if moment is not None), default=datetime(1970, 1, 1, tzinfo=UTC))


def _settled(inputs: Inputs, paths: ChainPaths, now: datetime, product: Product) -> list[dict[str, Any]]:
    """Windows of the report before, as far as nothing changes them any more."""
    before = inputs.previous(paths.performance_report)
    if before is None:
        return []
    document = json.loads((before.folder(paths.performance_report) / REPORT_FILE).read_text())
    if document["declaration"] != declaration_of(product):
        return []  # judged by other rules
    windows = document["windows"]
    return [window for window in windows if datetime.fromisoformat(window["end"]) + SETTLED <= now]


def _drift(inputs: Inputs, product: Product, span: Any) -> "Sequence[WindowDrift]":
    """How far what the model read in service lies from what it was trained on."""
    from headwater.drift import DriftLimits
    from headwater.monitoring import drift_windows

    paths, columns = ChainPaths(product=product.name), watched(product)
    served, trained = inputs.previous(paths.predictions), inputs.previous(paths.training_set)
    if served is None or trained is None:
        return ()
    assert product.model is not None
    reference = trained.table(paths.training_set).filter(pl.col(SPLIT) == TRAIN).select(columns).collect()
    rows = served.table(paths.predictions).filter(pl.col("at").is_between(span.start, span.end)).collect()
    return drift_windows(
        reference,
        _read(rows, reference.schema),
        columns=columns,
        categorical=[name for name in product.model.categorical if name in columns],
        windowing=rules_of(product).windowing,
        limits=DriftLimits(psi=product.drift.psi_limit, min_rows=product.drift.min_rows),
        span=span,
    )


def _read(predictions: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """What the model read, from the records: each column in the dtype that training had."""
    decoded = predictions["features"].str.json_decode(pl.Struct(dict(schema))).struct.unnest()
    return predictions.select("at").hstack(decoded)


def _shown(drift: "WindowDrift | None") -> dict[str, float]:
    return {} if drift is None else {name: round(value, 6) for name, value in drift.effects.items()}


def _late(windows: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    """Windows that are long over and not judged for want of labels."""
    old = [window for window in windows if datetime.fromisoformat(window["end"]) + SETTLED / 2 <= now]
    return {"without_labels": [window["start"] for window in old if "labels are known" in window["overall"]["reason"]]}


def _labels_come_in(audit: Audit) -> Verdict:
    late = list(audit.facts.get("without_labels", []))
    said = f"Windows without enough labels: {', '.join(late[:5])}." if late else ""
    return Verdict(passed=not late, facts={"without_labels": late}, description=said)
