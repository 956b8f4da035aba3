"""What becomes of each event of a batch: a row, a late row, a duplicate, or rejected. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import polars as pl

from headwater.streams._declaration import (
    ADDED,
    KNOWN_AT,
    LOG_OFFSET,
    LOG_PARTITION,
    TIME,
    WATERMARK,
    Late,
    StreamSource,
)
from headwater.streams._interface import LogBatch, LogEvent
from headwater.streams._parsing import Reason, Rejected, Row, parser
from headwater.streams._state import Counts, StreamState
from headwater.streams._times import length
from headwater.streams._watermark import advanced

REJECTED_SCHEMA: Final = pl.Schema({**ADDED, "reason": pl.String(), "detail": pl.String(), "data": pl.Binary()})
_SPANS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A batch's events, in the order of their arrival."""

    rows: tuple[Row, ...]
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """A batch, sorted.

    Attributes:
        rows: For the table.
        late: For the table of late events; none where they are merged.
        rejected: For the table of rejected events.
        state: The stream after the batch.
        counts: What became of the batch's events.
    """

    rows: pl.DataFrame
    late: pl.DataFrame
    rejected: pl.DataFrame
    state: StreamState
    counts: Counts


def parse(source: StreamSource, batch: LogBatch, *, now: int) -> Parsed:
    """The events of a batch as rows.

    Args:
        source: The declaration.
        batch: What was read.
        now: The consumer's clock, in microseconds since 1970. Whether an event is ahead of time goes by the arrival that the log says,
            as long as that is at most `allowed_ahead` after it; no event is known later than now.
    """
    read, latest = parser(source), now + length(source.allowed_ahead)
    found = [
        _known_by(read(event._replace(appended=min(max(event.appended, 0), latest))), now) for event in batch.events
    ]
    rows = sorted((item for item in found if isinstance(item, Row)), key=lambda row: _arrival(row.event))
    return Parsed(rows=tuple(rows), rejected=tuple(item for item in found if isinstance(item, Rejected)))


def _known_by(item: Row | Rejected, now: int) -> Row | Rejected:
    if item.event.appended <= now:
        return item
    event = item.event._replace(appended=now)
    return item._replace(event=event) if isinstance(item, Row) else replace(item, event=event)


def _arrival(event: LogEvent) -> tuple[int, int, int]:
    return event.appended, event.partition, event.offset


def spans(times: Iterable[int], horizon: int) -> list[tuple[int, int]]:
    """Spans of time that hold everything within `horizon` of some times; few of them, so that a query stays small."""
    found: list[tuple[int, int]] = []
    for time in sorted(times):
        if found and time - horizon <= found[-1][1]:
            found[-1] = (found[-1][0], time + horizon)
        else:
            found.append((time - horizon, time + horizon))
    if len(found) > _SPANS:
        gaps = sorted(range(1, len(found)), key=lambda place: found[place][0] - found[place - 1][1])[1 - _SPANS :]
        bounds = [0, *sorted(gaps), len(found)]
        found = [(found[begin][0], found[end - 1][1]) for begin, end in pairwise(bounds)]
    return found


def sort(source: StreamSource, state: StreamState, batch: LogBatch, parsed: Parsed, known: pl.DataFrame) -> Sorted:
    """Says what becomes of each event of a batch.

    An event is late when its time lies before the watermark with which the batch began, so the order within a batch does
    not matter. Of several events of one id the first that arrived counts; a later one with other values is rejected, as it
    would be lost otherwise.

    Args:
        source: The declaration.
        state: The stream before the batch.
        batch: What was read.
        parsed: Its events.
        known: Rows that the lake has of the same ids, within `spans` of their times: the declared columns, times in microseconds.
    """
    first, twins, others = _first_of_each(source, parsed.rows, known)
    limit = state.watermark
    late = [row for row in first if limit is not None and row.time < limit]
    timely = [row for row in first if limit is None or row.time >= limit]
    rejected = (*parsed.rejected, *others)
    counts = Counts(taken=len(timely), late=len(late), duplicates=len(twins), rejected=len(rejected))
    after = advanced(state, source, batch, [*first, *twins])
    is_merged = source.late is Late.MERGED
    return Sorted(
        rows=_frame(source, first if is_merged else timely),
        late=_frame(source, [] if is_merged else late).with_columns(pl.lit(limit, dtype=pl.Int64).cast(TIME).alias(WATERMARK)),
        rejected=_rejected_frame(rejected),
        state=replace(after, totals=state.totals + counts),
        counts=counts,
    )  # fmt: skip


def _first_of_each(
    source: StreamSource, rows: Sequence[Row], known: pl.DataFrame
) -> tuple[list[Row], list[Row], list[Rejected]]:
    """The rows that are new, those that are there already, and those whose id is taken by another event."""
    names = list(source.schema)
    id_places, time_place = [names.index(name) for name in source.id], names.index(source.event_time)
    horizon = length(source.duplicate_horizon)
    there: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for values in known.select(names).iter_rows():
        there.setdefault(tuple(values[place] for place in id_places), []).append(values)
    first: list[Row] = []
    twins: list[Row] = []
    others: list[Rejected] = []
    for row in rows:
        same = there.setdefault(tuple(row.values[place] for place in id_places), [])
        near = [values for values in same if abs(values[time_place] - row.time) <= horizon]
        if not near:
            first.append(row)
            same.append(row.values)
        elif row.values in near:
            twins.append(row)
        else:
            others.append(Rejected(event=row.event, reason=Reason.ID_TAKEN, detail=_differing(names, row, near[0])))
    return first, twins, others


def _differing(names: Sequence[str], row: Row, taken: tuple[Any, ...]) -> str:
    found = [name for name, mine, theirs in zip(names, row.values, taken, strict=True) if mine != theirs]
    return f"an event of this id that was taken before differs in {', '.join(map(repr, found))}"


def _frame(source: StreamSource, rows: Sequence[Row]) -> pl.DataFrame:
    cells: dict[str, Sequence[Any]] = dict(
        zip(source.schema, zip(*(row.values for row in rows), strict=True), strict=True)
        if rows
        else dict.fromkeys(source.schema, ())
    )
    cells |= _places([row.event for row in rows])
    return _typed(cells, source.rows_schema)


def _places(events: Sequence[LogEvent]) -> dict[str, Sequence[Any]]:
    return {
        KNOWN_AT: [event.appended for event in events],
        LOG_PARTITION: [event.partition for event in events],
        LOG_OFFSET: [event.offset for event in events],
    }


def _rejected_frame(rejected: Sequence[Rejected]) -> pl.DataFrame:
    cells: Mapping[str, Sequence[Any]] = {
        **_places([item.event for item in rejected]),
        "reason": [str(item.reason) for item in rejected],
        "detail": [item.detail for item in rejected],
        "data": [item.event.data for item in rejected],
    }
    return _typed(cells, REJECTED_SCHEMA)


def _typed(cells: Mapping[str, Sequence[Any]], schema: pl.Schema) -> pl.DataFrame:
    """A frame of cells whose times are whole microseconds."""
    plain = {name: pl.Int64() if dtype == TIME else dtype for name, dtype in schema.items()}
    return pl.DataFrame(cells, schema=plain).with_columns(pl.col(name).cast(schema[name]) for name in schema)
