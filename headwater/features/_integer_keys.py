"""The join for entities that are integers: entity and time in one sorted number, so that one merge answers all.

The number is `(entity - least entity) * span + (time - least time)`, with `span` above every time difference. In its
order the rows of an entity stand together in the order in which they become visible, so the running maximum of the events
needs no groups, and the last row at or below a label's number is its answer when it is of the same entity.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl

_LIMIT: Final = 2**62
_INTEGERS: Final = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)


@dataclass(frozen=True, kw_only=True)
class Numbering:
    """How an entity and a time become one number.

    Attributes:
        least: Least entity.
        start: Least time, in the unit of the column since 1970.
        span: More than the greatest difference of times.
    """

    least: int
    start: int
    span: int

    def number(self, entity: str, time: str) -> pl.Expr:
        """The number of an entity and a time; null when one of them is."""
        return self.base(entity) + self.moment(time)

    def base(self, entity: str) -> pl.Expr:
        """The least number of the entity."""
        return (pl.col(entity).cast(pl.Int64) - self.least) * self.span

    def moment(self, time: str) -> pl.Expr:
        """The time since `start`."""
        return pl.col(time).to_physical() - self.start


def numbering(
    labels: pl.DataFrame, rows: pl.DataFrame | None, *, keys: tuple[str, str], time: str, times: tuple[str, ...]
) -> Numbering | None:
    """A numbering that holds every entity and time of both frames, None when the entity is no integer or too wide.

    Args:
        labels: Labels.
        rows: Feature rows; None for a numbering of the labels alone, which orders them in the same way.
        keys: Entity column of the labels and of the rows.
        time: Prediction time.
        times: Times of the rows.
    """
    if labels.schema[keys[0]] not in _INTEGERS:
        return None
    there = () if rows is None else (rows.get_column(keys[1]),)
    entities = _range((labels.get_column(keys[0]), *there))
    then = () if rows is None else tuple(rows.get_column(name).to_physical() for name in times)
    moments = _range((labels.get_column(time).to_physical(), *then))
    if entities is None or moments is None:
        return None
    span = moments[1] - moments[0] + 1
    if (entities[1] - entities[0] + 1) * span >= _LIMIT:
        return None
    return Numbering(least=entities[0], start=moments[0], span=span)


def places(asked: pl.DataFrame, rows: pl.DataFrame, *, oldest: int | None = None) -> pl.Series:
    """For each asked row the place of its answer among the feature rows, null without one.

    Args:
        asked: `number` of entity and prediction time, sorted (-1 where one is null), and `base`, the least number of the
            entity.
        rows: `number` of entity and visible time and `event`, that of entity and event time, in the order of the table;
            `known` too where rows were known before their event.
        oldest: Greatest age of an answer at the prediction time, in the unit of the times; None takes any.
    """
    tied = [name for name in ("number", "known") if name in rows.columns]
    placed = rows.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias("place"))
    ordered = placed.sort(tied, maintain_order=True)
    if not ordered.get_column("event").is_sorted():
        ordered = ordered.filter(pl.col("event") >= pl.col("event").cum_max())
    able = ordered.select("number", "place", *(() if oldest is None else ("event",)))
    found = asked.join_asof(
        able, on="number", suffix="_found", strategy="backward", coalesce=False, check_sortedness=False
    )
    good = pl.col("number_found") >= pl.col("base")  # of the same entity
    if oldest is not None:
        good &= pl.col("number") - pl.col("event") <= oldest
    return found.select(pl.when(good).then(pl.col("place"))).to_series()


def _range(columns: tuple[pl.Series, ...]) -> tuple[int, int] | None:
    """The least and the greatest value, None when every column is empty or null."""
    ends = [(column.min(), column.max()) for column in columns if column.null_count() < len(column)]
    if not ends:
        return None
    return min(int(low) for low, _ in ends), max(int(high) for _, high in ends)  # type: ignore[arg-type]
