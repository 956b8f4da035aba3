"""How a transaction ends: the record is written, then everything is published, refused, or found equal."""

import hashlib
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from headwater.code_version import code_version, compute_version
from headwater.lake import Commit, Entry, Lake, Snapshot, Transaction
from headwater.lake._tables import live_files
from headwater.materialize._inputs import built_by
from headwater.materialize._verdicts import by_name, claim
from headwater.models.versions import VersionFacts, next_version, parse_version
from headwater.names import MAIN, SIGNATURE_FACT, VERSION_FACT
from headwater.product import Asset
from headwater.provenance import CheckRecord, Cost, Output, Pin, Provenance


class Status(StrEnum):
    """How a materialization ended."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    FRESH = "fresh"


@dataclass(frozen=True, kw_only=True)
class Run:
    """Who runs what code where: everything about a run that is not the asset.

    Attributes:
        run_id: Dagster run id, or None outside Dagster. With it, a retry finds what it published before.
        actor: Who asked, such as `user:ada`, `sensor:landed_data`, `automation`.
        git_commit: Commit of the code, None outside a git checkout.
        git_dirty: Whether tracked files differ from it.
        environment: Digest of interpreter and resolved packages.
    """

    run_id: str | None = None
    actor: str = ""
    git_commit: str | None = None
    git_dirty: bool = False
    environment: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a materialization did.

    Attributes:
        status: Published, unchanged, refused or fresh.
        path: The asset.
        partition: The partition, or None.
        entry: What stands at the path now (or on the refused branch), None when nothing was written.
        commit: Commit that holds it: on the target branch, or on the branch left when refused.
        branch: The branch left for a look, when refused.
        into: The branch it was built for.
        checks: One verdict for each check; one that failed for several partitions names them.
        provenance: The record as written.
        uri: Where to find it.
    """

    status: Status
    path: str
    partition: str | None = None
    entry: Entry | None = None
    commit: str | None = None
    branch: str | None = None
    into: str = MAIN
    checks: tuple[CheckRecord, ...] = ()
    provenance: Provenance | None = None
    uri: str = ""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts that the asset's function reported."""
        output = self.provenance.output(self.path, self.partition) if self.provenance else None
        return output.facts if output else {}


@dataclass(frozen=True, kw_only=True)
class Written:
    """One asset as a transaction wrote it; `entry` is None when its function refused its inputs.

    With `adds` files that stood there may stand there still: rows were added, or a partition was replaced.
    """

    asset: Asset
    entry: Entry | None
    partition: str | None = None
    adds: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Stopwatch:
    """When a materialization started, and how long its function took."""

    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=lambda: _cpu_seconds())
    function: float = 0.0

    def cost(self, bytes_written: int) -> Cost:
        """What was used since the start."""
        wall = time.perf_counter() - self.wall
        return Cost(
            wall_seconds=round(wall, 6),
            cpu_seconds=round(_cpu_seconds() - self.cpu, 6),
            bytes_written=bytes_written,
            lake_seconds=round(max(wall - self.function, 0.0), 6),
        )


def finish(
    lake: Lake,
    tx: Transaction,
    written: Sequence[Written],
    *,
    checks: tuple[CheckRecord, ...],
    pins: tuple[Pin, ...],
    run: Run,
    watch: Stopwatch,
    into: str = MAIN,
) -> tuple[Outcome, ...]:
    """Publishes all that was written in one commit, or refuses all of it, and says so for each asset.

    Raises:
        MergeConflictError: Another run published something else at one of the paths meanwhile.
    """
    provenance = Provenance(
        transaction=tx.id,
        action="materialize",
        outputs=tuple(_output(lake, tx.base, item) for item in written),
        input_commit=tx.base.commit.id,
        inputs=pins,
        checks=checks,
        run_id=run.run_id,
        git_commit=run.git_commit,
        git_dirty=run.git_dirty,
        environment=run.environment,
        started=watch.started,
        cost=watch.cost(_bytes_written(tx, written)),
        actor=run.actor,
    )
    names = _names(written)
    failed = [claim(check) for check in checks if check.blocking and not check.passed]
    if failed or any(item.entry is None for item in written):
        provenance = replace(provenance, action="refuse")
        commit = tx.refuse(message=f"Refuse {names}: {', '.join(failed)}", provenance=provenance)
        _keep_refused(lake, written, provenance, commit, into)
        refused = (_outcome(lake, Status.REFUSED, item, commit, provenance, branch=tx.branch) for item in written)
        return tuple(replace(outcome, into=into) for outcome in refused)
    published = tx.publish(message=f"Materialize {names}", provenance=provenance)
    _keep_unfollowed(lake, written, provenance, published.commit, into)  # before what ends equal counts as built
    equal = [item for item in written if not published.changed or _same(tx.base, item)]
    if equal and not published.replayed:
        kept = tuple(o for o in provenance.outputs if any(_is(o, item) for item in equal))
        lake.attest(replace(provenance, outputs=kept))
    found = (
        _outcome(lake, Status.UNCHANGED if item in equal else Status.PUBLISHED, item, published.commit, provenance)
        for item in written
    )
    return tuple(replace(outcome, into=into) for outcome in found)


def _keep_refused(lake: Lake, written: Sequence[Written], provenance: Provenance, commit: Commit, into: str) -> None:
    """What has to be known of refused builds when their branches are gone."""
    from headwater.refusals import keep_refused_build  # it writes by what stands here

    for item in written:
        if item.asset.refusals is not None:
            keep_refused_build(lake, item.asset.refusals, item.asset.path, provenance, commit.id, into=into)


def _keep_unfollowed(lake: Lake, written: Sequence[Written], provenance: Provenance, commit: Commit, into: str) -> None:
    """What builds that ended well did not follow: one that comes out equal leaves but an attestation, of which a path keeps the newest few."""
    from headwater.refusals import keep_unfollowed

    for item in written:
        if item.asset.refusals is not None:
            keep_unfollowed(lake, item.asset.refusals, item.asset.path, provenance, commit.id, into=into)


def _bytes_written(tx: Transaction, written: Sequence[Written]) -> int:
    """What really came in: of a table that was added to, or of which a partition was replaced, the files that are new."""
    found = {}
    for item in written:
        path, entry = item.asset.path, item.entry
        if entry is None:
            continue
        if not item.adds or not tx.base.has(path) or tx.base.entry(path).kind is not entry.kind:
            found[path] = entry.bytes
            continue
        before = live_files(tx.base.delta(path))
        now = live_files(tx.staged().delta(path))
        found[path] = sum(size for name, size in now.items() if name not in before)
    return sum(found.values())


def _same(base: Snapshot, item: Written) -> bool:
    """Whether what was written is what stood there: then the commit does not touch it."""
    return (
        item.entry is not None
        and base.has(item.asset.path)
        and base.entry(item.asset.path).data_version == item.entry.data_version
    )


def _is(output: Output, item: Written) -> bool:
    return output.path == item.asset.path and output.partition == item.partition


def _name(item: Written) -> str:
    return item.asset.path if item.partition is None else f"{item.asset.path} {item.partition}"


def _names(written: Sequence[Written]) -> str:
    first, rest = written[0], written[1:]
    if rest and all(item.asset.path == first.asset.path for item in rest):
        return f"{_name(first)} and {len(rest)} more of its partitions, because its columns changed"
    return ", ".join(_name(item) for item in written)


def _outcome(
    lake: Lake, status: Status, item: Written, commit: Commit, provenance: Provenance, *, branch: str | None = None
) -> Outcome:
    snapshot, path = lake.at(commit.id), item.asset.path
    there = snapshot.has(path)
    return Outcome(
        status=status,
        path=path,
        partition=item.partition,
        entry=snapshot.entry(path) if there else None,
        commit=commit.id,
        branch=branch,
        checks=by_name(provenance.checks, path, item.partition),
        provenance=provenance,
        uri=snapshot.uri(path) if there else "",
    )


def replayed(lake: Lake, path: str, partition: str | None, commit: Commit, *, into: str = MAIN) -> Outcome:
    """The outcome of an earlier try of the same run, read back from its commit."""
    snapshot, provenance = lake.at(commit.id), commit.provenance
    return Outcome(
        status=Status.PUBLISHED,
        path=path,
        partition=partition,
        entry=snapshot.entry(path),
        commit=commit.id,
        into=into,
        checks=by_name(provenance.checks, path, partition) if provenance else (),
        provenance=provenance,
        uri=snapshot.uri(path),
    )


def _output(lake: Lake, base: Snapshot, item: Written) -> Output:
    asset, entry = item.asset, item.entry
    definition = definition_of(lake, base, compute_version(asset), asset.inputs)
    facts = dict(item.facts)
    if asset.versioned and entry is not None:
        facts[VERSION_FACT] = semantic_version(lake, base, item, definition)
    return Output(
        path=asset.path,
        partition=item.partition,
        kind=asset.kind,
        data_version=entry.data_version if entry else "",
        partition_version=entry.partitions.get(item.partition) if entry and item.partition else None,
        code_version=code_version(asset),
        definition=definition,
        rows=entry.rows if entry else None,
        bytes=entry.bytes if entry else None,
        facts=facts,
    )


def semantic_version(lake: Lake, base: Snapshot, item: Written, definition: str) -> str:
    """The version after the newest one in the history: see `headwater.models.versions.next_version`.

    What stands there already keeps the version it was published as, whatever code made it again.
    """
    standing = built_by(lake, base, item.asset.path) if _same(base, item) else None
    output = standing.output(item.asset.path) if standing else None
    if output is not None and VERSION_FACT in output.facts:
        return str(output.facts[VERSION_FACT])
    newest: VersionFacts | None = None
    for commit in lake.log(base.commit.id, path=item.asset.path):
        record = commit.provenance
        output = record.output(item.asset.path) if record else None
        if output is None or VERSION_FACT not in output.facts:
            continue
        found = VersionFacts(
            version=output.facts[VERSION_FACT],
            signature=output.facts[SIGNATURE_FACT],
            definition=output.definition,
            data_version=output.data_version,
        )
        if newest is None or parse_version(found.version) > parse_version(newest.version):
            newest = found
    assert item.entry is not None
    now = VersionFacts(
        signature=item.facts[SIGNATURE_FACT], definition=definition, data_version=item.entry.data_version
    )
    return next_version(newest, now)


def definition_of(lake: Lake, base: Snapshot, own: str, inputs: Sequence[str]) -> str:
    """Digest of an asset's own code and, through the records of its inputs, of all code above it.

    Two versions with one definition differ by data only.
    """
    parts = [own]
    for path in sorted(inputs):
        record = built_by(lake, base, path) if base.has(path) else None
        output = record.output(path) if record else None
        parts.append(f"{path}={output.definition if output else ''}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def transaction_id_of(run: Run, path: str, partition: str | None = None) -> str | None:
    """The same id for every try of one run at one asset, None outside Dagster."""
    if run.run_id is None:
        return None
    return hashlib.sha256(f"{run.run_id}\n{path}\n{partition or ''}".encode()).hexdigest()[:32]


def _cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
