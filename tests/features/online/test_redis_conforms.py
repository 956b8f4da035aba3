"""The online store in Redis keeps the contract, over a real server that the test starts."""

import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from headwater.features import FeatureTable
from headwater.features.errors import OnlineStoreError
from headwater.features.online import Lookup, OnlineStore, prepare
from headwater.features.online._redis_store import RedisOnlineStore
from headwater.testing.online_suite import VIEW, OnlineStoreSuite, at, hour, rows
from tests.features.online.test_dying import kill_extenders
from tests.redis_server import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with RedisServer() as found:
        yield found.url


class TestRedis(OnlineStoreSuite):
    @pytest.fixture
    def store(self, server: str) -> Iterator[RedisOnlineStore]:
        store = RedisOnlineStore(server)
        store._client.flushall()
        store.url = server
        yield store
        store.close()

    def reopen(self, store: OnlineStore) -> OnlineStore:
        return RedisOnlineStore(store.url)

    def reopen_for_writing(self, store: OnlineStore) -> OnlineStore:
        return self.reopen(store)


def test_an_extender_killed_at_any_instant_leaves_all_rows_or_none(server: str) -> None:
    store = RedisOnlineStore(server)
    store._client.flushall()
    # The lock is held for a minute by one that died; here nobody waits for it.
    kill_extenders(store, server, kills=4, free=lambda: store._client.delete(b"headwater:online:lock:toy"))
    store.close()


def test_very_many_lookups_are_answered_from_one_version_in_several_round_trips(server: str) -> None:
    store = RedisOnlineStore(server)
    store._client.flushall()
    table = FeatureTable(view=VIEW, rows=rows(*((f"who{n}", 1, 1, n) for n in range(5_000))))
    store.publish("toy", prepare([(table, "1")], since=hour(0)), commit="c")
    asked = [Lookup("history", (f"who{n}",), at(2)) for n in range(5_000)]
    version, found = store.lookup("toy", asked)
    assert [row.values[0] for row in found] == list(range(5_000))
    assert version == store.version("toy")
    store.close()


def test_a_server_that_answers_nothing_is_waited_for_once_and_used_again_when_it_does(server: str) -> None:
    with RedisServer() as own:
        store = RedisOnlineStore(own.url, lookup_timeout=0.05)
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
