"""What features read of a stream: the events of a span of time, and up to when they are all there."""

from datetime import datetime

import polars as pl

from headwater.lake import Snapshot
from headwater.lake.errors import PathNotFoundError
from headwater.streams._declaration import LATE_SUFFIX
from headwater.streams._state import StreamState, read_state
from headwater.streams._times import as_time, in_microseconds


def watermark_of(snapshot: Snapshot, path: str) -> datetime | None:
    """The event time up to which a stream's events are there, None before it has one. A window that ends by then is final.

    Args:
        snapshot: The lake at one commit.
        path: Lake path of the stream's table.

    Raises:
        PathNotFoundError: Nothing of the stream was ever read.
        StreamStateError: Its state cannot be read.
    """
    found = _state(snapshot, path).watermark
    return None if found is None else as_time(found)


def events_between(
    snapshot: Snapshot, path: str, start: datetime, end: datetime, *, with_late: bool = False
) -> pl.LazyFrame:
    """A stream's events with `start <= event time < end`, each once, in no order.

    Args:
        snapshot: The lake at one commit.
        path: Lake path of the stream's table.
        start: First instant, with a zone.
        end: Instant behind the last, with a zone. Behind the watermark, events may still be missing.
        with_late: Whether late events that were kept apart are among them. What was computed before they came lacks them.

    Returns:
        The declared columns, `known_at`, `log_partition` and `log_offset`.

    Raises:
        PathNotFoundError: Nothing of the stream was ever read.
        StreamStateError: Its state cannot be read.
        NoZoneError: A time has no zone.
    """
    begin, limit = (pl.lit(in_microseconds(moment), dtype=pl.Int64) for moment in (start, end))
    state, rows = _state(snapshot, path), snapshot.table(path)
    names = rows.collect_schema().names()
    if with_late and snapshot.has(path + LATE_SUFFIX):
        rows = pl.concat([rows, snapshot.table(path + LATE_SUFFIX).select(names)])
    time = pl.col(state.event_time)
    kind = rows.collect_schema()[state.event_time]
    return rows.filter(time >= begin.cast(kind), time < limit.cast(kind))


def _state(snapshot: Snapshot, path: str) -> StreamState:
    found = read_state(snapshot, path)
    if found is None:
        remedy = "Take events into it first: `headwater.streams.catch_up`."
        raise PathNotFoundError(path=path, ref=snapshot.commit.id, known=snapshot.paths(), remedy=remedy)
    return found
