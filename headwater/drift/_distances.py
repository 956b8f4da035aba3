"""Wasserstein-1 from sorted values: how far the rows of one side have to move to lie as those of the other."""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from headwater.drift._columns import ValueKind
from headwater.drift._distribution import NumericProfile

_Values: TypeAlias = NDArray[np.generic]
_Floats: TypeAlias = NDArray[np.float64]
_Counts: TypeAlias = NDArray[np.int64]
# Entries at once, so that what is computed of them stays in a core's own cache.
_BLOCK = 1 << 15
_SQUARED = (1e-140, 1e140)
"""Numbers between these have squares of which millions can be added up."""
_MICROSECONDS = (ValueKind.INSTANT, ValueKind.DURATION)


def wasserstein(reference: NumericProfile, current: NumericProfile) -> tuple[float, float | None, float] | None:
    """The Wasserstein-1 distance of two samples, its effect size, and how far the distance may be off.

    The distance is the area between both distribution functions, which is the mean distance between values of equal
    rank (Vallender 1974, Theory of Probability and its Applications 18, 784-786).

    Args:
        reference: Its standard deviation is the effect's unit.
        current: Same kind as `reference`.

    Returns:
        The distance in the column's unit (seconds for points in time and durations); the distance over the standard
        deviation, None when that is 0 and the distance is not; the error, 0 for exact profiles. None where there is no
        distance: a side has no value or an infinite one, or the values are too far apart for a double.
    """
    if not (reference.present and current.present and _finite(reference) and _finite(current)):
        return None
    unit = 1e6 if reference.kind in _MICROSECONDS else 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        distance = mean_distance(reference, current) / unit
        spread = standard_deviation(reference) / unit
        error = (_error(reference) + _error(current)) / unit
    return (distance, _effect(distance, spread), error) if math.isfinite(distance + error) else None


def mean_distance(left: NumericProfile, right: NumericProfile) -> float:
    """The mean distance between values of equal rank, in the dtype's unit. Both sides have a value, none is infinite."""
    more, fewer = (left, right) if len(left.values) >= len(right.values) else (right, left)
    # Blocks in which about so many entries of the more lie.
    step = max(_BLOCK * len(fewer.values) // len(more.values), 1)
    if left.counts is None and right.counts is None and left.present == right.present:
        parts = [_of_rows(more, fewer.values[at : at + step], at) for at in range(0, len(fewer.values), step)]
        return float(np.sum(parts))
    total, begun = [], 0
    for first in range(0, len(fewer.values), step):
        after = min(first + step, len(fewer.values))
        # Shares are counted in 1/(n m), so that the ends of all entries are whole numbers.
        cuts = fewer.end_of(np.arange(first, after)) * more.present
        entry = more.entry_of((cuts - 1) // fewer.present)
        # First as if each entry of the more lay beside one value only, that at its beginning; then what a cut inside moves.
        opposite = np.repeat(fewer.values[first:after], np.diff(entry + 1, prepend=begun))
        total += [_of_rows(more, opposite, begun), _of_cuts(more, fewer, cuts, entry, first)]
        begun = int(entry[-1]) + 1
    return max(float(np.sum(total)), 0.0)


def _of_rows(sample: NumericProfile, opposite: _Values, first: int) -> float:
    """What the entries from `first` on add to the mean distance, each beside its value of `opposite`."""
    at = slice(first, first + len(opposite))
    apart = _apart(sample.values[at], opposite)
    if sample.counts is None:
        return float(apart.sum()) / sample.present
    return _product(apart, sample.counts[at] / sample.present)


def _of_cuts(more: NumericProfile, fewer: NumericProfile, cuts: _Counts, entry: _Counts, first: int) -> float:
    """What it changes that the rest of an entry of `more`, after a cut inside it, lies beside the next value of `fewer`."""
    rest = more.end_of(entry) * fewer.present - cuts
    inside = np.flatnonzero(rest)  # not the last cut of all
    if not len(inside):
        return 0.0
    values = more.values[entry[inside]]
    moved = _apart(values, fewer.values[first + inside + 1]) - _apart(values, fewer.values[first + inside])
    return _product(rest[inside] / (more.present * fewer.present), moved)


def standard_deviation(sample: NumericProfile) -> float:
    """The standard deviation over the rows (divisor n), in the dtype's unit. The sample has a value, none is infinite."""
    # About the median, from which the mean lies one standard deviation away at most: little cancels.
    middle = int(sample.entry_of(np.array([(sample.present - 1) // 2]))[0])
    centre, total, squares = sample.values[middle : middle + 1], [], []
    furthest = float(max(_apart(sample.values[:1], centre)[0], _apart(sample.values[-1:], centre)[0]))
    if furthest == 0 or not math.isfinite(furthest):
        return furthest
    # Squares of numbers as far out as 1e200, or as near as 1e-200, are none.
    scale = furthest if not _SQUARED[0] < furthest < _SQUARED[1] else 1.0
    for start in range(0, len(sample.values), _BLOCK):
        away = _away(sample.values[start : start + _BLOCK], centre, max(middle - start, 0))
        if scale != 1.0:
            away /= scale
        weighted = away if sample.counts is None else away * sample.counts[start : start + _BLOCK]
        total.append(float(weighted.sum()))
        squares.append(_product(weighted, away))
    mean = math.fsum(total) / sample.present
    return scale * math.sqrt(max(math.fsum(squares) / sample.present - mean**2, 0.0))


def _product(left: _Floats, right: _Floats) -> float:
    """The inner product, in this thread: BLAS would wake others for it, and there is a column for each already."""
    return float(np.einsum("i,i->", left, right))


def _effect(distance: float, spread: float) -> float | None:
    """A distance in standard deviations, None where that is no number."""
    if distance == 0:
        return 0.0
    return distance / spread if spread and math.isfinite(spread) and distance / spread < math.inf else None


def _apart(left: _Values, right: _Values) -> _Floats:
    """Distances between values, exact for integers of any size before they are rounded."""
    if left.dtype.kind == "f":
        found: _Floats = np.subtract(left, right, dtype=np.float64)
        return np.abs(found, out=found)
    # The distance of two Int64 may need 64 bits without a sign; the difference is right modulo 2**64.
    return (np.maximum(left, right) - np.minimum(left, right)).view(np.uint64).astype(np.float64)


def _away(values: _Values, centre: _Values, below: int) -> _Floats:
    """`values - centre`, of which the first `below` lie below it or at it."""
    if values.dtype.kind == "f":
        return np.subtract(values, centre, dtype=np.float64)
    away = _apart(values, centre)
    np.negative(away[:below], out=away[:below])
    return away


def _finite(sample: NumericProfile) -> bool:
    """Whether no value is infinite."""
    return bool(np.isfinite(sample.values[[0, -1]]).all())


def _error(sample: NumericProfile) -> float:
    """Between the least and the largest value, a compressed distribution is too low by `misplaced` rows at most.

    Files of older versions do not keep the least value: what lies below their first one is not in the error.
    """
    if not sample.misplaced:
        return 0.0
    return float(_apart(sample.values[-1:], sample.values[:1])[0]) * (sample.misplaced / sample.present)
