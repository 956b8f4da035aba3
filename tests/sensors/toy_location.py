"""A code location with one landed file and three tables below it, put together as `headwater.definitions` does."""

import dagster as dg
import polars as pl

from assets._automation import with_automation
from assets._bridge import dagster_asset
from assets._chain._landing import landing_asset
from headwater.product import Audit, Check, Inputs, Product, Source, Verdict, table
from resources.lake import LakeResource
from sensors import all_sensors, heartbeat_asset, heartbeat_checks

PRODUCT = Product(name="toy", question="Does it follow?", owners=("team:toy",))
numbers = landing_asset(
    "toy", Source(name="numbers", columns=("x",), licence="CC0-1.0", description="Numbers as they arrived.")
)


def _no_negative(audit: Audit) -> Verdict:
    bad = audit.rows().filter(pl.col("y") < 0).collect().height
    return Verdict(passed=bad == 0, facts={"negative": bad})


@table("toy/doubled", inputs=["toy/landing/numbers"], checks=[Check(name="no_negative", judge=_no_negative)])
def doubled(inputs: Inputs) -> pl.DataFrame:
    """Twice each number."""
    return inputs.table("toy/landing/numbers").select(y=pl.col("x").cast(pl.Int64) * 2).collect()


@table("toy/total", inputs=["toy/doubled"])
def total(inputs: Inputs) -> pl.DataFrame:
    """Their sum."""
    return inputs.table("toy/doubled").select(pl.col("y").sum()).collect()


@table("toy/report", inputs=["toy/total", "toy/doubled"])
def report(inputs: Inputs) -> pl.DataFrame:
    """Sum and count."""
    rows = inputs.table("toy/doubled").select(count=pl.len().cast(pl.Int64)).collect()
    return inputs.table("toy/total").collect().hstack(rows)


ASSETS = [numbers, doubled, total, report]
SENSORS = [
    sensor for sensor in all_sensors(ASSETS, patience=0) if sensor.name != "mlflow_mirror"
]  # it knows real products
defs = dg.Definitions(
    assets=[*with_automation([dagster_asset(asset, PRODUCT) for asset in ASSETS]), heartbeat_asset()],
    asset_checks=[heartbeat_checks(SENSORS)],
    resources={"lake": LakeResource()},
    sensors=SENSORS,
    executor=dg.in_process_executor,
)
