"""The tree of a commit: asset path to record, and each record's list of files, over stored nodes."""

import threading
from collections.abc import Iterator, Mapping
from typing import Final

from headwater.lake import _tree
from headwater.lake._objects import Content
from headwater.lake._records import Record
from headwater.lake._tree import Nodes, NodeStore
from headwater.names import InvalidNameError

_PATHS_KEPT: Final = 8
_PATHS: Final[dict[str, tuple[str, ...]]] = {}
_REMEMBERING: Final = threading.Lock()


def record_at(store: Nodes, tree: str, path: str) -> Record | None:
    """The record at `path`, None when nothing stands there."""
    hash = _tree.lookup(store, tree, path)
    return read_record(store, hash) if hash is not None else None


def read_record(store: Nodes, hash: str) -> Record:
    """The record stored under `hash`."""
    return Record.from_bytes(store.get(hash))


def paths(store: Nodes, tree: str) -> tuple[str, ...]:
    """Every path of a tree, sorted. Those of the trees asked for last are remembered: a tree is named by its content."""
    found = _PATHS.get(tree)
    if found is None:
        found = tuple(_tree.items(store, tree))
        with _REMEMBERING:
            _PATHS[tree] = found
            while len(_PATHS) > _PATHS_KEPT:
                del _PATHS[next(iter(_PATHS))]
    return found


def contents(store: Nodes, record: Record) -> dict[str, Content]:
    """A record's files: relative name to content."""
    return {name: Content.parse(text) for name, text in _tree.items(store, record.files).items()}


def put_contents(store: NodeStore, before: Record | None, after: Mapping[str, Content]) -> str:
    """Stores a list of files, sharing nodes with the one before, and returns its address."""
    wanted = {name: str(content) for name, content in after.items()}
    if before is None:
        return _tree.build(store, wanted)
    now = _tree.items(store, before.files)
    changes: dict[str, str | None] = {name: text for name, text in wanted.items() if now.get(name) != text}
    changes |= {name: None for name in now if name not in wanted}
    return _tree.update(store, before.files, changes)


def put_records(store: NodeStore, tree: str, changes: Mapping[str, Record | None]) -> str:
    """Stores records over a tree and returns the new tree's root; None removes a path."""
    values = {path: store.put(record.to_bytes()) if record else None for path, record in changes.items()}
    return _tree.update(store, tree, values)


def changed(store: Nodes, before: str, after: str) -> Iterator[tuple[str, Record | None, Record | None]]:
    """Paths whose records differ between two trees, with both records, sorted by path."""
    for path, left, right in sorted(_tree.compare(store, before, after)):
        yield (
            path,
            read_record(store, left) if left is not None else None,
            read_record(store, right) if right is not None else None,
        )


def check_no_nesting(path: str, known: tuple[str, ...]) -> None:
    """Refuses a path inside another asset, or around one.

    Raises:
        InvalidNameError: It would.
    """
    parts, inside = path.split("/"), f"{path}/"
    around = {"/".join(parts[:number]) for number in range(1, len(parts))}
    for other in known:
        if other in around or other.startswith(inside):
            raise InvalidNameError(what="Path", name=path, rule=f"An asset stands at {other!r}, and assets don't nest.")
