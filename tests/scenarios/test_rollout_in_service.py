"""A real service, a rollout that its answers decide about, and nobody who steers."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from assets._chain._rollout_page import PAGE_FILE
from headwater.cli._decisions import recorded_decisions
from headwater.decisions import Rollout, RolloutKind
from serving.deployment import read_deployment
from serving.prediction_log import decode_failure, read_frames, segments
from tests.rollout_scene import AT, DAY, NAME, RULES, RolloutScene
from tests.serving.conftest import Released, bundle
from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Service

CANARY = Rollout(kind=RolloutKind.CANARY, steps=(0.5, 1.0), rules=RULES)
SHADOW = Rollout(kind=RolloutKind.CANARY, steps=(0.5, 1.0), shadow_first=True, keep_replaced=True, rules=RULES)


def late(order: int) -> int:
    """The truth: what version 1.0.0 learned."""
    return int(order % 60 > 30)


def ask(service: Service, orders: range, *, time: str = TIME) -> list[dict[str, Any]]:
    """Predictions, each asked for by itself: a batch would count as one request."""

    def one(order: int) -> dict[str, Any]:
        entity = {"who": "ann", "x": order % 60, "kind": "a", "order": order}
        reply = service.ask("POST", PREDICT, {"entity": entity, "time": time})
        assert reply.status == 200, reply.body
        return reply.json

    with ThreadPoolExecutor(4) as callers:
        return list(callers.map(one, orders))


def truth(scene: RolloutScene, orders: range) -> None:
    scene.label((order, AT, late(order), AT + 2 * DAY) for order in orders)


def ask_on_days(service: Service, scene: RolloutScene, days: range) -> None:
    """800 predictions on some days, and all labels so far."""
    count = 800 // len(days)
    for day in days:
        ask(service, range(day * 1_000, day * 1_000 + count), time=(AT + day * DAY).isoformat())
    rows = [(day, order) for day in range(days.stop) for order in range(day * 1_000, day * 1_000 + 800)]
    scene.label((order, AT + day * DAY, late(order), AT + (day + 2) * DAY) for day, order in rows)


@pytest.fixture
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> RolloutScene:
    made = RolloutScene(tmp_path, request.param)
    Released(tmp_path).online(10)
    made.version("1.0.0", bundle=bundle(tmp_path / "bundle-1", slope=1))
    return made


@pytest.mark.parametrize("scene", [CANARY], indirect=True)
def test_a_worse_version_is_answered_by_both_found_out_and_gone_back_from(scene: RolloutScene, tmp_path: Path) -> None:
    service = Service(tmp_path)
    try:
        scene.version("1.1.0", bundle=bundle(tmp_path / "bundle-2", slope=7))
        assert scene.statement()["traffic"] == {"1.0.0": 0.5, "1.1.0": 0.5}
        service.until(lambda: {one["version"] for one in ask(service, range(100_000, 100_020))} == {"1.0.0", "1.1.0"})
        answered = ask(service, range(800))
        assert {one["version"] for one in answered} == {"1.0.0", "1.1.0"}
        scene.settle()
        waiting = scene.decision()
        assert (waiting["action"], waiting["rule"]) == ("wait", "labels"), waiting["reason"]
        truth(scene, range(800))
        scene.settle()
        said, decision = scene.statement(), scene.decision()
        assert (decision["action"], decision["rule"]) == ("abort", "loss"), decision["reason"]
        assert (said["version"], said["policy"], list(said["barred"])) == ("1.0.0", "all-at-once", ["1.1.0"])
        assert decision["evidence"]["split_p"] > 0.001
        service.until(lambda: {one["version"] for one in ask(service, range(200_000, 200_020))} == {"1.0.0"})
        scene.settle()
        assert scene.statement() == said, "what was gone back from stays out"
        assert scene.decision()["reason"] == "1.0.0 answers everything, and nothing can be gone back to."
    finally:
        assert service.stop()[0] == 0
    rows = recorded_decisions(scene.lake, NAME, "main")
    assert ("rollout", "abort", "1.1.0") in {(row["kind"], row["action"], row["version"]) for row in rows}


@pytest.mark.parametrize("scene", [SHADOW], indirect=True)
def test_a_version_as_good_goes_from_the_shadow_to_everything_and_is_watched(
    scene: RolloutScene, tmp_path: Path
) -> None:
    service = Service(tmp_path)
    try:
        scene.version("1.1.0", bundle=bundle(tmp_path / "bundle-2", slope=1.02))
        policies = [scene.statement()["policy"]["kind"]]
        for days in (range(4), range(4, 5)):  # the shadow needs three whole days
            service.until(lambda: read_deployment(scene.lake, NAME).policy.kind == shown(service))
            ask_on_days(service, scene, days)
            scene.settle()
            policies.append(scene.statement()["policy"]["kind"])
        assert policies == ["shadow", "canary", "shadow"], scene.decision()["reason"]
        said = scene.statement()
        assert (said["version"], said["policy"]) == ("1.1.0", {"kind": "shadow", "live": "1.1.0", "shadows": ["1.0.0"]})
        service.until(lambda: "1.1.0" in {one["version"] for one in ask(service, range(5_000, 5_020))})
        ask(service, range(6_000, 6_800), time=(AT + 4 * DAY).isoformat())
        scene.settle()
        assert scene.decision()["rule"] == "watch"
        assert "is watched" in scene.decided_file(PAGE_FILE).read_text()
        later = {"entity": {**ENTITY, "order": 9_999}, "time": (AT + 12 * DAY).isoformat()}
        assert service.ask("POST", PREDICT, later).status == 200
        scene.settle()
        assert scene.decision()["action"] == "advance", scene.decision()["reason"]
        assert (scene.statement()["version"], scene.statement()["policy"]) == ("1.1.0", "all-at-once")
        scene.settle()
        assert scene.decision()["reason"] == "1.1.0 answers everything, and its watch is over."
    finally:
        assert service.stop()[0] == 0


def shown(service: Service) -> str:
    """Which policy a service follows."""
    kind: str = json.loads(service.get("/v1/products").body)["products"][0]["policy"]["kind"]
    return kind


@pytest.mark.parametrize("scene", [CANARY, SHADOW], indirect=True, ids=["canary", "shadow"])
def test_a_version_that_wants_more_than_callers_send_is_gone_back_from(scene: RolloutScene, tmp_path: Path) -> None:
    """A candidate that lacked a field once failed every request of its turn, in the shadow too."""
    service = Service(tmp_path)
    try:
        scene.version("2.0.0", bundle=bundle(tmp_path / "bundle-2", slope=7, more=("extra",)))
        kind = scene.statement()["policy"]["kind"]
        service.until(lambda: shown(service) == kind)
        codes = {service.predict({"order": order}).status for order in range(60)}
        assert codes == ({200, 422} if kind == "canary" else {200})
        service.until(lambda: kind == "shadow" or any_failures(tmp_path))
        scene.settle()
        decision = scene.decision()
        assert (decision["action"], decision["rule"]) == ("abort", "errors"), decision["reason"]
        assert (scene.statement()["version"], list(scene.statement()["barred"])) == ("1.0.0", ["2.0.0"])
        service.until(lambda: shown(service) == "all-at-once")
        assert {service.predict({"order": order}).status for order in range(60)} == {200}
    finally:
        assert service.stop()[0] == 0


def any_failures(state: Path) -> bool:
    """Whether the service has written down what it could not answer."""
    folder = state / "serving" / "failures" / NAME
    counts = [
        decode_failure(data).count for part in segments(folder) for frame in read_frames(part) for data in frame.records
    ]
    return sum(counts) > 10
