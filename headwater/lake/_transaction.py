"""The embedded lake's transactions: pin, write, audit, publish or refuse."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from headwater.lake import _trees
from headwater.lake._catalog import NodeBuffer
from headwater.lake._commits import CommitRow
from headwater.lake._core import Change, Core, Side, Staged, record_of
from headwater.lake._history import stored
from headwater.lake._interface import Commit, Entry, Kind, Published, TableData, WriteMode
from headwater.lake._layout import Workspace
from headwater.lake._merging import Merger
from headwater.lake._records import Record
from headwater.lake._snapshot import EmbeddedSnapshot, StagedSnapshot
from headwater.lake._staging import Stager
from headwater.lake._steps import Step, reached
from headwater.lake._storage import storage_errors, storage_problem
from headwater.lake._views import View
from headwater.lake.errors import (
    LakeError,
    MergeConflictError,
    PathNotFoundError,
    TransactionClosedError,
    WrongKindError,
)
from headwater.names import TRANSACTION_KEY, check_path
from headwater.provenance import Provenance

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")


def branch_name(id: str, hint: str) -> str:
    """The branch that a refused transaction leaves: `tx-<hint>-<8 hex of the id>`; a retry of the same id reuses it."""
    words = re.sub(r"\.{2,}", ".", _UNSAFE.sub("-", hint)).strip("-.")[:100]
    stem = words if words == "tx" or words.startswith("tx-") else f"tx-{words}" if words else "tx"
    return f"{stem}-{sha256(id.encode()).hexdigest()[:8]}"


def commit_metadata(id: str, provenance: Provenance | None) -> dict[str, str]:
    """Metadata of a commit that transaction `id` makes."""
    return {**(provenance.to_metadata() if provenance else {}), TRANSACTION_KEY: id}


class EmbeddedTransaction:
    """A writable branch off one pinned commit; see `headwater.lake.Transaction`."""

    def __init__(
        self, core: Core, space: Workspace, *, base: EmbeddedSnapshot, row: CommitRow, into: str, id: str, hint: str
    ):
        """Starts with nothing written.

        Args:
            core: The lake.
            space: A workspace that lives as long as the transaction.
            base: Snapshot of the pinned commit.
            row: The pinned commit.
            into: Target branch.
            id: The transaction's id.
            hint: Words for the branch name.
        """
        self._core = core
        self._space = space
        self._base = base
        self._row = row
        self._into = into
        self._id = id
        self._branch = branch_name(id, hint)
        self._buffer = NodeBuffer(core.catalog)
        self._stager = Stager(core, self._buffer, space)
        self._staged: dict[str, Staged | None] = {}
        self._open = True

    @property
    def id(self) -> str:
        """The transaction's id."""
        return self._id

    @property
    def branch(self) -> str:
        """The branch name that `refuse` leaves behind."""
        return self._branch

    @property
    def base(self) -> EmbeddedSnapshot:
        """The pinned input commit."""
        return self._base

    def write_table(
        self,
        path: str,
        data: TableData,
        *,
        mode: WriteMode = WriteMode.OVERWRITE,
        partition: tuple[str, str] | None = None,
    ) -> Entry:
        """Writes a Delta table at `path`; see `headwater.lake.Transaction.write_table`."""
        self._check_open("write a table")
        before = self._before(path, Kind.TABLE)
        if isinstance(before, Record):  # whose log the new one goes on with
            self._base.check_kept(before)
        with self._storing("written"):
            self._staged[path] = self._stager.table(
                path, data, mode=WriteMode(mode), partition=partition, before=before, transaction=self._id
            )
        return self._entry(path)

    def write_folder(self, path: str, source: Path, *, identity: Sequence[str] | None = None) -> Entry:
        """Stores a copy of every file below `source`; see `headwater.lake.Transaction.write_folder`."""
        self._check_open("write a folder")
        self._before(path, Kind.FOLDER)
        with self._storing("written"):
            self._staged[path] = self._stager.folder(path, Path(source), identity=identity, transaction=self._id)
        return self._entry(path)

    def remove(self, path: str) -> None:
        """Removes what stands at `path` on this branch. Raises PathNotFoundError."""
        self._check_open("remove a path")
        if self._standing(check_path(path)) is None:
            raise PathNotFoundError(path=path, ref=self._branch, known=self.staged().paths())
        self._staged[path] = None

    def staged(self) -> StagedSnapshot:
        """The branch as written so far. Valid until the transaction is closed."""
        self._check_open("be read")
        return StagedSnapshot(self._base, branch=self._branch, staged=self._overlay())

    def publish(self, *, message: str, provenance: Provenance | None) -> Published:
        """Merges the branch into its target as one commit; see `headwater.lake.Transaction.publish`."""
        self._check_open("be published")
        with self._storing("published"):
            with self._core.branch_lock(self._into):
                reached(Step.LOCKED)
                published = self._publish(message, provenance)
            self._close()
        return published

    def refuse(self, *, message: str, provenance: Provenance | None) -> Commit:
        """Commits what was written to the transaction's own branch; the target is untouched."""
        self._check_open("be refused")
        with self._storing("refused"):
            with self._core.branch_lock(self._branch):
                reached(Step.LOCKED)
                row = self._commit(
                    Change(
                        branch=self._branch,
                        parents=(self._row,),
                        sides=dict(self._staged),
                        message=message,
                        metadata=commit_metadata(self._id, provenance),
                        new_branch=True,
                    )
                )
            self._close()
        return row.commit

    def discard(self) -> None:
        """Drops what was written."""
        if self._open:
            self._close()

    def _publish(self, message: str, provenance: Provenance | None) -> Published:
        head = self._core.head(self._into)
        if earlier := self._core.catalog.publication(self._id, self._into):
            return Published(commit=stored(self._core.catalog, earlier).commit, changed=False, replayed=True)
        merger = Merger(self._core, self._buffer, self._stager, transaction=self._id)
        merged = merger.merge(self._staged, base=self._row.tree, target=head.tree)
        reached(Step.MERGED)
        if merged.conflicts:
            raise MergeConflictError(source=self._branch, into=self._into, paths=merged.conflicts)
        if not merged.sides:
            return Published(commit=head.commit, changed=False)
        row = self._commit(
            Change(
                branch=self._into,
                parents=(head,),
                sides=merged.sides,
                message=message,
                metadata=commit_metadata(self._id, provenance),
                publication=self._id,
            )
        )
        View(self._core, self._into).follow(row, space=self._space)
        reached(Step.VIEWED)
        return Published(commit=row.commit, changed=True)

    def _commit(self, change: Change) -> CommitRow:
        return self._core.commit(change, buffer=self._buffer, space=self._space)

    def _before(self, path: str, kind: Kind) -> Side:
        """What stands at a path that is about to be written."""
        side = self._standing(check_path(path))
        record = record_of(side)
        if record is None:
            _trees.check_no_nesting(path, self.staged().paths())
        elif record.entry.kind is not kind:
            raise WrongKindError(path=path, wanted=kind.value, found=record.entry.kind.value)
        return side

    def _standing(self, path: str) -> Side:
        return self._staged[path] if path in self._staged else self._base.record(path)

    def _overlay(self) -> dict[str, tuple[Record, Path] | None]:
        return {
            path: (staged.record, staged.folder) if staged is not None else None
            for path, staged in self._staged.items()
        }

    def _entry(self, path: str) -> Entry:
        staged = self._staged[path]
        assert staged is not None
        return staged.record.entry

    @contextmanager
    def _storing(self, action: str) -> Iterator[None]:
        """Says what the disk said, also when delta-rs or the data's own plan passed it on as text."""
        try:
            with storage_errors(self._core.layout.location, action):
                yield
        except LakeError as error:
            problem = storage_problem(error, location=self._core.layout.location, action=action)
            if problem is None or type(problem) is type(error):
                raise
            raise problem from error

    def _check_open(self, action: str) -> None:
        if not self._open:
            raise TransactionClosedError(id=self._id, action=action)

    def _close(self) -> None:
        self._open = False
        self._staged.clear()
        self._space.end()
        reached(Step.CLOSED)
