"""Which categories are too rare for a cell of their own, and which cells they share."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_Counts = NDArray[np.int64]
_EXPECTED: Final = 5.0
"""Rows of a cell that the smaller side should have, where it is much the smaller one (Cochran 1954, Biometrics 10, 417-451)."""
_SURE: Final = 0.001
"""Chance at most, over all categories of a column, that one has a cell of its own because it differs, although nothing does."""

_SEED: Final = 20_131_231


def cell_of_each(reference: _Counts, current: _Counts) -> _Counts:
    """The cell of each category, 0, 1, ...

    The square of a rare category's distance from what is expected has a long tail where one side has far more rows than the other, so that
    chi-squared would find differences that are not there. Such categories share cells with others that have about as many rows on both
    sides together. Which side a row is of decides nothing there, so the test stays one; and a tail that grew, or many new categories that
    are rare each, differ from the known ones in how rare they are. A category of which the smaller side has so many rows that chance rules
    it out among as many categories keeps a cell of its own.

    Args:
        reference: Rows of each category, and of null.
        current: Likewise, in the same order. Each side has a row at least.
    """
    both = reference + current
    least = _least(int(reference.sum()), int(current.sum()))
    rare = (both > 0) & (both < least)
    rare[rare] = ~_certain(
        reference[rare], current[rare], int(reference.sum()), int(current.sum()), int(np.count_nonzero(both))
    )
    cell = np.empty(len(both), np.int64)
    cell[~rare] = np.arange(np.count_nonzero(~rare))
    if rare.any():
        cell[rare] = _shared(both, rare, cell, least)
    return cell


def _least(n: int, m: int) -> float:
    """Rows of both sides from which on a category has a cell of its own.

    There the variance of its part of chi-squared exceeds that of the distribution by a tenth: it is 2 + (1 - 6 v) / (rows v), with v the
    product of the sides' shares. Where both sides have more than a fifth of all rows it never does.
    """
    product = n * m / (n + m) ** 2
    return _EXPECTED * max(1 - 6 * product, 0.0) / product


def _certain(reference: _Counts, current: _Counts, n: int, m: int, categories: int) -> NDArray[np.bool_]:
    """Which rare categories have more rows on the smaller side than chance gives any of them."""
    from scipy.special import bdtrc

    share, smaller = min(n, m) / (n + m), current if m <= n else reference
    limit = _SURE / categories
    # A category of k rows there has that many with a chance of share^k at least: most need no more than this look.
    possible = (smaller > 0) & (smaller * np.log(share) <= np.log(limit))
    found = np.zeros(len(smaller), bool)
    both = (reference + current)[possible]
    found[possible] = bdtrc(smaller[possible] - 1, both, share) <= limit
    return found


def _shared(both: _Counts, rare: NDArray[np.bool_], cell: _Counts, least: float) -> _Counts:
    """The cells of rare categories, each with rows enough: neighbours by how rare they are, to a factor of two.

    Among as rare ones chance says who is whose neighbour, not the name: ids that are handed out in order are no more news than others.
    """
    rows = both[rare]
    drawn = np.random.Generator(np.random.PCG64(_SEED)).permutation(len(rows))
    order = drawn[np.argsort(np.frexp(rows[drawn].astype(np.float64))[1], kind="stable")]
    before = np.cumsum(rows[order]) - rows[order]
    # A category that lies across a cut has less than `least` rows, so what is left between two cuts has more.
    nth = (before // (2 * least)).astype(np.int64)
    if rows[order][nth == nth[-1]].sum() < least:
        common = np.flatnonzero(~rare & (both >= least))
        if nth[-1] == 0 and len(common):
            return np.full(len(rows), cell[common[np.argmin(both[common])]])
        nth[nth == nth[-1]] = max(nth[-1] - 1, 0)
    found = np.empty(len(rows), np.int64)
    found[order] = np.count_nonzero(~rare) + nth
    return found
