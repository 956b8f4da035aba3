"""What the lake holds, as Dagster events without a run."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import dagster as dg

from assets._bridge import asset_key, check_evaluation, version_tags
from headwater.lake import Entry
from headwater.names import ASSET_FACT, META_COMMIT, META_DATA_VERSION
from headwater.provenance import CheckRecord

if TYPE_CHECKING:
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

Verdicts: TypeAlias = Mapping[str, "AssetCheckExecutionRecord"]
"""Of one asset, by the check's name."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One asset, or one partition of it, as it stands in the lake.

    Attributes:
        path: The asset.
        partition: The partition, or None.
        data_version: What Dagster should show.
        commit: The commit that shows it.
    """

    path: str
    partition: str | None
    data_version: str
    commit: str


def standings(entry: Entry, commit: str, before: Entry | None = None) -> Iterator[Standing]:
    """What stands at a path, by partition when it has some; with `before`, only what differs from it."""
    if not entry.partitions:
        if before is None or before.data_version != entry.data_version:
            yield Standing(path=entry.path, partition=None, data_version=entry.data_version, commit=commit)
        return
    known: Mapping[str, str] = before.partitions if before else {}
    for key, version in sorted(entry.partitions.items()):
        if known.get(key) != version:
            yield Standing(path=entry.path, partition=key, data_version=version, commit=commit)


def materialization(standing: Standing, *, actor: str) -> dg.AssetMaterialization:
    """The event that tells Dagster of it."""
    return dg.AssetMaterialization(
        asset_key=asset_key(standing.path),
        partition=standing.partition,
        description=f"Reported by {actor}: it stands in the lake, and Dagster did not know.",
        metadata={META_COMMIT: standing.commit, META_DATA_VERSION: standing.data_version},
        tags=version_tags(standing.data_version),
    )


def evaluations(
    path: str, names: frozenset[str], checks: Sequence[CheckRecord], *, on: dg.EventLogRecord | None = None
) -> Iterator[dg.AssetCheckEvaluation]:
    """The verdicts that the lake recorded, for some checks of the asset (`names`) and for dbt's tests of it.

    Args:
        path: The asset.
        names: Names of checks.
        checks: The verdicts.
        on: The materialization that they are on; None for one that is told of with them.
    """
    for check in checks:
        if check.name in names or (on is None and ASSET_FACT in check.facts):
            yield check_evaluation(check, path, on=on)


def newest_materialization(instance: dg.DagsterInstance, path: str) -> dg.EventLogRecord | None:
    """The newest materialization of an asset, of whichever partition; None when Dagster knows of none."""
    records = instance.fetch_materializations(asset_key(path), limit=1).records
    return records[0] if records else None


def newest_verdicts(instance: dg.DagsterInstance, checks: Collection[dg.AssetCheckKey]) -> Mapping[str, Verdicts]:
    """What Dagster shows of some checks, by asset and name."""
    found: dict[str, dict[str, AssetCheckExecutionRecord]] = {}
    for key, record in instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks)).items():
        found.setdefault("/".join(key.asset_key.path), {})[key.name] = record
    return found


def without_run(verdicts: Verdicts) -> Verdicts:
    """Those of some verdicts that somebody told of and no run gave."""
    return {name: record for name, record in verdicts.items() if not record.run_id}


def outdated(newest: dg.EventLogRecord, told: Verdicts) -> frozenset[str]:
    """Names of the checks whose newest verdict was told without a run, before a run made the newest materialization.

    Somebody tells of an asset while a run of it begins: the run's own verdicts then count as older than what was told, and what was told
    as one on something older. Dagster would start nothing below before the next build.

    Args:
        newest: The newest materialization.
        told: The checks' newest verdicts, where no run gave them.
    """
    return frozenset(name for name, record in told.items() if newest.run_id and not _is_on(newest, record))


def _is_on(newest: dg.EventLogRecord, record: "AssetCheckExecutionRecord") -> bool:
    """As Dagster judges it (`AssetCheckExecutionRecord.targets_latest_materialization`)."""
    said = record.evaluation.target_materialization_data if record.evaluation is not None else None
    if said is None:
        return newest.timestamp < record.create_timestamp
    return bool(said.storage_id == newest.storage_id)
