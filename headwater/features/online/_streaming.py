"""From a stream's events to the feature rows that they make. Pure.

A row is made once the stream's events are there up to its event time (and beyond, if the row counts events at that very time): no event is
awaited any more that it would count. An event that comes in later missed that watermark. It is counted by rows of event times behind that one,
and changes none that was made by then; but of each entity that it concerns, the newest row of before the watermark, however old it is, gets a
corrected one of the same event time. That is known `known_after` the arrival of the last late event within its lookback, of whomever: whose
events a row counts only its function knows (a share of all counts those of others). It is made once the events are there up to a later time. So
the rows depend on the events and their arrivals alone, and not on when, or how often, somebody looked, provided that they were read from `begin_of` on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import polars as pl

from headwater.features._streamed import StreamedView
from headwater.features._view import FeatureView

MISSED: Final = "watermark"
"""Of a late event: the watermark that it missed, or the later instant up to which rows were due before it came."""
ARRIVED: Final = "known_at"
"""When the log took the event."""
_AT: Final = "__at"
_ROW: Final = "__row"


@dataclass(frozen=True, kw_only=True)
class Events:
    """What a stream has.

    Attributes:
        timely: Events that came before the watermark passed them.
        late: Those that did not, or that no row of before then could await, with the columns of `timely` and `MISSED`; None without any.
        event_time: Column of the event times.
    """

    timely: pl.LazyFrame
    late: pl.LazyFrame | None
    event_time: str


def begin_of(
    streamed: StreamedView,
    late: pl.LazyFrame | None,
    *,
    event_time: str,
    after: datetime,
    until: datetime,
    first: datetime,
) -> datetime:
    """From when on events have to be read for `streamed_rows`: as its `begin`.

    A lookback before the rows to make, and before the oldest late event that may correct one.

    Args:
        streamed: How rows are made.
        late: The stream's late events, all of them.
        event_time: Column of the event times.
        after, until: As of `streamed_rows`.
        first: From when on the stream is complete.
    """
    oldest = None
    if late is not None:
        time, missed = pl.col(event_time), pl.col(MISSED)
        asked = late.filter(missed >= after, missed < until, time >= first)
        oldest = asked.select(time.min()).collect().item()
    return max(min(after, oldest or after) - streamed.lookback, first)


def streamed_rows(
    streamed: StreamedView,
    view: FeatureView,
    events: Events,
    *,
    after: datetime,
    until: datetime,
    begin: datetime | None = None,
) -> pl.DataFrame:
    """The rows of a feature table with event times behind `after`, up to `until`, and corrections of those at or before it.

    Args:
        streamed: How they are made.
        view: The feature view.
        events: The stream's events from `begin` on at least.
        after: Rows up to then are there.
        until: The watermark, or another instant up to which the events are there.
        begin: From when on all events are there, at least a lookback before `after`: no row is made of which the lookback begins
            before. None takes two lookbacks before `after`.

    Returns:
        Rows as `streamed.compute` gives them; none when `until` is not behind `after`.
    """
    begin = after - 2 * streamed.lookback if begin is None else begin
    late = _late(events, begin, until)
    bounds = [after, *(missed for missed in _missed(late) if after < missed < until), until]
    made = [_made(streamed, view, events, late, *span) for span in pairwise(bounds) if span[0] < span[1]]
    corrected = [
        _corrections(streamed, view, events, late, missed, begin) for missed in _missed(late) if after <= missed < until
    ]
    empty = streamed.compute(events.timely.head(0)).collect()
    return pl.concat([empty, *made, *corrected])


def _late(events: Events, begin: datetime, until: datetime) -> pl.DataFrame:
    """Late events from one instant on that missed a watermark before another."""
    if events.late is None:
        return events.timely.head(0).with_columns(pl.col(events.event_time).alias(MISSED)).collect()
    return events.late.filter(pl.col(events.event_time) >= begin, pl.col(MISSED) < until).collect()


def _missed(late: pl.DataFrame) -> Sequence[datetime]:
    found: list[datetime] = late.get_column(MISSED).unique().sort().to_list()
    return found


def _made(
    streamed: StreamedView, view: FeatureView, events: Events, late: pl.DataFrame, after: datetime, until: datetime
) -> pl.DataFrame:
    """Rows behind one instant and up to another, between which no watermark was missed."""
    return _rows(streamed, view, events, late.filter(pl.col(MISSED) <= after), after, until)


def _corrections(
    streamed: StreamedView, view: FeatureView, events: Events, late: pl.DataFrame, missed: datetime, begin: datetime
) -> pl.DataFrame:
    """What those that missed a watermark change of the newest row by then of each entity, known `known_after` they had come."""
    there, came = late.filter(pl.col(MISSED) < missed), late.filter(pl.col(MISSED) <= missed)
    oldest: Any = came.filter(pl.col(MISSED) == missed).get_column(events.event_time).min()
    start = max(oldest, begin + streamed.lookback)  # rows of before count none of them
    before = _rows(streamed, view, events, there, start, missed)
    after = _rows(streamed, view, events, came, start, missed)
    newest = after.sort(view.event_time, maintain_order=True)
    newest = newest.unique(view.entity, keep="last", maintain_order=True) if view.entity else newest.tail(1)
    changed = newest.join(before, on=before.columns, how="anti", nulls_equal=True)
    known = _known(streamed, view, changed, came.lazy().select(pl.col(events.event_time).alias(_AT), ARRIVED))
    return changed.with_columns(pl.max_horizontal(view.known_at, known).alias(view.known_at))


def _known(streamed: StreamedView, view: FeatureView, rows: pl.DataFrame, came: pl.LazyFrame) -> pl.Series:
    """When the last of some events had come that lie within each row's lookback."""
    times, row = rows.lazy().select(pl.col(view.event_time).alias(_ROW)), pl.col(_ROW)
    there = came.with_columns(pl.col(_AT).cast(rows.schema[view.event_time]))
    counted = times.unique(_ROW).join_where(
        there, pl.col(_AT) >= row - streamed.lookback, pl.col(_AT) < row + streamed.after_row
    )
    last = counted.group_by(_ROW).agg(pl.col(ARRIVED).max())
    found = times.join(last, on=_ROW, how="left", maintain_order="left").collect().get_column(ARRIVED)
    return (found + streamed.known_after).cast(rows.schema[view.known_at])


def _rows(
    streamed: StreamedView, view: FeatureView, events: Events, late: pl.DataFrame, after: datetime, until: datetime
) -> pl.DataFrame:
    time = pl.col(events.event_time)
    names = events.timely.collect_schema().names()
    there = pl.concat([events.timely, late.lazy().select(names)]) if late.height else events.timely
    read = there.filter(time >= after - streamed.lookback, time < until)
    made = streamed.compute(read)
    event, kind = pl.col(view.event_time) + streamed.after_row, made.collect_schema()[view.event_time]
    return made.filter(event > _as(after, kind), event <= _as(until, kind)).collect()


def _as(moment: datetime, kind: pl.DataType) -> pl.Expr:
    """A moment as feature tables have it: times without a zone are UTC."""
    zone = getattr(kind, "time_zone", None)
    here = pl.lit(moment.astimezone(UTC))
    return here.dt.replace_time_zone(None) if zone is None else here.dt.convert_time_zone(zone)
