"""What is stale, and why: read from the lake alone."""

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._plan import undeclared
from headwater.code_version import code_version
from headwater.lake import EmbeddedLake, Kind, Retention
from headwater.lake._removal import remove_path
from headwater.materialize import Outcome, Run, Status, materialize, why_held, why_stale
from headwater.product import Asset, Inputs, Partitions, Result, table


@pytest.fixture
def lake(tmp_path: Path) -> EmbeddedLake:
    return EmbeddedLake.open(tmp_path / "lake")


def numbers(values: list[int]) -> Asset:
    @table("toy/numbers")
    def numbers_(inputs: Inputs) -> pl.DataFrame:
        """Numbers."""
        return pl.DataFrame({"x": values})

    return numbers_


@table("toy/count", inputs=["toy/numbers"])
def count(inputs: Inputs) -> pl.LazyFrame:
    """How many."""
    return inputs.table("toy/numbers").select(n=pl.len())


@table("toy/total", inputs=["toy/count"])
def total(inputs: Inputs) -> pl.LazyFrame:
    """The same again."""
    return inputs.table("toy/count")


def build(lake: EmbeddedLake, asset: Asset, **more: Any) -> Outcome:
    return materialize(lake, asset, run=Run(actor="test"), **more)


def stale(lake: EmbeddedLake, asset: Asset, **more: Any) -> list[str]:
    return [reason.what for reason in why_stale(lake, lake.at("main"), asset, code=code_version(asset), **more)]


def test_what_was_never_built_is_missing(lake: EmbeddedLake) -> None:
    assert stale(lake, count) == ["missing"]


def test_what_was_just_built_is_fresh(lake: EmbeddedLake) -> None:
    build(lake, numbers([1]))
    build(lake, count)
    assert stale(lake, count) == []


def test_a_changed_input_makes_stale_what_reads_it(lake: EmbeddedLake) -> None:
    build(lake, numbers([1]))
    build(lake, count)
    build(lake, numbers([1, 2]))
    assert stale(lake, count) == ["input"]


def test_a_changed_function_makes_stale(lake: EmbeddedLake) -> None:
    build(lake, numbers([1]))
    build(lake, count)

    @table("toy/count", inputs=["toy/numbers"])
    def other(inputs: Inputs) -> pl.LazyFrame:
        """How many."""
        return inputs.table("toy/numbers").select(n=pl.len() + 1)

    assert stale(lake, other) == ["code"]


def test_a_rebuild_that_comes_out_equal_is_fresh_and_publishes_nothing(lake: EmbeddedLake) -> None:
    build(lake, numbers([1]))
    build(lake, count)
    build(lake, total)
    build(lake, numbers([7]))
    head = lake.resolve("main").id
    assert build(lake, count).status is Status.UNCHANGED
    assert lake.resolve("main").id == head
    assert stale(lake, count) == []
    assert stale(lake, total) == []


def test_a_reverted_asset_stays_as_it_was_put_back_until_an_input_changes(lake: EmbeddedLake) -> None:
    build(lake, numbers([1]))
    build(lake, count)
    build(lake, numbers([1, 2]))
    done = build(lake, count)
    assert done.commit is not None
    lake.revert(done.commit, actor="user:ada")
    assert lake.at("main").table("toy/count").collect().item() == 1
    assert stale(lake, count) == []
    build(lake, numbers([1, 2, 3]))
    assert stale(lake, count) == ["input"]


def test_a_reverted_input_makes_stale_what_reads_it(lake: EmbeddedLake) -> None:
    build(lake, numbers([1]))
    build(lake, count)
    changed = build(lake, numbers([1, 2]))
    build(lake, count)
    assert changed.commit is not None
    lake.revert(changed.commit)
    assert stale(lake, count) == ["input"]


def test_a_landed_file_of_equal_content_keeps_fresh_and_another_one_does_not(
    lake: EmbeddedLake, tmp_path: Path
) -> None:
    file = tmp_path / "landing" / "toy" / "n.txt"
    file.parent.mkdir(parents=True)
    file.write_text("1")

    @table("toy/landed", landed=("n.txt",))
    def landed(inputs: Inputs) -> pl.DataFrame:
        """The number in the file."""
        return pl.DataFrame({"x": [int(inputs.landed("n.txt").read_text())]})

    landing = tmp_path / "landing"
    build(lake, landed, landing=landing)
    assert stale(lake, landed, landing=landing) == []
    file.write_text("2")
    assert stale(lake, landed, landing=landing) == ["landed"]
    file.unlink()
    assert stale(lake, landed, landing=landing) == []


def test_partitions_are_stale_one_by_one(lake: EmbeddedLake) -> None:
    values = {"2013-01": 1, "2013-02": 2}

    @table("toy/months", partitions=Partitions.months("2013-01", "2013-02"))
    def months(inputs: Inputs, key: str) -> pl.DataFrame:
        """By month."""
        return pl.DataFrame({"x": [values[key]]})

    build(lake, months, partition="2013-01")
    assert stale(lake, months, partition="2013-01") == []
    assert stale(lake, months, partition="2013-02") == ["missing"]


def test_code_changed_after_a_revert_makes_stale(lake: EmbeddedLake) -> None:
    build(lake, numbers([1]))
    build(lake, count)

    @table("toy/count", inputs=["toy/numbers"])
    def wrong(inputs: Inputs) -> pl.LazyFrame:
        """How many, wrongly."""
        return inputs.table("toy/numbers").select(n=pl.len() + 7)

    done = build(lake, wrong)
    lake.revert(str(done.commit), actor="user:ada")
    assert stale(lake, wrong) == []
    assert stale(lake, count) == ["code"]


def test_a_revert_leaves_stale_a_partition_that_was_stale_before_it(lake: EmbeddedLake) -> None:
    source = numbers([1])

    @table("toy/months", inputs=["toy/numbers"], partitions=Partitions.months("2013-01", "2013-02"))
    def months(inputs: Inputs, key: str) -> pl.LazyFrame:
        """By month."""
        return inputs.table("toy/numbers").with_columns(month=pl.lit(key))

    build(lake, source)
    build(lake, months, partition="2013-01")
    build(lake, months, partition="2013-02")
    build(lake, numbers([2]))
    changed = build(lake, months, partition="2013-01")
    assert stale(lake, months, partition="2013-02") == ["input"]
    lake.revert(str(changed.commit))
    assert stale(lake, months, partition="2013-02") == ["input"]
    assert stale(lake, months, partition="2013-01") == []


def test_rebuilds_that_come_out_equal_leave_a_bounded_number_of_records(lake: EmbeddedLake) -> None:
    @table("toy/constant", inputs=["toy/numbers"], partitions=Partitions.months("2013-01", "2013-02"))
    def constant(inputs: Inputs, key: str) -> pl.LazyFrame:
        """One, whatever the input."""
        return inputs.table("toy/numbers").select(n=pl.lit(1)).head(1)

    build(lake, numbers([0]))
    for key in ("2013-01", "2013-02"):
        build(lake, constant, partition=key)
    build(lake, numbers([100]))
    build(lake, constant, partition="2013-02")
    for value in range(22):
        build(lake, numbers([value, value]))
        assert build(lake, constant, partition="2013-01").status is Status.UNCHANGED
        assert stale(lake, constant, partition="2013-01") == []
    kept = [record.outputs[0].partition for record in lake.attestations("toy/constant")]
    assert (kept.count("2013-01"), kept.count("2013-02")) == (20, 1)


def test_a_model_built_again_to_the_same_bytes_by_other_code_keeps_its_version(lake: EmbeddedLake) -> None:
    def model(note: str) -> Asset:
        def train(inputs: Inputs, folder: Path) -> Result:
            (folder / "weights").write_text("1")
            return Result(facts={"signature": "s"})

        return Asset(path="toy/model", kind=Kind.FOLDER, compute=train, versioned=True, declaration={"note": note})

    build(lake, model("one"))
    again = build(lake, model("two"))
    assert again.status is Status.UNCHANGED
    assert again.facts["model_version"] == "1.0.0"
    assert stale(lake, model("two")) == []


@table("toy/landed", landed=("{partition}.txt",), partitions=Partitions.months("2013-01", "2013-03"))
def landed_months(inputs: Inputs, key: str) -> pl.DataFrame:
    """The number in each month's file."""
    return pl.DataFrame({"x": [int(inputs.landed(f"{key}.txt").read_text())]})


@table("toy/below", inputs=["toy/landed"], partitions=Partitions.months("2013-01", "2013-03"))
def below_months(inputs: Inputs, key: str) -> pl.LazyFrame:
    """The same by month."""
    return inputs.table("toy/landed")


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing" / "toy"
    folder.mkdir(parents=True)
    for key in ("2013-01", "2013-02"):
        (folder / f"{key}.txt").write_text(key[-1])
    return tmp_path / "landing"


def held(lake: EmbeddedLake, asset: Asset, **more: Any) -> list[str]:
    return [reason.what for reason in why_held(lake, lake.at("main"), asset, code=code_version(asset), **more)]


@pytest.mark.parametrize("others", [[], ["2013-02"]], ids=["the only month", "one month of two"])
def test_a_first_publication_that_was_reverted_stays_away_until_its_file_changes(
    lake: EmbeddedLake, landing: Path, others: list[str]
) -> None:
    for key in others:
        build(lake, landed_months, partition=key, landing=landing)
    assert stale(lake, landed_months, partition="2013-01", landing=landing) == ["missing"]
    done = build(lake, landed_months, partition="2013-01", landing=landing)
    lake.revert(str(done.commit), actor="user:ada")
    assert stale(lake, landed_months, partition="2013-01", landing=landing) == []
    assert held(lake, landed_months, partition="2013-01", landing=landing) == ["taken back"]
    assert held(lake, landed_months, partition="2013-02", landing=landing) == []
    (landing / "toy" / "2013-01.txt").write_text("7")
    assert stale(lake, landed_months, partition="2013-01", landing=landing) == ["missing"]
    assert build(lake, landed_months, partition="2013-01", landing=landing).status is Status.PUBLISHED
    assert stale(lake, landed_months, partition="2013-01", landing=landing) == []
    assert held(lake, landed_months, partition="2013-01", landing=landing) == []


def test_a_reverted_first_publication_is_built_again_by_other_code(lake: EmbeddedLake) -> None:
    lake.revert(str(build(lake, numbers([1])).commit))
    assert stale(lake, numbers([1])) == []
    assert stale(lake, numbers([2])) == ["missing"]


@pytest.mark.parametrize("stood", [True, False], ids=["built before", "never built"])
def test_a_month_whose_upstream_month_is_gone_waits_and_says_so(lake: EmbeddedLake, landing: Path, stood: bool) -> None:
    build(lake, landed_months, partition="2013-02", landing=landing)
    done = build(lake, landed_months, partition="2013-01", landing=landing)
    for key in ("2013-01", "2013-02") if stood else ("2013-02",):
        build(lake, below_months, partition=key)
    lake.revert(str(done.commit))
    assert stale(lake, below_months, partition="2013-01") == []
    reasons = why_held(lake, lake.at("main"), below_months, code=code_version(below_months), partition="2013-01")
    assert [str(reason) for reason in reasons] == ["missing upstream: toy/landed 2013-01 is not there"]
    assert held(lake, below_months, partition="2013-02") == []
    (landing / "toy" / "2013-01.txt").write_text("7")
    build(lake, landed_months, partition="2013-01", landing=landing)
    assert stale(lake, below_months, partition="2013-01") == (["input"] if stood else ["missing"])


def collect(lake: EmbeddedLake, *, by_older: bool = False) -> None:
    """Three more commits, and the nightly collection; or what an older Headwater's left, which kept no tree of these."""
    for number in range(3):
        with lake.transaction() as tx:
            tx.write_table("toy/other", pl.DataFrame({"x": [number]}))
            tx.publish(message="Other", provenance=None)
    lake.gc(grace=timedelta(0), retention=Retention(keep_commits=1))
    if by_older:
        with sqlite3.connect(lake.location / "catalog.sqlite") as catalog:
            catalog.execute("UPDATE commits SET collected = 1 WHERE id <> ?", (lake.resolve("main").id,))


@pytest.mark.parametrize("by_older", [False, True], ids=["now", "by an older Headwater"])
def test_what_was_put_back_stays_so_after_a_collection(lake: EmbeddedLake, by_older: bool) -> None:
    """`headwater status` and `build` ended for every product once the revert was older than the retention."""
    build(lake, numbers([1]))
    build(lake, count)
    build(lake, numbers([1, 2]))
    lake.revert(str(build(lake, count).commit), actor="user:ada")
    collect(lake, by_older=by_older)
    assert stale(lake, count) == []
    build(lake, numbers([1, 2, 3]))
    assert stale(lake, count) == ["input"]


def test_what_an_input_was_at_a_revert_is_known_after_a_collection(lake: EmbeddedLake) -> None:
    build(lake, numbers([1]))
    build(lake, count)
    build(lake, numbers([1, 2]))
    done = build(lake, count)
    build(lake, numbers([1, 2, 3]))
    lake.revert(str(done.commit), actor="user:ada")
    assert stale(lake, count) == []
    collect(lake)
    assert stale(lake, count) == []


def test_what_a_merge_or_somebody_outside_put_there_stays_so_after_a_collection(lake: EmbeddedLake) -> None:
    build(lake, numbers([1]))
    lake.create_branch("try")
    build(lake, count, branch="try")
    lake.merge("try", into="main", message="Merge try")
    lake.delete_branch("try")
    with lake.transaction() as tx:
        tx.write_table("toy/total", pl.DataFrame({"n": [7]}))
        tx.publish(message="By hand", provenance=None)
    collect(lake)
    assert (stale(lake, count), stale(lake, total)) == ([], [])
    build(lake, numbers([1, 2]))
    assert stale(lake, count) == ["input"]


@pytest.mark.parametrize("by_older", [False, True], ids=["now", "by an older Headwater"])
@pytest.mark.parametrize("others", [[], ["2013-02"]], ids=["the only month", "one month of two"])
def test_a_first_publication_that_was_taken_back_stays_away_after_a_collection(
    lake: EmbeddedLake, landing: Path, others: list[str], by_older: bool
) -> None:
    """Withdrawn data were published again, without a word."""
    for key in others:
        build(lake, landed_months, partition=key, landing=landing)
    done = build(lake, landed_months, partition="2013-01", landing=landing)
    lake.revert(str(done.commit), actor="user:ada")
    collect(lake, by_older=by_older)
    assert stale(lake, landed_months, partition="2013-01", landing=landing) == []
    assert held(lake, landed_months, partition="2013-01", landing=landing) == ["taken back"]
    assert stale(lake, landed_months, partition="2013-02", landing=landing) == ([] if others else ["missing"])
    (landing / "toy" / "2013-01.txt").write_text("7")
    assert stale(lake, landed_months, partition="2013-01", landing=landing) == ["missing"]


def test_what_reads_a_table_that_was_taken_back_waits_and_says_so(lake: EmbeddedLake) -> None:
    done = build(lake, numbers([1]))
    lake.revert(str(done.commit))
    assert stale(lake, count) == []
    assert held(lake, count) == ["missing upstream"]


def test_other_partitions_than_before_are_other_code_also_after_a_removal(lake: EmbeddedLake) -> None:
    """Partitioned, then declared whole and taken out of the lake: it waited for ever, as if nothing had changed."""

    @table("toy/parts", partitions=Partitions(column="period", keys=("a", "b")))
    def parts(inputs: Inputs, partition: str) -> pl.DataFrame:
        """One row."""
        return pl.DataFrame({"period": [partition], "x": [1]})

    @table("toy/parts")
    def whole(inputs: Inputs) -> pl.DataFrame:
        """One row."""
        return pl.DataFrame({"x": [1]})

    build(lake, parts, partition="a")
    remove_path(lake, "toy/parts", into="main")
    assert stale(lake, parts, partition="a") == []
    assert held(lake, parts, partition="a") == ["taken back"]
    assert stale(lake, whole) == ["missing"]
    assert build(lake, whole).status is Status.PUBLISHED


def test_what_is_read_but_made_by_nobody_is_not_called_forsaken(lake: EmbeddedLake) -> None:
    for path in ("toy/numbers", "toy/left"):
        with lake.transaction() as tx:
            tx.write_table(path, pl.DataFrame({"x": [1]}))
            tx.publish(message="By hand", provenance=None)
    assert undeclared(lake.at("main"), [count]) == ("toy/left",)
    assert undeclared(lake.at("main"), [count], product="other") == ()
