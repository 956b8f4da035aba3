"""Delta tables at a URI: write with a digest on the way, open at a version, read again. Neutral about where they lie."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from headwater.lake._digest import TableDigest
from headwater.lake._dtypes import same_but_for_order
from headwater.lake._interface import Entry, Kind, TableData, WriteMode
from headwater.lake._records import Record
from headwater.lake._rows import Rows
from headwater.lake._tally import Tally, arrow_schema, no_rows, total_digest
from headwater.lake.errors import SchemaChangedError, TableReadError, TableWriteError
from headwater.names import DELTA_TRANSACTION_KEY

LOG_FOLDER: Final = "_delta_log"
_CONFIGURATION: Final = {"delta.checkpointInterval": "20"}
"""delta-rs writes a checkpoint every 100 commits unless told; a log of 100 entries makes an append twice as slow."""
_WRITER: Final = WriterProperties(compression="ZSTD", compression_level=1)


@dataclass(frozen=True, kw_only=True)
class TableLocation:
    """Where a Delta table lies.

    Attributes:
        uri: Local directory or `s3://...`.
        storage_options: delta-rs options of a remote store; None for local files.
    """

    uri: str
    storage_options: Mapping[str, str] | None = None

    @property
    def options(self) -> dict[str, str] | None:
        """A fresh dictionary, as delta-rs wants it."""
        return dict(self.storage_options) if self.storage_options is not None else None


@dataclass(frozen=True, kw_only=True)
class Written:
    """A table after a write.

    Attributes:
        record: Its record, without the lake's own list of files.
        live: Its data files: path relative to the table to size in bytes. All other data files there are dead.
    """

    record: Record
    live: Mapping[str, int]


def open_delta(location: TableLocation, *, path: str, version: int | None = None) -> DeltaTable:
    """The table at `location` as delta-rs opens it.

    Args:
        location: Where it lies.
        path: Asset path, for errors.
        version: Delta version to open; None opens the newest there.

    Raises:
        TableReadError: It is absent, damaged, or of a newer protocol.
    """
    try:
        return DeltaTable(location.uri, version=version, storage_options=location.options)
    except (DeltaError, TableNotFoundError, OSError, ValueError) as error:
        raise TableReadError(path=path, reason=_first_line(error)) from error


def scan(delta: DeltaTable, *, path: str) -> pl.LazyFrame:
    """An opened table as a lazy frame.

    Raises:
        TableReadError: It needs reader features that nobody here has.
    """
    try:
        return pl.scan_delta(delta)
    except (DeltaError, pl.exceptions.PolarsError, ValueError, NotImplementedError) as error:
        raise TableReadError(path=path, reason=_first_line(error)) from error


def write_table(
    location: TableLocation,
    *,
    path: str,
    data: TableData,
    mode: WriteMode,
    partition: tuple[str, str] | None,
    before: Record | None,
    transaction: str,
) -> "Written":
    """Writes rows as one Delta commit at `location` and returns what the table is after it.

    The rows are digested on their way; what stood there before is never read again.

    Args:
        location: A working copy that holds exactly `before` (at least its Delta log), or nothing.
        path: Asset path, for errors and the entry.
        data: Rows.
        mode: Overwrite or append.
        partition: `(column, key)` to replace or append to, or None.
        before: Record of what stands there, or None.
        transaction: Id kept in the Delta commit and the entry.

    Raises:
        TableWriteError: The data cannot be a Delta table, or does not fit the one that stands there.
        SchemaChangedError: A partition's rows have other columns than the table; none of them was read.
    """
    rows = Rows(data, path=path, partition=partition)
    standing = None if before is None else open_delta(location, path=path)
    if before is not None and (partition is not None or mode is WriteMode.APPEND):
        _check_fits(rows, before, path=path, partition=partition)
    elif standing is not None:
        _keep_order(rows, standing, path=path)
    column = partition[0] if partition else before.partition_column if before and mode is WriteMode.APPEND else None
    if column is not None:
        rows.require_key(column)
    tally = Tally(rows.schema, column=column)
    delta = _write_rows(
        location, rows, tally, path=path, mode=mode, partition=partition, standing=standing, transaction=transaction
    )
    if partition is not None:
        tally.partitions.setdefault(partition[1], no_rows(rows.schema))
    digest, parts = _sums(tally, before, mode, column)
    return written(delta, path=path, transaction=transaction, column=column, digest=digest, parts=parts)


def _sums(
    tally: Tally, before: Record | None, mode: WriteMode, column: str | None
) -> tuple[TableDigest, Mapping[str, TableDigest]]:
    """The digests after the write: an append adds, a partition replaces its own part, an overwrite starts anew."""
    if before is None or before.digest is None or (mode is WriteMode.OVERWRITE and column is None):
        return tally.total, tally.partitions
    if column is None:
        return before.digest + tally.total, {}
    parts = dict(before.partition_digests)
    for key, digest in tally.partitions.items():
        parts[key] = parts[key] + digest if mode is WriteMode.APPEND and key in parts else digest
    return total_digest(parts), dict(sorted(parts.items()))


def _check_fits(rows: Rows, before: Record, *, path: str, partition: tuple[str, str] | None) -> None:
    """Refuses rows of another schema or partitioning, and puts the columns into the table's order."""
    if partition is not None and before.partition_column != partition[0]:
        now = f"by {before.partition_column!r}" if before.partition_column else "not at all"
        raise TableWriteError(
            path=path,
            reason=f"it is partitioned {now}, so its partition {partition[0]}={partition[1]} can't be written. "
            f"Take it out first with `headwater lake remove {path}` (a revert puts it back), or overwrite it as a whole.",
        )
    found = dict(no_rows(rows.schema).schema)
    wanted = dict(before.entry.schema)
    if found == wanted:
        rows.reorder(wanted)
        return
    problems = [f"lacks {name!r}" for name in wanted if name not in found]
    problems += [f"has {name!r}, which the table lacks" for name in found if name not in wanted]
    problems += [
        f"has {name!r} as {found[name]} instead of {wanted[name]}"
        for name in wanted
        if name in found and found[name] != wanted[name]
    ]
    raise (SchemaChangedError if partition is not None else TableWriteError)(
        path=path,
        reason=f"the data {', '.join(problems)}. Cast it to the table's schema, or overwrite the whole table.",
    )


def _keep_order(rows: Rows, standing: DeltaTable, *, path: str) -> None:
    """Puts the same columns in the order that the table has: delta-rs keeps it when nothing else about them changes."""
    columns = scan(standing, path=path).collect_schema()
    if same_but_for_order(rows.schema, columns):
        rows.schema = columns


def _write_rows(
    location: TableLocation,
    rows: Rows,
    tally: Tally,
    *,
    path: str,
    mode: WriteMode,
    partition: tuple[str, str] | None,
    standing: DeltaTable | None,
    transaction: str,
) -> DeltaTable:
    failures: list[Exception] = []
    target: DeltaTable | str = location.uri if standing is None else standing
    data = pa.RecordBatchReader.from_batches(arrow_schema(rows.schema), _batches(rows, tally, failures))
    common: dict[str, Any] = {
        "storage_options": location.options if standing is None else None,
        "writer_properties": _WRITER,
        "commit_properties": delta_commit(transaction),
        "configuration": _CONFIGURATION,
    }
    columns = [partition[0]] if partition else None
    try:
        if mode is WriteMode.APPEND:
            write_deltalake(target, data, mode="append", partition_by=columns, **common)
        elif partition is None or standing is None:
            write_deltalake(
                target, data, mode="overwrite", schema_mode="overwrite", partition_by=columns or [], **common
            )
        else:
            write_deltalake(target, data, mode="overwrite", predicate=_predicate(*partition), **common)
    except Exception as error:
        if failures:
            raise failures[0] from None
        if isinstance(error, DeltaError | ValueError):
            raise TableWriteError(path=path, reason=_first_line(error)) from error
        raise
    return open_delta(location, path=path) if standing is None else standing


def _batches(rows: Rows, tally: Tally, failures: list[Exception]) -> Iterator[pa.RecordBatch]:
    """Record batches for delta-rs; an error on the way is kept, because delta-rs would only keep its text."""
    schema = arrow_schema(rows.schema)
    try:
        for frame in rows.frames():
            if frame.height:
                table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)
                tally.add(frame, table)
                yield from table.to_batches()
    except Exception as error:
        failures.append(error)
        raise


def _predicate(column: str, key: str) -> str:
    quoted = key.replace("'", "''")
    return f"\"{column}\" = '{quoted}'"


def delta_commit(transaction: str) -> CommitProperties:
    """Properties of a Delta commit that belongs to `transaction`."""
    return CommitProperties(custom_metadata={DELTA_TRANSACTION_KEY: transaction})


def live_files(delta: DeltaTable) -> dict[str, int]:
    """The data files of an opened table: path relative to the table to size in bytes."""
    actions = pa.table(delta.get_add_actions())
    names = (unquote(path) for path in actions.column("path").to_pylist())
    return dict(zip(names, actions.column("size_bytes").to_pylist(), strict=True))


def written(
    delta: DeltaTable,
    *,
    path: str,
    transaction: str,
    column: str | None,
    digest: TableDigest,
    parts: Mapping[str, TableDigest],
) -> Written:
    """What an opened table is, given the digests of its rows.

    Args:
        delta: The table at its newest version.
        path: Asset path.
        transaction: Id of the transaction that wrote it.
        column: Partition column, or None.
        digest: Digest of all rows.
        parts: Partition key to the digest of that partition's rows.
    """
    files = live_files(delta)
    record = Record(
        entry=Entry(
            path=path,
            kind=Kind.TABLE,
            data_version=digest.hex,
            partitions={key: part.hex for key, part in parts.items()},
            rows=digest.rows,
            bytes=sum(files.values()),
            files=len(files),
            delta_version=delta.version(),
            schema=dict(digest.schema),
            transaction=transaction,
        ),
        digest=digest,
        partition_column=column,
        partition_digests=parts,
    )
    return Written(record=record, live=files)


def read_table(location: TableLocation, *, path: str, version: int | None = None, transaction: str = "") -> Written:
    """The state of a table that something else wrote, computed by reading all of it.

    Args:
        location: Where the table lies.
        path: Asset path.
        version: Delta version; None means the newest there.
        transaction: Id to keep in the entry.

    Raises:
        TableReadError: It cannot be read.
    """
    delta = open_delta(location, path=path, version=version)
    columns = delta.metadata().partition_columns
    column = columns[0] if len(columns) == 1 else None
    frame = scan(delta, path=path)
    tally = Tally(frame.collect_schema(), column=column)
    try:
        for batch in frame.collect_batches(maintain_order=False):
            tally.add(batch)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TableReadError(path=path, reason=_first_line(error)) from error
    return written(delta, path=path, transaction=transaction, column=column, digest=tally.total, parts=tally.partitions)


def local(folder: Path) -> TableLocation:
    """The location of a table in a local directory."""
    return TableLocation(uri=str(folder))


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".") + "."
