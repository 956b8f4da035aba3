"""When Dagster starts work by itself: one condition, attached to the whole graph in one place. See docs/adr/0006."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import dagster as dg

from resources.lake import ACTOR_TAG, ONLY_STALE_TAG

ACTOR: Final = "automation"
SENSOR: Final = "automation_conditions"
TICK_SECONDS: Final = 5

_Condition = dg.AutomationCondition


def with_automation(assets: Iterable[dg.AssetsDefinition]) -> Sequence[dg.AssetsDefinition]:
    """The same assets, each that reads others with the condition that starts it.

    An asset without inputs (a landing asset) gets none: the landed-data sensor starts it.
    """
    found = list(assets)
    partitioned = frozenset(spec.key for item in found for spec in item.specs if spec.partitions_def is not None)
    return dg.map_asset_specs(partial(_with_condition, partitioned=partitioned), found)


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """Evaluates every condition. One run per partition; a body whose asset is fresh by its turn does nothing."""
    return dg.AutomationConditionSensorDefinition(
        SENSOR,
        target=dg.AssetSelection.all(),
        run_tags={ONLY_STALE_TAG: "true", ACTOR_TAG: ACTOR},
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=TICK_SECONDS,
        emit_backfills=False,
        description="Starts what is downstream of changed data or has changed code.",
    )


def condition_for(
    deps: Iterable[dg.AssetKey], *, is_partitioned: bool, partitioned: frozenset[dg.AssetKey]
) -> dg.AutomationCondition:
    """The condition of one asset: something it is built from changed, and everything it needs is there and quiet.

    A change stays pending until it was requested. A request forgets only changes seen before it: with plain `since`, a
    change on the very tick after a request would be lost, as would one in the tick of any materialization.

    Args:
        deps: Its inputs.
        is_partitioned: Whether it has partitions itself: then it needs its own partition of each input only.
        partitioned: Every asset that has partitions; of those, an input needs one partition, as most never landed.
    """
    changed = _Condition.code_version_changed() | _Condition.any_deps_match(_Condition.data_version_changed())
    # What comes to exist on this tick was built or reported just now, from what was there.
    appeared = (~_Condition.missing()).newly_true()
    handled = (_Condition.newly_requested() & ~changed) | appeared
    pending = (_Condition.newly_missing() | changed).since(handled).with_label("has unhandled changes")
    quiet = ~_Condition.any_deps_in_progress() & ~_Condition.in_progress()
    guards = quiet & _Condition.all_deps_blocking_checks_passed()
    some = [] if is_partitioned else sorted(set(deps) & partitioned)
    whole = sorted(set(deps) - set(some))
    if whole:
        guards = guards & ~_Condition.any_deps_match(_Condition.missing()).allow(dg.AssetSelection.assets(*whole))
    for key in some:
        guards = guards & _Condition.any_deps_match(~_Condition.missing()).allow(dg.AssetSelection.assets(key))
    return pending & guards


def _with_condition(spec: dg.AssetSpec, *, partitioned: frozenset[dg.AssetKey]) -> dg.AssetSpec:
    deps = [dep.asset_key for dep in spec.deps]
    if not deps:
        return spec
    is_partitioned = spec.partitions_def is not None
    return spec.replace_attributes(
        automation_condition=condition_for(deps, is_partitioned=is_partitioned, partitioned=partitioned)
    )
