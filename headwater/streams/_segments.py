"""A partition's segments: files of frames, one after the other. The next one's first offset says how many events each has.

A segment is named `<number>-<first offset>-<mark>.events`. Nobody ever writes over or behind bytes that are no whole frame: who
finds a torn end begins another segment at the offset that follows the last whole frame. So a segment whose events do not
reach the next one's first offset is damaged, and bytes behind the last whole frame of the newest one are a torn end.

Segments may be removed, oldest first. Beside them stands the file `end` with the offset behind the newest event that was promised or
read: a partition without segments goes on from there.
"""

import fcntl
import os
import secrets
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from headwater.frames import HEAD, MARK_BYTES, Frame, decode, next_whole, size_at
from headwater.streams.errors import DamagedEventLogError

SUFFIX: Final = ".events"
END: Final = "end"
_DIGITS: Final = 20
APPENDED: Final = struct.Struct("<q")
_WINDOW: Final = 2**20
_FRAME_EVENTS, _FRAME_BYTES = 4096, 2**20


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One file of a partition's events.

    Attributes:
        path: Where it is.
        number: Its place among the partition's segments.
        first: Offset of its first event.
        end: First offset of the next segment, None of the newest.
    """

    path: Path
    number: int
    first: int
    end: int | None = None

    @property
    def mark(self) -> bytes:
        """What its frames begin with."""
        return bytes.fromhex(self.path.stem.rpartition("-")[2])


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """A place between two frames: a byte of a segment, and the offset of the event that follows."""

    segment: Segment
    byte: int
    offset: int


def segments(folder: Path) -> tuple[Segment, ...]:
    """The segments of a partition, oldest first."""
    found = []
    for file in folder.glob(f"*{SUFFIX}"):
        number, first, _ = file.stem.split("-")
        found.append(Segment(path=file, number=int(number), first=int(first)))
    found.sort(key=lambda segment: segment.number)
    older = (replace(segment, end=after.first) for segment, after in pairwise(found))
    return (*older, *found[-1:])


def read_end(folder: Path) -> int:
    """The offset that `write_end` wrote last; 0 where nothing was appended yet. Raises DamagedEventLogError."""
    try:
        text = (folder / END).read_bytes()
    except FileNotFoundError:
        return 0
    if text and not (len(text) == _DIGITS and text.isdigit()):
        raise DamagedEventLogError(path=str(folder / END), byte=0, problem=f"it is no offset of {_DIGITS} digits")
    return int(text or b"0")


def write_end(folder: Path, offset: int, *, sync: bool) -> bool:
    """Keeps the offset behind a partition's newest event. Under the lock.

    Returns:
        Whether the file is new, so that the folder has to be synced too.
    """
    is_new = not (folder / END).exists()
    with opened(folder / END, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC) as file:
        write_all(file, b"%0*d" % (_DIGITS, offset), 0)
        if sync:
            os.fdatasync(file)
    return is_new


def new_segment(folder: Path, *, number: int, first: int) -> Segment:
    """A segment that is not there yet, with a mark that nobody can guess."""
    name = f"{number:08d}-{first:020d}-{secrets.token_hex(MARK_BYTES)}{SUFFIX}"
    return Segment(path=folder / name, number=number, first=first)


def frames(file: int, cursor: Cursor) -> Iterator[tuple[Cursor, Frame]]:
    """The whole frames from a place on, each with its own place; the last `Cursor` of `tail` is where they end.

    Args:
        file: The segment, opened for reading.
        cursor: Where to begin.

    Raises:
        DamagedEventLogError: The segment has fewer events than the next one says, or whole frames behind bytes that are none.
    """
    segment, byte, offset = cursor.segment, cursor.byte, cursor.offset
    window, start = b"", byte
    while segment.end is None or offset < segment.end:
        frame = decode(window, byte - start, segment.mark)
        if frame is None:
            window, start = _window(file, byte, segment.mark), byte
            frame = decode(window, 0, segment.mark)
        if frame is None:
            _check_end(file, segment, byte, offset)
            return
        yield Cursor(segment=segment, byte=byte, offset=offset), frame
        byte, offset = start + frame.end, offset + len(frame.records)


def _window(file: int, byte: int, mark: bytes) -> bytes:
    """Bytes from a place on that hold at least one frame, if one is there."""
    window = os.pread(file, _WINDOW, byte)
    size = size_at(window, 0, mark)
    return os.pread(file, size, byte) if size is not None and size > len(window) else window


def _check_end(file: int, segment: Segment, byte: int, offset: int) -> None:
    if segment.end is not None:
        problem = f"its events end before offset {offset}, and the next segment begins at {segment.end}"
        raise DamagedEventLogError(path=str(segment.path), byte=byte, problem=problem)
    rest = os.pread(file, os.fstat(file).st_size - byte, byte) if os.fstat(file).st_size > byte else b""
    after = next_whole(rest, 0, segment.mark)
    # A writer may have ended the frame since; frames are written in order, so that it is whole now or never.
    if after and decode(_window(file, byte, segment.mark), 0, segment.mark) is None:
        problem = f"whole frames follow at byte {byte + after}"
        raise DamagedEventLogError(path=str(segment.path), byte=byte, problem=problem)


def tail(file: int, cursor: Cursor) -> tuple[Cursor, bool]:
    """The place behind the last whole frame, and whether the file ends there. Raises DamagedEventLogError."""
    for place, frame in frames(file, cursor):
        size = HEAD.size + sum(4 + len(record) for record in frame.records)
        cursor = Cursor(segment=cursor.segment, byte=place.byte + size, offset=place.offset + len(frame.records))
    return cursor, os.fstat(file).st_size == cursor.byte


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY | os.O_CLOEXEC) -> Iterator[int]:
    """A file's descriptor, for as long as the context lasts."""
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One writer at a time, of all threads and processes; the lock of a killed one is free."""
    with opened(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # also for a process that was forked meanwhile and has it open


def parts(records: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Runs of records that share a frame: small enough that a reader never decodes much for little."""
    part: list[bytes] = []
    size = 0
    for record in records:
        if part and (len(part) >= _FRAME_EVENTS or size + len(record) > _FRAME_BYTES):
            yield part
            part, size = [], 0
        part.append(record)
        size += len(record)
    yield part


def write_all(file: int, data: bytes, offset: int) -> None:
    """Writes at a byte until all of it is written."""
    view = memoryview(data)
    while view:
        count = os.pwrite(file, view, offset)
        view, offset = view[count:], offset + count
