"""Stops groups of processes; as a program, stops those whose starter died without doing so.

`python -m headwater.cli._guard` reads the ids of process groups from its standard input, one a line. When that ends, the
starter is gone, whatever killed it, and what is left of the groups is stopped. The line `done` says that nothing is.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

DONE: Final = "done"
GRACE_SECONDS: Final = 15.0


def stop_groups(groups: Sequence[int], *, ended: Callable[[], bool]) -> None:
    """Interrupts process groups, waits, and kills what is left of them.

    Args:
        groups: Their ids.
        ended: Whether all their leaders have ended.
    """
    for group in groups:
        _tell(group, signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline and not ended():
        time.sleep(0.1)
    for group in groups:
        _tell(group, signal.SIGTERM)
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline and any(_exists(group) for group in groups):
        time.sleep(0.1)
    for group in groups:
        _tell(group, signal.SIGKILL)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _tell(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _watch() -> None:
    groups: list[int] = []
    for line in sys.stdin:
        if line.strip() == DONE:
            return
        groups.append(int(line))
    stop_groups(groups, ended=lambda: not any(_exists(group) for group in groups))


if __name__ == "__main__":
    _watch()
