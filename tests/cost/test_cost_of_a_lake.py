"""What a lake's own history costs: what was taken away costs no more, and what stands is the newest by the log."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import polars as pl
import pytest

from headwater.cost import By, Prices, Tariff, cost_report, spent
from headwater.cost import Cost as Row
from headwater.lake import EmbeddedLake
from headwater.lake._removal import remove_path
from headwater.names import VERSION_FACT
from headwater.provenance import Cost, Output, Pin, Provenance

TARIFF = Tariff(currency="EUR", prices=(Prices(since=datetime(2020, 1, 1, tzinfo=UTC), gb_month=1.0),))
MONTH = timedelta(hours=730.5)


class Stopped(datetime):
    """A clock that was set back: commits of one instant."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Stopped":
        return cls(2020, 1, 1, tzinfo=UTC)


def put(lake: EmbeddedLake, path: str, rows: int, id: str, reads: Sequence[str] = (), version: str = "") -> str:
    with lake.transaction(id=id * 32) as tx:
        entry = tx.write_table(path, pl.DataFrame({"x": range(rows)}))
        facts = {VERSION_FACT: version} if version else {}
        output = Output(path=path, kind="table", data_version=entry.data_version, bytes=entry.bytes, facts=facts)
        record = Provenance(
            transaction=id * 32, action="materialize", outputs=(output,), input_commit=tx.base.commit.id,
            inputs=tuple(Pin(path=one, data_version=tx.base.entry(one).data_version, read=True) for one in reads),
            cost=Cost(wall_seconds=1, cpu_seconds=100, bytes_written=entry.bytes),
        )  # fmt: skip
        return tx.publish(message="Write", provenance=record).commit.id


def next_month(lake: EmbeddedLake) -> float:
    """GB that stand for a month, from a month from now on."""
    later = datetime.now(UTC) + MONTH
    report = cost_report(
        spent(lake, "main"), (), by=By.PRODUCT, owners={"toy": ("a",)}, tariff=TARIFF, now=later + MONTH, since=later
    )
    return sum(row.gb_months for row in report.rows)


def standing(lake: EmbeddedLake) -> float:
    now = lake.at("main")
    return sum(now.entry(path).bytes for path in now.paths()) / 1e9


def test_what_was_removed_or_reverted_costs_no_more(tmp_path: Path) -> None:
    """The price of what was gone went on for ever."""
    lake = EmbeddedLake.open(tmp_path / "lake")
    put(lake, "toy/a", 1_000, "a")
    last = put(lake, "toy/b", 1_000, "b")
    both = next_month(lake)
    assert both == pytest.approx(standing(lake))
    remove_path(lake, "toy/a", into="main")
    assert next_month(lake) == pytest.approx(standing(lake)) == pytest.approx(both / 2)
    lake.revert(last)
    assert lake.at("main").paths() == ()
    assert next_month(lake) == 0
    lake.gc(grace=timedelta(0))
    assert next_month(lake) == 0
    put(lake, "toy/a", 2_000, "c")
    put(lake, "toy/a", 50, "d")
    assert next_month(lake) == pytest.approx(standing(lake))


def test_a_removal_that_was_reverted_costs_again(tmp_path: Path) -> None:
    lake = EmbeddedLake.open(tmp_path / "lake")
    put(lake, "toy/a", 1_000, "a")
    lake.revert(remove_path(lake, "toy/a", into="main").commit.id)
    assert standing(lake) > 0
    assert next_month(lake) == pytest.approx(standing(lake))


@pytest.mark.parametrize("ids", ["abcdef", "dacbef", "fedcba"])
def test_commits_of_one_instant_stand_in_the_order_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: str
) -> None:
    """Random ids decided which of them was the newest: one history cost a version 100 seconds or 300."""
    monkeypatch.setattr("headwater.lake._core.datetime", Stopped)
    lake = EmbeddedLake.open(tmp_path / "lake")
    put(lake, "toy/a", 100_000, ids[0])
    put(lake, "toy/a", 10, ids[1])
    put(lake, "toy/a", 200_000, ids[2])
    put(lake, "toy/a", 20, ids[3])
    put(lake, "toy/training_set", 30, ids[4], reads=("toy/a",))
    put(lake, "toy/model", 5, ids[5], reads=("toy/training_set",), version="1.0.0")
    assert len({one.time for one in spent(lake, "main")}) == 1
    assert next_month(lake) == pytest.approx(standing(lake))
    report = cost_report(
        spent(lake, "main"), (), by=By.VERSION, owners={"toy": ("a",)}, tariff=TARIFF, now=datetime.now(UTC)
    )
    rows: dict[str, Row] = {row.version: row for row in report.rows}
    assert (rows["1.0.0"].cpu_seconds, rows[""].cpu_seconds) == (300, 300)
