"""The embedded event log: a folder a partition, files of frames, several writers one after the other, any number of readers."""

import errno
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from headwater.frames import Frame, encode
from headwater.lake._files import sync as sync_to_disk
from headwater.streams._interface import Limits, LogBatch, LogEvent
from headwater.streams._segments import (
    APPENDED,
    Cursor,
    Segment,
    frames,
    locked,
    new_segment,
    opened,
    parts,
    read_end,
    segments,
    tail,
    write_all,
    write_end,
)
from headwater.streams._times import arrivals
from headwater.streams.errors import (
    BehindEndError,
    EventLogError,
    EventLogFullError,
    LostEventsError,
    NoPartitionError,
)

DESCRIPTION: Final = "log.json"
_FORMAT: Final = 1
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


class FileLog:
    """An event log in a folder on a local disk.

    Writers of any process take turns by a lock on the partition. Nothing is held open between calls, so that a killed or a
    forked process leaves nothing to tidy. What a killed writer left half done at the end is no event, and stays where it is.
    Segments (`*.events`) that everybody has read may be removed, the oldest of a partition first, down to none.
    """

    def __init__(
        self, folder: Path, *, partitions: int | None = None, segment_bytes: int = 64 * 2**20, sync: bool = True
    ) -> None:
        """Opens a log, or begins one.

        Args:
            folder: Where it is.
            partitions: How many it is begun with (None: 1); a log that is there must have as many.
            segment_bytes: Size at which a segment is ended.
            sync: Whether to wait for the disk itself. Without, events outlive the process and not the machine.

        Raises:
            EventLogError: The folder cannot be used, or holds another number of partitions or another format.
        """
        self.folder, self._segment_bytes, self._sync = folder, segment_bytes, sync
        with self._errors("opened"):
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / DESCRIPTION).exists():
                self._begin(partitions or 1)
            found = self._described()
        self._id, self._count = str(found["id"]), int(found["partitions"])
        if partitions not in (None, self._count):
            reason = f"it has {self._count} partitions, not {partitions}"
            raise EventLogError(
                location=str(folder), action="opened", reason=reason, remedy="Name no number to open it."
            )
        self._tails: dict[int, Cursor] = {}
        self._places: dict[int, Cursor] = {}

    @property
    def identity(self) -> str:
        """`file:` and the id that the log got when it was begun."""
        return f"file:{self._id}"

    def partitions(self) -> tuple[int, ...]:
        """The partitions, sorted."""
        return tuple(range(self._count))

    def ends(self) -> Mapping[int, int]:
        """Partition to the offset that its next event will have."""
        with self._errors("read"):
            return {partition: self._durable_end(partition) for partition in self.partitions()}

    def append(
        self, events: Sequence[bytes], *, partition: int, at: datetime | Sequence[datetime] | None = None
    ) -> tuple[int, ...]:
        """Appends events in order; see `headwater.streams.EventLog.append`. A killed call leaves a first part of them."""
        folder = self._folder(partition)
        stamps = [APPENDED.pack(moment // 1_000 * 1_000) for moment in arrivals(at, len(events))]
        if not events:
            return ()
        with self._errors("written"), locked(folder):
            first = place = self._end(partition)
            for part in parts([stamp + event for stamp, event in zip(stamps, events, strict=True)]):
                place = self._write(partition, place, part)
                self._tails[partition] = place
            self._keep_end(partition, place.offset)
        return tuple(range(first.offset, place.offset))

    def read(self, offsets: Mapping[int, int], *, limits: Limits) -> LogBatch:
        """The next events of all partitions; see `headwater.streams.EventLog.read`."""
        for partition in offsets:
            self._folder(partition)
        ends = self.ends()
        with self._errors("read"):
            starts = {p: offsets[p] if p in offsets else self._first(p) for p in ends}
            for partition, offset in starts.items():
                self._check(partition, offset, ends[partition])
            events: list[LogEvent] = []
            reached = dict(starts)
            waiting = sorted((p for p in ends if starts[p] < ends[p]), key=lambda p: ends[p] - starts[p])
            room, size = limits.events, limits.bytes
            for place, partition in enumerate(waiting):
                if room < 1 or size < 1:
                    break
                left = len(waiting) - place
                share = Limits(events=max(room // left, 1), bytes=max(size // left, 1))
                found = self._events(partition, starts[partition], ends[partition], share)
                events += found
                reached[partition] = found[-1].offset + 1
                room, size = room - len(found), size - sum(len(event.data) for event in found)
        return LogBatch(events=tuple(events), next=reached, ends=ends)

    def close(self) -> None:
        """Nothing is held open."""

    def _begin(self, partitions: int) -> None:
        """Makes the folders, then the description at one stroke; of two that begin at once, the first one's counts."""
        for partition in range(partitions):
            (self.folder / _name(partition)).mkdir(exist_ok=True)
        part = self.folder / f"{DESCRIPTION}.{secrets.token_hex(8)}"
        part.write_text(json.dumps({"format": _FORMAT, "id": secrets.token_hex(16), "partitions": partitions}))
        sync_to_disk(part)
        try:
            os.link(part, self.folder / DESCRIPTION)
        except FileExistsError:
            pass
        finally:
            part.unlink()
        sync_to_disk(self.folder)

    def _described(self) -> Mapping[str, Any]:
        try:
            found = json.loads((self.folder / DESCRIPTION).read_text())
            if found["format"] == _FORMAT and found["id"] and found["partitions"] > 0:
                return dict(found)
            reason = f"its format is {found['format']}, and this Headwater reads {_FORMAT}"
        except (ValueError, KeyError, TypeError) as error:
            reason = f"{DESCRIPTION} is no description of a log ({type(error).__name__}: {error})"
        remedy = "Restore the file from a copy, or read the log with the Headwater that wrote it."
        raise EventLogError(location=str(self.folder), action="opened", reason=reason, remedy=remedy)

    def _folder(self, partition: int) -> Path:
        if partition not in range(self._count):
            raise NoPartitionError(location=str(self.folder), partition=partition, known=self.partitions())
        return self.folder / _name(partition)

    def _end(self, partition: int) -> Cursor:
        """Where to append: behind the last whole frame, or at the start of a segment that is not there yet. Under the lock."""
        folder = self._folder(partition)
        found = segments(folder)
        if not found:
            end = read_end(folder)
            return Cursor(segment=new_segment(folder, number=1, first=end), byte=0, offset=end)
        newest, known = found[-1], self._tails.get(partition)
        start = known if known and known.segment == newest else Cursor(segment=newest, byte=0, offset=newest.first)
        with opened(newest.path) as file:
            place, is_whole = tail(file, start)
        if is_whole and 0 < place.byte < self._segment_bytes:
            return place
        return Cursor(
            segment=new_segment(folder, number=newest.number + 1, first=place.offset), byte=0, offset=place.offset
        )

    def _write(self, partition: int, place: Cursor, records: Sequence[bytes]) -> Cursor:
        """One frame at a place."""
        folder = self._folder(partition)
        if place.byte >= self._segment_bytes:
            segment = new_segment(folder, number=place.segment.number + 1, first=place.offset)
            place = Cursor(segment=segment, byte=0, offset=place.offset)
        frame = encode(records, place.segment.mark)
        flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if place.byte == 0 else 0)
        with opened(place.segment.path, flags) as file:
            try:
                write_all(file, frame, place.byte)
                if self._sync:
                    os.fdatasync(file)
            except OSError:
                # Nobody knows what the disk has of the frame. If it cannot be cut off either, it may be read: it was not promised.
                self._tails.pop(partition, None)
                with suppress(OSError):
                    os.ftruncate(file, place.byte)
                raise
        if self._sync and place.byte == 0:
            sync_to_disk(folder)
        return Cursor(segment=place.segment, byte=place.byte + len(frame), offset=place.offset + len(records))

    def _durable_end(self, partition: int) -> int:
        """The end of what the disk has: what a writer has not synced, or kept the end of, is so before anybody sees it."""
        found, end = self._found(partition)
        if not found:
            return end
        newest, known = found[-1], self._tails.get(partition)
        start = known if known and known.segment == newest else Cursor(segment=newest, byte=0, offset=newest.first)
        with opened(newest.path) as file:
            place, _ = tail(file, start)
            if self._sync and place != start:
                os.fdatasync(file)
        self._tails[partition] = place
        if end < place.offset and read_end(newest.path.parent) < place.offset:
            self._keep_read(partition)
        return place.offset

    def _found(self, partition: int) -> tuple[tuple[Segment, ...], int]:
        """The segments of a partition, and its end as it was kept: what counts where there are none."""
        folder = self._folder(partition)
        end = read_end(folder)
        return segments(folder), end  # in this order: an end that is kept has its segment

    def _keep_end(self, partition: int, offset: int) -> None:
        folder = self._folder(partition)
        if write_end(folder, offset, sync=self._sync) and self._sync:
            sync_to_disk(folder)

    def _keep_read(self, partition: int) -> None:
        """Keeps the end where a writer was killed before it did, or is about to."""
        with suppress(OSError), locked(self._folder(partition)):  # who may only read has what was read nonetheless
            self._keep_end(partition, self._end(partition).offset)

    def _first(self, partition: int) -> int:
        found, end = self._found(partition)
        return found[0].first if found else end

    def _check(self, partition: int, offset: int, end: int) -> None:
        first = self._first(partition)
        if offset < first:
            raise LostEventsError(location=str(self.folder), partition=partition, offset=offset, start=first)
        if offset > end:
            raise BehindEndError(location=str(self.folder), partition=partition, offset=offset, end=end)

    def _events(self, partition: int, offset: int, end: int, limits: Limits) -> list[LogEvent]:
        events: list[LogEvent] = []
        size = 0
        for place, frame in self._frames(partition, offset):
            self._places[partition] = place
            for number, record in enumerate(frame.records, start=place.offset):
                if number < offset:
                    continue
                if number >= end or len(events) >= limits.events or size >= limits.bytes:
                    return events
                (moment,) = APPENDED.unpack_from(record)
                events.append(LogEvent(partition, number, moment, record[APPENDED.size :]))
                size += len(record) - APPENDED.size
        return events

    def _frames(self, partition: int, offset: int) -> Iterator[tuple[Cursor, Frame]]:
        """The frames from the one that holds an offset on, from where the last read ended if that is before it."""
        known = self._places.get(partition)
        for segment in segments(self._folder(partition)):
            if segment.end is not None and segment.end <= offset:
                continue
            near = known is not None and known.segment.path == segment.path and known.offset <= offset
            start = Cursor(segment=segment, byte=known.byte, offset=known.offset) if near and known else None
            with opened(segment.path) as file:
                yield from frames(file, start or Cursor(segment=segment, byte=0, offset=segment.first))

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise EventLogFullError(location=str(self.folder)) from error
            reason = error.strerror or str(error)
            raise EventLogError(location=str(self.folder), action=action, reason=reason) from error


def _name(partition: int) -> str:
    return f"partition-{partition:04d}"
