"""A partitioned asset whose function returns other columns than the table that stands: all of it changes, or nothing."""

import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.code_version import code_version
from headwater.lake import EmbeddedLake, Lake
from headwater.lake.lakefs import LakeFSLake, LakeFSSettings
from headwater.materialize import (
    INPUTS_USABLE,
    LandedFileMissingError,
    Outcome,
    PartitionRebuildError,
    Run,
    Status,
    materialize,
    record_of,
    why_stale,
)
from headwater.product import Asset, Audit, Check, Inputs, Partitions, RejectedInputError, Verdict, table
from headwater.testing.lakefs_double import ACCESS_KEY, SECRET_KEY

PATH = "toy/months"
KEYS = ("2013-01", "2013-02", "2013-03")
MONTHS = Partitions.months("2013-01", "2013-06")
OLD, NEW = ["x", "period"], ["x", "y", "period"]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    command = [sys.executable, "-m", "headwater.testing.lakefs_double"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


@pytest.fixture
def lake(tmp_path: Path) -> EmbeddedLake:
    return EmbeddedLake.open(tmp_path / "lake")


@pytest.fixture(params=["embedded", "lakefs"])
def any_lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "embedded":
        return EmbeddedLake.open(tmp_path / "lake")
    settings = LakeFSSettings(
        endpoint=request.getfixturevalue("endpoint"),
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        repository=f"test-{secrets.token_hex(8)}",
        cache=tmp_path / "cache",
        connect_timeout=2,
        read_timeout=10,
        tries=4,
        lease=0,
        backoff=0.02,
    )
    return LakeFSLake.open(settings)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing" / "toy"
    folder.mkdir(parents=True)
    for key in KEYS:
        (folder / f"{key}.txt").write_text(str(int(key[-2:])))
    return tmp_path / "landing"


def months(
    *, new: bool, checks: Sequence[Check] = (), partitions: Partitions = MONTHS, meet: Any = None, wide: Any = None
) -> Asset:
    """Each month's landed number; the new function adds its double."""

    @table(PATH, landed=("{partition}.txt",), partitions=partitions, checks=list(checks), declaration={"new": new})
    def made(inputs: Inputs, key: str) -> pl.LazyFrame:
        """By month."""
        if meet is not None:
            meet(key)
        value = int(inputs.landed(f"{key}.txt").read_text())
        if value < 0:
            raise RejectedInputError(f"{value} is negative.")
        frame = pl.LazyFrame({"x": [value]})
        return frame.with_columns(y=pl.col("x") * 2) if (wide(key) if wide else new) else frame

    return made


def build(lake: Lake, asset: Asset, **more: Any) -> Outcome:
    return materialize(lake, asset, run=Run(actor="test"), **more)


def built(lake: Lake, landing: Path, keys: Sequence[str] = KEYS) -> str:
    """The commit after each month was built with the old columns."""
    for key in keys:
        assert build(lake, months(new=False), partition=key, landing=landing).status is Status.PUBLISHED
    return lake.resolve("main").id


def stale(lake: Lake, asset: Asset, key: str, landing: Path | None = None) -> list[str]:
    now = lake.at("main")
    return [r.what for r in why_stale(lake, now, asset, code=code_version(asset), partition=key, landing=landing)]


def columns(lake: Lake, ref: str = "main") -> list[str]:
    return lake.at(ref).table(PATH).collect_schema().names()


def test_a_new_column_builds_every_month_in_one_commit(any_lake: Lake, landing: Path) -> None:
    lake, asset = any_lake, months(new=True)
    before = built(lake, landing)
    outcome = build(lake, asset, partition="2013-02", landing=landing)
    assert outcome.status is Status.PUBLISHED
    assert lake.resolve("main~1").id == before
    rows = lake.at("main").table(PATH).collect().sort("x")
    assert rows.select(NEW).rows() == [(1, 2, "2013-01"), (2, 4, "2013-02"), (3, 6, "2013-03")]
    assert tuple(lake.at("main").entry(PATH).partitions) == KEYS
    assert columns(lake, before) == OLD
    assert lake.at(before).table(PATH).collect().height == 3
    for key in KEYS:
        assert stale(lake, asset, key, landing) == []
    assert lake.verify().clean


def test_every_month_has_its_own_pins_checks_and_output_in_the_record(any_lake: Lake, landing: Path) -> None:
    lake = any_lake
    built(lake, landing)
    outcome = build(lake, months(new=True), partition="2013-02", landing=landing)
    kept = lake.resolve("main").provenance
    assert kept == outcome.provenance
    assert kept is not None
    assert [output.partition for output in kept.outputs] == ["2013-02", "2013-01", "2013-03"]
    entry = lake.at("main").entry(PATH)
    for key in KEYS:
        record = record_of(lake, lake.at("main"), PATH, key)
        assert record is not None
        assert record.provenance is not None
        assert record.output == record.provenance.outputs[0]
        assert record.output is not None
        assert (record.output.partition, record.output.partition_version) == (key, entry.partitions[key])
        assert record.output.data_version == entry.data_version
        assert [pin.path for pin in record.provenance.inputs] == [f"{key}.txt"]
        assert {check.partition for check in record.provenance.checks} == {key}
    names = [check.name for check in outcome.checks]
    assert len(names) == len(set(names))


def test_a_month_that_changes_later_is_written_into_the_new_table_alone(any_lake: Lake, landing: Path) -> None:
    lake, asset = any_lake, months(new=True)
    built(lake, landing)
    build(lake, asset, partition="2013-01", landing=landing)
    (landing / "toy" / "2013-03.txt").write_text("30")
    assert [stale(lake, asset, key, landing) for key in KEYS] == [[], [], ["landed"]]
    outcome = build(lake, asset, partition="2013-03", landing=landing)
    assert outcome.provenance is not None
    assert [output.partition for output in outcome.provenance.outputs] == ["2013-03"]
    assert sorted(lake.at("main").table(PATH).collect()["y"]) == [2, 4, 60]
    assert [stale(lake, asset, key, landing) for key in KEYS] == [[], [], []]


def test_a_month_that_never_stood_joins_the_rebuilt_ones(lake: EmbeddedLake, landing: Path) -> None:
    built(lake, landing, KEYS[:2])
    build(lake, months(new=True), partition="2013-03", landing=landing)
    assert sorted(lake.at("main").table(PATH).collect()["y"]) == [2, 4, 6]


def test_the_only_month_changes_its_columns(any_lake: Lake, landing: Path) -> None:
    built(any_lake, landing, KEYS[:1])
    outcome = build(any_lake, months(new=True), partition="2013-01", landing=landing)
    assert outcome.status is Status.PUBLISHED
    assert columns(any_lake) == NEW
    assert any_lake.at("main").table(PATH).collect().height == 1


def test_reverting_the_rebuild_puts_all_months_back_and_holds(any_lake: Lake, landing: Path) -> None:
    lake, asset = any_lake, months(new=True)
    built(lake, landing)
    done = build(lake, asset, partition="2013-01", landing=landing)
    lake.revert(str(done.commit))
    assert columns(lake) == OLD
    assert sorted(lake.at("main").table(PATH).collect()["x"]) == [1, 2, 3]
    assert [stale(lake, asset, key, landing) for key in KEYS] == [[], [], []]


def no_twos(audit: Audit) -> Verdict:
    rows = audit.rows().collect()
    return Verdict(passed=2 not in rows["x"], facts={"rows": rows.height})


def test_a_check_that_fails_for_one_month_refuses_all_and_names_it(any_lake: Lake, landing: Path) -> None:
    lake = any_lake
    before = built(lake, landing)
    outcome = build(
        lake, months(new=True, checks=[Check(name="no_twos", judge=no_twos)]), partition="2013-03", landing=landing
    )
    assert outcome.status is Status.REFUSED
    assert lake.resolve("main").id == before
    assert columns(lake) == OLD
    assert outcome.provenance is not None
    verdicts = {check.partition: check for check in outcome.provenance.checks if check.name == "no_twos"}
    assert {key: check.passed for key, check in verdicts.items()} == {
        "2013-01": True,
        "2013-02": False,
        "2013-03": True,
    }
    assert verdicts["2013-02"].facts == {"rows": 1}
    told = next(check for check in outcome.checks if check.name == "no_twos")
    assert not told.passed
    assert told.facts["failed_partitions"] == ["2013-02"]
    refused = lake.resolve(str(outcome.branch))
    assert "no_twos (2013-02)" in refused.message
    assert sorted(lake.at(refused.id).table(PATH).collect().columns) == sorted(NEW)


def test_a_landed_file_that_is_gone_stops_the_rebuild_by_name(any_lake: Lake, landing: Path) -> None:
    lake = any_lake
    before = built(lake, landing)
    (landing / "toy" / "2013-02.txt").unlink()
    with pytest.raises(PartitionRebuildError, match=r"'2013-02' could not be: .*2013-02\.txt") as caught:
        build(lake, months(new=True), partition="2013-01", landing=landing)
    assert isinstance(caught.value.__cause__, LandedFileMissingError)
    assert lake.resolve("main").id == before
    assert lake.at("main").table(PATH).collect().height == 3
    assert [branch.name for branch in lake.branches()] == ["main"]


def test_a_month_that_refuses_its_file_refuses_all(lake: EmbeddedLake, landing: Path) -> None:
    before = built(lake, landing)
    (landing / "toy" / "2013-02.txt").write_text("-2")
    outcome = build(lake, months(new=True), partition="2013-01", landing=landing)
    assert outcome.status is Status.REFUSED
    assert lake.resolve("main").id == before
    usable = next(check for check in outcome.checks if check.name == INPUTS_USABLE)
    assert not usable.passed
    assert usable.facts["failed_partitions"] == ["2013-02"]
    assert usable.facts["problem"] == "-2 is negative."


def test_months_that_come_out_with_different_columns_are_not_mixed(lake: EmbeddedLake, landing: Path) -> None:
    before = built(lake, landing)
    asset = months(new=True, wide=lambda key: key == "2013-01")
    with pytest.raises(PartitionRebuildError, match=r"'2013-02' could not be: .*lacks 'y'"):
        build(lake, asset, partition="2013-01", landing=landing)
    assert lake.resolve("main").id == before


def test_a_month_that_is_no_longer_declared_is_not_dropped(lake: EmbeddedLake, landing: Path) -> None:
    before = built(lake, landing)
    asset = months(new=True, partitions=Partitions.months("2013-02", "2013-06"))
    with pytest.raises(PartitionRebuildError, match="'2013-01' could not be"):
        build(lake, asset, partition="2013-02", landing=landing)
    assert lake.resolve("main").id == before


@pytest.mark.parametrize("new", [False, True], ids=["of the old columns", "of the new columns"])
def test_another_month_published_meanwhile_is_built_again_too(lake: EmbeddedLake, landing: Path, new: bool) -> None:
    built(lake, landing, KEYS[:2])
    rival = [lambda: build(lake, months(new=new), partition="2013-03", landing=landing)]
    asset = months(new=True, meet=lambda key: rival.pop()() if rival else None)
    assert build(lake, asset, partition="2013-01", landing=landing).status in (Status.PUBLISHED, Status.UNCHANGED)
    assert sorted(lake.at("main").table(PATH).collect()["y"]) == [2, 4, 6]
    assert tuple(lake.at("main").entry(PATH).partitions) == KEYS


@table("toy/sums", inputs=[PATH], partitions=MONTHS)
def sums(inputs: Inputs, key: str) -> pl.LazyFrame:
    """Everything there is of a month."""
    return inputs.table(PATH)


def test_what_reads_the_months_is_stale_by_its_own_months_and_follows(lake: EmbeddedLake, landing: Path) -> None:
    built(lake, landing)
    for key in KEYS:
        build(lake, sums, partition=key)
    build(lake, months(new=True), partition="2013-01", landing=landing)
    assert [stale(lake, sums, key) for key in KEYS] == [["input"]] * 3
    build(lake, sums, partition="2013-03")
    assert lake.at("main").table("toy/sums").collect_schema().names() == lake.at("main").table(PATH).collect().columns
    assert [stale(lake, sums, key) for key in KEYS] == [[], [], []]
    for key in KEYS:
        record = record_of(lake, lake.at("main"), "toy/sums", key)
        assert record is not None
        assert record.provenance is not None
        assert [pin.data_version for pin in record.provenance.inputs] == [lake.at("main").entry(PATH).partitions[key]]


def test_a_month_whose_input_is_gone_stops_the_rebuild_by_name(lake: EmbeddedLake, landing: Path) -> None:
    built(lake, landing, KEYS[:2])
    third = build(lake, months(new=False), partition="2013-03", landing=landing)
    build(lake, months(new=False), partition="2013-03", landing=landing)
    for key in KEYS:
        build(lake, sums, partition=key)
    lake.revert(str(third.commit))
    before = lake.resolve("main").id

    @table("toy/sums", inputs=[PATH], partitions=MONTHS)
    def wider(inputs: Inputs, key: str) -> pl.LazyFrame:
        """One column more."""
        return inputs.table(PATH).with_columns(z=1)

    with pytest.raises(PartitionRebuildError, match="'2013-03' could not be: 'toy/sums' needs partition '2013-03'"):
        build(lake, wider, partition="2013-01")
    assert lake.resolve("main").id == before
