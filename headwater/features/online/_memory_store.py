"""An online store in the memory of one process: for checks before anything is published, and for tests."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeAlias

from headwater.features.online._encoding import time_bytes
from headwater.features.online._interface import Lookup, OnlineContent, OnlineRow, OnlineVersion
from headwater.features.online._rows import entries
from headwater.features.online._state import State, write_record

_Rows: TypeAlias = dict[bytes, dict[bytes, bytes]]
_Sorted: TypeAlias = dict[bytes, tuple[list[bytes], list[bytes]]]


class MemoryOnlineStore:
    """See `headwater.features.online.OnlineStore`. What it keeps are the very bytes that the other stores keep."""

    def __init__(self) -> None:
        self._products: dict[str, tuple[State, dict[str, _Sorted]]] = {}

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
        state = State.read(product, write_record(version, dict.fromkeys(views, 0)))
        self._products[product] = (state, held)
        return version

    def version(self, product: str) -> OnlineVersion:
        """What is published now. Raises NotPublishedError."""
        return self._held(product)[0].version

    def lookup(self, product: str, asked: Sequence[Lookup]) -> tuple[OnlineVersion, list[OnlineRow]]:
        """Answers in the order asked, all from one version. See `OnlineStore.lookup`."""
        state, views = self._held(product)
        return state.version, [_answer(state, views, one) for one in asked]

    def withdraw(self, product: str) -> None:
        """Takes a product out; nothing happens when it is not there."""
        self._products.pop(product, None)

    def close(self) -> None:
        """Forgets everything."""
        self._products.clear()

    def _held(self, product: str) -> tuple[State, dict[str, _Sorted]]:
        found = self._products.get(product)
        return found if found is not None else (State.read(product, None), {})


def _by_time(rows: dict[bytes, bytes]) -> tuple[list[bytes], list[bytes]]:
    times = sorted(rows)
    return times, [rows[time] for time in times]


def _answer(state: State, views: dict[str, _Sorted], asked: Lookup) -> OnlineRow:
    held = state.held(asked.view, asked.at)
    entity, moment = held.entity(asked.entity), held.moment(asked.at)
    times, values = views[asked.view].get(entity, ([], [])) if entity is not None else ([], [])
    place = bisect_right(times, time_bytes(moment))
    return held.row(values[place - 1], moment) if place else held.nothing
