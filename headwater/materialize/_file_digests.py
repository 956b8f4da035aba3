"""Digests of landed files. Who only compares files with what stands, many times a minute, reads those again that changed."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size in bytes, and the times of the last change of content and of inode, in nanoseconds since 1970."""
YOUNG: Final = 2_000_000_000
"""Nanoseconds after a change within which a file's clock may not tell another one from it: FAT's, the coarsest, counts by two seconds."""
_MOST: Final = 65_536
_CONTENT, _INODE = 3, 4


def file_sha256(file: Path) -> str:
    """Hex sha256 of a file's bytes, read now."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stamp_of(file: Path) -> Stamp | None:
    """What changes whenever a file is replaced, touched or written to; None when it is gone."""
    if not file.is_file():
        return None
    found = file.stat()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class FileDigests:
    """The sha256 of files as they stand, of each file read once until its stamp changes. Threads may ask at once.

    As git does it: a file that changed just before it was read is read again at the next look, for a change within the same tick of its
    clock leaves the stamp as it is ("racy git").
    """

    def __init__(self, *, most: int = _MOST, clock: Callable[[], int] = time.time_ns) -> None:
        """Knows no file yet.

        Args:
            most: Files that are remembered, >= 1; those that nobody asked for longest are forgotten.
            clock: Nanoseconds since 1970.
        """
        self._most, self._clock, self._lock = most, clock, threading.Lock()
        self._known: OrderedDict[Path, tuple[Stamp, str]] = OrderedDict()

    def sha256(self, file: Path) -> str:
        """Hex sha256 of a file's bytes. Raises OSError where it cannot be read, as when it is gone."""
        begun, before = self._clock(), stamp_of(file)
        with self._lock:
            known = self._known.get(file)
            if known is not None and known[0] == before:
                self._known.move_to_end(file)
                return known[1]
        digest = file_sha256(file)
        # What is written while it is read has another stamp than the one that it is remembered by.
        if before is not None and not _is_young(before, begun):
            self._keep(file, before, digest)
        return digest

    def _keep(self, file: Path, stamp: Stamp, digest: str) -> None:
        with self._lock:
            self._known[file] = (stamp, digest)
            self._known.move_to_end(file)
            while len(self._known) > self._most:
                self._known.popitem(last=False)


def _is_young(stamp: Stamp, now: int) -> bool:
    """Whether a change that comes now could leave a stamp as it is."""
    return any(abs(now - stamp[at]) <= YOUNG for at in (_CONTENT, _INODE))


_LANDED: Final = FileDigests()


def landed_sha256(file: Path) -> str:
    """As `file_sha256`, for who looks often: what did not change since this process read it is not read again.

    What a build publishes is pinned by `file_sha256` alone.
    """
    return _LANDED.sha256(file)
