"""Processes at once on one lake: nothing is lost, nothing is published twice, nobody sees a half."""

import threading
from pathlib import Path

import polars as pl
import pytest

from headwater.lake import EmbeddedLake, Lake
from headwater.names import MAIN
from tests.lake.processes import APPENDED, append, found, start, work


def _run(location: Path, *, processes: int, count: int) -> None:
    workers = [start(work, location, name, count) for name in range(processes)]
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * processes


def _check_nothing_lost(lake: EmbeddedLake, *, processes: int, count: int) -> None:
    wanted = {name * 1000 + number for name in range(processes) for number in range(count)}
    ids = lake.at(MAIN).table(APPENDED).collect().get_column("id").to_list()
    assert sorted(ids) == sorted([1, 2, 3, *wanted])
    for name in range(processes):
        assert lake.at(MAIN).table(f"shop/own_{name}").collect().get_column("id").to_list() == [count - 1]
    assert len(list(lake.log())) == 2 + 2 * processes * count
    assert lake.verify(deep=True).findings == ()
    assert list((lake.location / "tx").iterdir()) == []


def test_processes_that_publish_at_once_lose_nothing(tmp_path: Path) -> None:
    found(tmp_path / "lake")
    _run(tmp_path / "lake", processes=3, count=4)
    _check_nothing_lost(EmbeddedLake.open(tmp_path / "lake"), processes=3, count=4)


@pytest.mark.heavy
def test_many_processes_that_publish_at_once_lose_nothing(tmp_path: Path) -> None:
    found(tmp_path / "lake")
    _run(tmp_path / "lake", processes=6, count=40)
    _check_nothing_lost(EmbeddedLake.open(tmp_path / "lake"), processes=6, count=40)


def _open(location: Path) -> None:
    EmbeddedLake.open(location)


def test_processes_that_found_a_lake_at_once_found_one(tmp_path: Path) -> None:
    workers = [start(_open, tmp_path / "lake") for _ in range(4)]
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    lake = EmbeddedLake.open(tmp_path / "lake")
    assert len(list(lake.log())) == 1
    assert lake.verify().clean


def test_opening_a_lake_never_sweeps_a_live_transaction(tmp_path: Path) -> None:
    lake = found(tmp_path / "lake")
    with lake.transaction() as tx:
        tx.write_table("shop/new", pl.DataFrame({"id": [1]}))
        worker = start(_open, tmp_path / "lake")
        worker.join(60)
        assert EmbeddedLake.open(tmp_path / "lake").verify().clean
        assert tx.staged().table("shop/new").collect().height == 1
        tx.publish(message="New", provenance=None)
    assert lake.at(MAIN).has("shop/new")


def test_threads_share_one_lake(tmp_path: Path) -> None:
    lake: Lake = found(tmp_path / "lake")
    failures: list[BaseException] = []

    def run(name: int) -> None:
        try:
            for number in range(3):
                append(lake, pl.DataFrame({"id": [name * 100 + number], "text": ["t"]}))
        except BaseException as error:  # noqa: BLE001 - a thread's failure must reach the test
            failures.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert lake.at(MAIN).entry(APPENDED).rows == 3 + 9
