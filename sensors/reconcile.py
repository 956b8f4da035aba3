"""Reconciliation: what the lake says was read, against what is published now. It finds what any other sensor missed.

First it tells Dagster what stands in the lake and is unknown there (a deleted database, a build elsewhere); only when
both agree does it request what is stale, one wave at a time, and only what it wanted a tick ago already.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import dagster as dg

from assets._bridge import DATA_VERSION_TAG, asset_key, check_specs
from assets._plan import Stale, stale_assets, waits_for_code
from headwater.code_version import code_version
from headwater.lake import EmbeddedLake, Lake, Snapshot
from headwater.materialize import landed_sha256, record_of
from headwater.materialize._inputs import version_of
from headwater.product import Asset
from headwater.provenance import Provenance
from resources.lake import ACTOR_TAG, ONLY_STALE_TAG, LakeResource
from resources.verdicts import recorded_verdicts
from sensors._busy import busy_assets
from sensors._reports import (
    Standing,
    Verdicts,
    evaluations,
    materialization,
    newest_materialization,
    newest_verdicts,
    outdated,
    standings,
    without_run,
)
from sensors._workers import fail_lost_runs

ACTOR: Final = "sensor:reconcile"
TICK_SECONDS: Final = 30
RECONCILE_TAG: Final = "headwater/reconcile"
MOST_TRIES: Final = 3

Pins: TypeAlias = frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run that makes something fresh.

    Attributes:
        paths: The assets, built in one transaction when there are several.
        partition: Their partition, or None.
        key: Digest of what they would be built from and what stands now.
    """

    paths: frozenset[str]
    partition: str | None
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one build of one asset reads, or what a refused build of it read."""

    path: str
    partition: str | None
    code: str
    pins: Pins


def reconcile_sensor(assets: Sequence[Asset], together: Sequence[frozenset[str]] = ()) -> dg.SensorDefinition:
    """The sensor over all `assets`; the paths of each set in `together` are requested as one."""

    @dg.sensor(
        name="reconciliation",
        asset_selection=dg.AssetSelection.all(),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Compares the pins in the lake with what is published, and starts what the others missed.",
    )
    def body(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        scene = _Scene(lake=lake.open(), resource=lake, assets=assets)
        fail_lost_runs(context.instance, is_alone=isinstance(scene.lake, EmbeddedLake))
        busy = busy_assets(context.instance, frozenset(asset.path for asset in assets))
        assert context.repository_def is not None
        verdicts = newest_verdicts(context.instance, context.repository_def.asset_graph.asset_check_keys)
        events = list(scene.reports(context.instance, busy, verdicts))
        if events:
            return dg.SensorResult(asset_events=events)
        wanted = scene.requests(busy, together)
        seen = json.loads(context.cursor or "[]")
        # What was wanted a tick ago already is what the conditions and the landed-data sensor did not start.
        due = [request for item in wanted if item.key in seen if (request := _run_request(context.instance, item))]
        reason = None if due else "Everything is as fresh as what is published and in progress allows."
        return dg.SensorResult(
            run_requests=due, skip_reason=reason, cursor=json.dumps(sorted(item.key for item in wanted))
        )

    return body


def next_wave(
    stale: Sequence[Stale],
    inputs: Mapping[str, Sequence[str]],
    *,
    standing: frozenset[str],
    busy: frozenset[str],
    refused: frozenset[tuple[str, str | None]],
    together: Sequence[frozenset[str]] = (),
) -> tuple[Request, ...]:
    """The runs to start now: what is stale, none of whose inputs is stale, absent or in progress.

    Args:
        stale: What is out of date.
        inputs: Each asset's inputs.
        standing: Paths that stand in the lake.
        busy: Assets in progress.
        refused: What failed its checks on these same inputs and code.
        together: Sets of paths that one transaction builds; inputs within a set don't hold it back.
    """
    group = {path: paths for paths in together for path in paths}
    found: dict[Request, None] = {}
    for item in stale:
        paths = group.get(item.path, frozenset({item.path}))
        needs = {path for one in paths for path in inputs[one]} - paths
        waits = any(other.path in needs and _touches(other, item) for other in stale)
        held = paths & busy or needs & busy or needs - standing
        if not waits and not held and (item.path, item.partition) not in refused:
            found[Request(paths=paths, partition=item.partition)] = None
    return tuple(found)


def _touches(above: Stale, below: Stale) -> bool:
    return above.partition is None or below.partition is None or above.partition == below.partition


def unknown(standing: Sequence[Standing], shown: Mapping[tuple[str, str | None], str | None]) -> tuple[Standing, ...]:
    """What stands in the lake with another data version than Dagster shows, or none."""
    return tuple(item for item in standing if shown.get((item.path, item.partition)) != item.data_version)


def refused_again(attempts: Sequence[Attempt], refusals: Sequence[Attempt]) -> frozenset[tuple[str, str | None]]:
    """The attempts that failed their checks before, on the same inputs and the same code."""
    known = frozenset(refusals)
    return frozenset((item.path, item.partition) for item in attempts if item in known)


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """The lake and the declarations at one tick."""

    lake: Lake
    resource: LakeResource
    assets: Sequence[Asset]

    def reports(
        self, instance: dg.DagsterInstance, busy: frozenset[str], verdicts: Mapping[str, Verdicts]
    ) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
        """What stands and Dagster does not show, and verdicts that it takes for those on something older."""
        now = self.lake.at(self.resource.settings().branch)
        for asset in self.assets:
            if asset.path in busy or not now.has(asset.path):
                continue
            there = tuple(standings(now.entry(asset.path), now.commit.id))
            names = frozenset(spec.name for spec in check_specs(asset))
            news = unknown(there, {(s.path, s.partition): _shown(instance, s) for s in there})
            for item in news:
                yield materialization(item, actor=ACTOR)
                yield from evaluations(item.path, names, recorded_verdicts(self.lake, now, item.path, item.partition))
            told = without_run(verdicts.get(asset.path, {})) if not news else {}
            if told and (newest := newest_materialization(instance, asset.path)) is not None:
                late = outdated(newest, told)
                found = recorded_verdicts(self.lake, now, asset.path, newest.partition_key) if late else ()
                yield from evaluations(asset.path, late, found, on=newest)

    def requests(self, busy: frozenset[str], together: Sequence[frozenset[str]]) -> tuple[Request, ...]:
        settings = self.resource.settings()
        now = self.lake.at(settings.branch)
        stale = stale_assets(self.lake, self.assets, branch=settings.branch, landing=settings.landing, snapshot=now)
        if not stale:
            return ()
        attempts = {(item.path, item.partition): self._attempt(now, item) for item in stale}
        wave = next_wave(
            stale,
            {asset.path: asset.inputs for asset in self.assets},
            standing=frozenset(now.paths()),
            busy=busy,
            refused=refused_again(tuple(attempts.values()), tuple(self._refusals())),
            together=together,
        )
        held = waits_for_code(stale, self.assets)
        return tuple(replace(item, key=self._key(now, item, attempts)) for item in wave if not item.paths & held)

    def _attempt(self, now: Snapshot, item: Stale) -> Attempt:
        asset = next(asset for asset in self.assets if asset.path == item.path)
        pins = {(p, version_of(now.entry(p), asset, item.partition)) for p in asset.inputs if now.has(p)}
        for name in (name.format(partition=item.partition) for name in asset.landed):
            file = self.resource.settings().landing / asset.product / name
            if file.is_file():
                pins.add((name, landed_sha256(file)))
        return Attempt(path=item.path, partition=item.partition, code=code_version(asset), pins=frozenset(pins))

    def _refusals(self) -> Iterator[Attempt]:
        for branch in self.lake.branches():
            record = self.lake.resolve(branch.commit).provenance
            if record is not None and record.action == "refuse":
                yield from _attempts_of(record, {asset.path: asset for asset in self.assets})

    def _key(self, now: Snapshot, item: Request, attempts: Mapping[tuple[str, str | None], Attempt]) -> str:
        parts = []
        for path in sorted(item.paths):
            record = record_of(self.lake, now, path, item.partition)
            attempt = attempts.get((path, item.partition))
            said = (attempt.code, sorted(attempt.pins)) if attempt else ()
            parts.append(f"{path} {item.partition} {record.commit.id if record else None} {said}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _attempts_of(record: Provenance, assets: Mapping[str, Asset]) -> Iterator[Attempt]:
    """What a refused build read, of each asset only what that asset declares: a dbt build pins for all its models."""
    for output in record.outputs:
        asset = assets.get(output.path)
        if asset is not None:
            own = {*asset.inputs, *(name.format(partition=output.partition) for name in asset.landed)}
            inputs = record.only(output.path, output.partition).inputs
            pins = frozenset((pin.path, pin.data_version) for pin in inputs if pin.path in own)
            yield Attempt(path=output.path, partition=output.partition, code=output.code_version, pins=pins)


def _shown(instance: dg.DagsterInstance, item: Standing) -> str | None:
    """The data version that Dagster shows, None when it knows of none."""
    partitions = [item.partition] if item.partition else None
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset_key(item.path), asset_partitions=partitions), limit=1
    ).records
    event = records[0].asset_materialization if records else None
    return (event.tags or {}).get(DATA_VERSION_TAG) if event else None


def _run_request(instance: dg.DagsterInstance, item: Request) -> dg.RunRequest | None:
    """The request; None when runs for the very same reason ended badly often enough."""
    ended = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    tries = len(instance.get_run_ids(dg.RunsFilter(tags={RECONCILE_TAG: item.key}, statuses=ended), limit=MOST_TRIES))
    if tries == MOST_TRIES:
        return None
    return dg.RunRequest(
        run_key=f"reconcile/{item.key}/{tries}",
        asset_selection=[asset_key(path) for path in sorted(item.paths)],
        partition_key=item.partition,
        tags={ONLY_STALE_TAG: "true", ACTOR_TAG: ACTOR, RECONCILE_TAG: item.key},
    )
