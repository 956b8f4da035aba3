"""The point-in-time join: each label gets what was known at its prediction time, and nothing later.

A feature row is visible from `visible = max(event_time, known_at)` on. Of the visible rows of its entity a label gets the
one with the greatest event time, then the greatest known-at time. In the order of `visible`, a row whose event time is
below the running maximum of its entity arrived late and is never that one; without such rows, the answer is the last
row visible at the prediction time, which an as-of join finds. Equal event times come in the order of known-at.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import polars as pl

from headwater.features._view import FeatureTable, FeatureView
from headwater.features.errors import ColumnClashError, EntityTypeError, MissingColumnError, TimeTypeError

_ROW: Final = "__headwater_row"
_VISIBLE: Final = "__headwater_visible"
_EVENT: Final = "__headwater_event"
_KNOWN: Final = "__headwater_known"
_KEY: Final = "__headwater_key_"


def point_in_time_join(
    labels: pl.LazyFrame | pl.DataFrame, tables: Sequence[FeatureTable], *, time: str
) -> pl.LazyFrame:
    """The labels with, for each view, the features known at the label's prediction time.

    A row of a table counts when its known-at and event times are both at or before the prediction time. Among those of
    the entity, the greatest event time wins, then the greatest known-at time, then the later row of the table. It is
    too old when its event time lies more than the view's ttl before the prediction time; then, and where nothing
    was known, the features are null. So are those of a label whose entity or time is null.

    Args:
        labels: One row for each prediction; order, number and duplicates of rows are kept.
        tables: Feature views with their rows.
        time: Column of the labels with the prediction time, a Datetime.

    Returns:
        The labels' columns, then each view's features in the order given.

    Raises:
        MissingColumnError: The labels or a table lack a column.
        ColumnClashError: Two columns would have one name.
        TimeTypeError: Times differ in unit or zone, or are no timestamps.
        EntityTypeError: An entity differs in dtype.
    """
    labels = labels.lazy()
    schema = labels.collect_schema()
    _check_labels(schema, tables, time)
    joined = labels.with_row_index(_ROW).sort(time, nulls_last=False)
    for table in tables:
        joined = _join(joined, table, schema, time)
    outputs = [name for table in tables for name in table.view.outputs.values()]
    return joined.sort(_ROW).select(*schema.names(), *outputs)


def visible_at(table: FeatureTable, time: datetime) -> pl.LazyFrame:
    """What a feature table says at one moment: a row for each entity with something known and not too old.

    Args:
        table: A feature view with its rows.
        time: The moment; with a zone exactly when the table's times have one.

    Returns:
        Entity, event-time and known-at columns under the table's names, then the features under the training set's.

    Raises:
        MissingColumnError: The table lacks a column.
        TimeTypeError: A time column is no timestamp, or has a zone where `time` has none, or the other way round.
    """
    view, rows = table.view, table.rows.lazy()
    schema = rows.collect_schema()
    _check_columns(schema, view)
    wanted = schema[view.event_time]
    _check_time(wanted, wanted, where=f"feature view {view.name!r}", column=view.event_time)
    _check_time(schema[view.known_at], wanted, where=f"feature view {view.name!r}", column=view.known_at)
    zone = wanted.time_zone  # type: ignore[attr-defined]
    if (zone is None) != (time.tzinfo is None):
        given = "a moment without a zone" if time.tzinfo is None else "a moment with a zone"
        raise TimeTypeError(
            where=f"feature view {view.name!r}", column=view.event_time, found=str(wanted), wanted=f"that of {given}"
        )
    moment = pl.lit(time).cast(wanted) if zone is None else pl.lit(time).dt.convert_time_zone(zone).cast(wanted)
    known = rows.filter(pl.col(view.known_at) <= moment, pl.col(view.event_time) <= moment)
    if view.ttl is not None:
        known = known.filter(moment - pl.col(view.event_time) <= view.ttl)
    times = dict.fromkeys((view.event_time, view.known_at))
    newest = known.drop_nulls([view.event_time, *view.entity]).sort(*times, maintain_order=True)
    newest = newest.unique(view.entity, keep="last", maintain_order=True) if view.entity else newest.tail(1)
    return newest.select(*view.entity, *times, *(pl.col(name).alias(out) for name, out in view.outputs.items()))


def _check_labels(schema: pl.Schema, tables: Sequence[FeatureTable], time: str) -> None:
    if time not in schema:
        raise MissingColumnError(where="The labels", missing=[time], found=schema.names())
    _check_time(schema[time], schema[time], where="the labels", column=time)
    taken = set(schema.names())
    for view in (table.view for table in tables):
        if missing := [key for key in view.keys if key not in schema]:
            raise MissingColumnError(where="The labels", missing=missing, found=schema.names())
        if clash := [name for name in view.outputs.values() if name in taken]:
            raise ColumnClashError(view=view.name, columns=clash)
        taken |= set(view.outputs.values())


def _check_columns(schema: pl.Schema, view: FeatureView) -> None:
    if missing := [name for name in view.columns if name not in schema]:
        raise MissingColumnError(where=f"The rows of feature view {view.name!r}", missing=missing, found=schema.names())


def _check_time(found: pl.DataType, wanted: pl.DataType, *, where: str, column: str) -> None:
    if not isinstance(found, pl.Datetime):
        raise TimeTypeError(where=where, column=column, found=str(found), wanted="a Datetime")
    if found != wanted:
        raise TimeTypeError(where=where, column=column, found=str(found), wanted=str(wanted))


def _join(labels: pl.LazyFrame, table: FeatureTable, schema: pl.Schema, time: str) -> pl.LazyFrame:
    view, rows = table.view, table.rows.lazy()
    found = rows.collect_schema()
    _check_columns(found, view)
    for column in (view.event_time, view.known_at):
        _check_time(found[column], schema[time], where=f"feature view {view.name!r}", column=column)
    for key, column in zip(view.keys, view.entity, strict=True):
        if schema[key] != found[column]:
            raise EntityTypeError(view=view.name, column=column, labels=str(schema[key]), rows=str(found[column]))
    keys = [f"{_KEY}{index}" for index in range(len(view.entity))]
    renamed = rows.select(
        *(pl.col(column).alias(key) for key, column in zip(keys, view.entity, strict=True)),
        pl.col(view.event_time).alias(_EVENT),
        pl.col(view.known_at).alias(_KNOWN),
        *(pl.col(name).alias(output) for name, output in view.outputs.items()),
    )
    answers = _answers(renamed, keys, list(view.outputs.values()), ttl=view.ttl is not None)
    joined = labels.join_asof(
        answers, left_on=time, right_on=_VISIBLE, by_left=list(view.keys) or None, by_right=keys or None,
        strategy="backward", check_sortedness=False,
    ).drop(_VISIBLE)  # fmt: skip
    if view.ttl is None:
        return joined
    fresh = pl.col(time) - pl.col(_EVENT) <= view.ttl
    return joined.with_columns(pl.when(fresh).then(pl.col(name)).alias(name) for name in view.outputs.values()).drop(
        _EVENT
    )


def _answers(rows: pl.LazyFrame, keys: list[str], outputs: list[str], *, ttl: bool) -> pl.LazyFrame:
    """The rows that can be an answer, in the order in which they become visible."""
    schema = rows.collect_schema()
    kept = [_VISIBLE, *keys, *([_EVENT] if ttl else []), *outputs]
    made = pl.Schema({name: schema[_KNOWN if name == _VISIBLE else name] for name in kept})
    return rows.map_batches(lambda frame: _answers_of(frame, keys).select(kept), schema=made, streamable=False)


def _answers_of(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    frame = frame.drop_nulls([_EVENT, _KNOWN, *keys])
    ahead = frame.select((pl.col(_EVENT) > pl.col(_KNOWN)).any()).item()
    if ahead:  # Some rows are known before their event: visible from the event on, corrected until then.
        frame = frame.with_columns(pl.max_horizontal(_EVENT, _KNOWN).alias(_VISIBLE))
        frame = frame.sort(_VISIBLE, _KNOWN, maintain_order=True)
    else:
        frame = frame.with_columns(pl.col(_KNOWN).alias(_VISIBLE))
        if not frame.get_column(_VISIBLE).is_sorted():
            frame = frame.sort(_VISIBLE, maintain_order=True)
    if frame.get_column(_EVENT).is_sorted():
        return frame
    newest = pl.col(_EVENT).cum_max()
    return frame.filter(pl.col(_EVENT) >= (newest.over(keys) if keys else newest))
