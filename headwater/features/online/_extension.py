"""What an extension changes: rows join those that are there, and the answers are those of all of them together. Pure.

Of an entity the rows of a store have event times that never fall in the order in which they become visible: a row that does not
keep to that would never be an answer. So an added row is passed over where one with a newer event is visible by then, and
takes out those of older events that become visible after it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

import polars as pl

from headwater.features._point_in_time import EVENT, VISIBLE, key_columns
from headwater.features.errors import MissingColumnError, NotPublishedError, OnlineTypeError, VersionChangedError
from headwater.features.online._encoding import decode_values, time_bytes
from headwater.features.online._interface import OnlineVersion, OnlineView
from headwater.features.online._rows import encoded
from headwater.features.online._state import Held, State

EXTENDED: Final = "+"
"""Behind the digest of published rows when others were added."""
Row: TypeAlias = tuple[bytes, bytes]
"""Time and value."""


class Merged(NamedTuple):
    """What becomes of one entity: rows to take out, and then rows to put in."""

    removed: list[Row]
    put: list[Row]


@dataclass(frozen=True, kw_only=True)
class Addition:
    """Rows to add to one view, by entity; each entity's in the order of time.

    Attributes:
        held: The view as it stands.
        rows: Entity to its rows.
        since: The window's start, as bytes of time.
    """

    held: Held
    rows: Mapping[bytes, Sequence[Row]]
    since: bytes


def additions(state: State, rows: Mapping[str, pl.DataFrame], onto: OnlineVersion | None) -> list[Addition]:
    """What is to be added to each view. Raises what `OnlineStore.extend` raises of its arguments."""
    if onto is not None and state.version != onto:
        raise VersionChangedError(
            product=onto.product, expected=f"{onto.source} ({onto.extensions} extensions)",
            found=f"{state.version.source} ({state.version.extensions} extensions)",
        )  # fmt: skip
    found = []
    for name, frame in rows.items():
        held = state.views.get(name)
        if held is None:
            raise NotPublishedError(product=state.version.product, view=name, known=tuple(state.views))
        _check(held.view, frame)
        by_entity: dict[bytes, list[Row]] = {}
        for entity, time, value in encoded(frame.sort(VISIBLE, maintain_order=True), width=len(held.view.keys)):
            by_entity.setdefault(entity, []).append((time, value))
        since = time_bytes(held.moment(state.version.since))
        found.append(Addition(held=held, rows=by_entity, since=since))
    return found


def merged(there: Sequence[Row], added: Iterable[Row], since: bytes) -> Merged:
    """How added rows change those of an entity.

    Args:
        there: Its rows from the newest one at or before the first added one on, in order.
        added: Rows to add, in order; of two at one time with one event time the later counts.
        since: The window's start. Rows that answer nothing from then on are left out.
    """
    before, rows = dict(there), dict(there)
    for time, value in added:
        if time not in rows or _event(value) >= _event(rows[time]):
            rows[time] = value
    kept: dict[bytes, bytes] = {}
    newest: int | None = None
    for time in sorted(rows):
        event = _event(rows[time])
        if newest is None or event >= newest:
            newest, kept[time] = event, rows[time]
    for time in [time for time in kept if time <= since][:-1]:
        del kept[time]
    return Merged(
        removed=[(time, value) for time, value in before.items() if kept.get(time) != value],
        put=[(time, value) for time, value in kept.items() if before.get(time) != value],
    )


def extended(version: OnlineVersion, changes: Mapping[str, Sequence[Merged]], *, commit: str) -> OnlineVersion:
    """The version after an extension; the very same one when no row changes.

    Args:
        version: As it stands.
        changes: By view what becomes of entities.
        commit: The lake commit that the rows were made from.
    """
    if not any(change.put or change.removed for found in changes.values() for change in found):
        return version
    views = {**version.views, **{name: _grown(version.views[name], found) for name, found in changes.items()}}
    return replace(version, views=views, extended=commit, extensions=version.extensions + 1)


def _grown(view: OnlineView, changes: Sequence[Merged]) -> OnlineView:
    if not any(change.put or change.removed for change in changes):
        return view
    events = [_event(value) for change in changes for _, value in change.put]
    newest = max([*events, *([] if view.newest is None else [view.newest])], default=None)
    more = sum(len(change.put) - len(change.removed) for change in changes)
    content = published_content(view) + EXTENDED  # the rows are not those of the digest: a publication replaces them
    return replace(view, rows=view.rows + more, newest=newest, content=content)


def published_content(view: OnlineView) -> str:
    """The digest of a view's rows as they were published, before any were added."""
    return view.content.removesuffix(EXTENDED)


def _event(value: bytes) -> int:
    event: int = decode_values(value)[0]
    return event


def _check(view: OnlineView, rows: pl.DataFrame) -> None:
    """Refuses rows of another shape: they would be answered as values of the view."""
    where = f"The rows to add to feature view {view.name!r}"
    names = [*key_columns(len(view.keys)), VISIBLE, EVENT, *view.features]
    if rows.columns != names:
        raise MissingColumnError(where=where, missing=[n for n in names if n not in rows.columns], found=rows.columns)
    units = [str(getattr(rows.schema[name], "time_unit", rows.schema[name])) for name in (VISIBLE, EVENT)]
    there = [*(str(rows.schema[name]) for name in key_columns(len(view.keys))), *units]
    there += [str(rows.schema[name]) for name in view.features]
    for name, found, wanted in zip(names, there, [*view.entity, view.unit, view.unit, *view.dtypes], strict=True):
        if found != wanted:
            raise OnlineTypeError(view=view.name, column=name, found=found, allowed=f"{wanted} there")
