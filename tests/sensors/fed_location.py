"""A code location with the predictions of a toy product beside its labels, put together as `headwater.definitions` does."""

from datetime import timedelta

import dagster as dg
import polars as pl

from assets._automation import with_automation
from assets._bridge import dagster_asset
from assets._chain._landing import landing_asset
from assets._chain._predictions import predictions_asset
from headwater.product import Inputs, Source, table
from resources.lake import LakeResource
from sensors import all_sensors
from tests.compaction.scene import LABELS, START, product

PRODUCT = product(least_records=5, longest_wait=timedelta(days=1))
numbers = landing_asset(
    "toy", Source(name="numbers", columns=("x",), licence="CC0-1.0", description="Numbers as they arrived.")
)


@table(LABELS, inputs=["toy/landing/numbers"])
def labels(inputs: Inputs) -> pl.DataFrame:
    """A label for each number."""
    found = inputs.table("toy/landing/numbers").select(number=pl.col("x").cast(pl.Int32), y=pl.lit(0)).collect()
    return found.with_columns(who=pl.lit("ann"), hour=pl.lit(START))


ASSETS = [numbers, labels, predictions_asset(PRODUCT)]
defs = dg.Definitions(
    assets=with_automation([dagster_asset(asset, PRODUCT) for asset in ASSETS]),
    resources={"lake": LakeResource()},
    sensors=[
        sensor for sensor in all_sensors(ASSETS, patience=0) if sensor.name != "mlflow_mirror"
    ],  # it knows real products
    executor=dg.in_process_executor,
)
