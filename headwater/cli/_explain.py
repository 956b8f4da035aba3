"""Errors outside Headwater's own kind that a user can mend, in one sentence: a refusing disk, a broken product."""

import sqlite3
import traceback
from pathlib import Path
from typing import Final

from headwater.runtime import project_root

_PRODUCTS: Final = "assets"


def explain(error: BaseException) -> str | None:
    """What happened, to which thing, what to do next; None when it is no error that the user can mend.

    Args:
        error: Anything that a command raised.
    """
    if (place := _in_a_product(error)) is not None:
        file, line = place
        said = error.msg if isinstance(error, SyntaxError) else error
        return f"{file}, line {line}: {type(error).__name__}: {said}. Correct that file and run again."
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}. Check that the place exists and that this user may write there."
    if isinstance(error, sqlite3.OperationalError):
        return f"A database in the state folder refused: {error}. Check that this user may write there."
    return None


def _in_a_product(error: BaseException) -> tuple[Path, int] | None:
    """The last place in a product's folder that the error came through."""
    root = project_root() / _PRODUCTS
    places = [(Path(frame.filename), frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((Path(error.filename), error.lineno or 0))
    for file, line in reversed(places):
        if root in file.parents and file.parent != root and not file.relative_to(root).parts[0].startswith("_"):
            return file.relative_to(root.parent), line
    return None
