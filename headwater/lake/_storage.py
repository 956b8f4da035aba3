"""What the operating system says when a store is full, read-only or gone, as an error that names the remedy."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from headwater.lake.errors import StorageError

_FULL: Final = "Free some space (`headwater lake gc` removes what nothing needs) and run again; nothing was lost."
_READ_ONLY: Final = "Make it writable for this user, or point Headwater at a writable state folder; nothing was lost."
_OTHER: Final = "Check the disk and run again; nothing was lost."
_NO_FOLDER: Final = "Name a directory; nothing was changed."
_REMEDIES: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EIO: _OTHER,
    errno.ENOTDIR: _NO_FOLDER,
}
_SIGNS: Final = {
    "no space left": _FULL,
    "disk is full": _FULL,
    "disk full": _FULL,
    "file too large": _FULL,
    "quota exceeded": _FULL,
    "read-only": _READ_ONLY,
    "readonly": _READ_ONLY,
    "permission denied": _READ_ONLY,
    "unable to open database": _READ_ONLY,
    "disk i/o error": _OTHER,
}


def storage_problem(error: BaseException, *, location: Path, action: str) -> StorageError | None:
    """The storage error behind `error`, None when it is about something else.

    Args:
        error: Any error; the texts of delta-rs and SQLite are read for what the system said.
        location: Where it happened.
        action: What was tried, as a participle.
    """
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        return StorageError(
            location=str(location), action=action, reason=error.strerror or str(error), remedy=_REMEDIES[error.errno]
        )
    text = str(error).lower()
    for sign, remedy in _SIGNS.items():
        if sign in text:
            return StorageError(location=str(location), action=action, reason=_line_with(error, sign), remedy=remedy)
    return None


def _line_with(error: BaseException, sign: str) -> str:
    line = next(line for line in str(error).splitlines() if sign in line.lower())
    return line.strip().rstrip(".")


@contextmanager
def storage_errors(location: Path, action: str) -> Iterator[None]:
    """Turns errors of a full, read-only or failing disk into a `StorageError`; all others pass.

    Raises:
        StorageError: The store refused.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        problem = storage_problem(error, location=location, action=action)
        if problem is None:
            raise
        raise problem from error
