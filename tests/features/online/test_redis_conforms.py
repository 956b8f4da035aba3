"""The online store in Redis keeps the contract, over a real server that the test starts."""

from collections.abc import Iterator

import pytest

from headwater.features.online import OnlineStore
from headwater.features.online._redis_store import RedisOnlineStore
from headwater.testing.online_suite import OnlineStoreSuite
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
