"""A service whose online features are in a real Redis that is killed, held, and comes back: nobody waits, nothing is logged unanswered."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.names import NO_VERSION
from serving.policies import Canary
from tests.redis_server import RedisServer
from tests.serving.conftest import Released
from tests.serving.http.conftest import Reply, Service
from tests.serving.http.test_failures import counted

WAIT = 2.0
"""Seconds that a lookup waits for Redis here: sixty requests after the first failure take less than five such waits."""


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as found:
        yield found


@pytest.fixture
def service(redis: RedisServer, start: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("HEADWATER_REDIS", redis.url)
    monkeypatch.setenv("HEADWATER_REDIS_TIMEOUT", str(WAIT))
    found = start()
    assert found.predict().status == 200
    return found


class Asker:
    """Asks all the time in a thread of its own, each request under an id of its own."""

    def __init__(self, service: Service) -> None:
        self.replies: dict[str, Reply] = {}
        self._service, self._ended = service, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._ended.is_set():
            id = f"asked-{len(self.replies)}"
            self.replies[id] = self._service.predict(id=id)

    @property
    def statuses(self) -> list[int]:
        """Of the replies so far."""
        return [reply.status for reply in tuple(self.replies.values())]

    def __enter__(self) -> "Asker":
        self._thread.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._ended.set()
        self._thread.join()


def rounds(service: Service, count: int) -> float:
    """Seconds of some rounds of health, metrics and a request that cannot be answered."""
    begun = time.monotonic()
    for _ in range(count):
        assert service.get("/v2/health/live").status == service.get("/metrics").status == 200
        assert service.predict().status == 503
    return time.monotonic() - begun


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "held"])
def test_redis_gone_mid_request_is_503_at_once_until_it_is_back(
    service: Service, redis: RedisServer, number: signal.Signals
) -> None:
    with Asker(service) as asker:
        service.until(lambda: asker.statuses.count(200) > 10)
        redis.send(number)
        service.until(lambda: service.predict().status == 503 and 503 in asker.statuses)
        refused = service.predict()
        assert (refused.json["code"], refused.headers["retry-after"]) == ("online_features_away", "1")
        assert rounds(service, 20) < 5 * WAIT, "each lookup waited for itself, and everything else for it"
        if number is signal.SIGKILL:
            redis.kill()
            redis.start()  # and empty: what it held was published from this machine's copy
        else:
            redis.send(signal.SIGCONT)
        service.until(lambda: service.predict().status == 200)
        after = len(asker.replies)
        service.until(lambda: 200 in asker.statuses[after:])
    assert set(asker.statuses) == {200, 503}
    service.stop()
    told = counted(service)
    assert set(told) == {(NO_VERSION, "online_features_away")}, "Redis is no version's doing"
    assert told.total() > sum(reply.status == 503 for reply in asker.replies.values())
    logged = [record.request_id for record in service.logged() if record.request_id in asker.replies]
    assert sorted(logged) == sorted(id for id, reply in asker.replies.items() if reply.status == 200)


def test_a_service_whose_redis_is_away_at_its_start_is_ready_once_it_is_there(
    redis: RedisServer, start: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    redis.kill()
    monkeypatch.setenv("HEADWATER_REDIS", redis.url)
    service = start(wait=False)
    service.until(lambda: "troubles" in service.get("/v2/health/ready").json)
    assert "online store" in str(service.get("/v2/health/ready").json["troubles"])
    assert service.get("/v2/health/live").status == 200
    redis.start()
    service.until(lambda: service.predict().status == 200)


def test_what_was_live_goes_on_while_a_release_waits_for_redis(
    service: Service, redis: RedisServer, released: Released
) -> None:
    redis.send(signal.SIGSTOP)
    released.online(20)
    released.release(Canary(live="1.0.0", candidate="1.1.0", share=1.0), "1.0.0")
    service.until(lambda: "troubles" in service.get("/v2/health/ready").json)
    redis.send(signal.SIGCONT)
    service.until(lambda: service.predict().json.get("version") == "1.1.0")
    service.until(lambda: "troubles" not in service.get("/v2/health/ready").json)
