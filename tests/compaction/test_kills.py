"""Writers answer, compactors are killed at random instants: no answer is lost and none is doubled."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.lake._steps import Step
from tests.compaction.scene import PATH, Scene, record

PUBLISHING = [Step.STAGED, Step.CATALOGUED, Step.COMMITTED, Step.CLOSED]


class Process:
    """One of the scene's programs, with what it said."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "tests.compaction.scene", *words]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line.strip())

    def await_words(self, count: int = 1) -> None:
        """Waits until it has said so many lines."""
        while len(self.said) < count:
            assert self._process.poll() is None, self.kill()
            time.sleep(0.01)

    def kill(self) -> str:
        """Kills it, if it has not died; what it said on standard error."""
        self._process.kill()
        return self.wait()

    def wait(self) -> str:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        assert self._process.wait(120) == -signal.SIGKILL
        error = self._process.stderr.read()
        self._reader.join()
        self._process.stdout.close()
        self._process.stderr.close()
        return error


def check(scene: Scene, promised: list[str]) -> None:
    while scene.compact().facts.get("more"):  # a build takes no more than so many
        pass
    counts = Counter(scene.rows()["request_id"])
    assert [id for id, times in counts.items() if times > 1] == []
    assert [id for id in promised if id not in counts] == []
    assert len(counts) <= len(promised) + 5 * 2, "more than one unpromised batch of each writer"
    assert scene.lake.at("main").entry(PATH).rows == len(counts)
    assert [name for name in scene.segments() if not name.endswith(".part")] == []  # a killed writer may leave one
    assert scene.lake.verify().clean


def campaign(state: Path, seed: int, kills: int) -> int:
    """Two writers and two compactors; one compactor after the other is killed and started again. How many records there were."""
    draw = random.Random(seed)
    scene = Scene(state)
    scene.label()
    writers = [Process("write", str(state), name) for name in ("left", "right")]
    compactors = [Process("compact", str(state)) for _ in range(2)]
    try:
        for number in range(kills):
            victim = number % 2
            compactors[victim].await_words()
            time.sleep(draw.uniform(0, 0.6))
            assert compactors[victim].kill() == ""
            compactors[victim] = Process("compact", str(state))
        compactors[0].await_words()
        for writer in writers:
            writer.await_words(51)
    finally:
        errors = [process.kill() for process in (*writers, *compactors)]
    assert errors == [""] * 4
    promised = [id for writer in writers for id in writer.said]
    check(scene, promised)
    return len(promised)


def test_compactors_that_are_killed_lose_no_answer_and_double_none(tmp_path: Path) -> None:
    campaign(tmp_path, seed=1, kills=3)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(4))
def test_compactors_that_are_killed_often_lose_no_answer_and_double_none(
    tmp_path: Path, seed: int, record_property: Callable[[str, object], None]
) -> None:
    record_property("answered", campaign(tmp_path, seed=seed, kills=20))


@pytest.mark.parametrize("step", [*PUBLISHING, "before_settling"])
def test_a_kill_at_a_step_of_a_compaction_is_made_good_by_the_next_one(tmp_path: Path, step: str) -> None:
    scene = Scene(tmp_path)
    scene.label()
    wanted = [f"a:{number}" for number in range(20)]
    scene.answer(map(record, wanted), segment_bytes=1_000)
    assert len(scene.segments()) > 3
    assert Process("compact", str(tmp_path), step).wait() == ""
    is_there = scene.lake.at("main").has(PATH)
    assert is_there == (step in (Step.COMMITTED, Step.CLOSED, "before_settling"))
    assert scene.segments(), "the dead process deleted segments before its commit was sure"
    check(scene, wanted)
