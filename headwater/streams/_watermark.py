"""The watermark: the event time before which nothing more is awaited. Pure.

Each partition's is its newest event time less the allowed lateness, and the stream's is the least of them (Akidau et al., The
Dataflow Model, VLDB 2015). It never goes back. Whether a partition is idle is judged by the times at which the log took events, not by
a clock: the same events give the same watermark, whenever they are read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from headwater.streams._declaration import StreamSource
from headwater.streams._interface import LogBatch
from headwater.streams._parsing import Row
from headwater.streams._state import PartitionState, StreamState
from headwater.streams._times import EARLIEST, length


def advanced(state: StreamState, source: StreamSource, batch: LogBatch, rows: Iterable[Row]) -> StreamState:
    """The state after a batch.

    Args:
        state: Before it.
        source: The declaration.
        batch: What was read.
        rows: Its events that are well formed; no others move anything.
    """
    newest = {number: partition.newest for number, partition in state.partitions.items()}
    active = {number: partition.active for number, partition in state.partitions.items()}
    began = state.began
    for row in rows:
        number, arrived = row.event.partition, row.event.appended
        newest[number] = _later(newest.get(number), row.time)
        active[number] = _later(active.get(number), arrived)
        began = arrived if began is None else min(began, arrived)
    partitions = {
        number: PartitionState(offset=offset, newest=newest.get(number), active=active.get(number))
        for number, offset in batch.next.items()
    }
    after = replace(state, partitions=partitions, began=began)
    return replace(after, watermark=_watermark(after, source, batch.ends))


def _later(known: int | None, found: int) -> int:
    return found if known is None else max(known, found)


def _watermark(state: StreamState, source: StreamSource, ends: Mapping[int, int]) -> int | None:
    waited_for = [p for number, p in state.partitions.items() if not _is_idle(state, source, number, ends)]
    if not waited_for or any(p.newest is None for p in waited_for):
        return state.watermark
    newest = min(p.newest for p in waited_for if p.newest is not None)
    found = max(newest - length(source.allowed_lateness), EARLIEST)  # no event lies before the earliest time
    return found if state.watermark is None else max(found, state.watermark)


def _is_idle(state: StreamState, source: StreamSource, number: int, ends: Mapping[int, int]) -> bool:
    """Whether all of a partition was read and nothing came for long. One that never had an event is new as the stream is."""
    partition = state.partitions[number]
    if state.began is None or partition.offset < ends.get(number, 0):
        return False
    now = max(p.active for p in state.partitions.values() if p.active is not None)
    since = state.began if partition.active is None else partition.active
    return now - since > length(source.idle_after)
