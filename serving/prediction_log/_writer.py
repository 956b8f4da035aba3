"""Writes records durably, many with one sync: who appends waits for the disk, and others join the next batch meanwhile.

Who must not wait for a whole segment to be made has it made beforehand: `tend` in a thread of its own, whenever `wants_tending` says so,
and `fits` tells whether `append` can do without.
"""

import errno
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from headwater.frames import frame_size
from serving.prediction_log._segment import OpenSegment, seal
from serving.prediction_log.errors import LogError, LogFullError

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
        self._segment: OpenSegment | None = None
        self._tending = threading.Lock()
        self._next: OpenSegment | None = None
        """Made beforehand; behind the segment by its name, and without records."""
        self._prepared_for: OpenSegment | None = None
        """The segment for which the next one was made, or found no room: that is tried once."""
        self._ended: list[OpenSegment] = []
        """Full ones, not yet cut off at their last record."""
        with self._errors():
            folder.mkdir(parents=True, exist_ok=True)
            self._segment = OpenSegment.make(folder, segment_bytes)
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

    def fits(self, records: Sequence[bytes]) -> bool:
        """Whether these records can be appended without making a segment; not after a write that found no room or failed.

        It holds until somebody else appends.
        """
        size = frame_size(records)
        there = (self._segment, self._next)
        return not self._wanted and any(segment is not None and segment.free >= size for segment in there)

    @property
    def wants_tending(self) -> bool:
        """Whether `tend` has something to do: the segment is half full, or one is full."""
        return bool(self._ended) or self._wants_next()

    def tend(self) -> None:
        """Makes the next segment before this one is full, and ends those that are. Appends go on meanwhile.

        Raises:
            LogFullError: The disk has no room for the next segment. Nothing is lost: `append` makes it, or says so, when this one is
                full.
            LogError: The disk refuses otherwise; likewise.
        """
        with self._tending, self._errors(), ExitStack() as last:
            with self._lock:
                ended, self._ended = self._ended, []
                current = self._segment if self._wants_next() else None
                if current is not None:
                    self._prepared_for = current
            last.callback(seal, *ended)
            if current is None:
                return
            made = OpenSegment.make(self._folder, self._size)
            with self._lock:
                if self._segment is current:
                    self._next = made
                    return
            made.seal()  # who could not wait made another one, which stands behind it or beside it

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
        """Ends the segment; one that was made beforehand goes."""
        with self._tending, self._lock, self._errors():
            ended, self._ended = [*self._ended, self._segment, self._next], []
            self._segment = self._next = None
            seal(*ended)

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

    def _reserve(self, size: int) -> "OpenSegment":
        """The segment, a new one where it has no room for so many bytes."""
        before, following = self._segment, self._next
        if before is not None and before.free >= size:
            return before
        if following is not None and following.free >= size:
            self._segment, self._next = following, None
            self._ended += [] if before is None else [before]
            return following
        made = self._segment = OpenSegment.make(self._folder, max(self._size, size))
        self._next = None  # one that is too small would stand before what is written now
        seal(before, following)
        return made

    def _wants_next(self) -> bool:
        segment = self._segment
        if segment is None or self._next is not None or segment is self._prepared_for:
            return False
        return segment.free < self._size // 2

    def _after_fork(self) -> None:
        """In a forked process, whose parent writes on in its segments: without any, until there is something to write."""
        inherited = [*self._ended, self._segment, self._next]
        self._segment = self._next = self._prepared_for = None
        self._ended = []
        self._lock, self._gate, self._tending = threading.Lock(), threading.Lock(), threading.Lock()
        self._batch = _Batch()
        for segment in inherited:
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


_WRITERS: Final["weakref.WeakSet[LogWriter]"] = weakref.WeakSet()


def _forget_inherited() -> None:
    for writer in list(_WRITERS):
        writer._after_fork()


os.register_at_fork(after_in_child=_forget_inherited)
