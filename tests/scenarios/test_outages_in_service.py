"""A real service that cannot answer for a while: the service report tells it, and the rollout in progress goes on as before."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from headwater.monitoring import ServiceLevels
from headwater.names import NO_VERSION
from tests.assets.test_service_report import BUSY, told
from tests.redis_server import RedisServer
from tests.rollout_scene import NAME, RolloutScene
from tests.scenarios.test_rollout_in_service import CANARY, ask, shown
from tests.serving.conftest import Released, bundle
from tests.serving.http.campaign import FULL, with_disk
from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Service

Outage = Callable[[bool], None]
"""Begins and ends one."""
Away = Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[tuple[list[str], Outage]]]
"""What of a service may be away: the program that it then is, and what takes it away."""
FAILED = 300
"""Requests during an outage."""


@contextmanager
def full_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], Outage]]:
    flag = folder / "full"
    yield with_disk(folder, FULL.format(flag=str(flag))), lambda is_away: flag.touch() if is_away else flag.unlink()


@contextmanager
def no_redis(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], Outage]]:
    with RedisServer() as redis:
        monkeypatch.setenv("HEADWATER_REDIS", redis.url)
        monkeypatch.setenv("HEADWATER_REDIS_TIMEOUT", "5")
        yield [], lambda is_away: redis.kill() if is_away else redis.start()


@pytest.mark.parametrize(("away", "code"), [(full_log, "log_full"), (no_redis, "online_features_away")])
def test_an_outage_breaks_a_promise_and_sends_no_version_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: Away, code: str
) -> None:
    """A full log was counted for nobody, and a Redis that was away for a minute against whoever had been drawn."""
    scene = RolloutScene(tmp_path, CANARY)
    Released(tmp_path).online(10)
    scene.version("1.0.0", bundle=bundle(tmp_path / "bundle-1", slope=1))
    with away(tmp_path, monkeypatch) as (program, outage):
        service = Service(tmp_path, program=program)
        try:
            scene.version("1.1.0", bundle=bundle(tmp_path / "bundle-2", slope=1.02))
            service.until(lambda: shown(service) == "canary")
            ask(service, range(300))
            outage(True)
            service.until(lambda: service.predict().status == 503)
            bodies = [{"entity": {**ENTITY, "order": order}, "time": TIME} for order in range(FAILED)]
            replies = [service.ask("POST", PREDICT, body) for body in bodies]
            assert {(reply.status, reply.json["code"]) for reply in replies} == {(503, code)}
            outage(False)
            service.until(lambda: service.predict().status == 200)
        finally:
            assert service.stop()[0] == 0
    scene.settle()
    snapshot = scene.lake.at("main")
    answers, failures = (snapshot.table(f"{NAME}/{name}").collect() for name in ("predictions", "service_failures"))
    assert failures.select(pl.struct("version", "code").unique()).to_series().to_list() == [
        {"version": NO_VERSION, "code": code}
    ]
    assert failures["count"].sum() > FAILED
    product = replace(BUSY, service_levels=ServiceLevels(min_requests=5))
    document, problems = told(tmp_path / "report", answers, failures, product=product)
    assert sum(window["failed"] for window in document["windows"]) == failures["count"].sum()
    assert "requests failed" in document["windows"][-1]["broken"][-1]
    assert problems["no_budget_burns"]
    decision = scene.decision()
    assert (decision["action"], scene.statement()["policy"]["kind"]) == ("wait", "canary"), decision["reason"]
    evidence = decision["evidence"]
    assert [evidence[name]["failed"] for name in ("candidate", "other", "before")] == [0, 0, 0]
    assert evidence["seen"] == answers.height
