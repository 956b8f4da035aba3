"""From what a service wrote down to a decision, a step, and what the release then says."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assets._chain import _retention
from assets._chain._failures import failures_asset
from assets._chain._predictions import predictions_asset
from assets._chain._rollout import rollout_assets
from assets._chain._rollout_page import PAGE_FILE, write_page
from headwater.cli._decisions import recorded_decisions
from headwater.decisions import OrderKind, Rollout, RolloutKind, StepAction
from headwater.materialize import Run, Status, materialize
from headwater.names import DEADLINE, NO_VERSION
from headwater.product import Model, Serving
from serving.prediction_log import LogWriter
from serving.prediction_log._failure import decode_failure
from serving.prediction_log.errors import RecordFormatError
from tests.rollout_scene import AT, DAY, NAME, RULES, TOY, RolloutScene, microseconds

LIVE, NEW = "1.0.0", "1.1.0"
CANARY = Rollout(kind=RolloutKind.CANARY, steps=(0.5, 1.0), rules=RULES)
SHADOW = Rollout(kind=RolloutKind.SHADOW, keep_replaced=True, rules=RULES)
Begun = Callable[..., RolloutScene]


@pytest.fixture
def begun(tmp_path: Path) -> Begun:
    """A scene in which a second version has begun to come in."""

    def begin(rollout: Rollout = CANARY, *, before: int = 0) -> RolloutScene:
        scene = RolloutScene(tmp_path, rollout)
        scene.version(LIVE)
        if before:
            scene.answers(range(50_000, 50_000 + before), LIVE)
            scene.settle()
        scene.version(NEW)
        return scene

    return begin


def halves(orders: range) -> dict[int, str]:
    return {order: NEW if order % 2 else LIVE for order in orders}


def labelled(
    scene: RolloutScene, orders: range, truth: Callable[[int], int | None], *, late: timedelta = 2 * DAY
) -> None:
    scene.label((order, AT, truth(order), AT + late) for order in orders)


DAYS = range(4)


def on_days(scene: RolloutScene, version: str, truth: int, *, since: int = 0, **more: Any) -> list[tuple[Any, ...]]:
    """Puts 150 answers a day in the log on four days, and gives their labels: of the first one only a piece is seen."""
    found = []
    for day in DAYS:
        at, orders = AT + (since + day) * DAY, range((since + day) * 150, (since + day + 1) * 150)
        scene.answers(orders, version, at=at, **more)
        found += [(order, at, truth, at + 2 * DAY) for order in orders]
    return found


def said(scene: RolloutScene) -> tuple[str, str]:
    decision = scene.decision()
    return decision["action"], decision["rule"]


def test_before_anything_is_answered_there_is_nothing_to_decide(tmp_path: Path) -> None:
    scene = RolloutScene(tmp_path, CANARY)
    assert scene.decision()["reason"] == "Nothing is released yet."
    scene.version(LIVE)
    scene.settle()
    assert scene.statement()["policy"] == "all-at-once", "the first version is live at once"
    assert [one.status for one in scene.settle()] == [Status.UNCHANGED] * 8
    scene.answers(range(10), LIVE)
    newest = [one.status for one in scene.settle()][4:]
    assert newest == [Status.UNCHANGED] * 4, "answers to what nobody doubts are no decision"


def test_right_answers_take_a_version_to_everything_and_a_second_run_changes_nothing(begun: Begun) -> None:
    scene = begun()
    orders = range(1_200)
    scene.answers(orders, halves(orders), propensity=0.5)
    labelled(scene, orders, lambda order: 1)
    scene.settle()
    assert said(scene) == ("advance", "not_worse"), scene.decision()["reason"]
    assert (scene.statement()["version"], scene.statement()["policy"]) == (NEW, "all-at-once")
    step = scene.statement()["step"]
    for _ in range(2):
        scene.settle()
    assert scene.statement()["step"] == step
    assert said(scene) == ("wait", "watch"), "it is watched for what fails and what is slow"


def test_a_slow_candidate_goes_back_and_stays_out_of_the_next_builds(begun: Begun) -> None:
    scene = begun(before=500)
    orders = range(200)
    scene.answers(orders, halves(orders), propensity=0.5, latency=lambda order: 30_000_000 if order % 2 else 900)
    scene.settle()
    assert said(scene) == ("abort", "latency"), scene.decision()["reason"]
    assert (scene.statement()["version"], list(scene.statement()["barred"])) == (LIVE, [NEW])
    assert scene.statement()["actor"] == "rollout"
    before = scene.statement()
    scene.version(NEW)
    scene.settle()
    assert scene.statement() == before
    scene.version("1.2.0")
    assert scene.statement()["policy"]["candidate"] == "1.2.0", "a later version comes in as usual"


def test_a_slow_batch_sends_nobody_back_and_as_many_slow_requests_do(begun: Begun) -> None:
    """Its hundred instances, each with the time of all, counted as a hundred slow requests: one nightly batch barred a good version."""
    scene = begun(before=500)
    orders, singles = range(100), range(100, 120)
    scene.answers(singles, halves(singles), propensity=0.5)
    scene.batch("night", orders, halves(orders), propensity=0.5, latency=30_000_000)
    scene.settle()
    assert said(scene)[0] == "wait", scene.decision()["reason"]
    found = scene.decision()["evidence"]
    sides = [found[side] for side in ("candidate", "other")]
    assert [(side["answered"], side["batches"], side["slow"]) for side in sides] == [(11, 1, 0)] * 2, (
        "one request, of which each version answered a part"
    )
    assert found["seen"] == 22
    assert f"11 of 100 requests reached {NEW}" in scene.decision()["reason"]
    slow = range(200, 300)
    scene.answers(slow, halves(slow), propensity=0.5, latency=lambda order: 30_000_000 if order % 2 else 900)
    scene.settle()
    assert said(scene) == ("abort", "latency"), scene.decision()["reason"]
    assert f"50 of 60 requests to {NEW} took longer than promised" in scene.decision()["reason"]


def test_a_disk_that_stalls_for_everybody_sends_no_canary_back(begun: Begun) -> None:
    """20 of 50 requests to each version were slow at the same time: the new one went back for it, and was barred."""
    scene = begun(before=500)
    orders = range(100)
    scene.answers(
        orders, halves(orders), propensity=0.5, latency=lambda order: 30_000_000 if order // 2 % 5 < 2 else 900
    )
    scene.settle()
    found = scene.decision()["evidence"]
    assert (found["candidate"]["slow"], found["other"]["slow"]) == (20, 20)
    assert said(scene)[0] == "wait", scene.decision()["reason"]
    assert scene.statement()["barred"] == {}


def test_a_batch_of_which_a_part_is_compacted_later_is_one_request(begun: Begun) -> None:
    scene = begun(before=500)
    received = microseconds(datetime.now(UTC))
    for part, slow in ((range(1), 1), (range(1, 40), 0), (range(40, 80), 0)):
        batch = {"request_id": lambda order: f"night#{order}", "received": received, "latency": 30_000_000}
        scene.answers(part, NEW, propensity=0.5, **batch)
        scene.settle()
        found = scene.decision()["evidence"]["candidate"]
        assert (said(scene)[0], found["answered"], found["batches"], found["slow"]) == ("wait", 1, 1 - slow, slow)


def test_a_decision_of_before_batches_were_told_apart_stands_and_is_shown(begun: Begun, tmp_path: Path) -> None:
    """What says the same stays as it was put on record: without this a rollout in progress would have ended with the update."""
    scene = begun(before=500)
    orders = range(100)
    scene.answers(orders, halves(orders), propensity=0.5)
    scene.settle()
    document = scene.decision()
    for side in ("candidate", "other", "before"):
        del document["evidence"][side]["batches"]
    page = scene.decided_file(PAGE_FILE).read_text()
    write_page(tmp_path / PAGE_FILE, "Is it late?", document)
    assert (tmp_path / PAGE_FILE).read_text() == page


def test_a_list_of_one_instance_is_a_request_as_every_other(begun: Begun) -> None:
    """As all of `/v2` are: left out with the batches, a caller who speaks it would never be promised anything."""
    scene = begun(before=500)
    slow, late = range(100), lambda order: 30_000_000 if order % 2 else 900
    scene.answers(slow, halves(slow), propensity=0.5, latency=late, request_id=lambda order: f"r{order}#0")
    scene.settle()
    assert said(scene) == ("abort", "latency"), scene.decision()["reason"]


def test_in_the_shadow_a_batch_that_could_not_be_scored_is_one_failure(begun: Begun) -> None:
    scene = begun(Rollout(kind=RolloutKind.CANARY, shadow_first=True, rules=RULES), before=500)
    assert scene.statement()["policy"]["kind"] == "shadow"
    scored = {"shadows": lambda order: {NEW: 0.9}}
    scene.answers(range(20), LIVE, **scored)
    # Of a batch that the live version answered whole the candidate could not score every third.
    scene.batch("night", range(100, 190), LIVE, shadows=lambda order: {NEW: 0.9} if order % 3 else {})
    scene.settle()
    found = scene.decision()["evidence"]["candidate"]
    assert (said(scene)[0], found["answered"], found["failed"]) == ("wait", 20, 1), scene.decision()["reason"]
    scene.answers(range(200, 230), LIVE)
    scene.settle()
    assert said(scene) == ("abort", "errors"), scene.decision()["reason"]


def test_a_fault_of_the_live_version_leaves_the_shadow_and_a_deadline_ends_it(begun: Begun) -> None:
    scene = begun(SHADOW, before=500)
    scene.answers(range(200), LIVE, shadows={NEW: 0.4})
    scene.failures(LIVE, 30, code="failed")
    scene.settle()
    found = scene.decision()["evidence"]["other"]
    assert (said(scene)[0], found["failed"], found["timed_out"]) == ("wait", 30, 0), scene.decision()["reason"]
    scene.failures(LIVE, 30, code="deadline")
    scene.settle()
    assert said(scene) == ("abort", "errors"), scene.decision()["reason"]
    assert f"30 of 230 requests to {LIVE} got no answer in time" in scene.decision()["reason"]


def test_a_service_that_was_as_slow_before_sends_nobody_back(tmp_path: Path) -> None:
    scene = RolloutScene(tmp_path, CANARY)
    scene.version(LIVE)
    scene.answers(range(50_000, 51_000), LIVE, latency=30_000_000)
    scene.settle()
    scene.version(NEW)
    orders = range(200)
    scene.answers(orders, halves(orders), propensity=0.5, latency=30_000_000)
    scene.settle()
    assert said(scene) == ("wait", "labels"), scene.decision()["reason"]


def test_failures_after_everything_go_back_to_what_was_live_before(begun: Begun) -> None:
    scene = begun(Rollout(rules=RULES))
    assert scene.statement()["policy"] == "all-at-once"
    scene.failures(NEW, 1)
    scene.settle()
    assert said(scene) == ("wait", "watch"), "one failure shows nothing"
    scene.failures(NEW, 5)
    scene.settle()
    assert said(scene) == ("abort", "errors"), scene.decision()["reason"]
    assert (scene.statement()["version"], list(scene.statement()["barred"])) == (LIVE, [NEW])
    scene.failures(LIVE, 50)
    scene.settle()
    assert scene.statement()["version"] == LIVE, "what was gone back to is not walked away from"


def test_first_labels_count_for_nothing_until_enough_of_a_day_is_known(begun: Begun) -> None:
    """Punctual flights have their labels first: of those, the candidate that always says late is always wrong."""
    scene = begun()
    orders = range(1_200)
    scene.answers(orders, halves(orders), propensity=0.5, decision=lambda order: bool(order % 2))
    labelled(scene, range(600), lambda order: 0)
    scene.settle()
    assert said(scene) == ("wait", "labels")
    assert "1200 events wait" in scene.decision()["reason"]
    labelled(scene, orders, lambda order: int(order >= 600))
    scene.settle()
    assert said(scene)[1] in ("not_worse", "loss")
    assert scene.decision()["evidence"]["versus"]["candidate"]["count"] == 600


def test_events_without_a_truth_hold_nothing_up(begun: Begun) -> None:
    scene = begun()
    orders = range(1_200)
    scene.answers(orders, halves(orders), propensity=0.5)
    labelled(scene, orders, lambda order: None if order % 5 == 0 else 1)
    scene.settle()
    assert said(scene) == ("advance", "not_worse"), scene.decision()["reason"]


def test_a_worse_shadow_is_found_on_the_same_requests(begun: Begun) -> None:
    scene = begun(SHADOW)
    labels = on_days(scene, LIVE, 1, shadows=lambda order: {NEW: 0.1 if order % 3 == 0 else 0.9})
    scene.label(labels[:300])
    scene.settle()
    assert said(scene) == ("wait", "not_worse"), "a day and a piece of one"
    scene.label(labels)
    scene.settle()
    decision = scene.decision()
    assert (decision["action"], decision["rule"]) == ("abort", "loss"), decision["reason"]
    assert decision["evidence"]["facts"]["business"] == pytest.approx(
        {"unit": "minutes", "span": 30.0, "candidate": 10.0, "other": 0.0}
    )
    assert decision["loss"]["estimate"] == pytest.approx(1 / 3)
    page = scene.decided_file(PAGE_FILE).read_text()
    assert "cost of a decision, minutes" in page
    assert "the shadow" in page
    assert "over 3 whole windows" in page


def test_the_watch_compares_with_what_was_replaced_and_goes_back(begun: Begun) -> None:
    scene = begun(SHADOW)
    labels = on_days(scene, LIVE, 1, shadows={NEW: 0.9})
    scene.label(labels)
    scene.settle()
    assert scene.statement()["policy"] == {"kind": "shadow", "live": NEW, "shadows": [LIVE]}
    labels += on_days(scene, NEW, 0, since=len(DAYS), shadows=lambda order: {LIVE: 0.9 if order % 4 else 0.1})
    scene.label(labels[:900])
    scene.settle()
    assert said(scene) == ("wait", "watch"), "one day, and a piece of one"
    scene.label(labels)
    scene.settle()
    assert said(scene) == ("abort", "loss"), scene.decision()["reason"]
    assert (scene.statement()["version"], scene.statement()["policy"]) == (LIVE, "all-at-once")


def test_answers_of_another_policy_are_no_evidence(begun: Begun, tmp_path: Path) -> None:
    """A service follows a moment late: what it answers meanwhile names the commit that it still followed."""
    scene = RolloutScene(tmp_path, CANARY)
    scene.version(LIVE)
    head = scene.lake.resolve("main").id
    scene.version(NEW)
    scene.answers(range(300), LIVE, commit=head)
    scene.answers(range(300, 600), NEW, propensity=None)
    scene.answers(range(600, 700), NEW, commit="0" * 64, propensity=0.5)
    scene.settle()
    found = scene.decision()["evidence"]
    assert (found["seen"], found["candidate"]["answered"], found["other"]["answered"]) == (700, 0, 0)
    assert "the service does not follow" in scene.decision()["reason"]


def test_failures_of_a_service_that_does_not_follow_are_no_evidence(begun: Begun, tmp_path: Path) -> None:
    """It still answers as before the candidate came in, and fails as it does: the candidate in the shadow has no part in that."""
    scene = RolloutScene(tmp_path, SHADOW)
    scene.version(LIVE)
    head = scene.lake.resolve("main").id
    scene.version(NEW)
    scene.failures(LIVE, 50, code=DEADLINE, commit=head)
    scene.failures(LIVE, 50, code=DEADLINE, commit="0" * 64)
    scene.settle()
    assert said(scene) == ("wait", "requests"), scene.decision()["reason"]
    found = scene.decision()["evidence"]
    assert (found["seen"], found["other"]["failed"]) == (100, 0)
    scene.failures(LIVE, 50, code=DEADLINE)
    scene.settle()
    assert said(scene) == ("abort", "errors"), "those that followed count"


@pytest.mark.parametrize("rollout", [CANARY, SHADOW, Rollout(rules=RULES)], ids=["canary", "shadow", "watch"])
def test_what_no_version_had_a_part_in_is_no_evidence_for_or_against_any(tmp_path: Path, rollout: Rollout) -> None:
    """A Redis that was away for a minute sent the candidate back and barred it; before the rollout it raises no limit."""
    scene = RolloutScene(tmp_path, rollout)
    scene.version(LIVE)
    scene.failures(NO_VERSION, 5_000, code="online_features_away")
    scene.settle()
    scene.version(NEW)
    before = scene.statement()
    scene.failures(NO_VERSION, 5_000, code="log_full")
    scene.failures(NO_VERSION, 5, code="not_ready", commit="0" * 64)
    scene.settle()
    found = scene.decision()
    assert found["action"] == "wait", found["reason"]
    evidence = found["evidence"]
    sides = [evidence[name]["failed"] for name in ("candidate", "other", "before")]
    assert (evidence["seen"], evidence["now"], evidence["first"], sides) == (0, None, None, [0, 0, 0])
    assert scene.statement() == before


def test_an_outage_as_a_watch_begins_moves_no_clock_of_its_failures(begun: Begun) -> None:
    """What failed counts for as long as the watch lasts since the first request: of one that reached a version."""
    scene = begun(Rollout(rules=RULES))
    scene.failures(NO_VERSION, 500, code="log_full")
    scene.ahead = 8 * DAY
    scene.answers(range(100), NEW)
    scene.ahead = 10 * DAY
    scene.failures(NEW, 500)
    scene.answers([100], NEW, at=AT + 8 * DAY)
    scene.settle()
    assert said(scene) == ("abort", "errors"), scene.decision()["reason"]


@pytest.mark.parametrize(
    "ahead", [timedelta(minutes=-10), timedelta(days=-3), timedelta(minutes=10), timedelta(days=3)]
)
def test_a_service_whose_clock_is_wrong_goes_back_all_the_same(begun: Begun, ahead: timedelta) -> None:
    """By its clock, ten minutes behind, 5000 failures of the live version lay before it went live, and counted for nothing."""
    scene = begun(Rollout(rules=RULES), before=100)
    scene.ahead = ahead
    scene.failures(NEW, 5_000)
    scene.settle()
    assert said(scene) == ("abort", "errors"), scene.decision()["reason"]
    found = scene.decision()["evidence"]
    assert (found["candidate"]["failed"], found["before"]["failed"], found["before"]["answered"]) == (5_000, 0, 100)
    assert scene.statement()["version"] == LIVE


def test_slow_answers_of_a_service_whose_clock_is_behind_count(begun: Begun) -> None:
    scene = begun(before=500)
    scene.ahead = -timedelta(minutes=10)
    orders = range(200)
    scene.answers(orders, halves(orders), propensity=0.5, latency=lambda order: 30_000_000 if order % 2 else 900)
    labelled(scene, orders, lambda order: 1)
    scene.settle()
    assert said(scene) == ("abort", "latency"), scene.decision()["reason"]
    found = scene.decision()["evidence"]
    assert (found["seen"], found["before"]["slow"]) == (200, 0)
    assert found["versus"]["candidate"]["count"] == 100, "their labels count too"


def test_a_clock_that_is_ahead_takes_no_failure_into_the_next_stage(tmp_path: Path) -> None:
    """What failed in an earlier stage of the same version was over when somebody promoted it again."""
    scene = RolloutScene(tmp_path, Rollout(rules=RULES))
    scene.version(LIVE)
    scene.version(NEW)
    scene.ahead = timedelta(minutes=10)
    scene.failures(NEW, 50)
    scene.settle()
    assert said(scene) == ("abort", "errors")
    scene.give(OrderKind.PROMOTE, NEW)
    scene.build()
    scene.settle()
    assert scene.statement()["version"] == NEW
    found = scene.decision()
    assert (found["rule"], found["evidence"]["candidate"]["failed"]) == ("watch", 0), found["reason"]
    scene.failures(NEW, 50)
    scene.settle()
    assert said(scene) == ("abort", "errors"), "those of the stage count"


def test_what_a_service_answers_after_a_revert_that_changed_nothing_for_it_counts(tmp_path: Path) -> None:
    """It goes on naming the commit that it followed before: the deployment is the same, and a revert tells of no policy."""
    scene = RolloutScene(tmp_path, Rollout(rules=RULES))
    scene.version(LIVE)
    scene.version(NEW)
    head = scene.lake.resolve("main").id
    scene.give(OrderKind.HOLD)
    scene.build()
    scene.lake.revert(scene.lake.last_write("main", f"{NAME}/release").id)
    assert (scene.statement()["version"], scene.statement()["held"]) == (NEW, "")
    scene.failures(NEW, 50, commit=head)
    for asset in (*scene.fed, *scene.decided):
        materialize(scene.lake, asset, run=Run(actor="automation"), state=scene.state)
    assert said(scene) == ("abort", "errors"), scene.decision()["reason"]


def test_an_answer_about_a_time_long_past_neither_stops_decisions_nor_ends_a_stage(begun: Begun) -> None:
    """One caller asked about the year 1: every decision failed for want of calendars, and a watch was over with its first request."""
    scene = begun(before=10)
    scene.answers([900, 901], {900: LIVE, 901: NEW}, propensity=0.5, at=datetime(1, 1, 1, tzinfo=UTC))
    orders = range(200)
    scene.answers(orders, halves(orders), propensity=0.5)
    scene.settle()
    assert said(scene) == ("wait", "labels"), scene.decision()["reason"]
    windows = scene.decision()["evidence"]["facts"]["windows"]
    assert [one["events"] for one in windows] == [2, 200]
    assert scene.decision()["evidence"]["first"] == AT.isoformat(), "the time of requests does not go back"
    scene.failures(NEW, 300)
    scene.settle()
    assert said(scene) == ("abort", "errors")


def test_a_past_that_is_played_again_has_its_own_time(tmp_path: Path) -> None:
    """Somebody had tried the service with a time of today: of what was played then every watch was over at once."""
    scene = RolloutScene(tmp_path, Rollout(rules=RULES))
    scene.version(LIVE)
    scene.answers([1], LIVE, at=AT + 4_000 * DAY)
    scene.settle()
    scene.version(NEW)
    for order, days in ((2, 0), (3, 6), (4, 7)):
        scene.answers([order], NEW, at=AT + days * DAY)
        scene.settle()
        assert said(scene) == ("wait" if days < 7 else "advance", "watch"), days
    scene.settle()
    assert "its watch is over" in scene.decision()["reason"]


def five_days_and_three(scene: RolloutScene) -> None:
    """A hundred requests a day, five days to the one version and three to the next, whose first is only a piece of one."""
    scene.version(LIVE)
    for day in range(5):
        scene.answers(range(day * 100, day * 100 + 100), LIVE, at=AT + day * DAY)
    scene.settle()
    scene.version(NEW)
    for day in range(5, 8):
        scene.answers(range(day * 100, day * 100 + 100), NEW, at=AT + day * DAY)


@pytest.mark.parametrize("keep_replaced", [False, True])
def test_a_product_that_declares_nothing_goes_back_for_its_accuracy(tmp_path: Path, keep_replaced: bool) -> None:
    """Nobody had declared service levels, so that a version that was always wrong stayed; so too where the replaced one can't score."""
    rollout = Rollout(rules=RULES, keep_replaced=keep_replaced)
    scene = RolloutScene(tmp_path, rollout, replace(TOY, service_levels=None, performance=None))
    five_days_and_three(scene)

    def label(wrong: Callable[[int], bool]) -> None:
        rows = [(order, AT + order // 100 * DAY) for order in range(800)]
        scene.label((order, at, int(not wrong(order)), at + 2 * DAY) for order, at in rows)

    label(lambda order: order % 10 == order // 100 % 3)
    scene.settle()
    assert said(scene) == ("wait", "watch"), scene.decision()["reason"]
    found = scene.decision()["evidence"]
    assert (len(found["wrong_before"]), found["wrong_now"]) == (3, [0.1, 0.1]), "pieces of days left out"
    assert found["versus"]["differences"]["count"] == 0, "nobody scores beside it, or can"
    label(lambda order: order % 10 == order // 100 % 3 if order < 500 else order % 2 == 0)
    scene.settle()
    assert said(scene) == ("abort", "accuracy"), scene.decision()["reason"]
    assert (scene.statement()["version"], list(scene.statement()["barred"])) == (LIVE, [NEW])


def test_an_early_answer_about_the_past_alone_ends_no_watch(tmp_path: Path) -> None:
    scene = RolloutScene(tmp_path, Rollout(rules=RULES))
    scene.version(LIVE)
    scene.answers([1], LIVE)
    scene.settle()
    scene.version(NEW)
    for order, at in ((2, AT - 4_000 * DAY), (3, AT + DAY)):
        scene.answers([order], NEW, at=at)
        scene.settle()
        assert said(scene) == ("wait", "watch")


SHORT = replace(RULES, watch=2 * DAY)
NEXT_CENTURY = datetime(2113, 1, 1, tzinfo=UTC)


def test_a_first_request_about_a_time_to_come_ends_a_watch_like_another(begun: Begun) -> None:
    """One caller asked about another century as the watch began: it had not lasted for a moment ever after."""
    scene = begun(Rollout(rules=SHORT))
    scene.ahead = -3 * DAY
    scene.answers([1], NEW, at=NEXT_CENTURY)
    scene.settle()
    assert said(scene) == ("wait", "watch")
    scene.ahead = timedelta(0)
    scene.answers([2], NEW, at=datetime.now(UTC))
    scene.settle()
    assert said(scene) == ("advance", "watch"), scene.decision()["reason"]


def test_a_request_about_a_time_to_come_lets_no_early_answer_about_the_past_end_a_watch(tmp_path: Path) -> None:
    """Since then the time of the requests stood in another century, so that a first request about last year made a watch a year long."""
    scene = RolloutScene(tmp_path, Rollout(rules=SHORT))
    scene.version(LIVE)
    scene.answers([1], LIVE, at=NEXT_CENTURY)
    scene.settle()
    scene.version(NEW)
    for order, at in ((2, datetime.now(UTC) - 400 * DAY), (3, datetime.now(UTC))):
        scene.answers([order], NEW, at=at)
        scene.settle()
        assert said(scene) == ("wait", "watch"), scene.decision()["reason"]


def test_what_is_asked_about_a_time_to_come_is_judged_at_the_end_of_a_watch(begun: Begun) -> None:
    scene = begun(Rollout(rules=SHORT))
    for days in (-3, 0):
        scene.ahead = days * DAY
        asked = datetime.now(UTC) + (days + 10) * DAY
        scene.answers(range(days * 100 + 1_000, days * 100 + 1_100), NEW, at=asked, latency=30_000_000)
    scene.settle()
    assert said(scene) == ("abort", "latency"), scene.decision()["reason"]


def test_a_split_by_another_field_than_the_key_counts_what_was_drawn_once(tmp_path: Path) -> None:
    """Each of few customers asks often: by requests, any two customers more on one side look like a broken split."""
    product = replace(TOY, model=Model(features=("x", "customer")), serving=Serving(assign_by=("customer",)))
    scene = RolloutScene(tmp_path, CANARY, product)
    scene.version(LIVE)
    scene.version(NEW)
    orders = range(1_200)
    customers = {order: order % 20 for order in orders}
    versions = {order: NEW if customers[order] < 6 else LIVE for order in orders}
    scene.answers(
        orders, versions, propensity=0.5, request=lambda order: {"order": order, "customer": f"c{customers[order]}"}
    )
    scene.settle()
    split = scene.decision()["evidence"]["facts"]["split"]
    assert (split["observed"], split["mismatch"]) == ({LIVE: 14, NEW: 6}, False)


def test_a_split_by_a_field_that_the_log_must_not_hold_is_not_judged(tmp_path: Path) -> None:
    product = replace(
        TOY, model=Model(features=("x", "customer")), serving=Serving(assign_by=("customer",), redacted=("customer",))
    )
    scene = RolloutScene(tmp_path, CANARY, product)
    scene.version(LIVE)
    scene.version(NEW)
    scene.answers(range(200), NEW, propensity=0.5)
    scene.settle()
    assert scene.decision()["evidence"]["facts"]["split"] is None
    assert said(scene) == ("wait", "labels"), scene.decision()["reason"]


def test_a_split_that_is_not_the_declared_one_stops_everything_but_promises(begun: Begun) -> None:
    scene = begun()
    orders = range(1_200)
    scene.answers(orders, {order: NEW if order % 4 == 0 else LIVE for order in orders}, propensity=0.5)
    labelled(scene, orders, lambda order: 1)
    scene.settle()
    assert said(scene) == ("wait", "sample_ratio"), scene.decision()["reason"]
    assert "the split is broken" in scene.decided_file(PAGE_FILE).read_text()


def test_labels_that_never_come_hold_a_stage_and_a_check_says_so(begun: Begun) -> None:
    scene = begun()
    orders = range(600)
    scene.answers(orders, halves(orders), propensity=0.5)
    scene.answers([900], NEW, propensity=0.5, at=AT + 20 * DAY)
    outcomes = scene.settle()
    assert said(scene) == ("wait", "overdue")
    failed = [check.name for one in outcomes for check in one.checks if not check.passed]
    assert failed == ["rollout_is_not_overdue"]
    assert scene.statement()["policy"]["candidate"] == NEW
    assert "until somebody promotes or rolls back" in scene.decision()["reason"]


def test_a_watch_that_is_over_stays_over_and_changes_nothing(begun: Begun) -> None:
    scene = begun(Rollout(rules=RULES))
    scene.answers(range(10), NEW)
    scene.settle()
    assert said(scene) == ("wait", "watch")
    assert scene.decision()["reason"].endswith(
        "0:00:00 of 7 days, 0:00:00, until requests are about 2013-03-17T07:00+00:00."
    )
    scene.answers([20], NEW, at=AT + 8 * DAY)
    scene.settle()
    assert (said(scene), scene.statement()["watch"]) == (("advance", "watch"), "over")
    assert scene.decision()["reason"] == "1.1.0 was watched for 7 days, 0:00:00, 0 labels."
    assert scene.statement()["version"] == NEW
    scene.settle()
    assert scene.decision()["reason"] == "1.1.0 answers everything, and its watch is over."
    scene.answers(range(30, 40), NEW)
    scene.failures(NEW, 50)
    assert [one.status for one in scene.settle()][4:] == [Status.UNCHANGED] * 4


def test_what_failed_with_the_requests_that_end_a_watch_goes_back(begun: Begun) -> None:
    """A product that is asked once a week: with the second week's requests the watch was over, and nobody looked at them."""
    scene = begun(Rollout(rules=RULES))
    scene.answers(range(200), NEW)
    scene.settle()
    assert said(scene) == ("wait", "watch")
    scene.failures(NEW, 5_000)
    scene.answers(range(200, 205), NEW, at=AT + 7 * DAY + timedelta(minutes=3))
    scene.settle()
    assert said(scene) == ("abort", "errors"), scene.decision()["reason"]
    found = scene.decision()["evidence"]["candidate"]
    assert (found["answered"], found["failed"]) == (205, 5_000)
    assert (scene.statement()["version"], list(scene.statement()["barred"])) == (LIVE, [NEW])


def test_labels_that_come_in_later_than_a_watch_lasts_are_judged_by_the_look_that_ends_it(tmp_path: Path) -> None:
    scene = RolloutScene(tmp_path, Rollout(rules=RULES))
    five_days_and_three(scene)
    rows = [(order, AT + order // 100 * DAY, 1 if order < 500 else 0) for order in range(800)]
    scene.label((order, at, truth, at + 2 * DAY) for order, at, truth in rows if order < 500)
    scene.settle()
    assert said(scene) == ("wait", "watch"), scene.decision()["reason"]
    scene.label((order, at, truth, at + (2 if order < 500 else 9) * DAY) for order, at, truth in rows)
    scene.settle()
    assert said(scene) == ("abort", "accuracy"), scene.decision()["reason"]
    assert (scene.statement()["version"], list(scene.statement()["barred"])) == (LIVE, [NEW])


@pytest.mark.parametrize("is_early", [True, False])
def test_a_look_long_after_a_watch_judges_the_time_of_the_watch_alone(begun: Begun, is_early: bool) -> None:
    """The daemon was away for weeks: what went wrong in the watch still sends a version back, what did later does not."""
    scene = begun(Rollout(rules=RULES))
    for place, day in enumerate((0, 5, 9, 20)):
        is_bad = is_early == (day < 8)
        scene.ahead = day * DAY
        orders = range(place * 100, place * 100 + 100)
        scene.answers(orders, NEW, at=AT + day * DAY, latency=30_000_000 if is_bad else 900)
        scene.failures(NEW, 500 if is_bad else 0)
    scene.settle()
    if is_early:
        assert said(scene) == ("abort", "errors"), scene.decision()["reason"]
        found = scene.decision()["evidence"]["candidate"]
        assert (found["answered"], found["slow"], found["failed"]) == (200, 200, 1_000)
        assert scene.statement()["version"] == LIVE
    else:
        assert said(scene) == ("advance", "watch"), scene.decision()["reason"]
        assert (scene.statement()["version"], scene.statement()["watch"]) == (NEW, "over")


def test_a_first_request_about_the_year_1_ends_a_watch_without_an_error(begun: Begun) -> None:
    scene = begun(Rollout(rules=RULES))
    scene.answers([1], NEW, at=datetime(1, 1, 1, tzinfo=UTC))
    scene.answers([2], NEW)
    scene.settle()
    assert said(scene) == ("advance", "watch")


def test_a_newer_version_waits_for_the_end_of_a_watch_and_then_comes_in(begun: Begun) -> None:
    """It came in beside the watched version, which nothing could then be gone back from: its failures barred the newer one."""
    scene = begun(Rollout(kind=RolloutKind.SHADOW, rules=RULES), before=10)
    scene.give(OrderKind.PROMOTE, NEW)
    scene.build()
    scene.answers(range(200), NEW)
    scene.settle()
    scene.version("1.2.0")
    said_then = scene.statement()
    assert (said_then["policy"], said_then["waits"], said_then["watch"]) == ("all-at-once", "1.2.0", "on")
    wanted = "the watch of 1.1.0 goes on, for 7 days, 0:00:00 of its requests' time, and is waited for 14 days, 0:00:00 at the longest"
    assert said_then["waits_for"] == wanted
    scene.answers([300], NEW, at=AT + 8 * DAY)
    scene.settle()
    assert said(scene) == ("advance", "watch"), scene.decision()["reason"]
    assert scene.statement()["policy"] == {"kind": "shadow", "live": NEW, "shadows": ["1.2.0"]}
    assert scene.statement()["waits"] == ""


def test_a_watched_version_that_fails_goes_back_while_a_newer_one_waits(begun: Begun) -> None:
    scene = begun(Rollout(rules=RULES), before=10)
    scene.version("1.2.0")
    assert (scene.statement()["version"], scene.statement()["waits"]) == (NEW, "1.2.0")
    scene.failures(NEW, 5_000)
    scene.settle()
    found = scene.statement()
    assert said(scene) == ("abort", "errors"), scene.decision()["reason"]
    assert (found["version"], list(found["barred"])) == ("1.2.0", [NEW]), (
        "the one that waited is not to blame, and comes next"
    )
    assert found["before"] == [LIVE], "from which nothing leads back to the one that failed"


def test_nothing_waits_for_the_watch_of_what_nobody_ever_asked_or_that_no_request_ends(tmp_path: Path) -> None:
    scene = RolloutScene(tmp_path, Rollout(rules=RULES))
    for version in (LIVE, NEW, "1.2.0"):
        scene.version(version)
        scene.failures(NO_VERSION, 100, code="log_full")
        scene.settle()
        assert scene.statement()["version"] == version
    scene.answers([1], "1.2.0")
    scene.settle()
    scene.version("1.3.0")
    assert scene.statement()["waits"] == "1.3.0"
    short = replace(RULES, watch=timedelta(microseconds=1), max_wait=timedelta(microseconds=1))
    scene.declare(Rollout(rules=short))
    scene.version("1.4.0")
    assert scene.statement()["version"] == "1.4.0", "by the clock of builds that time is over"


def test_waiting_for_the_same_is_put_on_record_once_an_hour(begun: Begun) -> None:
    scene = begun()
    commits = []
    for start, hours in ((0, 0), (100, 0.5), (200, 1.1)):
        orders = range(start, start + 50)
        scene.answers(orders, halves(orders), propensity=0.5, at=AT + timedelta(hours=hours))
        scene.settle()
        commits.append(scene.lake.last_write("main", f"{NAME}/rollout").id)
    assert commits[0] == commits[1] != commits[2]
    assert scene.decision()["evidence"]["seen"] == 150


def test_a_promote_after_the_evidence_was_seen_is_followed(begun: Begun) -> None:
    scene = begun()
    orders = range(200)
    scene.answers(orders, halves(orders), propensity=0.5, latency=lambda order: 30_000_000 if order % 2 else 900)
    for asset in (*scene.fed, *scene.decided):
        materialize(scene.lake, asset, run=Run(actor="automation"), state=scene.state)
    assert said(scene) == ("abort", "latency")
    scene.give(OrderKind.PROMOTE, NEW)
    scene.build()
    assert (scene.statement()["version"], scene.statement()["policy"]) == (NEW, "all-at-once")
    assert NEW in scene.statement()["step"], "the step is done with"


def test_a_hold_stops_a_step_forward_and_none_back(begun: Begun) -> None:
    scene = begun()
    scene.give(OrderKind.HOLD)
    scene.build()
    orders = range(1_200)
    scene.answers(orders, halves(orders), propensity=0.5)
    labelled(scene, orders, lambda order: 1)
    scene.settle()
    assert said(scene) == ("advance", "not_worse")
    assert scene.statement()["policy"]["kind"] == "canary"
    scene.failures(NEW, 200)
    scene.settle()
    assert (scene.statement()["version"], list(scene.statement()["barred"])) == (LIVE, [NEW])


def test_a_step_that_a_hold_keeps_is_put_on_record_once_an_hour(begun: Begun) -> None:
    scene = begun()
    scene.give(OrderKind.HOLD)
    scene.build()
    orders = range(1_200)
    scene.answers(orders, halves(orders), propensity=0.5)
    labelled(scene, orders, lambda order: 1)
    commits = []
    for start in (2_000, 3_000):
        more = range(start, start + 10)
        scene.answers(more, halves(more), propensity=0.5)
        scene.settle()
        commits.append(scene.lake.last_write("main", f"{NAME}/rollout").id)
    assert said(scene) == ("advance", "not_worse")
    assert commits[0] == commits[1]


def test_a_step_forward_that_a_hold_kept_is_not_taken_once_the_stage_waits_again(begun: Begun) -> None:
    scene = begun()
    scene.give(OrderKind.HOLD)
    scene.build()
    orders = range(1_200)
    scene.answers(orders, halves(orders), propensity=0.5)
    labelled(scene, orders, lambda order: 1)
    scene.settle()
    assert said(scene) == ("advance", "not_worse")
    scene.failures(NEW, 10)
    scene.settle()
    assert said(scene) == ("wait", "promises"), scene.decision()["reason"]
    scene.give(OrderKind.RESUME)
    scene.build()
    assert scene.statement()["policy"]["kind"] == "canary", "what was known then no longer holds"


def test_a_candidate_that_needs_no_stage_twice_takes_each_step_once(begun: Begun) -> None:
    scene = begun(Rollout(kind=RolloutKind.CANARY, steps=(0.25, 0.5, 1.0), rules=RULES))
    orders = range(4_000)
    scene.answers(
        orders,
        {order: NEW if order % 4 == 0 else LIVE for order in orders},
        propensity=lambda order: 0.25 if order % 4 == 0 else 0.75,
    )
    labelled(scene, orders, lambda order: 1)
    scene.settle()
    assert scene.statement()["policy"]["share"] == 0.5
    for _ in range(3):
        scene.settle()
    assert scene.statement()["policy"]["share"] == 0.5, "the evidence of one stage takes one step"
    assert said(scene) == ("wait", "requests")


def test_what_is_no_failure_is_kept_aside(begun: Begun) -> None:
    scene = begun()
    log = LogWriter(scene.state / "serving" / "failures" / NAME, segment_bytes=2**14)
    log.append([b"no record"])
    log.close()
    scene.failures(NEW, 1)
    found = materialize(scene.lake, failures_asset(scene.product), run=Run(actor="automation"), state=scene.state)
    assert (found.facts["appended"], found.facts["unreadable"]) == (1, 1)
    assert [check.name for check in found.checks if not check.passed] == ["failures_are_readable"]
    assert scene.lake.at("main").table(f"{NAME}/service_failures.rejected").collect().height == 1
    again = materialize(scene.lake, failures_asset(scene.product), run=Run(actor="automation"), state=scene.state)
    assert again.status is Status.UNCHANGED
    with pytest.raises(RecordFormatError):
        decode_failure(b"no record")


def test_the_evidence_of_a_decision_is_its_whole_input(begun: Begun) -> None:
    scene = begun()
    orders = range(300)
    scene.answers(orders, halves(orders), propensity=0.5)
    scene.settle()
    document: dict[str, Any] = scene.decision()
    json.dumps(document, allow_nan=False)
    standing = document["evidence"]["standing"]
    assert (standing["candidate"], standing["other"], standing["share"]) == (NEW, LIVE, 0.5)
    written = scene.lake.last_write("main", f"{NAME}/release")
    assert standing["since_commit"] == written.id
    assert datetime.fromisoformat(standing["since"]) == written.created
    assert document["rules"]["min_labels"] == RULES.min_labels
    decision, step = rollout_assets(scene.product)
    assert step.inputs == (decision.path, f"{NAME}/experiment")
    assert {StepAction.ADVANCE.value, StepAction.ABORT.value} == {"advance", "abort"}
    assert microseconds(AT) == 1_362_898_800_000_000


def test_a_watch_ends_although_its_first_requests_are_no_longer_kept(
    begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was timed from the oldest request that was kept, and never ended."""
    monkeypatch.setattr(_retention, "SLACK", timedelta(0))
    scene = begun(replace(SHADOW, kind=RolloutKind.ALL_AT_ONCE))
    scene.ahead = -timedelta(hours=1)
    scene.answers(range(50), NEW, shadows={LIVE: 0.9})
    scene.settle()
    first = scene.decision()["evidence"]["first"]
    scene.ahead = timedelta(0)
    scene.keep(timedelta(minutes=30))
    scene.settle()
    assert said(scene) == ("wait", "watch")
    scene.answers(range(100, 150), NEW, at=AT + 8 * DAY, shadows={LIVE: 0.9})
    scene.settle()
    found = scene.decision()
    assert (said(scene), found["evidence"]["first"]) == (("advance", "watch"), first), found["reason"]
    assert found["evidence"]["dropped_until"] is not None


def test_what_a_rollout_did_to_the_release_has_the_rule_of_its_decision(begun: Begun) -> None:
    """Each promote, hold and roll-back was listed without a rule, the automatic one too."""
    scene = begun()
    scene.failures(NEW, 50)
    scene.settle()
    scene.version("1.2.0", build=False)
    scene.give(OrderKind.HOLD)
    scene.build()
    scene.version("1.3.0")
    scene.give(OrderKind.PROMOTE, NEW)
    scene.build()
    scene.version("1.4.0")
    rows = recorded_decisions(scene.lake, NAME, "main")
    released = [(row["action"], row["version"], row["actor"], row["rule"]) for row in rows if row["kind"] == "release"]
    assert released == [
        ("release", LIVE, "automation", "gates"),
        ("release", LIVE, "automation", "gates"),
        ("release", LIVE, "rollout", "errors"),
        ("hold", LIVE, "user:ada", "order"),
        ("restate", LIVE, "rollout", "errors"),
        ("promote", NEW, "user:ada", "order"),
        ("restate", NEW, "user:ada", "order"),
    ]
    (aborted,) = [row for row in rows if row["kind"] == "rollout" and row["action"] == "abort"]
    assert [row["reason"] for row in rows if row["rule"] == "errors"] == [aborted["reason"]] * 3
    assert all(row["rule"] for row in rows)


def test_an_answer_and_a_failure_wait_for_one_check_at_the_longest() -> None:
    """How soon a failing version goes back rests on it."""

    def waits(check: timedelta, serving: Serving) -> list[timedelta]:
        product = replace(TOY, rollout=Rollout(rules=replace(RULES, check_every=check)), serving=serving)
        fed = [asset.feed for asset in (predictions_asset(product), failures_asset(product))]
        return [feed.longest_wait for feed in fed if feed is not None]

    often, seldom = timedelta(seconds=5), timedelta(hours=1)
    assert waits(often, Serving(longest_wait=seldom)) == [often, often]
    assert waits(seldom, Serving(longest_wait=often)) == [often, seldom]
    failures = failures_asset(TOY).feed
    assert failures is not None
    assert failures.least_records <= 10, "a service that fails writes one a second"
