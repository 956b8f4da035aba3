"""What the lake holds, as Dagster events without a run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from assets._bridge import asset_key, check_evaluation, version_tags
from headwater.lake import Entry
from headwater.names import ASSET_FACT, META_COMMIT, META_DATA_VERSION
from headwater.provenance import CheckRecord


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


def evaluations(path: str, names: frozenset[str], checks: Sequence[CheckRecord]) -> Iterator[dg.AssetCheckEvaluation]:
    """The verdicts that the lake recorded, for the asset's declared checks (`names`) and for dbt's tests of it."""
    for check in checks:
        if check.name in names or ASSET_FACT in check.facts:
            yield check_evaluation(check, path)
