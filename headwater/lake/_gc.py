"""Garbage collection: marks what must stay, then removes the rest. Commit records always stay; lineage needs them."""

import os
import time
from collections.abc import Iterable, Iterator
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
from headwater.names import MAIN, RELEASE_ASSET, RELEASED_FACT, VERSION_FACT
from headwater.provenance import ProvenanceError

_KEEPING_FACTS: Final = (RELEASED_FACT, VERSION_FACT)


@dataclass
class Needs:
    """What some commits need.

    Attributes:
        nodes: Hashes of nodes.
        files: Addresses of lists of files.
        contents: sha256 of objects to their size.
    """

    nodes: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    contents: dict[str, int] = field(default_factory=dict)


def mark(catalog: Catalog, trees: Iterable[str], needs: Needs | None = None) -> Needs:
    """Everything that some trees need, added to `needs`; what they share is visited once."""
    needs = Needs() if needs is None else needs
    for tree in trees:
        for _, leaf in _tree.nodes(catalog, tree, needs.nodes):
            for hash in leaf.values():
                if hash not in needs.nodes:
                    needs.nodes.add(hash)
                    _mark_record(catalog, hash, needs)
    return needs


def _mark_record(catalog: Catalog, hash: str, needs: Needs) -> None:
    record = read_record(catalog, hash)
    needs.files.add(record.files)
    for _, leaf in _tree.nodes(catalog, record.files, needs.nodes):
        for text in leaf.values():
            content = Content.parse(text)
            needs.contents[content.sha256] = content.size


def gc(core: Core, *, grace: timedelta, retention: Retention | None, dry_run: bool) -> Collected:
    """Removes what no ref, retained commit, live transaction, released model or young write needs.

    Publications wait while this runs. Readers don't; a checkout that was read within `grace` stays.
    """
    with storage_errors(core.layout.location, "collected"), locked(core.layout.locks / GC_LOCK):
        sweep(core.layout)
        kept = set(_kept(core, grace=grace, retention=retention or Retention()))
        rows = [stored(core.catalog, id) for (id,) in core.catalog.rows("SELECT id FROM commits WHERE collected = 0")]
        doomed = [row for row in rows if row.id not in kept]
        needs = mark(core.catalog, (row.tree for row in rows if row.id in kept))
        objects = list(_unneeded(core, needs, grace=grace))
        if not dry_run:
            _forget(core, doomed, needs)
            reached(Step.FORGOTTEN)
            _drop_checkouts(core, grace=grace)
            reached(Step.UNSHELVED)
            for file, _ in objects:
                file.unlink(missing_ok=True)
    return Collected(commits=len(doomed), objects=len(objects), bytes=sum(size for _, size in objects), dry_run=dry_run)


def _kept(core: Core, *, grace: timedelta, retention: Retention) -> Iterator[str]:
    """Ids of commits whose content stays; ids may repeat."""
    catalog, now = core.catalog, datetime.now(UTC)
    yield from live_pins(core.layout)
    yield from (ref.commit for ref in catalog.refs(TAG))
    heads = {ref.name: stored(catalog, ref.commit) for ref in catalog.refs(BRANCH)}
    for head in heads.values():
        yield head.id
        yield merge_base(catalog, head, heads[MAIN]).id
    reachable = _reachable(catalog, [*heads.values(), *(stored(catalog, ref.commit) for ref in catalog.refs(TAG))])
    for row in reachable.values():
        yield from _released(row)
    # Of a release that a revert or a merge put back no record tells.
    stated = catalog.rows("SELECT commit_id FROM changes WHERE path LIKE ?", f"%/{RELEASE_ASSET}")
    yield from (id for (id,) in stated if id in reachable)
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


def _released(row: CommitRow) -> Iterator[str]:
    """A commit that holds a model version or a release, and the commit it was made from."""
    try:
        provenance = row.commit.provenance
    except ProvenanceError:
        yield row.id  # Written by a newer Headwater: what it holds is unknown, so it stays.
        return
    if provenance and any(fact in output.facts for output in provenance.outputs for fact in _KEEPING_FACTS):
        yield row.id
        yield provenance.input_commit


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
