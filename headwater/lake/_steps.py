"""Named step boundaries of a transaction, so that a test can end the process at any one of them."""

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """An instant between two effects of a transaction. The value says what has just happened.

    Up to `OBJECTS_LINKED` the target branch is as before; from `COMMITTED` on it is as after. What a process leaves
    when it dies at a boundary is swept or finished by the next open.
    """

    OPENED = "opened"
    PREPARED = "prepared"
    WRITTEN = "written"
    STAGED = "staged"
    LOCKED = "locked"
    MERGED = "merged"
    SYNCED = "synced"
    OBJECTS_LINKED = "objects_linked"
    CATALOGUED = "catalogued"
    COMMITTED = "committed"
    MOVED = "moved"
    VIEWED = "viewed"
    CLOSED = "closed"


hook: Callable[[Step], None] | None = None
"""Called at every boundary when a test sets it; None in all other processes."""


def reached(step: Step) -> None:
    """Marks that the process stands at `step`."""
    if hook is not None:
        hook(step)
