"""The distribution of one column: sorted values or counts of categories."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headwater.drift._columns import ROWS, ValueKind

_NUMPY_DTYPE = {ValueKind.SINGLE: np.float32, ValueKind.DOUBLE: np.float64, ValueKind.NOTHING: np.float64}


@dataclass(frozen=True, kw_only=True, eq=False)
class NumericProfile:
    """The distribution of a column with an order.

    Attributes:
        kind: How its values are compared.
        values: Sorted values without null and NaN (infinities are values). Int64, Float32 or Float64.
        counts: Rows that each entry of `values` stands for, or None when every entry is one row.
        nulls: Rows without a value.
        nans: Rows that hold NaN. Kept apart from null: one is absent, the other a failed computation.
        misplaced: Rows at most by which a cumulative count may be too low (0: exact, see `compress`).
    """

    kind: ValueKind
    values: NDArray[np.generic]
    counts: NDArray[np.int64] | None = None
    nulls: int = 0
    nans: int = 0
    misplaced: int = 0
    _ends: NDArray[np.int64] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if self.counts is not None:
            object.__setattr__(self, "_ends", np.concatenate([[0], np.cumsum(self.counts)]))

    @property
    def present(self) -> int:
        """Rows with a value that is not NaN."""
        return len(self.values) if self._ends is None else int(self._ends[-1])

    @property
    def rows(self) -> int:
        """All rows."""
        return self.present + self.nulls + self.nans

    def up_to(self, at: NDArray[np.generic]) -> NDArray[np.int64]:
        """How many rows lie at or below each of `at`."""
        return self._rank(np.searchsorted(self.values, at, side="right"))

    def below(self, at: NDArray[np.generic]) -> NDArray[np.int64]:
        """How many rows lie strictly below each of `at`."""
        return self._rank(np.searchsorted(self.values, at, side="left"))

    def around(self, at: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`below` and `up_to` of each of `at`, with one search where a value occurs once at most. At least one value."""
        last = len(self.values) - 1
        first = np.searchsorted(self.values, at, side="left")
        after = first + (self.values[np.minimum(first, last)] == at)
        tied = (first < after) & (after <= last) & (self.values[np.minimum(after, last)] == at)
        if tied.any():
            after[tied] = np.searchsorted(self.values, at[tied], side="right")
        return self._rank(first), self._rank(after)

    def around_entry(self, entry: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The same for the values of these entries (0 is the first), with a search for those that stand there twice."""
        last, at = len(self.values) - 1, self.values[entry]
        first, after = np.array(entry), entry + 1
        earlier = (entry > 0) & (self.values[np.maximum(entry - 1, 0)] == at)
        if earlier.any():
            first[earlier] = np.searchsorted(self.values, at[earlier], side="left")
        later = (entry < last) & (self.values[np.minimum(after, last)] == at)
        if later.any():
            after[later] = np.searchsorted(self.values, at[later], side="right")
        return self._rank(first), self._rank(after)

    def end_of(self, entry: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many rows lie at or before each of these entries (0 is the first)."""
        return entry + 1 if self._ends is None else self._ends[entry + 1]

    def entry_of(self, rank: NDArray[np.int64]) -> NDArray[np.int64]:
        """The entries that hold the rows with these ranks (0 is the smallest)."""
        return rank if self._ends is None else np.searchsorted(self._ends, rank, side="right") - 1

    def value_at(self, rank: NDArray[np.int64]) -> NDArray[np.generic]:
        """The values of the rows with these ranks (0 is the smallest)."""
        return self.values[self.entry_of(rank)]

    def median(self) -> float | None:
        """The lower median, None without values or for points in time."""
        if self.present == 0 or self.kind in (ValueKind.INSTANT, ValueKind.DURATION):
            return None
        return float(self.value_at(np.array([(self.present - 1) // 2]))[0])

    def compress(self, points: int) -> "NumericProfile":
        """The same distribution at about `points` values, each standing for the rows up to and including it.

        Cumulative counts stay exact at the kept values; between them they are too low by `misplaced` rows at most, so
        a KS statistic is off by at most `misplaced / present` (reported as its error). The least value is kept, so that
        the distribution function is exact outside the kept values and the Wasserstein distance has a bound as well.
        """
        if len(self.values) <= points:
            return self
        steps = max(points - 1, 1)
        ranks = np.append(0, np.arange(1, steps + 1) * self.present // steps - 1)
        kept = np.unique(self.value_at(ranks))
        ends = self.up_to(kept)
        counts = np.diff(ends, prepend=0)
        # Rows equal to the kept value are in place; those between two kept values are shown too far right.
        moved = int((self.below(kept) - np.concatenate([[0], ends[:-1]])).max(initial=0))
        return NumericProfile(
            kind=self.kind,
            values=kept,
            counts=counts,
            nulls=self.nulls,
            nans=self.nans,
            misplaced=self.misplaced + moved,
        )

    def as_kind(self, kind: ValueKind) -> "NumericProfile":
        """The same rows with values in another kind's dtype; rounding keeps their order."""
        if kind is self.kind:
            return self
        values = self.values.astype(_NUMPY_DTYPE.get(kind, np.int64))
        return NumericProfile(
            kind=kind, values=values, counts=self.counts, nulls=self.nulls, nans=self.nans, misplaced=self.misplaced
        )

    def _rank(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        return index if self._ends is None else self._ends[index]


@dataclass(frozen=True, kw_only=True, eq=False)
class CategoricalProfile:
    """The distribution of a column of categories.

    Attributes:
        counts: `category` (String, unique, sorted by bytes) and `rows` (Int64).
        nulls: Rows without a category.
    """

    counts: pl.DataFrame
    nulls: int = 0

    @property
    def kind(self) -> ValueKind:
        """Always `category`."""
        return ValueKind.CATEGORY

    @property
    def present(self) -> int:
        """Rows with a category."""
        return int(self.counts.get_column(ROWS).sum())

    @property
    def rows(self) -> int:
        """All rows."""
        return self.present + self.nulls


ColumnProfile: TypeAlias = NumericProfile | CategoricalProfile
