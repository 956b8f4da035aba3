"""A code location whose sensors ask for three trainings that last and, once two of them run, for labels and for a step of a rollout."""

import os
import time
from pathlib import Path

import dagster as dg

from resources.run_queue import FIRST

LONG = 3
_PATIENCE = 240.0


def _folder() -> Path:
    return Path(os.environ["QUEUE_FOLDER"])


def running() -> int:
    """How many of the trainings have begun."""
    return len(list(_folder().glob("long-*")))


@dg.asset(key_prefix="toy")
def model(context: dg.AssetExecutionContext) -> None:
    """A training: lasts until somebody says that it may end."""
    (_folder() / f"long-{context.run.run_id}").touch()
    until = time.monotonic() + _PATIENCE
    while not (_folder() / "end").exists():
        assert time.monotonic() < until
        time.sleep(0.05)


@dg.asset(key_prefix="toy")
def labels() -> None:
    """What a version is judged by."""
    (_folder() / "labels").write_text(str(running()))


@dg.asset(key_prefix="toy")
def rollout_step() -> None:
    """Takes a version back."""
    (_folder() / "step").write_text(str(running()))


@dg.sensor(target=[model], default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=1)
def trainings() -> dg.SensorResult:
    """Asks for all at once."""
    return dg.SensorResult([dg.RunRequest(run_key=str(number), asset_selection=[model.key]) for number in range(LONG)])


@dg.sensor(target=[labels, rollout_step], default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=1)
def others() -> dg.SensorResult | dg.SkipReason:
    """Come when the trainings are at work."""
    if running() < LONG - 1:
        return dg.SkipReason("nothing is wrong yet")
    asked = [
        dg.RunRequest(run_key="labels", asset_selection=[labels.key]),
        dg.RunRequest(run_key="step", asset_selection=[rollout_step.key], tags=FIRST),
    ]
    return dg.SensorResult(asked)


defs = dg.Definitions(
    assets=[model, labels, rollout_step], sensors=[trainings, others], executor=dg.in_process_executor
)
