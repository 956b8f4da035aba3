"""From the log into the lake: one batch, one transaction, one commit that holds the events and how far the log was read."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from headwater.lake import Entry, Lake, Snapshot, Transaction
from headwater.lake._digest_schema import canonical_schema
from headwater.lake.errors import MergeConflictError
from headwater.materialize import Run, Stopwatch, Written, add_rows, finish
from headwater.names import ASSET_FACT, MAIN
from headwater.product import Severity
from headwater.provenance import CheckRecord, Pin
from headwater.streams._assets import assets_of
from headwater.streams._declaration import StreamSource
from headwater.streams._interface import EventLog, Limits, LogBatch
from headwater.streams._known import known_rows
from headwater.streams._sorting import Parsed, Sorted, parse, sort
from headwater.streams._state import Counts, PartitionState, StreamState, read_state, write_state
from headwater.streams._times import LATEST, as_time, in_microseconds, length
from headwater.streams.errors import (
    AnotherLogError,
    BehindEndError,
    ClocksDifferError,
    NoPartitionError,
    StreamStateError,
)

WELL_FORMED: Final = "events_are_well_formed"
ON_TIME: Final = "events_are_on_time"
_TRIES: Final = 12


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What one batch did.

    Attributes:
        commit: The lake commit that holds it, None when the log had nothing new.
        counts: What became of its events.
        state: The stream after it.
        left: How many events the log had beyond it as it was read.
        seconds: How long it took.
    """

    commit: str | None
    counts: Counts
    state: StreamState
    left: int
    seconds: float

    @property
    def watermark(self) -> datetime | None:
        """No more events before it are awaited."""
        return None if self.state.watermark is None else as_time(self.state.watermark)


def ingest(
    lake: Lake,
    source: StreamSource,
    log: EventLog,
    *,
    run: Run,
    limits: Limits | None = None,
    now: datetime | None = None,
    scratch: Path | None = None,
    branch: str = MAIN,
) -> Ingested:
    """Takes the next events of a log into the lake, each once.

    The commit that appends them also holds the offsets behind them. A process that is killed at any instant has published
    both or neither, and the next one goes on from what is published.

    Args:
        lake: The lake.
        source: The declaration.
        log: Where the events are.
        run: Who runs what.
        limits: What is read at most; what is left waits in the log.
        now: The time to take for the present, with a zone; None asks the clock. No event is taken to have arrived later.
        scratch: Existing directory for temporary files; None takes the system's.
        branch: Lake branch that it reads from and publishes into.

    Raises:
        MergeConflictError: Another consumer published events of this stream meanwhile. Nothing was published.
        AnotherLogError: The offsets in the lake are of another log.
        StreamStateError: The tables in the lake do not fit the offsets or the declaration.
        ClocksDifferError: The newest event of a partition arrived more than `allowed_ahead` after `now`. Nothing was taken.
        NoZoneError: `now` has no zone.
        StreamError: The log cannot be read, or no longer has the events.
    """
    watch = Stopwatch()
    moment = time.time_ns() // 1_000 if now is None else in_microseconds(now)
    with lake.transaction(into=branch, hint=source.path) as tx:
        state = _standing(tx.base, source, log)
        batch = log.read(state.offsets, limits=limits or Limits())
        if not batch.events and all(state.offsets.get(number, end) == end for number, end in batch.next.items()):
            return _done(None, Counts(), state, batch, watch)
        _check_clock(source, log, batch, moment)
        parsed = parse(source, batch, now=moment)
        found = sort(source, state, batch, parsed, known_rows(tx.base, source, parsed))
        written = _write(tx, source, found, scratch)
        watch.function = time.perf_counter() - watch.wall
        checks, pins = _checks(source, found, parsed), _pins(tx.base, source, log, state, batch)
        outcome = finish(lake, tx, written, checks=checks, pins=pins, run=run, watch=watch, into=branch)[0]
    return _done(outcome.commit, found.counts, found.state, batch, watch)


def catch_up(
    lake: Lake,
    source: StreamSource,
    log: EventLog,
    *,
    run: Run,
    limits: Limits | None = None,
    progress: Callable[[Ingested], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **more: Any,
) -> Counts:
    """Takes events into the lake, batch by batch, until the log has no more.

    Args:
        lake, source, log, run, limits: As `ingest` takes them.
        progress: Called after each batch.
        stop: Asked before each batch whether to leave the rest for later.
        more: Further arguments of `ingest`.

    Returns:
        What became of the events that this call took.

    Raises:
        MergeConflictError: Other consumers were faster many times in a row.
        HeadwaterError: As `ingest` raises.
    """
    total, left = Counts(), _TRIES
    while not (stop and stop()):
        try:
            done = ingest(lake, source, log, run=run, limits=limits, **more)
        except MergeConflictError:
            left -= 1
            if not left:
                raise
            continue
        if done.commit is None:
            break
        left, total = _TRIES, total + done.counts
        if progress is not None:
            progress(done)
    return total


def skip_to(
    lake: Lake, source: StreamSource, log: EventLog, offsets: Mapping[int, int], *, run: Run, branch: str = MAIN
) -> str:
    """Goes on from other offsets than those that were reached, on somebody's word: past events that the log has lost.

    Args:
        lake, source, log, run, branch: As `ingest` takes them; the run's actor says whose word it is.
        offsets: Partition to the offset to read from next. Going back is safe within the horizon of duplicates.

    Returns:
        The commit.

    Raises:
        NoPartitionError: An offset is of a partition that is not there.
        BehindEndError: An offset lies behind the log's end.
        StreamError: As `ingest` raises.
    """
    watch, ends = Stopwatch(), log.ends()
    for number, offset in offsets.items():
        if number not in ends:
            raise NoPartitionError(location=log.identity, partition=number, known=tuple(ends))
        if not 0 <= offset <= ends[number]:
            raise BehindEndError(location=log.identity, partition=number, offset=offset, end=ends[number])
    with lake.transaction(into=branch, hint=source.path) as tx:
        state = _standing(tx.base, source, log)
        moved = {n: replace(state.partitions.get(n, PartitionState(offset=o)), offset=o) for n, o in offsets.items()}
        after = replace(state, partitions={**state.partitions, **moved})
        facts = {"skipped": {str(n): [state.offsets.get(n), offset] for n, offset in offsets.items()}}
        written = [_written(source, source.offsets_path, _write_offsets(tx, source, after, None), facts)]
        outcome = finish(lake, tx, written, checks=(), pins=(), run=run, watch=watch, into=branch)[0]
    assert outcome.commit is not None
    return outcome.commit


def _standing(base: Snapshot, source: StreamSource, log: EventLog) -> StreamState:
    """How far the stream was read, at the pinned commit."""
    state = read_state(base, source.path)
    tables = [path for path in (source.path, source.late_path, source.rejected_path) if base.has(path)]
    if state is None and tables:
        remedy = "Put the folder back (`headwater lake revert`), or remove the tables as well to begin anew."
        problem = f"{', '.join(tables)} stands in the lake and {source.offsets_path} does not"
        raise StreamStateError(path=source.path, problem=problem, remedy=remedy)
    wanted = canonical_schema(source.rows_schema)
    if base.has(source.path) and (found := base.entry(source.path).schema) != wanted:
        problem = f"its table has the columns {_shown(found)}, and its declaration makes {_shown(wanted)}"
        remedy = "Give the changed stream a path of its own, or change the table and its late rows by hand first."
        raise StreamStateError(path=source.path, problem=problem, remedy=remedy)
    if state is None:
        return StreamState(log=log.identity, event_time=source.event_time, id=source.id)
    _check_declaration(source, state)
    if state.log != log.identity:
        raise AnotherLogError(path=source.path, consumed=state.log, found=log.identity)
    return replace(state, id=source.id)


def _check_declaration(source: StreamSource, state: StreamState) -> None:
    """Refuses another event time, whose watermark would be of two times, and another id, by which what is there was not told apart."""
    for what, was, declared in (
        ("event time", {state.event_time}, {source.event_time}),
        ("id", set(state.id), set(source.id)),
    ):
        if was and was != declared:
            problem = f"its {what} was {', '.join(sorted(was))} so far, and its declaration says {', '.join(sorted(declared))}"
            remedy = "Give the changed stream a path of its own."
            raise StreamStateError(path=source.path, problem=problem, remedy=remedy)


def _check_clock(source: StreamSource, log: EventLog, batch: LogBatch, now: int) -> None:
    """Refuses to judge events by a clock that is behind the log's. One arrival that others follow before it is a producer's mistake."""
    judged = {event.partition: event for event in batch.events}  # the last of each partition
    for event in batch.events:  # where others follow, the batch ends by chance: then only if all of these lie ahead
        is_cut = batch.next[event.partition] < batch.ends[event.partition]
        if is_cut and event.appended < judged[event.partition].appended:
            judged[event.partition] = event
    for event in judged.values():
        if event.appended > now + length(source.allowed_ahead):
            raise ClocksDifferError(
                location=log.identity,
                partition=event.partition,
                offset=event.offset,
                arrived=as_time(min(event.appended, LATEST)).isoformat(),
                now=as_time(now).isoformat(),
            )


def _shown(schema: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in schema.items())


def _write(tx: Transaction, source: StreamSource, found: Sorted, scratch: Path | None) -> list[Written]:
    """Everything a batch changes. The table is there from the first batch on, the others when they have rows."""
    watermark = None if found.state.watermark is None else as_time(found.state.watermark).isoformat()
    facts = {"taken": found.counts.taken, "late": found.counts.late, "duplicates": found.counts.duplicates,
             "rejected": found.counts.rejected, "watermark": watermark}  # fmt: skip
    written = []
    tables = {source.path: found.rows, source.late_path: found.late, source.rejected_path: found.rejected}
    for path, rows in tables.items():
        if rows.height or (path == source.path and not tx.base.has(path)):
            entry = add_rows(tx, path, rows)
            written.append(replace(_written(source, path, entry, {**facts, "appended": rows.height}), adds=True))
    offsets = _write_offsets(tx, source, found.state, scratch)
    return [*written, _written(source, source.offsets_path, offsets, facts)]


def _write_offsets(tx: Transaction, source: StreamSource, state: StreamState, scratch: Path | None) -> Entry:
    with tempfile.TemporaryDirectory(prefix="offsets-", dir=scratch) as name:
        write_state(state, Path(name), transaction=tx.id)
        return tx.write_folder(source.offsets_path, Path(name))


def _written(source: StreamSource, path: str, entry: Entry, facts: Mapping[str, Any]) -> Written:
    return Written(asset=assets_of(source)[path], entry=entry, facts=facts)


def _checks(source: StreamSource, found: Sorted, parsed: Parsed) -> tuple[CheckRecord, ...]:
    """What people should see of a batch. Neither stops the stream."""
    reasons = dict(found.rejected["reason"].value_counts(sort=True).iter_rows())
    facts: Mapping[str, Mapping[str, Any]] = {
        WELL_FORMED: {"rejected": found.counts.rejected, "reasons": reasons},
        ON_TIME: {"late": found.counts.late, "of": len(parsed.rows)},
    }
    return tuple(
        CheckRecord(
            name=name,
            passed=not count,
            severity=Severity.WARN,
            blocking=False,
            facts={ASSET_FACT: source.path, **facts[name]},
        )
        for name, count in ((WELL_FORMED, found.counts.rejected), (ON_TIME, found.counts.late))
    )


def _pins(base: Snapshot, source: StreamSource, log: EventLog, before: StreamState, batch: LogBatch) -> tuple[Pin, ...]:
    """The events that were read, and the past they were compared with."""
    first: dict[int, int] = {}
    for event in batch.events:
        first.setdefault(event.partition, before.offsets.get(event.partition, event.offset))
    read = tuple(
        Pin(path=f"{log.identity}#{number}", data_version=f"{offset}..{batch.next[number]}", role="log")
        for number, offset in sorted(first.items())
    )
    past = tuple(
        Pin(path=path, data_version=base.entry(path).data_version, role="previous")
        for path in (source.path, source.late_path, source.offsets_path)
        if base.has(path)
    )
    return (*read, *past)


def _done(commit: str | None, counts: Counts, state: StreamState, batch: LogBatch, watch: Stopwatch) -> Ingested:
    seconds = round(time.perf_counter() - watch.wall, 6)
    return Ingested(commit=commit, counts=counts, state=state, left=batch.left, seconds=seconds)
