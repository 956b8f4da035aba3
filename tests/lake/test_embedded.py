"""What the embedded lake does beyond the interface: plain views, cheap branches, bounded logs, locations."""

import os
import sqlite3
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from headwater.lake import EmbeddedLake, WriteMode
from headwater.lake.errors import MergeConflictError, RefNotFoundError
from headwater.names import MAIN, InvalidNameError

ROWS = pl.DataFrame({"id": [1, 2, 3], "text": ["a", None, "c"]})
PATH = "shop/datasets/orders"


@pytest.fixture
def lake(tmp_path: Path) -> EmbeddedLake:
    return EmbeddedLake.open(tmp_path / "lake")


def _publish(
    lake: EmbeddedLake, path: str = PATH, data: pl.DataFrame = ROWS, *, into: str = MAIN, append: bool = False
) -> None:
    with lake.transaction(into=into) as tx:
        tx.write_table(path, data, mode=WriteMode.APPEND if append else WriteMode.OVERWRITE)
        tx.publish(message="Write", provenance=None)


def test_any_tool_opens_the_tables_of_main_by_their_paths(lake: EmbeddedLake) -> None:
    _publish(lake)
    place = lake.location / MAIN / PATH
    assert place.is_symlink()
    assert not os.path.isabs(place.readlink())
    assert DeltaTable(str(place)).to_pyarrow_table().num_rows == 3
    assert pl.read_delta(str(place)).equals(ROWS)
    with duckdb.connect() as connection:
        assert connection.sql(f"SELECT sum(id) FROM read_parquet('{place}/*.parquet')").fetchall() == [(6,)]


def test_the_view_of_main_follows_every_publication(lake: EmbeddedLake) -> None:
    place = lake.location / MAIN / PATH
    for number in range(3):
        _publish(lake, data=ROWS.with_columns(pl.col("id") + number))
        assert pl.read_delta(str(place)).get_column("id").to_list() == [1 + number, 2 + number, 3 + number]
    lake.revert(MAIN)
    assert pl.read_delta(str(place)).get_column("id").to_list() == [2, 3, 4]
    with lake.transaction() as tx:
        tx.remove(PATH)
        tx.publish(message="Remove", provenance=None)
    assert not place.exists()
    assert list((lake.location / MAIN).iterdir()) == []


def test_other_branches_have_a_view_from_when_it_is_first_asked_for(lake: EmbeddedLake) -> None:
    _publish(lake)
    lake.create_branch("dev")
    assert not (lake.location / "branches").exists()
    view = lake.view("dev")
    _publish(lake, data=ROWS.head(1), into="dev")
    assert pl.read_delta(str(view / PATH)).height == 1
    assert pl.read_delta(str(lake.location / MAIN / PATH)).height == 3
    assert lake.verify().clean
    lake.delete_branch("dev")
    assert not view.exists()
    for name, error in (("absent", RefNotFoundError), ("../out", InvalidNameError)):
        with pytest.raises(error):
            lake.view(name)


def test_a_lake_may_be_moved(lake: EmbeddedLake, tmp_path: Path) -> None:
    _publish(lake)
    lake.close()
    lake.location.rename(tmp_path / "elsewhere")
    moved = EmbeddedLake.open(tmp_path / "elsewhere", create=False)
    assert moved.at(MAIN).table(PATH).collect().equals(ROWS)
    assert moved.verify(deep=True).clean


def test_a_lake_opened_by_a_relative_path_survives_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lake = EmbeddedLake.open(Path("state/lake"))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    _publish(lake)
    assert lake.at(MAIN).table(PATH).collect().equals(ROWS)


def _count(lake: EmbeddedLake, what: str) -> int:
    connection = sqlite3.connect(lake.location / "catalog.sqlite")
    try:
        return int(connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0])
    finally:
        connection.close()


def test_a_branch_is_one_row(lake: EmbeddedLake) -> None:
    _publish(lake)
    before = {what: _count(lake, what) for what in ("nodes", "commits", "refs")}
    lake.create_branch("dev")
    assert _count(lake, "nodes") == before["nodes"]
    assert _count(lake, "commits") == before["commits"]
    assert _count(lake, "refs") == before["refs"] + 1


def test_publishing_one_table_does_not_grow_with_the_number_of_assets(lake: EmbeddedLake, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("x")
    with lake.transaction() as tx:
        for number in range(120):
            tx.write_folder(f"shop/asset_{number}", tmp_path / "source")
        tx.publish(message="Many", provenance=None)
    before = _count(lake, "nodes")
    _publish(lake)
    assert _count(lake, "nodes") - before <= 4


def test_equal_files_are_stored_once(lake: EmbeddedLake, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "weights").write_bytes(os.urandom(10_000))
    with lake.transaction() as tx:
        for number in range(3):
            tx.write_folder(f"shop/copy_{number}", tmp_path / "source")
        tx.publish(message="Copies", provenance=None)
    objects = [file for file in (lake.location / "objects").rglob("*") if file.is_file()]
    assert len(objects) == 1
    assert objects[0].stat().st_mode & 0o222 == 0


def test_a_table_keeps_its_live_files_only_and_a_bounded_log(lake: EmbeddedLake) -> None:
    for _ in range(45):
        _publish(lake, append=True, data=ROWS.head(1))
    entry = lake.at(MAIN).entry(PATH)
    assert (entry.files, entry.rows, entry.delta_version) == (45, 45, 44)
    assert len(list((lake.location / MAIN / PATH / "_delta_log").iterdir())) < 35
    assert lake.at(f"{MAIN}~30").table(PATH).collect().height == 15
    _publish(lake)
    assert lake.at(MAIN).entry(PATH).files == 1
    assert len([file for file in (lake.location / MAIN / PATH).iterdir() if file.suffix == ".parquet"]) == 1
    assert lake.verify(deep=True).clean


def test_an_abandoned_log_does_not_hold_back_writers(lake: EmbeddedLake) -> None:
    for number in range(3):
        _publish(lake, data=ROWS.head(number + 1))
    log = lake.log()
    next(log)
    other = EmbeddedLake.open(lake.location)
    _publish(other, "shop/other")
    _publish(lake, "shop/third")
    assert len(list(log)) == 3
    assert lake.at(MAIN).paths() == (PATH, "shop/other", "shop/third")


def test_long_histories_are_read_in_pages(lake: EmbeddedLake) -> None:
    _publish(lake)
    path = lake.location / "source"
    path.mkdir()
    for number in range(210):
        (path / "file").write_text(str(number))
        with lake.transaction() as tx:
            tx.write_folder("shop/folder", path)
            tx.publish(message=str(number), provenance=None)
    path.joinpath("file").unlink()
    path.rmdir()
    assert [commit.message for commit in lake.log()] == [*map(str, reversed(range(210))), "Write", "Begin the lake"]
    assert len(list(lake.log(path="shop/folder"))) == 210
    assert lake.last_write(MAIN, PATH).message == "Write"
    assert lake.resolve(f"{MAIN}~211").parents == ()


@pytest.mark.parametrize("second", [[1, 2], [3]])
def test_a_partition_written_twice_from_one_base_never_holds_both(lake: EmbeddedLake, second: list[int]) -> None:
    def month(key: str, values: list[int]) -> pl.DataFrame:
        return pl.DataFrame({"month": [key] * len(values), "x": values})

    with lake.transaction() as tx:
        tx.write_table(PATH, month("01", [0]), partition=("month", "01"))
        tx.publish(message="First month", provenance=None)
    with lake.transaction() as late:
        late.write_table(PATH, month("02", second), partition=("month", "02"))
        with lake.transaction() as rival:
            rival.write_table(PATH, month("02", [1, 2]), partition=("month", "02"))
            rival.publish(message="Rival", provenance=None)
        if second == [1, 2]:
            assert not late.publish(message="The same", provenance=None).changed
        else:
            with pytest.raises(MergeConflictError):
                late.publish(message="Other", provenance=None)
    found = lake.at(MAIN).table(PATH).filter(pl.col("month") == "02").collect()
    assert sorted(found["x"].to_list()) == [1, 2]
