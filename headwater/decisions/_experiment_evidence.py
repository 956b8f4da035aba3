"""What a decision about an experiment looks at: a policy that splits or explores traffic, and what became of each version's requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from headwater.decisions._advance_evidence import Traffic, Versus
from headwater.decisions._policies import ENSEMBLE, SHADOW, in_order

BESIDE: Final = (SHADOW, ENSEMBLE)
"""Policies under which versions score the same requests."""


@dataclass(frozen=True, kw_only=True)
class ExperimentStanding:
    """The experiment in progress.

    Attributes:
        policy: The policy that stands.
        begun: The same as it began: what is learned is learned on top of it.
        control: Whom the others are compared with: the version that answered everything before; where all are new, the one that
            the policy calls live, else the one that was promoted; of an ensemble its common answer.
        back: The version that a roll-back goes to, None when there is none.
        candidate: The version that came in by declaration; empty where somebody ordered the policy.
        since: When it began, by the lake's clock.
        since_commit: The commit that began it.
        order: Id of the order that set it, None without one.
    """

    policy: Mapping[str, Any]
    begun: Mapping[str, Any]
    control: str
    back: str | None
    candidate: str = ""
    since: datetime
    since_commit: str
    order: str | None = None

    @property
    def kind(self) -> str:
        """The policy's kind."""
        return str(self.policy["kind"])

    @property
    def answering(self) -> tuple[str, ...]:
        """Whom the policy draws."""
        if self.kind == ENSEMBLE:
            return (ENSEMBLE,)
        versions = in_order(self.policy)
        return versions[:1] if self.kind == SHADOW else versions

    @property
    def scoring(self) -> tuple[str, ...]:
        """Who only scores."""
        return tuple(name for name in in_order(self.policy) if name not in self.answering)

    @property
    def arms(self) -> tuple[str, ...]:
        """Everybody, the control first."""
        return (self.control, *(name for name in (*self.answering, *self.scoring) if name != self.control))

    @property
    def tested(self) -> tuple[str, ...]:
        """Whose promises can end it: not those of the version that would answer then, unless others score beside it."""
        if self.kind == ENSEMBLE:
            return (ENSEMBLE,)
        return tuple(name for name in self.arms if name != self.back or self.kind == SHADOW)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        plain = {"policy": dict(self.policy), "begun": dict(self.begun), "since": self.since.isoformat()}
        return {**vars(self), **plain, "kind": self.kind, "arms": list(self.arms)}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What one version did.

    Attributes:
        traffic: Its requests, and its losses and wrong decisions on settled labels.
        decisions: What it decided, or would have: each instance of a batch.
        positives: Those that are positive.
        auc: Area under the curve on settled labels; None where undefined.
        units: What was drawn for it, each once; None where nothing is drawn.
        expected: How many of them the policy gives it; None as above.
        drawn: How many of the requests to all arms it was drawn for, by the policies under which they came; None as above.
    """

    traffic: Traffic
    decisions: int = 0
    positives: int = 0
    auc: float | None = None
    units: int | None = None
    expected: float | None = None
    drawn: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**vars(self), "traffic": self.traffic.to_json()}


@dataclass(frozen=True, kw_only=True)
class Duel:
    """One version against the control, as far as labels of settled windows are known.

    Attributes:
        version: The version.
        loss: How the losses compare.
        wrong: How the shares of wrong decisions compare.
    """

    version: str
    loss: Versus
    wrong: Versus

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"version": self.version, "loss": self.loss.to_json(), "wrong": self.wrong.to_json()}


@dataclass(frozen=True, kw_only=True)
class ExperimentEvidence:
    """Everything that the decision looks at.

    Attributes:
        standing: The experiment; None when there is none.
        idle: Then why not.
        now: The newest instant that its requests and their labels know of; None before the first.
        first: Where the time of the requests stood when it began; None as above.
        arms: What each version did.
        duels: Each against the control.
        before: Requests of the week before it, whichever version answered.
        unsettled: Events whose label is awaited, or whose window has too few.
        split_p: P-value of the split, None where nothing is split.
        mismatch: Whether the split is not the one that the policy gives.
        errors_allowed: Share of requests that may fail.
        slow_allowed: Share of answers that may take longer than promised.
        learned: When what the policy learned was changed last, by the time of the requests; None before.
        pending: What was learned then: a release may not have taken it yet.
        received: When its first request came in, by the service's clock, as far as any decision about it saw; None before that.
        dropped_until: When the newest of its requests came in whose rows are no longer kept; None where all are there.
        incomplete_since: Since when, by the clock of builds, rows of it are known to be gone; None where all are there.
        facts: What else was known and decided nothing.
    """

    standing: ExperimentStanding | None
    idle: str = ""
    now: datetime | None = None
    first: datetime | None = None
    arms: tuple[Arm, ...] = ()
    duels: tuple[Duel, ...] = ()
    before: Traffic = field(default_factory=Traffic)
    unsettled: int = 0
    split_p: float | None = None
    mismatch: bool = False
    errors_allowed: float = 0.01
    slow_allowed: float = 0.05
    learned: datetime | None = None
    pending: Mapping[str, Any] | None = None
    received: datetime | None = None
    dropped_until: datetime | None = None
    incomplete_since: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether every row of its requests that ever was there still is: a part of them is another sample, not a smaller one."""
        return self.incomplete_since is None

    @property
    def elapsed(self) -> timedelta:
        """How long it has lasted, by the time of the requests."""
        if self.now is None or self.first is None:
            return timedelta(0)
        return max(self.now - self.first, timedelta(0))

    def arm(self, version: str) -> Arm:
        """What a version did; nothing, if it was not asked."""
        return next((one for one in self.arms if one.traffic.version == version), Arm(traffic=Traffic(version=version)))

    def to_json(self) -> dict[str, Any]:
        """JSON values, to be kept with the decision."""
        if self.standing is None:
            return {"standing": None, "idle": self.idle}
        plain = ("unsettled", "split_p", "mismatch", "errors_allowed", "slow_allowed")
        times = {
            name: getattr(self, name)
            for name in ("now", "first", "learned", "received", "dropped_until", "incomplete_since")
        }
        return {
            "standing": self.standing.to_json(),
            **{name: time.isoformat() if time is not None else None for name, time in times.items()},
            **{name: getattr(self, name) for name in plain},
            "arms": [arm.to_json() for arm in self.arms],
            "duels": [duel.to_json() for duel in self.duels],
            "before": self.before.to_json(),
            "pending": dict(self.pending) if self.pending is not None else None,
            "facts": dict(self.facts),
        }
