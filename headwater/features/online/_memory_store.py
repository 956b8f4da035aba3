"""An online store in the memory of one process: for checks before anything is published, and for tests."""

import secrets
import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import polars as pl

from headwater.features.online._encoding import time_bytes
from headwater.features.online._extension import Addition, Merged, additions, extended, merged
from headwater.features.online._interface import Lookup, OnlineContent, OnlineRow, OnlineVersion
from headwater.features.online._rows import entries
from headwater.features.online._state import State, write_record

_Rows: TypeAlias = dict[bytes, dict[bytes, bytes]]
_Sorted: TypeAlias = dict[bytes, tuple[list[bytes], list[bytes]]]


class MemoryOnlineStore:
    """See `headwater.features.online.OnlineStore`. What it keeps are the very bytes that the other stores keep."""

    def __init__(self) -> None:
        self._products: dict[str, tuple[State, dict[str, _Sorted]]] = {}
        self._marks: dict[str, str] = {}
        self._writing = threading.Lock()

    def publish(self, product: str, content: OnlineContent, *, commit: str) -> OnlineVersion:
        """Puts a product's views in place of those there were. See `OnlineStore.publish`."""
        views = {table.view.name: table.view for table in content.tables}
        version = OnlineVersion(product=product, commit=commit, since=content.since, views=views)
        held: dict[str, _Sorted] = {}
        for table in content.tables:
            rows: _Rows = {}
            for entity, time, value in entries(table):
                rows.setdefault(entity, {})[time] = value
            held[table.view.name] = {entity: _by_time(found) for entity, found in rows.items()}
        with self._writing:
            self._put(product, version, held)
            if product in self._marks:
                self._marks[product] = secrets.token_hex(8)
        return version

    def extend(
        self, product: str, rows: Mapping[str, pl.DataFrame], *, commit: str, onto: OnlineVersion | None = None
    ) -> OnlineVersion:
        """Adds rows to what is published. See `OnlineStore.extend`."""
        with self._writing:
            state, held = self._held(product)
            found, changes = dict(held), {}
            for addition in additions(state, rows, onto):
                name = addition.held.view.name
                found[name], changes[name] = _extended(held[name], addition)
            version = extended(state.version, changes, commit=commit)
            if version is not state.version:
                self._put(product, version, found)
        return version

    def version(self, product: str) -> OnlineVersion:
        """What is published now. Raises NotPublishedError."""
        return self._held(product)[0].version

    def lookup(self, product: str, asked: Sequence[Lookup]) -> tuple[OnlineVersion, list[OnlineRow]]:
        """Answers in the order asked, all from one version. See `OnlineStore.lookup`."""
        state, views = self._held(product)
        return state.version, [_answer(state, views, one) for one in asked]

    def lookup_many(
        self, product: str, view: str, entities: Sequence[tuple[Any, ...]], at: int
    ) -> tuple[OnlineVersion, list[OnlineRow]]:
        """Answers for many entities. See `OnlineStore.lookup_many`."""
        return self.lookup(product, [Lookup(view, entity, at) for entity in entities])

    def withdraw(self, product: str, *, mark: str | None = None) -> bool:
        """Takes a product out; nothing happens when it is not there. See `OnlineStore.withdraw`."""
        with self._writing:
            if product not in self._products or mark not in (None, self._marks.get(product, "")):
                return False
            del self._products[product]
            self._marks.pop(product, None)
        return True

    def mark(self, product: str) -> None:
        """Says that somebody looks a product up. See `OnlineStore.mark`."""
        with self._writing:
            if product in self._products:
                self._marks[product] = secrets.token_hex(8)

    def marks(self) -> Mapping[str, str]:
        """By product what is published, its mark. See `OnlineStore.marks`."""
        with self._writing:
            return {product: self._marks.get(product, "") for product in self._products}

    def close(self) -> None:
        """Forgets everything."""
        self._products.clear()
        self._marks.clear()

    def _put(self, product: str, version: OnlineVersion, held: dict[str, _Sorted]) -> None:
        """One assignment: who looks up has the old or the new ones."""
        self._products[product] = (State.read(product, write_record(version, dict.fromkeys(version.views, 0))), held)

    def _held(self, product: str) -> tuple[State, dict[str, _Sorted]]:
        found = self._products.get(product)
        return found if found is not None else (State.read(product, None), {})


def _by_time(rows: dict[bytes, bytes]) -> tuple[list[bytes], list[bytes]]:
    times = sorted(rows)
    return times, [rows[time] for time in times]


def _extended(held: _Sorted, addition: Addition) -> tuple[_Sorted, list[Merged]]:
    """A view with added rows, and what changed; the view that is there stays as it is."""
    found, changes = dict(held), []
    for entity, added in addition.rows.items():
        times, values = held.get(entity, ([], []))
        place = max(bisect_right(times, added[0][0]) - 1, 0)
        change = merged(list(zip(times[place:], values[place:], strict=True)), added, addition.since)
        changes.append(change)
        rows = dict(zip(times, values, strict=True))
        for time, _ in change.removed:
            del rows[time]
        found[entity] = _by_time(rows | dict(change.put))
    return found, changes


def _answer(state: State, views: dict[str, _Sorted], asked: Lookup) -> OnlineRow:
    held = state.held(asked.view, asked.at)
    entity, moment = held.entity(asked.entity), held.moment(asked.at)
    times, values = views[asked.view].get(entity, ([], [])) if entity is not None else ([], [])
    place = bisect_right(times, time_bytes(moment))
    return held.row(values[place - 1], moment) if place else held.nothing
