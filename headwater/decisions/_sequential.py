"""The difference between two versions under live traffic, with an interval that holds at every look.

A fixed-sample test that is looked at after each batch alarms falsely sooner or later. The asymptotic confidence sequence of
Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Time-uniform central limit theory and asymptotic confidence sequences, Annals
of Statistics 2024, theorem 2.2) covers the difference at all sample sizes at once, so that one may look, and stop, at any time.
"""

import math
from dataclasses import dataclass
from typing import Final

from headwater.errors import HeadwaterError

FLOOR: Final = 100
"""Requests of a version below which nothing is judged."""
_TUNED_FOR: Final = 1_000
"""Requests of a version at which its interval is narrowest by default."""
TESTED_PART: Final = 2 / 3
"""Part of the chance of a false alarm at which a promise is tested against the time before, and at which the interval of that time is
taken: its upper end alone misses with half of it, so that both together keep the chance."""


class EffectError(HeadwaterError):
    """An observation or a level that cannot be."""

    def __init__(self, *, what: str, value: float, wanted: str) -> None:
        self.what, self.value = what, value
        super().__init__(f"{what} is {value}; it must be {wanted}.")


@dataclass(frozen=True, kw_only=True)
class Effect:
    """How much more of an outcome a candidate has than the live version.

    Attributes:
        candidate: Requests that the candidate answered.
        live: Requests that the live version answered.
        estimate: Mean outcome of the candidate less that of the live version.
        low: Lower end of the interval, -1 where too few were seen.
        high: Upper end, 1 where too few were seen.
    """

    candidate: int
    live: int
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class RunningMean:
    """What is needed of one version's outcomes so far; two of them add up.

    Attributes:
        count: Outcomes.
        total: Their sum.
        squares: Sum of their squares.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def with_outcome(self, outcome: float, *, repeated: int = 1) -> "RunningMean":
        """One more outcome, 0 to 1, such as 1 for an error; or several equal ones. Raises EffectError."""
        if not 0 <= outcome <= 1:
            raise EffectError(what="An outcome", value=outcome, wanted="from 0 to 1")
        return self + RunningMean(count=repeated, total=outcome * repeated, squares=outcome * outcome * repeated)

    def __add__(self, other: "RunningMean") -> "RunningMean":
        return RunningMean(
            count=self.count + other.count, total=self.total + other.total, squares=self.squares + other.squares
        )

    @property
    def mean(self) -> float:
        """Their mean, 0 where there is none."""
        return self.total / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """Their standard deviation, with one outcome at each end of the range added: no errors seen are no proof of none."""
        count, mean = self.count + 2, (self.total + 1) / (self.count + 2)
        return math.sqrt(max((self.squares + 1) / count - mean * mean, 0.0))


def effect(
    candidate: RunningMean, live: RunningMean, *, alpha: float = 0.05, floor: int = FLOOR, tuned_for: int = _TUNED_FOR
) -> Effect:
    """The difference so far. The chance that the interval ever misses the truth is at most about `alpha`, over all looks.

    Both versions must have answered the same traffic: begin anew whenever the share of the candidate changes. The theorem is
    asymptotic, so below `floor` requests of either version the interval is the whole range.

    Args:
        candidate: Outcomes of the candidate.
        live: Outcomes of the live version.
        alpha: That chance, between 0 and 1; half of it is spent on each version.
        floor: Requests of each version below which nothing is judged.
        tuned_for: Requests of a version at which its interval shall be narrowest, >= 1.

    Raises:
        EffectError: The level is none.
    """
    if not 0 < alpha < 1:
        raise EffectError(what="alpha", value=alpha, wanted="between 0 and 1")
    estimate = candidate.mean - live.mean
    if min(candidate.count, live.count) < max(floor, 1):
        return Effect(candidate=candidate.count, live=live.count, estimate=estimate, low=-1.0, high=1.0)
    half = sum(side.deviation * radius(side.count, alpha=alpha / 2, tuned_for=tuned_for) for side in (candidate, live))
    low, high = max(estimate - half, -1.0), min(estimate + half, 1.0)
    return Effect(candidate=candidate.count, live=live.count, estimate=estimate, low=low, high=high)


def paired_effect(
    differences: RunningMean, *, alpha: float = 0.05, floor: int = FLOOR, tuned_for: int = _TUNED_FOR
) -> Effect:
    """The difference of two versions that judged the same requests, at every look: what makes a day worse for both cancels out.

    What makes a day worse for one of them does not, so that this speaks of the days that were seen: of versions, windows do
    (`effect_by_window`).

    Args:
        differences: Outcome of the candidate less that of the live version, from -1 to 1, mapped to 0 to 1: `(d + 1) / 2`.
        alpha: The chance that the interval ever misses the truth, between 0 and 1.
        floor: Requests below which nothing is judged.
        tuned_for: Requests at which the interval shall be narrowest, >= 1.

    Raises:
        EffectError: The level is none.
    """
    if not 0 < alpha < 1:
        raise EffectError(what="alpha", value=alpha, wanted="between 0 and 1")
    count, estimate = differences.count, 2 * differences.mean - 1 if differences.count else 0.0
    if count < max(floor, 1):
        return Effect(candidate=count, live=count, estimate=estimate, low=-1.0, high=1.0)
    half = 2 * differences.deviation * radius(count, alpha=alpha, tuned_for=tuned_for)
    low, high = max(estimate - half, -1.0), min(estimate + half, 1.0)
    return Effect(candidate=count, live=count, estimate=estimate, low=low, high=high)


def highest(outcomes: RunningMean, *, alpha: float = 0.05, floor: int = FLOOR, tuned_for: int = _TUNED_FOR) -> float:
    """Upper end of the interval of a mean outcome, at every look; 1 where fewer than `floor` were seen."""
    if outcomes.count < max(floor, 1):
        return 1.0
    return min(outcomes.mean + outcomes.deviation * radius(outcomes.count, alpha=alpha, tuned_for=tuned_for), 1.0)


_STRENGTHS: Final = tuple(2.0**-power for power in range(1, 11))


def exceeds(bad: float, count: int, *, limit: float, alpha: float = 0.05) -> bool:
    """Whether the share of something bad certainly lies above a limit: exact, at any count, at every look.

    A mixture of likelihood ratios of ten shares above the limit against the limit itself. While the true share is at most the
    limit, it is a non-negative supermartingale that begins at 1, and by Ville's inequality (1939) reaches `1 / alpha` with a
    chance of `alpha` at most. Three failures in three requests are enough, where one in a hundred is allowed.

    Args:
        bad: How often it was bad, from 0 to `count`; also a sum of shares, one for each of `count`: by convexity no ratio is larger
            then on average than where each is 0 or 1.
        count: Of how many.
        limit: The share that may be; nothing exceeds one of 1.
        alpha: The chance of a false alarm over all looks, between 0 and 1.

    Raises:
        EffectError: The counts, the limit or the level cannot be.
    """
    if not 0 < alpha < 1:
        raise EffectError(what="alpha", value=alpha, wanted="between 0 and 1")
    if not 0 <= bad <= count:
        raise EffectError(what="bad", value=bad, wanted=f"from 0 to {count}")
    if not 0 < limit <= 1:
        raise EffectError(what="limit", value=limit, wanted="above 0, 1 at most")
    if limit >= 1:
        return False
    logs = []
    for strength in _STRENGTHS:
        share = limit + (1 - limit) * strength
        logs.append(bad * math.log(share / limit) + (count - bad) * math.log1p(-strength))
    most = max(logs)
    total = most + math.log(math.fsum(math.exp(log - most) for log in logs) / len(logs))
    return total >= -math.log(alpha)


def is_more_often(ours: RunningMean, theirs: RunningMean, *, alpha: float = 0.05) -> bool:
    """Whether something is certainly more often so of one side than of the other: at any count, at every look.

    The likelihood of two shares, each mixed over all of them (Jeffreys' prior), against the highest that one share for both can have:
    universal inference (Wasserman, Ramdas and Balakrishnan, PNAS 2020), at every look by Ville's inequality. Who gets a request is drawn, so
    that moments in which it is often so fall to both sides alike: of 4,000 sequences of 3,000 requests each, steady or with such
    moments, at shares from 5% to 90%, at most 0.6% were ever beyond an `alpha` of 5%. Five of five are enough beside none of fifteen.

    Args:
        ours: Outcomes that are 0 or 1.
        theirs: The same of the other side; nothing is shown without any.
        alpha: The chance of a false alarm over all looks, between 0 and 1.

    Raises:
        EffectError: The level is none.
    """
    if not 0 < alpha < 1:
        raise EffectError(what="alpha", value=alpha, wanted="between 0 and 1")
    if not theirs.count or ours.mean <= theirs.mean:
        return False
    return _mixed(ours) + _mixed(theirs) - _highest_likelihood(ours + theirs) >= -math.log(alpha)


def _mixed(outcomes: RunningMean) -> float:
    """Logarithm of the likelihood of zeros and ones, over all shares of ones."""
    ones, zeros = outcomes.total, outcomes.count - outcomes.total
    return math.lgamma(ones + 0.5) + math.lgamma(zeros + 0.5) - math.lgamma(outcomes.count + 1) - math.log(math.pi)


def _highest_likelihood(outcomes: RunningMean) -> float:
    """Logarithm of the likelihood of zeros and ones at the share that they have."""
    return sum(
        part * math.log(part / outcomes.count) for part in (outcomes.total, outcomes.count - outcomes.total) if part > 0
    )


def radius(count: int, *, alpha: float, tuned_for: int) -> float:
    """Half the width of the interval for outcomes of variance 1."""
    log = -2 * math.log(alpha)
    scaled = count * (log + math.log(log + 1)) / tuned_for  # t rho^2, with rho^2 best at `tuned_for`
    return math.sqrt(2 * (scaled + 1) / (count * scaled) * math.log(math.sqrt(scaled + 1) / alpha))
