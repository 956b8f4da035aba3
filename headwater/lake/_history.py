"""Questions about the graph of commits, answered from the catalog."""

import heapq
import re
from collections.abc import Iterator
from typing import Final

from headwater.lake._catalog import Catalog
from headwater.lake._commits import CommitRow
from headwater.lake.errors import DamagedLakeError, RefNotFoundError
from headwater.names import COMMIT_PREFIX

BRANCH: Final = "branch"
TAG: Final = "tag"
_FIRST_PAGE: Final = 8
_BACK: Final = re.compile(r"^(?P<ref>.+)~(?P<steps>\d{1,9})$")


def stored(catalog: Catalog, id: str) -> CommitRow:
    """The commit with this full id, which must exist."""
    row = catalog.commit(id)
    if row is None:
        raise DamagedLakeError(what="commit", name=id)
    return row


def resolve(catalog: Catalog, ref: str) -> CommitRow:
    """The commit that a ref names: a branch, a tag, a commit id or unique prefix, or `REF~N`.

    Raises:
        RefNotFoundError: No such ref, or the prefix fits several commits.
    """
    for kind in (BRANCH, TAG):
        if found := catalog.ref(kind, ref):
            return stored(catalog, found.commit)
    if match := _BACK.fullmatch(ref):
        return _back(catalog, resolve(catalog, match["ref"]), int(match["steps"]), ref=ref)
    if COMMIT_PREFIX.fullmatch(ref):
        ids = catalog.commits_starting(ref)
        if len(ids) == 1:
            return stored(catalog, ids[0])
        if ids:
            raise RefNotFoundError(ref=ref, known=ids)
    names = [row.name for kind in (BRANCH, TAG) for row in catalog.refs(kind)]
    raise RefNotFoundError(ref=ref, known=names)


def _back(catalog: Catalog, row: CommitRow, steps: int, *, ref: str) -> CommitRow:
    for _ in range(steps):
        if not row.parents:
            raise RefNotFoundError(ref=ref)
        row = stored(catalog, row.parents[0])
    return row


def merge_base(catalog: Catalog, left: CommitRow, right: CommitRow) -> CommitRow:
    """A newest commit that both descend from. Every commit descends from the first one, so there is one."""
    rows = {left.id: left, right.id: right}
    sides = {left.id: 1}
    sides[right.id] = sides.get(right.id, 0) | 2
    queue = [(-row.generation, row.id) for row in rows.values()]
    heapq.heapify(queue)
    while queue:
        row = rows[heapq.heappop(queue)[1]]
        if sides[row.id] == 3:
            return row
        for parent in row.parents:
            if parent not in rows:
                rows[parent] = stored(catalog, parent)
                heapq.heappush(queue, (-rows[parent].generation, parent))
            sides[parent] = sides.get(parent, 0) | sides[row.id]
    raise DamagedLakeError(what="a common ancestor of", name=f"{left.id[:12]} and {right.id[:12]}")


def is_ancestor(catalog: Catalog, id: str, of: CommitRow) -> bool:
    """Whether `id` is `of` or one of its ancestors over any parent."""
    found = catalog.commit(id)
    return found is not None and merge_base(catalog, found, of).id == id


def first_parents(
    catalog: Catalog, head: CommitRow, *, path: str | None = None, page: int = 200
) -> Iterator[CommitRow]:
    """First-parent history, newest first; with `path`, only commits that changed it.

    Read in pages, so that no statement stays open while the caller does something else with the catalog. The first ones are
    small: most callers want the newest commits and no others.
    """
    chosen = "WHERE EXISTS (SELECT 1 FROM changes WHERE path = ? AND commit_id = history.id)" if path else ""
    query = f"""
        WITH RECURSIVE history(id, parent) AS (
            SELECT id, parent FROM commits WHERE id = ?
            UNION ALL
            SELECT c.id, c.parent FROM commits c JOIN history h ON c.id = h.parent)
        SELECT c.id, c.data, c.generation, c.collected
        FROM history CROSS JOIN commits c ON c.id = history.id {chosen} LIMIT ?"""
    start, size = head.id, min(page, _FIRST_PAGE)
    while True:
        rows = catalog.rows(query, start, *((path,) if path else ()), size)
        found = [CommitRow.parse(*row) for row in rows]
        yield from found
        if len(found) < size or not found[-1].parents:
            return
        start, size = found[-1].parents[0], min(page, 4 * size)
