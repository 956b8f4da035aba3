"""Builds what is stale through Dagster, in this process, one run after another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dagster as dg

from assets._bridge import asset_key
from assets._plan import Stale, waits_for_code, waves
from headwater.product import Asset
from resources.lake import ACTOR_TAG, ONLY_STALE_TAG


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How one Dagster run ended.

    Attributes:
        run_id: Its id.
        success: Whether nothing failed.
        errors: What failed, and why.
        failed: Paths that failed.
        unbuilt: Paths that it was to build and did not: those that failed, and what is below them.
    """

    run_id: str
    success: bool
    errors: tuple[str, ...]
    failed: frozenset[str]
    unbuilt: frozenset[str]


def run_assets(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    paths: frozenset[str],
    *,
    partition: str | None,
    actor: str,
    only_stale: bool = True,
) -> RunResult:
    """One run over some assets; each is skipped when it is fresh by its turn.

    Args:
        definitions: The code location.
        instance: Where events are kept.
        paths: The assets.
        partition: Key when they are partitioned.
        actor: Who asked.
        only_stale: Whether fresh ones are skipped. A fed table is fresh whatever waits in its feed.

    Raises:
        KeyboardInterrupt: Somebody pressed Ctrl-C.
    """
    tags = {ONLY_STALE_TAG: str(only_stale).lower(), ACTOR_TAG: actor}
    job = definitions.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(
        instance=instance,
        asset_selection=[asset_key(path) for path in sorted(paths)],
        partition_key=partition,
        tags=tags,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    failures = [event for event in done.all_events if event.is_step_failure]
    if any(_is_interrupted(event) for event in failures):  # Dagster takes Ctrl-C for a failure of the step
        raise KeyboardInterrupt
    errors = tuple(f"{event.step_key}: {_why(event)}" for event in failures)
    ended = {event.step_key for event in done.all_events if event.is_step_success}
    broken = {event.step_key for event in failures}
    graph = definitions.resolve_asset_graph()
    steps = {path: graph.get(asset_key(path)).assets_def.node_def.name for path in paths}
    return RunResult(
        run_id=done.run_id,
        success=done.success,
        errors=errors,
        failed=frozenset(path for path, step in steps.items() if step in broken),
        unbuilt=frozenset(path for path, step in steps.items() if step not in ended),
    )


def run_waves(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    stale: Callable[[], Sequence[Stale]],
    stands: Callable[[str], bool],
    assets: Sequence[Asset],
    *,
    actor: str,
    among: frozenset[str] | None = None,
) -> list[str]:
    """Runs for what is out of date, wave after wave; what was refused holds up what automation would hold up, and nothing else.

    Whoever reads a table that failed waits, but for what is urgent; with it waits whoever has an input of which nothing stands. What lies
    below those who wait is built of what stands: what came in elsewhere is no reason to wait. Dagster skips it in the run of the failure,
    so it has a run after that.

    Args:
        definitions: The code location.
        instance: Where events are kept.
        stale: Says what is out of date now.
        stands: Whether something is published under a path.
        assets: All assets of what is built, in their order.
        actor: Who asked.
        among: Which assets may be built. None: all.

    Returns:
        What failed, and why.

    Raises:
        KeyboardInterrupt: Somebody pressed Ctrl-C.
    """
    errors, failed = list[str](), frozenset[str]()
    is_torn = False  # a partition was not built, which others go on without unless older code's stands there
    for key, paths in waves(stale(), assets):
        wanted = paths if among is None else paths & among
        if is_torn and key is None:
            wanted -= waits_for_code(stale(), assets)
        while wanted := wanted - _left_out(failed, stands, assets):
            result = run_assets(definitions, instance, wanted, partition=key, actor=actor)
            errors += result.errors
            wanted = frozenset()
            if key is not None:
                is_torn = is_torn or bool(result.unbuilt)
            elif result.unbuilt:
                failed |= result.failed or result.unbuilt
                wanted = result.unbuilt  # fewer each time, by those that failed
    return errors


def _left_out(failed: frozenset[str], stands: Callable[[str], bool], assets: Sequence[Asset]) -> frozenset[str]:
    """What failed, whoever reads that and is not urgent, and whoever lacks an input. Of a fed table what stands is good enough."""
    refused = failed - {asset.path for asset in assets if asset.feed is not None}
    absent, waiting = {path for path in failed if not stands(path)}, set(failed)
    for asset in assets:
        if absent & set(asset.inputs) or (not asset.urgent and refused & set(asset.inputs)):
            waiting.add(asset.path)
            if not stands(asset.path):
                absent.add(asset.path)
    return frozenset(waiting)


def _is_interrupted(event: dg.DagsterEvent) -> bool:
    error = event.step_failure_data.error
    while error is not None:
        if error.cls_name == "DagsterExecutionInterruptedError":
            return True
        error = error.cause
    return False


def _why(event: dg.DagsterEvent) -> str:
    failure = event.step_failure_data
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return failure.user_failure_data.description
    error = failure.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error else "unknown"
