"""The point-in-time join: each label gets what was known at its prediction time, and nothing later.

A feature row is visible from `visible = max(event_time, known_at)` on. Of the visible rows of its entity a label gets the
one with the greatest event time, then the greatest known-at time. In the order of `visible`, a row whose event time is
below the running maximum of its entity arrived late and is never that one; without such rows, the answer is the last
row visible at the prediction time, which an as-of join finds. Equal event times come in the order of known-at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import polars as pl

from headwater.features._integer_keys import Numbering, numbering, places
from headwater.features._view import FeatureTable, FeatureView
from headwater.features.errors import ColumnClashError, EntityTypeError, MissingColumnError, TimeTypeError

VISIBLE: Final = "__headwater_visible"
EVENT: Final = "__headwater_event"
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
        made |= _made(table.view, answer.collect_schema())
    views = [table.view for table in tables]
    # A deferred source runs its operations on all threads; a function over batches would have one.
    return pl.defer(lambda: _join(labels.collect(), views, answers, time), schema=pl.Schema(made))


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
    moment = _moment(time, _checked_time(table, time))
    known = rows.filter(pl.col(view.known_at) <= moment, pl.col(view.event_time) <= moment)
    if view.ttl is not None:
        known = known.filter(moment - pl.col(view.event_time) <= view.ttl)
    times = dict.fromkeys((view.event_time, view.known_at))
    newest = known.drop_nulls([view.event_time, *view.entity]).sort(*times, maintain_order=True)
    newest = newest.unique(view.entity, keep="last", maintain_order=True) if view.entity else newest.tail(1)
    return newest.select(*view.entity, *times, *(pl.col(name).alias(out) for name, out in view.outputs.items()))


def _checked_time(table: FeatureTable, time: datetime) -> pl.DataType:
    """The dtype of a table's times, which fits `time`."""
    view, schema = table.view, table.rows.lazy().collect_schema()
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
    return wanted


def _moment(time: datetime, dtype: pl.DataType) -> pl.Expr:
    zone = dtype.time_zone  # type: ignore[attr-defined]
    return pl.lit(time).cast(dtype) if zone is None else pl.lit(time).dt.convert_time_zone(zone).cast(dtype)


def answers_from(table: FeatureTable, since: datetime) -> pl.DataFrame:
    """The rows of a feature table that answer some label from a moment on, each with the time from which it does.

    Of an entity the newest row visible at or before the prediction time is the answer; what this leaves out never is.

    Args:
        table: A feature view with its rows.
        since: The moment; with a zone exactly when the table's times have one.

    Returns:
        The columns `entity_columns(view)`, the times `VISIBLE` and `EVENT`, then the features under the training set's
        names; in the order of `VISIBLE`, of rows visible at once the last one counts.

    Raises:
        MissingColumnError: The table lacks a column.
        TimeTypeError: A time column is no timestamp, or has a zone where `since` has none, or the other way round.
    """
    view = table.view
    wanted = _checked_time(table, since)
    schema = table.rows.lazy().collect_schema()
    keys = dict(zip(view.keys, view.entity, strict=True))
    answers = _answers(table, pl.Schema({name: schema[column] for name, column in keys.items()} | {"": wanted}), "")
    found = _newest(_visible(answers.collect(), entity_columns(view)), entity_columns(view))
    later = pl.col(VISIBLE).shift(-1)
    until = later.over(entity_columns(view)) if view.entity else later
    moment = _moment(since, wanted)
    return found.filter(until.is_null() | (until > moment)).select(
        *entity_columns(view), VISIBLE, EVENT, *view.outputs.values()
    )


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
        *(pl.col(column).alias(key) for key, column in zip(entity_columns(view), view.entity, strict=True)),
        pl.col(view.event_time).alias(EVENT),
        pl.col(view.known_at).alias(_KNOWN),
        *(pl.col(name).alias(output) for name, output in view.outputs.items()),
    )


def entity_columns(view: FeatureView) -> list[str]:
    """Names of a view's entity columns while it is joined or published."""
    return key_columns(len(view.entity))


def key_columns(count: int) -> list[str]:
    """Names of so many entity columns while they are joined or published."""
    return [f"{_KEY}{index}" for index in range(count)]


def _join(labels: pl.DataFrame, views: list[FeatureView], answers: list[pl.LazyFrame], time: str) -> pl.DataFrame:
    """Joins in orders of its own, several views at once; the labels' own columns never leave their place."""
    orders = _Orders(labels, views, time)
    works = [
        pl.defer(partial(_features, orders, view, answer), schema=_made(view, answer.collect_schema()))
        for view, answer in zip(views, answers, strict=True)
    ]
    return labels.hstack([column for part in pl.collect_all(works) for column in part.get_columns()])


def _made(view: FeatureView, found: pl.Schema) -> pl.Schema:
    return pl.Schema({name: found[name] for name in view.outputs.values()})


def _features(orders: "_Orders", view: FeatureView, answer: pl.LazyFrame) -> pl.DataFrame:
    """The view's features for every label."""
    rows = _visible(
        answer.collect(), entity_columns(view)
    ).rechunk()  # taking rows out of a file's many chunks takes twice as long
    if len(view.keys) == 1 and (order := orders.by_entity(view.keys[0])) is not None:
        key = entity_columns(view)[0]
        how = numbering(orders.labels, rows, keys=(view.keys[0], key), time=orders.time, times=(VISIBLE, EVENT))
        if how is not None:
            return _by_number(orders, order, view, rows, how)
    return _by_group(orders, view, rows)


def _by_number(
    orders: "_Orders", order: "_Order", view: FeatureView, rows: pl.DataFrame, how: Numbering
) -> pl.DataFrame:
    key, known = entity_columns(view)[0], [pl.col(_KNOWN).alias("known")] if _KNOWN in rows.columns else []
    numbered = rows.select(how.number(key, VISIBLE).alias("number"), how.number(key, EVENT).alias("event"), *known)
    asked = order.asked.select(
        how.number(view.keys[0], orders.time).fill_null(-1).alias("number"), how.base(view.keys[0]).alias("base")
    )
    oldest = None if view.ttl is None else ttl_in_unit(view.ttl, rows.schema[EVENT])
    place = order.restored(places(asked, numbered, oldest=oldest))
    if rows.is_empty():
        return rows.select(*view.outputs.values()).clear(len(place))
    found, any_row = place.is_not_null(), place.fill_null(0)  # taking by numbers without nulls is twice as fast
    return rows.select(pl.when(found).then(pl.col(name).gather(any_row)).alias(name) for name in view.outputs.values())


def in_unit(microseconds: int, unit: str) -> int:
    """Microseconds in another time unit, in `ms` the whole ones."""
    return microseconds // 1_000 if unit == "ms" else microseconds * 1_000 if unit == "ns" else microseconds


def ttl_in_unit(ttl: timedelta, dtype: pl.DataType) -> int:
    """The whole units of a time column that a ttl holds."""
    return in_unit(ttl // timedelta(microseconds=1), dtype.time_unit)  # type: ignore[attr-defined]


def _by_group(orders: "_Orders", view: FeatureView, rows: pl.DataFrame) -> pl.DataFrame:
    order, keys = orders.by_time(), entity_columns(view)
    joined = order.asked.select(orders.time, *view.keys).join_asof(
        _newest(rows, keys), left_on=orders.time, right_on=VISIBLE, by_left=list(view.keys) or None,
        by_right=keys or None, strategy="backward", check_sortedness=False,
    )  # fmt: skip
    features = [pl.col(name) for name in view.outputs.values()]
    if view.ttl is not None:
        age = pl.col(orders.time).to_physical() - pl.col(EVENT).to_physical()
        fresh = age <= ttl_in_unit(view.ttl, rows.schema[EVENT])
        features = [pl.when(fresh).then(feature).alias(feature.meta.output_name()) for feature in features]
    found = joined.select(features)
    return pl.DataFrame([order.restored(column) for column in found.get_columns()])


def _visible(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The rows that can be an answer at some time, with the time from which each is visible.

    Known-at stays a column of its own only where some rows are known before their event: these are visible from the event
    on, and corrected until then.
    """
    rows = rows.drop_nulls([EVENT, _KNOWN, *keys])
    if rows.select((pl.col(EVENT) > pl.col(_KNOWN)).any()).item():
        return rows.with_columns(pl.max_horizontal(EVENT, _KNOWN).alias(VISIBLE))
    return rows.rename({_KNOWN: VISIBLE})


def _newest(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The rows that are the newest known when they become visible, in that order."""
    if _KNOWN in rows.columns:
        rows = rows.sort(VISIBLE, _KNOWN, maintain_order=True)
    elif not rows.get_column(VISIBLE).is_sorted():
        rows = rows.sort(VISIBLE, maintain_order=True)
    if rows.get_column(EVENT).is_sorted():
        return rows
    newest = pl.col(EVENT).cum_max()
    return rows.filter(pl.col(EVENT) >= (newest.over(keys) if keys else newest))


@dataclass(frozen=True, kw_only=True)
class _Order:
    """Labels in another order, and the way back."""

    asked: pl.DataFrame
    back: pl.Series | None

    def restored(self, column: pl.Series) -> pl.Series:
        """A column of this order in the labels' own."""
        return column if self.back is None else column.gather(self.back)


class _Orders:
    """The labels in the orders that joins need, each made once, before views are joined at the same time."""

    def __init__(self, labels: pl.DataFrame, views: Sequence[FeatureView], time: str) -> None:
        self.labels = labels.select(*dict.fromkeys((time, *(key for view in views for key in view.keys)))).rechunk()
        self.time = time
        self._made: dict[str | None, _Order] = {}
        for view in views:
            if len(view.keys) != 1 or self.by_entity(view.keys[0]) is None:
                self.by_time()

    def by_time(self) -> _Order:
        """In the order of the prediction time."""
        if None not in self._made:
            self._made[None] = self._sorted(self.labels.get_column(self.time))
        return self._made[None]

    def by_entity(self, key: str) -> _Order | None:
        """By entity, then prediction time; labels without one of them first. None when they can't be numbered."""
        if key not in self._made and (number := self._number(key)) is not None:
            self._made[key] = self._sorted(number)
        return self._made.get(key)

    def _number(self, key: str) -> pl.Series | None:
        how = numbering(self.labels, None, keys=(key, ""), time=self.time, times=())
        return None if how is None else self.labels.select(how.number(key, self.time).fill_null(-1)).to_series()

    def _sorted(self, by: pl.Series) -> _Order:
        import numpy as np

        if by.is_sorted():
            return _Order(asked=self.labels, back=None)
        taken = by.arg_sort()
        back = np.empty(len(taken), dtype=np.uint32)
        back[taken.to_numpy()] = np.arange(len(taken), dtype=np.uint32)
        return _Order(asked=self.labels.select(pl.all().gather(taken)), back=pl.Series(back))
