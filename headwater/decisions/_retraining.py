"""Whether to train again: a pure function of declared rules and of evidence that is recorded with the decision."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from headwater.decisions._retraining_evidence import Evidence, Window
from headwater.errors import HeadwaterError


class RuleError(HeadwaterError):
    """A rule that cannot be."""

    def __init__(self, *, rule: str, value: object, wanted: str) -> None:
        self.rule, self.value = rule, value
        super().__init__(f"Retraining(...): {rule} is {value!r}; it must be {wanted}.")


class Action(StrEnum):
    """What a decision says."""

    RETRAIN = "retrain"
    HOLD = "hold"


class RetrainingRule(StrEnum):
    """Which rule decided."""

    NOTHING = "nothing"
    DRIFT = "drift"
    PERFORMANCE = "performance"
    NEW_ROWS = "new_rows"
    SCHEDULE = "schedule"
    STOPPED = "stopped"
    IN_FLIGHT = "in_flight"
    COOL_DOWN = "cool_down"
    BUDGET = "budget"


_Said = tuple[RetrainingRule, str]
_TEXT: Final = re.compile(r"(?:(-?\d+) days?, )?(\d+):(\d+):(\d+(?:\.\d+)?)")
"""How Python writes a duration."""


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """When a product's model is trained again. A reason of drift or performance has to hold in `needed` of the last `windows`.

    Attributes:
        windows: Windows looked at, >= 1: for drift the newest that are over, for half a week has other days than a whole one; for performance
            the newest of them whose labels of the live version are known, however long these took.
        needed: Of them those that must show the reason, 1 to `windows`.
        min_rows: Rows, and for performance labelled rows, below which a window shows nothing.
        min_coverage: Share of a window's predictions whose label is known, below which its performance is not judged: the
            first labels to come in are of other events than the rest.
        effect: Effect size of a column's drift that counts: its population stability index beyond what sampling alone gives.
        shifted_columns: Columns with such an effect that make a window a shifted one.
        columns: Columns whose drift counts; empty counts every one. What follows the seasons drifts every season without any
            harm: leave it out where there is no reference of the same season.
        performance_drop: Drop of the metric, relative to the reference, that counts. Its whole interval must lie beyond it.
        new_rows: Labelled rows since the training that are a reason by themselves; None for no such reason.
        every: Age of the training that is a reason by itself; None for no such reason.
        cool_down: Time after a training within which none begins.
        daily_budget: Trainings in 24 hours at most.
        give_up: Time after which a training that was ordered counts as in flight no more, though no model of it was evaluated.
    """

    windows: int = 3
    needed: int = 2
    min_rows: int = 1_000
    min_coverage: float = 0.95
    effect: float = 0.25
    shifted_columns: int = 1
    columns: tuple[str, ...] = ()
    performance_drop: float = 0.05
    new_rows: int | None = None
    every: timedelta | None = None
    cool_down: timedelta = timedelta(days=1)
    daily_budget: int = 1
    give_up: timedelta = timedelta(days=2)

    def __post_init__(self) -> None:
        _check("windows", self.windows, self.windows >= 1, "1 or more")
        _check("needed", self.needed, 1 <= self.needed <= self.windows, "from 1 to `windows`")
        _check("min_rows", self.min_rows, self.min_rows >= 1, "1 or more")
        _check("min_coverage", self.min_coverage, 0 <= self.min_coverage <= 1, "from 0 to 1")
        _check("effect", self.effect, self.effect > 0, "above 0")
        _check("shifted_columns", self.shifted_columns, self.shifted_columns >= 1, "1 or more")
        _check("performance_drop", self.performance_drop, 0 < self.performance_drop < 1, "between 0 and 1")
        _check("new_rows", self.new_rows, self.new_rows is None or self.new_rows >= 1, "1 or more, or None")
        _check("every", self.every, self.every is None or self.every > timedelta(0), "above zero, or None")
        _check("cool_down", self.cool_down, self.cool_down >= timedelta(0), "zero or more")
        _check("give_up", self.give_up, self.give_up > timedelta(0), "above zero")
        _check("daily_budget", self.daily_budget, self.daily_budget >= 0, "0 or more")

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back: durations in seconds."""
        raw = {one.name: getattr(self, one.name) for one in fields(self)}
        plain = {name: value.total_seconds() for name, value in raw.items() if isinstance(value, timedelta)}
        return {**raw, "columns": list(self.columns), **plain}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Retraining":
        """The rules that `to_json` wrote, or that an older Headwater kept with a decision; what they do not say is as usual. Raises RuleError."""
        read: dict[str, Any] = {name: _duration(raw[name]) for name in ("every", "cool_down", "give_up") if name in raw}
        read |= {"columns": tuple(raw["columns"])} if "columns" in raw else {}
        return cls(**{**raw, **read})


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do, and why.

    Attributes:
        action: Retrain, or hold.
        rule: Which rule says so: of a hold the first that stands against it, of a training the first that asks for it.
        reasons: Why to train again, one sentence each; empty without any.
        held_by: Why it is not done although there is a reason, one sentence each.
        unseen: What could not be looked at, and why, one sentence each.
    """

    action: Action
    rule: RetrainingRule
    reasons: tuple[str, ...]
    held_by: tuple[str, ...]
    unseen: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """All of it as one text."""
        blind = f" Not looked at: {'; '.join(self.unseen)}." if self.unseen else ""
        if self.held_by and self.reasons:
            return f"Held, although {'; '.join(self.reasons)}: {'; '.join(self.held_by)}.{blind}"
        return f"{'; '.join(self.reasons)}.{blind}" if self.reasons else f"Nothing speaks for it.{blind}"


def decide_retraining(rules: Retraining, evidence: Evidence) -> Decision:
    """Whether to train again now."""
    reasons = tuple(_reasons(rules, evidence))
    held_by, unseen = tuple(_holds(rules, evidence)), tuple(_unseen(rules, evidence))
    if not reasons:
        return Decision(action=Action.HOLD, rule=RetrainingRule.NOTHING, reasons=(), held_by=(), unseen=unseen)
    action = Action.HOLD if held_by else Action.RETRAIN
    return Decision(
        action=action,
        rule=(held_by or reasons)[0][0],
        reasons=tuple(said for _, said in reasons),
        held_by=tuple(said for _, said in held_by),
        unseen=unseen,
    )


def looked_at(rules: Retraining, windows: Sequence[Window], *, now: datetime, version: str) -> tuple[Window, ...]:
    """Those of all windows that a decision looks at, oldest first.

    Args:
        rules: The declared rules.
        windows: All there are, oldest first.
        now: The instant of the decision.
        version: The live version, empty without one.
    """
    over = _over(windows, now)
    starts = {window.start for window in (*over[-rules.windows :], *_judged(rules, over, version)[-rules.windows :])}
    return tuple(window for window in over if window.start in starts)


def _over(windows: Sequence[Window], now: datetime) -> list[Window]:
    return [window for window in windows if window.end <= now]


def _judged(rules: Retraining, windows: Sequence[Window], version: str) -> list[Window]:
    """The windows that say how a version did: on its own predictions, and not on the early labels alone."""
    own = (window for window in windows if window.version == version and window.metric is not None)
    return [window for window in own if _is_labelled(rules, window)]


def _is_labelled(rules: Retraining, window: Window) -> bool:
    return window.labelled >= rules.min_coverage * window.answered.get(window.version, window.rows)


def _unseen(rules: Retraining, evidence: Evidence) -> Iterator[str]:
    """What nobody can say anything about: that is another thing than that all is well."""
    recent = _over(evidence.windows, evidence.now)[-rules.windows :]
    blind = [window for window in recent if window.no_reference]
    if blind:
        yield f"drift in {len(blind)} of the last {len(recent)} windows, for want of a reference ({blind[-1].no_reference.rstrip('.')})"
    if early := [window for window in recent if window.effects and not _is_after_training(evidence, window)]:
        yield (
            f"drift in {len(early)} of the last {len(recent)} windows, which began before the training of the live version{_named(evidence)}"
            " or were compared with another one"
        )
    if evidence.reference is None:
        if any(window.metric is not None for window in recent):
            yield "whether the metric fell, for the live version has no evaluation"
        return
    if others := [window for window in recent if window.rows and window.version != evidence.version]:
        yield f"the metric in {len(others)} of the last {len(recent)} windows, in which the live version{_named(evidence)} did not answer alone"
    judged = _judged(rules, _over(evidence.windows, evidence.now), evidence.version)[-rules.windows :]
    if vague := [window for window in judged if window.metric_high is None]:
        yield f"whether the metric fell in {len(vague)} of the last {len(judged)} judged windows, which have too few days for an interval"
    own = [window for window in recent if window.rows and window.version == evidence.version]
    if late := [window for window in own if not _is_labelled(rules, window)]:
        yield f"the metric in {len(late)} of the last {len(recent)} windows, whose labels are not known"


def _reasons(rules: Retraining, evidence: Evidence) -> Iterator[_Said]:
    over = _over(evidence.windows, evidence.now)
    recent, judged = over[-rules.windows :], _judged(rules, over, evidence.version)[-rules.windows :]
    shifted = [columns for window in recent if (columns := _shifted(rules, window, evidence))]
    if len(shifted) >= rules.needed:
        names = ", ".join(sorted({name for columns in shifted for name in columns}))
        yield (
            RetrainingRule.DRIFT,
            f"{names} moved by {rules.effect:g} or more in {len(shifted)} of the last {len(recent)} windows",
        )
    worse = [window for window in judged if _is_worse(rules, window, evidence)]
    if len(worse) >= rules.needed:
        whose = f"the metric of {evidence.version}" if evidence.version else "the metric"
        limit = f"{rules.performance_drop:.0%} below {evidence.reference:.4g}"
        taken = ", on their own days (rows taken as independent)" if any(window.by_rows for window in worse) else ""
        yield (
            RetrainingRule.PERFORMANCE,
            f"{whose} is certainly more than {limit} in {len(worse)} of the last {len(judged)} judged windows{taken}",
        )
    if rules.new_rows is not None and evidence.new_rows >= rules.new_rows:
        yield (
            RetrainingRule.NEW_ROWS,
            f"{evidence.new_rows} labelled rows came in since the training, {rules.new_rows} are enough",
        )
    if rules.every is not None and evidence.trained is not None and evidence.now - evidence.trained >= rules.every:
        yield (
            RetrainingRule.SCHEDULE,
            f"the training is {evidence.now - evidence.trained} old, {rules.every} is the schedule",
        )


def _holds(rules: Retraining, evidence: Evidence) -> Iterator[_Said]:
    if evidence.is_stopped:
        yield RetrainingRule.STOPPED, "somebody stopped retraining"
    if evidence.is_in_flight:
        yield RetrainingRule.IN_FLIGHT, "a training or a rollout goes on"
    past = sorted(moment for moment in evidence.trainings if moment <= evidence.now)
    if past and evidence.now - past[-1] < rules.cool_down:
        yield (
            RetrainingRule.COOL_DOWN,
            f"the last training began at {past[-1].isoformat()}, and {rules.cool_down} have not gone by",
        )
    day = sum(evidence.now - moment < timedelta(days=1) for moment in past)
    if day >= rules.daily_budget:
        yield RetrainingRule.BUDGET, f"{day} trainings in 24 hours, {rules.daily_budget} are allowed"


def _shifted(rules: Retraining, window: Window, evidence: Evidence) -> list[str]:
    if window.rows < rules.min_rows or not _is_after_training(evidence, window):
        return []
    watched = [name for name in window.effects if not rules.columns or name in rules.columns]
    found = [name for name in watched if window.effects[name] >= rules.effect]
    return found if len(found) >= rules.shifted_columns else []


def _is_after_training(evidence: Evidence, window: Window) -> bool:
    """Whether a window says how far data moved since the live version learned: what moved before was a reason for that training, and no other."""
    is_later = evidence.learned_until is None or window.start >= evidence.learned_until
    return is_later and window.compared_with == evidence.version


def _is_worse(rules: Retraining, window: Window, evidence: Evidence) -> bool:
    """Whether even the upper end of a judged window's interval lies below the limit, on enough labels."""
    if evidence.reference is None or window.metric_high is None or window.labelled < rules.min_rows:
        return False
    return window.metric_high < evidence.reference * (1 - rules.performance_drop)


def _named(evidence: Evidence) -> str:
    """The live version in a sentence; nothing where nobody says which it is."""
    return f" {evidence.version}" if evidence.version else ""


def _duration(value: float | str | None) -> timedelta | None:
    """From seconds, or from the text that an older Headwater wrote, such as '1 day, 0:00:00'."""
    if not isinstance(value, str):
        return None if value is None else timedelta(seconds=value)
    found = _TEXT.fullmatch(value)
    if found is None:
        raise RuleError(rule="a duration", value=value, wanted="seconds")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _check(rule: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise RuleError(rule=rule, value=value, wanted=wanted)
