"""Which assets and partitions are out of date, for a build and for the reconciliation sensor. No Dagster."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from headwater.code_version import code_version
from headwater.lake import Lake, Snapshot
from headwater.materialize import Histories, Reason, kept_beside, why_held, why_stale
from headwater.product import Asset

_Key = TypeVar("_Key")


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
    return _with_reasons(why_stale, lake, assets, snapshot or lake.at(branch), landing)


def held_assets(
    lake: Lake, assets: Sequence[Asset], *, branch: str, landing: Path, snapshot: Snapshot | None = None
) -> tuple[Stale, ...]:
    """What is left alone although it, or its partition of an input, is not there: taken back, or missing upstream."""
    return _with_reasons(why_held, lake, assets, snapshot or lake.at(branch), landing)


def undeclared(snapshot: Snapshot, assets: Iterable[Asset], *, product: str | None = None) -> tuple[str, ...]:
    """Paths that stand in the lake although no code makes or reads it: an asset, or a product, that was removed or renamed.

    Args:
        snapshot: What is published.
        assets: Every declared asset.
        product: Only this product's folder, or None.
    """
    known = {path for asset in assets for path in (asset.path, *kept_beside(asset), *asset.inputs, *asset.previous)}
    return tuple(path for path in snapshot.paths() if path not in known and product in (None, path.split("/")[0]))


def _with_reasons(
    why: Callable[..., tuple[Reason, ...]], lake: Lake, assets: Sequence[Asset], now: Snapshot, landing: Path
) -> tuple[Stale, ...]:
    found, histories = [], Histories(lake)
    for asset in assets:
        code = code_version(asset)
        for partition in _partitions(asset, assets, now, landing):
            reasons = why(lake, now, asset, code=code, partition=partition, landing=landing, histories=histories)
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


def waits_for_code(stale: Sequence[Stale], assets: Sequence[Asset]) -> frozenset[str]:
    """Whole assets that would be of two definitions: of something above them a partition still stands as older code made it.

    They wait until it is built, at any depth. What is urgent waits for nothing. Landing assets count as in the conditions: not at all.
    Nor do partitions that are held (`why_held`): none of them is about to be built.
    """
    older = {item.path for item in stale if item.partition is not None and any(r.what == "code" for r in item.reasons)}
    older -= {asset.path for asset in assets if asset.landed and not asset.inputs}
    above = ancestors({asset.path: asset.inputs for asset in assets})
    return frozenset(a.path for a in assets if a.partitions is None and not a.urgent and above[a.path] & older)


def waves(stale: Sequence[Stale], assets: Sequence[Asset]) -> Iterator[tuple[str | None, frozenset[str]]]:
    """The runs that make everything fresh: partition key (None for whole assets) and the assets of each, in order.

    A run holds whole assets or one partition of partitioned ones, never both; a run comes after all it may depend on.
    What is below something stale takes part and finds itself fresh or not when its turn comes. What is urgent has runs of its own: Dagster
    would take it for being built as long as a training in the same run goes on, and start no roll-back meanwhile.
    """
    left = set(below(frozenset(item.path for item in stale), assets))
    keys = sorted({item.partition for item in stale if item.partition is not None})
    partitioned = {asset.path for asset in assets if asset.partitions is not None}
    urgent = {asset.path for asset in assets if asset.urgent}
    above = ancestors({asset.path: asset.inputs for asset in assets})
    while left:
        whole = {path for path in left - partitioned if not above[path] & left & partitioned}
        left -= whole
        while whole:
            usual = {path for path in whole - urgent if not above[path] & whole & urgent}
            if usual:
                yield None, frozenset(usual)
            whole -= usual
            first = {path for path in whole & urgent if not (above[path] & whole) - urgent}
            if first:
                yield None, frozenset(first)
            whole -= first
        parts = {path for path in left & partitioned if not (above[path] & left) - partitioned}
        for key in keys if parts else ():
            yield key, frozenset(parts)
        left -= parts


def ancestors(inputs: Mapping[_Key, Iterable[_Key]]) -> Mapping[_Key, frozenset[_Key]]:
    """Everything that each key of `inputs` is built from, at any depth, in any order of keys."""
    found: dict[_Key, frozenset[_Key]] = {}

    def above(key: _Key) -> frozenset[_Key]:
        if key not in found:
            direct = frozenset(inputs.get(key, ()))
            found[key] = direct.union(*map(above, direct))
        return found[key]

    return {key: above(key) for key in inputs}
