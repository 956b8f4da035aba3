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
    answers = [_answers(table, schema, time) for table in tables]
    made = dict(schema)
    for table, answer in zip(tables, answers, strict=True):
        found = answer.collect_schema()
        made |= {name: found[name] for name in table.view.outputs.values()}
    views = [table.view for table in tables]
    return labels.map_batches(
        lambda frame: _join(frame, views, answers, time),
        schema=pl.Schema(made),
        predicate_pushdown=False,
        projection_pushdown=False,
        slice_pushdown=False,
    )


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


def _answers(table: FeatureTable, schema: pl.Schema, time: str) -> pl.LazyFrame:
    """The columns of a table that the join needs, under the names it uses."""
    view, rows = table.view, table.rows.lazy()
    found = rows.collect_schema()
    _check_columns(found, view)
    for column in (view.event_time, view.known_at):
        _check_time(found[column], schema[time], where=f"feature view {view.name!r}", column=column)
    for key, column in zip(view.keys, view.entity, strict=True):
        if schema[key] != found[column]:
            raise EntityTypeError(view=view.name, column=column, labels=str(schema[key]), rows=str(found[column]))
    return rows.select(
        *(pl.col(column).alias(key) for key, column in zip(_keys(view), view.entity, strict=True)),
        pl.col(view.event_time).alias(_EVENT),
        pl.col(view.known_at).alias(_KNOWN),
        *(pl.col(name).alias(output) for name, output in view.outputs.items()),
    )


def _keys(view: FeatureView) -> list[str]:
    return [f"{_KEY}{index}" for index in range(len(view.entity))]


def _join(labels: pl.DataFrame, views: list[FeatureView], answers: list[pl.LazyFrame], time: str) -> pl.DataFrame:
    """Joins in the order of time; the labels' own columns never leave their place."""
    asked = labels.select(*dict.fromkeys((time, *(key for view in views for key in view.keys)))).with_row_index(_ROW)
    ordered = asked.get_column(time).is_sorted()
    if not ordered:
        asked = asked.sort(time)
    joined = asked.select(_ROW)
    for view, answer in zip(views, answers, strict=True):
        joined = joined.hstack(_features(asked, view, answer.collect(), time))
    if not ordered:
        joined = joined.sort(_ROW)
    return labels.hstack(joined.drop(_ROW))


def _features(asked: pl.DataFrame, view: FeatureView, rows: pl.DataFrame, time: str) -> pl.DataFrame:
    """The view's features for every asked time, in the order asked."""
    keys = _keys(view)
    joined = asked.select(time, *view.keys).join_asof(
        _newest(rows, keys), left_on=time, right_on=_VISIBLE, by_left=list(view.keys) or None, by_right=keys or None,
        strategy="backward", check_sortedness=False,
    )  # fmt: skip
    if view.ttl is None:
        return joined.select(view.outputs.values())
    fresh = pl.col(time) - pl.col(_EVENT) <= view.ttl
    return joined.select(pl.when(fresh).then(pl.col(name)).alias(name) for name in view.outputs.values())


def _newest(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The rows that can be an answer, in the order in which they become visible."""
    rows = rows.drop_nulls([_EVENT, _KNOWN, *keys])
    ahead = rows.select((pl.col(_EVENT) > pl.col(_KNOWN)).any()).item()
    if ahead:  # Some rows are known before their event: visible from the event on, corrected until then.
        rows = rows.with_columns(pl.max_horizontal(_EVENT, _KNOWN).alias(_VISIBLE)).sort(
            _VISIBLE, _KNOWN, maintain_order=True
        )
    else:
        rows = rows.rename({_KNOWN: _VISIBLE})
        if not rows.get_column(_VISIBLE).is_sorted():
            rows = rows.sort(_VISIBLE, maintain_order=True)
    if rows.get_column(_EVENT).is_sorted():
        return rows
    newest = pl.col(_EVENT).cum_max()
    return rows.filter(pl.col(_EVENT) >= (newest.over(keys) if keys else newest))
