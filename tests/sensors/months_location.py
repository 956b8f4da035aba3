"""A code location whose file comes by months: partitioned landing and dataset, and whole tables that read both levels."""

import dagster as dg
import polars as pl

from assets._automation import with_automation
from assets._bridge import dagster_asset
from assets._chain._landing import landing_asset
from headwater.product import Inputs, Partitions, Product, Source, table
from resources.lake import LakeResource
from sensors import all_sensors

MONTHS = Partitions.months("2013-01", "2013-03")
PRODUCT = Product(name="toy", question="Does it wait?", owners=("team:toy",))
numbers = landing_asset(
    "toy",
    Source(name="numbers", columns=("x",), partitions=MONTHS, licence="CC0-1.0", description="Numbers by the month."),
)


@table("toy/doubled", inputs=["toy/landing/numbers"], partitions=MONTHS)
def doubled(inputs: Inputs, partition: str) -> pl.DataFrame:
    """Twice each number of a month."""
    rows = inputs.table("toy/landing/numbers").filter(pl.col("period") == partition)
    return rows.select("period", y=pl.col("x").cast(pl.Int64) * 2).collect()


@table("toy/total", inputs=["toy/doubled"])
def total(inputs: Inputs) -> pl.DataFrame:
    """Their sum over all months."""
    return inputs.table("toy/doubled").select(pl.col("y").sum()).collect()


@table("toy/card", inputs=["toy/doubled", "toy/landing/numbers"])
def card(inputs: Inputs) -> pl.DataFrame:
    """What landed beside what was made of it."""
    landed = inputs.table("toy/landing/numbers").select(landed=pl.col("x").cast(pl.Int64).sum()).collect()
    return landed.hstack(inputs.table("toy/doubled").select(made=pl.col("y").sum()).collect())


@table("toy/audit", inputs=["toy/total", "toy/landing/numbers"])
def audit(inputs: Inputs) -> pl.DataFrame:
    """What landed beside what stands two levels below."""
    landed = inputs.table("toy/landing/numbers").select(landed=pl.col("x").cast(pl.Int64).sum()).collect()
    return landed.hstack(inputs.table("toy/total").collect())


ASSETS = [numbers, doubled, total, card, audit]
defs = dg.Definitions(
    assets=with_automation([dagster_asset(asset, PRODUCT) for asset in ASSETS]),
    resources={"lake": LakeResource()},
    sensors=[
        sensor for sensor in all_sensors(ASSETS, patience=0) if sensor.name != "mlflow_mirror"
    ],  # it knows real products
    executor=dg.in_process_executor,
)
