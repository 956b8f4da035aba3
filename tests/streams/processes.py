"""Consumers in processes of their own, and how they are started and killed."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

from headwater.lake import EmbeddedLake, _steps
from headwater.lake._steps import Step
from headwater.materialize import _adding
from headwater.streams import EventLog, FileLog, KafkaLog, Limits, catch_up, ingest
from tests.streams.scenario import NOW, RUN, SOURCE

# Processes are forked off a server that has imported the lake and started no thread: quick, and safe for Polars.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.streams.processes"])

FEW = Limits(events=40)


def start(target: Callable[..., None], *args: object) -> multiprocessing.process.BaseProcess:
    """A started process."""
    process = _CONTEXT.Process(target=target, args=args)
    process.start()
    return process


def open_log(place: str) -> EventLog:
    """A log by its place: a folder, or `host:port/topic`."""
    servers, _, topic = place.partition("/")
    return KafkaLog(servers, topic, timeout=10) if ":" in servers else FileLog(Path(place))


def consume(location: Path, place: str, ended: Path) -> None:
    """Takes events in small batches until a file says that no more come."""
    lake, log = EmbeddedLake.open(location), open_log(place)
    while True:
        is_last = ended.exists()
        catch_up(lake, SOURCE, log, run=RUN, limits=FEW, now=NOW)
        if is_last:
            break
    log.close()


def ingest_and_die(location: Path, place: str, step: Step, most_files: int = 500) -> None:
    """One batch, killed at a step of its publication; tables of `most_files` are written as a whole."""
    _adding._MOST_FILES = most_files  # type: ignore[misc]
    lake, log = EmbeddedLake.open(location), open_log(place)
    _steps.hook = lambda reached: os.kill(os.getpid(), signal.SIGKILL) if reached is step else None
    ingest(lake, SOURCE, log, run=RUN, limits=FEW, now=NOW)
