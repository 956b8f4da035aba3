"""The lake on a lakeFS server: control over REST, data over the S3 gateway."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

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
from headwater.lake._steps import Step, reached
from headwater.lake.errors import RefNotFoundError, StorageError, UnsafeStoreError
from headwater.lake.lakefs._attestations import Attestations
from headwater.lake.lakefs._changing import merge, revert
from headwater.lake.lakefs._history import History
from headwater.lake.lakefs._manifest import FORMAT
from headwater.lake.lakefs._objects import Objects
from headwater.lake.lakefs._refs import Refs
from headwater.lake.lakefs._server import Server
from headwater.lake.lakefs._settings import LakeFSSettings
from headwater.lake.lakefs._snapshot import LakeFSSnapshot, Parts
from headwater.lake.lakefs._transaction import LakeFSTransaction
from headwater.lake.lakefs._upkeep import Verifier, checkout, sweep
from headwater.lake.lakefs._working import scratch
from headwater.names import MAIN, check_path
from headwater.provenance import Provenance

_KIND: Final = "lakefs"
_PROBE: Final = "_headwater_probe"


class LakeFSLake:
    """A lake in one repository of a lakeFS server; see `headwater.lake.Lake` for what each method promises.

    Safe for use by several processes and threads at once. Open it with `LakeFSLake.open`.
    """

    def __init__(self, parts: Parts) -> None:
        """Wraps an opened repository; use `LakeFSLake.open`."""
        self._parts = parts
        self._refs = Refs(parts)
        self._attestations = Attestations(parts)

    @classmethod
    def open(cls, settings: LakeFSSettings, *, create: bool = True) -> "LakeFSLake":
        """The lake in a repository, made when missing, after a probe of its store.

        Args:
            settings: Where it is.
            create: Whether an absent repository is made, with a protected `main`.

        Raises:
            StorageError: The repository is absent and may not be, or cannot be, made.
            UnsafeStoreError: The store ignores conditional writes.
            LakeUnavailableError: The server does not answer.
        """
        server = Server(settings)
        objects = Objects(settings, server.call)
        parts = Parts(settings=settings, server=server, objects=objects, history=History(server, objects))
        lake = cls(parts)
        if not server.has_repository():
            if not create:
                raise StorageError(
                    location=settings.location,
                    action="opened",
                    reason="there is no such repository",
                    remedy="Check its name; or create it in lakeFS, or by a first `headwater build`.",
                )
            server.create_repository()
        if MAIN not in server.protected():
            lake.protect(MAIN)
        lake.probe()
        return lake

    @property
    def settings(self) -> LakeFSSettings:
        """Where the lake is."""
        return self._parts.settings

    def probe(self) -> None:
        """Writes one object twice on the condition that it is new; the second write must be refused.

        Raises:
            UnsafeStoreError: It was not.
        """
        with scratch(self._parts.server, source=MAIN) as branch:
            self._parts.objects.put_new(branch, _PROBE, b"first")
            if self._parts.objects.put_new(branch, _PROBE, b"second"):
                raise UnsafeStoreError(
                    location=self._parts.settings.location,
                    reason="it accepted a second conditional write of the same object (`If-None-Match: *` is ignored)",
                )

    # Reading

    def resolve(self, ref: str) -> Commit:
        """The commit a ref names. Raises RefNotFoundError."""
        return self._parts.history.resolve(ref)

    def at(self, ref: str) -> LakeFSSnapshot:
        """The lake at a ref. Raises RefNotFoundError."""
        return LakeFSSnapshot(self._parts, commit=self.resolve(ref), ref=ref)

    def log(self, ref: str = MAIN, *, path: str | None = None, limit: int | None = None) -> Iterator[Commit]:
        """First-parent history, newest first; with `path`, only commits that changed it. Raises RefNotFoundError."""
        checked = check_path(path) if path is not None else None
        return islice(self._parts.history.log(ref, path=checked), limit)

    def last_write(self, ref: str, path: str) -> Commit:
        """The newest commit in the history of `ref` that changed `path`. Raises PathNotFoundError."""
        return self._parts.history.last_write(ref, path)

    def find_transaction(self, id: str, *, ref: str = MAIN) -> Commit | None:
        """The commit in the history of `ref` that transaction `id` published, None when it published nothing."""
        return self._parts.history.transaction(id, head=self.resolve(ref))

    def diff(self, left: str, right: str, *, two_dot: bool = False) -> Diff:
        """What `right` changed since its merge base with `left`, or (two-dot) what differs between them."""
        ours, theirs = self.resolve(left), self.resolve(right)
        base = ours if two_dot else self.resolve(self._parts.server.merge_base(ours.id, theirs.id))
        return Diff(left=ours.id, right=theirs.id, base=base.id, changes=tuple(self._changes(base, theirs)))

    def _changes(self, base: Commit, right: Commit) -> Iterator[PathChange]:
        history = self._parts.history
        before, after = history.tree(base.id), history.tree(right.id)
        for path in sorted(before.keys() | after.keys()):
            if before.get(path) == after.get(path):
                continue
            then, now = history.manifest(base.id, path), history.manifest(right.id, path)
            if then is not None and now is not None and then.record.same_content(now.record):
                continue
            yield PathChange(
                path=path,
                change=Change.ADDED if then is None else Change.REMOVED if now is None else Change.CHANGED,
                before=then.record.entry if then else None,
                after=now.record.entry if now else None,
            )

    # Changing

    @contextmanager
    def transaction(self, *, into: str = MAIN, id: str | None = None, hint: str = "tx") -> Iterator[LakeFSTransaction]:
        """A transaction off the head of `into`. Raises RefNotFoundError."""
        base = LakeFSSnapshot(self._parts, commit=self._parts.history.head(into), ref=into)
        transaction = LakeFSTransaction(self._parts, base=base, into=into, id=id or secrets.token_hex(16), hint=hint)
        reached(Step.OPENED)
        try:
            yield transaction
        finally:
            transaction.discard()

    def merge(self, source: str, *, into: str, message: str, provenance: Provenance | None = None) -> Published:
        """Three-way merge; see `headwater.lake.Lake.merge`. Raises MergeConflictError."""
        return merge(self._parts, source, into=into, message=message, provenance=provenance)

    def revert(self, commit: str, *, into: str = MAIN, message: str | None = None, actor: str = "") -> Published:
        """A new commit on `into` that undoes what `commit` changed. Raises RevertConflictError."""
        return revert(self._parts, commit, into=into, message=message, actor=actor)

    # Refs

    def branches(self) -> tuple[Ref, ...]:
        """All branches, sorted by name."""
        return self._refs.branches()

    def create_branch(self, name: str, *, at: str = MAIN, protected: bool = False) -> Ref:
        """A new branch. Raises RefExistsError, InvalidNameError, RefNotFoundError."""
        return self._refs.create_branch(name, at=at, protected=protected)

    def delete_branch(self, name: str) -> None:
        """Removes a branch. Raises ProtectedBranchError, RefNotFoundError."""
        self._refs.delete_branch(name)

    def tags(self) -> tuple[Ref, ...]:
        """All tags, sorted by name."""
        return self._refs.tags()

    def tag(self, name: str, *, at: str) -> Ref:
        """A new immutable tag. Raises RefExistsError when the name stands at another commit."""
        return self._refs.tag(name, at=at)

    def protect(self, branch: str, *, on: bool = True) -> None:
        """Refuses (or allows) direct writes to a branch. Raises RefNotFoundError."""
        if self._parts.server.branch_head(branch) is None:
            raise RefNotFoundError(ref=branch, known=[ref.name for ref in self.branches()])
        self._parts.server.protect(branch, on=on)

    # Records and care

    def attest(self, provenance: Provenance) -> None:
        """Remembers that what is published already is also the result of `provenance`."""
        self._attestations.add(provenance)

    def attestations(self, path: str) -> tuple[Provenance, ...]:
        """Records kept for `path`, newest first."""
        return self._attestations.of(path)

    def checkout(self, ref: str, destination: Path, *, paths: Sequence[str] | None = None) -> Commit:
        """Writes a plain copy of the lake at `ref` (or of some paths) to an empty or absent directory."""
        return checkout(self._parts, self.at(ref), Path(destination), paths=paths)

    def verify(self) -> Verification:
        """Reads every object of every branch and tag again and compares checksums and data versions."""
        return Verifier(self._parts).run()

    def gc(self, *, grace: timedelta, retention: Retention | None = None, dry_run: bool = False) -> Collected:
        """Removes what dead processes left on working branches older than `grace`.

        Commits stay: `retention` changes nothing here. lakeFS collects committed objects with a job of its own, by rules
        of age alone, which know nothing of released models; so this lake sets no such rules (docs/adr/0003-lakefs.md).
        """
        return sweep(self._parts, grace=grace, dry_run=dry_run)

    def describe(self) -> Mapping[str, Any]:
        """Kind, location without secrets, format version, server version."""
        return {
            "kind": _KIND,
            "location": self._parts.settings.location,
            "format": FORMAT,
            "server": self._parts.server.version(),
        }
