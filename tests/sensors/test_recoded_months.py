"""A code change whose backfill does not end well: what reads all months waits for the one that older code made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets._automation import with_automation
from assets._bridge import asset_key, dagster_asset
from headwater.lake import EmbeddedLake
from headwater.materialize import Run, materialize
from headwater.product import Asset, Inputs, table
from resources.lake import ONLY_STALE_TAG, LakeResource
from sensors import reconcile_sensor
from tests.recoded_months import DAYS, LOAD, MONTHS, PRODUCT, TOTAL, new_days, new_load, old_days, old_load, total

# Dagster's own evaluation uses what it calls beta.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `include_sources`")


@table("toy/share", inputs=[LOAD], partitions=MONTHS)
def share(inputs: Inputs, period: str) -> pl.DataFrame:
    """A level between, whose own code stays."""
    return inputs.table(LOAD).filter(pl.col("period") == period).select("period", "y").collect()


@table(TOTAL, inputs=["toy/share"])
def total_of_shares(inputs: Inputs) -> pl.DataFrame:
    """The sum over all months, two levels below."""
    return inputs.table("toy/share").select(pl.col("y").sum()).collect()


class Shop:
    """A lake, a Dagster instance, and the code of the moment, whose conditions are evaluated tick by tick."""

    def __init__(self, state: Path, instance: dg.DagsterInstance) -> None:
        self.lake = EmbeddedLake.open(state / "lake")
        self._instance, self._resource = instance, LakeResource(state=str(state))
        self._cursor: Any = None

    def build(self, *assets: Asset) -> None:
        """All of it, until nothing is requested."""
        self.deploy(*assets)
        for asset in assets:
            for month in asset.partitions.keys if asset.partitions else (None,):
                assert self.run(asset.path, month)
        for _ in range(3):
            self.tick()

    def deploy(self, *assets: Asset) -> None:
        """From now on this is the code."""
        self._assets = assets
        found = with_automation([dagster_asset(asset, PRODUCT) for asset in assets])
        self._defs = dg.Definitions(assets=found, resources={"lake": self._resource})

    def tick(self) -> dict[str, frozenset[str | None]]:
        """What is requested: paths with their months."""
        found = dg.evaluate_automation_conditions(self._defs, self._instance, cursor=self._cursor)
        self._cursor = found.cursor
        wanted = {}
        for result in found.results:
            if not result.true_subset.is_empty:
                months = (key.partition_key for key in result.true_subset.expensively_compute_asset_partitions())
                wanted["/".join(result.key.path)] = frozenset(months)
        return wanted

    def run(self, path: str, month: str | None = None, *, killed: bool = False) -> bool:
        """One run. Dagster takes a killed one for cancelled."""
        job = self._defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection={asset_key(path)})
        tags = {ONLY_STALE_TAG: "true", **({"dagster/partition": month} if month else {})}
        if killed:
            run = self._instance.create_run_for_job(job, tags=tags, asset_selection=frozenset({asset_key(path)}))
            self._instance.report_run_canceled(run)
            return False
        return job.execute_in_process(instance=self._instance, partition_key=month, tags=tags).success

    def settle(self, *, killed: str | None = None) -> list[str]:
        """Ticks until three in a row request nothing; the runs, of which those of one month are killed."""
        done: list[str] = []
        quiet = 0
        while quiet < 3:
            wanted = [(path, month) for path, months in self.tick().items() for month in sorted(months, key=str)]
            quiet = 0 if wanted else quiet + 1
            for path, month in wanted:
                if month is None or month != killed:
                    assert self.run(path, month)
                else:
                    self.run(path, month, killed=True)
                done.append(f"{path} {month}" if month else path)
        return done

    def reconciled(self) -> list[tuple[str, str | None]]:
        """What reconciliation asks for, once Dagster knows what stands."""
        sensor, cursor = reconcile_sensor(self._assets), None
        for _ in range(10):
            context = dg.build_sensor_context(
                self._instance,
                cursor,
                repository_def=self._defs.get_repository_def(),
                resources={"lake": self._resource},
            )
            found = sensor.evaluate_tick(context)
            for event in found.asset_events:
                self._instance.report_runless_asset_event(event)
            if found.run_requests:
                return [("/".join(r.asset_selection[0].path), r.partition_key) for r in found.run_requests]
            cursor = found.cursor
        return []

    def sum(self) -> int:
        """What stands as the total."""
        found = self.lake.at("main").table(TOTAL).collect().item()
        assert isinstance(found, int)
        return found


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Shop(tmp_path, instance)


@pytest.mark.parametrize("killed", MONTHS.keys)
def test_a_whole_table_is_not_built_of_the_months_of_two_codes(shop: Shop, killed: str) -> None:
    """The verdict of the last month's run stood for all: where the first one's died, the sum was of 1 and 100."""
    shop.build(old_days, old_load, total)
    assert shop.sum() == 2
    shop.deploy(old_days, new_load, total)
    assert TOTAL not in shop.settle(killed=killed)
    assert shop.sum() == 2
    assert shop.run(LOAD, killed)
    assert shop.settle() == [TOTAL]
    assert shop.sum() == 200


def test_it_waits_for_the_code_two_levels_above(shop: Shop) -> None:
    shop.build(old_days, old_load, share, total_of_shares)
    shop.deploy(old_days, new_load, share, total_of_shares)
    assert shop.settle(killed="2013-01") == [*(f"{LOAD} {month}" for month in MONTHS.keys), "toy/share 2013-02"]
    assert shop.sum() == 2
    assert shop.run(LOAD, "2013-01")
    assert shop.settle() == ["toy/share 2013-01", TOTAL]
    assert shop.sum() == 200


def test_code_that_is_put_back_holds_nothing_up(shop: Shop) -> None:
    """A month that was never built by the new code is fresh then, and is told so."""
    shop.build(old_days, old_load, total)
    shop.deploy(old_days, new_load, total)
    shop.settle(killed="2013-01")
    shop.deploy(old_days, old_load, total)
    shop.settle()
    shop.deploy(new_days, old_load, total)
    for month in MONTHS.keys:
        assert shop.run(DAYS, month)
    shop.settle()
    assert shop.sum() == 20


def test_reconciliation_waits_as_well(shop: Shop) -> None:
    """It asked what stands just above: two levels below a month of older code it started the whole."""
    shop.build(old_days, old_load, share, total_of_shares)
    shop.deploy(old_days, new_load, share, total_of_shares)
    for asset in (new_load, share):
        for month in MONTHS.keys[1:]:
            materialize(shop.lake, asset, partition=month, run=Run())
    assert shop.reconciled() == [(LOAD, "2013-01")]
    materialize(shop.lake, new_load, partition="2013-01", run=Run())
    materialize(shop.lake, share, partition="2013-01", run=Run())
    assert shop.reconciled() == [(TOTAL, None)]
