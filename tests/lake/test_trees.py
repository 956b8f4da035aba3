"""Merkle maps: the shape follows from the names alone, and comparing two reads only what differs."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from headwater.lake import _tree

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
MAPS = st.dictionaries(NAMES, st.text("ab", max_size=2), max_size=400)
CHANGES = st.dictionaries(NAMES, st.none() | st.text("ab", max_size=2), max_size=400)


class Store:
    """Nodes in memory that count how often they are read."""

    def __init__(self) -> None:
        self.nodes: dict[str, bytes] = {}
        self.reads = 0

    def get(self, hash: str) -> bytes:
        self.reads += 1
        return self.nodes[hash]

    def put(self, data: bytes) -> str:
        hash = hashlib.sha256(data).hexdigest()
        self.nodes[hash] = data
        return hash


def _applied(items: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in (items | changes).items() if value is not None}


def _large(count: int) -> dict[str, str]:
    return {f"part-{number}": str(number) for number in range(count)}


@given(MAPS)
def test_a_map_holds_what_was_put_in(items: dict[str, str]) -> None:
    store = Store()
    root = _tree.build(store, items)
    assert _tree.items(store, root) == items
    assert list(_tree.items(store, root)) == sorted(items)
    for name in [*items, "an absent name"]:
        assert _tree.lookup(store, root, name) == items.get(name)


@given(MAPS, CHANGES)
def test_a_changed_map_is_the_map_built_anew(items: dict[str, str], changes: dict[str, str | None]) -> None:
    store = Store()
    changed = _tree.update(store, _tree.build(store, items), changes)
    assert changed == _tree.build(store, _applied(items, changes))


@given(MAPS, CHANGES)
def test_a_comparison_names_every_difference_with_both_values(
    items: dict[str, str], changes: dict[str, str | None]
) -> None:
    store = Store()
    after = _applied(items, changes)
    found = {name: (left, right) for name, left, right in _tree.compare(store, _tree.build(store, items), _tree.build(store, after))}  # fmt: skip
    assert found == {
        name: (items.get(name), after.get(name)) for name in items | after if items.get(name) != after.get(name)
    }


def test_a_large_map_shrinks_back_to_the_same_leaf() -> None:
    store = Store()
    small, large = _large(50), _large(5000)
    root = _tree.update(store, _tree.build(store, large), {name: None for name in large if name not in small})
    assert root == _tree.build(store, small)


def test_one_change_among_ten_thousand_names_touches_a_few_nodes() -> None:
    store = Store()
    root = _tree.build(store, _large(10_000))
    known, store.reads = len(store.nodes), 0
    changed = _tree.update(store, root, {"part-77": "new"})
    assert len(store.nodes) - known <= 3
    assert store.reads <= 3
    store.reads = 0
    assert list(_tree.compare(store, root, changed)) == [("part-77", "77", "new")]
    assert store.reads <= 6


def test_marking_visits_shared_nodes_once() -> None:
    store = Store()
    root = _tree.build(store, _large(1000))
    changed = _tree.update(store, root, {"part-1": "new"})
    seen: set[str] = set()
    first = list(_tree.nodes(store, root, seen))
    second = list(_tree.nodes(store, changed, seen))
    assert len(second) <= 3
    assert {name for _, leaf in first for name in leaf} == set(_large(1000))
