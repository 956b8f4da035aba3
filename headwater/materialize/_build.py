"""Runs one asset inside a lake transaction: pin, write, audit, publish."""

import hashlib
import resource
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import polars as pl

from headwater.code_version import code_version, compute_version
from headwater.errors import HeadwaterError
from headwater.lake import Commit, Entry, Kind, Lake, Snapshot, Transaction
from headwater.materialize._inputs import RecordingInputs
from headwater.product import Asset, Audit, Check, RejectedInputError, Result, Severity, Verdict
from headwater.provenance import CheckRecord, Cost, Output, Provenance

REJECTED_SUFFIX: Final = ".rejected"
INPUTS_USABLE: Final = "inputs_are_usable"
INPUTS_READ: Final = "declared_inputs_were_read"


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
        entry: What stands at the path now (on `main`, or on the refused branch), None when nothing was written.
        commit: Commit that holds it: on `main`, or on the branch when refused.
        branch: The branch left for a look, when refused.
        checks: Every check's verdict.
        provenance: The record as written, None when fresh.
        uri: Where to find it.
    """

    status: Status
    path: str
    partition: str | None = None
    entry: Entry | None = None
    commit: str | None = None
    branch: str | None = None
    checks: tuple[CheckRecord, ...] = ()
    provenance: Provenance | None = None
    uri: str = ""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts that the asset's function reported."""
        output = self.provenance.output(self.path) if self.provenance else None
        return output.facts if output else {}


@dataclass
class _Stopwatch:
    """Wall and CPU seconds since its making, and the share spent in the user's function."""

    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=lambda: _cpu_seconds())
    function: float = 0.0

    def cost(self, entry: Entry | None) -> Cost:
        wall = time.perf_counter() - self.wall
        return Cost(
            wall_seconds=round(wall, 6),
            cpu_seconds=round(_cpu_seconds() - self.cpu, 6),
            bytes_written=entry.bytes if entry else 0,
            lake_seconds=round(max(wall - self.function, 0.0), 6),
        )


def materialize(
    lake: Lake,
    asset: Asset,
    *,
    run: Run,
    partition: str | None = None,
    landing: Path | None = None,
    scratch: Path | None = None,
) -> Outcome:
    """Builds one asset (or one partition) from one snapshot and publishes it if its checks hold.

    Args:
        lake: The lake.
        asset: The declaration.
        run: Who runs what.
        partition: Key of the partition, for partitioned assets.
        landing: Folder of landed files, for landing assets.
        scratch: Existing directory for temporary files; None takes the system's.

    Returns:
        What happened. A failed blocking check is an outcome (`REFUSED`), not an error.

    Raises:
        UndeclaredInputError: The function read what it did not declare.
        MergeConflictError: Another run published something else at this path meanwhile; nothing was published.
        HeadwaterError: The lake or the function said why it could not go on; nothing was published.
    """
    watch, started = _Stopwatch(), datetime.now(UTC).isoformat(timespec="microseconds")
    transaction_id = None if run.run_id is None else _transaction_id(run.run_id, asset.path, partition)
    if transaction_id is not None and (earlier := lake.find_transaction(transaction_id)) is not None:
        return _replayed(lake, asset, partition, earlier)
    with lake.transaction(into="main", id=transaction_id, hint=asset.path) as tx:
        inputs = RecordingInputs(lake=lake, snapshot=tx.base, asset=asset, partition=partition, landing=landing)
        rejection = None
        before = time.perf_counter()
        try:
            entry, facts = _write(tx, asset, inputs, partition, scratch)
        except RejectedInputError as error:
            entry, facts, rejection = None, {}, error
        watch.function = time.perf_counter() - before
        checks = _audit(tx, asset, inputs, partition, facts, rejection)
        provenance = Provenance(
            transaction=tx.id,
            action="materialize",
            outputs=(_output(lake, tx.base, asset, partition, entry, facts),),
            input_commit=tx.base.commit.id,
            inputs=inputs.pins(),
            checks=checks,
            run_id=run.run_id,
            git_commit=run.git_commit,
            git_dirty=run.git_dirty,
            environment=run.environment,
            started=started,
            cost=watch.cost(entry),
            actor=run.actor,
        )
        return _finish(lake, tx, asset, partition, entry, provenance)


def _write(
    tx: Transaction, asset: Asset, inputs: RecordingInputs, partition: str | None, scratch: Path | None
) -> tuple[Entry, Mapping[str, Any]]:
    if asset.kind is Kind.FOLDER:
        with tempfile.TemporaryDirectory(prefix="folder-", dir=scratch) as name:
            result = _as_result(asset.compute(inputs, Path(name)), folder=True)
            return tx.write_folder(asset.path, Path(name), identity=asset.identity), result.facts
    if asset.partitions is None:
        result = _as_result(asset.compute(inputs))
        return tx.write_table(asset.path, result.data), result.facts  # type: ignore[arg-type]
    if partition is None or partition not in asset.partitions.keys:
        raise UnknownPartitionError(asset=asset.path, partition=partition, known=asset.partitions.keys)
    result = _as_result(asset.compute(inputs, partition))
    where = (asset.partitions.column, partition)
    return tx.write_table(asset.path, result.data, partition=where), result.facts  # type: ignore[arg-type]


def _as_result(returned: Any, *, folder: bool = False) -> Result:
    result = returned if isinstance(returned, Result) else Result(data=returned)
    if not folder and result.data is None:
        raise NoDataError()
    return result


def _audit(
    tx: Transaction,
    asset: Asset,
    inputs: RecordingInputs,
    partition: str | None,
    facts: Mapping[str, Any],
    rejection: RejectedInputError | None,
) -> tuple[CheckRecord, ...]:
    if rejection is not None:
        if rejection.rows is not None:
            tx.write_table(asset.path + REJECTED_SUFFIX, rejection.rows)
        shown = {"problem": str(rejection), "rejected_rows": 0 if rejection.rows is None else rejection.rows.height}
        return (CheckRecord(name=INPUTS_USABLE, passed=False, facts=shown),)
    audit = Audit(
        path=asset.path,
        partition=partition,
        staged=tx.staged(),
        base=tx.base,
        facts=facts,
        partition_column=asset.partitions.column if asset.partitions else None,
    )
    unread = inputs.unread()
    return (
        CheckRecord(name=INPUTS_USABLE, passed=True),
        CheckRecord(
            name=INPUTS_READ, passed=not unread, severity=Severity.WARN, blocking=False, facts={"unread": list(unread)}
        ),
        *(_judge(check, audit) for check in asset.checks),
    )


def _judge(check: Check, audit: Audit) -> CheckRecord:
    try:
        verdict = check.judge(audit)
    except (HeadwaterError, pl.exceptions.PolarsError, ArithmeticError, LookupError, ValueError) as error:
        verdict = Verdict(passed=False, description=f"The check could not be judged: {type(error).__name__}: {error}")
    facts = dict(verdict.facts) | ({"description": verdict.description} if verdict.description else {})
    return CheckRecord(
        name=check.name, passed=bool(verdict.passed), severity=check.severity, blocking=check.blocking, facts=facts
    )


def _output(
    lake: Lake, base: Snapshot, asset: Asset, partition: str | None, entry: Entry | None, facts: Mapping[str, Any]
) -> Output:
    return Output(
        path=asset.path,
        partition=partition,
        kind=asset.kind,
        data_version=entry.data_version if entry else "",
        partition_version=entry.partitions.get(partition) if entry and partition else None,
        code_version=code_version(asset),
        definition=definition(lake, base, compute_version(asset), asset.inputs),
        rows=entry.rows if entry else None,
        bytes=entry.bytes if entry else None,
        facts=facts,
    )


def definition(lake: Lake, base: Snapshot, own: str, inputs: tuple[str, ...]) -> str:
    """Digest of an asset's own code and, through the records of its inputs, of all code above it.

    Two versions with one definition differ by data only.
    """
    parts = [own]
    for path in sorted(inputs):
        record = lake.last_write(base.commit.id, path).provenance if base.has(path) else None
        output = record.output(path) if record else None
        parts.append(f"{path}={output.definition if output else ''}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _finish(
    lake: Lake, tx: Transaction, asset: Asset, partition: str | None, entry: Entry | None, provenance: Provenance
) -> Outcome:
    name = asset.path if partition is None else f"{asset.path} {partition}"
    outcome = Outcome(
        status=Status.REFUSED,
        path=asset.path,
        partition=partition,
        entry=entry,
        checks=provenance.checks,
        provenance=provenance,
    )
    failed = [check.name for check in provenance.checks if check.blocking and not check.passed]
    if failed or entry is None:
        refused = replace(provenance, action="refuse")
        commit = tx.refuse(message=f"Refuse {name}: {', '.join(failed)}", provenance=refused)
        uri = lake.at(commit.id).uri(asset.path)
        return replace(outcome, commit=commit.id, branch=tx.branch, provenance=refused, uri=uri)
    published = tx.publish(message=f"Materialize {name}", provenance=provenance)
    if not published.changed and not published.replayed:
        lake.attest(provenance)
    now = lake.at(published.commit.id)
    status = Status.PUBLISHED if published.changed else Status.UNCHANGED
    return replace(
        outcome, status=status, commit=published.commit.id, entry=now.entry(asset.path), uri=now.uri(asset.path)
    )


def _replayed(lake: Lake, asset: Asset, partition: str | None, commit: Commit) -> Outcome:
    """The outcome of an earlier try of the same run, read back from its commit."""
    snapshot, provenance = lake.at(commit.id), commit.provenance
    return Outcome(
        status=Status.PUBLISHED,
        path=asset.path,
        partition=partition,
        entry=snapshot.entry(asset.path),
        commit=commit.id,
        checks=provenance.checks if provenance else (),
        provenance=provenance,
        uri=snapshot.uri(asset.path),
    )


def _transaction_id(run_id: str, path: str, partition: str | None) -> str:
    return hashlib.sha256(f"{run_id}\n{path}\n{partition or ''}".encode()).hexdigest()[:32]


def _cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class NoDataError(HeadwaterError):
    """A table asset's function returned nothing."""

    def __init__(self) -> None:
        super().__init__("The function returned None instead of rows. Return a frame, an Arrow reader or a Result.")


class UnknownPartitionError(HeadwaterError):
    """A partitioned asset was asked for a partition it does not have."""

    def __init__(self, *, asset: str, partition: str | None, known: tuple[str, ...]) -> None:
        self.asset, self.partition, self.known = asset, partition, known
        asked = "without a partition" if partition is None else f"for partition {partition!r}"
        super().__init__(f"{asset!r} was asked {asked}. Ask for one of {known[0]!r} to {known[-1]!r}.")
