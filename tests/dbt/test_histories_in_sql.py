"""The dbt project, really built: its SQL gives the numbers of the Polars function, and its tests can fail."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets.flights._history import delay_history, history_columns
from assets.flights._views import CARRIER_WINDOWS, ROUTE_WINDOWS, VIEWS
from assets.flights.product import PRODUCT

PROJECT = Path(__file__).parents[2] / "dbt_project"
MODELS = {
    "route_history": (("origin", "dest"), ROUTE_WINDOWS),
    "carrier_history": (("carrier", "origin"), CARRIER_WINDOWS),
}


class Built:
    """One dbt build over a few flights, in a folder of its own."""

    def __init__(self, folder: Path, flights: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._flights, self._patch = folder, flights, monkeypatch
        self.database = folder / "lake.duckdb"

    def copy(self, folder: Path) -> "Built":
        """The same in another folder; the flights stay where they are."""
        found = Built(folder, self._flights, self._patch)
        self.execute("checkpoint")  # dbt may still have it open
        shutil.copy(self.database, found.database)
        return found

    def run(self, *arguments: str) -> Any:
        """`dbt <arguments>` in this process, everything it writes below the folder."""
        from dbt.adapters.factory import reset_adapters
        from dbt.cli.main import dbtRunner

        self._patch.setenv("HEADWATER_DBT_DATABASE", str(self.database))
        self._patch.setenv("DO_NOT_TRACK", "1")
        options = ["--project-dir", PROJECT, "--profiles-dir", PROJECT, "--target-path", self._folder / "target"]
        try:
            return dbtRunner().invoke(
                ["--quiet", "--log-level-file", "none", *arguments, *map(str, options), "--log-path", str(self._folder)]
            )
        finally:
            reset_adapters()

    def make_database(self) -> None:
        """The views that the bridge makes, over a Parquet file as the lake has it."""
        self._flights.write_parquet(self._folder / "flights.parquet")
        self.execute("create schema flights_lake")
        self.execute(f"create view flights_lake.flights as select * from '{self._folder / 'flights.parquet'}'")

    def execute(self, sql: str) -> None:
        """Runs one statement on the database."""
        with duckdb.connect(str(self.database)) as connection:
            connection.execute(sql)

    def table(self, name: str) -> pl.DataFrame:
        """A model's rows."""
        with duckdb.connect(str(self.database)) as connection:
            connection.execute("set timezone = 'UTC'")
            found = pl.from_arrow(connection.sql(f"select * from {name}").to_arrow_table())
        assert isinstance(found, pl.DataFrame)
        return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, real_month: pl.DataFrame) -> Iterator[tuple[Built, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        build = Built(tmp_path_factory.mktemp("dbt"), real_month, patch)
        build.make_database()
        yield build, build.run("build")


@pytest.fixture
def copied(built: tuple[Built, Any], tmp_path: Path) -> Built:
    """The build, for a test that changes it."""
    return built[0].copy(tmp_path)


def test_a_whole_build_passes_with_its_tests(built: tuple[Built, Any]) -> None:
    done = built[1]
    assert done.success, done.exception
    outcomes = {result.node.name: str(result.status) for result in done.result}
    assert {name for name, status in outcomes.items() if status == "success"} == set(MODELS)
    tests = {name for name, status in outcomes.items() if status == "pass"}
    assert tests >= {"route_history_counts_only_known_flights", "carrier_history_keys_are_unique"}
    assert len(tests) + len(MODELS) == len(outcomes)


@pytest.mark.parametrize("name", MODELS)
def test_sql_gives_the_numbers_of_the_polars_function(
    built: tuple[Built, Any], real_month: pl.DataFrame, name: str
) -> None:
    by, windows = MODELS[name]
    found, expected = built[0].table(name), delay_history(real_month.lazy(), by=by, windows=windows).collect()
    assert found.height > 1_000
    assert_frame_equal(found, expected.select(found.columns), check_exact=True)
    assert found.columns == expected.columns


def test_a_leak_planted_in_a_model_fails_its_test(copied: Built) -> None:
    copied.execute("update route_history set known_at = known_at - interval 1 hour, event_time = event_time")
    done = copied.run("test", "--select", "route_history")
    assert not done.success
    failed = {result.node.name for result in done.result if str(result.status) == "fail"}
    assert failed == {"route_history_counts_only_known_flights"}


def test_a_share_above_one_fails_its_test(copied: Built) -> None:
    copied.execute("update carrier_history set late_share_7d = 1.5 where carrier = 'UA'")
    done = copied.run("test", "--select", "carrier_history")
    failed = {result.node.name for result in done.result if str(result.status) == "fail"}
    assert failed == {"carrier_history_late_share_7d_in_range"}


def test_the_product_declares_every_model_and_reads_columns_that_it_has(built: tuple[Built, Any]) -> None:
    assert PRODUCT.dbt is not None
    assert set(PRODUCT.dbt.models) == set(MODELS)
    for view in VIEWS:
        if view.name in MODELS:
            by, windows = MODELS[view.name]
            assert (view.entity, view.features) == (by, history_columns(windows))
            assert set(view.columns) <= set(built[0].table(view.name).columns)
