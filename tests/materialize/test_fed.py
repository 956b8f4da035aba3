"""A fed table in general: what it declares, and what its function has to say."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.feeds import Appended, Backlog, Feed
from headwater.lake import EmbeddedLake, Kind
from headwater.materialize import NotFedError, NothingAppendedError, Run, Status, materialize, read_positions
from headwater.product import Asset, DeclarationError, Inputs, Partitions

settled: list[Any] = []
FEED = Feed(
    folder="feeds/toy",
    backlog=lambda folder, positions, most: Backlog(records=0, oldest=None),
    settle=lambda folder, positions: settled.append((folder, positions)),
)


def numbers(inputs: Inputs) -> Appended:
    """The files of the feed that are not in the table, each a number."""
    first = int(inputs.positions.get("next", 0))
    found = sorted(int(file.name) for file in inputs.feed.iterdir() if int(file.name) >= first)
    rows = pl.DataFrame({"x": found}, schema={"x": pl.Int64})
    return Appended(data=rows, positions={"next": found[-1] + 1} if found else inputs.positions)


def fed(compute: Any = numbers, **more: Any) -> Asset:
    return Asset(path="toy/numbers", kind=Kind.TABLE, compute=compute, feed=FEED, **more)


def test_rows_and_positions_grow_together_and_the_feed_is_told_of_what_main_holds(tmp_path: Path) -> None:
    lake, folder = EmbeddedLake.open(tmp_path / "lake"), tmp_path / "feeds" / "toy"
    folder.mkdir(parents=True)
    settled.clear()
    for number in range(3):
        (folder / str(number)).touch()
        assert materialize(lake, fed(), run=Run(), state=tmp_path).status is Status.PUBLISHED
        assert read_positions(lake.at("main"), "toy/numbers") == {"next": number + 1}
    assert materialize(lake, fed(), run=Run(), state=tmp_path).status is Status.UNCHANGED
    assert sorted(lake.at("main").table("toy/numbers").collect()["x"]) == [0, 1, 2]
    assert settled == [(folder, {"next": count}) for count in (1, 2, 3, 3)]


def test_a_run_that_is_tried_again_appends_nothing_twice(tmp_path: Path) -> None:
    lake, folder = EmbeddedLake.open(tmp_path / "lake"), tmp_path / "feeds" / "toy"
    folder.mkdir(parents=True)
    (folder / "0").touch()
    first = materialize(lake, fed(), run=Run(run_id="one"), state=tmp_path)
    again = materialize(lake, fed(), run=Run(run_id="one"), state=tmp_path)
    assert again.commit == first.commit
    assert lake.at("main").table("toy/numbers").collect().height == 1


def test_a_function_that_says_no_positions_is_an_error(tmp_path: Path) -> None:
    lake = EmbeddedLake.open(tmp_path / "lake")
    with pytest.raises(NothingAppendedError, match="returned a DataFrame"):
        materialize(lake, fed(lambda inputs: pl.DataFrame({"x": [1]})), run=Run(), state=tmp_path)


def test_a_feed_is_only_there_where_it_is_declared_and_the_state_folder_is(tmp_path: Path) -> None:
    lake = EmbeddedLake.open(tmp_path / "lake")
    with pytest.raises(NotFedError, match="where the state folder is"):
        materialize(lake, fed(), run=Run())
    unfed = Asset(path="toy/numbers", kind=Kind.TABLE, compute=lambda inputs: inputs.feed)
    with pytest.raises(NotFedError, match="Declare its feed"):
        materialize(lake, unfed, run=Run(), state=tmp_path)


@pytest.mark.parametrize("more", [{"kind": Kind.FOLDER}, {"partitions": Partitions.months("2013-01", "2013-02")}])
def test_a_folder_and_partitions_have_no_feed(more: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match="a table without partitions"):
        Asset(**{"path": "toy/numbers", "kind": Kind.TABLE, "compute": numbers, "feed": FEED, **more})
