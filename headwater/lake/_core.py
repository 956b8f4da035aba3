"""The parts of one embedded lake, and the one place where a commit is made."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from headwater.lake import _trees
from headwater.lake._catalog import Catalog, NodeBuffer, RefRow
from headwater.lake._commits import CommitRow
from headwater.lake._history import BRANCH, stored
from headwater.lake._layout import Layout, Workspace
from headwater.lake._locks import locked
from headwater.lake._objects import Content, NewFile, Objects
from headwater.lake._records import Record
from headwater.lake._snapshot import EmbeddedSnapshot
from headwater.lake._steps import Step, reached
from headwater.lake.errors import CollectedCommitError, RefNotFoundError
from headwater.names import MAIN

GC_LOCK: Final = "gc.lock"


@dataclass(frozen=True, kw_only=True)
class Staged:
    """What was written to one path and is not in the lake yet.

    Attributes:
        record: Its record, with its list of files.
        folder: The finished working copy, which becomes the checkout.
        contents: Its files by relative name.
        new: Those whose content the store may lack.
    """

    record: Record
    folder: Path
    contents: Mapping[str, Content]
    new: Sequence[NewFile]


Side = Staged | Record | None
"""One path's next state: freshly written, taken from another commit, or nothing."""


def record_of(side: Side) -> Record | None:
    """The record of either form."""
    return side.record if isinstance(side, Staged) else side


@dataclass(frozen=True, kw_only=True)
class Change:
    """A commit to be made.

    Attributes:
        branch: Branch that moves.
        parents: Its parents; the first is the branch's head, or what a new branch starts from.
        sides: Path to its next state.
        message: One line.
        metadata: Strings to strings.
        publication: Id of the transaction that publishes, None when none does.
        new_branch: Whether the branch is set rather than moved from the first parent.
    """

    branch: str
    parents: tuple[CommitRow, ...]
    sides: Mapping[str, Side]
    message: str
    metadata: Mapping[str, str]
    publication: str | None = None
    new_branch: bool = False
    synced: list[NewFile] = field(default_factory=list)


class Core:
    """Layout, catalog and objects of one lake.

    Args:
        layout: Where it lies.
        catalog: Its catalog.
        read_only: Whether its folder can't be written.
    """

    def __init__(self, layout: Layout, catalog: Catalog, *, read_only: bool = False) -> None:
        """Puts the parts together."""
        self.read_only = read_only
        self.layout = layout
        self.catalog = catalog
        self.objects = Objects(layout)

    @contextmanager
    def branch_lock(self, branch: str) -> Iterator[None]:
        """Holds the right to move a branch and its view."""
        with nullcontext() if self.read_only else locked(self.layout.locks / f"branch-{branch}.lock"):
            yield

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Keeps `gc` from sweeping between linking objects and committing what needs them."""
        with nullcontext() if self.read_only else locked(self.layout.locks / GC_LOCK, shared=True):
            yield

    def head(self, branch: str) -> CommitRow:
        """The commit a branch names. Raises RefNotFoundError."""
        ref = self.catalog.ref(BRANCH, branch)
        if ref is None:
            raise RefNotFoundError(ref=branch, known=[row.name for row in self.catalog.refs(BRANCH)])
        return stored(self.catalog, ref.commit)

    def marked_branches(self) -> list[RefRow]:
        """Branches that have a view; main always has."""
        return [ref for ref in self.catalog.refs(BRANCH) if ref.name == MAIN or (self.layout.marks / ref.name).exists()]

    def snapshot(self, row: CommitRow, *, ref: str) -> EmbeddedSnapshot:
        """A snapshot at a commit. Raises CollectedCommitError."""
        if row.collected:
            raise CollectedCommitError(commit=row.id)
        return EmbeddedSnapshot(store=self.catalog, objects=self.objects, commit=row.commit, tree=row.tree, ref=ref)

    def commit(self, change: Change, *, buffer: NodeBuffer, space: Workspace) -> CommitRow:
        """Makes a commit durable: contents, their names, then the catalog, in this order."""
        staged = [side for side in change.sides.values() if isinstance(side, Staged)]
        ready = self.objects.sync_new((new for side in staged for new in side.new), space)
        reached(Step.SYNCED)
        records = {path: record_of(side) for path, side in change.sides.items()}
        tree = _trees.put_records(buffer, change.parents[0].tree, records)
        row = CommitRow.make(
            parents=change.parents,
            tree=tree,
            message=change.message,
            created=max(datetime.now(UTC), *(parent.created for parent in change.parents)),
            metadata=change.metadata,
        )
        with self.storing():
            self.objects.link_new(ready)
            reached(Step.OBJECTS_LINKED)
            self._catalogue(row, change, buffer)
        reached(Step.COMMITTED)
        for side in staged:
            with suppress(OSError):  # What is committed is published; a checkout that can't be kept is made when read.
                self.objects.adopt(side.folder, side.record.files)
        reached(Step.MOVED)
        return row

    def _catalogue(self, row: CommitRow, change: Change, buffer: NodeBuffer) -> None:
        with self.catalog.writing() as connection:
            self.catalog.insert_commit(connection, row, changed=change.sides, nodes=buffer.pending)
            if change.publication is not None:
                connection.execute(
                    "INSERT INTO publications VALUES (?, ?, ?)", (change.publication, change.branch, row.id)
                )
            if change.new_branch:
                connection.execute(
                    "INSERT INTO refs VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET commit_id = excluded.commit_id",
                    (change.branch, BRANCH, row.id),
                )
            else:
                moved = connection.execute(
                    "UPDATE refs SET commit_id = ? WHERE kind = ? AND name = ? AND commit_id = ?",
                    (row.id, BRANCH, change.branch, change.parents[0].id),
                )
                if moved.rowcount != 1:
                    raise RefNotFoundError(ref=change.branch)
            reached(Step.CATALOGUED)
