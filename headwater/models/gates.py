"""Gates: claims about an evaluation that a product declares. What is undefined or missing fails, it never passes."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from headwater.models.errors import ModelDeclarationError
from headwater.models.evaluation import BASELINE, CHAMPION, Comparison, Evaluation, Metric
from headwater.models.evaluation_metrics import LOWER_IS_BETTER, MetricName

_VAGUE: Final = "rows of fewer than three days give none, nor do hardly any of one class; land more"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One claim about one metric: exactly one of `minimum`, `maximum`, `over_baseline`, `under_champion`.

    Attributes:
        metric: A `MetricName`.
        minimum: The value is at least this.
        maximum: The value is at most this.
        over_baseline: Better than the baseline by more than this, at the cautious end of the paired interval.
        under_champion: Not worse than the champion by more than this, at the cautious end of the paired interval.
            Holds when there is no champion, fails when there is one that cannot be compared.
        by: With `minimum` or `maximum`: every judged slice of this column has to hold.
        cautious: With `minimum` or `maximum`: judge the unfavourable end of the interval rather than the value.
    """

    metric: str
    minimum: float | None = None
    maximum: float | None = None
    over_baseline: float | None = None
    under_champion: float | None = None
    by: str | None = None
    cautious: bool = False

    def __post_init__(self) -> None:
        limits = (self.minimum, self.maximum, self.over_baseline, self.under_champion)
        given = [limit for limit in limits if limit is not None]
        if len(given) != 1 or not math.isfinite(given[0]):
            self._refuse("it needs exactly one limit, a finite number.", "Give minimum=, maximum= or a relative limit.")
        if self.metric not in list(MetricName):
            self._refuse("no evaluation has this metric.", f"Use one of {', '.join(MetricName)}.")
        relative = self.over_baseline is not None or self.under_champion is not None
        if relative and (self.by or self.cautious):
            self._refuse("a relative gate has neither `by` nor `cautious`.", "It is judged at the cautious end anyway.")
        if relative and given[0] < 0:
            self._refuse(f"the margin {given[0]} is negative.", "Give a margin of 0 or more.")

    def _refuse(self, problem: str, remedy: str) -> None:
        raise ModelDeclarationError(what=f"Gate on '{self.metric}'", problem=problem, remedy=remedy)

    @property
    def name(self) -> str:
        """The claim in words, usable as a check's name."""
        if self.over_baseline is not None:
            claim = f"{self.metric}_beats_the_baseline"
        elif self.under_champion is not None:
            claim = f"{self.metric}_is_not_worse_than_the_champion"
        else:
            side, limit = ("at_least", self.minimum) if self.minimum is not None else ("at_most", self.maximum)
            where = f"_in_every_{self.by}" if self.by else ""
            claim = f"{self.metric}{where}_is_{'surely_' if self.cautious else ''}{side}_{limit}"
        return re.sub(r"[^A-Za-z0-9_]", "_", claim)


def beats_baseline(*, metric: str = MetricName.AUC, by: float = 0.0) -> Gate:
    """A gate: better than the declared baseline by more than `by`, at the cautious end of the paired interval."""
    return Gate(metric=str(metric), over_baseline=by)


def not_worse_than_champion(*, metric: str = MetricName.AUC, by: float = 0.01) -> Gate:
    """A gate: not worse than the released model by more than `by`, at the cautious end of the paired interval."""
    return Gate(metric=str(metric), under_champion=by)


@dataclass(frozen=True, kw_only=True)
class GateVerdict:
    """A gate's answer.

    Attributes:
        gate: The claim.
        passed: Whether it holds.
        value: The number judged, None when there is none.
        limit: What it was compared with.
        reason: One sentence.
    """

    gate: Gate
    passed: bool
    value: float | None
    limit: float
    reason: str

    @property
    def name(self) -> str:
        """The claim in words."""
        return self.gate.name

    def facts(self) -> dict[str, Any]:
        """Small JSON values for a check's record."""
        return {"metric": self.gate.metric, "value": self.value, "limit": self.limit, "reason": self.reason}


def judge(gates: Sequence[Gate], evaluation: Evaluation) -> tuple[GateVerdict, ...]:
    """One verdict a gate, in order."""
    return tuple(_judge(gate, evaluation) for gate in gates)


def _judge(gate: Gate, evaluation: Evaluation) -> GateVerdict:
    if gate.over_baseline is not None:
        return _relative(gate, evaluation.baseline, BASELINE, gate.over_baseline)
    if gate.under_champion is not None:
        if evaluation.champion_gap:
            reason = f"The champion cannot be compared, so the gate fails: {evaluation.champion_gap}"
            return _verdict(gate, False, None, -gate.under_champion, reason)
        if evaluation.champion is None:
            return _verdict(gate, True, None, -gate.under_champion, "There is no champion to compare with.")
        return _relative(gate, evaluation.champion, CHAMPION, -gate.under_champion)
    if gate.by is None:
        return _absolute(gate, evaluation.metric(gate.metric), "")
    slices = [item for item in evaluation.slices if item.column == gate.by and item.judged]
    if not slices:
        return _verdict(gate, False, None, _limit(gate), f"No slice by '{gate.by}' was judged, so the gate fails.")
    verdicts = [
        _absolute(gate, _find(item.metrics, gate.metric), f" where {gate.by} is {item.value}") for item in slices
    ]
    return min(verdicts, key=lambda verdict: (verdict.passed, _favour(gate, verdict.value)))


def _absolute(gate: Gate, metric: Metric | None, where: str) -> GateVerdict:
    limit = _limit(gate)
    if metric is None or metric.value is None:
        why = "is missing" if metric is None else f"is {metric.undefined_reason}"
        return _verdict(gate, False, None, limit, f"{gate.metric}{where} {why}, so the gate fails.")
    least = gate.minimum is not None
    value: float | None = metric.value
    if gate.cautious:
        value = metric.low if least else metric.high
    if value is None or not math.isfinite(value):
        return _verdict(gate, False, None, limit, f"{gate.metric}{where} has no interval, so the gate fails: {_VAGUE}.")
    passed = value >= limit if least else value <= limit
    relation = "at least" if least else "at most"
    text = f"{gate.metric}{where} is {value:.4f} on {metric.n} rows; it must be {relation} {limit}."
    return _verdict(gate, passed, value, limit, text)


def _relative(gate: Gate, comparison: Comparison | None, against: str, limit: float) -> GateVerdict:
    if comparison is None:
        return _verdict(gate, False, None, limit, f"There is no {against} to compare with, so the gate fails.")
    metric = _find([item.metric for item in comparison.differences], gate.metric)
    if metric is None or metric.value is None or metric.low is None or metric.high is None:
        why = (
            metric.undefined_reason
            if metric and metric.undefined_reason
            else f"missing, or without an interval ({_VAGUE})"
        )
        return _verdict(gate, False, None, limit, f"The difference of {gate.metric} is {why}, so the gate fails.")
    lower = gate.metric in LOWER_IS_BETTER
    gained, least = (-metric.value, -metric.high) if lower else (metric.value, metric.low)
    passed = least > limit if against == BASELINE else least >= limit
    text = (
        f"{gate.metric} is better than the {against}'s ({comparison.version}) by {gained:.4f}, at least {least:.4f}; "
        f"that must be {'more than' if against == BASELINE else 'at least'} {limit}."
    )
    return _verdict(gate, passed, least, limit, text)


def _find(metrics: Sequence[Metric], name: str) -> Metric | None:
    return next((metric for metric in metrics if metric.name == name), None)


def _limit(gate: Gate) -> float:
    limit = gate.minimum if gate.minimum is not None else gate.maximum
    assert limit is not None  # the constructor made sure
    return limit


def _favour(gate: Gate, value: float | None) -> float:
    if value is None:
        return -math.inf
    return value if gate.minimum is not None else -value


def _verdict(gate: Gate, passed: bool, value: float | None, limit: float, reason: str) -> GateVerdict:
    return GateVerdict(gate=gate, passed=passed, value=value, limit=limit, reason=reason)
