"""What the crash and concurrency tests run in processes of their own, and how such a process is started and killed."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import polars as pl

from headwater.lake import EmbeddedLake, Lake, Published, WriteMode, _steps
from headwater.lake._steps import Step
from headwater.names import MAIN

APPENDED, WRITTEN, FOLDER = "shop/appended", "shop/written", "shop/folder"
FIRST = pl.DataFrame({"id": [1, 2, 3], "text": ["a", None, "c"]})
NEXT = pl.DataFrame({"id": [4, 5], "text": ["d", "e"]})

# Processes are forked off a server that has imported the lake and started no thread: quick, and safe for Polars.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.lake.processes"])


def start(target: Callable[..., None], *args: object) -> multiprocessing.process.BaseProcess:
    """A started process."""
    process = _CONTEXT.Process(target=target, args=args)
    process.start()
    return process


def run_killed(target: Callable[..., None], *args: object) -> None:
    """Runs a process to its end, which must be a kill."""
    process = start(target, *args)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def source(folder: Path, number: int) -> Path:
    """A directory for a folder asset."""
    target = folder / f"source-{number}"
    (target / "sub").mkdir(parents=True, exist_ok=True)
    (target / "sub" / "weights").write_bytes(bytes([number]) * 5000)
    (target / "card").write_text("the same each time")
    return target


def found(location: Path) -> Lake:
    """A lake with something at each path."""
    lake = EmbeddedLake.open(location)
    with lake.transaction(id="tx-first") as tx:
        tx.write_table(APPENDED, FIRST)
        tx.write_table(WRITTEN, FIRST)
        tx.write_folder(FOLDER, source(location.parent, 1))
        tx.publish(message="First", provenance=None)
    return lake


def change(lake: Lake, scratch: Path, *, id: str = "tx-next", meanwhile: Callable[[], None] | None = None) -> Published:
    """One transaction that appends, overwrites and replaces a folder."""
    with lake.transaction(id=id) as tx:
        tx.write_table(APPENDED, NEXT, mode=WriteMode.APPEND)
        tx.write_table(WRITTEN, NEXT)
        tx.write_folder(FOLDER, source(scratch, 2))
        if meanwhile:
            meanwhile()
        return tx.publish(message="Next", provenance=None)


def append(lake: Lake, rows: pl.DataFrame = NEXT, *, id: str | None = None) -> Published:
    """One transaction that appends."""
    with lake.transaction(id=id) as tx:
        tx.write_table(APPENDED, rows, mode=WriteMode.APPEND)
        return tx.publish(message="Append", provenance=None)


def versions(lake: Lake, ref: str = MAIN) -> dict[str, str]:
    """Data version of each path at a ref."""
    snapshot = lake.at(ref)
    return {path: snapshot.entry(path).data_version for path in snapshot.paths()}


def die_at(step: Step) -> None:
    """From now on the process ends at `step`, as by `kill -9`."""
    _steps.hook = lambda reached: os.kill(os.getpid(), signal.SIGKILL) if reached is step else None


def change_and_die(location: Path, step: Step) -> None:
    """`change`, killed at a step."""
    lake = EmbeddedLake.open(location)
    die_at(step)
    change(lake, location.parent)


def replay_and_die(location: Path, step: Step) -> None:
    """`change` whose append has to be replayed on another's, killed at a step of the publication."""
    lake = EmbeddedLake.open(location)

    def meanwhile() -> None:
        append(lake, id="tx-other")
        die_at(step)

    change(lake, location.parent, meanwhile=meanwhile)


def refuse_and_die(location: Path, step: Step) -> None:
    """A refused transaction, killed at a step."""
    lake = EmbeddedLake.open(location)
    die_at(step)
    with lake.transaction(id="tx-refused") as tx:
        tx.write_table(WRITTEN, NEXT)
        tx.refuse(message="Refuse", provenance=None)


def open_and_die(location: Path, step: Step) -> None:
    """The first opening of a lake, killed at a step."""
    die_at(step)
    EmbeddedLake.open(location)


def collect_and_die(location: Path, step: Step) -> None:
    """A garbage collection, killed at a step."""
    from datetime import timedelta

    from headwater.lake import Retention

    lake = EmbeddedLake.open(location)
    die_at(step)
    lake.gc(grace=timedelta(0), retention=Retention(keep_commits=1))


def build(location: Path, count: int) -> None:
    """A build of several transactions, each of which an earlier try may have published."""
    lake = EmbeddedLake.open(location)
    for number in range(count):
        if lake.find_transaction(f"tx-{number}") is None:
            with lake.transaction(id=f"tx-{number}") as tx:
                tx.write_table(APPENDED, FIRST.with_columns(pl.col("id") + number), mode=WriteMode.APPEND)
                tx.write_table(f"shop/table_{number % 3}", FIRST.with_columns(pl.col("id") * number))
                tx.write_folder(FOLDER, source(location.parent, number))
                tx.publish(message=f"Build {number}", provenance=None)


def work(location: Path, name: int, count: int) -> None:
    """One of several processes that publish to paths of their own and append to a shared one."""
    lake = EmbeddedLake.open(location)
    for number in range(count):
        with lake.transaction(id=f"own-{name}-{number}") as tx:
            tx.write_table(f"shop/own_{name}", pl.DataFrame({"id": [number]}))
            tx.publish(message="Own", provenance=None)
        append(lake, pl.DataFrame({"id": [name * 1000 + number], "text": [str(name)]}), id=f"shared-{name}-{number}")
