"""A contender's server while it is measured: started, waited for until it answers right, and ended with all it started."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks._contenders import Contender
from benchmarks._load import HOST, Job, drive

PATIENCE: Final = 120.0
"""Seconds from the start to the first right answer. Ray takes the longest."""


class NotReadyError(Exception):
    """A server ended or did not answer right in time; says what it printed last."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running one.

    Attributes:
        contender: Whose.
        port: Where it answers.
        process: Its first process.
        start: Seconds from its start to its first right answer.
    """

    contender: Contender
    port: int
    process: psutil.Process
    start: float

    def job(self, *, connections: int, seconds: float, warm_up: float) -> Job:
        """A load on it."""
        return _job(self.contender, self.port, connections=connections, seconds=seconds, warm_up=warm_up)

    def cpu(self) -> float:
        """Seconds of processor time that it and all it started have used and that still run."""
        used = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                spent = process.cpu_times()
                used += spent.user + spent.system
        return used


@contextmanager
def serving(contender: Contender, folder: Path) -> Iterator[Server]:
    """A contender's server over the subject in `folder`.

    Raises:
        NotReadyError: It did not come up.
    """
    port, log = _free_port(), folder / "server.log"
    began = time.perf_counter()
    with log.open("wb") as out:
        started = subprocess.Popen(
            contender.command(folder, port), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, **contender.environment}, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(contender, port, started, log)
        process = psutil.Process(started.pid)
        yield Server(contender=contender, port=port, process=process, start=time.perf_counter() - began)
    finally:
        _end(started)


def _job(contender: Contender, port: int, *, connections: int, seconds: float, warm_up: float) -> Job:
    return Job(
        port=port, path=contender.path, bodies=contender.bodies, scores=contender.scores, at=contender.at,
        connections=connections, seconds=seconds, warm_up=warm_up,
    )  # fmt: skip


def _wait(contender: Contender, port: int, started: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until a few answers in a row are right."""
    stop, why = time.monotonic() + PATIENCE, "nothing answers"
    while time.monotonic() < stop and started.poll() is None:
        found = drive(_job(contender, port, connections=1, seconds=0.2, warm_up=0))
        if not found.failures:
            return
        why = found.failure
        time.sleep(0.1)
    ended = "" if started.poll() is None else f" It ended with {started.returncode}."
    last = " / ".join(log.read_text(errors="replace").split("\n")[-4:])[-400:]
    raise NotReadyError(f"{why}.{ended} It printed: {last}")


def _end(started: "subprocess.Popen[bytes]") -> None:
    """Asks the first process to stop, then ends what is left of those it had started; waits until all are gone."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(started.pid).children(recursive=True)
    started.terminate()
    try:
        started.wait(15)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
    _, left = psutil.wait_procs(family, timeout=5)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def _free_port() -> int:
    """A port that is free now, with a free one above it: MLServer takes two."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind((HOST, 0))
            port = int(first.getsockname()[1])
            try:
                second.bind((HOST, port + 1))
            except OSError:
                continue
            return port
