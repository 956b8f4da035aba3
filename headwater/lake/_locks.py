"""Locks between processes that end with the process, however it ends: `flock` on small files."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(file: Path, *, shared: bool = False) -> Iterator[None]:
    """Holds a lock on `file`, which is made when absent and never removed."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class LifeSign:
    """A locked file that says: the process that made this folder is alive.

    The folder `<name>/` belongs to the file `<name>.lock` next to it. The file is locked before the folder exists and
    removed after the folder is gone, so an unlocked file, or a folder without one, is a dead process's leftover.
    """

    def __init__(self, folder: Path, *, says: str = "") -> None:
        """Makes the file, takes the lock and writes `says` into the file."""
        self.folder = folder
        self._file = lock_file(folder)
        while True:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_still(self._file, descriptor):
                self._descriptor = descriptor
                os.write(descriptor, says.encode())
                return
            os.close(descriptor)

    def end(self) -> None:
        """Removes the file and lets go. The folder must be gone."""
        self._file.unlink(missing_ok=True)
        os.close(self._descriptor)


def lock_file(folder: Path) -> Path:
    """The life sign's file of a folder."""
    return folder.with_name(folder.name + ".lock")


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        return os.stat(file).st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether the maker of `folder` is dead; while True, nobody else may claim it."""
    file = lock_file(folder)
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield _is_still(file, descriptor)
    finally:
        os.close(descriptor)
