"""Whether an experiment goes on, ends, or has learned: a pure function of declared rules and of recorded evidence.

An experiment is a policy of several versions that stands: ordered, or declared as the way a new version comes in. Promises are tested
exactly, as in a rollout. Losses are compared by intervals that hold at every look; each version's is a sequence of its own, so that they
hold where a bandit chooses how many requests each gets.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from headwater.decisions._advance_evidence import Traffic, Versus
from headwater.decisions._comparison import over_windows, shown
from headwater.decisions._experiment_evidence import Duel, ExperimentEvidence, ExperimentStanding
from headwater.decisions._learning import LEARNED, learned_policy, policy_shares
from headwater.decisions._policies import AB_TEST, SHADOW, in_order
from headwater.decisions._promises import promises_of
from headwater.decisions._rollout import RolloutRules, RolloutStep, StepAction
from headwater.decisions._sequential import FLOOR, Effect
from headwater.decisions._windows import WindowEffect

_MOST: Final = 10_000_000
"""Labels beyond which nobody waits."""


class ExperimentAction(StrEnum):
    """What a decision says."""

    WAIT = "wait"
    ABORT = "abort"
    ADVANCE = "advance"
    LEARN = "learn"


class ExperimentRule(StrEnum):
    """Which rule decided."""

    IDLE = "idle"
    ERRORS = "errors"
    LATENCY = "latency"
    WORSE = "worse"
    BETTER = "better"
    LEARNED = "learned"
    SAMPLE_RATIO = "sample_ratio"
    OVERDUE = "overdue"
    INCOMPLETE = "incomplete"
    OPEN = "open"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How a version compares with the control.

    Attributes:
        version: The version.
        loss: Its loss less that of the control, with an interval that holds at every look.
        wrong: The same of the share of wrong decisions.
        by_window: The difference of the losses as windows know it; None where each has requests of its own.
        labels_needed: Labels, or units with labels, of the side that has fewer with which the interval is as narrow as the margin, if they spread as those
            that are known; None where that is unknown, or is so already.
    """

    version: str
    loss: Effect
    wrong: Effect
    labels_needed: int | None
    by_window: WindowEffect | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        windows = vars(self.by_window) if self.by_window is not None else None
        return {**vars(self), "loss": vars(self.loss), "wrong": vars(self.wrong), "by_window": windows}


@dataclass(frozen=True, kw_only=True)
class ExperimentDecision:
    """What to do, and why.

    Attributes:
        action: Wait, abort, advance or learn.
        rule: Which rule says so.
        reason: Why, in one sentence.
        compared: Each version against the control.
        level: The chance that each interval ever misses: all of them, and all alarms, share `alpha`.
        culprit: Who ends it, empty unless it is aborted.
        policy: What the policy becomes, None unless it learned.
    """

    action: ExperimentAction
    rule: ExperimentRule
    reason: str
    compared: tuple[Compared, ...] = ()
    level: float | None = None
    culprit: str = ""
    policy: Mapping[str, Any] | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "action": self.action.value,
            "rule": self.rule.value,
            "reason": self.reason,
            "compared": [one.to_json() for one in self.compared],
            "level": self.level,
            "culprit": self.culprit or None,
            "policy": dict(self.policy) if self.policy is not None else None,
        }

    def step(self, standing: ExperimentStanding) -> RolloutStep | None:
        """The step that a release takes, None while it waits. One experiment has one end; what it learns is a step each time."""
        if self.action is ExperimentAction.WAIT:
            return None
        every = in_order(standing.policy)
        others = [name for name in every if name != standing.back] or list(every)
        about = standing.candidate or (self.culprit if self.culprit in others else others[0])
        told = "" if self.policy is None else f" {_digest(self.policy)}"
        return RolloutStep(
            id=f"{about} {self.action.value}{told} in {standing.kind} since {standing.since_commit[:16]}",
            candidate=about,
            action=StepAction(self.action.value),
            share=float(standing.policy.get("shares", {}).get(about, 0.0)),
            reason=self.reason,
            order=standing.order,
            policy=self.policy,
        )


def decide_experiment(rules: RolloutRules, evidence: ExperimentEvidence) -> ExperimentDecision:
    """Whether the experiment in progress ends, has learned, or goes on."""
    standing = evidence.standing
    if standing is None:
        return ExperimentDecision(action=ExperimentAction.WAIT, rule=ExperimentRule.IDLE, reason=evidence.idle)
    asked = 2 * len(standing.tested) + 2 * len(
        evidence.duels
    )  # two promises each; a loss and a share of wrong decisions each
    level = rules.alpha / max(asked, 1)
    compared = tuple(_compared(duel, rules, level) for duel in evidence.duels)
    found = next(_findings(rules, evidence, standing, compared, level))
    return ExperimentDecision(**{"compared": compared, "level": level, **found})


def _findings(
    rules: RolloutRules,
    evidence: ExperimentEvidence,
    standing: ExperimentStanding,
    compared: tuple[Compared, ...],
    level: float,
) -> Iterator[dict[str, Any]]:
    """What there is to say, the gravest first; the last one is always there."""
    for rule, culprit, reason in _broken(evidence, standing, level):
        if standing.back is None:
            said = (
                f"{reason}; nothing was live before that it could go back to: somebody has to promote another version"
            )
            yield {"action": ExperimentAction.WAIT, "rule": rule, "reason": said}
        yield {"action": ExperimentAction.ABORT, "rule": rule, "reason": reason, "culprit": culprit}
    yield from _concluded(rules, evidence, standing, compared)
    if (learned := _learned(rules, evidence, standing)) is not None:
        labels = {arm.traffic.version: arm.traffic.loss.count for arm in evidence.arms}
        told = ", ".join(f"{labels.get(name, 0)} of {name}" for name in in_order(learned))
        reason = f"settled {_counted(evidence)} since it began: {told}; the policy is drawn by their rewards"
        yield {"action": ExperimentAction.LEARN, "rule": ExperimentRule.LEARNED, "reason": reason, "policy": learned}
    yield {"action": ExperimentAction.WAIT, **_open(rules, evidence, standing, compared)}


def _broken(
    evidence: ExperimentEvidence, standing: ExperimentStanding, level: float
) -> Iterator[tuple[ExperimentRule, str, str]]:
    """Versions that certainly break a promise."""
    for version in standing.tested:
        others = _others(evidence, standing, version)
        promises = promises_of(
            evidence.arm(version).traffic, evidence.before, errors_allowed=evidence.errors_allowed,
            slow_allowed=evidence.slow_allowed, others=others, share=_share(evidence, standing, version, others),
            is_scored_beside=standing.kind == SHADOW and version in standing.answering,
        )  # fmt: skip
        for promise in promises:
            if reason := promise.broken(level=level):
                yield ExperimentRule(promise.kind), version, reason


def _others(evidence: ExperimentEvidence, standing: ExperimentStanding, version: str) -> tuple[Traffic, ...]:
    """Who answers beside a version: the control; beside the control all others."""
    answering = standing.answering
    if version not in answering:
        return ()
    others = (standing.control,) if version != standing.control and standing.control in answering else answering
    return tuple(evidence.arm(name).traffic for name in others if name != version)


def _share(
    evidence: ExperimentEvidence, standing: ExperimentStanding, version: str, others: Sequence[Traffic]
) -> float:
    """Share of the requests to a version and to others that it was drawn for: by the policies under which they came, else by the one that stands."""
    if not others:
        return 0.0
    drawn = {arm.traffic.version: arm.drawn for arm in evidence.arms if arm.drawn is not None}
    names = (version, *(one.version for one in others))
    shares = drawn if all(name in drawn for name in names) else policy_shares(standing.policy)
    own = shares[version]
    return own / (own + sum(shares[one.version] for one in others)) if own else 0.0


def _concluded(
    rules: RolloutRules,
    evidence: ExperimentEvidence,
    standing: ExperimentStanding,
    compared: tuple[Compared, ...],
) -> Iterator[dict[str, Any]]:
    """A declared test of two versions ends when one is certainly better. What somebody ordered, somebody ends; so too what has lost rows:
    an interval that holds at every look is one of all rows since it began."""
    if not standing.candidate or standing.kind != AB_TEST or evidence.mismatch or not evidence.is_whole:
        return
    for duel, one in zip(evidence.duels, compared, strict=True):
        if duel.loss.labels < rules.min_labels:
            continue
        said = f"than that of {standing.control}, by {shown(one.loss)} on {duel.loss.labels} {duel.loss.counted}"
        if one.loss.low > 0:
            reason = f"the loss of {one.version} is certainly higher {said}"
            yield {
                "action": ExperimentAction.ABORT,
                "rule": ExperimentRule.WORSE,
                "reason": reason,
                "culprit": one.version,
            }
        if one.loss.high < 0 and evidence.arm(one.version).traffic.requests >= rules.min_requests:
            reason = f"the loss of {one.version} is certainly lower {said}"
            yield {"action": ExperimentAction.ADVANCE, "rule": ExperimentRule.BETTER, "reason": reason}


def _learned(rules: RolloutRules, evidence: ExperimentEvidence, standing: ExperimentStanding) -> dict[str, Any] | None:
    """What the policy becomes; None while nothing new was learned, or too soon after the last time.

    Where rows are gone it stays what was learned while all were there: learned from the rest, versions of which the labels are gone would
    be as unknown again as they were in the beginning.
    """
    if standing.kind not in LEARNED or evidence.now is None or not evidence.is_whole:
        return None
    losses = {arm.traffic.version: arm.traffic.loss for arm in evidence.arms}
    found = learned_policy(standing.begun, losses, least=rules.min_labels)
    if found == standing.policy:
        return None
    is_due = evidence.learned is None or evidence.now - evidence.learned >= rules.learn_every
    return found if is_due or found == evidence.pending else None


def _open(
    rules: RolloutRules,
    evidence: ExperimentEvidence,
    standing: ExperimentStanding,
    compared: tuple[Compared, ...],
) -> dict[str, Any]:
    """Why it stays as it is."""
    if evidence.mismatch:
        reason = (
            f"units were not split as the policy says (p {evidence.split_p:.2g}), so that no comparison can be trusted"
        )
        return {"rule": ExperimentRule.SAMPLE_RATIO, "reason": reason}
    counted = _counted(evidence)
    told = "; ".join(_told(one, standing, counted, is_whole=evidence.is_whole) for one in compared)
    can_end = standing.kind == AB_TEST and bool(standing.candidate) and evidence.is_whole
    ends = "it ends when one is certainly better" if can_end else "it stands until somebody promotes or rolls back"
    reason = f"{_taken(evidence, standing)}{standing.kind}: {told or 'no other version'}; {ends}"
    is_declared = bool(standing.candidate) and standing.kind != SHADOW  # new challengers join; nothing waits for them
    if is_declared and evidence.elapsed >= rules.max_wait:
        reason = f"it has lasted {evidence.elapsed}, {rules.max_wait} is the longest: somebody has to promote or roll back; {reason}"
        return {"rule": ExperimentRule.OVERDUE, "reason": reason}
    return {"rule": ExperimentRule.OPEN if evidence.is_whole else ExperimentRule.INCOMPLETE, "reason": reason}


def _taken(evidence: ExperimentEvidence, standing: ExperimentStanding) -> str:
    """Which rows are gone, since when, and what that means; empty where all are there."""
    if evidence.incomplete_since is None:
        return ""
    until = evidence.dropped_until
    which = "" if until is None else f" that came in up to {until.isoformat(timespec='seconds')}"
    means = {**dict.fromkeys(LEARNED, "it learns nothing more"), AB_TEST: "it does not end by itself"}
    meant = means.get(standing.kind, "what is compared is of the rest")
    since = evidence.incomplete_since.isoformat(timespec="seconds")
    return f"since {since} requests{which} are no longer kept (Serving.keep), so that {meant}; "


def _counted(evidence: ExperimentEvidence) -> str:
    return evidence.duels[0].loss.counted if evidence.duels else "labels"


def _told(one: Compared, standing: ExperimentStanding, counted: str, *, is_whole: bool) -> str:
    if min(one.loss.candidate, one.loss.live) < FLOOR:
        fewer = min(one.loss.candidate, one.loss.live)
        return (
            f"{one.version} and {standing.control} have {fewer} settled {counted} each, {FLOOR} are needed to compare"
        )
    known: list[Effect | WindowEffect] = [one.loss] if one.by_window is None else [one.loss, one.by_window]
    sure = "certainly more than" if all(each.low > 0 for each in known) else "against"
    sure = "certainly less than" if all(each.high < 0 for each in known) else sure
    sure = sure if is_whole else "on what is kept, against"
    return f"loss of {one.version} {sure} {standing.control}: {shown(one.loss)}{over_windows(one.by_window)}"


def _compared(duel: Duel, rules: RolloutRules, level: float) -> Compared:
    margin = rules.margin if duel.loss.is_paired else rules.canary_margin
    return Compared(
        version=duel.version,
        loss=duel.loss.effect(alpha=level),
        wrong=duel.wrong.effect(alpha=level),
        labels_needed=labels_for(duel.loss, width=margin, alpha=level),
        by_window=duel.loss.by_window(alpha=level),
    )


def labels_for(versus: Versus, *, width: float, alpha: float) -> int | None:
    """Labels with which half the interval is narrower than a width; None where it is already, or where that cannot be told."""
    low = versus.labels
    if low < FLOOR or versus.half_width(low, alpha=alpha) < width:
        return None
    high = low
    while versus.half_width(high, alpha=alpha) >= width:
        high *= 2
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if versus.half_width(middle, alpha=alpha) < width else (middle, high)
    return high


def _digest(policy: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(policy, sort_keys=True).encode(), digest_size=6).hexdigest()
