"""How a product lets a new version in: at once, or by degrees."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from headwater.decisions._sequential import FLOOR
from headwater.errors import HeadwaterError
from headwater.lengths import LONGEST

STEPS: Final = (0.05, 0.10, 0.25, 0.50, 1.0)
"""Shares of a canary unless others are declared."""
BEFORE: Final = timedelta(days=7)
"""So much of the time before a rollout says what the service was like without it."""
LONG_BEFORE: Final = timedelta(days=28)
"""So much of the time before a watch in which nobody scores beside says how good decisions were, and by how much days differ."""


class RolloutError(HeadwaterError):
    """A rollout that cannot be."""

    def __init__(self, *, what: str, value: object, wanted: str) -> None:
        self.what, self.value = what, value
        super().__init__(f"Rollout(...): {what} is {value!r}; it must be {wanted}.")


class RolloutKind(StrEnum):
    """How a new version comes in."""

    ALL_AT_ONCE = "all-at-once"
    SHADOW = "shadow"
    CANARY = "canary"
    AB_TEST = "ab-test"
    EPSILON_GREEDY = "epsilon-greedy"
    THOMPSON = "thompson"
    CHAMPION_CHALLENGERS = "champion-challengers"


EXPERIMENTS: Final = (
    RolloutKind.AB_TEST,
    RolloutKind.EPSILON_GREEDY,
    RolloutKind.THOMPSON,
    RolloutKind.CHAMPION_CHALLENGERS,
)
"""Kinds that are tests of versions beside each other, not growing shares."""


@dataclass(frozen=True, kw_only=True)
class RolloutRules:
    """On which evidence a rollout goes on, or back. A loss is the declared cost of a decision over the range of costs, from 0 to 1;
    without costs 1 for a wrong decision. Each time is a hundred years at most.

    Attributes:
        alpha: Chance that a candidate worse by the margin ever passes a stage, and chance that one as good is ever sent back over
            the whole rollout, however often one looks. On the same requests that is of versions, whose days differ; where each version
            has its own, of the days that were seen. Days are taken for independent and for alike on both sides of their mean: where a version
            loses a little on most days and gains it back on rare ones, or weather lasts for days, more that are as good are sent back.
        min_requests: Requests of the candidate in a stage before it may go on; a batch is one.
        min_labels: Of them with a known label; of both versions where each has its own. Where several are drawn together, as those of
            a customer, so many customers with a known label.
        min_coverage: Share of a window's events whose label is known, below which the window counts for nothing: the first
            labels to come in are of other events than the rest.
        window: Length of such a window: whole days, or a part of a day that fills it evenly.
        margin: Mean loss by which a candidate may be worse than the version it replaces, seen on the same requests of three or more days.
        canary_margin: The same where each version has requests of its own. That takes about ten times as many labels, so it is
            there for what is grossly wrong; on the same requests what is certainly worse by more goes back before days agree.
        max_wait: So long a stage may last, by the time of the requests. Then it waits for a person, and says so.
        watch: So long a version that got everything is watched, by the time of the requests. Of less than five days no three are whole and
            settled, so that a comparison on the same requests sends back what is grossly wrong only.
        check_every: How often what happened comes to be looked at: answers and failures are taken into the lake after so long.
        recorded_every: How often waiting for the same thing is put on record, by the time of the requests.
        learn_every: How often at most a bandit's policy takes over what it learned, by the time of the requests.
    """

    alpha: float = 0.05
    min_requests: int = 500
    min_labels: int = 200
    min_coverage: float = 0.95
    window: timedelta = timedelta(days=1)
    margin: float = 0.02
    canary_margin: float = 0.1
    max_wait: timedelta = timedelta(days=14)
    watch: timedelta = timedelta(days=7)
    check_every: timedelta = timedelta(minutes=1)
    recorded_every: timedelta = timedelta(hours=1)
    learn_every: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        day, none = timedelta(days=1), timedelta(0)
        even = self.window > none and not (self.window % day and day % self.window)
        self._check("alpha", 0 < self.alpha < 1, "between 0 and 1")
        self._check("min_requests", self.min_requests >= 1, "1 or more")
        self._check("min_labels", self.min_labels >= FLOOR, f"{FLOOR} or more: below that no interval holds")
        self._check("min_coverage", 0 <= self.min_coverage <= 1, "from 0 to 1")
        self._check("window", even, "whole days, or a part of a day that fills it evenly")
        for name in ("margin", "canary_margin"):
            self._check(name, 0 < getattr(self, name) < 1, "between 0 and 1")
        for name in ("max_wait", "check_every"):
            self._check(name, getattr(self, name) > none, "more than zero")
        for name in ("watch", "recorded_every", "learn_every"):
            self._check(name, getattr(self, name) >= none, "zero or more")
        for name in ("window", "max_wait", "watch", "check_every", "recorded_every", "learn_every"):
            self._check(name, getattr(self, name) <= LONGEST, f"{LONGEST} at most")

    def _check(self, what: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise RolloutError(what=f"rules.{what}", value=getattr(self, what), wanted=wanted)

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back: durations in seconds."""
        raw = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value.total_seconds() if isinstance(value, timedelta) else value for name, value in raw.items()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "RolloutRules":
        """The rules that `to_json` wrote; what they do not say is as usual. Raises RolloutError."""
        usual = cls()
        times = {name for name in raw if isinstance(getattr(usual, name), timedelta)}
        read: dict[str, Any] = {**raw, **{name: timedelta(seconds=raw[name]) for name in times}}
        return cls(**read)


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How a product lets a new version in.

    Attributes:
        kind: All at once; shadow (it only scores before it answers everything); canary (it answers growing shares); ab-test (it answers a
            fixed share until one of the two is certainly better); epsilon-greedy or thompson (it answers as often as its rewards tell,
            until a person ends that); champion-challengers (the newest versions score everything and answer nothing, until a person
            promotes one). An ensemble is no way in: its weights belong to the versions that they were found for, so it is ordered.
        steps: Shares of a canary: above 0, growing, the last one 1.
        shadow_first: Whether a canary only scores before its first share.
        keep_replaced: Whether the version that it replaces goes on scoring beside it while it is watched, so that both are
            compared on the same requests.
        share: Share of a new version in an A/B test, between 0 and 1.
        epsilon: Share of requests whose version epsilon-greedy draws uniformly, above 0 and at most 1.
        challengers: Challengers beside a champion at most: a new version takes the place of the oldest.
        rules: On which evidence it goes on, or back.
    """

    kind: RolloutKind = RolloutKind.ALL_AT_ONCE
    steps: tuple[float, ...] = STEPS
    shadow_first: bool = False
    keep_replaced: bool = False
    share: float = 0.5
    epsilon: float = 0.1
    challengers: int = 3
    rules: RolloutRules = field(default_factory=RolloutRules)

    def __post_init__(self) -> None:
        if self.kind not in list(RolloutKind):
            ensemble = (
                "; an ensemble is ordered: `headwater release promote --policy`" if self.kind == "ensemble" else ""
            )
            raise RolloutError(what="kind", value=self.kind, wanted=f"one of {', '.join(RolloutKind)}{ensemble}")
        grows = all(low < high for low, high in zip((0.0, *self.steps), self.steps, strict=False))
        if not self.steps or not grows or self.steps[-1] != 1:
            raise RolloutError(what="steps", value=self.steps, wanted="shares above 0 that grow up to 1.0")
        for what, holds, wanted in (
            ("share", 0 < self.share < 1, "between 0 and 1"),
            ("epsilon", 0 < self.epsilon <= 1, "above 0 and at most 1: without it nothing is explored"),
            ("challengers", self.challengers >= 1, "1 or more"),
            (
                "shadow_first",
                not (self.shadow_first and self.is_experiment),
                f"False: kind {self.kind} has no shadow before it",
            ),
        ):
            if not holds:
                raise RolloutError(what=what, value=getattr(self, what), wanted=wanted)

    @property
    def is_experiment(self) -> bool:
        """Whether a new version is tested beside the live one, under a policy of several versions."""
        return self.kind in EXPERIMENTS

    @property
    def stages(self) -> tuple[float, ...]:
        """Shares that a new version has one after the other; 0 only watches, 1 is all."""
        if self.kind == RolloutKind.ALL_AT_ONCE:
            return (1.0,)
        if self.kind == RolloutKind.SHADOW:
            return (0.0, 1.0)
        if self.is_experiment:
            first = {RolloutKind.AB_TEST: self.share, RolloutKind.EPSILON_GREEDY: self.epsilon / 2}
            return (first.get(self.kind, 0.5 if self.kind == RolloutKind.THOMPSON else 0.0), 1.0)
        return (0.0, *self.steps) if self.shadow_first else self.steps

    @property
    def waits(self) -> int:
        """Stages that last `max_wait` at most before a person is asked; challengers only score for as long as people like."""
        return 0 if self.kind == RolloutKind.CHAMPION_CHALLENGERS else len(self.stages) - 1

    @property
    def looks_back(self) -> timedelta:
        """How far back decisions about a version look, as long as no stage is overdue: to the time before the version came in."""
        rules, waits = self.rules, self.waits
        if rules.watch > timedelta(0):
            before = BEFORE if self.keep_replaced else LONG_BEFORE
            return waits * rules.max_wait + rules.watch + rules.window + before
        return waits * rules.max_wait + BEFORE if waits else timedelta(0)

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        return {
            "kind": str(self.kind),
            "steps": list(self.steps),
            "shadow_first": self.shadow_first,
            "keep_replaced": self.keep_replaced,
            "share": self.share,
            "epsilon": self.epsilon,
            "challengers": self.challengers,
            "rules": self.rules.to_json(),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Rollout":
        """The rollout that `to_json` wrote. Raises RolloutError."""
        read = {"kind": RolloutKind(raw["kind"]), "steps": tuple(raw["steps"])}
        return cls(**{**raw, **read, "rules": RolloutRules.from_json(raw.get("rules", {}))})


class StepAction(StrEnum):
    """What shall become of a rollout."""

    ADVANCE = "advance"
    ABORT = "abort"
    LEARN = "learn"


@dataclass(frozen=True, kw_only=True)
class RolloutStep:
    """A decision about a version in service, from the evidence of its answers.

    Attributes:
        id: Its name: a step is taken once, however often the release is built.
        candidate: The version that it is about.
        action: Advance to the next share; abort: back to what was live before; or learn: the same policy, drawn by what was learned.
        share: The share at which the evidence was seen: an advance from another one does nothing. Without meaning for abort.
            An advance from 1 ends the watch of the version that got everything.
        reason: Why.
        order: Id of the order that had set the policy under which the evidence was seen, None without one: a step does not undo
            what somebody ordered since.
        policy: What the policy becomes where it learned, else None.
    """

    id: str
    candidate: str
    action: StepAction
    share: float = 0.0
    reason: str
    order: str | None = None
    policy: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        more = {"policy": dict(self.policy)} if self.policy is not None else {}
        return {
            "id": self.id,
            "candidate": self.candidate,
            "action": self.action.value,
            "share": self.share,
            "reason": self.reason,
            "order": self.order,
            **more,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "RolloutStep":
        """The step that `to_json` wrote."""
        return cls(**{**raw, "action": StepAction(raw["action"])})
