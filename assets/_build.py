"""Builds what is stale through Dagster, in this process, one run after another."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from assets._bridge import asset_key
from assets._plan import below
from headwater.product import Asset
from resources.lake import ACTOR_TAG, ONLY_STALE_TAG


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How one Dagster run ended."""

    run_id: str
    success: bool
    errors: tuple[str, ...]


def run_stale(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    assets: Sequence[Asset],
    paths: frozenset[str],
    *,
    partition: str | None,
    actor: str,
) -> RunResult:
    """One run over stale assets and what lies below them; each is skipped when it is fresh by then.

    Args:
        definitions: The code location.
        instance: Where events are kept.
        assets: All declared assets of the product, ordered.
        paths: The stale ones.
        partition: Key when the run is for a partition: then only partitioned assets take part.
        actor: Who asked.
    """
    partitioned = {asset.path for asset in assets if asset.partitions is not None}
    reached = below(paths, assets)
    chosen = reached & partitioned if partition is not None else reached - partitioned
    keys = [asset_key(path) for path in sorted(chosen)]
    tags = {ONLY_STALE_TAG: "true", ACTOR_TAG: actor}
    job = definitions.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(
        instance=instance, asset_selection=keys, partition_key=partition, tags=tags, raise_on_error=False
    )
    failures = [event for event in done.all_events if event.is_step_failure]
    errors = tuple(f"{event.step_key}: {_why(event)}" for event in failures)
    return RunResult(run_id=done.run_id, success=done.success, errors=errors)


def _why(event: dg.DagsterEvent) -> str:
    failure = event.step_failure_data
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return failure.user_failure_data.description
    error = failure.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error else "unknown"
