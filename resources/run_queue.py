"""Dagster's queue of runs, with a place kept for what cannot wait for a training: a roll-back, a compaction.

Priorities alone order those who wait. Two trainings of hours that run already would hold a failing version in service.
"""

from typing import Final

import dagster as dg
from dagster._core.run_coordinator import SubmitRunContext

LANE_TAG: Final = "headwater/lane"
"""Which places of the queue a run may take; limits by this tag are in `dagster.yaml`."""
USUAL: Final = "usual"
FIRST: Final = {"dagster/priority": "1", LANE_TAG: "first"}
"""Tags of a run that goes before those that wait, and may take the place that is kept."""


class RunQueue(dg.QueuedRunCoordinator):
    """Dagster's own coordinator; a run that names no lane is a usual one, whoever asked for it: a sensor, a backfill, a person."""

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Puts a run in the queue."""
        run = context.dagster_run
        if LANE_TAG not in run.tags:
            self._instance.add_run_tags(run.run_id, {LANE_TAG: USUAL})
        return super().submit_run(context)
