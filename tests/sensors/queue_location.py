"""A code location whose sensors ask for three runs that last and, once two of them run, for one that cannot wait."""

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
    """How many of the long runs have begun."""
    return len(list(_folder().glob("long-*")))


@dg.asset
def training(context: dg.AssetExecutionContext) -> None:
    """Lasts until somebody says that it may end."""
    (_folder() / f"long-{context.run.run_id}").touch()
    until = time.monotonic() + _PATIENCE
    while not (_folder() / "end").exists():
        assert time.monotonic() < until
        time.sleep(0.05)


@dg.asset
def step(context: dg.AssetExecutionContext) -> None:
    """Takes a version back."""
    (_folder() / "step").write_text(str(running()))


@dg.sensor(target=[training], default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=1)
def usual() -> dg.SensorResult:
    """Asks for all at once."""
    return dg.SensorResult(
        [dg.RunRequest(run_key=str(number), asset_selection=[training.key]) for number in range(LONG)]
    )


@dg.sensor(target=[step], default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=1)
def urgent() -> dg.SensorResult | dg.SkipReason:
    """Comes when the others are at work."""
    if running() < LONG - 1:
        return dg.SkipReason("nothing is wrong yet")
    return dg.SensorResult([dg.RunRequest(run_key="step", asset_selection=[step.key], tags=FIRST)])


defs = dg.Definitions(assets=[training, step], sensors=[usual, urgent], executor=dg.in_process_executor)
