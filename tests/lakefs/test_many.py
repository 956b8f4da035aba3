"""More than a page of everything, two writers in processes of their own, and clocks that disagree."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from headwater.lake import WriteMode
from headwater.lake.errors import MergeConflictError
from headwater.lake.lakefs import LakeFSLake, LakeFSSettings, _api, _server
from headwater.names import MAIN, TRANSACTION_KEY
from tests.lakefs.processes import append_after, start, write_after

TABLE = "shop/orders"
ROWS = pl.DataFrame({"id": [1, 2, 3]})


def write(lake: LakeFSLake, frame: pl.DataFrame, *, id: str | None = None, into: str = MAIN) -> str:
    with lake.transaction(id=id, into=into) as tx:
        tx.write_table(TABLE, frame)
        return tx.publish(message="Write", provenance=None).commit.id


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listings of three items a page, so that few things need many pages."""
    monkeypatch.setattr(_api, "PAGE", 3)
    monkeypatch.setattr(_server, "PAGE", 3)
    monkeypatch.setattr("headwater.lake.lakefs._history.PAGE", 3)
    monkeypatch.setattr("headwater.lake.lakefs._history.FIRST_PAGE", 3)


@pytest.mark.usefixtures("short_pages")
def test_listings_of_many_pages_are_whole(lake: LakeFSLake, settings: LakeFSSettings, tmp_path: Path) -> None:
    first = write(lake, ROWS, id="tx-first")
    names = [f"dev-{number:02d}" for number in range(10)]
    for name in names:
        lake.create_branch(name, at=first)
        lake.tag(f"v{name}", at=first)
    for number in range(12):
        write(lake, pl.DataFrame({"id": [number]}))
    source = tmp_path / "source"
    source.mkdir()
    for number in range(11):
        (source / f"ü {number} %25").write_bytes(bytes([number]))
    with lake.transaction() as tx:
        tx.write_folder("shop/folder", source)
        tx.publish(message="Folder", provenance=None)
    other = LakeFSLake.open(settings, create=False)
    assert [ref.name for ref in other.branches()] == [*names, MAIN]
    assert len(other.tags()) == len(names)
    assert len(list(other.log())) == 15
    assert (found := other.find_transaction("tx-first")) is not None
    assert found.id == first
    assert {file.name: file.read_bytes() for file in other.at(MAIN).folder("shop/folder").iterdir()} == {
        f"ü {number} %25": bytes([number]) for number in range(11)
    }
    result = other.verify()
    assert result.clean
    assert result.commits == 15


@pytest.mark.heavy
def test_a_folder_of_more_files_than_a_page_comes_back_whole(lake: LakeFSLake, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(1005):
        (source / f"{number:04d}").write_bytes(b"x")
    with lake.transaction() as tx:
        tx.write_folder("shop/folder", source)
        tx.publish(message="Folder", provenance=None)
    with lake.transaction() as tx:
        tx.remove("shop/folder")  # more keys than one removal takes
        tx.publish(message="Remove", provenance=None)
    with lake.transaction() as tx:
        for file in list(source.iterdir())[:3]:
            file.unlink()
        tx.write_folder("shop/folder", source)
        tx.publish(message="Folder", provenance=None)
    assert len(list(lake.at(MAIN).folder("shop/folder").iterdir())) == 1002
    assert len(list(lake.at(f"{MAIN}~2").folder("shop/folder").iterdir())) == 1005


@pytest.mark.parametrize("equal", [True, False])
def test_of_two_processes_one_publishes_and_the_other_conflicts_or_comes_out_equal(
    settings: LakeFSSettings, tmp_path: Path, equal: bool
) -> None:
    lake = LakeFSLake.open(settings)
    write(lake, ROWS)
    before = len(list(lake.log()))
    processes = [
        start(write_after, settings, tmp_path, number, [7, 8] if equal else [7, 8 + number]) for number in range(2)
    ]
    for number in range(2):
        _wait_for(tmp_path / f"ready-{number}")
    (tmp_path / "go").touch()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    outcomes = sorted((tmp_path / f"done-{number}").read_text() for number in range(2))
    assert outcomes == (["equal", "published"] if equal else [MergeConflictError.__name__, "published"])
    assert len(list(lake.log())) == before + 1
    assert lake.verify().clean


def test_appends_of_two_processes_at_once_are_both_kept(settings: LakeFSSettings, tmp_path: Path) -> None:
    lake = LakeFSLake.open(settings)
    write(lake, ROWS)
    processes = [start(append_after, settings, tmp_path, number) for number in range(2)]
    for number in range(2):
        _wait_for(tmp_path / f"ready-{number}")
    (tmp_path / "go").touch()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(lake.at(MAIN).table(TABLE).collect()["id"]) == [1, 2, 3, 100, 101]
    assert lake.verify().clean


def _wait_for(file: Path) -> None:
    import time

    end = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < end, f"{file} never came"
        time.sleep(0.01)


def test_a_clock_that_runs_behind_changes_neither_order_nor_result(
    lake: LakeFSLake, settings: LakeFSSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(lake, ROWS, id="tx-now")
    slow = LakeFSLake.open(settings)
    monkeypatch.setattr("headwater.lake.lakefs._working.time.time", lambda: 1_000_000_000.0)
    with slow.transaction(id="tx-past") as tx:
        tx.write_table(TABLE, ROWS, mode=WriteMode.APPEND)
        tx.publish(message="Append", provenance=None)
    monkeypatch.undo()
    assert [commit.metadata.get(TRANSACTION_KEY) for commit in lake.log(limit=2)] == ["tx-past", "tx-now"]
    assert_frame_equal(lake.at(MAIN).table(TABLE).collect(), pl.concat([ROWS, ROWS]))


def test_an_empty_table_passes_through_everything(lake: LakeFSLake) -> None:
    write(lake, ROWS.clear())
    assert lake.at(MAIN).table(TABLE).collect().schema == ROWS.schema
    lake.create_branch("dev")
    with lake.transaction(into="dev") as tx:
        tx.write_table(TABLE, ROWS, mode=WriteMode.APPEND)
        tx.publish(message="Append", provenance=None)
    with lake.transaction() as tx:
        tx.write_table(TABLE, ROWS.clear(), mode=WriteMode.APPEND)
        tx.publish(message="Append nothing", provenance=None)
    lake.merge("dev", into=MAIN, message="Merge")
    assert lake.at(MAIN).table(TABLE).collect().height == 3
    assert lake.verify().clean
