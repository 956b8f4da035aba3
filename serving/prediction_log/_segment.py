"""One segment while its writer has it: made with its room, written frame by frame, cut off at its end."""

import fcntl
import os
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from headwater.frames import MARK_BYTES, encode
from headwater.lake._files import sync as sync_to_disk

SUFFIX: Final = ".log"
PART: Final = ".part"
"""Of a segment that is being made; what a killed writer left of one has no records."""
_ZEROS: Final = b"\0" * 2**20


class OpenSegment:
    """A segment with its file."""

    def __init__(self, path: Path, file: int, size: int, mark: bytes) -> None:
        self.path, self._file, self._size, self._mark, self._end = path, file, size, mark, 0
        self._failed = False

    @classmethod
    def make(cls, folder: Path, size: int) -> "OpenSegment":
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


def seal(*segments: OpenSegment | None) -> None:
    """Ends some segments, each whatever becomes of the others."""
    with ExitStack() as ending:
        for segment in reversed(segments):
            if segment is not None:
                ending.callback(segment.seal)


def _next_number(folder: Path) -> int:
    found = (file.name.partition("-")[0] for file in folder.glob(f"*{SUFFIX}"))
    return max((int(number) for number in found if number.isdigit()), default=0) + 1


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(file, view, offset)
        view, offset = view[count:], offset + count
