"""Rows on their way into a table: any accepted form as a stream of frames that Delta can hold."""

from collections.abc import Iterator, Mapping

import polars as pl
import pyarrow as pa

from headwater.lake._dtypes import cast, check_exact, delta_schema
from headwater.lake._interface import TableData
from headwater.lake.errors import TableWriteError


class Rows:
    """A one-pass stream of frames of one Delta-compatible schema.

    Attributes:
        schema: Column names and dtypes of every frame.
    """

    def __init__(self, data: TableData, *, path: str, partition: tuple[str, str] | None = None) -> None:
        """Prepares the stream; nothing large is computed yet.

        Args:
            data: Rows in any accepted form.
            path: Asset path, for errors.
            partition: `(column, key)` that every row belongs to; the column is added when the data lacks it.

        Raises:
            TableWriteError: The schema has no place in Delta.
        """
        self._path = path
        self._partition = partition
        self._keyed: str | None = None
        if partition is not None and not partition[1]:
            raise TableWriteError(
                path=path,
                reason=f"the key of its partition by {partition[0]!r} is empty, which Delta reads as null. Name one.",
            )
        self._source, self._given = _open(data, path=path)
        schema = delta_schema(self._given, path=path)
        if partition is not None:
            found = schema.setdefault(partition[0], pl.String())
            if found != pl.String():
                raise TableWriteError(
                    path=path,
                    reason=f"its partition column {partition[0]!r} has dtype {found}, not String. Cast it to String.",
                )
            if len(schema) == 1:
                raise TableWriteError(
                    path=path, reason=f"it has no columns besides its partition column {partition[0]!r}."
                )
        self.schema = schema

    def reorder(self, columns: Mapping[str, object]) -> None:
        """Puts the columns into the order of `columns`, which has the same names."""
        self.schema = pl.Schema({name: self.schema[name] for name in columns})

    def require_key(self, column: str) -> None:
        """Makes a row without a key in the partition column an error: no partition could be asked for it."""
        self._keyed = column

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows, converted.

        Raises:
            TableWriteError: A value does not survive the conversion, or a row belongs to another partition.
        """
        for frame in self._source:
            yield self._convert(frame)

    def _convert(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self._partition is not None:
            frame = self._in_partition(frame, *self._partition)
        if self._keyed is not None and frame.select((pl.col(self._keyed).fill_null("") == "").any()).item():
            raise TableWriteError(
                path=self._path,
                reason=f"a row has no key in the partition column {self._keyed!r}. Give it one or leave it out.",
            )
        if frame.schema == self.schema:
            return frame
        check_exact(frame, path=self._path)
        try:
            return frame.select(cast(frame.schema, self.schema))
        except pl.exceptions.InvalidOperationError as error:
            raise TableWriteError(path=self._path, reason=f"a value does not fit Delta's dtype: {error}") from error

    def _in_partition(self, frame: pl.DataFrame, column: str, key: str) -> pl.DataFrame:
        if column not in frame.columns:
            return frame.with_columns(pl.lit(key, dtype=pl.String).alias(column))
        strangers = frame.filter(pl.col(column).cast(pl.String).ne_missing(key))
        if strangers.height:
            example = strangers.get_column(column)[0]
            raise TableWriteError(
                path=self._path,
                reason=f"{strangers.height} rows for partition {key!r} have another {column!r}, such as {example!r}. "
                "Filter them out or write them to their own partition.",
            )
        return frame


def _open(data: TableData, *, path: str) -> tuple[Iterator[pl.DataFrame], pl.Schema]:
    match data:
        case pl.DataFrame():
            return iter((data,)), data.schema
        case pl.LazyFrame():
            return iter(data.collect_batches(maintain_order=True)), data.collect_schema()
        case pa.Table():
            frame = _from_arrow(data, path=path)
            return iter((frame,)), frame.schema
        case pa.RecordBatchReader():
            empty = _from_arrow(data.schema.empty_table(), path=path)
            return (_from_arrow(pa.Table.from_batches([batch]), path=path) for batch in data), empty.schema
    raise TableWriteError(
        path=path,
        reason=f"{type(data).__name__} holds no rows. Give a Polars frame (eager or lazy), an Arrow table or a RecordBatchReader.",
    )


def _from_arrow(table: pa.Table, *, path: str) -> pl.DataFrame:
    for field in table.schema:
        if _is_beyond_polars(field.type):
            raise TableWriteError(
                path=path,
                reason=f"column {field.name!r} has Arrow type {field.type}, which Delta can't hold. Cast it to one that it can.",
            )
    try:
        frame = pl.from_arrow(table)
    except (pl.exceptions.PolarsError, pa.ArrowException) as error:
        raise TableWriteError(path=path, reason=f"its Arrow data cannot be read: {error}") from error
    if not isinstance(frame, pl.DataFrame):
        raise TableWriteError(path=path, reason="its Arrow data is one column, not a table.")
    return frame


def _is_beyond_polars(dtype: pa.DataType) -> bool:
    """Whether Polars would panic, which no handler of errors catches."""
    if pa.types.is_decimal256(dtype) or pa.types.is_union(dtype) or pa.types.is_interval(dtype):
        return True
    return any(_is_beyond_polars(dtype.field(number).type) for number in range(dtype.num_fields))
