"""A publisher that is really killed: readers in other processes see the version before or the one after, whole."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.features.errors import OnlineStoreError
from headwater.features.online import Lookup, OnlineStore
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.testing.online_suite import VIEW, at, hour, publish, rows, toy

PEOPLE = 3_000
PUBLISHER = """
import sys
from pathlib import Path
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.testing.online_suite import hour, publish, rows, toy

store, number = EmbeddedOnlineStore(Path(sys.argv[1])), int(sys.argv[2])
print("begun", flush=True)
while True:
    number += 1
    frame = rows(*((f"p{person}", 1, 1, number) for person in range(3_000)))
    publish(store, "toy", [toy(frame, data_version=str(number))], commit=str(number), since=hour(0))
    print(number, flush=True)
"""


def test_a_publisher_killed_at_any_instant_leaves_a_whole_version(tmp_path: Path) -> None:
    draw = random.Random(7)
    asked = [Lookup("history", (f"p{person}",), at(2)) for person in range(PEOPLE)]
    newest = 0
    for _ in range(6):
        command = [sys.executable, "-c", PUBLISHER, str(tmp_path), str(newest)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            said = [int(process.stdout.readline())] if not newest else []  # a busy machine is slow to begin
            time.sleep(draw.uniform(0.01, 0.4))
            os.kill(process.pid, signal.SIGKILL)
            said += [int(line) for line in process.stdout.read().split()]
        reader = EmbeddedOnlineStore(tmp_path)
        version, answers = reader.lookup("toy", asked)
        found = int(version.commit)
        assert {answer.values for answer in answers} == {(found,)}
        assert found in ({said[-1], said[-1] + 1} if said else {newest, newest + 1})
        newest = found
        reader.close()


EXTENDER = """
import sys
from pathlib import Path
from headwater.features.online import rows_from
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.features.online._redis_store import RedisOnlineStore
from headwater.testing.online_suite import START, hour, rows, toy

where, number = sys.argv[1], int(sys.argv[2])
store = RedisOnlineStore(where, timeout=20) if where.startswith("redis:") else EmbeddedOnlineStore(Path(where))
print("begun", flush=True)
while True:
    number += 1
    frame = rows(*((f"p{person}", 1, 1 + number / 3_600, number) for person in range(1_000)))
    store.extend("toy", {"history": rows_from(toy(frame, data_version="x")[0], START)}, commit=str(number))
    print(number, flush=True)
"""


def kill_extenders(store: OnlineStore, where: str, *, kills: int, free: Callable[[], object] = lambda: None) -> None:
    """Kills extenders at any instant, and looks each time whether all people have the rows of one extension."""
    draw = random.Random(11)
    asked = [Lookup("history", (f"p{person}",), at(20)) for person in range(1_000)]
    frame = rows(*((f"p{person}", 1, 1, 0) for person in range(1_000)))
    view = replace(VIEW, ttl=None)
    publish(store, "toy", [toy(frame, view)], commit="c", since=hour(0))
    newest = 0
    for _ in range(kills):
        free()
        command = [sys.executable, "-c", EXTENDER, where, str(newest)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            said = [int(process.stdout.readline())] if not newest else []  # a busy machine is slow to begin
            time.sleep(draw.uniform(0.01, 0.5))
            os.kill(process.pid, signal.SIGKILL)
            said += [int(line) for line in process.stdout.read().split()]
        version, answers = store.lookup("toy", asked)
        (found,) = {answer.values[0] for answer in answers}
        assert found in ({said[-1], said[-1] + 1} if said else {newest, newest + 1})
        assert version.extensions == found
        assert version.views["history"].rows == 1_000 * (1 + found)
        newest = found
    assert newest > 0


def test_an_extender_killed_at_any_instant_leaves_all_rows_or_none(tmp_path: Path) -> None:
    store = EmbeddedOnlineStore(tmp_path)
    kill_extenders(store, str(tmp_path), kills=5)
    store.close()


def test_a_forked_worker_reads_on_and_sees_what_is_published_later(tmp_path: Path) -> None:
    store = EmbeddedOnlineStore(tmp_path)
    publish(store, "toy", [toy(rows(("ann", 1, 1, 1)))], commit="c1", since=hour(0))
    reading, writing = os.pipe()
    worker = os.fork()
    if not worker:
        os.read(reading, 1)
        answer = store.lookup("toy", [Lookup("history", ("ann",), at(2))])[1][0]
        os._exit(int(answer.values[0]))
    publish(store, "toy", [toy(rows(("ann", 1, 1, 42)))], commit="c2", since=hour(0))
    os.write(writing, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 42
    store.close()


def test_a_killed_reader_does_not_make_the_file_grow(tmp_path: Path) -> None:
    """Its place in the table of readers once kept every row that was replaced from being used again."""
    store = EmbeddedOnlineStore(tmp_path)

    def renew(number: int) -> int:
        frame = rows(*((f"p{person}", 1, 1, number) for person in range(500)))
        publish(store, "toy", [toy(frame, data_version=str(number))], commit=str(number), since=hour(0))
        return (tmp_path / "data.mdb").stat().st_size

    renew(0)
    reader = "import lmdb, os, sys; t = lmdb.open(sys.argv[1], create=False).begin(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", reader, str(tmp_path)], check=False)
    sizes = [renew(number) for number in range(1, 40)]
    assert sizes[-1] < 2 * sizes[5]  # thirty times as large without
    store.close()


def test_a_folder_that_was_removed_while_it_was_open_is_an_error_and_no_lost_publication(tmp_path: Path) -> None:
    store = EmbeddedOnlineStore(tmp_path / "online")
    publish(store, "toy", [toy(rows(("ann", 1, 1, 1)))], commit="c1", since=hour(0))
    shutil.rmtree(tmp_path / "online")
    with pytest.raises(OnlineStoreError, match="removed while it was open"):
        publish(store, "toy", [toy(rows(("ann", 1, 1, 2)))], commit="c2", since=hour(0))
    store.close()
    fresh = EmbeddedOnlineStore(tmp_path / "online")
    publish(fresh, "toy", [toy(rows(("ann", 1, 1, 2)))], commit="c2", since=hour(0))
    assert fresh.version("toy").commit == "c2"
    fresh.close()


def test_a_full_store_has_room_again_once_something_was_taken_out(tmp_path: Path) -> None:
    """To take rows out needs a little room too."""
    store = EmbeddedOnlineStore(tmp_path, largest=2**20)
    people = [toy(rows(*((f"p{number}", 1, 1, number) for number in range(2_000))))]
    made: list[str] = []

    def publish_until_full() -> None:
        for number in range(100):
            publish(store, f"toy{number}", people, commit="c", since=hour(0))
            store.mark(f"toy{number}")
            made.append(f"toy{number}")

    with pytest.raises(OnlineStoreError, match="HEADWATER_ONLINE_LARGEST"):
        publish_until_full()
    assert len(made) > 2
    assert store.withdraw(made[0], mark=store.marks()[made[0]])
    publish(store, "another", people, commit="c", since=hour(0))
    assert set(store.marks()) == {*made[1:], "another"}
    store.close()


def test_a_store_that_another_process_opened_for_more_is_read_on(tmp_path: Path) -> None:
    small = EmbeddedOnlineStore(tmp_path, largest=2**20)
    publish(small, "toy", [toy(rows(("ann", 1, 1, 1)))], commit="c1", since=hour(0))
    larger = PUBLISHER.replace("Path(sys.argv[1])", "Path(sys.argv[1]), largest=2**26").replace(
        "while True:", "for _ in range(9):"
    )
    subprocess.run([sys.executable, "-c", larger, str(tmp_path), "1"], check=True, capture_output=True)
    assert small.lookup("toy", [Lookup("history", ("p7",), at(2))])[1][0].values == (10,)
    small.close()
