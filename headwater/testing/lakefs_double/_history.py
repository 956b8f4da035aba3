"""Pure rules over commits and trees: merge bases, logs, differences, three-way merges."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from headwater.testing.lakefs_double._errors import bad_request, conflict
from headwater.testing.lakefs_double._model import StoredCommit, StoredObject, Tree

SOURCE_WINS: Final = "source-wins"
DEST_WINS: Final = "dest-wins"
STRATEGIES: Final = ("", SOURCE_WINS, DEST_WINS)


def ancestors(commits: Mapping[str, StoredCommit], start: str) -> set[str]:
    """Ids of `start` and everything it came from."""
    seen, todo = {start}, [start]
    while todo:
        for parent in commits[todo.pop()].parents:
            if parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return seen


def merge_base(commits: Mapping[str, StoredCommit], left: str, right: str) -> StoredCommit:
    """The newest commit that both came from."""
    common = ancestors(commits, left) & ancestors(commits, right)
    if not common:
        raise bad_request("no merge base")
    return max((commits[id] for id in common), key=lambda commit: (commit.generation, commit.created))


def log(commits: Mapping[str, StoredCommit], start: str, *, first_parent: bool) -> Iterator[StoredCommit]:
    """History, newest first."""
    if first_parent:
        current: StoredCommit | None = commits[start]
        while current is not None:
            yield current
            current = commits[current.parents[0]] if current.parents else None
        return
    first = commits[start]
    heap, seen = [(-first.generation, -first.created, start)], {start}
    while heap:
        commit = commits[heapq.heappop(heap)[2]]
        yield commit
        for id in commit.parents:
            if id not in seen:
                seen.add(id)
                heapq.heappush(heap, (-commits[id].generation, -commits[id].created, id))


def touches(
    commits: Mapping[str, StoredCommit], commit: StoredCommit, objects: Sequence[str], prefixes: Sequence[str]
) -> bool:
    """Whether a filtered log lists this commit; like lakeFS, only commits with one parent are considered."""
    if len(commit.parents) != 1:
        return False
    before = commits[commit.parents[0]].tree
    if any(_identity(before, path) != _identity(commit.tree, path) for path in objects):
        return True
    return any(path.startswith(prefix) for path, _ in diff(before, commit.tree) for prefix in prefixes)


def _identity(tree: Tree, path: str) -> tuple[object, ...] | None:
    stored = tree.get(path)
    return None if stored is None else stored.identity


def diff(left: Tree, right: Tree) -> list[tuple[str, str]]:
    """Paths that differ and how: `added`, `removed` or `changed`, sorted by path."""
    changes = []
    for path in sorted(left.keys() | right.keys()):
        before, after = left.get(path), right.get(path)
        if before is None:
            changes.append((path, "added"))
        elif after is None:
            changes.append((path, "removed"))
        elif before is not after and before.identity != after.identity:
            changes.append((path, "changed"))
    return changes


def three_dot(base: Tree, left: Tree, right: Tree) -> list[tuple[str, str]]:
    """What `right` changed since `base`; `conflict` where `left` changed it to something else."""
    ours = dict(diff(base, left))
    return [
        (path, "conflict" if path in ours and _identity(left, path) != _identity(right, path) else how)
        for path, how in diff(base, right)
        if path not in ours or _identity(left, path) != _identity(right, path)
    ]


def three_way(base: Tree, source: Tree, destination: Tree, strategy: str = "") -> dict[str, StoredObject]:
    """The merged tree.

    Raises:
        Refusal: 409 when both sides changed one object differently and no strategy was chosen.
    """
    if strategy not in STRATEGIES:
        raise bad_request("invalid merge strategy")
    merged = dict(destination)
    for path, _ in diff(base, source):
        ours, theirs = _identity(destination, path), _identity(source, path)
        if ours != _identity(base, path) and ours != theirs:
            if not strategy:
                raise conflict("conflict found")
            if strategy == DEST_WINS:
                continue
        elif ours == theirs:
            continue
        if theirs is None:
            merged.pop(path, None)
        else:
            merged[path] = source[path]
    return merged
