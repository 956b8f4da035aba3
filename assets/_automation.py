"""When Dagster starts work by itself: one condition, attached to the whole graph in one place. See docs/adr/0006."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial, reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import dagster as dg

from assets._bridge import FED, MADE_OF_CODE, URGENT, asset_key
from assets._plan import ancestors
from resources.lake import ACTOR_TAG, ONLY_STALE_TAG
from resources.run_queue import URGENT as URGENT_TAGS

if TYPE_CHECKING:
    from dagster._core.definitions.declarative_automation.operators.dep_operators import DepsAutomationCondition

ACTOR: Final = "automation"
SENSOR: Final = "automation_conditions"
URGENT_SENSOR: Final = f"{SENSOR}_urgent"
TICK_SECONDS: Final = 5

_Condition = dg.AutomationCondition


def with_automation(assets: Iterable[dg.AssetsDefinition]) -> Sequence[dg.AssetsDefinition]:
    """The same assets, each that reads others with the condition that starts it.

    An asset without inputs (a landing asset) gets none: the landed-data sensor starts it. One that is made of nothing but code gets one. Assets that one body builds
    together (dbt models) get one condition, so that they are requested together.
    """
    found = list(assets)
    partitioned = frozenset(spec.key for item in found for spec in item.specs if spec.partitions_def is not None)
    fed = frozenset(spec.key for item in found for spec in item.specs if FED in spec.metadata)
    groups = {key: frozenset(item.keys) for item in found if len(item.keys) > 1 for key in item.keys}
    specs = [spec for item in found for spec in item.specs]
    inputs = {spec.key: [dep.asset_key for dep in spec.deps] for spec in specs}
    given = partial(
        _with_condition,
        partitioned=partitioned,
        fed=fed,
        groups=groups,
        above=ancestors(inputs),
        landing=frozenset(spec.key for spec in specs if not spec.deps and MADE_OF_CODE not in spec.metadata),
    )
    return dg.map_asset_specs(given, found)


def automation_sensors(
    together: Sequence[frozenset[str]] = (), urgent: Iterable[str] = ()
) -> list[dg.AutomationConditionSensorDefinition]:
    """Evaluate every condition. One run per partition; a body whose asset is fresh by its turn does nothing.

    What is urgent has a sensor of its own: in one run with a training it would come after it. Each set in `together` has one too, and so a
    run of its own: a run that Dagster requests for such assets and others at once leaves their checks out of its plan, and the UI would
    not show the tests among its steps.

    Args:
        together: Paths of assets that one body builds.
        urgent: Paths of urgent assets.
    """
    groups = [frozenset(asset_key(path) for path in paths) for paths in together]
    apart = [dg.AssetSelection.assets(*sorted(group)) for group in groups]
    rest: dg.AssetSelection = dg.AssetSelection.all()
    for selection in apart:
        rest = rest - selection
    names = [f"{SENSOR}_{min(group).path[0]}_together" for group in groups]
    found = [*map(_sensor, names, apart)]
    if keys := sorted(asset_key(path) for path in urgent):
        first = dg.AssetSelection.assets(*keys)
        rest = rest - first
        found.append(_sensor(URGENT_SENSOR, first, URGENT_TAGS))
    return [_sensor(SENSOR, rest), *found]


def _sensor(
    name: str, target: dg.AssetSelection, tags: Mapping[str, str] = MappingProxyType({})
) -> dg.AutomationConditionSensorDefinition:
    return dg.AutomationConditionSensorDefinition(
        name,
        target=target,
        run_tags={ONLY_STALE_TAG: "true", ACTOR_TAG: ACTOR, **tags},
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=TICK_SECONDS,
        emit_backfills=False,
        description="Starts what is downstream of changed data or has changed code.",
    )


def condition_for(
    deps: Iterable[dg.AssetKey],
    *,
    is_partitioned: bool,
    partitioned: frozenset[dg.AssetKey],
    fed: frozenset[dg.AssetKey] = frozenset(),
    together: frozenset[dg.AssetKey] = frozenset(),
    above: frozenset[dg.AssetKey] = frozenset(),
    landing: frozenset[dg.AssetKey] = frozenset(),
    urgent: bool = False,
) -> dg.AutomationCondition:
    """The condition of one asset: something it is built from changed, and everything it needs is there and quiet.

    A change stays pending until it was requested. A request forgets only changes seen before it: with plain `since`, a
    change on the very tick after a request would be lost.

    Args:
        deps: Its inputs.
        is_partitioned: Whether it has partitions itself: then it needs its own partition of each input only.
        partitioned: Every asset that has partitions; of those, an input needs one partition, as most never landed.
        fed: Every table that is fed: nobody waits until nothing is taken into it. Its readers are asked for again with what came in.
        together: What the same body builds: all of it is requested when something that one of it is built from changed.
        above: Partitioned assets that it is built from, at any depth.
        landing: What is made of landed files: the code of its partitions is nothing to wait for.
        urgent: Whether it is built of what stands, whatever is on its way or was refused above it; not for what is built together.
    """
    some = frozenset() if is_partitioned else frozenset(deps) & partitioned
    changed = _any_of(_changed(together), together)
    requested = _Condition.newly_requested()
    appeared = (~_Condition.missing()).newly_true()
    # What appears on the tick of its inputs was reported with them, as after a deleted database.
    unhandled = changed.since((requested & ~changed) | (appeared & changed))
    absent = _any_of(_Condition.newly_missing(), together).since(requested | appeared)
    pending = (absent | unhandled).with_label("has unhandled changes")
    if urgent:
        return pending & ~(_Condition.in_progress() | _Condition.any_deps_match(_Condition.missing()))
    hindered = _any_of(_hindered(some, together, fed), together)
    if not is_partitioned and above:
        hindered = hindered | _on_its_way(above, landing)
    return pending & ~hindered


def _changed(together: frozenset[dg.AssetKey]) -> dg.AutomationCondition:
    data = _Condition.any_deps_match(_Condition.data_version_changed())
    return _Condition.code_version_changed() | _but(data, together)


def _on_its_way(partitions: frozenset[dg.AssetKey], landing: frozenset[dg.AssetKey]) -> dg.AutomationCondition:
    """A partition of something above is being built, changed since the last tick, or stands as code made it that is no longer there.

    What changed starts something that is not in progress yet: without the wait the whole would be built now and again after it. What has
    no partitions either is requested in one run with what is above it, in order, and needs no such wait.

    Of older code a partition stands until its run comes, and for good where that run dies: the whole would be of two definitions. A file
    in the landing folder may be gone for ever, and its cells are the same text by any code.
    """
    coming = _Condition.in_progress() | _Condition.newly_updated()
    older = ~_Condition.missing() & _Condition.code_version_changed().since(_Condition.newly_updated())
    first, *rest = (
        _Condition.asset_matches(key, coming if key in landing else coming | older) for key in sorted(partitions)
    )
    return reduce(lambda either, other: either | other, rest, first)


def _hindered(
    some: frozenset[dg.AssetKey], together: frozenset[dg.AssetKey], fed: frozenset[dg.AssetKey]
) -> dg.AutomationCondition:
    """It or an input is in progress, a blocking check above it failed, or an input is absent: of `some` all partitions.

    Of an input in `fed` what stands is good enough. While a version fails, its failures are taken in every ten seconds: whoever waited
    for an end of that (or for its checks, which are open again with each run) would wait for as long as it fails.
    """
    busy = _Condition.in_progress() | _but(_Condition.any_deps_in_progress(), together | fed)
    checked = _but(_Condition.all_deps_blocking_checks_passed(), together | fed)
    absent = _but(_Condition.any_deps_match(_Condition.missing()), together | some)
    hindered = busy | ~checked | absent
    for key in sorted(some):
        hindered = hindered | ~_Condition.any_deps_match(~_Condition.missing()).allow(dg.AssetSelection.assets(key))
    return hindered


def _but(condition: "DepsAutomationCondition", keys: frozenset[dg.AssetKey]) -> dg.AutomationCondition:
    """A condition on the inputs without some of them."""
    return condition.ignore(dg.AssetSelection.assets(*sorted(keys))) if keys else condition


def _any_of(condition: dg.AutomationCondition, together: Iterable[dg.AssetKey]) -> dg.AutomationCondition:
    """A condition that holds for the asset, or for anything that is built together with it."""
    others = (_Condition.asset_matches(key, condition) for key in sorted(together))
    return reduce(lambda either, other: either | other, others, condition)


def _with_condition(
    spec: dg.AssetSpec,
    *,
    partitioned: frozenset[dg.AssetKey],
    fed: frozenset[dg.AssetKey],
    groups: Mapping[dg.AssetKey, frozenset[dg.AssetKey]],
    above: Mapping[dg.AssetKey, frozenset[dg.AssetKey]],
    landing: frozenset[dg.AssetKey],
) -> dg.AssetSpec:
    deps = [dep.asset_key for dep in spec.deps]
    if not deps and MADE_OF_CODE not in spec.metadata:
        return spec
    condition = condition_for(
        deps,
        is_partitioned=spec.partitions_def is not None,
        partitioned=partitioned,
        fed=fed,
        together=groups.get(spec.key, frozenset()),
        above=above[spec.key] & partitioned,
        landing=landing,
        urgent=URGENT in spec.metadata,
    )
    return spec.replace_attributes(automation_condition=condition)
