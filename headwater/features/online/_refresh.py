"""One round: what a stream's events add to the feature views of a product goes into its online store.

How far an earlier round came is not written down: it is the newest event in the store. So nothing is lost with whoever did it, a
round that is repeated changes nothing, and after a publication the next round begins at what was published.

A row is added before it is known (`StreamedView.known_after`), and answers from then on. So what a store says of an instant is what a
service had then that looked up at that instant, if rounds were made in time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from headwater.features._streamed import StreamedView
from headwater.features._view import FeatureTable, FeatureView
from headwater.features.errors import FeatureViewError, NotPublishedError, VersionChangedError
from headwater.features.online._interface import OnlineStore, OnlineVersion, OnlineView
from headwater.features.online._rows import in_microseconds as stored_microseconds
from headwater.features.online._rows import rows_from
from headwater.features.online._streaming import MISSED, Events, begin_of, streamed_rows
from headwater.lake import Lake, Snapshot
from headwater.names import MAIN
from headwater.product import Product
from headwater.streams import StreamSource, events_between, read_state
from headwater.streams._declaration import KNOWN_AT, LATE_SUFFIX
from headwater.streams._times import as_time, in_microseconds

_TRIES: Final = 5


@dataclass(frozen=True, kw_only=True)
class ViewRefreshed:
    """What a round did for one view.

    Attributes:
        after: The rows behind this event time were made; None when nothing could be.
        until: Up to this one: the stream's events are there up to then.
        rows: How many rows there were. Some of them may be in the store already.
        waits_for: Why there are none: nothing of the stream was read yet, it began less than a lookback ago, it has no watermark, or
            the store has rows of later events than the stream. Empty otherwise.
    """

    after: datetime | None
    until: datetime | None
    rows: int
    waits_for: str = ""


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a round did.

    Attributes:
        commit: The lake commit whose events it read.
        version: The store's version after it.
        is_changed: Whether any row was added or replaced.
        views: By name.
    """

    commit: str
    version: OnlineVersion
    is_changed: bool
    views: Mapping[str, ViewRefreshed]


def refresh_online(
    lake: Lake,
    product: Product,
    store: OnlineStore,
    *,
    name: str = "",
    until: datetime | None = None,
    read: datetime | None = None,
    ref: str = MAIN,
) -> Refreshed:
    """Adds what a product's streams say, as far as their events are there, to its published online features.

    They are there up to the watermark, and with `read` at least up to `arrives_within` before it: while nothing happens no event
    moves the watermark, and rows of what happened last would wait for the next event.

    Args:
        lake: The lake, with the streams' tables.
        product: The product.
        store: Where its online features are published.
        name: Under which name; empty takes the product's.
        until: Takes the events to be complete up to then and no further, on the caller's word. With a zone.
        read: When all that the logs had was in the lake, on the clock by which events arrive, on the caller's word. With a zone.
        ref: Branch, tag or commit whose events are read.

    Raises:
        NotPublishedError: Nothing is published under the name, or it lacks a streamed view.
        StreamStateError: A stream's state cannot be read.
        OnlineTypeError, MissingColumnError: A function makes other columns than the published ones.
        FeatureViewError: A function makes rows that are known sooner than `known_after` their event time.
        NoZoneError: A time has no zone.
        VersionChangedError: Others published or extended in each of several tries.
        OnlineStoreError: The store is away or full.
    """
    snapshot, ends = lake.at(ref), _Ends(until=until, read=read)
    for left in reversed(range(_TRIES)):
        before = store.version(name or product.name)
        try:
            return _round(snapshot, product, store, before, ends)
        except VersionChangedError:  # another round, or a publication: what is to be added is another thing now
            if not left:
                raise
    raise AssertionError


class _Ends:
    """A caller's words on up to when events are there."""

    def __init__(self, *, until: datetime | None, read: datetime | None) -> None:
        self.until = None if until is None else as_time(in_microseconds(until))
        self.read = None if read is None else as_time(in_microseconds(read))

    def of(self, watermark: datetime | None, within: timedelta) -> datetime | None:
        """Up to when those of a stream are; None when nobody can say."""
        by_clock = None if self.read is None else self.read - within
        return self.until or max((moment for moment in (watermark, by_clock) if moment is not None), default=None)


def _round(snapshot: Snapshot, product: Product, store: OnlineStore, before: OnlineVersion, ends: _Ends) -> Refreshed:
    rows: dict[str, pl.DataFrame] = {}
    views: dict[str, ViewRefreshed] = {}
    needed = {streamed.events for streamed in product.streams}
    streams = {source.path: _Stream(snapshot, source, ends) for source in product.events if source.path in needed}
    for streamed in product.streams:
        view = next(view for view in product.features if view.name == streamed.view)
        if view.name not in before.views:
            raise NotPublishedError(product=before.product, view=view.name, known=tuple(before.views))
        made, views[view.name] = _made(streams[streamed.events], streamed, view, before)
        if made is not None:
            rows[view.name] = made
    commit = snapshot.commit.id
    version = store.extend(before.product, rows, commit=commit, onto=before) if rows else before
    return Refreshed(commit=commit, version=version, is_changed=version != before, views=views)


def _made(
    stream: "_Stream", streamed: StreamedView, view: FeatureView, version: OnlineVersion
) -> tuple[pl.DataFrame | None, ViewRefreshed]:
    """The rows for one view as a store takes them, None when there are none."""
    if stream.end is None or stream.first is None:
        waits_for = f"the stream {streamed.events} has no {'events' if stream.first is None else 'watermark'} yet"
        return None, ViewRefreshed(after=None, until=stream.end, rows=0, waits_for=waits_for)
    covered = stream.first + streamed.lookback
    newest = _newest(version, version.views[view.name])
    after = max(_there(newest, stream.end, streamed, since=version.since), covered)
    if after >= stream.end:
        said = f"the stream {streamed.events} begins at {stream.first.isoformat()}" if after == covered else ""
        return None, ViewRefreshed(after=None, until=stream.end, rows=0, waits_for=said)
    late, span = stream.late(), {"after": after, "until": stream.end}
    begin = begin_of(streamed, late, event_time=stream.event_time, first=stream.first, **span)
    events = stream.events(begin, stream.end)
    found = streamed_rows(streamed, view, events, begin=begin, **span)
    said = ""
    if found.is_empty() and newest is not None and newest > stream.end:
        said = f"the store has rows up to {newest.isoformat()}, and the stream {streamed.events} ends at {stream.end.isoformat()}"
    done = ViewRefreshed(after=after, until=stream.end, rows=found.height, waits_for=said)
    if found.is_empty():
        return None, done
    _check_known(found, streamed, view)
    zone = getattr(found.schema[view.event_time], "time_zone", None)
    since = as_time(version.since)
    return rows_from(FeatureTable(view=view, rows=found), since if zone else since.replace(tzinfo=None)), done


def _newest(version: OnlineVersion, view: OnlineView) -> datetime | None:
    """The newest event time in the store."""
    return None if view.newest is None else as_time(stored_microseconds(view.newest, view.unit))


def _there(newest: datetime | None, end: datetime, streamed: StreamedView, *, since: int) -> datetime:
    """The instant up to which the events of rows that are there and final go.

    A store may be ahead of the stream: a table was published of which the stream does not have all events yet, or one row of it has an event
    time of the far future. Then nothing says how far rounds came, and the last stretch of the stream is taken again.
    """
    if newest is None:  # a row of before the window may still answer in it
        return as_time(since) - streamed.lookback
    if newest > end:
        return end - (streamed.settles or streamed.lookback)
    return newest + streamed.after_row - streamed.settles


def _check_known(rows: pl.DataFrame, streamed: StreamedView, view: FeatureView) -> None:
    """Refuses rows that would answer before a service could have them."""
    early = rows.filter(pl.col(view.known_at) < pl.col(view.event_time) + streamed.known_after)
    if early.is_empty():
        return
    row = early.row(0, named=True)
    raise FeatureViewError(
        view=view.name,
        problem=f"its streamed row of {', '.join(repr(row[name]) for name in view.entity) or 'everyone'} and event time "
        f"{row[view.event_time].isoformat()} is known at {row[view.known_at].isoformat()}, and is declared to be known "
        f"{streamed.known_after} after its event time.",
        remedy=f"Let the function of its table make {view.known_at!r} so much later, or declare another StreamedView(known_after=...).",
    )


class _Stream:
    """A stream at one commit, read once for all views.

    Attributes:
        first: When its first event arrived: whatever happened from then on came into it. None without events.
        end: Up to where it is taken to be complete.
    """

    def __init__(self, snapshot: Snapshot, source: StreamSource, ends: _Ends) -> None:
        assert source.arrives_within is not None  # as Product sees to it
        self.first: datetime | None = None
        self.end: datetime | None = None
        self._snapshot, self._path, self._within = snapshot, source.path, source.arrives_within
        self._read: tuple[datetime, Events] | None = None
        state = read_state(snapshot, source.path)
        if state is None or state.began is None:
            return
        self.first = as_time(state.began)
        self.end = ends.of(None if state.watermark is None else as_time(state.watermark), self._within)
        self._time = pl.col(state.event_time)
        self.event_time = state.event_time

    def events(self, start: datetime, end: datetime) -> Events:
        """Events from one instant on at least, up to another."""
        if self._read is None or self._read[0] > start:
            timely = events_between(self._snapshot, self._path, start, end).filter(~self._is_overdue).collect()
            late = self.late().filter(self._time >= start, self._time < end).collect()
            self._read = start, Events(timely=timely.lazy(), late=late.lazy(), event_time=self.event_time)
        return self._read[1]

    def late(self) -> pl.LazyFrame:
        """All events that no row of before could await, each with what it missed."""
        rows = self._snapshot.table(self._path)
        found = [rows.filter(self._is_overdue).with_columns(self._passed.alias(MISSED))]
        if self._snapshot.has(self._path + LATE_SUFFIX):
            missed = pl.when(self._is_overdue).then(pl.max_horizontal(MISSED, self._passed)).otherwise(MISSED)
            apart = self._snapshot.table(self._path + LATE_SUFFIX).with_columns(missed.alias(MISSED))
            found.append(apart.select(*rows.collect_schema().names(), MISSED))
        return pl.concat(found)

    @property
    def _is_overdue(self) -> pl.Expr:
        """Whether an event came in so long after its time that a round may have taken the stream to be complete before."""
        return pl.col(KNOWN_AT) - self._time > self._within

    @property
    def _passed(self) -> pl.Expr:
        """Up to where a round may have done so before the event came: whole minutes, as each such instant costs every round."""
        return (pl.col(KNOWN_AT) - self._within).dt.truncate("1m").dt.offset_by("1m")
