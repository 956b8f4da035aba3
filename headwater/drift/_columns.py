"""Reads one column at a time from a frame and says what kind of values it holds."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final, TypeAlias

import polars as pl
import polars.selectors as cs
import pyarrow as pa

from headwater.drift.errors import MissingColumnError, UnsupportedColumnError

Frame: TypeAlias = pl.DataFrame | pl.LazyFrame | pa.Table
"""Rows to describe. A lazy frame is executed once for every few columns, and once more for the texts among them, so that no more are in
memory: pass a scan (such as a snapshot's table), or collect an expensive plan first."""
CATEGORY, ROWS = "category", "rows"
"""Columns of a categorical distribution's counts."""
COLUMNS_AT_ONCE: Final = 4
"""Of one lazy frame: one by one, a Parquet file of 50 columns takes a third longer to read."""


class ValueKind(StrEnum):
    """How the values of a column are compared."""

    INTEGER = "integer"
    SINGLE = "single"
    DOUBLE = "double"
    INSTANT = "instant"
    DURATION = "duration"
    CATEGORY = "category"
    NOTHING = "nothing"

    @property
    def numeric(self) -> bool:
        """Whether the values have an order and distances."""
        return self not in (ValueKind.CATEGORY, ValueKind.NOTHING)


_SMALL_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_CATEGORIES = (pl.String, pl.Categorical, pl.Enum, pl.Boolean)
# Integers that may exceed Int64 and decimals are compared as Float64: exact below 2**53.
_WIDE_NUMBERS = (pl.UInt64, pl.Int128, pl.UInt128, pl.Decimal, pl.Float64)


def kind_of(column: str, dtype: pl.DataType, *, categorical: bool) -> ValueKind:
    """The kind of a column.

    Args:
        column: Its name, for the error.
        dtype: Its Polars dtype.
        categorical: Whether the caller wants codes (integers, dates) taken as categories.

    Raises:
        UnsupportedColumnError: Nested, binary and object columns have no kind.
    """
    base = dtype.base_type()
    if base is pl.Null:
        return ValueKind.NOTHING
    if base in _CATEGORIES:
        return ValueKind.CATEGORY
    kinds = {
        ValueKind.INTEGER: _SMALL_INTEGERS,
        ValueKind.SINGLE: (pl.Float16, pl.Float32),
        ValueKind.DOUBLE: _WIDE_NUMBERS,
        ValueKind.INSTANT: (pl.Date, pl.Datetime),
        ValueKind.DURATION: (pl.Duration, pl.Time),
    }
    kind = next((kind for kind, dtypes in kinds.items() if base in dtypes), None)
    if kind is None:
        raise UnsupportedColumnError(column=column, dtype=str(dtype))
    return ValueKind.CATEGORY if categorical else kind


def to_kind(series: pl.Series, kind: ValueKind) -> pl.Series:
    """The series in the one dtype that stands for its kind: Int64, Float32, Float64 or String."""
    if kind is ValueKind.CATEGORY:
        return series.cast(pl.String)
    if kind is ValueKind.INSTANT:
        # A zone is dropped by taking the instant in UTC microseconds; a date is its midnight.
        dated = series.dtype.base_type() is pl.Date
        return (series.cast(pl.Datetime("us")) if dated else series.dt.cast_time_unit("us")).to_physical()
    if kind is ValueKind.DURATION:
        of_day = series.dtype.base_type() is pl.Time
        return (series.cast(pl.Duration("us")) if of_day else series.dt.cast_time_unit("us")).to_physical()
    return series.cast({ValueKind.INTEGER: pl.Int64, ValueKind.SINGLE: pl.Float32}.get(kind, pl.Float64))


class Reader:
    """Columns of one frame by name.

    Args:
        frame: The rows.
        side: `reference` or `current`, for errors.
    """

    def __init__(self, frame: Frame, *, side: str) -> None:
        self._frame = frame
        self._side = side
        if isinstance(frame, pa.Table):
            self.schema = pl.Schema(pl.from_arrow(frame.schema.empty_table()).schema)  # type: ignore[union-attr]
        else:
            self.schema = frame.collect_schema()

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(self.schema.names())

    def check(self, names: Sequence[str]) -> None:
        """Raises MissingColumnError for the first of `names` that is absent."""
        for name in names:
            if name not in self.schema:
                raise MissingColumnError(column=name, side=self._side, known=self.names)

    def columns(self, names: Sequence[str]) -> Iterator[pl.Series]:
        """The values of columns, in the order of `names` (each once); a lazy frame is executed once for every few."""
        self.check(names)
        for block in blocks(names):
            if isinstance(self._frame, pl.LazyFrame):
                found = self._frame.select(cs.by_name(*block)).collect().get_columns()  # no name is a pattern
            else:
                found = [self._column(self._frame, name) for name in block]
            found.reverse()
            while found:
                yield found.pop()  # and forget it: the next block is read when this one is used up

    def rows_by_value(self, names: Sequence[str]) -> list[pl.DataFrame]:
        """The values of columns as texts, null too, with their rows (Int64), in no order. A lazy frame is executed once for all: what is
        counted where it is read is never held as a column."""
        self.check(names)
        if isinstance(self._frame, pl.LazyFrame):
            plans = [self._frame] * len(names)
        else:
            plans = [self._column(self._frame, name).to_frame().lazy() for name in names]
        counted = (
            plan.select(cs.by_name(name).cast(pl.String).alias(CATEGORY))
            .group_by(CATEGORY)
            .agg(pl.len().cast(pl.Int64).alias(ROWS))
            for name, plan in zip(names, plans, strict=True)
        )
        return pl.collect_all(counted, engine="streaming")  # which counts texts about twice as fast

    @staticmethod
    def _column(frame: pl.DataFrame | pa.Table, name: str) -> pl.Series:
        return pl.Series(name, frame.column(name)) if isinstance(frame, pa.Table) else frame.get_column(name)


def blocks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """`names` in the groups that are read at once."""
    return (names[start : start + COLUMNS_AT_ONCE] for start in range(0, len(names), COLUMNS_AT_ONCE))
