"""Rows of the embedded store found by entity and time: one search each, and none where an answer is known already.

A row's key is `r<generation><entity><time>`, the time backwards: an entity's newest row comes first, so that the one which answers is
the first at or behind what is asked, and no step back is needed. An answer holds from one moment to another, and as long as the
version's record is the same: what is remembered under a record needs no search, and is forgotten with it.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

from headwater.features.online._encoding import TIME_BYTES, decode_values, encoder_of, time_bytes
from headwater.features.online._interface import Answer, Lookup, OnlineRow
from headwater.features.online._rows import in_microseconds
from headwater.features.online._state import Held, State

REMEMBERED: Final = 20_000
"""Answers of one view; a few megabytes."""
_ASKED: Final = 100_000
"""Who was asked for once, of one view. To remember the answer of everybody costs more than it saves where nobody comes twice."""
_ROW: Final = b"r"
_generation_bytes = struct.Struct(">I").pack
_TIME: Final = -TIME_BYTES
_NEVER: Final = b""
"""Before the bytes of every time, backwards: no moment is that late."""
_LAST: Final = 2**63
"""Behind every moment, in any unit: no bytes of time hold it."""
_BACKWARDS: Final = bytes(reversed(range(256)))
_FOUND, _STALE = Answer.FOUND, Answer.STALE
_NEVER_ASKED: Final[Any] = object()
_NO_ENTITY: Final = (TypeError, ValueError, IndexError, struct.error)
_row: Any = tuple.__new__
"""Half the time of the constructor of a named tuple."""


def rows_prefix(generation: int) -> bytes:
    """Where a generation's rows stand."""
    return _ROW + _generation_bytes(generation)


def backwards(time: bytes) -> bytes:
    """The bytes of a time as they stand in a key, which sort as the times do not; and those of a key as a time's."""
    return time.translate(_BACKWARDS)


def rows_from_time(cursor: Any, start: bytes, time: bytes) -> list[tuple[bytes, bytes]]:
    """An entity's rows from the newest at or before a time on, in the order of time."""
    there = cursor.set_range(start + backwards(time))
    if not (there and cursor.key()[:_TIME] == start):  # none is that old
        there = cursor.prev() if there else cursor.last()
    found = []
    while there and cursor.key()[:_TIME] == start:
        found.append((backwards(cursor.key()[_TIME:]), cursor.value()))
        there = cursor.prev()
    return found


class Known:
    """One version, with the answers that were found of it."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._views = {name: _View(held) for name, held in state.views.items()}

    def answers(self, txn: Any, asked: Sequence[Lookup]) -> list[OnlineRow]:
        """Answers in the order asked. Raises what `OnlineStore.lookup` raises of questions."""
        answers, cursor = [], None
        last_view, last_at = None, _NEVER_ASKED
        key: bytes | None
        for view, entity, at in asked:
            if at != last_at or view not in self._views:
                self.state.held(view, at)  # refuses what no view can answer
                last_view, last_at, shared = None, at, backwards(time_bytes(at))
            if view != last_view:  # what questions about one view and time share is worked out once
                last_view, found = view, self._views[view]
                asked_at = shared if found.is_in_microseconds else backwards(time_bytes(found.moment(at)))
            try:
                key = found.encode(entity)
            except _NO_ENTITY:
                key = found.entity(entity)
            known = found.recent.get(key)
            if known is not None and known[0] < asked_at <= known[1]:
                answers.append(known[2])
                continue
            cursor = cursor or txn.cursor()
            answers.append(found.seek(cursor, key, asked_at))
        return answers

    def many(self, txn: Any, view: str, entities: Sequence[tuple[Any, ...]], at: int) -> list[OnlineRow]:
        """Answers of one view at one time. Raises as `answers` does."""
        moment, found = self.state.held(view, at).moment(at), self._views[view]
        asked_at, encode, recent, seek = backwards(time_bytes(moment)), found.encode, found.recent, found.seek
        cursor, answers = txn.cursor(), []
        key: bytes | None
        for entity in entities:
            try:
                key = encode(entity)
            except _NO_ENTITY:
                key = found.entity(entity)
            known = recent.get(key)
            if known is not None and known[0] < asked_at <= known[1]:
                answers.append(known[2])
            else:
                answers.append(seek(cursor, key, asked_at))
        return answers


class _View:
    """One view's rows.

    Attributes:
        encode: Makes an entity's bytes, of which there are others for other values of other types.
        moment: Turns a time into the view's unit.
        is_in_microseconds: Whether it is in that unit already.
        recent: An entity's bytes to an answer and the stretch of time for which it holds, as the backward bytes of the moment behind
            its last and of its first. Only of entities that the store has: nobody fills the memory by asking for others.
    """

    __slots__ = (
        "_asked", "_held", "_nothing", "_prefix", "_shift", "_ttl", "encode", "is_in_microseconds", "moment", "recent"
    )  # fmt: skip

    def __init__(self, held: Held) -> None:
        self._held, self._nothing, self._prefix = held, held.nothing, rows_prefix(held.generation)
        self._ttl, self._shift = held.ttl, None if held.is_in_microseconds else held.view.unit
        self._asked: set[bytes] = set()
        self.moment, self.is_in_microseconds = held.moment, held.is_in_microseconds
        self.encode = encoder_of(held.types)
        self.recent: dict[bytes | None, tuple[bytes, bytes, OnlineRow]] = {}

    def entity(self, entity: tuple[Any, ...]) -> bytes | None:
        """The bytes of one that is not made at once: a very long one. None with a null. Raises EntityValueError."""
        return self._held.entity(entity)

    def seek(self, cursor: Any, entity: bytes | None, asked_at: bytes) -> OnlineRow:
        """The answer that the rows give, which is remembered of who was asked for before.

        Args:
            cursor: Of the transaction.
            entity: Whom to look up, None for nobody.
            asked_at: The backward bytes of the time asked, in the view's unit.
        """
        if entity is None:
            return self._nothing
        start = self._prefix + entity
        if not cursor.set_range(start + asked_at):
            return self._nothing
        key, value = cursor.item()
        if key[:_TIME] != start:
            return self._nothing
        row = decode_values(value)
        event = row[0]
        shown = event if self._shift is None else in_microseconds(event, self._shift)
        end = _LAST if self._ttl is None else event + self._ttl + 1
        stale = backwards(time_bytes(end)) if end < _LAST else _NEVER
        answer: OnlineRow
        if asked_at > stale:
            answer = _row(OnlineRow, (_FOUND, row[1:], shown))
        else:
            answer = _row(OnlineRow, (_STALE, self._nothing.values, shown))
        if entity in self._asked:
            begin, until = key[_TIME:], _newer(cursor, start)
            span = (max(until, stale), begin) if asked_at > stale else (until, min(begin, stale))
            self._remember(entity, (*span, answer))
        else:
            if len(self._asked) >= _ASKED:
                self._asked.clear()
            self._asked.add(entity)
        return answer

    def _remember(self, entity: bytes, found: tuple[bytes, bytes, OnlineRow]) -> None:
        if len(self.recent) >= REMEMBERED:
            self.recent.clear()
        self.recent[entity] = found


def _newer(cursor: Any, start: bytes) -> bytes:
    """The backward time of an entity's row that is newer than the one where the cursor stands."""
    key: bytes = cursor.key() if cursor.prev() else b""
    return key[_TIME:] if key[:_TIME] == start else _NEVER
