"""A code location with everything between the logs of a toy product and its release, put together as `headwater.definitions` does.

What the release reads of a version (bundle, evaluation, card) and the labels come from outside of it.
"""

from dataclasses import replace
from datetime import timedelta

import dagster as dg

from assets._automation import with_automation
from assets._bridge import dagster_asset
from assets._chain._experiment import experiment_asset
from assets._chain._failures import failures_asset
from assets._chain._outcomes import outcomes_asset
from assets._chain._prediction_day import prediction_day_asset
from assets._chain._predictions import predictions_asset
from assets._chain._release import release_asset
from assets._chain._release_orders import release_orders_asset
from assets._chain._rollout import rollout_assets
from headwater.decisions import Rollout, RolloutKind
from resources.lake import LakeResource
from sensors import all_sensors
from tests.rollout_scene import LABELS, RULES, TOY

OFTEN = replace(RULES, check_every=timedelta(milliseconds=1))
"""No record waits for others: the sensor counts by the real clock."""
PRODUCT = replace(TOY, rollout=Rollout(kind=RolloutKind.CANARY, steps=(0.5, 1.0), rules=OFTEN))
ASSETS = [
    predictions_asset(PRODUCT), failures_asset(PRODUCT), prediction_day_asset(PRODUCT), outcomes_asset(PRODUCT),
    experiment_asset(PRODUCT),
    *rollout_assets(PRODUCT), release_orders_asset(PRODUCT), release_asset(PRODUCT),
]  # fmt: skip
OUTSIDE = (LABELS, *(f"{PRODUCT.name}/{name}" for name in ("model", "evaluation", "model_card", "drift_report")))
TRAINED = f"{PRODUCT.name}/model"


@dg.asset(key=TRAINED.split("/"))
def training() -> None:
    """Stands for a training, which takes hours."""


STARTS = ("automation_conditions", "automation_conditions_urgent", "compaction", "reconciliation")
"""The sensors on the way; the others have nothing to start here."""
defs = dg.Definitions(
    assets=[*with_automation([dagster_asset(asset, PRODUCT) for asset in ASSETS]), training],
    resources={"lake": LakeResource()},
    sensors=[sensor for sensor in all_sensors(ASSETS, patience=0) if sensor.name in STARTS],
    executor=dg.in_process_executor,
)
