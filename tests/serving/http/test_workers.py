"""Workers that end, that cannot start again, and that come back: what becomes of the others, and what is said."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from serving.http._workers import Workers
from tests.serving.conftest import Released
from tests.serving.http.conftest import Service
from tests.serving.http.test_keys import ask, write_keys

FOREVER = "import time; time.sleep(600)"


class Scene:
    """Small processes in the places of workers; `program` is what the next one runs."""

    def __init__(self, count: int, program: str = FOREVER, stands: float = 0.2) -> None:
        self.program, self.started, self.gone = program, list[subprocess.Popen[bytes]](), list[int]()
        self.workers = Workers(self.start, count, gone=self.gone.append, stands=stands, first=0.01)

    def start(self) -> subprocess.Popen[bytes]:
        if not self.program:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.started.append(subprocess.Popen([sys.executable, "-S", "-c", self.program]))
        return self.started[-1]

    def until(self, holds: Callable[[], bool]) -> bool:
        """Looks again and again until something holds; whether it does, and no look gave up."""
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end, "it never held"
            time.sleep(0.005)
            if not self.workers.look():
                return False
        return True


@pytest.fixture
def scenes() -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(*given: int, **more: object) -> Scene:
        made.append(Scene(*given, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.workers.end(patience=10)


@contextmanager
def suspended(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def waits(caplog: pytest.LogCaptureFixture) -> list[float]:
    found = [record.__dict__.get("started_again_in") for record in caplog.records]
    return [seconds for seconds in found if seconds is not None]


def test_a_worker_that_cannot_start_again_waits_longer_each_time_and_costs_no_other(
    scenes: Callable[..., Scene], caplog: pytest.LogCaptureFixture
) -> None:
    scene = scenes(2, stands=2.0)  # a busy machine takes its time for a process that ends at once
    other, begun = scene.started[0], time.monotonic()
    scene.until(lambda: time.monotonic() - begun > 2.0)
    scene.program = "raise SystemExit(2)"
    scene.started[1].kill()
    assert scene.until(lambda: len(waits(caplog)) == 5)
    assert waits(caplog) == [0, 0.01, 0.02, 0.04, 0.08]
    assert f"worker 2: process {scene.started[1].pid} ended by SIGKILL" in caplog.messages[0]
    assert "ended by exit code 2" in caplog.messages[1]
    assert (other.poll(), other.pid in scene.gone) == (None, False)
    scene.program = FOREVER
    with caplog.at_level(logging.INFO):
        assert scene.until(lambda: "worker 2 runs again" in caplog.messages)
    scene.started[-1].kill()
    assert scene.until(lambda: len(waits(caplog)) == 6)
    assert waits(caplog)[-1] == 0  # the trouble has ended, and does not count any more


def test_a_system_that_starts_no_process_for_now_costs_no_other_worker(
    scenes: Callable[..., Scene], caplog: pytest.LogCaptureFixture
) -> None:
    scene = scenes(2)
    scene.program = ""
    scene.started[1].kill()
    assert scene.until(lambda: len(waits(caplog)) == 3)
    assert "could not be started (Resource temporarily unavailable)" in caplog.messages[-1]
    assert scene.started[0].poll() is None
    scene.program = FOREVER
    assert scene.until(lambda: len(scene.started) == 3)


def test_workers_that_die_of_a_signal_from_their_start_are_not_started_without_end(
    scenes: Callable[..., Scene], caplog: pytest.LogCaptureFixture
) -> None:
    """They were started ten times a second."""
    scene = scenes(1, program="import os; os.kill(os.getpid(), 7)", stands=60)
    assert scene.until(lambda: len(waits(caplog)) == 4)
    assert waits(caplog) == [0.01, 0.02, 0.04, 0.08]
    assert "ended by SIGBUS" in caplog.messages[0]


def test_when_none_has_ever_stood_one_that_ends_with_an_error_is_the_end(scenes: Callable[..., Scene]) -> None:
    scene = scenes(2, program="raise SystemExit(2)", stands=60)
    assert not scene.until(lambda: False)
    assert len(scene.gone) == 1


def test_a_half_written_file_of_keys_costs_the_worker_that_reads_it_and_no_other(
    released: Released, tmp_path: Path, start: Callable[..., Service]
) -> None:
    """The service ended two seconds after one of its workers was killed, though the others read no keys."""
    keys = write_keys(tmp_path)
    whole = keys.read_text()
    service = start("--workers", "2", "--keys", str(keys))
    parent = psutil.Process(service.process.pid)
    lost, kept = parent.children()
    service.until(lambda: time.time() - kept.create_time() > 6)
    keys.write_text(whole[:50])
    lost.kill()
    seen: set[int] = set()
    service.until(
        lambda: len(seen) >= 2 or bool(seen.update({child.pid for child in parent.children()} - {lost.pid, kept.pid}))
    )
    service.until(lambda: parent.children() == [kept])
    assert {ask(service, "GET", "/v1/products", "all").status for _ in range(5)} == {200}
    keys.write_text(whole)
    with suspended(kept):  # so that who answers is the one that came back
        assert ask(service, "GET", "/v1/products", "all").status == 200
    code, said = service.stop()
    assert (code, "cannot be read" in said, "worker 1: process" in said) == (0, True, True)
