"""Brings two distributions of one column together: a common kind, a merge, equality."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headwater.drift._columns import CATEGORY, ROWS, ValueKind
from headwater.drift._distribution import CategoricalProfile, ColumnProfile, NumericProfile
from headwater.drift.errors import ColumnKindError

# Entries compared at once: they stay in a core's own cache, and of values that are all different only half are looked at.
_BLOCK = 1 << 15


def common_kind(column: str, left: ColumnProfile, right: ColumnProfile) -> ValueKind:
    """The kind in which two profiles can be compared: the coarser float, or Float64 for integers against floats.

    Raises:
        ColumnKindError: There is none.
    """
    kinds = {left.kind, right.kind} - {ValueKind.NOTHING}
    if len(kinds) < 2:
        return next(iter(kinds), ValueKind.NOTHING)
    if kinds == {ValueKind.SINGLE, ValueKind.DOUBLE}:
        return ValueKind.SINGLE
    if kinds <= {ValueKind.INTEGER, ValueKind.SINGLE, ValueKind.DOUBLE}:
        return ValueKind.DOUBLE
    raise ColumnKindError(column=column, reference=left.kind.value, current=right.kind.value)


def convert(side: ColumnProfile, kind: ValueKind) -> ColumnProfile:
    """A profile in a kind that `common_kind` found."""
    if isinstance(side, CategoricalProfile):
        return side
    if kind is ValueKind.CATEGORY:
        empty = pl.DataFrame(schema={CATEGORY: pl.String, ROWS: pl.Int64})
        return CategoricalProfile(counts=empty, nulls=side.nulls)
    return side.as_kind(kind)


def canonical(column: NumericProfile) -> NumericProfile:
    """One representation a distribution: each value once with its count where that halves the entries at least."""
    values, counts = column.values, column.counts
    if len(values) == 0:
        return column
    fresh, distinct = np.empty(len(values), dtype=bool), 1
    fresh[0] = True
    for start in range(1, len(values), _BLOCK):
        block = slice(start, start + _BLOCK)
        np.not_equal(values[block], values[start - 1 : -1][:_BLOCK], out=fresh[block])
        distinct += int(np.count_nonzero(fresh[block]))
        if counts is None and 2 * distinct > len(values):
            return column
    if counts is None:
        starts = np.flatnonzero(fresh)
        counts = np.diff(starts, append=len(values))
    elif distinct == len(values):
        starts = np.arange(distinct)
    else:
        starts = np.flatnonzero(fresh)
        counts = np.add.reduceat(counts, starts)
    values = values[starts]
    if 2 * distinct > int(counts.sum()) and not column.misplaced:
        values, counts = np.repeat(values, counts), None
    return NumericProfile(
        kind=column.kind, values=values, counts=counts, nulls=column.nulls, nans=column.nans, misplaced=column.misplaced
    )


def merge(name: str, left: ColumnProfile, right: ColumnProfile) -> ColumnProfile:
    """The distribution of the rows of both. Raises ColumnKindError."""
    kind = common_kind(name, left, right)
    left, right = convert(left, kind), convert(right, kind)
    if isinstance(left, CategoricalProfile) or isinstance(right, CategoricalProfile):
        assert isinstance(left, CategoricalProfile)
        assert isinstance(right, CategoricalProfile)
        both = pl.concat([left.counts, right.counts]).group_by(CATEGORY).agg(pl.col(ROWS).sum()).sort(CATEGORY)
        return CategoricalProfile(counts=both, nulls=left.nulls + right.nulls)
    values = np.concatenate([left.values, right.values])
    counts: NDArray[np.int64] | None = None
    if left.counts is None and right.counts is None:
        values.sort(kind="stable")
    else:
        order = np.argsort(values, kind="stable")
        weights = [np.ones(len(s.values), np.int64) if s.counts is None else s.counts for s in (left, right)]
        values, counts = values[order], np.concatenate(weights)[order]
    return canonical(
        NumericProfile(
            kind=kind,
            values=values,
            counts=counts,
            nulls=left.nulls + right.nulls,
            nans=left.nans + right.nans,
            misplaced=left.misplaced + right.misplaced,
        )
    )


def same(left: ColumnProfile, right: ColumnProfile) -> bool:
    """Whether both are the same distribution, to the last row and bit."""
    if isinstance(left, CategoricalProfile) or isinstance(right, CategoricalProfile):
        return (
            isinstance(left, CategoricalProfile)
            and isinstance(right, CategoricalProfile)
            and left.nulls == right.nulls
            and left.counts.equals(right.counts)
        )
    facts = [(p.kind, p.nulls, p.nans, p.misplaced, p.counts is None) for p in (left, right)]
    return (
        facts[0] == facts[1]
        and np.array_equal(left.values, right.values)
        and (left.counts is None or right.counts is None or np.array_equal(left.counts, right.counts))
    )
