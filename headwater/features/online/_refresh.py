"""One round: what a stream's events add to the feature views of a product goes into its online store.

How far an earlier round came is not written down: it is the newest event in the store. So nothing is lost with whoever did it, a
round that is repeated changes nothing, and after a publication the next round begins at what was published.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from headwater.features._streamed import StreamedView
from headwater.features._view import FeatureTable, FeatureView
from headwater.features.errors import NotPublishedError, VersionChangedError
from headwater.features.online._interface import OnlineStore, OnlineVersion, OnlineView
from headwater.features.online._rows import in_microseconds, rows_from
from headwater.features.online._streaming import Events, streamed_rows
from headwater.lake import Lake, Snapshot
from headwater.names import MAIN
from headwater.product import Product
from headwater.streams import events_between, read_state, watermark_of
from headwater.streams._declaration import LATE_SUFFIX

_TRIES: Final = 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class ViewRefreshed:
    """What a round did for one view.

    Attributes:
        after: The rows behind this event time were made; None when nothing could be.
        until: Up to this one: the watermark.
        rows: How many rows there were. Some of them may be in the store already.
        waits_for: Why there are none: nothing of the stream was read yet, its first events are not a lookback old yet, or it has no
            watermark. Empty otherwise.
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
    ref: str = MAIN,
) -> Refreshed:
    """Adds what a product's streams say, up to their watermarks, to its published online features.

    Args:
        lake: The lake, with the streams' tables.
        product: The product.
        store: Where its online features are published.
        name: Under which name; empty takes the product's.
        until: Takes the events to be complete up to then instead of up to the watermark, on the caller's word. With a zone.
        ref: Branch, tag or commit whose events are read.

    Raises:
        NotPublishedError: Nothing is published under the name, or it lacks a streamed view.
        StreamStateError: A stream's state cannot be read.
        OnlineTypeError, MissingColumnError: A function makes other columns than the published ones.
        VersionChangedError: Others published or extended in each of several tries.
        OnlineStoreError: The store is away or full.
    """
    snapshot = lake.at(ref)
    for left in reversed(range(_TRIES)):
        before = store.version(name or product.name)
        try:
            return _round(snapshot, product, store, before, until)
        except VersionChangedError:  # another round, or a publication: what is to be added is another thing now
            if not left:
                raise
    raise AssertionError


def _round(
    snapshot: Snapshot, product: Product, store: OnlineStore, before: OnlineVersion, until: datetime | None
) -> Refreshed:
    rows: dict[str, pl.DataFrame] = {}
    views: dict[str, ViewRefreshed] = {}
    streams = {path: _Stream(snapshot, path, until) for path in {streamed.events for streamed in product.streams}}
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
    after = max(_there(version, version.views[view.name], streamed), covered)
    if after >= stream.end:
        said = f"the stream {streamed.events} begins at {stream.first.isoformat()}" if after == covered else ""
        return None, ViewRefreshed(after=None, until=stream.end, rows=0, waits_for=said)
    events = stream.events(after - 2 * streamed.lookback, stream.end)
    found = streamed_rows(streamed, view, events, after=after, until=stream.end)
    done = ViewRefreshed(after=after, until=stream.end, rows=found.height)
    if found.is_empty():
        return None, done
    zone = getattr(found.schema[view.event_time], "time_zone", None)
    since = _EPOCH + timedelta(microseconds=version.since)
    return rows_from(FeatureTable(view=view, rows=found), since if zone else since.replace(tzinfo=None)), done


def _there(version: OnlineVersion, view: OnlineView, streamed: StreamedView) -> datetime:
    """The instant up to which the events of rows that are there and final go."""
    if view.newest is None:  # a row of before the window may still answer in it
        return _EPOCH + timedelta(microseconds=version.since) - streamed.lookback
    newest = _EPOCH + timedelta(microseconds=in_microseconds(view.newest, view.unit))
    return newest + streamed.after_row - streamed.settles


class _Stream:
    """A stream at one commit, read once for all views.

    Attributes:
        first: Its first event time: it is taken to be complete from there on. None without events.
        end: Up to where it is taken to be complete.
    """

    def __init__(self, snapshot: Snapshot, path: str, until: datetime | None) -> None:
        self.first: datetime | None = None
        self.end: datetime | None = None
        self._snapshot, self._path = snapshot, path
        self._read: tuple[datetime, Events] | None = None
        state = read_state(snapshot, path)
        if state is None:
            return
        self.end = until or watermark_of(snapshot, path)
        self._time = pl.col(state.event_time)
        self._name = state.event_time
        self.first = snapshot.table(path).select(self._time.min()).collect().item()

    def events(self, start: datetime, end: datetime) -> Events:
        """Events from one instant on at least, up to another."""
        if self._read is None or self._read[0] > start:
            late = None
            if self._snapshot.has(self._path + LATE_SUFFIX):
                late = self._snapshot.table(self._path + LATE_SUFFIX).filter(self._time >= start, self._time < end)
            timely = events_between(self._snapshot, self._path, start, end).collect().lazy()
            self._read = start, Events(timely=timely, late=late, event_time=self._name)
        return self._read[1]
