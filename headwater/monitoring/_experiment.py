"""A report on versions that answered side by side: rates and costs, what the test can see, and whether the split was fair.

Its intervals hold for one look at the end of a test of planned length. Whoever looks daily uses `headwater.decisions.effect`.
Whether the split was fair is told at every look.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from headwater.monitoring._costs import DecisionCosts
from headwater.monitoring._intervals import Estimate
from headwater.monitoring._json import Recorded
from headwater.monitoring._sample_ratio import SampleRatio
from headwater.monitoring.errors import MonitoringRuleError


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A declared test of versions against each other.

    Attributes:
        shares: Variant to its share of the units; together 1. As in the traffic policy.
        control: The variant that the others are compared with.
        unit: Columns that name what was assigned: the entity where an entity keeps its version, or `request_id`.
        effect: Difference of the share of right decisions that the test is to find, such as 0.01.
        alpha: Chance of a false alarm over all comparisons together (Bonferroni), between 0 and 1.
        power: Wanted chance to find the effect.
        costs: The business metric; None without one.
        min_coverage: Share of each variant's events with a known label below which nothing is judged.
    """

    shares: Mapping[str, float]
    control: str
    unit: tuple[str, ...]
    effect: float
    alpha: float = 0.05
    power: float = 0.8
    costs: DecisionCosts | None = None
    min_coverage: float = 0.95

    def __post_init__(self) -> None:
        _check("shares", dict(self.shares), _are_shares(self.shares), "two or more shares from 0 to 1 that add up to 1")
        _check("control", self.control, self.shares.get(self.control, 0) > 0, "a variant with a share above 0")
        _check("unit", self.unit, bool(self.unit), "one column or more")
        _check("effect", self.effect, 0 < abs(self.effect) < 1, "a difference of shares that is not 0")
        _check("alpha", self.alpha, 0 < self.alpha < 1, "between 0 and 1")
        _check("power", self.power, 0 < self.power < 1, "between 0 and 1")
        _check("min_coverage", self.min_coverage, 0 <= self.min_coverage <= 1, "from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class VariantResult(Recorded):
    """What one variant did.

    Attributes:
        variant: Its name.
        units: Units that got it first.
        events: Events that it judged.
        labelled: Of them with a known label.
        coverage: Share of the events that will have a label whose label is known; None when there are none.
        decided: Share of events with a positive decision (Wilson); None of fewer than two units.
        correct: Share of right decisions among the labelled (Wilson); None unless enough labels are known, of more than two units.
        cost: Mean cost of a decision among the labelled (Student); None as `correct`, or without costs.
        design_effect: By how much fewer rows the labelled ones count, because rows of a unit are alike. The intervals are wider still
            where units are few.
    """

    variant: str
    units: int
    events: int
    labelled: int
    coverage: float | None
    decided: Estimate | None
    correct: Estimate | None
    cost: Estimate | None
    design_effect: float


@dataclass(frozen=True, kw_only=True)
class VariantDifference(Recorded):
    """One variant less the control.

    Attributes:
        variant: Its name.
        correct: Difference of the shares of right decisions (Newcombe 1998).
        cost: Difference of the mean costs (Welch 1947).
        power: Chance that a test of as many rows finds the declared effect; None where undefined. Not the power for the
            difference seen, which only says again what the p-value does (Hoenig and Heisey 2001).
        needed: Labelled rows of control and variant for the wanted power, at the control's rate and with rows of a unit as
            alike as they were; None where undefined.
        judged: Whether both sides have enough labels, of more than two units, and the split was fair.
        reason: Why not, or what was seen, in one sentence.
    """

    variant: str
    correct: Estimate | None
    cost: Estimate | None
    power: float | None
    needed: tuple[int, int] | None
    judged: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class ExperimentReport(Recorded):
    """The state of a test.

    Attributes:
        variants: By name, in the order declared.
        differences: Each variant against the control.
        ratio: Whether the split was fair.
        crossed: Units that were given several variants: the assignment was not sticky.
        crossed_examples: Of them 20 at most.
        undeclared: Events answered by a variant that the test does not declare; left out.
        level: Of the intervals, after Bonferroni.
    """

    variants: tuple[VariantResult, ...]
    differences: tuple[VariantDifference, ...]
    ratio: SampleRatio
    crossed: int
    crossed_examples: tuple[str, ...]
    undeclared: int
    level: float


def _are_shares(shares: Mapping[str, float]) -> bool:
    return (
        len(shares) > 1
        and all(0 <= share <= 1 for share in shares.values())
        and abs(math.fsum(shares.values()) - 1) < 1e-9
    )


def _check(rule: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise MonitoringRuleError(rule=f"Experiment(...): {rule}", value=value, wanted=wanted)
