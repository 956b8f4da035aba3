"""Branches of the lake's own on which commits are prepared: named by when they were made, swept by `gc`."""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from headwater.lake.lakefs._history import INTERNAL
from headwater.lake.lakefs._manifest import key_of
from headwater.lake.lakefs._server import Server
from headwater.lake.lakefs._snapshot import Parts

WORKING: Final = f"{INTERNAL}tx-"
_NAME: Final = re.compile(rf"^{WORKING}(?P<made>[0-9]{{10,}})-[0-9a-f]+$")


def new_name() -> str:
    """A fresh name, with the instant in it."""
    return f"{WORKING}{int(time.time()):010d}-{secrets.token_hex(8)}"


def age_of(branch: str) -> float | None:
    """Seconds since a working branch was made, None for any other branch."""
    match = _NAME.fullmatch(branch)
    return time.time() - int(match["made"]) if match else None


@contextmanager
def scratch(server: Server, *, source: str) -> Iterator[str]:
    """A working branch off a commit, gone afterwards."""
    name = new_name()
    server.create_branch(name, source=source, hidden=True)
    try:
        yield name
    finally:
        server.drop_working(name)


def make_equal(parts: Parts, branch: str, path: str, *, wanted: str, spare: frozenset[str] = frozenset()) -> None:
    """Makes an asset on a working branch what it is at another ref, object by object.

    Args:
        parts: The lake.
        branch: A working branch.
        path: Asset path.
        wanted: Ref to copy from.
        spare: Relative names of further files that may stay.
    """
    prefix = f"{path}/"
    now = {item.path: item.checksum for item in parts.server.list(branch, prefix)}
    then = {item.path: item.checksum for item in parts.server.list(wanted, prefix)}
    manifest = key_of(path)
    now |= {item.path: item.checksum for item in parts.server.list(branch, manifest) if item.path == manifest}
    then |= {item.path: item.checksum for item in parts.server.list(wanted, manifest) if item.path == manifest}
    extra = [key for key in now if key not in then and key.removeprefix(prefix) not in spare]
    parts.objects.delete(branch, extra)
    for key, checksum in then.items():
        if now.get(key) != checksum:
            parts.server.copy(branch, key, source=wanted)
