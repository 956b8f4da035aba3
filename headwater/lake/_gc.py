"""Garbage collection: marks what must stay, then removes the rest. Commit records always stay; lineage needs them.

Of a commit that stays in part the whole tree stays, and the catalog lists which of its lists of files are gone.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from headwater.lake import _tree
from headwater.lake._catalog import Catalog
from headwater.lake._commits import CommitRow
from headwater.lake._core import GC_LOCK, Core
from headwater.lake._history import BRANCH, TAG, first_parents, merge_base, stored
from headwater.lake._interface import Collected, Retention
from headwater.lake._layout import live_pins, sweep, workspace
from headwater.lake._locks import locked
from headwater.lake._objects import Content, checkout_name
from headwater.lake._steps import Step, reached
from headwater.lake._storage import storage_errors
from headwater.lake._trees import read_record
from headwater.names import BY_HAND, FLEETING_ASSETS, MAIN, RELEASE_ASSET, RELEASED_FACT, VERSION_FACT
from headwater.provenance import Provenance, ProvenanceError

_KEEPING_FACTS: Final = (RELEASED_FACT, VERSION_FACT)


@dataclass
class Needs:
    """What some commits need.

    Attributes:
        nodes: Hashes of nodes.
        files: Addresses of lists of files.
        contents: sha256 of objects to their size.
        named: Addresses of lists of files that are named and need not stay.
    """

    nodes: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    contents: dict[str, int] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)


def _everything(path: str) -> bool:
    return True


def _nothing(path: str) -> bool:
    return False


def _lasting(path: str) -> bool:
    """Whether nobody declared that rows at a path are dropped in time."""
    return path.partition("/")[2] not in FLEETING_ASSETS


def mark(
    catalog: Catalog,
    trees: Iterable[str],
    needs: Needs | None = None,
    *,
    content: Callable[[str], bool] = _everything,
) -> Needs:
    """Everything that some trees need, added to `needs`; what they share is visited once.

    Args:
        catalog: The catalog.
        trees: Roots of trees.
        needs: What is needed already: by trees that need more.
        content: Of which paths the files are needed; of the others their records are.
    """
    needs = Needs() if needs is None else needs
    for tree in trees:
        for _, leaf in _tree.nodes(catalog, tree, needs.nodes):
            for path, hash in leaf.items():
                if hash not in needs.nodes:
                    needs.nodes.add(hash)
                    _mark_record(catalog, hash, needs, is_content=content(path))
    return needs


def _mark_record(catalog: Catalog, hash: str, needs: Needs, *, is_content: bool) -> None:
    files = read_record(catalog, hash).files
    if not is_content or catalog.is_collected(files):
        needs.named.add(files)
        return
    needs.files.add(files)
    for _, leaf in _tree.nodes(catalog, files, needs.nodes):
        for text in leaf.values():
            content = Content.parse(text)
            needs.contents[content.sha256] = content.size


def gc(core: Core, *, grace: timedelta, retention: Retention | None, dry_run: bool) -> Collected:
    """Removes what no ref, retained commit, live transaction, released model or young write needs.

    Publications wait while this runs. Readers don't; a checkout that was read within `grace` stays.
    """
    with storage_errors(core.layout.location, "collected"), locked(core.layout.locks / GC_LOCK):
        sweep(core.layout)
        kept = _kept(core, grace=grace, retention=retention or Retention())
        rows = [stored(core.catalog, id) for (id,) in core.catalog.rows("SELECT id FROM commits WHERE collected = 0")]
        doomed = [row for row in rows if not kept.holds(row.id)]
        needs = Needs()
        for ids, content in ((kept.whole, _everything), (kept.lasting, _lasting), (kept.told, _nothing)):
            mark(core.catalog, (row.tree for row in rows if row.id in ids), needs, content=content)
        objects = list(_unneeded(core, needs, grace=grace))
        if not dry_run:
            _forget(core, doomed, needs)
            reached(Step.FORGOTTEN)
            _drop_checkouts(core, grace=grace)
            reached(Step.UNSHELVED)
            for file, _ in objects:
                file.unlink(missing_ok=True)
    return Collected(commits=len(doomed), objects=len(objects), bytes=sum(size for _, size in objects), dry_run=dry_run)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Ids of commits of which something stays.

    Attributes:
        whole: All of it.
        lasting: What models and releases are: all but what declarations drop in time.
        told: Which data versions stood where, and no content: what freshness asks of commits that no build made.
    """

    whole: frozenset[str]
    lasting: frozenset[str]
    told: frozenset[str]

    def holds(self, id: str) -> bool:
        """Whether anything of a commit stays."""
        return id in self.whole or id in self.lasting or id in self.told


def _kept(core: Core, *, grace: timedelta, retention: Retention) -> Kept:
    catalog = core.catalog
    heads = {ref.name: stored(catalog, ref.commit) for ref in catalog.refs(BRANCH)}
    reachable = _reachable(catalog, [*heads.values(), *(stored(catalog, ref.commit) for ref in catalog.refs(TAG))])
    records, strange = _records(reachable.values())
    lasting = {id for id, record in records.items() for id in _released(id, record)}
    # Of a release that a revert or a merge put back no record tells.
    stated = catalog.rows("SELECT commit_id FROM changes WHERE path LIKE ?", f"%/{RELEASE_ASSET}")
    changing = {id for (id,) in catalog.rows("SELECT DISTINCT commit_id FROM changes")}
    return Kept(
        whole=strange.union(_whole(core, heads, reachable, grace=grace, retention=retention)),
        lasting=frozenset(lasting | {id for (id,) in stated if id in reachable}),
        told=frozenset(id for id in records.keys() & changing for id in _unbuilt(reachable[id], records[id])),
    )


def _whole(
    core: Core,
    heads: Mapping[str, CommitRow],
    reachable: Mapping[str, CommitRow],
    *,
    grace: timedelta,
    retention: Retention,
) -> Iterator[str]:
    """Ids of commits whose content stays; ids may repeat."""
    catalog, now = core.catalog, datetime.now(UTC)
    yield from live_pins(core.layout)
    yield from (ref.commit for ref in catalog.refs(TAG))
    for head in heads.values():
        yield head.id
        yield merge_base(catalog, head, heads[MAIN]).id
    if retention.keep_commits is None and retention.keep_for is None:
        yield from reachable
    if retention.keep_commits is not None:
        for head in heads.values():
            yield from (row.id for row in islice(first_parents(catalog, head), retention.keep_commits))
    if retention.keep_for is not None:
        yield from (row.id for row in reachable.values() if now - row.created < retention.keep_for)
    for id, created in catalog.rows("SELECT id, created FROM commits"):
        if now - datetime.fromisoformat(created) < grace:
            yield id


def _reachable(catalog: Catalog, heads: Iterable[CommitRow]) -> dict[str, CommitRow]:
    found = {head.id: head for head in heads}
    pending = list(found.values())
    while pending:
        for parent in pending.pop().parents:
            if parent not in found:
                found[parent] = stored(catalog, parent)
                pending.append(found[parent])
    return found


def _records(rows: Iterable[CommitRow]) -> tuple[Mapping[str, Provenance | None], frozenset[str]]:
    """What commits say of themselves, and the ids of those that a newer Headwater wrote: what they hold is unknown."""
    found: dict[str, Provenance | None] = {}
    strange = set()
    for row in rows:
        try:
            found[row.id] = row.commit.provenance
        except ProvenanceError:
            strange.add(row.id)
    return found, frozenset(strange)


def _released(id: str, record: Provenance | None) -> Iterator[str]:
    """A commit that holds a model version or a release, and the commit it was made from."""
    if record is not None and any(fact in output.facts for output in record.outputs for fact in _KEEPING_FACTS):
        yield id
        yield record.input_commit


def _unbuilt(row: CommitRow, record: Provenance | None) -> Iterator[str]:
    """A commit that no build made (a revert, a merge, one without a record), and the one before it."""
    if record is None or record.action in BY_HAND:
        yield row.id
        yield from row.parents[:1]


def _unneeded(core: Core, needs: Needs, *, grace: timedelta) -> Iterator[tuple[Path, int]]:
    """Objects that nothing needs and nobody wrote just now; linking sets the time that counts (ctime)."""
    oldest = time.time() - grace.total_seconds()
    for folder in core.layout.objects.iterdir():
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name not in needs.contents and entry.stat().st_ctime <= oldest:
                    yield Path(entry.path), entry.stat().st_size


def _forget(core: Core, doomed: list[CommitRow], needs: Needs) -> None:
    with core.catalog.writing() as connection:
        connection.executemany("UPDATE commits SET collected = 1 WHERE id = ?", [(row.id,) for row in doomed])
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS needed (hash TEXT PRIMARY KEY) WITHOUT ROWID")
        connection.execute("DELETE FROM needed")
        connection.executemany("INSERT INTO needed VALUES (?)", [(hash,) for hash in needs.nodes])
        connection.execute("DELETE FROM nodes WHERE hash NOT IN (SELECT hash FROM needed)")
        connection.execute("DELETE FROM needed")
        connection.execute("CREATE TABLE IF NOT EXISTS collected_files (address TEXT PRIMARY KEY) WITHOUT ROWID")
        connection.execute("DELETE FROM collected_files")
        lacking = [(files,) for files in needs.named - needs.files]
        connection.executemany("INSERT INTO collected_files VALUES (?)", lacking)
    core.catalog.forget_nodes()


def _drop_checkouts(core: Core, *, grace: timedelta) -> None:
    """Removes checkouts that no view shows and nobody read within `grace`; a later reader makes them again."""
    oldest = time.time() - grace.total_seconds()
    needs = mark(core.catalog, (core.head(branch.name).tree for branch in core.marked_branches()))
    shown = {checkout_name(files) for files in needs.files}
    with workspace(core.layout) as space:
        for folder in core.layout.checkouts.iterdir():
            if not folder.is_dir() or folder.name in shown:
                continue
            if folder.stat().st_mtime <= oldest:
                folder.rename(space.fresh())
