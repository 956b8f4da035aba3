"""Whether a rollout goes on, goes back, or waits: a pure function of declared rules and of evidence that is recorded with the decision.

Evidence begins anew with each stage: shares differ, and so do the requests that each version gets. Two questions have two answers.
Whether the service still keeps its promises is asked of every request at once, with an exact test for which few are enough. How well
a version decides is asked of settled windows of labels only, by a confidence sequence; on the same requests the windows have to agree.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from headwater.decisions._advance_evidence import RolloutEvidence, Standing, Versus
from headwater.decisions._comparison import Comparison, alarm_level, is_above, over_windows, shown, window_level
from headwater.decisions._promises import Promise, promises_of
from headwater.decisions._rollout import RolloutRules, RolloutStep, StepAction
from headwater.decisions._sequential import FLOOR, Effect, exceeds
from headwater.decisions._windows import LEAST_WINDOWS, SHORTEST_WINDOW, WindowEffect, allowed_share, wrong_more_often


class RolloutAction(StrEnum):
    """What a decision says."""

    ADVANCE = "advance"
    ABORT = "abort"
    WAIT = "wait"


class RolloutRule(StrEnum):
    """Which rule decided."""

    IDLE = "idle"
    ERRORS = "errors"
    LATENCY = "latency"
    LOSS = "loss"
    ACCURACY = "accuracy"
    SAMPLE_RATIO = "sample_ratio"
    REQUESTS = "requests"
    PROMISES = "promises"
    LABELS = "labels"
    NOT_WORSE = "not_worse"
    OVERDUE = "overdue"
    WATCH = "watch"


_MORE_LABELS: Final = (RolloutRule.LABELS, RolloutRule.NOT_WORSE, RolloutRule.OVERDUE)
"""What more labels may help."""


@dataclass(frozen=True, kw_only=True)
class RolloutDecision:
    """What to do, and why.

    Attributes:
        action: Advance, abort or wait.
        rule: Which rule says so.
        reason: Why, in one sentence.
        loss: Loss of the candidate less that of the other version, at the level of going on; None where nothing is compared.
        alarm: The same at the level of going back.
        labels_needed: Labels of the candidate, or units with labels, with which its interval would let it go on if all stays as it looks;
            None where that is unknown.
        loss_by_window: The difference as windows know it, at the level of going on; None where nothing is compared on the same requests.
        alarm_by_window: The same at the level of going back.
    """

    action: RolloutAction
    rule: RolloutRule
    reason: str
    loss: Effect | None = None
    alarm: Effect | None = None
    labels_needed: int | None = None
    loss_by_window: WindowEffect | None = None
    alarm_by_window: WindowEffect | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "action": self.action.value,
            "rule": self.rule.value,
            "reason": self.reason,
            "loss": vars(self.loss) if self.loss is not None else None,
            "alarm": vars(self.alarm) if self.alarm is not None else None,
            "labels_needed": self.labels_needed,
            "loss_by_window": vars(self.loss_by_window) if self.loss_by_window is not None else None,
            "alarm_by_window": vars(self.alarm_by_window) if self.alarm_by_window is not None else None,
        }

    def step(self, standing: Standing) -> RolloutStep | None:
        """The step that a release takes, None while it waits. One stage has one advance and one abort at most."""
        if self.action is RolloutAction.WAIT:
            return None
        action = StepAction(self.action.value)
        return RolloutStep(
            id=f"{standing.candidate} {action.value} at {standing.share:g} since {standing.since_commit[:16]}",
            candidate=standing.candidate,
            action=action,
            share=standing.share,
            reason=self.reason,
            order=standing.order,
        )


def decide_rollout(rules: RolloutRules, evidence: RolloutEvidence) -> RolloutDecision:
    """Whether the rollout in progress, or the version that is watched, goes on, goes back, or waits."""
    standing = evidence.standing
    if standing is None:
        return RolloutDecision(action=RolloutAction.WAIT, rule=RolloutRule.IDLE, reason=evidence.idle)
    compared = Comparison.of(rules, evidence, standing)
    if (alarm := next(_alarms(rules, evidence, standing, compared), None)) is not None:
        rule, reason = alarm
        return _decision(compared, RolloutAction.ABORT, rule, reason)
    if standing.is_watch:
        return _watched(rules, evidence, standing, compared)
    if evidence.dropped_until is not None:
        until = evidence.dropped_until.isoformat(timespec="seconds")
        reason = (
            f"requests of {standing.where} that came in up to {until} are no longer kept (Serving.keep), and what is left is another "
            "sample: it stays as it is until somebody promotes or rolls back"
        )
        return _decision(compared, RolloutAction.WAIT, RolloutRule.OVERDUE, reason)
    if (hindrance := next(_hindrances(rules, evidence, standing, compared), None)) is None:
        return _decision(compared, RolloutAction.ADVANCE, RolloutRule.NOT_WORSE, compared.not_worse(rules, evidence))
    rule, reason = hindrance
    if evidence.elapsed is not None and evidence.elapsed >= rules.max_wait:
        reason = (
            f"{standing.where} has lasted {evidence.elapsed}, {rules.max_wait} is the longest, and still {reason}: it stays as "
            "it is until somebody promotes or rolls back"
        )
        rule = RolloutRule.OVERDUE
    return _decision(compared, RolloutAction.WAIT, rule, reason)


def _decision(compared: Comparison, action: RolloutAction, rule: RolloutRule, reason: str) -> RolloutDecision:
    """A decision beside what it compared."""
    return RolloutDecision(
        action=action,
        rule=rule,
        reason=f"{reason}.",
        loss=compared.loss,
        alarm=compared.alarm,
        labels_needed=compared.labels_needed() if rule in _MORE_LABELS else None,
        loss_by_window=compared.loss_by_window,
        alarm_by_window=compared.alarm_by_window,
    )


def _alarms(
    rules: RolloutRules, evidence: RolloutEvidence, standing: Standing, compared: Comparison
) -> Iterator[tuple[RolloutRule, str]]:
    """Why it goes back, the gravest first."""
    level = alarm_level(rules, standing)
    for promise in _promises(evidence, standing):
        if reason := promise.broken(level=level):
            yield RolloutRule(promise.kind), reason
    if not evidence.mismatch and compared.is_worse:
        how = "on the same requests" if compared.versus.is_paired else "beside it"
        yield (
            RolloutRule.LOSS,
            f"the loss of {standing.candidate} is certainly higher than that of {standing.other} {how}, by {shown(compared.alarm)} "
            f"on {compared.versus.labels} {compared.versus.counted}{over_windows(compared.alarm_by_window)}",
        )
    if standing.is_watch and (why := _inaccurate(rules, evidence, standing, level)):
        yield RolloutRule.ACCURACY, why


def _inaccurate(rules: RolloutRules, evidence: RolloutEvidence, standing: Standing, level: float) -> str:
    """Why the accuracy of a version that got everything is certainly too far below that of the one before; empty when it is not.

    On the same requests where both scored most of them. Else as where nobody scores beside it: a version that can't be compared is no
    better for that. What is compared now by one and now by the other has half of the chance of a false alarm for each.
    """
    paired = evidence.versus_wrong if standing.is_compared else None
    part = level / 2 if standing.is_compared else level
    if paired is not None and paired.labels >= max(FLOOR, paired.candidate.count / 2):
        return _inaccurate_beside(rules, evidence.accuracy_drop, standing, paired, part)
    return _inaccurate_alone(rules, evidence, part)


def _inaccurate_beside(rules: RolloutRules, drop: float, standing: Standing, paired: Versus, level: float) -> str:
    """The same, on requests that both scored."""
    effect, allowed = paired.effect(alpha=level), drop * (1 - paired.other.mean)
    windows = paired.by_window(alpha=window_level(rules, standing))
    if not is_above(allowed, effect, windows, gross=rules.canary_margin):
        return ""
    said = f"it decides wrongly more often on the same requests, by {shown(effect)}{over_windows(windows)}"
    return f"{said}, certainly by more than {allowed:.4f}"


def _inaccurate_alone(rules: RolloutRules, evidence: RolloutEvidence, level: float) -> str:
    """The same, by windows, which differ anyway; where nothing of the version before is known, against the share that was promised.

    That is one of labels, so that it says nothing of units.
    """
    drop, found = evidence.accuracy_drop, evidence.candidate.wrong
    if len(evidence.wrong_before) >= LEAST_WINDOWS:
        allowed = allowed_share(evidence.wrong_before, drop=drop)
        looks = math.ceil(rules.watch / max(rules.window, SHORTEST_WINDOW)) + 1
        over = wrong_more_often(evidence.wrong_now, evidence.wrong_before, drop=drop, looks=looks, alpha=level)
        if over is None or not exceeds(round(found.total), found.count, limit=allowed, alpha=level):
            return ""
        said = f"{round(found.total)} of {found.count} decisions were wrong in {len(evidence.wrong_now)} windows"
        return f"{said}, certainly more than the {allowed:.1%} that may be after {len(evidence.wrong_before)} windows before it"
    units, wrong = evidence.versus_wrong, evidence.wrong_allowed
    if units is not None and units.per:
        return ""
    if wrong is not None and exceeds(round(found.total), found.count, limit=wrong, alpha=level):
        return f"{round(found.total)} of {found.count} decisions were wrong, certainly more than {wrong:.1%}"
    return ""


def _promises(evidence: RolloutEvidence, standing: Standing) -> Iterator[Promise]:
    """Each promise of each version that counts."""
    others = (evidence.other,) if 0 < standing.share < 1 else ()
    for asked in evidence.asked:
        yield from promises_of(
            asked, evidence.before, errors_allowed=evidence.errors_allowed, slow_allowed=evidence.slow_allowed,
            others=others, share=standing.share, is_scored_beside=asked.version == standing.other,
        )  # fmt: skip


def _hindrances(
    rules: RolloutRules, evidence: RolloutEvidence, standing: Standing, compared: Comparison
) -> Iterator[tuple[RolloutRule, str]]:
    """Why it does not go on yet."""
    found = evidence.candidate
    if evidence.mismatch:
        yield (
            RolloutRule.SAMPLE_RATIO,
            f"requests were not split as declared (p {evidence.split_p:.2g}), so that nothing can be compared",
        )
    if found.requests < rules.min_requests:
        missed = f", though {evidence.seen} came since: the service does not follow" if not found.requests else ""
        missed = missed if evidence.seen >= rules.min_requests else ""
        yield (
            RolloutRule.REQUESTS,
            f"{found.requests} of {rules.min_requests} requests reached {standing.candidate} in {standing.where}{missed}",
        )
    for promise in _promises(evidence, standing):
        if promise.found.mean > promise.limit(alpha=rules.alpha):
            said = f"{promise.found.mean:.2%} of the {promise.went}, {promise.allowed:.2%} may"
            yield RolloutRule.PROMISES, said
    if compared.versus.labels < rules.min_labels:
        yield (
            RolloutRule.LABELS,
            f"{compared.versus.labels} of {rules.min_labels} {compared.versus.counted} of settled windows are known in {standing.where}, "
            f"{evidence.unsettled} events wait for theirs",
        )
    if compared.loss.high >= compared.margin:
        yield (
            RolloutRule.NOT_WORSE,
            f"its loss in {standing.where} differs by {shown(compared.loss)}, not yet certainly by less than {compared.margin:g}",
        )
    yield from _disagreeing(standing, compared)


def _disagreeing(standing: Standing, compared: Comparison) -> Iterator[tuple[RolloutRule, str]]:
    """Why windows do not let it go on yet, where it is compared on the same requests."""
    windows = compared.loss_by_window
    if windows is None or windows.high < compared.margin:
        return
    if windows.windows < LEAST_WINDOWS:
        yield (
            RolloutRule.LABELS,
            f"{windows.windows} of {LEAST_WINDOWS} whole windows are settled in {standing.where}: one of them may be unlike the rest",
        )
        return
    yield (
        RolloutRule.NOT_WORSE,
        f"its loss in {standing.where}{over_windows(windows)}, differs not yet certainly by less than {compared.margin:g}",
    )


def _watched(
    rules: RolloutRules, evidence: RolloutEvidence, standing: Standing, compared: Comparison
) -> RolloutDecision:
    """Nothing is wrong with a version that got everything: its watch goes on or ends."""
    elapsed = evidence.elapsed
    if elapsed is None or elapsed < rules.watch:
        so_far = "no request yet" if elapsed is None else f"{elapsed} of {rules.watch}{_until(rules, evidence)}"
        reason = f"{standing.candidate} answers everything and is watched: {so_far}"
        return _decision(compared, RolloutAction.WAIT, RolloutRule.WATCH, reason)
    how = f"; its loss differs by {shown(compared.loss)}" if compared.versus.labels >= FLOOR else ""
    reason = (
        f"{standing.candidate} was watched for {rules.watch}, {compared.versus.labels} {compared.versus.counted}{how}"
    )
    return _decision(compared, RolloutAction.ADVANCE, RolloutRule.WATCH, reason)


def _until(rules: RolloutRules, evidence: RolloutEvidence) -> str:
    """Until when a watch goes on; empty where no calendar reaches so far."""
    first = evidence.first
    if first is None or datetime.max.replace(tzinfo=UTC) - first < rules.watch:
        return ""
    return f", until requests are about {(first + rules.watch).isoformat(timespec='minutes')}"
