"""The next release: what it may never say, whatever was ordered in which order, and what each order does."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.decisions import (
    Judged,
    NextRelease,
    NothingToReleaseError,
    Order,
    OrderError,
    OrderKind,
    OrderRefusedError,
    Release,
    ReleaseInput,
    Rollout,
    RolloutError,
    RolloutKind,
    RolloutRules,
    RolloutStep,
    StepAction,
    TrafficError,
    Watch,
    heed,
    next_release,
    policy_shares,
    policy_traffic,
    policy_versions,
)
from serving.policies import from_json

START = datetime(2026, 5, 1, tzinfo=UTC)
VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")
CANARY = Rollout(kind=RolloutKind.CANARY)


def good(version: str) -> Judged:
    return Judged(version=version, verdicts=({"gate": "auc", "passed": True, "reason": "AUC is 0.8."},))


def bad(version: str) -> Judged:
    return Judged(version=version, verdicts=({"gate": "auc_is_high", "passed": False, "reason": "AUC is 0.5."},))


PUBLISHED = {version: good(version) for version in VERSIONS}


def order(kind: OrderKind, version: str | None = None, *, at: int = 0, policy: Any = None) -> Order:
    time = START + timedelta(minutes=at)
    return Order(
        id=f"{at}-{kind}", time=time, order=kind, version=version, policy=policy, reason="because", actor="user:ada"
    )


def after(previous: Release | None, candidate: Judged | None = None, *orders: Order, **more: Any) -> NextRelease:
    return next_release(
        ReleaseInput(previous=previous, candidate=candidate, orders=orders, **{"judged": PUBLISHED, **more})
    )


def released(*versions: str) -> Release:
    """A release after some versions, each taken by itself."""
    now = None
    for version in versions:
        now = after(now, good(version)).release
    assert now is not None
    return now


def test_the_first_version_and_every_later_one_go_live_all_at_once_unless_declared_otherwise() -> None:
    first = after(None, good("1.0.0"), rollout=CANARY)
    assert (first.release.version, first.release.policy, first.introduces) == (
        "1.0.0",
        {"kind": "all-at-once", "live": "1.0.0"},
        ("1.0.0",),
    )
    second = after(first.release, good("1.1.0"))
    assert (second.release.version, second.introduces, second.release.before) == ("1.1.0", ("1.1.0",), ("1.0.0",))
    with pytest.raises(NothingToReleaseError, match="Build model and evaluation"):
        after(None, None)


def test_a_version_whose_gates_fail_is_proposed_so_that_it_is_refused_but_waits_when_somebody_orders() -> None:
    live = released("1.0.0")
    assert after(live, bad("1.1.0")).introduces == ("1.1.0",)
    found = after(live, bad("1.1.0"), order(OrderKind.DEPRECATE, "1.0.0"))
    assert (found.release.version, found.introduces, found.release.waits) == ("1.0.0", (), "1.1.0")
    assert "auc_is_high" in found.release.waits_for
    assert after(live, Judged(version="1.1.0", verdicts=None), order(OrderKind.HOLD)).release.version == "1.0.0"


def test_a_hold_keeps_new_versions_out_until_it_is_ended() -> None:
    held = after(released("1.0.0"), good("1.0.0"), order(OrderKind.HOLD)).release
    waits = after(held, good("1.1.0"), order(OrderKind.HOLD))
    assert (waits.release.version, waits.release.waits) == ("1.0.0", "1.1.0")
    assert "user:ada holds it" in waits.release.waits_for
    assert after(waits.release, good("1.1.0"), order(OrderKind.RESUME, at=5)).release.version == "1.1.0"
    promoted = after(waits.release, good("1.1.0"), order(OrderKind.PROMOTE, "1.1.0", at=5)).release
    assert (promoted.version, bool(promoted.held)) == ("1.1.0", True)


def test_a_roll_back_bars_what_it_leaves_and_a_later_version_is_taken_as_usual() -> None:
    live = released("1.0.0", "1.1.0", "1.2.0")
    back = after(live, good("1.2.0"), order(OrderKind.ROLLBACK, "1.1.0")).release
    assert (back.version, back.before, set(back.barred)) == ("1.1.0", ("1.0.0",), {"1.2.0"})
    again = after(back, good("1.2.0"))
    assert (again.release.version, again.release.waits) == ("1.1.0", "1.2.0")
    assert "rolled back by user:ada: because" in again.release.waits_for
    assert after(back, good("1.3.0")).release.version == "1.3.0"
    far = after(live, good("1.2.0"), order(OrderKind.ROLLBACK, "1.0.0")).release
    assert (far.version, far.before, set(far.barred)) == ("1.0.0", (), {"1.1.0", "1.2.0"})
    assert far.back_to() is None
    lifted = after(far, good("1.2.0"), order(OrderKind.PROMOTE, "1.2.0", at=9)).release
    assert (lifted.version, set(lifted.barred)) == ("1.2.0", {"1.1.0"})


def test_two_who_roll_back_at_once_roll_back_once() -> None:
    live = released("1.0.0", "1.1.0", "1.2.0")
    both = (order(OrderKind.ROLLBACK, "1.1.0", at=1), order(OrderKind.ROLLBACK, "1.1.0", at=2))
    found = after(live, good("1.2.0"), *both).release
    assert (found.version, set(found.heard)) == ("1.1.0", {"1-rollback", "2-rollback"})
    assert list(found.refused) == ["2-rollback"]


def test_promoting_another_than_the_newest_keeps_the_newest_out() -> None:
    found = after(released("1.0.0", "1.1.0"), good("1.1.0"), order(OrderKind.PROMOTE, "1.0.0")).release
    assert (found.version, found.waits) == ("1.0.0", "1.1.0")
    assert "promoted 1.0.0 instead" in found.waits_for


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (order(OrderKind.PROMOTE, "9.9.9"), "no such version"),
        (order(OrderKind.PROMOTE, "1.2.0"), "gate auc_is_high failed: AUC is 0.5"),
        (order(OrderKind.PROMOTE, "1.1.0"), "live so already"),
        (order(OrderKind.ROLLBACK, "1.1.0"), "live already"),
        (order(OrderKind.ROLLBACK, "1.3.0"), "was not live before"),
        (order(OrderKind.RETIRE, "1.1.0"), "in service"),
        (order(OrderKind.RESUME), "nothing is held"),
        (order(OrderKind.PROMOTE, "1.0.0", policy={"kind": "ab-test", "shares": {"1.0.0": 0.5, "1.1.0": 0.6}}), "1.1"),
        (order(OrderKind.PROMOTE, "1.0.0", policy={"kind": "all-at-once", "live": "1.1.0"}), "names 1.1.0 only"),
        (order(OrderKind.PROMOTE, "1.0.0", policy={"kind": "canary", "live": "1.0.0", "candidate": "8.0.0", "share": 0.1}), "8.0.0"),
        (order(OrderKind.PROMOTE, "1.0.0", policy={"kind": "lottery"}), "nobody knows it"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused_with_the_reason(asked: Order, named: str) -> None:
    live, judged = released("1.0.0", "1.1.0"), {**PUBLISHED, "1.2.0": bad("1.2.0")}
    with pytest.raises(OrderRefusedError, match=named):
        heed(live, asked, candidate=bad("1.2.0"), judged=judged)
    found = after(live, good("1.1.0"), asked, judged=judged).release
    assert (found.version, found.policy) == (live.version, live.policy)
    assert named in found.refused[asked.id]


def test_a_retired_version_never_returns_and_a_deprecated_one_only_by_order() -> None:
    live = released("1.0.0", "1.1.0")
    found = after(
        live, good("1.1.0"), order(OrderKind.RETIRE, "1.0.0"), order(OrderKind.DEPRECATE, "1.2.0", at=1)
    ).release
    assert (set(found.retired), set(found.deprecated), found.back_to()) == ({"1.0.0"}, {"1.2.0"}, None)
    for kind in (OrderKind.PROMOTE, OrderKind.ROLLBACK, OrderKind.RETIRE, OrderKind.DEPRECATE):
        with pytest.raises(OrderRefusedError, match="retired"):
            heed(found, order(kind, "1.0.0"), candidate=None, judged=PUBLISHED)
    assert after(found, good("1.2.0")).release.waits_for.startswith("it is deprecated")
    assert after(found, good("1.2.0"), order(OrderKind.PROMOTE, "1.2.0", at=9)).release.version == "1.2.0"


def test_an_ordered_policy_stands_until_a_person_ends_it() -> None:
    policy = {"kind": "ab-test", "shares": {"1.0.0": 0.5, "1.1.0": 0.5}, "salt": "spring"}
    test = after(released("1.0.0"), good("1.1.0"), order(OrderKind.PROMOTE, "1.1.0", policy=policy), rollout=CANARY)
    assert (test.release.version, test.release.policy, test.introduces) == ("1.1.0", policy, ("1.1.0",))
    waits = after(test.release, good("1.2.0")).release
    assert (waits.policy, waits.waits) == (policy, "1.2.0")
    assert "ordered the policy ab-test" in waits.waits_for
    back = after(waits, good("1.1.0"), order(OrderKind.ROLLBACK, "1.0.0", at=3)).release
    assert (back.version, set(back.barred)) == ("1.0.0", {"1.1.0"})


def step(action: StepAction, candidate: str, share: float, id: str = "") -> RolloutStep:
    return RolloutStep(
        id=id or f"{action}-{candidate}-{share}", candidate=candidate, action=action, share=share, reason="seen"
    )


def test_a_declared_canary_goes_up_step_by_step_each_once() -> None:
    rollout = Rollout(kind=RolloutKind.CANARY, shadow_first=True)
    now, shares = after(released("1.0.0"), good("1.1.0"), rollout=rollout).release, []
    for share in rollout.stages[:-1]:
        shares.append(now.rollout.share if now.rollout else None)
        for _ in range(2):  # built again, with the same decision: nothing more happens
            now = after(now, good("1.1.0"), rollout=Rollout(), step=step(StepAction.ADVANCE, "1.1.0", share)).release
    assert shares == [0.0, 0.05, 0.10, 0.25, 0.50]
    assert (now.version, now.is_whole, now.before, now.rollout) == ("1.1.0", True, ("1.0.0",), None)


def test_a_shadow_answers_nothing_before_it_answers_everything() -> None:
    begun = after(released("1.0.0"), good("1.1.0"), rollout=Rollout(kind=RolloutKind.SHADOW)).release
    assert begun.policy == {"kind": "shadow", "live": "1.0.0", "shadows": ["1.1.0"]}
    assert after(begun, good("1.1.0"), step=step(StepAction.ADVANCE, "1.1.0", 0.0)).release.is_whole


def test_a_rollout_waits_out_newer_versions_holds_and_steps_of_another_share() -> None:
    begun = after(released("1.0.0"), good("1.1.0"), rollout=CANARY).release
    newer = after(begun, good("1.2.0"), rollout=CANARY).release
    assert (newer.policy, newer.rollout, newer.waits) == (begun.policy, begun.rollout, "1.2.0")
    assert after(begun, good("1.1.0"), step=step(StepAction.ADVANCE, "1.1.0", 0.5)).release.policy == begun.policy
    held = after(begun, good("1.1.0"), order(OrderKind.HOLD)).release
    advance = step(StepAction.ADVANCE, "1.1.0", 0.05)
    assert after(held, good("1.1.0"), step=advance).release.policy == begun.policy
    resumed = after(held, good("1.1.0"), order(OrderKind.RESUME, at=4), step=advance).release
    assert resumed.policy["share"] == 0.10


def test_an_abort_goes_back_at_any_stage_bars_the_version_and_happens_once() -> None:
    begun = after(released("1.0.0"), good("1.1.0"), rollout=CANARY).release
    whole = released("1.0.0", "1.1.0")
    for now in (begun, whole, after(begun, good("1.1.0"), order(OrderKind.HOLD)).release):
        abort = step(StepAction.ABORT, "1.1.0", 0.05)
        back = after(now, good("1.1.0"), step=abort).release
        assert (back.version, back.is_whole, set(back.barred), back.actor) == ("1.0.0", True, {"1.1.0"}, "rollout")
        again = after(back, good("1.1.0"), order(OrderKind.PROMOTE, "1.1.0", at=8), step=abort).release
        assert again.version == "1.1.0", "the old abort does not undo what a person ordered since"
    begins = after(begun, good("1.2.0"), step=step(StepAction.ABORT, "1.1.0", 0.05), rollout=CANARY).release
    assert begins.versions == ("1.0.0", "1.2.0"), "the one that waited comes next"


def test_a_step_decided_before_a_person_promoted_is_done_with_and_one_decided_after_is_taken() -> None:
    """The decision was being made while somebody promoted: its abort undid the promote a moment later."""
    begun = after(released("1.0.0"), good("1.1.0"), rollout=CANARY).release
    promoted = after(begun, good("1.1.0"), order(OrderKind.PROMOTE, "1.1.0")).release
    late = step(StepAction.ABORT, "1.1.0", 0.05)
    stays = after(promoted, good("1.1.0"), step=late).release
    assert (stays.version, stays.is_whole, stays.step) == ("1.1.0", True, late.id)
    watched = replace(step(StepAction.ABORT, "1.1.0", 1.0), order=promoted.order)
    back = after(stays, good("1.1.0"), step=watched).release
    assert (back.version, set(back.barred)) == ("1.0.0", {"1.1.0"}), "a promoted version is watched as any other"


def test_a_person_may_promote_in_a_watch_and_what_was_live_can_be_gone_back_to() -> None:
    """What scored beside the promoted version was barred as passed over, and nothing was left to go back to, not by itself either."""
    rollout = Rollout(kind=RolloutKind.SHADOW, keep_replaced=True)
    begun = after(released("1.0.0"), good("1.1.0"), rollout=rollout).release
    watch = after(begun, good("1.1.0"), step=step(StepAction.ADVANCE, "1.1.0", 0.0), rollout=rollout).release
    assert (watch.version, watch.policy["shadows"]) == ("1.1.0", ["1.0.0"])
    same = after(watch, good("1.1.0"), order(OrderKind.PROMOTE, "1.1.0"), rollout=rollout).release
    assert (same.policy, same.back_to(), same.barred) == ({"kind": "all-at-once", "live": "1.1.0"}, "1.0.0", {})
    other = after(watch, good("1.2.0"), order(OrderKind.PROMOTE, "1.2.0"), rollout=rollout).release
    assert (other.version, other.back_to(), other.barred) == ("1.2.0", "1.1.0", {})
    ended = after(watch, good("1.1.0"), step=step(StepAction.ADVANCE, "1.1.0", 1.0), rollout=rollout).release
    assert (ended.is_whole, ended.before, ended.back_to()) == (True, ("1.0.0",), "1.0.0")


WATCHED = {"watched": timedelta(days=1)}
"""Somebody asks the product, and the live version got everything a day ago."""


@pytest.mark.parametrize("kind", list(RolloutKind))
def test_a_newer_version_waits_for_the_end_of_a_watch_however_it_would_come_in(kind: RolloutKind) -> None:
    how: dict[str, Any] = {"rollout": Rollout(kind=kind), **WATCHED}
    watch = released("1.0.0", "1.1.0")
    waits = after(watch, good("1.2.0"), **how).release
    assert (waits.policy, waits.watch, waits.waits) == (watch.policy, Watch.ON, "1.2.0")
    assert waits.waits_for.startswith("the watch of 1.1.0 goes on, for 7 days")
    assert after(waits, bad("1.3.0"), **how).release.waits == "1.3.0"
    back = after(waits, good("1.2.0"), step=step(StepAction.ABORT, "1.1.0", 1.0), **how)
    assert (set(back.release.barred), back.release.before) == ({"1.1.0"}, ("1.0.0",))
    assert set(back.release.versions) <= {"1.0.0", "1.2.0"}, "the one that waited comes next"
    held = after(waits, good("1.2.0"), order(OrderKind.HOLD)).release
    over = after(held, good("1.2.0"), step=step(StepAction.ADVANCE, "1.1.0", 1.0), **how).release
    assert (over.watch, over.policy, over.back_to()) == (Watch.OVER, watch.policy, "1.0.0"), (
        "no hold keeps a watch from ending"
    )
    newer = after(waits, good("1.2.0"), step=step(StepAction.ADVANCE, "1.1.0", 1.0), **how).release
    assert ("1.2.0" in newer.versions, newer.waits) == (True, "")


@pytest.mark.parametrize("kind", [RolloutKind.SHADOW, RolloutKind.CANARY, RolloutKind.AB_TEST])
def test_a_version_that_waited_for_a_rollout_waits_for_its_watch_too(kind: RolloutKind) -> None:
    """The step that gave a version everything let the next one in with the same build."""
    rollout = Rollout(kind=kind, steps=(0.5, 1.0))
    now = after(released("1.0.0"), good("1.1.0"), rollout=rollout).release
    last = step(StepAction.ADVANCE, "1.1.0", rollout.stages[0])
    given: dict[str, Any] = {"rollout": rollout, "step": last, "watched": timedelta(days=400)}
    whole = after(now, good("1.2.0"), **given).release
    assert (whole.version, whole.is_whole, whole.watch, whole.waits) == ("1.1.0", True, Watch.ON, "1.2.0")


def test_nothing_waits_for_a_watch_that_nobody_asks_that_no_time_ends_or_that_is_not_declared() -> None:
    watch = released("1.0.0", "1.1.0")
    none = Rollout(rules=RolloutRules(watch=timedelta(0)))
    for more in ({"watched": None}, {"watched": timedelta(days=14)}, {**WATCHED, "rollout": none}):
        assert after(watch, good("1.2.0"), **more).release.version == "1.2.0"
    assert after(released("1.0.0"), good("1.1.0"), **WATCHED).release.version == "1.1.0", (
        "the first version has no watch"
    )
    back = after(watch, good("1.1.0"), step=step(StepAction.ABORT, "1.1.0", 1.0)).release
    assert (back.watch, after(back, good("1.2.0"), **WATCHED).release.version) == (Watch.NONE, "1.2.0")
    alone = after(watch, good("1.1.0"), order(OrderKind.RETIRE, "1.0.0"), **WATCHED).release
    assert after(alone, good("1.2.0"), **WATCHED).release.version == "1.2.0", (
        "a watch that can send nobody back is none"
    )


def test_a_person_may_promote_over_a_watch_which_begins_anew() -> None:
    watch = released("1.0.0", "1.1.0")
    found = after(watch, good("1.2.0"), order(OrderKind.PROMOTE, "1.2.0"), **WATCHED).release
    assert (found.version, found.watch, found.back_to()) == ("1.2.0", Watch.ON, "1.1.0")
    assert after(found, good("1.3.0"), **WATCHED).release.waits == "1.3.0"
    early = step(StepAction.ADVANCE, "1.1.0", 1.0)
    assert after(found, good("1.2.0"), step=early).release.watch is Watch.ON, "the end of another watch ends none"


def test_a_person_may_end_a_rollout_either_way() -> None:
    begun = after(released("1.0.0"), good("1.1.0"), rollout=CANARY).release
    up = after(begun, good("1.1.0"), order(OrderKind.PROMOTE, "1.1.0")).release
    down = after(begun, good("1.1.0"), order(OrderKind.ROLLBACK, str(begun.back_to()))).release
    assert (up.version, up.is_whole, up.back_to()) == ("1.1.0", True, "1.0.0")
    assert (down.version, down.is_whole, set(down.barred)) == ("1.0.0", True, {"1.1.0"})


def test_an_order_says_why_by_whom_and_about_what() -> None:
    for wrong, named in (
        ({"reason": " "}, "no reason"),
        ({"time": datetime(2026, 5, 1)}, "no zone"),
        ({"version": None}, "names no version"),
        ({"order": OrderKind.HOLD}, "names the version"),
        ({"order": OrderKind.RETIRE, "policy": {}}, "traffic policy"),
    ):
        raw = {"id": "a", "time": START, "order": OrderKind.PROMOTE, "version": "1.0.0", "reason": "x", "actor": "y"}
        with pytest.raises(OrderError, match=named):
            Order(**{**raw, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [(), (0.5,), (0.5, 0.2, 1.0), (0.0, 1.0), (0.5, 1.5)])
def test_a_rollout_has_growing_shares_up_to_all(steps: tuple[float, ...]) -> None:
    with pytest.raises(RolloutError, match="grow up to 1"):
        Rollout(kind=RolloutKind.CANARY, steps=steps)


def test_every_policy_of_the_service_tells_its_versions_and_shares() -> None:
    for policy, names, shares in (
        ({"kind": "all-at-once", "live": "a"}, ("a",), {"a": 1.0}),
        ({"kind": "shadow", "live": "a", "shadows": ["b", "c"]}, ("a", "b", "c"), {"a": 1.0}),
        ({"kind": "canary", "live": "a", "candidate": "b", "share": 0.25}, ("a", "b"), {"a": 0.75, "b": 0.25}),
        ({"kind": "ab-test", "shares": {"a": 0.5, "b": 0.5}, "salt": "x"}, ("a", "b"), {"a": 0.5, "b": 0.5}),
        ({"kind": "ensemble", "weights": {"a": 0.4, "b": 0.6}}, ("a", "b"), {"a": 0.4, "b": 0.6}),
        ({"kind": "epsilon-greedy", "means": {"a": 0.5, "b": 1.0}, "epsilon": 0.1}, ("a", "b"), {}),
        ({"kind": "thompson", "beliefs": {"a": [1, 1], "b": [2, 1]}}, ("a", "b"), {}),
    ):
        from_json(policy)  # type: ignore[arg-type]
        assert policy_versions(policy) == names  # type: ignore[arg-type]
        assert policy_traffic(policy) == shares  # type: ignore[arg-type]
    for wrong in (
        {"kind": "ab-test"},
        {"kind": "canary", "live": "a", "candidate": "a"},
        {"kind": "shadow", "live": "a"},
    ):
        with pytest.raises(TrafficError):
            policy_versions(wrong)
    with pytest.raises(TrafficError, match="share of b is 'x'"):
        policy_traffic({"kind": "canary", "live": "a", "candidate": "b", "share": "x"})


_version = st.sampled_from(VERSIONS)
_policy = st.one_of(
    st.none(),
    st.builds(lambda a, b, s: {"kind": "canary", "live": a, "candidate": b, "share": s}, _version, _version, st.sampled_from([0.0, 0.3, 2.0])),
    st.builds(lambda names: {"kind": "ab-test", "shares": {n: 1 / len(names) for n in names}, "salt": "s"}, st.lists(_version, min_size=1, unique=True)),
)  # fmt: skip
_event = st.one_of(
    st.tuples(st.just("candidate"), _version, st.booleans()),
    st.tuples(st.just("order"), st.sampled_from(OrderKind), _version, _policy),
    st.tuples(
        st.just("step"), st.sampled_from(StepAction), _version, st.sampled_from([0.0, 0.05, 0.1, 0.25, 0.5, 1.0])
    ),
)
_degrees = (RolloutKind.ALL_AT_ONCE, RolloutKind.SHADOW, RolloutKind.CANARY)
_rollout = st.one_of(
    st.builds(Rollout, kind=st.sampled_from(_degrees), shadow_first=st.booleans()),
    st.builds(Rollout, kind=st.sampled_from([kind for kind in RolloutKind if kind not in _degrees])),
)


@settings(max_examples=300, deadline=None)
@given(
    events=st.lists(_event, max_size=25),
    rollout=_rollout,
    gaps=st.sets(st.integers(0, 25)),
    watched=st.sampled_from([None, timedelta(days=1)]),
)
def test_whatever_comes_in_whatever_order_the_release_stays_valid(
    events: list[Any], rollout: Rollout, gaps: set[int], watched: timedelta | None
) -> None:
    """Each event may be built at once, or wait with others for the next build."""
    now, candidate, orders, taken = released("1.0.0"), good("1.0.0"), [], None
    history = [now]
    for place, event in enumerate(events):
        if event[0] == "candidate":
            candidate = good(event[1]) if event[2] else bad(event[1])
        elif event[0] == "order":
            _, kind, version, policy = event
            bare = kind in (OrderKind.HOLD, OrderKind.RESUME)
            said = policy if kind is OrderKind.PROMOTE else None
            orders.append(order(kind, None if bare else version, at=place, policy=said))
        else:
            taken = step(event[1], event[2], event[3], id=str(place))
        if place in gaps:
            continue
        given = ReleaseInput(
            previous=now,
            candidate=candidate,
            judged={**PUBLISHED, candidate.version: candidate},
            orders=tuple(reversed(orders)),
            rollout=rollout,
            step=taken,
            watched=watched,
        )
        stored = ReleaseInput.from_json(json.loads(json.dumps(given.to_json())))
        found = next_release(given)
        assert next_release(stored) == found, "what is kept with a decision decides the same"
        if any(not judged["passed"] for judged in candidate.verdicts or ()) and candidate.version in found.introduces:
            assert not found.has_acted, "only the gates' own refusal is at stake, nobody's order"
            continue  # the gates refuse it: what was live stays
        _check(now, found, orders)
        is_kept = watched is not None and now.watch is Watch.ON and now.back_to() is not None
        assert found.has_acted or not is_kept or found.release.versions == now.versions, "a watch is waited for"
        now = found.release
        history.append(now)
    for old, new in pairwise(history):
        assert set(old.retired) <= set(new.retired)


def _check(old: Release, found: NextRelease, orders: list[Order]) -> None:
    now = found.release
    from_json(now.policy)
    shares = policy_shares(now.policy)
    assert sum(shares.values()) == pytest.approx(1)
    assert now.version in now.versions
    assert not set(now.versions) & set(now.retired)
    assert {one.id for one in orders} == set(now.heard)
    new = set(now.versions) - set(old.versions)
    fresh = [one for one in orders if one.id not in old.heard]
    by_word = {v for one in fresh for v in (one.version, *policy_versions_or_none(one.policy))}
    assert not new & (set(old.barred) | set(old.deprecated)) - by_word - set(old.before), "never by itself"
    assert not set(now.versions) & set(now.barred)
    assert Release.from_json(json.loads(json.dumps(now.to_json()))) == now
    assert (now.rollout is None) or now.rollout.candidate in now.versions


def policy_versions_or_none(policy: Any) -> tuple[str, ...]:
    try:
        return policy_versions(policy) if policy is not None else ()
    except TrafficError:
        return ()
