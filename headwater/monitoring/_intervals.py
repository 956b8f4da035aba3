"""Intervals of proportions, of means and of their differences, and what a comparison of two proportions can see.

SciPy is loaded where it is used.
"""

import math
from dataclasses import dataclass

import numpy as np

from headwater.models import Bootstrap
from headwater.models.evaluation_bootstrap import ends_by_group
from headwater.monitoring.errors import MonitoringRuleError


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def check_level(level: float) -> None:
    """Raises MonitoringRuleError unless a level lies between 0 and 1."""
    if not 0.0 < level < 1.0:
        raise MonitoringRuleError(rule="level", value=level, wanted="between 0 and 1")


def quantile_of_normal(probability: float) -> float:
    """The standard normal's quantile."""
    from scipy.special import ndtri

    return float(ndtri(probability))


def wilson(hits: float, count: float, *, level: float = 0.95) -> Estimate | None:
    """A proportion with Wilson's score interval (Wilson 1927, JASA 22, 209-212), without continuity correction.

    Args:
        hits: How often, 0 to `count`; a fraction where rows count for less than one (see `design_effect`).
        count: Of how many.
        level: Of the interval.

    Returns:
        None when there is nothing to count.

    Raises:
        MonitoringRuleError: `hits` is not from 0 to `count`, or the level is none.
    """
    check_level(level)
    if not 0 <= hits <= count:
        raise MonitoringRuleError(rule="hits", value=hits, wanted=f"from 0 to {count:g}")
    if count == 0:
        return None
    share, square = hits / count, quantile_of_normal(0.5 + level / 2) ** 2
    middle = share + square / (2 * count)
    half = math.sqrt(square) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    low, high = (middle - half) / (1 + square / count), (middle + half) / (1 + square / count)
    # At the ends of the range the formula gives the end up to rounding.
    return Estimate(value=share, low=0.0 if hits == 0 else max(low, 0.0), high=1.0 if hits == count else min(high, 1.0))


def newcombe(first: Estimate, second: Estimate) -> Estimate:
    """The difference of two independent proportions, first less second, from their Wilson intervals.

    Newcombe 1998 (Statistics in Medicine 17, 873-890), method 10: square and add.
    """
    difference = first.value - second.value
    low = difference - math.hypot(first.value - first.low, second.high - second.value)
    high = difference + math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value=difference, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Mean:
    """What is needed of one sample to compare its mean.

    Attributes:
        value: The mean.
        variance: With one degree of freedom less than rows.
        count: Rows; a fraction where rows count for less than one.
        freedom: Degrees of freedom of the mean's variance; None takes one less than rows.
    """

    value: float
    variance: float
    count: float
    freedom: float | None = None

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the mean's variance."""
        return self.count - 1 if self.freedom is None else self.freedom


def mean_of(values: np.ndarray, *, units: np.ndarray | None = None) -> Mean | None:
    """The mean of a sample; None of fewer than two rows.

    Args:
        values: `[rows]`.
        units: Unit number of each row (0, 1, ...) where rows of one unit are alike; None takes rows as independent.
    """
    if len(values) < 2:
        return None
    value, variance = float(values.mean()), float(values.var(ddof=1))
    if units is None:
        return Mean(value=value, variance=variance, count=len(values))
    count = len(values) / design_effect(values, units)
    return Mean(value=value, variance=variance, count=count, freedom=units_of_one_size(units) - 1)


def student(mean: Mean, *, level: float = 0.95) -> Estimate | None:
    """A mean with Student's interval; None where it counts for fewer than two rows or units."""
    from scipy.special import stdtrit

    check_level(level)
    if min(mean.count - 1, mean.degrees) < 1:
        return None
    half = float(stdtrit(mean.degrees, 0.5 + level / 2)) * math.sqrt(mean.variance / mean.count)
    return Estimate(value=mean.value, low=mean.value - half, high=mean.value + half)


def welch(first: Mean, second: Mean, *, level: float = 0.95) -> Estimate | None:
    """The difference of two means, first less second, of samples of unequal variance (Welch 1947, Biometrika 34, 28-35).

    Returns:
        None when a sample counts for fewer than two rows or units. Samples without any spread give an interval without width.
    """
    from scipy.special import stdtrit

    check_level(level)
    if min(first.count - 1, second.count - 1, first.degrees, second.degrees) < 1:
        return None
    difference = first.value - second.value
    parts = [side.variance / side.count for side in (first, second)]
    total = sum(parts)
    if total == 0:
        return Estimate(value=difference, low=difference, high=difference)
    # By shares of the sum, because the squares of very small variances are 0.
    sides = zip(parts, (first, second), strict=True)
    freedom = 1 / sum((part / total) ** 2 / side.degrees for part, side in sides)
    half = float(stdtrit(freedom, 0.5 + level / 2)) * math.sqrt(total)
    return Estimate(value=difference, low=difference - half, high=difference + half)


def mean_interval(values: np.ndarray, plan: Bootstrap, *, clusters: np.ndarray | None = None) -> Estimate | None:
    """A mean with Student's interval, or, where rows come in groups, with a bootstrap interval of whole groups (`ends_by_group`).

    Args:
        values: `[rows]`.
        plan: Level, and for groups resamples and seed.
        clusters: Group number of each row (0, 1, ...), or None.

    Returns:
        None of fewer than two rows or three groups.
    """
    mean = mean_of(values)
    by_row = student(mean, level=plan.level) if mean else None
    if clusters is None or by_row is None:
        return by_row
    units = int(clusters.max()) + 1
    sums, sizes = np.bincount(clusters, values, units), np.bincount(clusters, minlength=units)
    draw = np.random.Generator(np.random.PCG64(plan.seed))
    counts = draw.multinomial(units, np.full(units, 1 / units), plan.resamples)
    drawn = (counts * sums).sum(axis=1) / (counts * sizes).sum(axis=1)
    ends = ends_by_group(drawn, units, plan, by_row=(by_row.low, by_row.high))
    return None if ends is None else Estimate(value=by_row.value, low=ends[0], high=ends[1])


def design_effect(values: np.ndarray, units: np.ndarray) -> float:
    """By how much the variance of the mean grows because rows of one unit are alike; 1 at least.

    Variance of the mean, by leaving out one unit at a time (Wolter 1985, Introduction to Variance Estimation, chapter 4), over that of as
    many independent rows (Kish 1965, Survey Sampling).
    Dividing the number of rows by it gives intervals that hold (Korn and Graubard 1998, Survey Methodology 24, 193-201).

    Args:
        values: `[rows]`.
        units: Unit number of each row (0, 1, ...).
    """
    rows, groups = len(values), int(units.max()) + 1 if len(units) else 0
    if rows < 2 or groups < 2 or groups == rows:
        return 1.0
    spread = float(values.var(ddof=1)) / rows
    if spread == 0:
        return 1.0
    # How far the mean moves when a unit is left out: of a unit with most of the rows its distance from the mean says little.
    moved = np.bincount(units, values - values.mean(), groups) / (rows - np.bincount(units, minlength=groups))
    return max(1.0, (groups - 1) / groups * float((moved**2).sum()) / spread)


def units_of_one_size(units: np.ndarray) -> float:
    """As how many units some count whose sizes differ: the square of the sum of sizes over the sum of squares (Kish 1965).

    Args:
        units: Unit number of each row (0, 1, ...).
    """
    sizes = np.bincount(units).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(units) else 0.0


def effective_rows(units: np.ndarray, *, alike: float, level: float) -> float:
    """As how many independent rows some of units count in an interval of a proportion.

    Rows over the design effect, and over the square of Student's quantile over the normal one, because few units say little of how
    alike their rows are (Korn and Graubard 1998, Survey Methodology 24, 193-201). Units of one row each are independent rows.

    Args:
        units: Unit number of each row (0, 1, ...).
        alike: The design effect of what is counted.
        level: Of the interval.

    Returns:
        0 where they count as fewer than two units of one size: then nothing is known of others.
    """
    from scipy.special import stdtrit

    check_level(level)
    rows, freedom = len(units), units_of_one_size(units) - 1
    if freedom < 1:
        return 0.0
    if freedom == rows - 1:
        return float(rows)
    stretch = float(stdtrit(freedom, 0.5 + level / 2)) / quantile_of_normal(0.5 + level / 2)
    return rows / alike / stretch**2


def power_of_proportions(base: float, effect: float, counts: tuple[float, float], *, alpha: float = 0.05) -> float:
    """The chance that a two-sided test of two proportions finds a true difference, by the normal approximation.

    The other tail is neglected, as in R's `power.prop.test`. Fleiss, Levin and Paik 2003 (Statistical Methods for Rates and
    Proportions, 3rd edition, chapter 4).

    Args:
        base: The proportion without the effect, between 0 and 1.
        effect: The difference, not 0.
        counts: Rows of each side.
        alpha: Level of the test.
    """
    from scipy.special import ndtr

    other = _other(base, effect)
    first, second = counts
    if min(counts) <= 0:
        return 0.0
    pooled = (base * first + other * second) / (first + second)
    equal = math.sqrt(pooled * (1 - pooled) * (1 / first + 1 / second))
    unequal = math.sqrt(base * (1 - base) / first + other * (1 - other) / second)
    return float(ndtr((abs(effect) - quantile_of_normal(1 - alpha / 2) * equal) / unequal))


def rows_for_proportions(
    base: float, effect: float, *, alpha: float = 0.05, power: float = 0.8, ratio: float = 1.0
) -> tuple[int, int]:
    """Rows of each side with which a two-sided test of two proportions finds a true difference with this power.

    The inverse of `power_of_proportions`, the same source.

    Args:
        base: The proportion without the effect, between 0 and 1.
        effect: The difference to be found, not 0.
        alpha: Level of the test.
        power: Wanted chance of finding it.
        ratio: Rows of the second side for each of the first.
    """
    other = _other(base, effect)
    pooled = (base + ratio * other) / (1 + ratio)
    equal = quantile_of_normal(1 - alpha / 2) * math.sqrt(pooled * (1 - pooled) * (1 + 1 / ratio))
    unequal = quantile_of_normal(power) * math.sqrt(base * (1 - base) + other * (1 - other) / ratio)
    first = ((equal + unequal) / effect) ** 2
    return math.ceil(first), math.ceil(ratio * first)


def _other(base: float, effect: float) -> float:
    other = base + effect
    if effect == 0 or not 0 < base < 1 or not 0 < other < 1:
        wanted = f"not 0, and leave {base:g} between 0 and 1"
        raise MonitoringRuleError(rule="effect", value=effect, wanted=wanted)
    return other
