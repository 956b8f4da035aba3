"""What a release says: which versions answer, by whose word, and which may not."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from headwater.decisions._policies import ALL_AT_ONCE, all_at_once, policy_traffic, policy_versions


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A published version with the verdicts of its newest evaluation.

    Attributes:
        version: The version.
        verdicts: One a declared gate: at least `gate`, `passed`, `reason`. None when it was never evaluated.
    """

    version: str
    verdicts: tuple[Mapping[str, Any], ...] | None = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        verdicts = None if self.verdicts is None else [dict(verdict) for verdict in self.verdicts]
        return {"version": self.version, "verdicts": verdicts}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Judged":
        """The judgement that `to_json` wrote."""
        verdicts = raw["verdicts"]
        return cls(version=raw["version"], verdicts=None if verdicts is None else tuple(verdicts))

    @property
    def problem(self) -> str:
        """Why its gates do not hold, with each failed gate named; empty when they do."""
        if self.verdicts is None:
            return f"{self.version} was never evaluated"
        failed = [f"gate {v['gate']} failed: {v.get('reason', '')}" for v in self.verdicts if not v["passed"]]
        return f"{self.version}: {' '.join(failed)}".rstrip(". ") if failed else ""


@dataclass(frozen=True, kw_only=True)
class Rolling:
    """A rollout in progress.

    Attributes:
        candidate: The version that comes in.
        stage: Which of `stages` it is at.
        stages: Shares one after the other, as declared when it began: another declaration is the next rollout's.
        replaced: The version that goes on scoring beside it once it has everything, until its watch is over; empty without.
        kind: Of a test of versions beside each other, such as `ab-test`; empty where shares grow.
    """

    candidate: str
    stage: int
    stages: tuple[float, ...]
    replaced: str = ""
    kind: str = ""

    @property
    def share(self) -> float:
        """Its share now; behind the last stage it has everything."""
        return self.stages[min(self.stage, len(self.stages) - 1)]

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is left: it has everything, and nobody scores beside it."""
        return self.stage >= len(self.stages) or (self.share >= 1 and not self.replaced)

    @property
    def is_watch(self) -> bool:
        """Whether it has everything, and what it replaced scores beside it."""
        return self.share >= 1 and not self.is_done

    @property
    def is_experiment(self) -> bool:
        """Whether versions are tested beside each other now."""
        return bool(self.kind) and self.share < 1

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        more = {"replaced": self.replaced} if self.replaced else {}
        more |= {"kind": self.kind} if self.kind else {}
        return {"candidate": self.candidate, "stage": self.stage, "stages": list(self.stages), **more}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Rolling":
        """The rollout that `to_json` wrote."""
        return cls(**{**raw, "stages": tuple(raw["stages"])})


class Watch(StrEnum):
    """Whether a version that answers everything, and beside which nobody scores, is watched.

    Such as came live first or by a roll-back never is.
    """

    NONE = ""
    ON = "on"
    OVER = "over"


@dataclass(frozen=True, kw_only=True)
class Release:
    """What is live of a product, and what was decided about its versions.

    Attributes:
        version: The live version: the champion of evaluations.
        policy: JSON of the traffic policy.
        reason: Why it is so.
        actor: Whose word it was; empty when no order caused it.
        order: Id of the order that caused it, None without one.
        is_ordered: Whether a person set a policy of several versions: it stands until a person ends it.
        rollout: The rollout in progress, None without one.
        watch: Whether the live version, which came in by none or by one that is done, is watched.
        before: Versions that answered everything before, oldest first: where a roll-back goes.
        barred: Versions that never go live by themselves again, with the reason.
        deprecated: Versions that callers are warned of, with the reason.
        retired: Versions that answer nobody any more, with the reason.
        held: Why nothing new goes live by itself, empty when it may.
        waits: The newest version when it is not taken, else empty.
        waits_for: Why it is not.
        heard: Ids of the orders that it follows from.
        step: Id of the newest step of a rollout that was taken, empty before any.
        refused: Ids of heard orders that could not be followed, with the reason.
    """

    version: str
    policy: Mapping[str, Any]
    reason: str
    actor: str = ""
    order: str | None = None
    is_ordered: bool = False
    rollout: Rolling | None = None
    watch: Watch = Watch.NONE
    before: tuple[str, ...] = ()
    barred: Mapping[str, str] = field(default_factory=dict)
    deprecated: Mapping[str, str] = field(default_factory=dict)
    retired: Mapping[str, str] = field(default_factory=dict)
    held: str = ""
    waits: str = ""
    waits_for: str = ""
    heard: tuple[str, ...] = ()
    step: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def versions(self) -> tuple[str, ...]:
        """Every version that answers or scores."""
        return policy_versions(self.policy)

    @property
    def is_whole(self) -> bool:
        """Whether one version answers everything and no other scores."""
        return bool(self.policy["kind"] == ALL_AT_ONCE)

    @property
    def is_experiment(self) -> bool:
        """Whether several versions stand beside each other, by order or by declaration, and no share grows."""
        return self.rollout.is_experiment if self.rollout is not None else not self.is_whole

    def back_to(self) -> str | None:
        """The version that a roll-back goes to, None when there is none."""
        for version in reversed(self.before):
            is_live = self.is_whole and version == self.version
            if not (is_live or version in self.retired or version in self.barred):
                return version
        return None

    def live(self, version: str, policy: Mapping[str, Any], *, reason: str, **more: Any) -> "Release":
        """The same release with other versions live; what alone was live can be rolled back to."""
        is_left = (self._is_compared and version != self.version) or (self.is_whole and policy != self.policy)
        before = (*self.before, self.version) if is_left else self.before
        fields: dict[str, Any] = {"actor": "", "order": None, "is_ordered": False, "rollout": None, "before": before}
        fields["watch"] = self._watch(version, policy)
        return replace(self, version=version, policy=policy, reason=reason, **{**fields, **more})

    @property
    def _is_compared(self) -> bool:
        """Whether the live version is watched while what it replaced scores beside it."""
        return self.rollout is not None and self.rollout.is_watch

    def _watch(self, version: str, policy: Mapping[str, Any]) -> Watch:
        """The watch of what goes live next."""
        if policy["kind"] != ALL_AT_ONCE or version in self.before:
            return Watch.NONE
        if version == self.version:
            return Watch.OVER if self._is_compared else Watch.NONE
        return Watch.ON

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back: the decided part of a release's statement."""
        return {
            "version": self.version,
            "policy": ALL_AT_ONCE if self.is_whole else dict(self.policy),
            "traffic": policy_traffic(self.policy),
            "reason": self.reason,
            "actor": self.actor,
            "order": self.order,
            "is_ordered": self.is_ordered,
            "rollout": None if self.rollout is None else self.rollout.to_json(),
            "watch": self.watch.value,
            "before": list(self.before),
            "barred": dict(self.barred),
            "deprecated": dict(self.deprecated),
            "retired": dict(self.retired),
            "held": self.held,
            "waits": self.waits,
            "waits_for": self.waits_for,
            "heard": list(self.heard),
            "step": self.step,
            "refused": dict(self.refused),
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Release":
        """The release that a statement tells of; what an older statement does not say is as if nothing had been ordered."""
        said, rolling = raw["policy"], raw.get("rollout")
        policy = all_at_once(raw["version"]) if said == ALL_AT_ONCE else dict(said)
        known = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}
        known |= {name: tuple(raw.get(name, ())) for name in ("before", "heard")}
        rollout = None if rolling is None else Rolling.from_json(rolling)
        known["watch"] = Watch(raw.get("watch", Watch.NONE))
        return cls(**{"reason": "", **known, "policy": policy, "rollout": rollout})
