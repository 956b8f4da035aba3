"""The online store in Redis keeps the contract, over a real server that the test starts."""

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from headwater.features import FeatureTable
from headwater.features.errors import OnlineStoreError
from headwater.features.online import Lookup, OnlineStore, _redis_lock, _redis_store, prepare
from headwater.features.online._redis_store import RedisOnlineStore
from headwater.testing.online_suite import VIEW, OnlineStoreSuite, at, extend, hour, rows
from tests.features.online.test_dying import kill_extenders
from tests.redis_server import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with RedisServer() as found:
        yield found.url


def patient(url: str) -> RedisOnlineStore:
    """A store that waits for a server on a busy machine."""
    return RedisOnlineStore(url, timeout=20, lookup_timeout=20)


class TestRedis(OnlineStoreSuite):
    @pytest.fixture
    def store(self, server: str) -> Iterator[RedisOnlineStore]:
        store = patient(server)
        store._client.flushall()
        store.url = server
        yield store
        store.close()

    def reopen(self, store: OnlineStore) -> OnlineStore:
        return patient(store.url)

    def reopen_for_writing(self, store: OnlineStore) -> OnlineStore:
        return self.reopen(store)


def test_an_extender_killed_at_any_instant_leaves_all_rows_or_none(server: str) -> None:
    store = patient(server)
    store._client.flushall()
    # The lock is held for a minute by one that died; here nobody waits for it.
    kill_extenders(store, server, kills=4, free=lambda: store._client.delete(b"headwater:online:lock:toy"))
    store.close()


def test_very_many_lookups_are_answered_from_one_version_in_several_round_trips(server: str) -> None:
    store = patient(server)
    store._client.flushall()
    table = FeatureTable(view=VIEW, rows=rows(*((f"who{n}", 1, 1, n) for n in range(5_000))))
    store.publish("toy", prepare([(table, "1")], since=hour(0)), commit="c")
    asked = [Lookup("history", (f"who{n}",), at(2)) for n in range(5_000)]
    version, found = store.lookup("toy", asked)
    assert [row.values[0] for row in found] == list(range(5_000))
    assert version == store.version("toy")
    store.close()


def extended_slowly(store: RedisOnlineStore, monkeypatch: pytest.MonkeyPatch, *, on_the_way: Any = None) -> None:
    """An extension of 150 entities that takes longer than its lock lasts without being renewed."""
    whole = _redis_store.merged

    def slow(*given: Any) -> Any:
        time.sleep(0.01)
        if on_the_way is not None:
            on_the_way()
        return whole(*given)

    store._client.flushall()
    before = FeatureTable(view=VIEW, rows=rows(*((f"who{n}", 1, 1, n) for n in range(150))))
    store.publish("toy", prepare([(before, "1")], since=hour(0)), commit="c")
    monkeypatch.setattr(_redis_lock, "_LOCK_SECONDS", 1)
    monkeypatch.setattr(_redis_store, "_BATCH", 5)
    monkeypatch.setattr(_redis_store, "merged", slow)
    after = FeatureTable(view=VIEW, rows=rows(*((f"who{n}", 2, 2, -n) for n in range(150))))
    extend(store, "toy", [after], commit="d")


def test_an_extension_may_take_longer_than_its_lock_lasts(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one after a publication is the largest. Its lock was not renewed, so it failed each time, whatever was tried."""
    store = patient(server)
    extended_slowly(store, monkeypatch)
    assert store.lookup("toy", [Lookup("history", ("who149",), at(2))])[1][0].values == (-149,)
    store.close()


def test_who_lost_the_lock_changes_nothing_and_is_told_so(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = patient(server)
    with pytest.raises(OnlineStoreError, match=r"lock was lost.*Do it again"):
        extended_slowly(store, monkeypatch, on_the_way=lambda: store._client.delete(b"headwater:online:lock:toy"))
    assert store.version("toy").extensions == 0
    assert store.lookup("toy", [Lookup("history", ("who149",), at(2))])[1][0].values == (149,)
    store.close()


def test_a_server_that_answers_nothing_is_waited_for_once_and_used_again_when_it_does(server: str) -> None:
    with RedisServer() as own:
        store = RedisOnlineStore(own.url, timeout=20, lookup_timeout=0.05)
        table = FeatureTable(view=VIEW, rows=rows(("ann", 1, 1, 10)))
        store.publish("toy", prepare([(table, "1")], since=hour(0)), commit="c")
        asked = [Lookup("history", ("ann",), at(2))]
        own.send(signal.SIGSTOP)
        with pytest.raises(OnlineStoreError, match="Timeout"):
            store.lookup("toy", asked)
        with pytest.raises(OnlineStoreError, match="Timeout"):
            store.lookup("toy", asked)
        own.send(signal.SIGCONT)
        for _ in range(200):
            with suppress(OnlineStoreError):
                assert store.lookup("toy", asked)[1][0].values == (10,)
                break
            time.sleep(0.05)
        else:
            raise AssertionError("it was never asked again")
        store.close()
