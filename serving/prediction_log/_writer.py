"""Writes records durably, many with one sync: who appends waits for the disk, and others join the next batch meanwhile."""

import errno
import fcntl
import os
import secrets
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from headwater.frames import MARK_BYTES, encode, frame_size
from headwater.lake._files import sync as sync_to_disk
from serving.prediction_log.errors import LogError, LogFullError

SUFFIX: Final = ".log"
PART: Final = ".part"
"""Of a segment that is being made; what a killed writer left of one has no records."""
_ZEROS: Final = b"\0" * 2**20
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


class LogWriter:
    """One process's end of the log: segments of its own, which others may read meanwhile.

    A writer holds a lock on its segment as long as it lives. Segments are filled with zeros when they are made, so that a full
    disk shows before anything is answered, and a sync has no sizes to write.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = 16 * 2**20, sync: bool = True) -> None:
        """Begins a segment.

        Args:
            folder: The log's folder, the same for all workers of a service.
            segment_bytes: Size of a segment. A larger batch gets a segment of its own size.
            sync: Whether to wait for the disk itself. Without, records outlive the process and not the machine.

        Raises:
            LogFullError: The disk has no room for a segment.
            LogError: The folder cannot be written.
        """
        self._folder, self._size, self._sync = folder, segment_bytes, sync
        self._lock, self._gate = threading.Lock(), threading.Lock()
        self._batch = _Batch()
        self._wanted = 0
        self._segment: _Opened | None = None
        with self._errors():
            folder.mkdir(parents=True, exist_ok=True)
            self._segment = _Opened.make(folder, segment_bytes)
        _WRITERS.add(self)

    def append(self, records: Sequence[bytes]) -> None:
        """Puts records in the log; they are durable when this returns. Several threads may call it.

        Who comes while another one waits for the disk joins the next frame, and one sync serves all that did.

        Raises:
            LogFullError: The disk is full. None of the records may be answered; the next call tries again.
            LogError: The disk refuses otherwise.
        """
        if not records:
            return
        with self._gate:
            batch, leads = self._batch, not self._batch.records
            batch.records += records
            if not leads and batch.ended is None:
                batch.ended = threading.Event()
        if leads:
            self._commit(batch)
        else:
            assert batch.ended is not None
            batch.ended.wait()
        if not batch.is_durable:
            reason = "another thread's write of the same frame did not end"
            raise batch.error or LogError(path=str(self._folder), action="written", reason=reason)

    def make_room(self) -> None:
        """Looks for room where the last write found none; else does nothing.

        Raises:
            LogFullError: There is none yet.
            LogError: The disk refuses otherwise.
        """
        with self._lock, self._errors():
            if self._wanted:
                self._reserve(self._wanted)
                self._wanted = 0

    def close(self) -> None:
        """Ends the segment."""
        with self._lock, self._errors():
            segment, self._segment = self._segment, None
            if segment is not None:
                segment.seal()

    def _commit(self, batch: "_Batch") -> None:
        """Who came first writes for all who came until the disk was free."""
        try:
            with self._lock:
                with self._gate:
                    self._batch = _Batch()
                self._write(batch.records)
                batch.is_durable = True
        except LogError as error:
            batch.error = error
        finally:
            with self._gate:
                if self._batch is batch:  # interrupted before it was taken: nobody may join it any more
                    self._batch = _Batch()
            if batch.ended is not None:
                batch.ended.set()

    def _write(self, records: Sequence[bytes]) -> None:
        size = frame_size(records)
        self._wanted = size
        with self._errors():
            self._reserve(size).write(records, sync=self._sync)
        self._wanted = 0

    def _reserve(self, size: int) -> "_Opened":
        """The segment, a new one where it has no room for so many bytes."""
        if self._segment is None or self._segment.free < size:
            before, self._segment = self._segment, _Opened.make(self._folder, max(self._size, size))
            if before is not None:
                before.seal()
        return self._segment

    def _after_fork(self) -> None:
        """In a forked process, whose parent writes on in the segment: without one, until there is something to write."""
        segment, self._segment = self._segment, None
        self._lock, self._gate = threading.Lock(), threading.Lock()
        self._batch = _Batch()
        if segment is not None:
            segment.let_go()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise LogFullError(path=str(self._folder)) from error
            raise LogError(path=str(self._folder), action="written", reason=error.strerror or str(error)) from error


class _Batch:
    """Records that share a frame, and how it ended."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.ended: threading.Event | None = None
        """Made by who first joins: most batches have nobody to tell."""
        self.is_durable = False
        self.error: LogError | None = None


class _Opened:
    """A segment with its file."""

    def __init__(self, path: Path, file: int, size: int, mark: bytes) -> None:
        self.path, self._file, self._size, self._mark, self._end = path, file, size, mark, 0
        self._failed = False

    @classmethod
    def make(cls, folder: Path, size: int) -> "_Opened":
        """A new segment behind all there are. It has its name only once it is locked: nobody may take it for a dead one's."""
        # The number is for people; two workers may take the same one.
        mark = secrets.token_bytes(MARK_BYTES)
        path = folder / f"{_next_number(folder):012d}-{mark.hex()}{SUFFIX}"
        part = path.with_suffix(PART)
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            for start in range(0, size, len(_ZEROS)):
                _write_all(file, _ZEROS[: min(len(_ZEROS), size - start)], start)
            os.fsync(file)
            part.rename(path)
            sync_to_disk(folder)
        except OSError:
            os.close(file)
            part.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise
        return cls(path, file, size, mark)

    @property
    def free(self) -> int:
        """Bytes left; none after an error, when nobody knows what of the frame the disk has."""
        return 0 if self._failed else self._size - self._end

    def write(self, records: Sequence[bytes], *, sync: bool) -> None:
        frame = encode(records, self._mark)
        self._failed = True
        _write_all(self._file, frame, self._end)
        if sync:
            os.fdatasync(self._file)
        self._end += len(frame)
        self._failed = False

    def seal(self) -> None:
        """Cuts off the unused room and lets go of the segment; one without records goes."""
        try:
            if self._end:
                os.ftruncate(self._file, self._end)
                os.fsync(self._file)
            else:
                self.path.unlink(missing_ok=True)
                sync_to_disk(self.path.parent)
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Closes the file as it is; the lock goes with the last process that has it open."""
        os.close(self._file)


def _next_number(folder: Path) -> int:
    found = (file.name.partition("-")[0] for file in folder.glob(f"*{SUFFIX}"))
    return max((int(number) for number in found if number.isdigit()), default=0) + 1


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(file, view, offset)
        view, offset = view[count:], offset + count


_WRITERS: Final["weakref.WeakSet[LogWriter]"] = weakref.WeakSet()


def _forget_inherited() -> None:
    for writer in list(_WRITERS):
        writer._after_fork()


os.register_at_fork(after_in_child=_forget_inherited)
