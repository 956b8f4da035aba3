"""A policy of several versions that stands: what is reported of it, what it learns, and how it ends."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from assets._chain import _retention
from assets._chain._experiment_page import PAGE_FILE
from headwater.cli._decisions import recorded_decisions
from headwater.decisions import OrderKind, Rollout, RolloutKind
from headwater.materialize import Status
from headwater.names import NO_VERSION
from headwater.product import Model, Serving
from serving.policies import assign, from_json
from tests.rollout_scene import AT, DAY, NAME, RULES, TOY, RolloutScene

LIVE, NEW, THIRD = "1.0.0", "1.1.0", "1.2.0"
HELD = Rollout(rules=replace(RULES, learn_every=timedelta(hours=1)))
AB = {"kind": "ab-test", "shares": {LIVE: 0.5, NEW: 0.5}, "salt": "spring"}
THOMPSON = {"kind": "thompson", "beliefs": {LIVE: [1.0, 1.0], NEW: [1.0, 1.0]}, "salt": "spring"}
GREEDY = {"kind": "epsilon-greedy", "means": {LIVE: 1.0, NEW: 0.0}, "epsilon": 0.2, "salt": "spring"}
Ordered = Callable[..., RolloutScene]


@pytest.fixture
def ordered(tmp_path: Path) -> Ordered:
    """A scene in which a person ordered a policy of two versions, the first of which was live."""

    def order(policy: dict[str, Any] | None) -> RolloutScene:
        scene = RolloutScene(tmp_path, HELD)
        scene.version(LIVE)
        scene.give(OrderKind.HOLD)
        scene.version(NEW)
        scene.give(OrderKind.RESUME)
        if policy is not None:
            scene.give(OrderKind.PROMOTE, NEW, policy=policy)
            scene.build()
        return scene

    return order


def ask(scene: RolloutScene, orders: range, **more: Any) -> dict[int, str]:
    """Answers by the policy that stands, as the service draws them."""
    policy = from_json(scene.statement()["policy"])
    drawn = {order: assign(policy, f"order {order}") for order in orders}
    versions = {order: one.variant for order, one in drawn.items()}
    scene.answers(orders, versions, **{"propensity": lambda order: drawn[order].propensity, **more})
    return versions


def known(scene: RolloutScene, truths: dict[int, int]) -> None:
    scene.label((order, AT, truth, AT + 2 * DAY) for order, truth in truths.items())


def said(scene: RolloutScene) -> tuple[str, str]:
    found = scene.experiment()
    return found["action"], found["rule"]


def right(versions: dict[int, str], better: str = NEW) -> dict[int, int]:
    """Answers say 1: the better version is wrong in every tenth, the other in half of them."""
    return {order: int(order % (10 if name == better else 2) > 0) for order, name in versions.items()}


def test_without_several_versions_there_is_no_experiment(ordered: Ordered) -> None:
    scene = ordered(None)
    scene.settle()
    assert (said(scene), scene.experiment()["step"]) == (("wait", "idle"), None)
    assert "nothing is tested" in scene.decided_file(PAGE_FILE, asset="experiment").read_text()


def test_an_ordered_test_reports_each_version_and_ends_by_a_person_alone(ordered: Ordered) -> None:
    scene = ordered(AB)
    versions = ask(scene, range(1_500), decision=True)
    known(scene, right(versions))
    outcomes = scene.settle()
    found = scene.experiment()
    assert said(scene) == ("wait", "open"), found["reason"]
    counted = Counter(versions.values())
    for arm in found["evidence"]["arms"]:
        seen = arm["traffic"]
        assert seen["answered"] == seen["loss"]["count"] == arm["units"] == arm["positives"] == counted[seen["version"]]
        assert arm["expected"] == 750
    (compared,) = found["compared"]
    assert (compared["version"], found["evidence"]["standing"]["control"]) == (NEW, LIVE)
    assert compared["loss"]["high"] < 0, "it is certainly better"
    test = found["evidence"]["facts"]["test"]
    assert test["differences"][0]["power"] > 0.8
    page = scene.decided_file(PAGE_FILE, asset="experiment").read_text()
    for part in ("certainly less than", "cost of a decision", "split is as declared", "rows needed"):
        assert part in page
    assert all(check.passed for one in outcomes for check in one.checks)
    assert [one.status for one in scene.settle()] == [Status.UNCHANGED] * 8, "a second build changes nothing"
    assert scene.statement()["policy"] == AB


@pytest.mark.parametrize(("promoted", "before"), [("1.9.0", LIVE), ("1.10.0", LIVE), ("1.10.0", "1.9.0")])
def test_the_control_was_live_before_or_was_promoted(tmp_path: Path, promoted: str, before: str) -> None:
    """A statement holds shares sorted as text, where 1.10.0 comes before 1.9.0."""
    scene = RolloutScene(tmp_path, HELD)
    scene.version(before)
    scene.give(OrderKind.HOLD)
    for version in ("1.9.0", "1.10.0"):
        if version != before:
            scene.version(version)
    policy = {"kind": "ab-test", "shares": {"1.9.0": 0.5, "1.10.0": 0.5}, "salt": "x"}
    scene.give(OrderKind.PROMOTE, promoted, policy=policy)
    scene.build()
    scene.settle()
    standing = scene.experiment()["evidence"]["standing"]
    control = before if before != LIVE else promoted
    assert standing["control"] == control
    assert standing["arms"] == [control, *({"1.9.0", "1.10.0"} - {control})]


def test_arms_stand_in_the_order_of_versions(ordered: Ordered) -> None:
    scene = ordered(None)
    scene.give(OrderKind.HOLD)
    for version in ("1.9.0", "1.10.0"):
        scene.version(version)
    shares = dict.fromkeys((LIVE, "1.10.0", "1.9.0"), 1 / 3)
    scene.give(OrderKind.PROMOTE, "1.10.0", policy={"kind": "ab-test", "shares": shares, "salt": "x"})
    scene.build()
    scene.settle()
    assert scene.experiment()["evidence"]["standing"]["arms"] == [LIVE, "1.9.0", "1.10.0"]


def test_a_split_that_is_not_the_declared_one_is_a_warning(ordered: Ordered) -> None:
    scene = ordered(AB)
    scene.answers(range(600), {order: NEW if order % 4 else LIVE for order in range(600)}, propensity=0.5)
    failed = [check for one in scene.settle() for check in one.checks if not check.passed]
    assert [(check.name, check.blocking) for check in failed] == [("split_is_as_declared", False)]
    assert said(scene) == ("wait", "sample_ratio")
    assert scene.statement()["policy"] == AB


@pytest.mark.parametrize("policy", [AB, THOMPSON, {"kind": "canary", "live": LIVE, "candidate": NEW, "share": 0.5}])
def test_failures_take_an_ordered_policy_back_by_itself(ordered: Ordered, policy: dict[str, Any]) -> None:
    scene = ordered(policy)
    ask(scene, range(100))
    scene.failures(NEW, 200)
    scene.settle()
    assert said(scene) == ("abort", "errors"), scene.experiment()["reason"]
    now = scene.statement()
    assert (now["version"], now["policy"], now["actor"], now["is_ordered"]) == (LIVE, "all-at-once", "rollout", False)
    assert "rolled back by itself" in now["barred"][NEW]
    assert f"requests to {NEW} failed" in now["reason"]
    scene.settle()
    assert said(scene) == ("wait", "idle")
    assert scene.statement()["version"] == LIVE
    scene.give(OrderKind.PROMOTE, NEW, policy=policy)
    scene.build()
    scene.settle()
    assert scene.statement()["is_ordered"], "who orders it again begins anew: old failures are not of it"


@pytest.mark.parametrize("policy", [AB, THOMPSON])
def test_failures_of_no_version_end_no_test_and_teach_no_bandit(ordered: Ordered, policy: dict[str, Any]) -> None:
    scene = ordered(None)
    scene.failures(NO_VERSION, 500, code="log_full")
    scene.settle()
    scene.give(OrderKind.PROMOTE, NEW, policy=policy)
    scene.build()
    ask(scene, range(100))
    scene.failures(NO_VERSION, 500, code="online_features_away")
    scene.settle()
    evidence = scene.experiment()["evidence"]
    assert {arm["traffic"]["failed"] for arm in evidence["arms"]} == {evidence["before"]["failed"]} == {0}
    assert (scene.experiment()["action"], scene.statement()["policy"]) == ("wait", policy)


def test_slow_answers_take_an_ensemble_back(ordered: Ordered) -> None:
    scene = ordered({"kind": "ensemble", "weights": {LIVE: 0.5, NEW: 0.5}})
    scores = {LIVE: 0.2, NEW: 0.9}
    scene.answers(range(200), "ensemble", shadows=scores, latency=lambda order: 30_000_000 if order % 2 else 900)
    known(scene, dict.fromkeys(range(200), 1))
    scene.settle()
    found = scene.experiment()
    assert said(scene) == ("abort", "latency"), found["reason"]
    assert [one["traffic"]["version"] for one in found["evidence"]["arms"]] == ["ensemble", LIVE, NEW]
    assert [one["version"] for one in found["compared"]] == [LIVE, NEW], (
        "members against the common answer, on the same requests"
    )
    assert found["evidence"]["duels"][0]["loss"]["is_paired"]
    assert (scene.statement()["version"], list(scene.statement()["barred"])) == (LIVE, [NEW])


def test_a_slow_batch_and_one_that_failed_end_no_test_and_a_version_that_only_scores_counts_it_once(
    ordered: Ordered,
) -> None:
    scene = ordered(AB)
    ask(scene, range(100))
    scene.batch("night", range(200, 300), {order: NEW if order % 2 else LIVE for order in range(200, 300)},
                propensity=0.5, latency=30_000_000)  # fmt: skip
    scene.failures(NEW, 1)
    scene.settle()
    assert said(scene) == ("wait", "open"), scene.experiment()["reason"]
    for arm in scene.experiment()["evidence"]["arms"]:
        seen = arm["traffic"]
        assert (seen["batches"], seen["slow"], arm["decisions"] - seen["answered"]) == (1, 0, 49)
    scene.give(OrderKind.PROMOTE, LIVE, policy={"kind": "shadow", "live": LIVE, "shadows": [NEW]})
    scene.build()
    scene.answers(range(400, 450), LIVE, shadows={NEW: 0.9})
    scene.batch("day", range(500, 600), LIVE, shadows=lambda order: {NEW: 0.9} if order % 3 else {})
    scene.settle()
    assert said(scene) == ("wait", "open"), scene.experiment()["reason"]
    (_, scoring) = scene.experiment()["evidence"]["arms"]
    assert (scoring["traffic"]["answered"], scoring["traffic"]["failed"], scoring["decisions"]) == (50, 1, 117)


def test_failures_of_the_version_that_would_answer_then_end_nothing(ordered: Ordered) -> None:
    scene = ordered(AB)
    ask(scene, range(100))
    scene.failures(LIVE, 200)
    scene.settle()
    assert said(scene) == ("wait", "open")
    assert scene.statement()["policy"] == AB


def test_a_bandit_draws_by_what_was_learned_once_an_interval(ordered: Ordered) -> None:
    scene = ordered(THOMPSON)
    versions = ask(scene, range(600))
    known(scene, right(versions))
    scene.settle()
    assert said(scene) == ("learn", "learned")
    drawn = scene.statement()["policy"]["beliefs"]
    counted = Counter(versions.values())
    assert sum(drawn[NEW]) == 2 + counted[NEW]
    assert sum(drawn[LIVE]) == 2 + counted[LIVE]
    rewards = {name: a / (a + b) for name, (a, b) in drawn.items()}
    assert rewards == pytest.approx({NEW: 1 - 0.1 / 3, LIVE: 1 - 0.5 / 3}, abs=0.03), (
        "a false alarm costs a third of a miss"
    )
    assert (scene.statement()["is_ordered"], scene.statement()["actor"]) == (True, "user:ada"), (
        "that person's word still"
    )
    assert "drawn by their rewards" in scene.experiment()["reason"]
    scene.settle()
    assert [one.status for one in scene.settle()] == [Status.UNCHANGED] * 8, "a second build changes nothing"
    more = ask(scene, range(1_000, 1_300), at=AT + timedelta(minutes=20))
    assert Counter(more.values())[NEW] > 290, "traffic has moved"
    known(scene, right({**versions, **more}))
    scene.settle()
    assert scene.statement()["policy"]["beliefs"] == drawn, "the interval has not passed"
    late = ask(scene, range(2_000, 2_001), at=AT + 3 * DAY)
    scene.settle()
    learned = scene.statement()["policy"]["beliefs"]
    assert sum(learned[NEW]) + sum(learned[LIVE]) == 4 + 900, "what was answered under each of its policies counts once"
    assert len(late) == 1


@pytest.mark.parametrize("policy", [THOMPSON, GREEDY])
def test_a_bandit_keeps_what_it_learned_when_its_rows_are_no_longer_kept(
    ordered: Ordered, policy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a version that was worse the labels went after `Serving.keep`, and it was drawn as often as in the beginning."""
    monkeypatch.setattr(_retention, "SLACK", timedelta(0))
    scene, part = ordered(policy), {"thompson": "beliefs", "epsilon-greedy": "means"}[policy["kind"]]
    scene.ahead = -timedelta(hours=1)
    versions = ask(scene, range(1_400))
    known(scene, right(versions))
    scene.settle()
    drawn = scene.statement()["policy"][part]
    assert drawn != policy[part]
    assert scene.experiment()["incomplete_since"] is None
    begun = scene.experiment()["evidence"]["first"]
    scene.ahead = timedelta(0)
    scene.keep(timedelta(minutes=30))
    scene.settle()  # drops in a commit of its own
    more = ask(scene, range(2_000, 2_100), at=AT + 3 * DAY)
    known(scene, right({**versions, **more}))
    failed = [check for one in scene.settle() for check in one.checks if not check.passed]
    found = scene.experiment()
    assert scene.statement()["policy"][part] == drawn
    assert (found["action"], found["rule"]) == ("wait", "incomplete"), found["reason"]
    assert [(check.name, check.blocking) for check in failed] == [("experiment_has_all_its_rows", False)]
    since = found["incomplete_since"]
    assert found["evidence"]["first"] == begun, "it began when it began"
    page = scene.decided_file(PAGE_FILE, asset="experiment").read_text()
    assert "no longer kept" in page
    assert since in page
    ask(scene, range(3_000, 3_010), at=AT + 6 * DAY)
    scene.settle()
    assert scene.experiment()["incomplete_since"] == since, "it says since when, not when it was looked at last"
    scene.keep(timedelta(days=40))
    scene.give(OrderKind.PROMOTE, NEW, policy=policy)
    scene.build()
    known(scene, right(ask(scene, range(4_000, 4_700), at=AT)))
    scene.settle()
    assert (said(scene), scene.experiment()["incomplete_since"]) == (("learn", "learned"), None), (
        "ordered anew it begins anew"
    )


def test_customers_who_ask_on_after_a_bandit_turned_do_not_ask_against_the_draw(tmp_path: Path) -> None:
    """By what their first requests were drawn from, what all had slow barred the version that nearly all of the later ones went to."""
    product = replace(TOY, model=Model(features=("x", "customer")), serving=Serving(assign_by=("customer",)))
    scene = RolloutScene(tmp_path, HELD, product)
    scene.version(LIVE)
    scene.give(OrderKind.HOLD)
    scene.version(NEW)
    scene.give(OrderKind.RESUME)
    scene.give(OrderKind.PROMOTE, NEW, policy=THOMPSON)
    scene.build()
    truths = dict[int, int]()
    for orders in (range(240), range(1_000, 5_000)):
        policy = from_json(scene.statement()["policy"])
        versions = {order: assign(policy, f"c{order % 240}").variant for order in orders}
        scene.answers(
            orders, versions, propensity=0.5, latency=lambda order: 900 if order % 13 else 30_000_000,
            request=lambda order: {"order": order, "customer": f"c{order % 240}"},
        )  # fmt: skip
        truths |= right(versions)
        known(scene, truths)
        scene.settle()
    found = scene.experiment()
    asked = {arm["traffic"]["version"]: arm["traffic"]["answered"] for arm in found["evidence"]["arms"]}
    drawn = {arm["traffic"]["version"]: arm["drawn"] for arm in found["evidence"]["arms"]}
    assert 100 < asked[LIVE] < 150, "it turned"
    assert drawn == pytest.approx(asked, abs=40)
    assert found["action"] != "abort", found["reason"]


def test_a_hold_keeps_a_bandit_as_it_is(ordered: Ordered) -> None:
    scene = ordered(THOMPSON)
    scene.give(OrderKind.HOLD)
    known(scene, right(ask(scene, range(300))))
    scene.settle()
    assert (said(scene), scene.statement()["policy"]) == (("learn", "learned"), THOMPSON)
    scene.give(OrderKind.RESUME)
    scene.settle()
    assert scene.statement()["policy"] != THOMPSON
    rules = [row["rule"] for row in recorded_decisions(scene.lake, NAME, "main") if row["kind"] == "release"]
    assert rules == ["gates", "order", "order", "order", "learned"]


def test_an_epsilon_greedy_policy_goes_over_to_the_better_version(ordered: Ordered) -> None:
    scene = ordered(GREEDY)
    versions = ask(scene, range(1_400))
    assert Counter(versions.values())[NEW] == pytest.approx(140, abs=40)
    known(scene, right(versions))
    scene.settle()
    means = scene.statement()["policy"]["means"]
    assert means == pytest.approx({NEW: 1 - 0.1 / 3, LIVE: 1 - 0.5 / 3}, abs=0.03)
    assert Counter(ask(scene, range(2_000, 2_400)).values())[NEW] > 300
    scene.settle()
    assert not scene.experiment()["mismatch"], "the split is judged by what it had learned at each commit"


def test_a_declared_test_ends_by_itself_when_the_new_version_is_better(tmp_path: Path) -> None:
    scene = RolloutScene(tmp_path, Rollout(kind="ab-test", share=0.4, keep_replaced=True, rules=RULES))  # type: ignore[arg-type]
    scene.version(LIVE)
    scene.version(NEW)
    assert scene.statement()["policy"]["shares"] == {LIVE: 0.6, NEW: 0.4}
    versions = ask(scene, range(1_500))
    known(scene, right(versions))
    scene.settle()
    assert said(scene) == ("advance", "better"), scene.experiment()["reason"]
    watched = {"kind": "shadow", "live": NEW, "shadows": [LIVE]}
    assert (scene.statement()["version"], scene.statement()["policy"]) == (NEW, watched)
    assert recorded_decisions(scene.lake, NAME, "main")[-1]["rule"] == "better"
    scene.answers(range(3_000, 3_010), NEW, shadows={LIVE: 0.9})
    scene.settle()
    assert said(scene) == ("wait", "idle")
    assert scene.decision()["rule"] == "watch", "it is watched as any other"


def test_a_declared_test_ends_by_itself_when_the_new_version_is_worse(tmp_path: Path) -> None:
    scene = RolloutScene(tmp_path, Rollout(kind=RolloutKind.AB_TEST, rules=RULES))
    scene.version(LIVE)
    scene.version(NEW)
    known(scene, right(ask(scene, range(1_500)), better=LIVE))
    scene.settle()
    assert said(scene) == ("abort", "worse"), scene.experiment()["reason"]
    assert (scene.statement()["version"], list(scene.statement()["barred"])) == (LIVE, [NEW])
    scene.version(THIRD)
    assert scene.statement()["policy"]["shares"] == {LIVE: 0.5, THIRD: 0.5}, "the next version is tested next"


def test_a_declared_bandit_begins_even_and_says_when_it_is_overdue(tmp_path: Path) -> None:
    scene = RolloutScene(tmp_path, Rollout(kind=RolloutKind.THOMPSON, rules=RULES))
    scene.version(LIVE)
    scene.version(NEW)
    assert scene.statement()["policy"]["beliefs"] == {LIVE: [1.0, 1.0], NEW: [1.0, 1.0]}
    scene.version(THIRD)
    assert scene.statement()["waits_for"] == f"the rollout of {NEW} goes on"
    ask(scene, range(10))
    ask(scene, range(20, 21), at=AT + 15 * DAY)
    failed = [check.name for one in scene.settle() for check in one.checks if not check.passed]
    assert (said(scene), failed) == (("wait", "overdue"), ["experiment_is_not_overdue"])
    scene.give(OrderKind.PROMOTE, NEW)
    scene.build()
    assert scene.statement()["policy"] == "all-at-once"


def test_challengers_join_a_champion_and_are_compared_on_the_same_requests(tmp_path: Path) -> None:
    rollout = Rollout(kind=RolloutKind.CHAMPION_CHALLENGERS, challengers=2, rules=RULES)
    scene = RolloutScene(tmp_path, rollout)
    for version in (LIVE, NEW, THIRD, "1.3.0"):
        scene.version(version)
    policy = scene.statement()["policy"]
    assert policy == {"kind": "shadow", "live": LIVE, "shadows": ["1.3.0", THIRD]}, "the oldest made room"
    scene.answers(range(400), LIVE, shadows={THIRD: 0.9, "1.3.0": 0.1})
    known(scene, dict.fromkeys(range(400), 1))
    scene.settle()
    found = {one["version"]: one["loss"] for one in scene.experiment()["compared"]}
    assert found["1.3.0"]["low"] > 0, "it would have said no"
    assert found[THIRD]["low"] <= 0 <= found[THIRD]["high"]
    assert (said(scene), scene.statement()["policy"]) == (("wait", "open"), policy)
    scene.give(OrderKind.PROMOTE, THIRD)
    scene.build()
    assert (scene.statement()["version"], scene.statement()["policy"]) == (THIRD, "all-at-once")
