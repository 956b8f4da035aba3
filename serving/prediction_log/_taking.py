"""Takes records out of the log: from remembered positions on, to new ones, and away with what nobody needs any more.

Positions are JSON: `segments` has of each segment the byte behind the last frame that was taken, `damaged` the names of those in
which bytes between frames are none. Several machines may feed one table, each from a log of its own, and the positions are those of
all these logs. So a log forgets the names of its own segments only, and knows them by the empty file that each leaves when it goes.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from headwater.feeds import Backlog, Positions
from headwater.frames import Frame
from headwater.lake._files import sync as sync_to_disk
from serving.prediction_log._reader import Segment, read_frames, segments
from serving.prediction_log._record import decode_record
from serving.prediction_log._segment import PART, SUFFIX
from serving.prediction_log.errors import DamagedLogError, LogError, RecordFormatError

DAMAGED: Final = ".damaged"
"""Ending of a segment that was taken as far as it is whole, and is kept for a look."""
TAKEN: Final = ".taken"
"""Ending of the empty file that a segment leaves: it stays until the positions do without the segment."""
_ABANDONED_SECONDS: Final = 3_600.0
"""A segment is made in less than a second."""


class Placed(NamedTuple):
    """One record and where it stood.

    Attributes:
        segment: Name of the segment.
        end: Byte behind its frame.
        data: The record.
    """

    segment: str
    end: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Records that were not taken before.

    Attributes:
        records: In the order of the log, whole frames only.
        positions: Up to where they go; those it began from when there are none.
        is_all: Whether none is left.
    """

    records: tuple[Placed, ...]
    positions: Positions
    is_all: bool


@dataclass
class _Progress:
    """What was read of the log so far."""

    ends: dict[str, int] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)


def take(folder: Path, positions: Positions, *, most: int) -> Taken:
    """The records behind some positions, also of segments that are still written.

    Args:
        folder: The log's folder.
        positions: Up to where records were taken before; empty for all.
        most: About how many to take; the last frame is taken whole.

    Raises:
        LogError: A segment cannot be read.
    """
    progress = _Progress(damaged=set(positions.get("damaged", ())))
    records: list[Placed] = []
    there = segments(folder)
    for segment, frame in _frames(there, positions, progress):
        if len(records) >= most:
            return Taken(records=tuple(records), positions=_positions(folder, there, positions, progress), is_all=False)
        records += [Placed(segment.name, frame.end, data) for data in frame.records]
        progress.ends[segment.name] = frame.end
    if not progress.ends:
        return Taken(records=(), positions=positions, is_all=True)
    return Taken(records=tuple(records), positions=_positions(folder, there, positions, progress), is_all=True)


def received_of(record: bytes) -> int | None:
    """When an answer came in, as its record says it, in microseconds since 1970; None of one that is no record."""
    try:
        return decode_record(record).received
    except RecordFormatError:
        return None


def backlog(
    folder: Path, positions: Positions, most: int, *, received: Callable[[bytes], int | None] = received_of
) -> Backlog:
    """What waits behind some positions.

    Args:
        folder: The log's folder.
        positions: Up to where records were taken before.
        most: How many to count at most.
        received: When a record came in, in microseconds since 1970, as it says itself; None where it does not.

    Raises:
        LogError: A segment cannot be read.
    """
    count = 0
    oldest: datetime | None = None
    seen: set[str] = set()
    for segment, frame in _frames(segments(folder), positions, _Progress()):
        if segment.name not in seen and frame.records:
            seen.add(segment.name)
            came = _arrival(segment, received(frame.records[0]))
            oldest = came if oldest is None else min(came, oldest)
        count += len(frame.records)
        if count >= most:
            break
    return Backlog(records=count, oldest=oldest)


def settle(folder: Path, positions: Positions) -> None:
    """Deletes segments that nobody writes any more and whose every record lies before its position; keeps damaged ones aside.

    Args:
        folder: The log's folder.
        positions: Positions that are published, with the records before them.

    Raises:
        LogError: A segment cannot be read or deleted.
    """
    ends, damaged = _ends(positions), set(positions.get("damaged", ()))
    done = [segment for segment in segments(folder) if segment.is_final and _is_taken(segment, ends)]
    for segment in done:
        try:
            with suppress(FileNotFoundError):  # another one settles too
                _put_away(segment, is_damaged=segment.name in damaged)
        except OSError as error:
            raise LogError(path=str(segment.path), action="deleted", reason=error.strerror or str(error)) from error
    if done:
        sync_to_disk(folder)
    _sweep(folder, ends)


def _put_away(segment: Segment, *, is_damaged: bool) -> None:
    """Deletes a segment, or keeps it aside. Its mark is made of itself: a full disk may have no room for a new file."""
    mark = segment.path.with_suffix(TAKEN)
    if is_damaged:
        segment.path.rename(segment.path.with_suffix(DAMAGED))
        mark.touch()
    else:
        segment.path.rename(mark)
        os.truncate(mark, 0)


def _sweep(folder: Path, ends: Mapping[str, int]) -> None:
    """Removes the marks that nobody needs, and what writers that were killed left of segments they were making: no record is in them."""
    for mark in folder.glob(f"*{TAKEN}"):
        if mark.stem not in ends:
            mark.unlink(missing_ok=True)
    for part in folder.glob(f"*{PART}"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
                part.unlink()


def damaged_segments(folder: Path) -> tuple[str, ...]:
    """Names of the segments that are kept aside."""
    return tuple(sorted(file.stem for file in folder.glob(f"*{DAMAGED}"))) if folder.is_dir() else ()


def log_bytes(folder: Path) -> int:
    """Bytes that the log's segments take on disk."""
    found = 0
    for file in folder.glob(f"*{SUFFIX}") if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            found += file.stat().st_size
    return found


def _frames(there: tuple[Segment, ...], positions: Positions, progress: _Progress) -> Iterator[tuple[Segment, Frame]]:
    ends = _ends(positions)
    for segment in there:
        start = ends.get(segment.name, 0)
        if _is_read(segment, start):
            continue
        try:
            yield from ((segment, frame) for frame in read_frames(segment, start=start))
        except DamagedLogError as error:
            progress.damaged.add(segment.name)
            rest = read_frames(segment, start=error.offset, skip_damage=True)
            yield from ((segment, frame) for frame in rest)


def _is_read(segment: Segment, end: int) -> bool:
    """Whether a segment ends at a byte; one whose writer was killed has room behind its last frame and is looked into."""
    try:
        return segment.is_final and segment.path.stat().st_size <= end
    except FileNotFoundError:
        return True


def _is_taken(segment: Segment, ends: Mapping[str, int]) -> bool:
    end = ends.get(segment.name, 0)
    if _is_read(segment, end):
        return True
    try:
        return next(read_frames(segment, start=end), None) is None
    except DamagedLogError:
        return False


def _ends(positions: Positions) -> Mapping[str, int]:
    found: dict[str, int] = positions.get("segments", {})
    return found


def _positions(folder: Path, there: tuple[Segment, ...], before: Positions, progress: _Progress) -> Positions:
    """Those before and those read, without the segments of this log that went: no other one ever gets the name of one of them."""
    gone = {mark.stem for mark in folder.glob(f"*{TAKEN}")} - {segment.name for segment in there}
    if gone:
        sync_to_disk(folder)  # a segment that came back after a power cut would be taken once more
    ends: dict[str, Any] = {**_ends(before), **progress.ends}
    return {
        "segments": {name: end for name, end in sorted(ends.items()) if name not in gone},
        "damaged": sorted(progress.damaged - gone),
    }


def _arrival(segment: Segment, received: int | None) -> datetime:
    """When a record came in, as it says itself; else when its segment was written last."""
    if received is not None:
        with suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(received / 1e6, UTC)
    with suppress(FileNotFoundError):
        return datetime.fromtimestamp(segment.path.stat().st_mtime, UTC)
    return datetime.now(UTC)
