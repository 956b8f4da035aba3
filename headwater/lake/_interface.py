"""The lake: versioned storage that branches, commits and merges. Two implementations, one conformance suite.

Paths are asset keys (`flights/features/route_history`). What lives at a path is a *table* (a Delta table) or a
*folder* (files). Every read goes through a `Snapshot`, which is fixed to one commit; nothing reads "latest".
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import polars as pl

from headwater.provenance import Provenance

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

TableData: TypeAlias = "pl.DataFrame | pl.LazyFrame | pa.Table | pa.RecordBatchReader"


class Kind(StrEnum):
    """What lives at a path."""

    TABLE = "table"
    FOLDER = "folder"


class WriteMode(StrEnum):
    """How a table write meets what is there."""

    OVERWRITE = "overwrite"
    APPEND = "append"


class Change(StrEnum):
    """How a path differs between two commits."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What stands at one path in one commit.

    Attributes:
        path: Lake path.
        kind: Table or folder.
        data_version: Digest of the logical content (whole asset).
        partitions: Partition key to the digest of that partition's content; empty when unpartitioned.
        rows: Row count (tables), else None.
        bytes: Bytes of the live data files, in all.
        files: Number of live data files.
        delta_version: The Delta version that this commit's readers open (tables), else None.
        schema: Column name to canonical dtype name, in order (tables), else empty.
        transaction: Id of the transaction that last wrote it.
    """

    path: str
    kind: Kind
    data_version: str
    partitions: Mapping[str, str] = field(default_factory=dict)
    rows: int | None = None
    bytes: int = 0
    files: int = 0
    delta_version: int | None = None
    schema: Mapping[str, str] = field(default_factory=dict)
    transaction: str = ""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One state of the whole lake.

    Attributes:
        id: Full commit id (hex).
        parents: Parent ids, first parent first; empty for the first commit.
        message: One line.
        created: When, UTC.
        metadata: Strings to strings.
    """

    id: str
    parents: tuple[str, ...]
    message: str
    created: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def provenance(self) -> Provenance | None:
        """The typed record, None for a commit that Headwater did not make."""
        return Provenance.from_metadata(self.metadata, commit=self.id)


@dataclass(frozen=True, kw_only=True)
class Ref:
    """A branch or a tag.

    Attributes:
        name: Its name.
        kind: `branch` or `tag`.
        commit: Full id of the commit it names.
        protected: Whether direct writes are refused (branches).
    """

    name: str
    kind: str
    commit: str
    protected: bool = False


@dataclass(frozen=True, kw_only=True)
class PathChange:
    """One path that differs between two commits, with the entries on both sides (None where absent)."""

    path: str
    change: Change
    before: Entry | None
    after: Entry | None


@dataclass(frozen=True, kw_only=True)
class Diff:
    """What differs between two commits.

    Attributes:
        left: Commit id of the left ref.
        right: Commit id of the right ref.
        base: The commit that `right` is compared with: the merge base (three-dot) or `left` (two-dot).
        changes: Sorted by path.
    """

    left: str
    right: str
    base: str
    changes: tuple[PathChange, ...]


@dataclass(frozen=True, kw_only=True)
class Published:
    """How a transaction ended.

    Attributes:
        commit: The commit on the target branch that holds the content: the new one, the one that an earlier try of the
            same transaction made, or the present head when nothing changed.
        changed: Whether this transaction's content differs from what was there before it.
        replayed: Whether an earlier try of the same transaction had already published.
    """

    commit: Commit
    changed: bool
    replayed: bool = False


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something `verify` found wrong.

    Attributes:
        what: `object`, `tree`, `commit`, `ref`, `table`, `view` or `transaction`.
        name: Which one.
        problem: What is wrong with it, as a sentence.
    """

    what: str
    name: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of re-hashing everything: counts of what was checked and every finding."""

    commits: int
    objects: int
    bytes: int
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Which commits `gc` keeps whole beyond those that refs, live transactions and released models need.

    Attributes:
        keep_commits: The newest N commits of every branch; None keeps all.
        keep_for: Every commit younger than this; None keeps all.
    """

    keep_commits: int | None = None
    keep_for: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What `gc` removed, or would remove (`dry_run`)."""

    commits: int
    objects: int
    bytes: int
    dry_run: bool


class Snapshot(Protocol):
    """The lake at one commit, read only."""

    @property
    def commit(self) -> Commit:
        """The commit everything is read at."""
        ...

    def paths(self, prefix: str = "") -> tuple[str, ...]:
        """Asset paths below `prefix` (a path or a leading part of it), sorted."""
        ...

    def entry(self, path: str) -> Entry:
        """What stands at `path`.

        Raises:
            PathNotFoundError: Nothing stands there; the message names near misses.
        """
        ...

    def has(self, path: str) -> bool:
        """Whether something stands at `path`."""
        ...

    def table(self, path: str) -> pl.LazyFrame:
        """The table at `path` as a lazy frame, at this commit's Delta version.

        Raises:
            PathNotFoundError: Nothing stands there.
            WrongKindError: A folder stands there.
        """
        ...

    def delta(self, path: str) -> "DeltaTable":
        """The table at `path` as an opened Delta table, at this commit's Delta version. Same errors as `table`."""
        ...

    def folder(self, path: str) -> Path:
        """A local read-only directory with the folder's files. Same errors as `table`, the other way round."""
        ...

    def uri(self, path: str) -> str:
        """A stable URI of `path` at this commit, for people and metadata."""
        ...


class Transaction(Protocol):
    """A writable branch off one pinned commit. Nobody else sees it until `publish`."""

    @property
    def id(self) -> str:
        """The transaction's id. Publishing the same id twice publishes once."""
        ...

    @property
    def branch(self) -> str:
        """The branch name that `refuse` leaves behind."""
        ...

    @property
    def base(self) -> Snapshot:
        """The pinned input commit."""
        ...

    def write_table(
        self,
        path: str,
        data: TableData,
        *,
        mode: WriteMode = WriteMode.OVERWRITE,
        partition: tuple[str, str] | None = None,
    ) -> Entry:
        """Writes a Delta table at `path` on this transaction's branch.

        Args:
            path: Asset path.
            data: Rows; streamed when lazy or a reader.
            mode: Overwrite replaces all rows (or the partition's), append adds.
            partition: `(column, key)`: the table is partitioned by `column` (a string column that this call adds when
                the data lacks it) and only that partition is replaced.

        Raises:
            WrongKindError: A folder stands at `path`.
            TableWriteError: The data cannot be a Delta table (unsupported dtype, schema mismatch, newer protocol).
            CollectedCommitError: `gc` took the table that the branch has: it began at a commit that is kept in part.
        """
        ...

    def write_folder(self, path: str, source: Path, *, identity: Sequence[str] | None = None) -> Entry:
        """Stores a copy of every file below `source` at `path`, replacing what was there.

        Args:
            path: Asset path.
            source: Local directory; symbolic links are refused.
            identity: Relative file names or globs whose contents make the data version; None means every file. What
                stays out (a rendering with dates, say) is stored and verified but does not make a new version.
        """
        ...

    def remove(self, path: str) -> None:
        """Removes what stands at `path` on this branch."""
        ...

    def staged(self) -> Snapshot:
        """The branch as written so far, for the audit."""
        ...

    def publish(self, *, message: str, provenance: Provenance | None) -> Published:
        """Merges the branch into its target as one commit and closes the transaction.

        Nothing is published when every written path has the target's data version already.

        Raises:
            MergeConflictError: The target changed one of the written paths since the base, to something else.
        """
        ...

    def refuse(self, *, message: str, provenance: Provenance | None) -> Commit:
        """Commits what was written to the transaction's own branch, which stays for a look; the target is untouched."""
        ...

    def discard(self) -> None:
        """Drops what was written. Leaving the context without publishing does the same."""
        ...


class Lake(Protocol):
    """Versioned storage. Implementations: `EmbeddedLake`, `LakeFSLake`."""

    def at(self, ref: str) -> Snapshot:
        """The lake at a ref: a branch, a tag, a commit id (or a unique prefix of 6 or more), or `REF~N`.

        Of a commit that `gc` keeps in part every entry can be read; a table or a folder whose content it took raises CollectedCommitError.

        Raises:
            RefNotFoundError: No such ref; the message names near misses.
            CollectedCommitError: `gc` took what it names.
        """
        ...

    def resolve(self, ref: str) -> Commit:
        """The commit a ref names. Same errors as `at`."""
        ...

    def transaction(
        self, *, into: str = "main", id: str | None = None, hint: str = "tx"
    ) -> AbstractContextManager[Transaction]:
        """A transaction off the head of `into`.

        Args:
            into: Target branch.
            id: Deterministic id, so that a retry finds what an earlier try published; None draws a fresh one.
            hint: Words for the branch name, such as the asset key.
        """
        ...

    def find_transaction(self, id: str, *, ref: str = "main") -> Commit | None:
        """The commit in the history of `ref` that transaction `id` published, None when it published nothing."""
        ...

    def log(self, ref: str = "main", *, path: str | None = None, limit: int | None = None) -> Iterator[Commit]:
        """First-parent history, newest first; with `path`, only commits that changed it."""
        ...

    def last_write(self, ref: str, path: str) -> Commit:
        """The newest commit in the history of `ref` that changed `path`. Raises PathNotFoundError."""
        ...

    def diff(self, left: str, right: str, *, two_dot: bool = False) -> Diff:
        """What `right` changed since its merge base with `left`, or (two-dot) what differs between them."""
        ...

    def merge(self, source: str, *, into: str, message: str, provenance: Provenance | None = None) -> Published:
        """Three-way merge. Blind appends to one table are replayed; everything else is a named conflict.

        Raises:
            MergeConflictError: Names each path both sides changed.
        """
        ...

    def revert(self, commit: str, *, into: str = "main", message: str | None = None, actor: str = "") -> Published:
        """A new commit on `into` that undoes what `commit` changed.

        Raises:
            RevertConflictError: A later commit changed one of its paths again.
        """
        ...

    def branches(self) -> tuple[Ref, ...]:
        """All branches, sorted by name."""
        ...

    def create_branch(self, name: str, *, at: str = "main", protected: bool = False) -> Ref:
        """A new branch. Raises RefExistsError, InvalidNameError, RefNotFoundError."""
        ...

    def delete_branch(self, name: str) -> None:
        """Removes a branch. Raises ProtectedBranchError for a protected one."""
        ...

    def tags(self) -> tuple[Ref, ...]:
        """All tags, sorted by name."""
        ...

    def tag(self, name: str, *, at: str) -> Ref:
        """A new immutable tag. The same name at the same commit is fine; at another one it is RefExistsError."""
        ...

    def protect(self, branch: str, *, on: bool = True) -> None:
        """Refuses (or allows) direct writes to a branch. Transactions and merges still publish into it."""
        ...

    def attest(self, provenance: Provenance) -> None:
        """Remembers that what is published already is also the result of `provenance` (same data, other pins).

        A rebuild that comes out equal publishes nothing; this record is what makes it fresh. Losing attestations loses
        no lineage: it costs one rebuild that publishes nothing.
        """
        ...

    def attestations(self, path: str) -> tuple[Provenance, ...]:
        """Records kept for `path`, newest first."""
        ...

    def checkout(self, ref: str, destination: Path, *, paths: Sequence[str] | None = None) -> Commit:
        """Writes a plain copy of the lake at `ref` (or of some paths) to an empty or absent directory."""
        ...

    def verify(self) -> Verification:
        """Re-hashes every object, re-reads every tree and commit, and compares what the views show."""
        ...

    def gc(self, *, grace: timedelta, retention: Retention | None = None, dry_run: bool = False) -> Collected:
        """Removes objects that no ref, retained commit, live transaction or young write (`grace`) needs."""
        ...

    def probe(self) -> None:
        """Checks at start that the store is safe to use. Raises UnsafeStoreError."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Kind, location without secrets, format version: for people."""
        ...
