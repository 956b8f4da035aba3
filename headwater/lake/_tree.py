"""Merkle maps: immutable sorted maps from names to strings, stored as nodes addressed by their own hash.

One shape serves both levels of a commit: asset path to record, and file name to content. A map of at most `LEAF_LIMIT`
names is one leaf; a larger one is split by the leading hex digits of the hash of each name. The shape depends on the
names alone, not on the order of changes, so equal maps have equal hashes and a comparison skips every shared subtree.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, Protocol

LEAF_LIMIT: Final = 96
"""Names in one leaf at most. Splitting keeps a change to one of 10,000 files at three small nodes."""


class Nodes(Protocol):
    """Where nodes are read."""

    def get(self, hash: str) -> bytes:
        """The node with this hash."""
        ...


class NodeStore(Nodes, Protocol):
    """Where nodes are read and written."""

    def put(self, data: bytes) -> str:
        """Stores a node and returns its hash."""
        ...


def node_hash(data: bytes) -> str:
    """The address of a node: sha256 in hex."""
    return hashlib.sha256(data).hexdigest()


def _digits(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _load(store: Nodes, root: str) -> tuple[Mapping[str, str] | None, Mapping[str, tuple[str, int]]]:
    """A node as `(leaf items, {})` or `(None, children)`; children are digit to (hash, count)."""
    return _parsed(store.get(root))


@lru_cache(maxsize=2_048)
def _parsed(data: bytes) -> tuple[Mapping[str, str] | None, Mapping[str, tuple[str, int]]]:
    """A node from its bytes. Nodes are immutable, and a build reads the same few over and over."""
    raw = json.loads(data)
    if "leaf" in raw:
        return raw["leaf"], {}
    return None, {digit: (child, count) for digit, (child, count) in raw["branch"].items()}


def _save(store: NodeStore, raw: Mapping[str, object]) -> str:
    return store.put(json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def _build(store: NodeStore, items: Mapping[str, str], depth: int) -> str:
    if len(items) <= LEAF_LIMIT:
        return _save(store, {"leaf": dict(items)})
    parts: dict[str, dict[str, str]] = {}
    for name, value in items.items():
        parts.setdefault(_digits(name)[depth], {})[name] = value
    return _save(store, {"branch": {d: [_build(store, part, depth + 1), len(part)] for d, part in parts.items()}})


def build(store: NodeStore, items: Mapping[str, str]) -> str:
    """Stores a map and returns its root hash."""
    return _build(store, items, 0)


def lookup(store: Nodes, root: str, name: str) -> str | None:
    """The value of `name`, None when absent."""
    digits = _digits(name)
    for depth in range(len(digits)):
        leaf, children = _load(store, root)
        if leaf is not None:
            return leaf.get(name)
        if digits[depth] not in children:
            return None
        root = children[digits[depth]][0]
    return None


def items(store: Nodes, root: str) -> dict[str, str]:
    """The whole map, sorted by name."""
    return dict(sorted(_items(store, root)))


def _items(store: Nodes, root: str) -> Iterator[tuple[str, str]]:
    leaf, children = _load(store, root)
    if leaf is not None:
        yield from leaf.items()
    for child, _ in children.values():
        yield from _items(store, child)


def update(store: NodeStore, root: str, changes: Mapping[str, str | None]) -> str:
    """The root of the map after `changes`; None removes a name."""
    return _update(store, root, changes, 0)[0] if changes else root


def _update(store: NodeStore, root: str, changes: Mapping[str, str | None], depth: int) -> tuple[str, int]:
    leaf, standing = _load(store, root)
    if leaf is not None:
        merged = {name: value for name, value in {**leaf, **changes}.items() if value is not None}
        return _build(store, merged, depth), len(merged)
    children = dict(standing)
    parts: dict[str, dict[str, str | None]] = {}
    for name, value in changes.items():
        parts.setdefault(_digits(name)[depth], {})[name] = value
    for digit, part in parts.items():
        if digit in children:
            children[digit] = _update(store, children[digit][0], part, depth + 1)
        else:
            kept = {name: value for name, value in part.items() if value is not None}
            children[digit] = (_build(store, kept, depth + 1), len(kept))
        if not children[digit][1]:
            del children[digit]
    count = sum(size for _, size in children.values())
    if count <= LEAF_LIMIT:
        gathered = dict(pair for child, _ in children.values() for pair in _items(store, child))
        return _build(store, gathered, depth), count
    return _save(store, {"branch": {digit: list(child) for digit, child in children.items()}}), count


def compare(store: Nodes, left: str, right: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Names whose values differ, with both values (None where absent), in no order; shared subtrees are not read."""
    if left == right:
        return
    left_leaf, left_children = _load(store, left)
    right_leaf, right_children = _load(store, right)
    if left_leaf is None and right_leaf is None:
        for digit in left_children.keys() | right_children.keys():
            yield from _compare_children(store, left_children.get(digit), right_children.get(digit))
        return
    ours = left_leaf if left_leaf is not None else dict(_items(store, left))
    theirs = right_leaf if right_leaf is not None else dict(_items(store, right))
    for name in ours.keys() | theirs.keys():
        if ours.get(name) != theirs.get(name):
            yield name, ours.get(name), theirs.get(name)


def _compare_children(
    store: Nodes, left: tuple[str, int] | None, right: tuple[str, int] | None
) -> Iterator[tuple[str, str | None, str | None]]:
    if left is not None and right is not None:
        yield from compare(store, left[0], right[0])
    elif left is not None:
        yield from ((name, value, None) for name, value in _items(store, left[0]))
    elif right is not None:
        yield from ((name, None, value) for name, value in _items(store, right[0]))


def nodes(store: Nodes, root: str, seen: set[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Every node below `root` not in `seen` (which grows), with the items of leaves."""
    if root in seen:
        return
    seen.add(root)
    leaf, children = _load(store, root)
    yield root, dict(leaf or {})
    for child, _ in children.values():
        yield from nodes(store, child, seen)
