"""Runs one asset inside a lake transaction: pin, write, audit, publish."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from headwater.errors import HeadwaterError
from headwater.feeds import Appended
from headwater.lake import Entry, Kind, Lake, Snapshot, Transaction
from headwater.lake.errors import MergeConflictError, SchemaChangedError, TableWriteError
from headwater.materialize._append import append, settle
from headwater.materialize._audit import Part, audited, data_errors
from headwater.materialize._facts import plain_facts
from headwater.materialize._finish import Outcome, Run, Stopwatch, Written, finish, replayed, transaction_id_of
from headwater.materialize._inputs import (
    LandedFileChangedError,
    LandedFileMissingError,
    PartitionMissingError,
    RecordingInputs,
)
from headwater.materialize._lineage import column_lineage
from headwater.names import LINEAGE_FACT, MAIN
from headwater.product import Asset, RejectedInputError, Result
from headwater.provenance import Pin

_TRIES: Final = 12
"""Of one partition, or of one append, while others are published into the same table: each round of rivals leaves one fewer."""


def materialize(
    lake: Lake,
    asset: Asset,
    *,
    run: Run,
    partition: str | None = None,
    landing: Path | None = None,
    scratch: Path | None = None,
    state: Path | None = None,
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
        state: The state folder, for fed tables.
        branch: Lake branch that it reads from and publishes into.

    Returns:
        What happened. A failed blocking check is an outcome (`REFUSED`), not an error. When a partition's columns are
        no longer the table's, all partitions that stand are built with it and published in one commit. When another run publishes
        another partition of the same table meanwhile, or took records of the same feed, or a landed file is replaced while it is
        read, it is built again from what is there then. After a build of a fed table, its feed forgets what main holds.

    Raises:
        UndeclaredInputError: The function read what it did not declare.
        MergeConflictError: Another run published something else at this path (and partition) meanwhile; nothing was
            published.
        PartitionRebuildError: The columns changed, and a partition that stands cannot be built again.
        LandedFileChangedError: A landed file did not stay as it was for one build.
        HeadwaterError: The lake or the function said why it could not go on; nothing was published.
    """
    watch = Stopwatch()
    transaction_id = transaction_id_of(run, asset.path, partition)
    if transaction_id is not None and (earlier := lake.find_transaction(transaction_id, ref=branch)) is not None:
        settle(lake, asset, state)
        return replayed(lake, asset.path, partition, earlier, into=branch)
    more = {"partition": partition, "landing": landing, "scratch": scratch, "state": state, "branch": branch}
    for left in reversed(range(_TRIES)):
        try:
            outcome = _try(lake, asset, run=run, watch=watch, id=transaction_id, **more)  # type: ignore[arg-type]
        except LandedFileChangedError:
            if not left:
                raise
        except _RivalError as rival:
            if not left:
                raise rival.conflict from None
        else:
            settle(lake, asset, state)
            return outcome
    raise AssertionError("the last try returns or raises")


class _RivalError(Exception):
    """The table changed meanwhile: other partitions of it, or another build appended to it."""

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
    state: Path | None,
    branch: str,
    id: str | None,
) -> Outcome:
    with lake.transaction(into=branch, id=id, hint=asset.path) as tx:
        began = datetime.fromisoformat(watch.started)
        given = {"landing": landing, "state": state, "started": began}
        reader = partial(RecordingInputs, lake=lake, snapshot=tx.base, asset=asset, **given)  # type: ignore[arg-type]
        before = time.perf_counter()
        entry, parts = _build(tx, asset, reader, partition, scratch)
        watch.function += time.perf_counter() - before
        for part in parts:
            part.inputs.check_landed()
        checks = tuple(check for part in parts for check in audited(tx, asset, part, several=len(parts) > 1))
        pins = tuple(pin for part in parts for pin in _pins(part, several=len(parts) > 1))
        adds = partition is not None or asset.feed is not None
        written = [Written(asset=asset, partition=p.partition, entry=entry, adds=adds, facts=p.facts) for p in parts]
        try:
            return finish(lake, tx, written, checks=checks, pins=pins, run=run, watch=watch, into=branch)[0]
        except MergeConflictError as conflict:
            others = partition and _only_others_changed(tx.base, lake.at(branch), entry, asset.path, partition)
            if others or asset.feed is not None:
                raise _RivalError(conflict) from conflict
            raise


_Reader = Callable[..., RecordingInputs]


def _build(
    tx: Transaction, asset: Asset, reader: _Reader, partition: str | None, scratch: Path | None
) -> tuple[Entry | None, tuple[Part, ...]]:
    """Writes what was asked for, and with it all other partitions when its columns are not the table's.

    Returns:
        What stands at the path then (None when an input was refused) and its parts, the asked one first.
    """
    inputs = reader(partition=partition)
    try:
        with data_errors():
            entry, facts = _write(tx, asset, inputs, partition, scratch)
        return entry, (Part(partition=partition, inputs=inputs, facts=facts),)
    except RejectedInputError as error:
        return None, (Part(partition=partition, inputs=inputs, rejection=error),)
    except SchemaChangedError:
        assert partition is not None
        return _rebuild(tx, asset, reader, partition)


def _rebuild(tx: Transaction, asset: Asset, reader: _Reader, asked: str) -> tuple[Entry | None, tuple[Part, ...]]:
    """Writes every partition that stands anew, so that no reader sees a table of which some have other columns."""
    tx.remove(asset.path)
    parts: list[Part] = []
    entry = None
    for key in (asked, *sorted(tx.base.entry(asset.path).partitions.keys() - {asked})):
        inputs = reader(partition=key)
        try:
            with data_errors():
                entry, facts = _write(tx, asset, inputs, key, None)
        except RejectedInputError as error:
            return None, (*parts, Part(partition=key, inputs=inputs, rejection=error))
        except (LandedFileMissingError, PartitionMissingError, UnknownPartitionError, TableWriteError) as error:
            if key == asked:
                raise
            raise PartitionRebuildError(asset=asset.path, asked=asked, partition=key, reason=str(error)) from error
        parts.append(Part(partition=key, inputs=inputs, facts=facts))
    return entry, tuple(parts)


def _pins(part: Part, *, several: bool) -> tuple[Pin, ...]:
    pins = part.inputs.pins()
    return tuple(replace(pin, partition=part.partition) for pin in pins) if several else pins


def _write(
    tx: Transaction, asset: Asset, inputs: RecordingInputs, partition: str | None, scratch: Path | None
) -> tuple[Entry, Mapping[str, Any]]:
    if asset.kind is Kind.FOLDER:
        with tempfile.TemporaryDirectory(prefix="folder-", dir=scratch) as name:
            result = _as_result(asset.compute(inputs, Path(name)), folder=True)
            return tx.write_folder(asset.path, Path(name), identity=asset.identity), plain_facts(result.facts)
    if asset.feed is not None:
        found = asset.compute(inputs)
        if not isinstance(found, Appended):
            raise NothingAppendedError(asset=asset.path, found=type(found).__qualname__)
        return append(tx, asset.path, found, scratch=scratch), plain_facts(found.facts)
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


class NoDataError(HeadwaterError):
    """A table asset's function returned nothing."""

    def __init__(self) -> None:
        super().__init__("The function returned None instead of rows. Return a frame, an Arrow reader or a Result.")


class NothingAppendedError(HeadwaterError):
    """The function of a fed table did not say up to where it took its feed."""

    def __init__(self, *, asset: str, found: str) -> None:
        self.asset = asset
        super().__init__(
            f"The function of {asset!r}, which has a feed, returned a {found}. Return rows and positions as `Appended`."
        )


class UnknownPartitionError(HeadwaterError):
    """A partitioned asset was asked for a partition it does not have."""

    def __init__(self, *, asset: str, partition: str | None, known: tuple[str, ...]) -> None:
        self.asset, self.partition, self.known = asset, partition, known
        asked = "without a partition" if partition is None else f"for partition {partition!r}"
        super().__init__(f"{asset!r} was asked {asked}. Ask for one of {known[0]!r} to {known[-1]!r}.")


class PartitionRebuildError(HeadwaterError):
    """A partitioned asset got other columns, and one of the partitions that stand cannot be built again with them."""

    def __init__(self, *, asset: str, asked: str, partition: str, reason: str) -> None:
        self.asset, self.asked, self.partition, self.reason = asset, asked, partition, reason
        super().__init__(
            f"Partition {asked!r} of {asset!r} has other columns than the table, so all its partitions are built again "
            f"together, and {partition!r} could not be: {reason} Nothing was published."
        )
