"""The embedded lake: no server, one folder, the same behaviour as lakeFS."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from headwater.lake import _changing, _trees
from headwater.lake._commits import CommitRow
from headwater.lake._core import Core
from headwater.lake._export import checkout
from headwater.lake._gc import gc
from headwater.lake._history import BRANCH, TAG, first_parents, is_ancestor, merge_base, resolve
from headwater.lake._interface import (
    Change,
    Collected,
    Commit,
    Diff,
    PathChange,
    Published,
    Ref,
    Retention,
    Verification,
)
from headwater.lake._layout import FORMAT, Workspace
from headwater.lake._opening import derive_anew, open_core, probe, recover
from headwater.lake._refs import Refs
from headwater.lake._snapshot import EmbeddedSnapshot
from headwater.lake._steps import Step, reached
from headwater.lake._storage import storage_errors
from headwater.lake._transaction import EmbeddedTransaction
from headwater.lake._verify import Verifier
from headwater.lake._views import View
from headwater.lake.errors import DamagedLakeError, PathNotFoundError
from headwater.names import MAIN, check_path, check_ref
from headwater.provenance import Provenance


class EmbeddedLake:
    """A lake in one folder of a local disk; see `headwater.lake.Lake` for what each method promises.

    Safe for use by several processes and threads at once. Open it with `EmbeddedLake.open`.
    """

    def __init__(self, core: Core) -> None:
        """Wraps an opened core; use `EmbeddedLake.open`."""
        self._core = core
        self._refs = Refs(core)

    @classmethod
    def open(cls, location: Path, *, create: bool = True) -> "EmbeddedLake":
        """The lake at `location`, recovered from whatever a dead process left.

        Args:
            location: Its folder.
            create: Whether an absent lake is made, with an empty first commit on a protected `main`.

        Raises:
            LakeFormatError: It has a newer format.
            StorageError: It is absent and may not be made, it lost its catalog, or the disk refuses.
        """
        return cls(open_core(Path(location), create=create))

    def close(self) -> None:
        """Closes the catalog's connections. The lake may be used again; it opens new ones."""
        self._core.catalog.close()

    @property
    def location(self) -> Path:
        """The lake's folder, absolute."""
        return self._core.layout.location

    def resolve(self, ref: str) -> Commit:
        """The commit a ref names. Raises RefNotFoundError."""
        return resolve(self._core.catalog, ref).commit

    def at(self, ref: str) -> EmbeddedSnapshot:
        """The lake at a ref. Raises RefNotFoundError, CollectedCommitError."""
        return self._core.snapshot(resolve(self._core.catalog, ref), ref=ref)

    @contextmanager
    def transaction(
        self, *, into: str = MAIN, id: str | None = None, hint: str = "tx"
    ) -> Iterator[EmbeddedTransaction]:
        """A transaction off the head of `into`. Raises RefNotFoundError, StorageError."""
        with storage_errors(self.location, "written"), self._core.storing():
            row = self._core.head(into)
            base = self._core.snapshot(row, ref=into)
            space = Workspace(self._core.layout, pins=row.id)
        reached(Step.OPENED)
        transaction = EmbeddedTransaction(
            self._core, space, base=base, row=row, into=into, id=id or secrets.token_hex(16), hint=hint
        )
        try:
            yield transaction
        finally:
            transaction.discard()

    def find_transaction(self, id: str, *, ref: str = MAIN) -> Commit | None:
        """The commit in the history of `ref` that transaction `id` published, None when it published nothing."""
        head = resolve(self._core.catalog, ref)
        for published in self._core.catalog.publications(id):
            if is_ancestor(self._core.catalog, published, head):
                return resolve(self._core.catalog, published).commit
        return None

    def log(self, ref: str = MAIN, *, path: str | None = None, limit: int | None = None) -> Iterator[Commit]:
        """First-parent history, newest first; with `path`, only commits that changed it. Raises RefNotFoundError."""
        head = resolve(self._core.catalog, ref)
        rows = first_parents(
            self._core.catalog,
            head,
            path=check_path(path) if path is not None else None,
            page=200 if limit is None else max(1, min(limit, 200)),
        )
        return (row.commit for row in islice(rows, limit))

    def last_write(self, ref: str, path: str) -> Commit:
        """The newest commit in the history of `ref` that changed `path`. Raises PathNotFoundError."""
        for commit in self.log(ref, path=path, limit=1):
            return commit
        raise PathNotFoundError(path=path, ref=ref, known=self.at(ref).paths())

    def diff(self, left: str, right: str, *, two_dot: bool = False) -> Diff:
        """What `right` changed since its merge base with `left`, or (two-dot) what differs between them."""
        ours, theirs = resolve(self._core.catalog, left), resolve(self._core.catalog, right)
        base = ours if two_dot else merge_base(self._core.catalog, ours, theirs)
        with self._core.snapshot(base, ref=base.id).reading(), self._core.snapshot(theirs, ref=theirs.id).reading():
            changes = tuple(self._changes(base, theirs))
        return Diff(left=ours.id, right=theirs.id, base=base.id, changes=changes)

    def _changes(self, base: CommitRow, row: CommitRow) -> Iterator[PathChange]:
        for path, before, after in _trees.changed(self._core.catalog, base.tree, row.tree):
            if before is not None and before.same_content(after):
                continue
            yield PathChange(
                path=path,
                change=Change.ADDED if before is None else Change.REMOVED if after is None else Change.CHANGED,
                before=before.entry if before else None,
                after=after.entry if after else None,
            )

    def branches(self) -> tuple[Ref, ...]:
        """All branches, sorted by name."""
        return self._refs.all(BRANCH)

    def create_branch(self, name: str, *, at: str = MAIN, protected: bool = False) -> Ref:
        """A new branch: one row. Raises RefExistsError, InvalidNameError, RefNotFoundError."""
        return self._refs.create_branch(name, at=at, protected=protected)

    def delete_branch(self, name: str) -> None:
        """Removes a branch. Raises ProtectedBranchError, RefNotFoundError."""
        self._refs.delete_branch(name)

    def tags(self) -> tuple[Ref, ...]:
        """All tags, sorted by name."""
        return self._refs.all(TAG)

    def tag(self, name: str, *, at: str) -> Ref:
        """A new immutable tag. Raises RefExistsError when the name stands at another commit."""
        return self._refs.tag(name, at=at)

    def protect(self, branch: str, *, on: bool = True) -> None:
        """Refuses (or allows) direct changes to a branch. Raises RefNotFoundError."""
        self._refs.protect(branch, on=on)

    def attest(self, provenance: Provenance) -> None:
        """Remembers that what is published already is also the result of `provenance`."""
        self._refs.attest(provenance)

    def attestations(self, path: str) -> tuple[Provenance, ...]:
        """Records kept for `path`, newest first."""
        return self._refs.attestations(path)

    def view(self, branch: str) -> Path:
        """A folder with the branch's tables and folders as plain files, kept up to date from now on; `main`'s always is."""
        with storage_errors(self.location, "written"), self._core.branch_lock(check_ref(branch)):
            view = View(self._core, branch)
            view.show(self._core.head(branch))
        return view.folder

    def merge(self, source: str, *, into: str, message: str, provenance: Provenance | None = None) -> Published:
        """Three-way merge. Raises MergeConflictError, RefNotFoundError."""
        return _changing.merge(self._core, source, into=into, message=message, provenance=provenance)

    def revert(self, commit: str, *, into: str = MAIN, message: str | None = None, actor: str = "") -> Published:
        """A new commit on `into` that undoes what `commit` changed. Raises RevertConflictError, RefNotFoundError."""
        return _changing.revert(self._core, commit, into=into, message=message, actor=actor)

    def checkout(self, ref: str, destination: Path, *, paths: Sequence[str] | None = None) -> Commit:
        """Writes a plain copy of the lake at `ref` to an empty or absent directory. Raises StorageError."""
        return checkout(self._core, ref, Path(destination), paths=paths)

    def verify(self, *, deep: bool = False) -> Verification:
        """Re-hashes every object, re-reads every tree and commit, and compares what the views show.

        Args:
            deep: Also computes the data version of everything on main again, from its content.
        """
        with storage_errors(self.location, "verified"):
            if not self._core.read_only:
                with suppress(DamagedLakeError):  # Which the verification then finds.
                    recover(self._core)
            return Verifier(self._core, deep=deep).run()

    def repair(self) -> None:
        """Drops everything derived (checkouts, the view of main) and derives it anew: what strays put there is gone.

        Raises:
            StorageError: The disk refuses.
        """
        with storage_errors(self.location, "repaired"):
            derive_anew(self._core)

    def gc(self, *, grace: timedelta, retention: Retention | None = None, dry_run: bool = False) -> Collected:
        """Removes what no ref, retained commit, live transaction, released model or young write needs."""
        return gc(self._core, grace=grace, retention=retention, dry_run=dry_run)

    def probe(self) -> None:
        """Checks that the disk keeps the promises of locks and of the catalog. Raises UnsafeStoreError."""
        with storage_errors(self.location, "probed"):
            probe(self._core)

    def describe(self) -> Mapping[str, Any]:
        """Kind, location and format version, for people."""
        return {"kind": "embedded", "location": str(self.location), "format": FORMAT}
