"""Dagster's queue of runs in lanes, so that a roll-back, and what one is decided by, waits for no training.

Priorities alone order those who wait. Two trainings of hours that run already would hold a failing version in service.
"""

from typing import Final

import dagster as dg
from dagster._core.run_coordinator import SubmitRunContext

LANE_TAG: Final = "headwater/lane"
"""Which places of the queue a run takes; how many each lane has is said in `dagster.yaml`."""
_USUAL: Final = "usual"
_TRAINING: Final = "training"
_FIRST: Final = "first"
_TRAINED: Final = "model"
"""Last part of the path of what is trained, in every product."""
FIRST: Final = {"dagster/priority": "1", LANE_TAG: _FIRST}
"""Tags of a run that has a lane of its own."""
URGENT: Final = {"dagster/priority": "2", LANE_TAG: _FIRST}
"""Tags of one that goes first there."""


class RunQueue(dg.QueuedRunCoordinator):
    """Dagster's own coordinator, which gives each run a lane, whoever asked for it: a sensor, a backfill, a person."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Puts a run in the queue."""
        run = context.dagster_run
        if LANE_TAG not in run.tags:
            self._instance.add_run_tags(run.run_id, {LANE_TAG: lane_of(run)})
        return super().submit_run(context)


def lane_of(run: dg.DagsterRun) -> str:
    """The lane of a run that names none: a training's where a model takes part, or all there is."""
    chosen = run.asset_selection
    return _USUAL if chosen and not any(key.path[-1] == _TRAINED for key in chosen) else _TRAINING
