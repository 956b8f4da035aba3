"""Runs one asset inside a lake transaction: pin, write, audit, publish."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from headwater.errors import HeadwaterError
from headwater.lake import Entry, Kind, Lake, Snapshot, Transaction
from headwater.lake.errors import MergeConflictError, TableWriteError
from headwater.materialize._facts import plain_facts
from headwater.materialize._finish import Outcome, Run, Stopwatch, Written, finish, replayed, transaction_id_of
from headwater.materialize._inputs import LandedFileChangedError, RecordingInputs
from headwater.materialize._lineage import column_lineage
from headwater.names import LINEAGE_FACT, MAIN
from headwater.product import Asset, Audit, Check, RejectedInputError, Result, Severity, Verdict
from headwater.provenance import CheckRecord

REJECTED_SUFFIX: Final = ".rejected"
INPUTS_USABLE: Final = "inputs_are_usable"
INPUTS_READ: Final = "declared_inputs_were_read"

_TRIES: Final = 12
"""Of one partition while others are published into the same table: each round of rivals leaves one fewer."""


def materialize(
    lake: Lake,
    asset: Asset,
    *,
    run: Run,
    partition: str | None = None,
    landing: Path | None = None,
    scratch: Path | None = None,
    branch: str = MAIN,
) -> Outcome:
    """Builds one asset (or one partition) from one snapshot and publishes it if its checks hold.

    Args:
        lake: The lake.
        asset: The declaration.
        run: Who runs what.
        partition: Key of the partition, for partitioned assets.
        landing: Folder of landed files, for landing assets.
        scratch: Existing directory for temporary files; None takes the system's.
        branch: Lake branch that it reads from and publishes into.

    Returns:
        What happened. A failed blocking check is an outcome (`REFUSED`), not an error. When another run publishes
        another partition of the same table meanwhile, or a landed file is replaced while it is read, it is built
        again from what is there then.

    Raises:
        UndeclaredInputError: The function read what it did not declare.
        MergeConflictError: Another run published something else at this path (and partition) meanwhile; nothing was
            published.
        LandedFileChangedError: A landed file did not stay as it was for one build.
        HeadwaterError: The lake or the function said why it could not go on; nothing was published.
    """
    watch = Stopwatch()
    transaction_id = transaction_id_of(run, asset.path, partition)
    if transaction_id is not None and (earlier := lake.find_transaction(transaction_id, ref=branch)) is not None:
        return replayed(lake, asset.path, partition, earlier, into=branch)
    more = {"partition": partition, "landing": landing, "scratch": scratch, "branch": branch, "id": transaction_id}
    for left in reversed(range(_TRIES)):
        try:
            return _try(lake, asset, run=run, watch=watch, **more)  # type: ignore[arg-type]
        except LandedFileChangedError:
            if not left:
                raise
        except _OtherPartitionsError as rival:
            if not left:
                raise rival.conflict from None
    raise AssertionError("the last try returns or raises")


class _OtherPartitionsError(Exception):
    """The table changed meanwhile, but this partition stands as it did or as this build wrote it."""

    def __init__(self, conflict: MergeConflictError) -> None:
        self.conflict = conflict


def _only_others_changed(base: Snapshot, now: Snapshot, entry: Entry | None, path: str, partition: str) -> bool:
    before, after = (s.entry(path).partitions.get(partition) if s.has(path) else None for s in (base, now))
    return after == before or (entry is not None and after == entry.partitions.get(partition))


def _try(
    lake: Lake,
    asset: Asset,
    *,
    run: Run,
    watch: Stopwatch,
    partition: str | None,
    landing: Path | None,
    scratch: Path | None,
    branch: str,
    id: str | None,
) -> Outcome:
    with lake.transaction(into=branch, id=id, hint=asset.path) as tx:
        inputs = RecordingInputs(lake=lake, snapshot=tx.base, asset=asset, partition=partition, landing=landing)
        rejection = None
        before = time.perf_counter()
        try:
            entry, facts = _write(tx, asset, inputs, partition, scratch)
        except RejectedInputError as error:
            entry, facts, rejection = None, {}, error
        watch.function += time.perf_counter() - before
        inputs.check_landed()
        checks = _audit(tx, asset, inputs, partition, facts, rejection)
        written = Written(asset=asset, partition=partition, entry=entry, facts=facts)
        pins = inputs.pins()
        try:
            return finish(lake, tx, (written,), checks=checks, pins=pins, run=run, watch=watch, into=branch)[0]
        except MergeConflictError as conflict:
            if partition and _only_others_changed(tx.base, lake.at(branch), entry, asset.path, partition):
                raise _OtherPartitionsError(conflict) from conflict
            raise


def _write(
    tx: Transaction, asset: Asset, inputs: RecordingInputs, partition: str | None, scratch: Path | None
) -> tuple[Entry, Mapping[str, Any]]:
    if asset.kind is Kind.FOLDER:
        with tempfile.TemporaryDirectory(prefix="folder-", dir=scratch) as name:
            result = _as_result(asset.compute(inputs, Path(name)), folder=True)
            return tx.write_folder(asset.path, Path(name), identity=asset.identity), plain_facts(result.facts)
    if asset.partitions is None:
        result = _as_result(asset.compute(inputs))
        return tx.write_table(asset.path, result.data), _with_lineage(asset, inputs, result)
    if partition is None or partition not in asset.partitions.keys:
        raise UnknownPartitionError(asset=asset.path, partition=partition, known=asset.partitions.keys)
    result = _as_result(asset.compute(inputs, partition))
    where = (asset.partitions.column, partition)
    facts = _with_lineage(asset, inputs, result, partition)
    return tx.write_table(asset.path, result.data, partition=where), facts


def _with_lineage(
    asset: Asset, inputs: RecordingInputs, result: Result, partition: str | None = None
) -> Mapping[str, Any]:
    """The function's facts and, when it returned a plan, which input columns each column comes from."""
    facts = plain_facts(result.facts)
    if not isinstance(result.data, pl.LazyFrame):
        return facts
    lineage = column_lineage(asset, inputs, partition=partition)
    return {**facts, LINEAGE_FACT: lineage} if lineage else facts


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
        return (CheckRecord(name=INPUTS_USABLE, passed=False, facts=_rejected(tx, asset, rejection)),)
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


def _rejected(tx: Transaction, asset: Asset, rejection: RejectedInputError) -> Mapping[str, Any]:
    shown: dict[str, Any] = {"problem": str(rejection), "rejected_rows": 0}
    if rejection.rows is not None:
        shown["rejected_rows"] = rejection.rows.height
        try:
            tx.write_table(asset.path + REJECTED_SUFFIX, rejection.rows)
        except TableWriteError as error:  # what is wrong with the rows may be that no table can hold them
            shown["not_kept"] = str(error)
    return shown


def _judge(check: Check, audit: Audit) -> CheckRecord:
    try:
        verdict = check.judge(audit)
        passed, facts = _passed(verdict), plain_facts(verdict.facts)
        facts |= {"description": str(verdict.description)} if verdict.description else {}
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - whatever a check raises is its failure
        passed, facts = False, {"description": f"The check could not be judged: {type(error).__name__}: {error}"}
    return CheckRecord(name=check.name, passed=passed, severity=check.severity, blocking=check.blocking, facts=facts)


def _passed(verdict: Verdict) -> bool:
    """Whether the claim held; only true is true, so that neither NaN nor a text passes."""
    if not isinstance(verdict, Verdict):
        raise TypeError(f"It returned a {type(verdict).__qualname__} instead of a Verdict.")
    return bool(verdict.passed == True)  # noqa: E712 - NumPy's true is not Python's


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
