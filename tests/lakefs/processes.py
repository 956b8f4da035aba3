"""What the crash tests run in processes of their own."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from headwater.lake import Published, WriteMode, _steps
from headwater.lake._steps import Step
from headwater.lake.errors import MergeConflictError
from headwater.lake.lakefs import LakeFSLake, LakeFSSettings

APPENDED, WRITTEN, FOLDER = "shop/appended", "shop/written", "shop/folder"
FIRST = pl.DataFrame({"id": [1, 2, 3], "text": ["a", None, "c"]})
NEXT = pl.DataFrame({"id": [4, 5], "text": ["d", "e"]})

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.lakefs.processes", "boto3", "lakefs_sdk.client"])


def run_killed(target: Callable[..., None], *args: object) -> None:
    """Runs a process to its end, which must be a kill."""
    process = _CONTEXT.Process(target=target, args=args)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def start(target: Callable[..., None], *args: object) -> multiprocessing.process.BaseProcess:
    """A started process."""
    process = _CONTEXT.Process(target=target, args=args)
    process.start()
    return process


def source(folder: Path, number: int) -> Path:
    """A directory for a folder asset."""
    target = folder / f"source-{number}"
    (target / "sub").mkdir(parents=True, exist_ok=True)
    (target / "sub" / "weights").write_bytes(bytes([number]) * 5000)
    return target


def found(settings: LakeFSSettings, scratch: Path) -> LakeFSLake:
    """A lake with something at each path."""
    lake = LakeFSLake.open(settings)
    with lake.transaction(id="tx-first") as tx:
        tx.write_table(APPENDED, FIRST)
        tx.write_table(WRITTEN, FIRST)
        tx.write_folder(FOLDER, source(scratch, 1))
        tx.publish(message="First", provenance=None)
    return lake


def change(lake: LakeFSLake, scratch: Path, *, meanwhile: Callable[[], None] | None = None) -> Published:
    """One transaction that appends, overwrites and replaces a folder; `meanwhile` is called before it publishes."""
    with lake.transaction(id="tx-next") as tx:
        tx.write_table(APPENDED, NEXT, mode=WriteMode.APPEND)
        tx.write_table(WRITTEN, NEXT)
        tx.write_folder(FOLDER, source(scratch, 2))
        if meanwhile is not None:
            meanwhile()
        return tx.publish(message="Next", provenance=None)


def append_meanwhile(lake: LakeFSLake) -> None:
    """Somebody else's append."""
    with lake.transaction(id="tx-other") as tx:
        tx.write_table(APPENDED, NEXT, mode=WriteMode.APPEND)
        tx.publish(message="Other", provenance=None)


def change_and_die(settings: LakeFSSettings, scratch: Path, step: Step, replay: bool) -> None:
    """Kills itself at a step of `change`; with `replay`, of its publication over somebody else's append."""
    lake = LakeFSLake.open(settings)

    def die(reached: Step) -> None:
        if reached is step:
            os.kill(os.getpid(), signal.SIGKILL)

    def disturb() -> None:
        append_meanwhile(LakeFSLake.open(settings))
        _steps.hook = die

    if not replay:
        _steps.hook = die
    change(lake, scratch, meanwhile=disturb if replay else None)
    raise AssertionError(f"{step} was never reached.")


def build(settings: LakeFSSettings, scratch: Path, rounds: int) -> None:
    """Publishes `change` and further appends, each once however often it is started."""
    lake = LakeFSLake.open(settings)
    change(lake, scratch)
    for number in range(rounds):
        with lake.transaction(id=f"tx-{number}") as tx:
            tx.write_table(APPENDED, pl.DataFrame({"id": [100 + number], "text": ["x"]}), mode=WriteMode.APPEND)
            tx.publish(message=f"Round {number}", provenance=None)


def versions(lake: LakeFSLake) -> dict[str, str]:
    """The data version of each path of main."""
    snapshot = lake.at("main")
    return {path: snapshot.entry(path).data_version for path in snapshot.paths()}


def _wait_for_go(scratch: Path, number: int) -> None:
    """Says that this process is ready, and waits until all are told to go."""
    (scratch / f"ready-{number}").touch()
    while not (scratch / "go").exists():
        time.sleep(0.005)


def write_after(settings: LakeFSSettings, scratch: Path, number: int, values: list[int]) -> None:
    """Overwrites a table at the same instant as another process, and tells how that ended."""
    lake = LakeFSLake.open(settings)
    with lake.transaction() as tx:
        tx.write_table("shop/orders", pl.DataFrame({"id": values}))
        _wait_for_go(scratch, number)
        try:
            told = "published" if tx.publish(message="Write", provenance=None).changed else "equal"
        except MergeConflictError as error:
            told = type(error).__name__
    (scratch / f"done-{number}").write_text(told)


def append_after(settings: LakeFSSettings, scratch: Path, number: int) -> None:
    """Appends a row at the same instant as another process."""
    lake = LakeFSLake.open(settings)
    with lake.transaction() as tx:
        tx.write_table("shop/orders", pl.DataFrame({"id": [100 + number]}), mode=WriteMode.APPEND)
        _wait_for_go(scratch, number)
        tx.publish(message="Append", provenance=None)
