"""A stream of meter readings: who, when, how much."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl

from headwater.lake import Lake, Snapshot
from headwater.materialize import Run
from headwater.streams import EventLog, LogBatch, LogEvent, StreamSource

NOON: Final = datetime(2013, 3, 10, 12, tzinfo=UTC)
NOW: Final = NOON + timedelta(days=400)
"""The consumer's clock, later than anything that arrives."""
PATH: Final = "grid/landing/readings"
RUN: Final = Run(actor="user:ada")
SOURCE: Final = StreamSource(
    path=PATH,
    columns={
        "meter": pl.String,
        "number": pl.Int64,
        "at": pl.Datetime("us", "UTC"),
        "load": pl.Float64,
        "estimated": pl.Boolean,
    },
    event_time="at",
    id=("meter", "number"),
    optional=("load", "estimated"),
    allowed_lateness=timedelta(minutes=10),
    duplicate_horizon=timedelta(hours=6),
    idle_after=timedelta(minutes=30),
)


def minute(number: float) -> datetime:
    """A moment so many minutes after noon."""
    return NOON + timedelta(minutes=number)


def micro(moment: datetime) -> int:
    """In microseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def reading(number: int, at: float, *, meter: str = "a", **more: Any) -> bytes:
    """One event, at so many minutes after noon."""
    return json.dumps({"meter": meter, "number": number, "at": minute(at).isoformat(), "load": 1.5, **more}).encode()


def batch_of(*events: tuple[int, float, bytes], start: int = 0, ends: dict[int, int] | None = None) -> LogBatch:
    """A batch of (partition, minute of arrival, data), offsets counted from `start`; all of the log unless `ends` says more."""
    places: dict[int, int] = {}
    found = []
    for partition, arrived, data in events:
        offset = places.get(partition, start)
        found.append(LogEvent(partition, offset, micro(minute(arrived)), data))
        places[partition] = offset + 1
    reached = {**dict.fromkeys(ends or {}, start), **places}
    return LogBatch(events=tuple(found), next=reached, ends={**reached, **(ends or {})})


def send(log: EventLog, *events: bytes, partition: int = 0, arrived: float = 0) -> None:
    """Appends events, as arrived so many minutes after noon."""
    log.append(events, partition=partition, at=minute(arrived))


def rows_of(snapshot: Snapshot, path: str) -> pl.DataFrame:
    """A table's rows by place in the log; none where there is no table."""
    if not snapshot.has(path):
        return pl.DataFrame(schema={"number": pl.Int64, "log_partition": pl.Int32, "log_offset": pl.Int64})
    return snapshot.table(path).sort("log_partition", "log_offset").collect()


def numbers(lake: Lake, path: str = PATH) -> list[int]:
    """The numbers of a table's readings, sorted."""
    return sorted(rows_of(lake.at("main"), path)["number"].to_list())


def places(lake: Lake, paths: Sequence[str]) -> list[tuple[int, int]]:
    """Partition and offset of every row of some tables, sorted: each event at most once."""
    frames: Iterable[pl.DataFrame] = (rows_of(lake.at("main"), path) for path in paths)
    return sorted(place for frame in frames for place in frame.select("log_partition", "log_offset").iter_rows())
