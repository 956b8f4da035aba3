"""Describes the columns of a table for its card."""

import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl

from governance.cards.facts import ColumnFacts


def describe_columns(frame: pl.DataFrame | pl.LazyFrame, *, descriptions: Mapping[str, str]) -> tuple[ColumnFacts, ...]:
    """Nulls, distinct values and range of every column, in one pass.

    NaN is left out of ranges. Nested and binary columns have nulls alone.

    Args:
        frame: The table.
        descriptions: Column name to its meaning; columns without one say so in the card.
    """
    lazy = frame.lazy()
    schema = lazy.collect_schema()
    wanted = []
    for name, dtype in schema.items():
        column = pl.col(name)
        wanted.append(column.null_count().alias(f"{name}:nulls"))
        if dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Null):
            continue
        known = column.drop_nans() if dtype.is_float() else column
        # Categories sort as texts, not by their codes.
        ordered = known.cast(pl.String) if dtype in (pl.Categorical, pl.Enum) else known
        wanted.append(column.drop_nulls().n_unique().alias(f"{name}:distinct"))
        if dtype != pl.Boolean:
            wanted += [ordered.min().alias(f"{name}:minimum"), ordered.max().alias(f"{name}:maximum")]
    values = lazy.select(wanted).collect().row(0, named=True)
    return tuple(
        ColumnFacts(
            name=name,
            dtype=str(dtype),
            description=descriptions.get(name),
            nulls=values[f"{name}:nulls"],
            distinct=values.get(f"{name}:distinct"),
            minimum=_plain(values.get(f"{name}:minimum")),
            maximum=_plain(values.get(f"{name}:maximum")),
        )
        for name, dtype in schema.items()
    )


def _plain(value: Any) -> int | float | str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, int):
        return value
    number = float(value)
    return number if math.isfinite(number) else str(number)
