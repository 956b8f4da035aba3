"""Which assets and partitions are out of date, for a build and for the reconciliation sensor. No Dagster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.code_version import code_version
from headwater.lake import Lake, Snapshot
from headwater.materialize import Reason, why_stale
from headwater.product import Asset


@dataclass(frozen=True, kw_only=True)
class Stale:
    """One asset (or partition) that is out of date, and why."""

    path: str
    partition: str | None
    reasons: tuple[Reason, ...]


def stale_assets(
    lake: Lake, assets: Sequence[Asset], *, branch: str, landing: Path, snapshot: Snapshot | None = None
) -> tuple[Stale, ...]:
    """Everything whose pins, code or landed files are not what is published now, in the order of `assets`.

    A partition counts when its file has landed or it was built before; one that never arrived is not missing. What lies
    below something stale may become stale, or not: nobody knows before that is built.
    """
    now = snapshot or lake.at(branch)
    found = []
    for asset in assets:
        code = code_version(asset)
        for partition in _partitions(asset, assets, now, landing):
            reasons = why_stale(lake, now, asset, code=code, partition=partition, landing=landing)
            if reasons:
                found.append(Stale(path=asset.path, partition=partition, reasons=reasons))
    return tuple(found)


def _partitions(asset: Asset, assets: Sequence[Asset], now: Snapshot, landing: Path) -> Sequence[str | None]:
    if asset.partitions is None:
        return (None,)
    return tuple(key for key in asset.partitions.keys if _there(asset, key, assets, now, landing))


def _there(asset: Asset, key: str, assets: Sequence[Asset], now: Snapshot, landing: Path) -> bool:
    if now.has(asset.path) and key in now.entry(asset.path).partitions:
        return True
    if any((landing / asset.product / name.format(partition=key)).is_file() for name in asset.landed):
        return True
    above = [other for other in assets if other.path in asset.inputs and other.partitions is not None]
    return any(_there(other, key, assets, now, landing) for other in above)


def below(paths: frozenset[str], assets: Sequence[Asset]) -> frozenset[str]:
    """`paths` and everything built from them, at any depth. `assets` must be ordered."""
    reached = set(paths)
    for asset in assets:
        if reached & set(asset.inputs):
            reached.add(asset.path)
    return frozenset(reached)


def by_partition(stale: Sequence[Stale]) -> Mapping[str | None, tuple[Stale, ...]]:
    """Grouped by partition key, keys in order, unpartitioned (None) last."""
    keys = sorted({item.partition for item in stale if item.partition is not None})
    groups: dict[str | None, tuple[Stale, ...]] = {
        key: tuple(item for item in stale if item.partition == key) for key in keys
    }
    if whole := tuple(item for item in stale if item.partition is None):
        groups[None] = whole
    return groups
