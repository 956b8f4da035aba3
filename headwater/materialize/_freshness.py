"""Which assets are out of date, and why: the pins in the lake against what is published now.

Everything is read from the lake, so it works with Dagster's database deleted.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from headwater.lake import Commit, Lake, Snapshot
from headwater.lake.errors import CollectedCommitError
from headwater.materialize._file_digests import landed_sha256
from headwater.materialize._inputs import version_of
from headwater.names import BY_HAND
from headwater.product import Asset
from headwater.provenance import Output, Pin, Provenance


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One reason why an asset is out of date.

    Attributes:
        what: `missing`, `code`, `input`, `landed`; of what is left alone (`why_held`) `taken back`, `missing upstream`.
        name: Which input or file; the asset itself otherwise.
        before: Version it was built from, None when there was none.
        now: Version there is now.
    """

    what: str
    name: str
    before: str | None
    now: str | None

    def __str__(self) -> str:
        if self.what == "missing":
            return f"{self.name} is not there"
        if self.what == "code":
            return "its code changed"
        if self.what == "taken back":
            return f"{self.name} was taken back by commit {(self.now or '')[:12]}, and nothing it is built from changed"
        if self.what == "missing upstream":
            return f"missing upstream: {self.name} is not there"
        change = f"{(self.before or 'nothing')[:12]} -> {(self.now or 'nothing')[:12]}"
        return f"{'landed file' if self.what == 'landed' else 'input'} {self.name} changed ({change})"


@dataclass(frozen=True, kw_only=True)
class Record:
    """How what stands at a path came to be.

    Attributes:
        commit: The commit that last wrote it.
        provenance: That commit's record (of several partitions only the one asked for), None for an outside commit.
        output: The record's part about this path.
        attested: Later records that came out equal.
    """

    commit: Commit
    provenance: Provenance | None
    output: Output | None
    attested: tuple[Provenance, ...] = ()


class Histories:
    """Histories of paths, each read from the lake once however many ask: all partitions of a table have the same one."""

    def __init__(self, lake: Lake) -> None:
        """Knows none yet."""
        self._lake = lake
        self._known: dict[tuple[str, str], tuple[list[Commit], Iterator[Commit]]] = {}

    def log(self, commit: str, path: str) -> Iterator[Commit]:
        """The commits before and with a commit that changed a path, newest first."""
        known, rest = self._known.setdefault((commit, path), ([], self._lake.log(commit, path=path)))
        place = 0
        while True:
            if place == len(known):
                found = next(rest, None)
                if found is None:
                    return
                known.append(found)
            yield known[place]
            place += 1


def record_of(
    lake: Lake, snapshot: Snapshot, path: str, partition: str | None = None, *, histories: Histories | None = None
) -> Record | None:
    """The record of what stands at `path` (or in its partition) at a snapshot, None when nothing does."""
    if not snapshot.has(path):
        return None
    entry = snapshot.entry(path)
    if partition is not None and partition not in entry.partitions:
        return None
    for commit in (histories or Histories(lake)).log(snapshot.commit.id, path):
        provenance = commit.provenance
        output = provenance.output(path, partition) if provenance else None
        if partition is not None and output is not None and output.partition not in (None, partition):
            continue
        version = entry.data_version if partition is None else entry.partitions[partition]
        whole = partition is not None and (output is None or output.partition is None)
        if whole and _held_before(lake, commit, path, str(partition), version):
            continue
        return Record(
            commit=commit,
            provenance=provenance.only(path, partition) if provenance else None,
            output=output,
            attested=_attested(lake, path, partition, version),
        )
    return None


def _held_before(lake: Lake, commit: Commit, path: str, partition: str, version: str) -> bool:
    """Whether a commit on the table as a whole (a revert, a merge) left this partition as it was."""
    if not commit.parents:
        return False
    try:
        before = lake.at(commit.parents[0])
    except CollectedCommitError:
        return False
    return before.has(path) and before.entry(path).partitions.get(partition) == version


def _attested(lake: Lake, path: str, partition: str | None, version: str) -> tuple[Provenance, ...]:
    found = []
    for provenance in lake.attestations(path):
        output = provenance.output(path, partition)
        if output is None or output.partition != partition:
            continue
        if (output.data_version if partition is None else output.partition_version) == version:
            found.append(provenance.only(path, partition))
    return tuple(found)


def why_stale(
    lake: Lake,
    snapshot: Snapshot,
    asset: Asset,
    *,
    code: str,
    partition: str | None = None,
    landing: Path | None = None,
    histories: Histories | None = None,
) -> tuple[Reason, ...]:
    """Why an asset is out of date at a snapshot; empty when it is fresh.

    What a revert or an outside commit put there, or took away, stays so until something it is built from, or its code,
    changes again. What cannot be built because its partition of an input is gone is not stale: see `why_held`.

    Args:
        lake: The lake.
        snapshot: What is published.
        asset: The declaration.
        code: Its present code version.
        partition: Which partition, for partitioned assets.
        landing: Folder of landed files; a file that is no longer there changes nothing.
        histories: For who asks about many.
    """
    record = record_of(lake, snapshot, asset.path, partition, histories=histories)
    if why_held(lake, snapshot, asset, code=code, partition=partition, landing=landing, histories=histories):
        return ()
    if record is None:
        return (Reason(what="missing", name=asset.path, before=None, now=None),)
    now = _present(snapshot, asset, partition, landing)
    if record.provenance is None or record.provenance.action in BY_HAND:
        since = _since(lake, record.commit, asset, code, partition, now)
        return min((since, *(_differences(p, code, asset, now) for p in record.attested)), key=len)
    candidates = [_differences(p, code, asset, now) for p in (record.provenance, *record.attested)]
    return min(candidates, key=len)


def why_held(
    lake: Lake,
    snapshot: Snapshot,
    asset: Asset,
    *,
    code: str,
    partition: str | None = None,
    landing: Path | None = None,
    histories: Histories | None = None,
) -> tuple[Reason, ...]:
    """Why an asset is left alone although it, or its partition of an input, is not there; empty when it is not.

    Somebody took it back and nothing changed since, or the same partition of an input is gone, so that no build of it
    can end well. Takes what `why_stale` takes.
    """
    read = histories or Histories(lake)
    gone = tuple(
        Reason(what="missing upstream", name=name, before=None, now=None)
        for path in asset.inputs
        if (name := _gone(lake, read, snapshot, asset, path, partition)) is not None
    )
    if gone or _stands(snapshot, asset.path, partition):
        return gone
    commit = _taken_back(lake, read, snapshot, asset.path, partition)
    if commit is None or _since(lake, commit, asset, code, partition, _present(snapshot, asset, partition, landing)):
        return ()
    name = asset.path if partition is None else f"{asset.path} {partition}"
    return (Reason(what="taken back", name=name, before=None, now=commit.id),)


def _gone(
    lake: Lake, read: Histories, snapshot: Snapshot, asset: Asset, path: str, partition: str | None
) -> str | None:
    """The name of an input that a build would ask for in vain and that no build is about to bring."""
    if not snapshot.has(path):
        return path if _taken_back(lake, read, snapshot, path, None) else None
    keys = snapshot.entry(path).partitions
    if asset.partitions is None or partition is None or not keys or partition in keys:
        return None
    return f"{path} {partition}"


def _taken_back(lake: Lake, read: Histories, snapshot: Snapshot, path: str, partition: str | None) -> Commit | None:
    """The newest revert (or merge) that removed what stood at a path, or one of its partitions."""
    for commit in read.log(snapshot.commit.id, path):
        record = commit.provenance
        if record is None or record.action not in BY_HAND or not commit.parents:
            continue
        try:
            after, before = lake.at(commit.id), lake.at(commit.parents[0])
        except CollectedCommitError:  # by an older Headwater; what is not there now and was built is gone by hand
            built = _built_before(lake, commit, path, partition, is_exact=partition is not None)
            return commit if built is not None else None
        if _stands(before, path, partition) and not _stands(after, path, partition):
            return commit
    return None


def _stands(snapshot: Snapshot, path: str, partition: str | None) -> bool:
    return snapshot.has(path) and (partition is None or partition in snapshot.entry(path).partitions)


def _since(
    lake: Lake, commit: Commit, asset: Asset, code: str, partition: str | None, now: Mapping[str, str]
) -> tuple[Reason, ...]:
    """What changed since a commit that was made by hand."""
    earlier = _built_before(lake, commit, asset.path, partition)
    pins = earlier.inputs if earlier else ()
    try:
        base = lake.at(commit.id)
        then = {p: version_of(base.entry(p), asset, partition) for p in asset.inputs if base.has(p)}
    except CollectedCommitError:  # by an older Headwater; what the build before it read is as near as its records come
        then = {pin.path: pin.data_version for pin in pins if pin.role == "input"}
    then |= {pin.path: pin.data_version for pin in pins if pin.role == "landed"}
    return (*(_code(earlier, code, asset) if earlier else ()), *_changes(then, now))


def _present(snapshot: Snapshot, asset: Asset, partition: str | None, landing: Path | None) -> Mapping[str, str]:
    now = {p: version_of(snapshot.entry(p), asset, partition) for p in asset.inputs if snapshot.has(p)}
    for name in asset.landed if landing else ():
        shown = name.format(partition=partition)
        file = landing / asset.product / shown  # type: ignore[operator]
        if file.is_file():
            now[shown] = landed_sha256(file)
    return now


def _built_before(
    lake: Lake, commit: Commit, path: str, partition: str | None, *, is_exact: bool = False
) -> Provenance | None:
    """The newest build before a revert: the revert is kept until the files or the code it saw change again.

    Of an asset that had other partitions then, or none, any build tells the code that it had, unless `is_exact`.
    """
    other: Provenance | None = None
    for earlier in lake.log(commit.id, path=path):
        record = earlier.provenance
        output = record.output(path, partition) if record else None
        if record is None or record.action in BY_HAND or output is None:
            continue
        if output.partition == partition:
            return record.only(path, partition)
        other = other or record
    return None if is_exact else other


def _differences(provenance: Provenance, code: str, asset: Asset, now: Mapping[str, str]) -> tuple[Reason, ...]:
    return (*_code(provenance, code, asset), *_changes(_versions(provenance.inputs), now, provenance.inputs))


def _code(provenance: Provenance, code: str, asset: Asset) -> tuple[Reason, ...]:
    output = provenance.output(asset.path)
    before = output.code_version if output else None
    return () if before == code else (Reason(what="code", name=asset.path, before=before, now=code),)


def _versions(pins: Iterable[Pin]) -> Mapping[str, str]:
    return {pin.path: pin.data_version for pin in pins if pin.role != "previous"}


def _changes(then: Mapping[str, str], now: Mapping[str, str], pins: Iterable[Pin] = ()) -> tuple[Reason, ...]:
    landed = {pin.path for pin in pins if pin.role == "landed"}
    return tuple(
        Reason(what="landed" if name in landed else "input", name=name, before=then.get(name), now=version)
        for name, version in sorted(now.items())
        if then.get(name) != version
    )
