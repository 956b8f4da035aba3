"""What a feature table becomes in a store: an entry for each row that answers from a moment on."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from headwater.features._point_in_time import EVENT, VISIBLE, answers_from, entity_columns, ttl_in_unit
from headwater.features._view import FeatureTable, FeatureView
from headwater.features.errors import OnlineTypeError
from headwater.features.online._encoding import encode_values, entity_bytes, time_bytes
from headwater.features.online._interface import OnlineContent, OnlineTable, OnlineView

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TEXTS: Final = (pl.String, pl.Categorical, pl.Enum)
_WHOLE: Final = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)


def prepare(tables: Sequence[tuple[FeatureTable, str]], *, since: datetime) -> OnlineContent:
    """What of feature tables has to be online to answer from a moment on.

    Args:
        tables: Feature tables, each with the data version of its content.
        since: The moment; with a zone exactly when the tables' times have one.

    Raises:
        OnlineTypeError: A store cannot hold a dtype.
        MissingColumnError, TimeTypeError: As of the join.
    """
    return OnlineContent(
        since=microseconds(since),
        tables=tuple(_prepared(table, data_version, since) for table, data_version in tables),
    )


def _check(view: FeatureView, rows: pl.DataFrame) -> None:
    for name, column in zip(view.keys, entity_columns(view), strict=True):
        dtype = rows.schema[column]
        if not (isinstance(dtype, _TEXTS) or dtype == pl.Boolean or (dtype in _WHOLE and dtype != pl.UInt64)):
            raise OnlineTypeError(
                view=view.name, column=name, found=str(dtype), allowed="texts, whole numbers, booleans"
            )
    for name in view.outputs.values():
        dtype = rows.schema[name]
        if not (isinstance(dtype, _TEXTS) or dtype in (pl.Boolean, pl.Float32, pl.Float64, *_WHOLE)):
            raise OnlineTypeError(view=view.name, column=name, found=str(dtype), allowed="numbers, texts, booleans")


def _view_of(view: FeatureView, rows: pl.DataFrame, data_version: str) -> OnlineView:
    outputs, event = list(view.outputs.values()), rows.get_column(EVENT)
    newest = event.to_physical().max()
    return OnlineView(
        name=view.name,
        path=view.path,
        keys=view.keys,
        entity=tuple(str(rows.schema[column]) for column in entity_columns(view)),
        features=tuple(outputs),
        dtypes=tuple(str(rows.schema[name]) for name in outputs),
        unit=str(event.dtype.time_unit),  # type: ignore[attr-defined]
        ttl=None if view.ttl is None else ttl_in_unit(view.ttl, event.dtype),
        data_version=data_version,
        content=_digest(rows),
        rows=rows.height,
        newest=None if newest is None else int(newest),  # type: ignore[arg-type]
    )


def rows_from(table: FeatureTable, since: datetime) -> pl.DataFrame:
    """The rows of a feature table that answer from a moment on, as a store has them and `OnlineStore.extend` takes them.

    Raises:
        OnlineTypeError, MissingColumnError, TimeTypeError: As of `prepare`.
    """
    rows = answers_from(table, since)
    _check(table.view, rows)
    rows = rows.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    # In an order of their own: the same content in another order of the table is the same content here.
    place = [*entity_columns(table.view), VISIBLE]
    return rows.unique(place, keep="last", maintain_order=True).sort(place).rechunk()


def _prepared(table: FeatureTable, data_version: str, since: datetime) -> OnlineTable:
    rows = rows_from(table, since)
    return OnlineTable(view=_view_of(table.view, rows, data_version), rows=rows)


def _digest(rows: pl.DataFrame) -> str:
    buffer = io.BytesIO()
    rows.write_ipc(buffer, compression="uncompressed")
    return hashlib.sha256(buffer.getbuffer()).hexdigest()


def microseconds(moment: datetime) -> int:
    """Since 1970, of a moment with a zone; of one without, on its own clock."""
    seen = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (seen - _EPOCH) // _MICROSECOND


def entries(table: OnlineTable) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Entity, time and value of each row, as bytes; an entity has one row at a time."""
    return encoded(table.rows, width=len(table.view.keys))


def encoded(rows: pl.DataFrame, *, width: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Entity, time and value of each row, as bytes; the entity is in the first `width` columns."""
    plain = rows.with_columns(pl.col(VISIBLE, EVENT).to_physical())
    for row in plain.iter_rows():
        yield entity_bytes(row[:width]), time_bytes(row[width]), encode_values(row[width + 1 :])


def in_microseconds(time: int, unit: str) -> int:
    """A time of a view in microseconds."""
    return time * 1_000 if unit == "ms" else time // 1_000 if unit == "ns" else time


def accepts(dtypes: Sequence[str]) -> tuple[type, ...]:
    """The Python type of each entity value."""
    return tuple(str if name == "String" else bool if name == "Boolean" else int for name in dtypes)
