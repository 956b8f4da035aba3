"""A directory outside the lake that is filled as a whole or not at all."""

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from headwater.lake._files import walk
from headwater.lake._storage import storage_errors
from headwater.lake.errors import StorageError

_UNFINISHED: Final = "unfinished-checkout-"


def fill_destination(destination: Path, write: Callable[[Path], Iterable[str]]) -> None:
    """Fills an empty or absent directory with all that `write` writes, or with none of it when anything fails.

    Until it is whole it lies in a folder whose name says that it is not: what a killed process leaves. In the directory
    rather than beside it, because that may be a mount, a link, where a shell stands, or all that may be written.

    Args:
        destination: The directory.
        write: Writes files below a folder and returns their names, relative to it.

    Raises:
        StorageError: The directory is not empty, something is removed from it meanwhile, or the disk refuses.
    """
    with storage_errors(destination, "checked out to"):
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            raise _not_empty(destination)
        destination.mkdir(parents=True, exist_ok=True)
        half = destination / f"{_UNFINISHED}{secrets.token_hex(8)}"
        try:
            half.mkdir()
            if missing := set(write(half)).difference(name for name, _ in walk(half)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(half / min(missing)))
            _put_in_place(half, destination)
        except FileNotFoundError as error:
            raise StorageError(
                location=str(destination),
                action="checked out to",
                reason="what was written there went away",
                remedy="Run again when nothing else removes files there; the lake is as it was.",
            ) from error
        finally:
            shutil.rmtree(half, ignore_errors=True)


def _put_in_place(half: Path, destination: Path) -> None:
    """Moves what a folder holds one level up, over nothing that came there meanwhile."""
    names = sorted(os.listdir(half))
    if any(os.path.lexists(destination / name) for name in names):
        raise _not_empty(destination)
    try:
        for name in names:
            os.rename(half / name, destination / name)
    except BaseException:
        for name in names:
            if not os.path.lexists(half / name):
                with suppress(OSError):
                    os.rename(destination / name, half / name)
        raise


def _not_empty(destination: Path) -> StorageError:
    return StorageError(
        location=str(destination),
        action="checked out to",
        reason="it is not empty",
        remedy="Name an empty or absent directory.",
    )
