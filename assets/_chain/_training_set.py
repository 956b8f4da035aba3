"""The training set: labels joined with what was known at their time, split by time."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from assets._chain._declare import declared_values
from assets._chain._leakage import leakage_check
from assets._chain._paths import ChainPaths
from headwater.features import FeatureTable, OnDemandFeatures, add_on_demand, fill_defaults, point_in_time_join
from headwater.features.errors import OnDemandValueError
from headwater.lake import Kind
from headwater.models import TimeSplit, UnusableDataError
from headwater.product import Asset, Audit, Check, Inputs, Labels, Product, RejectedInputError, Result, Verdict

SPLIT: Final = "split"
UNLABELLED_FACT: Final = "rows_without_label"
PURGED_FACT: Final = "rows_purged"
TRAIN, VALIDATION, TEST = "train", "validation", "test"


def training_set_asset(product: Product) -> Asset:
    """The training set of a product with labels."""
    labels = product.labels
    assert labels is not None
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.training_set,
        kind=Kind.TABLE,
        compute=partial(_training_set, product=product),
        inputs=(
            labels.path,
            *(view.path for view in product.features),
            *((paths.training_order,) if product.retraining is not None else ()),
        ),
        checks=(
            Check(name="not_empty", judge=_not_empty, description="There is at least one labelled row."),
            Check(
                name="labels_have_both_classes",
                judge=partial(_both_classes, label=labels.label),
                description="Every part of the split has positive and negative rows.",
            ),
            leakage_check(product, split=SPLIT, parts=(TRAIN, VALIDATION, TEST)),
        ),
        description="Labelled rows with the features that were known at prediction time, split by time.",
        kinds=("polars", "deltalake"),
        declaration=declared_values(
            labels=labels,
            features=product.features,
            on_demand=[[one.name, one.path, one.inputs, one.outputs] for one in product.on_demand],
            split=product.split,
        ),
        covers=tuple(one.function for one in product.on_demand),
    )


def _training_set(inputs: Inputs, *, product: Product) -> Result:
    labels = product.labels
    assert labels is not None
    rows = inputs.table(labels.path)
    if product.retraining is not None:
        rows = _ordered(inputs.folder(ChainPaths(product=product.name).training_order), rows, labels)
    joined = labelled_features(product, rows, inputs.table)
    try:
        parts = split_of(product).apply(joined)
    except UnusableDataError as error:
        raise RejectedInputError(f"{labels.path!r} cannot be split: {error}") from error
    named = ((TRAIN, parts.train), (VALIDATION, parts.validation), (TEST, parts.test))
    frame = pl.concat([part.with_columns(pl.lit(name).alias(SPLIT)) for name, part in named])
    total = int(rows.select(pl.len()).collect().item())
    facts = {
        UNLABELLED_FACT: total - joined.height,
        "bounds": parts.bounds.to_json(),
        "rows_by_part": {name: part.height for name, part in named},
        PURGED_FACT: dict(parts.purged),
    }
    return Result(data=frame, facts=facts)


def labelled_features(product: Product, rows: pl.LazyFrame, table: Callable[[str], pl.LazyFrame]) -> pl.DataFrame:
    """Labelled events with the features that were known at their time.

    Args:
        product: The product, with `labels`.
        rows: Rows of its labels; those without a label are left out.
        table: A feature table by its lake path.

    Raises:
        RejectedInputError: A feature that is computed from the request cannot be.
    """
    labels = product.labels
    assert labels is not None
    known = rows.filter(pl.col(labels.label).is_not_null()).select(_label_columns(labels))
    tables = [FeatureTable(view=view, rows=table(view.path)) for view in product.features]
    joined = fill_defaults(point_in_time_join(known, tables, time=labels.time).collect(), product.features)
    return _computed(joined, product.on_demand)


def split_of(product: Product) -> TimeSplit:
    """How the rows of a product with labels are split by time."""
    labels = product.labels
    assert labels is not None
    return TimeSplit(
        time=labels.time,
        known_at=labels.known_at,
        validation_months=product.split.validation_months,
        test_months=product.split.test_months,
        timezone=product.split.timezone,
    )


def _ordered(order: Path, rows: pl.LazyFrame, labels: Labels) -> pl.LazyFrame:
    """The events that a training order takes: what came in later waits for the next one."""
    from assets._chain._retraining import as_of, newest_event, up_to

    column = labels.known_at or labels.time
    taken = pl.col(column).is_null() | up_to(rows, column, as_of(order))
    if (newest := newest_event(order)) is not None:
        taken &= up_to(rows, labels.time, newest)
    return rows.filter(taken)


def _computed(rows: pl.DataFrame, declared: Sequence[OnDemandFeatures]) -> pl.DataFrame:
    try:
        return add_on_demand(rows, declared)
    except OnDemandValueError as error:
        raise RejectedInputError(str(error)) from error


def _label_columns(labels: Labels) -> list[str]:
    known_at = () if labels.known_at is None else (labels.known_at,)
    return list(dict.fromkeys((*labels.key, labels.time, labels.label, *known_at, *labels.columns)))


def _not_empty(audit: Audit) -> Verdict:
    rows = int(audit.rows().select(pl.len()).collect().item())
    return Verdict(passed=rows > 0, facts={"rows": rows})


def _both_classes(audit: Audit, *, label: str) -> Verdict:
    counts = (
        audit.rows().group_by(SPLIT).agg(pl.len().alias("rows"), pl.col(label).cast(pl.Int64).sum().alias("positives"))
    )
    found = counts.sort(SPLIT).collect().to_dicts()
    passed = len(found) == 3 and all(0 < row["positives"] < row["rows"] for row in found)
    return Verdict(passed=passed, facts={"parts": found}, description="" if passed else "A part has one class only.")
