"""Cuts a numeric column into cells along its reference distribution, pools rare categories, and counts rows a cell."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headwater.drift._columns import CATEGORY, ROWS
from headwater.drift._distribution import CategoricalProfile, NumericProfile
from headwater.drift._rare import cell_of_each


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Rows per cell on both sides. Of numeric columns the last cells are NaN and null.

    Attributes:
        reference: Rows of the reference per cell.
        current: Rows of the current data per cell.
    """

    reference: NDArray[np.int64]
    current: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cuts:
    """Boundaries between cells: below `open_at[i]` strictly, or up to and including `closed_at[i]`."""

    open_at: NDArray[np.generic]
    closed_at: NDArray[np.generic]

    def count(self, sample: NumericProfile) -> NDArray[np.int64]:
        # Every cut is a cumulative count, and cumulative counts sort as their cuts do.
        cumulative = np.concatenate([sample.below(self.open_at), sample.up_to(self.closed_at)])
        # The same order for both samples: by value, the open side of a value before its closed side.
        values = np.concatenate([self.open_at, self.closed_at])
        closed = np.concatenate([np.zeros(len(self.open_at), bool), np.ones(len(self.closed_at), bool)])
        ordered = cumulative[np.lexsort((closed, values))]
        inside = np.diff(ordered, prepend=0, append=sample.present)
        return np.concatenate([inside, [sample.nans, sample.nulls]])


def numeric_cells(reference: NumericProfile, current: NumericProfile, *, bins: int) -> Cells:
    """Rows per cell of a numeric column.

    A value that alone holds at least `1 / bins` of the reference's values, such as the zero of a zero-inflated column,
    is an atom with a cell of its own. What remains is cut at its own quantiles into about `bins` cells less the atoms.
    NaN and null have a cell each. Values outside the reference's range fall into the outermost cells.

    Args:
        reference: Decides the cuts.
        current: Same kind as `reference`.
        bins: Number of quantile bins, 10 by convention (Siddiqi 2006).
    """
    cuts = _cut(reference, bins) if reference.present else _range(current)
    return Cells(reference=cuts.count(reference), current=cuts.count(current))


def categorical_cells(reference: CategoricalProfile, current: CategoricalProfile) -> tuple[Cells, pl.DataFrame]:
    """Rows per cell, and the table of categories behind it (`category`, `reference`, `current`; sorted).

    A category has a cell of its own, and so has null, unless it is rare (`cell_of_each`).
    """
    table = (
        reference.counts.rename({ROWS: "reference"})
        .join(current.counts.rename({ROWS: "current"}), on=CATEGORY, how="full", coalesce=True)
        .with_columns(pl.col("reference", "current").fill_null(0))
        .sort(CATEGORY)
    )
    left = np.append(table.get_column("reference").to_numpy(), reference.nulls)
    right = np.append(table.get_column("current").to_numpy(), current.nulls)
    cell = cell_of_each(left, right)
    return Cells(reference=_sums(cell, left), current=_sums(cell, right)), table


def _sums(cell: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    found = np.zeros(int(cell.max()) + 1, np.int64)
    np.add.at(found, cell, rows)
    return found


def _range(sample: NumericProfile) -> _Cuts:
    """No cut at all: every value is in one cell."""
    nothing = sample.values[:0]
    return _Cuts(open_at=nothing, closed_at=nothing)


def _cut(reference: NumericProfile, bins: int) -> _Cuts:
    atoms, before, until = _atoms(reference, bins)
    rest = reference.present - int((until - before).sum())
    wanted = max(bins - len(atoms), 1)
    # Ranks among the rows that are no atom, then among all rows.
    ranks = np.unique((np.arange(1, wanted) * rest + wanted - 1) // wanted - 1) if rest else np.empty(0, np.int64)
    ranks = ranks[ranks >= 0]
    for start, end in zip(before, until, strict=True):
        ranks = np.where(ranks >= start, ranks + (end - start), ranks)
    edges = np.unique(reference.value_at(ranks))
    # The last value closes nothing: what lies above it belongs to its cell.
    edges = edges[edges < reference.values[-1]]
    return _Cuts(open_at=atoms, closed_at=np.union1d(edges, atoms))


def _atoms(reference: NumericProfile, bins: int) -> tuple[NDArray[np.generic], NDArray[np.int64], NDArray[np.int64]]:
    """Values that fill a quantile bin alone, with the ranks before and after them."""
    present = reference.present
    # A run of present/bins equal values covers at least one of these ranks.
    step = max(present // bins, 1)
    candidates = np.unique(reference.value_at(np.arange(0, present, step)))
    before, until = reference.below(candidates), reference.up_to(candidates)
    keep = (until - before) * bins >= present
    return candidates[keep], before[keep], until[keep]
