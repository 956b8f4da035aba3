"""What is live next: a pure function of what was live, of the newest version, and of what people ordered.

Orders are heard once each, in their order of time. Then a step of the rollout is taken. Then the newest version is taken, or waits.
A promote or a roll-back is a choice over the newest version too: that one stays out until somebody promotes it, or a later one comes.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from headwater.decisions._entry import entry_policy, joins
from headwater.decisions._learning import same_experiment
from headwater.decisions._orders import Order, OrderKind
from headwater.decisions._policies import (
    TrafficError,
    all_at_once,
    policy_at,
    policy_traffic,
    policy_versions,
    shadowed,
)
from headwater.decisions._rollout import Rollout, RolloutRules, RolloutStep, StepAction
from headwater.decisions._statement import Judged, Release, Rolling, Watch
from headwater.errors import HeadwaterError

ROLLOUT: Final = "rollout"
"""The actor of what a step of a rollout changed."""
CHANGES_NOTHING: Final = "changes_nothing"
"""The rule by which an order is refused that asks for what is so already."""


class OrderRefusedError(HeadwaterError):
    """An order that cannot be followed as things are.

    Attributes:
        order: The order.
        rule: What stands against it, in a word.
        problem: The same in a sentence.
        evidence: What it was judged on, as JSON values; empty where nobody kept it.
        is_awaited: Whether it changes nothing only once orders are followed that were given before.
    """

    def __init__(self, *, order: Order, rule: str, problem: str, remedy: str) -> None:
        self.order, self.rule, self.problem = order, rule, problem
        self.evidence: Mapping[str, Any] = {}
        self.is_awaited = False
        about = f" of {order.version}" if order.version else ""
        super().__init__(f"{order.order.value}{about} is refused: {problem}. {remedy}")


class NothingToReleaseError(HeadwaterError):
    """Nothing is live, and no version was judged."""

    def __init__(self) -> None:
        super().__init__("No version was released before, and none was evaluated. Build model and evaluation first.")


@dataclass(frozen=True, kw_only=True)
class ReleaseInput:
    """Everything that the decision looks at.

    Attributes:
        previous: What the release says now, None before the first.
        candidate: The newest version, None when it is not evaluated yet.
        judged: Published versions that orders name; a version that is not there was never published.
        orders: Orders, in any order; those that `previous` heard do nothing again.
        rollout: How the product lets a new version in. A rollout in progress keeps the stages that it began with.
        step: The newest decision about a version in service, None without one.
        watched: How long, by the clock of builds, the live version has been watched; None where nobody ever asked the product:
            there nothing waits for the end of a watch.
    """

    previous: Release | None
    candidate: Judged | None
    judged: Mapping[str, Judged] = field(default_factory=dict)
    orders: tuple[Order, ...] = ()
    rollout: Rollout = field(default_factory=Rollout)
    step: RolloutStep | None = None
    watched: timedelta | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back, to be kept with the decision."""
        return {
            "previous": self.previous.to_json() if self.previous is not None else None,
            "candidate": self.candidate.to_json() if self.candidate is not None else None,
            "judged": {name: one.to_json() for name, one in sorted(self.judged.items())},
            "orders": [order.to_json() for order in self.orders],
            "rollout": self.rollout.to_json(),
            "step": self.step.to_json() if self.step is not None else None,
            "watched": self.watched.total_seconds() if self.watched is not None else None,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "ReleaseInput":
        """The input that `to_json` wrote."""
        previous, candidate, step = raw["previous"], raw["candidate"], raw["step"]
        watched = raw.get("watched")
        return cls(
            previous=Release.from_json(previous) if previous is not None else None,
            candidate=Judged.from_json(candidate) if candidate is not None else None,
            judged={name: Judged.from_json(one) for name, one in raw["judged"].items()},
            orders=tuple(Order.from_json(order) for order in raw["orders"]),
            rollout=Rollout.from_json(raw["rollout"]),
            step=RolloutStep.from_json(step) if step is not None else None,
            watched=timedelta(seconds=watched) if watched is not None else None,
        )


@dataclass(frozen=True, kw_only=True)
class NextRelease:
    """What shall be live.

    Attributes:
        release: What the release says.
        introduces: Versions that it newly lets in, whose gates must hold.
        has_acted: Whether an order was heard or a step taken.
    """

    release: Release
    introduces: tuple[str, ...]
    has_acted: bool


def next_release(given: ReleaseInput) -> NextRelease:
    """What is live next, and why.

    Raises:
        NothingToReleaseError: There is neither a release nor a candidate.
    """
    previous, candidate = given.previous, given.candidate
    if previous is None and candidate is None:
        raise NothingToReleaseError
    now = previous or _first(candidate)  # type: ignore[arg-type]
    fresh = _unheard(now, given.orders)
    now, chosen = _hear(now, fresh, candidate, given.judged)
    stepped = _step(now, given.step, chosen=chosen)
    has_acted = bool(fresh) or stepped != now
    now = _settle(stepped, candidate, given.rollout, has_acted=has_acted, watched=_watched(given, stepped))
    if previous is None or now.versions != stepped.versions:
        chosen |= {candidate.version} if candidate is not None else set()
    old = frozenset(previous.versions) if previous is not None else frozenset()
    introduces = tuple(version for version in now.versions if version in chosen and version not in old)
    return NextRelease(release=now, introduces=introduces, has_acted=has_acted)


def heed(now: Release, order: Order, *, candidate: Judged | None, judged: Mapping[str, Judged]) -> Release:
    """What a release says after one order.

    Raises:
        OrderRefusedError: It cannot be followed; the message names the gate, or what else stands against it.
    """
    if order.version is not None and order.version not in judged:
        raise OrderRefusedError(
            order=order,
            rule="published",
            problem="no such version was published",
            remedy="`headwater model list` shows all.",
        )
    return _FOLLOW[order.order](now, order, candidate, judged)


def _first(candidate: Judged) -> Release:
    version = candidate.version
    return Release(version=version, policy=all_at_once(version), reason=f"{version} is the first version.")


def _unheard(now: Release, orders: Sequence[Order]) -> list[Order]:
    return sorted((one for one in orders if one.id not in now.heard), key=lambda one: (one.time, one.id))


def _hear(
    now: Release, fresh: Sequence[Order], candidate: Judged | None, judged: Mapping[str, Judged]
) -> tuple[Release, set[str]]:
    """The release after all new orders, and the versions that they name."""
    chosen: set[str] = set()
    for order in fresh:
        now = replace(now, heard=(*now.heard, order.id))
        try:
            now = heed(now, order, candidate=candidate, judged=judged)
        except OrderRefusedError as error:
            now = replace(now, refused={**now.refused, order.id: str(error)})
            continue
        if order.order is OrderKind.PROMOTE:
            chosen |= set(now.versions)
    return now, chosen


def _promote(now: Release, order: Order, candidate: Judged | None, judged: Mapping[str, Judged]) -> Release:
    version = str(order.version)
    policy = order.policy if order.policy is not None else all_at_once(version)
    names = _checked(now, order, policy, judged)
    if (now.version, now.policy) == (version, policy):
        raise OrderRefusedError(
            order=order, rule=CHANGES_NOTHING, problem="it is live so already", remedy="Nothing needs to be done."
        )
    newest = () if candidate is None else (candidate.version,)
    beside = {now.version, *now.before}  # what scores beside the live one in its watch answered everything before
    passed = {*newest, *now.versions} - {*beside, *names} | {*newest} - {*names}
    why = f"{order.actor} promoted {version} instead: {order.reason}"
    barred = {name: said for name, said in now.barred.items() if name not in names}
    live = str(policy.get("live", version))
    return now.live(
        live,
        dict(policy),
        reason=order.reason,
        actor=order.actor,
        order=order.id,
        is_ordered=len(names) > 1,
        barred={**barred, **dict.fromkeys(sorted(passed), why)},
    )


def _checked(now: Release, order: Order, policy: Mapping[str, Any], judged: Mapping[str, Judged]) -> tuple[str, ...]:
    """The versions of an ordered policy, each of which may go live."""
    try:
        policy_traffic(policy)
        names = policy_versions(policy)
    except TrafficError as error:
        raise OrderRefusedError(
            order=order, rule="policy", problem=str(error).rstrip("."), remedy="Correct the policy."
        ) from error
    if order.version not in names:
        named = ", ".join(names)
        raise OrderRefusedError(
            order=order, rule="policy", problem=f"its policy names {named} only", remedy="Let it name the version."
        )
    for name in names:
        if name in now.retired:
            raise OrderRefusedError(
                order=order, rule="retired", problem=f"{name} is retired", remedy="Retired versions never return."
            )
        if name in now.versions:
            continue
        if name not in judged:
            raise OrderRefusedError(
                order=order,
                rule="published",
                problem=f"{name} was never published",
                remedy="`headwater model list` shows all.",
            )
        if problem := judged[name].problem:
            raise OrderRefusedError(
                order=order, rule="gates", problem=problem, remedy="Train a version whose gates hold."
            )
    return names


def _roll_back(now: Release, order: Order, candidate: Judged | None, judged: Mapping[str, Judged]) -> Release:
    version = str(order.version)
    if now.is_whole and version == now.version:
        raise OrderRefusedError(
            order=order, rule=CHANGES_NOTHING, problem="it is live already", remedy="Nothing needs to be done."
        )
    for what, said in (("retired", now.retired), ("barred", now.barred)):
        if version in said:
            raise OrderRefusedError(
                order=order,
                rule=what,
                problem=f"it is {what} ({said[version]})",
                remedy="Only `promote` brings back what is barred.",
            )
    if version not in now.before:
        known = ", ".join(now.before) or "none"
        remedy = f"Promote it instead. Live before were: {known}."
        raise OrderRefusedError(order=order, rule="was_live", problem="it was not live before", remedy=remedy)
    passed = () if candidate is None or candidate.version == version else (candidate.version,)
    why = f"rolled back by {order.actor}: {order.reason}"
    return _back(now, version, why, also=passed, reason=order.reason, actor=order.actor, order=order.id)


def _back(now: Release, version: str, why: str, *, also: Sequence[str] = (), **more: Any) -> Release:
    """Back to a version that was live; all that came after it is barred."""
    place = len(now.before) - 1 - now.before[::-1].index(version)
    before = now.before[:place]
    after = {*now.before[place:], *now.versions, *also} - {version, *before}
    barred = {**now.barred, **{name: now.barred.get(name, why) for name in sorted(after)}}
    return now.live(version, all_at_once(version), before=before, barred=barred, **more)


def _hold(now: Release, order: Order, candidate: Judged | None, judged: Mapping[str, Judged]) -> Release:
    return replace(now, held=f"{order.actor} holds it: {order.reason}")


def _resume(now: Release, order: Order, candidate: Judged | None, judged: Mapping[str, Judged]) -> Release:
    if not now.held:
        raise OrderRefusedError(
            order=order, rule=CHANGES_NOTHING, problem="nothing is held", remedy="Nothing needs to be done."
        )
    return replace(now, held="")


def _deprecate(now: Release, order: Order, candidate: Judged | None, judged: Mapping[str, Judged]) -> Release:
    version = str(order.version)
    if version in now.retired:
        raise OrderRefusedError(
            order=order, rule=CHANGES_NOTHING, problem="it is retired already", remedy="Nothing needs to be done."
        )
    return replace(now, deprecated={**now.deprecated, version: f"{order.actor}: {order.reason}"})


def _retire(now: Release, order: Order, candidate: Judged | None, judged: Mapping[str, Judged]) -> Release:
    version = str(order.version)
    if version in now.retired:
        raise OrderRefusedError(
            order=order, rule=CHANGES_NOTHING, problem="it is retired already", remedy="Nothing needs to be done."
        )
    if version in now.versions:
        problem = f"it is in service ({now.policy['kind']})"
        raise OrderRefusedError(
            order=order, rule="in_service", problem=problem, remedy="Promote another one, or roll back, first."
        )
    deprecated = {name: why for name, why in now.deprecated.items() if name != version}
    return replace(now, deprecated=deprecated, retired={**now.retired, version: f"{order.actor}: {order.reason}"})


_Follow = Callable[[Release, Order, Judged | None, Mapping[str, Judged]], Release]
_FOLLOW: Final[Mapping[OrderKind, _Follow]] = {
    OrderKind.PROMOTE: _promote,
    OrderKind.HOLD: _hold,
    OrderKind.RESUME: _resume,
    OrderKind.ROLLBACK: _roll_back,
    OrderKind.DEPRECATE: _deprecate,
    OrderKind.RETIRE: _retire,
}


def _step(now: Release, step: RolloutStep | None, *, chosen: Collection[str] = ()) -> Release:
    """The release after a step of its rollout, taken once. An abort is taken while a hold is in force too.

    What somebody promotes with the same build, or promoted while the decision was made, was chosen after the evidence was seen: a step
    about it is done with.
    """
    if step is None or step.id == now.step:
        return now
    if step.candidate in chosen or (now.order is not None and now.order != step.order):
        return replace(now, step=step.id)
    if step.action is StepAction.LEARN:
        return now if now.held else replace(_learned(now, step), step=step.id)
    rolling = now.rollout if now.rollout is not None and now.rollout.candidate == step.candidate else None
    if step.action is StepAction.ADVANCE:
        if _ends_watch(now, step):
            return replace(now, watch=Watch.OVER, step=step.id)
        if now.held:
            return now
        if rolling is not None and rolling.share == step.share:
            now = _staged(now, replace(rolling, stage=rolling.stage + 1), reason=step.reason, actor=ROLLOUT)
    elif step.candidate in now.versions and (to := now.back_to()) is not None and to != step.candidate:
        now = _back(now, to, f"rolled back by itself: {step.reason}", reason=step.reason, actor=ROLLOUT)
    return replace(now, step=step.id)


def _ends_watch(now: Release, step: RolloutStep) -> bool:
    """Whether a step is the end of a watch in which nobody scores beside the live version. Nothing else goes live by it: no hold is against it."""
    return now.is_whole and step.candidate == now.version and step.share >= 1


def _learned(now: Release, step: RolloutStep) -> Release:
    """The same experiment, by the same word, drawn by what was learned; another experiment learns nothing from it."""
    is_same = now.order == step.order and step.policy is not None and same_experiment(now.policy, step.policy)
    return replace(now, policy=dict(step.policy)) if is_same and step.policy is not None else now


def _staged(now: Release, rolling: Rolling, *, reason: str, actor: str = "") -> Release:
    """The release with a candidate at one of its stages."""
    share, candidate = rolling.share, rolling.candidate
    live = candidate if share >= 1 else now.version
    if rolling.is_watch:
        policy = shadowed(candidate, rolling.replaced)
    else:
        policy = policy_at(share, live=now.version, candidate=candidate)
    return now.live(live, policy, reason=reason, actor=actor, rollout=None if rolling.is_done else rolling)


def _watched(given: ReleaseInput, now: Release) -> timedelta | None:
    """How long what is live now has been watched: what goes live with this build, not yet."""
    is_new = given.previous is None or (given.previous.version, given.previous.policy) != (now.version, now.policy)
    return timedelta(0) if is_new and given.watched is not None else given.watched


def _settle(
    now: Release, candidate: Judged | None, rollout: Rollout, *, has_acted: bool, watched: timedelta | None
) -> Release:
    """The release with the newest version taken, or with the reason why that one waits."""
    now = replace(now, waits="", waits_for="")
    if candidate is None or candidate.version in now.versions:
        return now
    if why := _hindrance(now, candidate, rollout, has_acted=has_acted, watched=watched):
        return replace(now, waits=candidate.version, waits_for=why)
    replaced = now.version if rollout.keep_replaced else ""
    kind = str(rollout.kind) if rollout.is_experiment else ""
    begun = Rolling(candidate=candidate.version, stage=0, stages=rollout.stages, replaced=replaced, kind=kind)
    problem = candidate.problem
    reason = f"{candidate.version} is the newest version{f', but {problem}' if problem else ' and its gates hold'}."
    reason = f"{now.reason} Then: {reason}" if has_acted else reason
    if begun.is_experiment:
        return now.live(now.version, entry_policy(rollout, now, candidate.version), reason=reason, rollout=begun)
    return _staged(now, begun, reason=reason)


def _hindrance(now: Release, candidate: Judged, rollout: Rollout, *, has_acted: bool, watched: timedelta | None) -> str:
    """Why the newest version is not taken; empty when it is.

    A newer version waits for the end of a rollout in progress, and of a watch: replacing it would throw its evidence away, and a
    product that trains more often than it rolls out would never finish a rollout.
    """
    version = candidate.version
    for word, why in (("retired", now.retired), ("barred", now.barred), ("deprecated", now.deprecated)):
        if version in why:
            return f"it is {word}: {why[version]}"
    if now.held:
        return now.held
    if now.rollout is not None and not joins(rollout, now):
        return f"the rollout of {now.rollout.candidate} goes on"
    if goes_on := _watch_goes_on(now, rollout.rules, watched):
        return goes_on
    if now.is_ordered:
        return f"{now.actor} ordered the policy {now.policy['kind']}: {now.reason}"
    # With nothing else to say, the failing version is proposed, so that the refusal is on record with its verdicts.
    return candidate.problem if has_acted else ""


def _watch_goes_on(now: Release, rules: RolloutRules, watched: timedelta | None) -> str:
    """That the live version is watched still; empty when nothing waits for that.

    What came in meanwhile would be gone back to with it, or be barred in its place. A service that is asked no more, or about the same
    time again and again, never ends a watch: `max_wait` does, by the clock of builds.
    """
    longest = max(rules.watch, rules.max_wait)
    is_waited_for = watched is not None and watched < longest and rules.watch > timedelta(0)
    if now.watch is not Watch.ON or not is_waited_for or now.back_to() is None:
        return ""
    return f"the watch of {now.version} goes on, for {rules.watch} of its requests' time, and is waited for {longest} at the longest"
