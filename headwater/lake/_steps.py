"""Named step boundaries of what a lake does, so that a test can end the process at any one of them."""

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """An instant between two effects. The value says what has just happened.

    Up to `OBJECTS_LINKED` the target branch is as before; from `COMMITTED` on it is as after. What a process leaves
    when it dies at a boundary is swept or finished by the next open. The last three belong to the making of a lake
    (its first commit is there, its format mark is not) and to garbage collection (catalog done; checkouts gone).
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
    FOUNDED = "founded"
    FORGOTTEN = "forgotten"
    UNSHELVED = "unshelved"


hook: Callable[[Step], None] | None = None
"""Called at every boundary when a test sets it; None in all other processes."""


def reached(step: Step) -> None:
    """Marks that the process stands at `step`."""
    if hook is not None:
        hook(step)
