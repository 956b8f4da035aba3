"""A real service under policies of several versions: a bandit that learns from its answers, and tests that end by themselves."""

from collections import Counter
from pathlib import Path

import pytest

from headwater.cli._decisions import recorded_decisions
from headwater.decisions import OrderKind, Rollout, RolloutKind
from headwater.release_history import live_since, release_history
from tests.rollout_scene import NAME, RULES, RolloutScene
from tests.scenarios.test_rollout_in_service import any_failures, ask, shown, truth
from tests.serving.conftest import Released, bundle
from tests.serving.http.conftest import Service

LIVE, NEW = "1.0.0", "1.1.0"
THOMPSON = {"kind": "thompson", "beliefs": {LIVE: [1, 1], NEW: [1, 1]}, "salt": "spring"}
AB = {"kind": "ab-test", "shares": {LIVE: 0.5, NEW: 0.5}, "salt": "spring"}


@pytest.fixture
def scene(tmp_path: Path) -> RolloutScene:
    made = RolloutScene(tmp_path, Rollout(rules=RULES))
    Released(tmp_path).online(10)
    made.version(LIVE, bundle=bundle(tmp_path / "bundle-1", slope=1))
    made.give(OrderKind.HOLD)
    return made


def order(scene: RolloutScene, policy: dict[str, object]) -> None:
    scene.give(OrderKind.RESUME)
    scene.give(OrderKind.PROMOTE, NEW, policy=policy)
    scene.build()


def test_a_bandit_learns_from_what_it_answered_and_the_service_follows(scene: RolloutScene, tmp_path: Path) -> None:
    scene.version(NEW, bundle=bundle(tmp_path / "bundle-2", slope=7))
    order(scene, THOMPSON)
    begun = live_since(release_history(scene.lake, NAME))
    service = Service(tmp_path)
    try:
        service.until(lambda: shown(service) == "thompson")
        even = Counter(one["version"] for one in ask(service, range(600)))
        assert min(even.values()) > 200
        truth(scene, range(600))
        scene.settle()
        found = scene.experiment()
        assert (found["action"], found["mismatch"]) == ("learn", False), found["reason"]
        learned = scene.statement()["policy"]["beliefs"]
        assert {name: sum(belief) - 2 for name, belief in learned.items()} == even, "each label counts once"
        service.until(lambda: Counter(one["version"] for one in ask(service, range(50_000, 50_040)))[LIVE] > 35)
        assert Counter(one["version"] for one in ask(service, range(1_000, 1_300)))[LIVE] > 290
        scene.settle()
        assert not scene.experiment()["mismatch"], scene.experiment()["split_p"]
    finally:
        assert service.stop()[0] == 0
    since = live_since(release_history(scene.lake, NAME))
    assert since is not None
    assert begun is not None
    assert since.commit == begun.commit, "what it learned is the same policy"
    rows = recorded_decisions(scene.lake, NAME, "main")
    assert ("experiment", "learn") in {(row["kind"], row["action"]) for row in rows}


def test_a_version_that_cannot_answer_ends_an_ordered_test(scene: RolloutScene, tmp_path: Path) -> None:
    scene.version(NEW, bundle=bundle(tmp_path / "bundle-2", slope=1, more=("extra",)))
    order(scene, AB)
    service = Service(tmp_path)
    try:
        service.until(lambda: shown(service) == "ab-test")
        assert {service.predict({"order": number}).status for number in range(60)} == {200, 422}
        service.until(lambda: any_failures(tmp_path))
        scene.settle()
        found = scene.experiment()
        assert (found["action"], found["rule"], found["culprit"]) == ("abort", "errors", NEW), found["reason"]
        assert (scene.statement()["version"], list(scene.statement()["barred"])) == (LIVE, [NEW])
        service.until(lambda: shown(service) == "all-at-once")
        assert {service.predict({"order": number}).status for number in range(60)} == {200}
    finally:
        assert service.stop()[0] == 0


def test_a_declared_test_sends_a_worse_version_back(scene: RolloutScene, tmp_path: Path) -> None:
    scene.declare(Rollout(kind=RolloutKind.AB_TEST, share=0.4, rules=RULES))
    scene.give(OrderKind.RESUME)
    scene.version(NEW, bundle=bundle(tmp_path / "bundle-2", slope=7))
    service = Service(tmp_path)
    try:
        service.until(lambda: shown(service) == "ab-test")
        ask(service, range(900))
        truth(scene, range(900))
        scene.settle()
        found = scene.experiment()
        assert (found["action"], found["rule"]) == ("abort", "worse"), found["reason"]
        service.until(lambda: shown(service) == "all-at-once")
    finally:
        assert service.stop()[0] == 0
    assert (scene.statement()["version"], list(scene.statement()["barred"])) == (LIVE, [NEW])
