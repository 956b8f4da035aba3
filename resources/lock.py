"""One build at a time in one state folder; a second one waits and says so."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click


@contextmanager
def only_one_build(state: Path) -> Iterator[None]:
    """Holds the build lock of a state folder; the operating system frees it when the process dies."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo("Another build runs in this state folder; waiting for it.", err=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
