"""A publisher that is really killed: readers in other processes see the version before or the one after, whole."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from headwater.features.online import Lookup
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.testing.online_suite import at, hour, publish, rows, toy

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
            time.sleep(draw.uniform(0.01, 0.4))
            os.kill(process.pid, signal.SIGKILL)
            said = [int(line) for line in process.stdout.read().split()]
        reader = EmbeddedOnlineStore(tmp_path)
        if said or newest:
            version, answers = reader.lookup("toy", asked)
            found = int(version.commit)
            assert {answer.values for answer in answers} == {(found,)}
            assert found in ({said[-1], said[-1] + 1} if said else {newest, newest + 1})
            newest = found
        reader.close()
    assert newest > 0


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
