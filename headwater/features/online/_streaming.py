"""From a stream's events to the feature rows that they make. Pure.

A row is made once the stream's events are there up to its event time (and beyond, if the row counts events at that very time): no event is
awaited any more that it would count. An event that comes in later missed that watermark. It is counted by rows of event times behind that one,
and changes none that was made by then; but of each entity that it concerns, the newest row made by then gets a corrected one of the same
event time, which is known `known_after` the arrival, of all that missed one watermark `known_after` the last one's arrival. That is made once
the events are there up to a later time. So the rows depend on the events and their arrivals alone, and not on when, or how often, somebody looked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

import polars as pl

from headwater.features._streamed import StreamedView
from headwater.features._view import FeatureView

MISSED: Final = "watermark"
"""Of a late event: the watermark that it missed, or the later instant up to which rows were due before it came."""
ARRIVED: Final = "known_at"
"""When the log took the event."""


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


def streamed_rows(
    streamed: StreamedView, view: FeatureView, events: Events, *, after: datetime, until: datetime
) -> pl.DataFrame:
    """The rows of a feature table with event times behind `after`, up to `until`, and corrections of those at or before it.

    Args:
        streamed: How they are made.
        view: The feature view.
        events: The stream's events, from two lookbacks before `after` on at least.
        after: Rows up to then are there.
        until: The watermark, or another instant up to which the events are there.

    Returns:
        Rows as `streamed.compute` gives them; none when `until` is not behind `after`.
    """
    late = _late(events, until)
    bounds = [after, *(missed for missed in _missed(late) if after < missed < until), until]
    made = [_made(streamed, view, events, late, *span) for span in pairwise(bounds) if span[0] < span[1]]
    corrected = [
        _corrections(streamed, view, events, late, missed) for missed in _missed(late) if after <= missed < until
    ]
    empty = streamed.compute(events.timely.head(0)).collect()
    return pl.concat([empty, *made, *corrected])


def _late(events: Events, until: datetime) -> pl.DataFrame:
    """Late events that missed a watermark before an instant."""
    if events.late is None:
        return events.timely.head(0).with_columns(pl.col(events.event_time).alias(MISSED)).collect()
    return events.late.filter(pl.col(MISSED) < until).collect()


def _missed(late: pl.DataFrame) -> Sequence[datetime]:
    found: list[datetime] = late.get_column(MISSED).unique().sort().to_list()
    return found


def _made(
    streamed: StreamedView, view: FeatureView, events: Events, late: pl.DataFrame, after: datetime, until: datetime
) -> pl.DataFrame:
    """Rows behind one instant and up to another, between which no watermark was missed."""
    return _rows(streamed, view, events, late.filter(pl.col(MISSED) <= after), after, until)


def _corrections(
    streamed: StreamedView, view: FeatureView, events: Events, late: pl.DataFrame, missed: datetime
) -> pl.DataFrame:
    """What those that missed a watermark change of the newest row by then of each entity, known `known_after` the last of them."""
    begin = missed - streamed.lookback
    before = _rows(streamed, view, events, late.filter(pl.col(MISSED) < missed), begin, missed)
    after = _rows(streamed, view, events, late.filter(pl.col(MISSED) <= missed), begin, missed)
    newest = after.sort(view.event_time, maintain_order=True)
    newest = newest.unique(view.entity, keep="last", maintain_order=True) if view.entity else newest.tail(1)
    changed = newest.join(before, on=before.columns, how="anti", nulls_equal=True)
    known = late.filter(pl.col(MISSED) == missed).get_column(ARRIVED).max()
    moment = (pl.lit(known) + streamed.known_after).cast(changed.schema[view.known_at])
    return changed.with_columns(pl.max_horizontal(view.known_at, moment).alias(view.known_at))


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
