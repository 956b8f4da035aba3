"""Drift within a training set, test part against train part: statistics as a table, Evidently's page for people.

What is served is the performance report's: this stands still until the next training.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._model import parts_of
from assets._chain._paths import ChainPaths
from assets._chain._reference import watched, watched_categories
from assets._chain._training_set import TEST, TRAIN
from headwater.drift import DriftLimits, EmptySampleError, drift_statistics, evidently_html, report_frame
from headwater.lake import Kind
from headwater.product import (
    Asset,
    Audit,
    Check,
    Inputs,
    Product,
    RejectedInputError,
    Result,
    Severity,
    Verdict,
)

PAGE_FILE: Final = "drift.html"
PAGE_ROWS: Final = 10_000
FACTS_FILE: Final = "facts.json"


def drift_assets(product: Product) -> tuple[Asset, Asset]:
    """The drift report (table) and the drift page (folder) of a product with a model."""
    paths = ChainPaths(product=product.name)
    report = Asset(
        path=paths.drift_report,
        kind=Kind.TABLE,
        compute=partial(_report, product=product),
        inputs=(paths.training_set,),
        checks=(
            Check(
                name="no_column_shifted",
                judge=_no_column_shifted,
                blocking=False,
                severity=Severity.WARN,
                description="No watched column of the training set's test part lies beyond the declared limits from its train part. Of what is served "
                "see `no_served_column_shifted` of the performance report.",
            ),
        ),
        description="Drift of each watched column within the training set: its test part, the newest months, against its train part.",
        kinds=("numpy", "deltalake"),
        declaration=declared_values(drift=product.drift, model=product.model),
    )
    page = Asset(
        path=paths.drift_page,
        kind=Kind.FOLDER,
        compute=partial(_page, product=product),
        inputs=(paths.training_set, paths.drift_report),
        identity=(FACTS_FILE,),
        description="Evidently's drift page over the same rows.",
        kinds=("evidently",),
        packages=("evidently",),
        declaration=declared_values(drift=product.drift, model=product.model),
    )
    return report, page


def _report(inputs: Inputs, *, product: Product) -> Result:
    paths = ChainPaths(product=product.name)
    train, test = parts_of(inputs, paths.training_set, TRAIN, TEST)
    try:
        report = drift_statistics(
            train,
            test,
            columns=watched(product),
            categorical=watched_categories(product),
            limits=DriftLimits(psi=product.drift.psi_limit, min_rows=product.drift.min_rows),
        )
    except EmptySampleError as error:
        raise RejectedInputError(str(error)) from error
    return Result(data=report_frame(report), facts={"shifted": list(report.shifted), "columns": len(watched(product))})


def _page(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    paths = ChainPaths(product=product.name)
    train, test = parts_of(inputs, paths.training_set, TRAIN, TEST)
    rows = inputs.table(paths.drift_report).collect()
    evidently_html(
        train,
        test,
        folder / PAGE_FILE,
        columns=watched(product),
        categorical=watched_categories(product),
        row_limit=PAGE_ROWS,
        measured=rows,
    )
    (folder / FACTS_FILE).write_text(json.dumps(_stable(rows), indent=1, sort_keys=True, default=str))
    return Result(facts={"columns": rows.height})


def _stable(rows: pl.DataFrame) -> list[dict[str, Any]]:
    return rows.sort(rows.columns[0]).to_dicts()


def _no_column_shifted(audit: Audit) -> Verdict:
    shifted = list(audit.facts.get("shifted", []))
    described = f"Shifted: {', '.join(shifted)}." if shifted else ""
    return Verdict(passed=not shifted, facts={"shifted": shifted}, description=described)
