"""Builds what is stale through Dagster, in this process, one run after another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dagster as dg

from assets._bridge import asset_key
from assets._plan import Stale, below, waits_for_code, waves
from headwater.product import Asset
from resources.lake import ACTOR_TAG, ONLY_STALE_TAG


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How one Dagster run ended.

    Attributes:
        run_id: Its id.
        success: Whether nothing failed.
        errors: What failed, and why.
        unbuilt: Paths that it was to build and did not: those that failed, and what is below them.
    """

    run_id: str
    success: bool
    errors: tuple[str, ...]
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
    graph = definitions.resolve_asset_graph()
    unbuilt = frozenset(path for path in paths if graph.get(asset_key(path)).assets_def.node_def.name not in ended)
    return RunResult(run_id=done.run_id, success=done.success, errors=errors, unbuilt=unbuilt)


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
    """Runs for what is out of date, wave after wave; below what was not built only what is urgent is built of what stands, as by automation.

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
    errors, unbuilt = list[str](), frozenset[str]()
    is_torn = False  # a partition was not built, which others go on without unless older code's stands there
    for key, paths in waves(stale(), assets):
        wanted = paths - _left_out(unbuilt, stands, assets)
        if among is not None:
            wanted &= among
        if is_torn and key is None:
            wanted -= waits_for_code(stale(), assets)
        if wanted:
            result = run_assets(definitions, instance, wanted, partition=key, actor=actor)
            errors += result.errors
            unbuilt |= result.unbuilt if key is None else frozenset()
            is_torn = is_torn or (key is not None and bool(result.unbuilt))
    return errors


def _left_out(unbuilt: frozenset[str], stands: Callable[[str], bool], assets: Sequence[Asset]) -> frozenset[str]:
    """What waits below what was not built: all where nothing stands, else what is not urgent. Of a fed table what stands is good enough."""
    fed, waiting = {asset.path for asset in assets if asset.feed is not None}, set(unbuilt)
    for asset in assets:
        if not asset.urgent and (waiting - fed) & set(asset.inputs):
            waiting.add(asset.path)
    return below(frozenset(path for path in unbuilt if not stands(path)), assets) | waiting


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
