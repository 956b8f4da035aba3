"""What a decision about a rollout looks at."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from headwater.decisions._sequential import Effect, RunningMean, effect, paired_effect, radius
from headwater.decisions._windows import WindowEffect, effect_by_window
from headwater.errors import HeadwaterError

_TUNED_FOR = 1_000


class EvidenceError(HeadwaterError):
    """Counts that cannot be."""

    def __init__(self, *, what: str, value: object, wanted: str) -> None:
        self.what, self.value = what, value
        super().__init__(f"Evidence of a rollout: {what} is {value!r}; it must be {wanted}.")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is decided about: a stage of a rollout, or a version that got everything a while ago.

    Attributes:
        candidate: The version that came in last.
        other: The version that it replaces, or replaced.
        share: Its share; 0 only scores.
        since: When the stage began, by the lake's clock.
        since_commit: The commit that began it.
        stages: Stages of the whole rollout, its watch included.
        is_watch: Whether the candidate has everything.
        is_compared: Whether, in the watch, the other one scores beside it.
        order: Id of the order that set the policy of the stage, None without one.
    """

    candidate: str
    other: str
    share: float
    since: datetime
    since_commit: str
    stages: int = 1
    is_watch: bool = False
    is_compared: bool = False
    order: str | None = None

    @property
    def where(self) -> str:
        """The stage in words."""
        if self.is_watch:
            return "the watch"
        return f"the stage of {self.share:.0%}" if self.share else "the shadow"

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**vars(self), "since": self.since.isoformat()}


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What became of requests to one version. A batch is one, whatever became of it: its instances fail and wait together.

    Attributes:
        version: The version; empty for all that were live.
        answered: Requests that it answered, or only scored, wholly or in part.
        failed: Requests of which it was drawn for a part and that got no answer; in the shadow, those that it could not score.
        timed_out: Of those that failed the requests that got no answer in time: what another version's score beside it can do.
        slow: Answers to a single instance that took longer than promised.
        batches: Of those that were answered the requests of several instances: how long they take nobody promised.
        wrong: Of settled windows with known labels: 1 for a wrong decision.
        loss: Of the same: the loss, one for each unit that was drawn.
    """

    version: str = ""
    answered: int = 0
    failed: int = 0
    timed_out: int = 0
    slow: int = 0
    batches: int = 0
    wrong: RunningMean = field(default_factory=RunningMean)
    loss: RunningMean = field(default_factory=RunningMean)

    def __post_init__(self) -> None:
        for name in ("answered", "failed", "timed_out", "slow", "batches"):
            if getattr(self, name) < 0:
                raise EvidenceError(what=name, value=getattr(self, name), wanted="0 or more")
        if self.timed_out > self.failed:
            raise EvidenceError(what="timed_out", value=self.timed_out, wanted=f"at most the {self.failed} that failed")
        if self.batches > self.answered:
            raise EvidenceError(what="batches", value=self.batches, wanted=f"at most the {self.answered} answers")
        if self.slow > self.timed:
            raise EvidenceError(
                what="slow", value=self.slow, wanted=f"at most the {self.timed} answers to one instance"
            )

    @property
    def requests(self) -> int:
        """All requests to it."""
        return self.answered + self.failed

    @property
    def timed(self) -> int:
        """Answers whose latency is promised: those to a single instance."""
        return self.answered - self.batches

    @property
    def failures(self) -> RunningMean:
        """1 for a request that failed."""
        return RunningMean(count=self.requests, total=self.failed, squares=self.failed)

    @property
    def timeouts(self) -> RunningMean:
        """1 for a request that got no answer in time, of those that did not fail otherwise."""
        return RunningMean(count=self.answered + self.timed_out, total=self.timed_out, squares=self.timed_out)

    @property
    def slowness(self) -> RunningMean:
        """1 for an answer to a single instance that took too long."""
        return RunningMean(count=self.timed, total=self.slow, squares=self.slow)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**vars(self), "wrong": vars(self.wrong), "loss": vars(self.loss)}


@dataclass(frozen=True, kw_only=True)
class Versus:
    """The losses of two versions: on the same requests, or on those that each answered.

    Attributes:
        is_paired: Whether both scored the same requests.
        differences: Where they did: loss of the candidate less that of the other, mapped to 0 to 1 as `(d + 1) / 2`.
        candidate: Losses of the candidate.
        other: Losses of the other one.
        per: Fields by which versions were drawn, such as a customer: each of these units counts once, with the mean of its loss. Empty
            where each labelled event counts.
        windows: On the same requests the mean difference of each whole settled window, oldest first, -1 to 1.
    """

    is_paired: bool
    per: tuple[str, ...] = ()
    differences: RunningMean = field(default_factory=RunningMean)
    candidate: RunningMean = field(default_factory=RunningMean)
    other: RunningMean = field(default_factory=RunningMean)
    windows: tuple[float, ...] = ()

    @property
    def labels(self) -> int:
        """Outcomes that count, labels or units: of the side that has fewer."""
        return self.differences.count if self.is_paired else min(self.candidate.count, self.other.count)

    @property
    def counted(self) -> str:
        """What counts, in words."""
        return f"units ({', '.join(self.per)}) with labels" if self.per else "labels"

    def effect(self, *, alpha: float) -> Effect:
        """The difference with its interval, which holds at every look."""
        if self.is_paired:
            return paired_effect(self.differences, alpha=alpha)
        return effect(self.candidate, self.other, alpha=alpha)

    def by_window(self, *, alpha: float) -> WindowEffect | None:
        """The difference as windows know it, at every look; None where each has requests of its own."""
        return effect_by_window(self.windows, alpha=alpha) if self.is_paired else None

    def half_width(self, labels: int, *, alpha: float) -> float:
        """About half the interval's width at so many labels, if they spread as those that are known."""
        if self.is_paired:
            return 2 * self.differences.deviation * radius(labels, alpha=alpha, tuned_for=_TUNED_FOR)
        fewer = self.labels
        sides = (self.candidate, self.other)
        counts = [math.ceil(side.count * labels / fewer) if fewer else labels for side in sides]
        return sum(
            side.deviation * radius(max(count, 1), alpha=alpha / 2, tuned_for=_TUNED_FOR)
            for side, count in zip(sides, counts, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        sides = {name: vars(getattr(self, name)) for name in ("differences", "candidate", "other")}
        return {
            "is_paired": self.is_paired,
            "per": list(self.per),
            "counted": self.counted,
            **sides,
            "windows": list(self.windows),
        }


@dataclass(frozen=True, kw_only=True)
class RolloutEvidence:
    """Everything that the decision looks at.

    Attributes:
        standing: The stage; None when there is nothing to decide.
        idle: Then why not.
        now: The newest instant that the requests since the stage began, and their labels, know of; None where there are none.
        first: Newest prediction time of any request when the first one since the stage began came in, and no later than that; None without one.
        seen: Requests since the stage began, under whatever policy, each once for every version that had a part in it.
        candidate: Requests to the candidate in this stage; in the shadow, those that it scored.
        other: Requests to the other one.
        before: Requests of the time before the rollout, whichever version answered.
        versus: How the losses compare.
        unsettled: Events of the stage whose label is awaited, or whose window has too few.
        split_p: P-value of the split between the versions, None where nothing is split.
        mismatch: Whether the split is not the declared one.
        errors_allowed: Share of requests that may fail.
        slow_allowed: Share of answers to a single instance that may take longer than promised.
        accuracy_drop: Drop of the accuracy, relative to that of the version before, that is too much.
        wrong_now: Share of wrong decisions of the candidate in each settled window of a watch.
        wrong_before: The same of the version that it replaced, in the windows before it came in: four weeks, or one where that one goes on
            scoring.
        versus_wrong: How the shares of wrong decisions compare, in a watch in which both score on the same requests; None before it.
        wrong_allowed: Share of wrong decisions that is too much where nothing of the version before is known; None without.
        received: When the first request since the stage began came in, by the service's clock, as far as any decision about it saw.
        dropped_until: When the newest of the stage's requests came in whose rows are no longer kept; None where all are there.
        facts: What else was known and decided nothing: the comparison before the rollout, business metric, test report.
    """

    standing: Standing | None
    idle: str = ""
    now: datetime | None = None
    first: datetime | None = None
    seen: int = 0
    candidate: Traffic = field(default_factory=Traffic)
    other: Traffic = field(default_factory=Traffic)
    before: Traffic = field(default_factory=Traffic)
    versus: Versus = field(default_factory=lambda: Versus(is_paired=False))
    unsettled: int = 0
    split_p: float | None = None
    mismatch: bool = False
    errors_allowed: float = 0.01
    slow_allowed: float = 0.05
    accuracy_drop: float = 0.05
    wrong_now: tuple[float, ...] = ()
    wrong_before: tuple[float, ...] = ()
    versus_wrong: Versus | None = None
    wrong_allowed: float | None = None
    received: datetime | None = None
    dropped_until: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def elapsed(self) -> timedelta | None:
        """How long the stage has lasted, by the time of the requests; None before the first."""
        if self.now is None or self.first is None:
            return None
        return max(self.now - self.first, timedelta(0))

    @property
    def asked(self) -> tuple[Traffic, ...]:
        """Whose promises are looked at: of a candidate in the shadow also those of the version that answers beside its scores."""
        is_shadow = self.standing is not None and self.standing.share <= 0
        return (self.candidate, self.other) if is_shadow else (self.candidate,)

    def to_json(self) -> dict[str, Any]:
        """JSON values, to be kept with the decision."""
        if self.standing is None:
            return {"standing": None, "idle": self.idle}  # the same however many requests come in
        plain = (
            "seen",
            "unsettled",
            "split_p",
            "mismatch",
            "errors_allowed",
            "slow_allowed",
            "wrong_allowed",
            "accuracy_drop",
        )
        times = {name: getattr(self, name) for name in ("now", "first", "received", "dropped_until")}
        return {
            "standing": self.standing.to_json(),
            **{name: time.isoformat() if time is not None else None for name, time in times.items()},
            **{name: getattr(self, name) for name in plain},
            **{name: getattr(self, name).to_json() for name in ("candidate", "other", "before", "versus")},
            "versus_wrong": self.versus_wrong.to_json() if self.versus_wrong is not None else None,
            "wrong_now": list(self.wrong_now),
            "wrong_before": list(self.wrong_before),
            "facts": dict(self.facts),
        }
