"""Processes that this one starts and that end with it, whatever ends it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from headwater.cli._guard import DONE

_GUARD: Final = "headwater.cli._guard"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def guarded() -> "Iterator[subprocess.Popen[str]]":
    """A process that outlives this one and stops what it was told of when this one was killed."""
    guard = subprocess.Popen(
        [sys.executable, "-m", _GUARD], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
        text=True, cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    try:
        yield guard
    finally:
        assert guard.stdin is not None
        guard.stdin.write(f"{DONE}\n")
        guard.stdin.flush()
        guard.communicate()


def named_to(guard: "subprocess.Popen[str]") -> Callable[[], None]:
    """What a process that is started as a group of its own does first (`preexec_fn`)."""
    assert guard.stdin is not None
    told = guard.stdin.fileno()

    def begin() -> None:
        # A shell that starts us in the background ignores SIGINT, and the ignoring is inherited: Dagster then can't stop.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        # It names itself: were its starter killed before it did, nobody would ever stop it.
        os.write(told, f"{os.getpid()}\n".encode())

    return begin


@contextmanager
def heeding_signals() -> Iterator[None]:
    """Meanwhile Ctrl-C and SIGTERM raise KeyboardInterrupt, also where a background shell has Ctrl-C ignored.

    Dagster makes SIGTERM do what SIGINT does: where that is ignored, a build could only be killed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
