"""Verdicts on what stands in the lake come from builds that made exactly that, and from nothing else."""

from pathlib import Path

import polars as pl
import pytest

from headwater.lake import EmbeddedLake
from headwater.provenance import CheckRecord, Output, Provenance
from resources.verdicts import recorded_verdicts

PATH = "toy/months"


@pytest.fixture
def lake(tmp_path: Path) -> EmbeddedLake:
    return EmbeddedLake.open(tmp_path / "lake")


def put(lake: EmbeddedLake, months: dict[str, int], *checks: CheckRecord, action: str = "materialize") -> str:
    """Publishes a value for each month in one commit, with these verdicts; returns the commit."""
    with lake.transaction() as tx:
        for month, value in months.items():
            entry = tx.write_table(PATH, pl.DataFrame({"x": [value]}), partition=("period", month))
        outputs = tuple(
            Output(
                path=PATH,
                partition=month,
                kind="table",
                data_version=entry.data_version,
                partition_version=entry.partitions[month],
            )
            for month in months
        )
        record = Provenance(
            transaction=tx.id, action=action, outputs=outputs, input_commit=tx.base.commit.id, checks=checks
        )
        return tx.publish(message="Put months there", provenance=record).commit.id


def verdict(month: str, passed: bool) -> CheckRecord:
    return CheckRecord(name="few", passed=passed, severity="WARN", blocking=False, partition=month)


def test_of_a_commit_of_several_partitions_each_has_its_own_verdict(lake: EmbeddedLake) -> None:
    put(lake, {"2013-01": 1, "2013-02": 2}, verdict("2013-01", False), verdict("2013-02", True))
    now = lake.at("main")
    assert [check.passed for check in recorded_verdicts(lake, now, PATH, "2013-01")] == [False]
    assert [check.passed for check in recorded_verdicts(lake, now, PATH, "2013-02")] == [True]
    assert recorded_verdicts(lake, now, PATH, "2013-03") == ()


def test_a_verdict_on_other_content_is_no_verdict_on_this(lake: EmbeddedLake) -> None:
    first = put(lake, {"2013-01": 1}, CheckRecord(name="few", passed=True))
    put(lake, {"2013-01": 2}, action="import")
    assert recorded_verdicts(lake, lake.at("main"), PATH, "2013-01") == ()
    assert len(recorded_verdicts(lake, lake.at(first), PATH, "2013-01")) == 1
    assert recorded_verdicts(lake, lake.at("main"), "toy/other") == ()
