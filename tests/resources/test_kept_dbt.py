"""dbt in a process that is kept: the same verdicts as in a new one, and nothing held on to between two builds."""

from pathlib import Path
from typing import Any

import duckdb

from headwater.lake import EmbeddedLake
from resources.dbt import DATABASE, make_database
from resources.dbt_resource import DbtBuild, DbtCommand, kept_dbt
from tests.real_flights import datasets

FLIGHTS = "flights/datasets/flights"


def built(lake: EmbeddedLake, folder: Path, *, sources: bool = True) -> DbtBuild:
    """A build of the two models over a database of its own."""
    tables = {"flights": FLIGHTS} if sources else {}
    make_database(folder / DATABASE, schema="flights_lake", tables=tables, snapshot=lake.at("main"))
    return DbtCommand().build(["route_history", "carrier_history"], target=folder)


def rows(folder: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / DATABASE)) as connection:  # to write: nobody else may have it open
        return connection.execute("select * from route_history order by all").fetchall()


def test_builds_in_a_kept_process_are_those_of_a_new_one_and_leave_the_database_free(tmp_path: Path) -> None:
    lake = EmbeddedLake.open(tmp_path / "lake")
    with lake.transaction() as tx:
        tx.write_table(FLIGHTS, datasets(1)[FLIGHTS].head(3_000))
        tx.publish(message="Flights", provenance=None)
    fresh = built(lake, tmp_path / "fresh")
    with kept_dbt():
        first = built(lake, tmp_path / "first")
        assert rows(tmp_path / "first") == rows(tmp_path / "fresh") != []
        broken = built(lake, tmp_path / "broken", sources=False)
        assert "flights" in str(broken.error)
        second = built(lake, tmp_path / "second")
    assert fresh.error is first.error is second.error is None
    statuses = [{each["unique_id"]: each["status"] for each in build.results or ()} for build in (fresh, first, second)]
    assert statuses[0] == statuses[1] == statuses[2]
    assert len(statuses[0]) > 20
