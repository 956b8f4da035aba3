"""A lakeFS lake's transactions: pin, write to a branch of one's own, audit, publish or refuse."""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from headwater.lake._interface import Commit, Entry, Kind, Published, TableData, WriteMode
from headwater.lake._merge import same
from headwater.lake._steps import Step, reached
from headwater.lake._trees import check_no_nesting
from headwater.lake.errors import PathNotFoundError, TransactionClosedError, WrongKindError
from headwater.lake.lakefs._manifest import PATHS_KEY, Manifest, marker_of
from headwater.lake.lakefs._merging import Merger, Merging
from headwater.lake.lakefs._server import paths_value
from headwater.lake.lakefs._snapshot import LakeFSSnapshot, Parts, StagedSnapshot
from headwater.lake.lakefs._staging import Stager
from headwater.lake.lakefs._working import new_name
from headwater.names import TRANSACTION_KEY, check_path
from headwater.provenance import Provenance

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


def branch_name(id: str, hint: str) -> str:
    """The branch that a refused transaction leaves: `tx-<hint>-<8 hex of the id>`; a retry of the same id reuses it."""
    words = _UNSAFE.sub("-", hint).strip("-")[:100]
    stem = words if words == "tx" or words.startswith("tx-") else f"tx-{words}" if words else "tx"
    return f"{stem}-{sha256(id.encode()).hexdigest()[:8]}"


class LakeFSTransaction:
    """A writable branch off one pinned commit; see `headwater.lake.Transaction`."""

    def __init__(self, parts: Parts, *, base: LakeFSSnapshot, into: str, id: str, hint: str) -> None:
        """Starts with nothing written; the server's branch is made with the first write.

        Args:
            parts: The lake.
            base: Snapshot of the pinned commit.
            into: Target branch.
            id: The transaction's id.
            hint: Words for the branch name.
        """
        self._parts = parts
        self._base = base
        self._into = into
        self._id = id
        self._branch = branch_name(id, hint)
        self._working = new_name()
        self._stager = Stager(parts, branch=self._working, transaction=id)
        self._staged: dict[str, Manifest | None] = {}
        self._made = False
        self._number = 0
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
    def base(self) -> LakeFSSnapshot:
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
        before = self._before(path, Kind.TABLE, action="write a table")
        manifest = self._stager.table(path, data, mode=WriteMode(mode), partition=partition, before=before)
        reached(Step.WRITTEN)
        self._staged[path] = manifest
        return manifest.record.entry

    def write_folder(self, path: str, source: Path, *, identity: Sequence[str] | None = None) -> Entry:
        """Stores every file below `source` at `path`; see `headwater.lake.Transaction.write_folder`."""
        self._before(path, Kind.FOLDER, action="write a folder")
        manifest = self._stager.folder(path, Path(source), identity=identity)
        reached(Step.WRITTEN)
        self._staged[path] = manifest
        return manifest.record.entry

    def remove(self, path: str) -> None:
        """Removes what stands at `path` on this branch. Raises PathNotFoundError."""
        self._check_open("remove a path")
        if self._standing(check_path(path)) is None:
            raise PathNotFoundError(path=path, ref=self._branch, known=self.staged().paths())
        self._prepare()
        self._stager.remove(path)
        self._staged[path] = None

    def staged(self) -> StagedSnapshot:
        """The branch as written so far. Valid until the transaction is closed."""
        self._check_open("be read")
        return StagedSnapshot(self._base, branch=self._branch, working=self._working, staged=self._staged)

    def publish(self, *, message: str, provenance: Provenance | None) -> Published:
        """Merges the branch into its target as one commit; see `headwater.lake.Transaction.publish`."""
        self._check_open("be published")
        head = self._parts.history.head(self._into)
        if earlier := self._parts.history.transaction(self._id, head=head):
            self.discard()
            return Published(commit=earlier, changed=False, replayed=True)
        self._forget_equal()
        if not self._staged:
            self.discard()
            return Published(commit=head, changed=False)
        metadata = self._metadata(provenance)
        merging = Merging(
            source=self._commit(message, metadata),
            name=self._branch,
            into=self._into,
            message=message,
            metadata=metadata,
            since=head,
            renew=lambda: self._renew(message, metadata),
        )
        merged = Merger(self._parts).merge(merging)
        self.discard()
        if merged.commit is None:
            return Published(commit=self._parts.history.head(self._into), changed=False)
        ours = not merged.found or self._is_ours(merged.commit)
        return Published(commit=merged.commit, changed=ours, replayed=not ours)

    def refuse(self, *, message: str, provenance: Provenance | None) -> Commit:
        """Commits what was written to the transaction's own branch; the target is untouched."""
        self._check_open("be refused")
        self._prepare()
        commit = self._commit(message, self._metadata(provenance))
        server = self._parts.server
        if not server.create_branch(self._branch, source=commit.id):
            server.delete_branch(self._branch)
            server.create_branch(self._branch, source=commit.id)
        reached(Step.COMMITTED)
        self.discard()
        return commit

    def discard(self) -> None:
        """Drops what was written."""
        if not self._open:
            return
        self._open = False
        self._staged.clear()
        if self._made:
            self._parts.server.drop_working(self._working)
            self._parts.live.discard(self._working)
        reached(Step.CLOSED)

    def _metadata(self, provenance: Provenance | None) -> dict[str, str]:
        return {
            **(provenance.to_metadata() if provenance else {}),
            TRANSACTION_KEY: self._id,
            PATHS_KEY: paths_value(list(self._staged)),
        }

    def _forget_equal(self) -> None:
        """Takes back what came out as it was."""
        for path, manifest in list(self._staged.items()):
            before = self._base.manifest(path)
            if same(manifest.record if manifest else None, before.record if before else None):
                self._parts.server.reset(self._working, f"{path}/")
                del self._staged[path]

    def _commit(self, message: str, metadata: dict[str, str]) -> Commit:
        for path, manifest in self._staged.items():
            self._stager.finish(path, manifest)
        self._mark()
        reached(Step.STAGED)
        commit = self._parts.server.commit(self._working, message=message, metadata=metadata)
        reached(Step.SYNCED)
        return commit

    def _mark(self) -> None:
        """Stages the object that says that this transaction is in a tree; no two are equal, so no two merges are."""
        self._number += 1
        text = f"{self._id}\n{self._stager.attempt}\n{self._number}\n"
        self._parts.objects.put(self._working, marker_of(self._id), text.encode())

    def _renew(self, message: str, metadata: dict[str, str]) -> Commit:
        """A source for a further try that conflicts with the one before, should that still land."""
        self._mark()
        return self._parts.server.commit(self._working, message=message, metadata=metadata)

    def _is_ours(self, commit: Commit) -> bool:
        found = self._parts.objects.get(commit.id, marker_of(self._id))
        return found is not None and found.decode().splitlines()[1] == self._stager.attempt

    def _before(self, path: str, kind: Kind, *, action: str) -> Manifest | None:
        """What stands at a path that is about to be written."""
        self._check_open(action)
        manifest = self._standing(check_path(path))
        if manifest is None:
            check_no_nesting(path, self.staged().paths())
        elif manifest.kind is not kind:
            raise WrongKindError(path=path, wanted=kind.value, found=manifest.kind.value)
        self._prepare()
        return manifest

    def _standing(self, path: str) -> Manifest | None:
        return self._staged[path] if path in self._staged else self._base.manifest(path)

    def _prepare(self) -> None:
        if not self._made:
            self._parts.server.create_branch(self._working, source=self._base.commit.id, hidden=True)
            self._made = True
            self._parts.live.add(self._working)
            reached(Step.PREPARED)

    def _check_open(self, action: str) -> None:
        if not self._open:
            raise TransactionClosedError(id=self._id, action=action)
