"""Which assets are in progress, by Dagster's own word."""

from typing import Final

import dagster as dg

_BUSY: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def busy_assets(instance: dg.DagsterInstance, everything: frozenset[str]) -> frozenset[str]:
    """The assets of runs that are queued or running; of a run that selects none, `everything`."""
    found: set[str] = set()
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=_BUSY)):
        keys = run.asset_selection
        found |= everything if keys is None else {"/".join(key.path) for key in keys}
    return frozenset(found)
