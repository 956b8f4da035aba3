"""A published version as every store keeps it: one record, and each view ready to be looked up."""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from headwater.features._point_in_time import in_unit
from headwater.features.errors import EntityValueError, NotPublishedError, TimeBeforeWindowError, TimeValueError
from headwater.features.online._encoding import decode_values, entity_bytes
from headwater.features.online._interface import (
    Answer,
    OnlineContent,
    OnlineRow,
    OnlineTable,
    OnlineVersion,
    OnlineView,
)
from headwater.features.online._rows import accepts, in_microseconds

LAST: Final = 2**53
"""Behind every time that is answered, in microseconds: the year 2255. Nanoseconds of later times do not fit 64 bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """One view, ready to be looked up.

    Attributes:
        view: As it was published.
        generation: Number under which its rows stand.
        types: Python types of the entity's values.
        ttl: Greatest age of an event in the view's unit.
        is_in_microseconds: Whether that unit is the one that lookups have.
        nothing: The answer where there is none.
    """

    view: OnlineView
    generation: int
    types: tuple[type, ...]
    ttl: int | None
    is_in_microseconds: bool
    nothing: OnlineRow

    def row(self, value: bytes, moment: int) -> OnlineRow:
        """The answer that a stored row gives at a moment, which is in the view's unit."""
        row = decode_values(value)
        event, ttl = row[0], self.ttl
        shown = event if self.is_in_microseconds else in_microseconds(event, self.view.unit)
        if ttl is not None and moment - event > ttl:
            return OnlineRow(Answer.STALE, self.nothing.values, shown)
        return OnlineRow(Answer.FOUND, row[1:], shown)

    def moment(self, at: int) -> int:
        """A time in the view's unit; in `ms` the last whole one, as a row visible after it is not visible yet."""
        return at if self.is_in_microseconds else in_unit(at, self.view.unit)

    def entity(self, entity: tuple[Any, ...]) -> bytes | None:
        """An entity in bytes, None where a value is null, which no row has. Raises EntityValueError."""
        if tuple(map(type, entity)) == self.types:
            try:
                return entity_bytes(entity)
            except (struct.error, UnicodeEncodeError):  # beyond 64 bits, or half a character
                raise self._no_entity(entity) from None
        if len(entity) == len(self.types) and None in entity:
            return None
        raise self._no_entity(entity)

    def _no_entity(self, entity: tuple[Any, ...]) -> EntityValueError:
        wanted = tuple(kind.__name__ for kind in self.types)
        return EntityValueError(view=self.view.name, entity=entity, names=self.view.keys, wanted=wanted)


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """One version; `record` is what it was read from."""

    record: bytes
    version: OnlineVersion
    views: Mapping[str, Held]

    @classmethod
    def read(cls, product: str, record: bytes | None) -> "State":
        """The version that a record holds. Raises NotPublishedError where there is none."""
        if record is None:
            raise NotPublishedError(product=product, view=None, known=())
        version, generations = read_record(record)
        return cls(
            record=record,
            version=version,
            views={name: _held(view, generations[name]) for name, view in version.views.items()},
        )

    def held(self, view: str, at: int) -> Held:
        """The view to ask. Raises NotPublishedError, TimeBeforeWindowError, TimeValueError."""
        held = self.views.get(view)
        if held is None:
            raise NotPublishedError(product=self.version.product, view=view, known=tuple(self.views))
        if type(at) is not int or at >= LAST:
            raise TimeValueError(view=view, at=at)
        if at < self.version.since:
            raise TimeBeforeWindowError(view=view, at=at, since=self.version.since)
        return held


def _held(view: OnlineView, generation: int) -> Held:
    return Held(
        view=view,
        generation=generation,
        types=accepts(view.entity),
        ttl=view.ttl,
        is_in_microseconds=view.unit == "us",
        nothing=OnlineRow(Answer.UNKNOWN, (None,) * len(view.features), None),
    )


def read_record(record: bytes) -> tuple[OnlineVersion, dict[str, int]]:
    """The version in a record, and the generation of each view."""
    raw: dict[str, Any] = json.loads(record)
    return OnlineVersion.from_json(raw["version"]), raw["generations"]


def write_record(version: OnlineVersion, generations: Mapping[str, int]) -> bytes:
    """The record of a version."""
    return json.dumps({"version": version.to_json(), "generations": generations}, sort_keys=True).encode()


def renewed(
    before: State | None, product: str, content: OnlineContent, *, commit: str, write: Callable[[OnlineTable], int]
) -> tuple[OnlineVersion, dict[str, int]]:
    """The next version and the generation of each view. A view whose rows stand already is left.

    Args:
        before: What is published.
        product: The product.
        content: Its views.
        commit: The lake commit that holds them.
        write: Puts a view's rows under a new generation, and gives it.
    """
    views, generations = {}, {}
    for table in content.tables:
        name, there = table.view.name, _standing(before, table.view)
        views[name] = table.view
        generations[name] = there.generation if there is not None else write(table)
    return OnlineVersion(product=product, commit=commit, since=content.since, views=views), generations


def _standing(state: State | None, view: OnlineView) -> Held | None:
    """What is published already under this name with these very rows."""
    old = state.views.get(view.name) if state is not None else None
    return old if old is not None and replace(old.view, data_version=view.data_version) == view else None
