"""Where workers share their metrics: in files with room, so that a full disk costs neither a count nor who counts.

prometheus_client maps files into memory, and to write into a map of a file without room ends the process (SIGBUS): a full disk ended
one worker after the other. So their room is taken before anybody writes there. What finds none is counted on in its worker, and shown
once there is some.
"""

import errno
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from prometheus_client import multiprocess, values
from prometheus_client.mmap_dict import MmapedDict

from headwater.lake._locks import LifeSign, claimed
from serving.errors import ServingError

_LOG: Final = logging.getLogger("headwater.serving")
_PREFIX: Final = "headwater-metrics-"
_FIRST: Final = 2**16
"""Bytes of a file, of which a worker has four; twice as many when they are full."""
_BESIDE: Final = 64
"""Bytes of an entry beside its key, at most."""
_RETRY: Final = 1.0
"""Seconds between two looks for room."""


class SharedMetricsError(ServingError):
    """No folder for the metrics that workers share."""

    def __init__(self, *, folder: str, reason: str) -> None:
        super().__init__(
            f"The workers' metrics cannot be kept in {folder}: {reason}. Make room there; with --workers 1 none are shared."
        )


class RoomyDict:
    """A worker's values of one kind, in a file that is never written to where it has no room.

    It stands in for `MmapedDict`, whose files it writes.
    """

    def __init__(self, filename: str) -> None:
        """Prepares; the file is made with the first value."""
        self._name, self._due, self._is_told = filename, 0.0, False
        self._file: MmapedDict | None = None

    def read_value(self, key: str) -> tuple[float, float]:
        """A value with its timestamp, zero for a new one."""
        file = self._with_room(key)
        return file.read_value(key) if file is not None else (0.0, 0.0)

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Sets a value. Without room it stays in the process, which writes it whole with the next change."""
        file = self._with_room(key)
        if file is not None:
            file.write_value(key, value, timestamp)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _with_room(self, key: str) -> MmapedDict | None:
        """The file, if it has room for a key's value."""
        file = self._file
        if file is not None and key in file._positions:
            return file
        now = time.monotonic()
        if now < self._due:
            return None
        try:
            if file is None:
                file = self._file = _opened(self._name)
            _make_room(self._name, file, len(key.encode()) + _BESIDE)
        except OSError as error:
            self._due = now + _RETRY
            if not self._is_told:
                _LOG.warning("no room for shared metrics", extra={"reason": str(error)})
            self._is_told = True
            return None
        self._is_told = False
        return file


def share() -> None:
    """Has this process keep what it shares in files with room. To be called before the first metric is made."""
    values.MmapedDict = RoomyDict  # type: ignore[misc, assignment] # what it opens files with; a test holds us to it


@contextmanager
def shared_folder(place: Path) -> Iterator[Path]:
    """A folder for the metrics of workers, gone afterwards, with what killed services left there.

    Args:
        place: Where it lies.

    Raises:
        SharedMetricsError: There is no room for it.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        _sweep(place)
        folder = place / f"{_PREFIX}{secrets.token_hex(8)}"
        sign = LifeSign(folder)
        try:
            folder.mkdir(mode=0o700)
        except OSError:
            sign.end()
            raise
    except OSError as error:
        raise SharedMetricsError(folder=str(place), reason=error.strerror or str(error)) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        sign.end()


def forget(folder: Path, process: int) -> None:
    """Takes a dead worker's gauges out of what is shared, and the room that its counts do not need."""
    multiprocess.mark_process_dead(process, path=str(folder))
    for file in folder.glob(f"*_{process}.db"):
        with suppress(OSError), file.open("r+b") as opened:
            opened.truncate(max(int.from_bytes(opened.read(4), "little"), 8))


def _sweep(place: Path) -> None:
    """Removes what services that were killed have left."""
    for sign in place.glob(f"{_PREFIX}*.lock"):
        folder = sign.with_suffix("")
        with suppress(OSError):  # another's, or gone meanwhile
            if sign.stat().st_uid == os.geteuid():
                with claimed(folder) as is_left:
                    if is_left:
                        shutil.rmtree(folder, ignore_errors=True)
                        sign.unlink(missing_ok=True)


def _opened(name: str) -> MmapedDict:
    """A file of values whose first bytes have their room. Others never see it without. Raises OSError."""
    if not os.path.exists(name):
        new = f"{name}.new"
        try:
            _fill(new, 0, _FIRST)
            os.replace(new, name)
        except OSError:
            with suppress(OSError):
                os.unlink(new)
            raise
    return MmapedDict(name)


def _make_room(name: str, file: MmapedDict, size: int) -> None:
    """Takes the room into which a file of values would grow for so many bytes more. Raises OSError."""
    wanted = file._capacity
    while file._used + size > wanted:
        wanted *= 2
    if wanted == file._capacity:
        return
    try:
        _fill(name, file._capacity, wanted)
    except OSError:
        with suppress(OSError):
            os.truncate(name, file._capacity)  # others may need what little there was
        raise


def _fill(name: str, start: int, end: int) -> None:
    """Writes zeros, for which every file system takes room or says that it has none. Raises OSError."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while start < end:
            written = os.pwrite(descriptor, bytes(end - start), start)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            start += written
    finally:
        os.close(descriptor)
