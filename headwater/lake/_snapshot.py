"""Snapshots of an embedded lake: one commit, read through checkouts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from headwater.lake import _trees
from headwater.lake._catalog import Catalog
from headwater.lake._interface import Commit, Entry, Kind
from headwater.lake._objects import Content, Objects
from headwater.lake._records import Record
from headwater.lake._storage import storage_errors
from headwater.lake._tables import LOG_FOLDER, local, open_delta, scan
from headwater.lake.errors import (
    CollectedCommitError,
    DamagedLakeError,
    PathNotFoundError,
    TableReadError,
    WrongKindError,
)
from headwater.names import check_path


class EmbeddedSnapshot:
    """The lake at one commit. Everything it returns stays as it is, whatever is published later."""

    def __init__(self, *, store: Catalog, objects: Objects, commit: Commit, tree: str, ref: str) -> None:
        """Fixes the snapshot.

        Args:
            store: The catalog, with its nodes.
            objects: Object store of the lake.
            commit: The commit.
            tree: Root of its tree.
            ref: What was asked for, for errors.
        """
        self._store = store
        self._objects = objects
        self._commit = commit
        self._tree = tree
        self._ref = ref
        self._records: dict[str, Record | None] = {}

    @property
    def commit(self) -> Commit:
        """The commit everything is read at."""
        return self._commit

    @property
    def tree(self) -> str:
        """Root hash of the commit's tree."""
        return self._tree

    def paths(self, prefix: str = "") -> tuple[str, ...]:
        """Asset paths at or below `prefix`, sorted."""
        stem = prefix.rstrip("/")
        return tuple(path for path in self._all_paths() if not stem or path == stem or path.startswith(stem + "/"))

    def _all_paths(self) -> tuple[str, ...]:
        with self.reading():
            return _trees.paths(self._store, self._tree)

    def record(self, path: str) -> Record | None:
        """The record at `path`, None when nothing stands there."""
        if path not in self._records:
            with self.reading():
                self._records[path] = _trees.record_at(self._store, self._tree, path)
        return self._records[path]

    def entry(self, path: str) -> Entry:
        """What stands at `path`. Raises PathNotFoundError."""
        return self._found(path).entry

    def _found(self, path: str) -> Record:
        record = self.record(check_path(path))
        if record is None:
            raise PathNotFoundError(path=path, ref=self._ref, known=self._all_paths())
        return record

    def has(self, path: str) -> bool:
        """Whether something stands at `path`."""
        return self.record(path) is not None

    def table(self, path: str) -> pl.LazyFrame:
        """The table at `path` as a lazy frame. Raises PathNotFoundError, WrongKindError, CollectedCommitError, TableReadError."""
        return scan(self.delta(path), path=path)

    def delta(self, path: str) -> DeltaTable:
        """The table at `path` as an opened Delta table. Same errors as `table`."""
        record = self._of_kind(path, Kind.TABLE)
        try:
            return self._open(path, record)
        except TableReadError:
            # `gc` may have taken its checkout since it was found: it is made again, or said to be collected.
            return self._open(path, record)

    def _open(self, path: str, record: Record) -> DeltaTable:
        folder = self._folder(path, record)
        self._check_sizes(path, record, folder)
        return open_delta(local(folder), path=path, version=record.entry.delta_version)

    def folder(self, path: str) -> Path:
        """A local read-only directory with the folder's files. Raises PathNotFoundError, WrongKindError, CollectedCommitError."""
        return self._folder(path, self._of_kind(path, Kind.FOLDER))

    def contents(self, record: Record) -> Mapping[str, Content]:
        """A record's files: relative name to content. Raises CollectedCommitError."""
        self.check_kept(record)
        with self.reading(record):
            return _trees.contents(self._store, record)

    def check_kept(self, record: Record) -> None:
        """Raises CollectedCommitError when `gc` took a record's files."""
        # Not the nodes are asked: this process may remember those that another one's `gc` took.
        if self._store.is_collected(record.files):
            raise CollectedCommitError(commit=self._commit.id, path=record.entry.path)

    @contextmanager
    def reading(self, record: Record | None = None) -> Iterator[None]:
        """What fails because `gc` took it, be it since the last line, is no damage: readers do not hold it up.

        Args:
            record: Whose files are read; None where the tree is.

        Raises:
            CollectedCommitError: `gc` took the commit, or the record's files.
        """
        try:
            yield
        except (DamagedLakeError, OSError):
            if record is not None:
                self.check_kept(record)
            row = self._store.commit(self._commit.id)
            if row is not None and row.collected:
                raise CollectedCommitError(commit=self._commit.id) from None
            raise

    def uri(self, path: str) -> str:
        """A stable URI of `path` at this commit."""
        self._found(path)
        return f"lake://{self._commit.id}/{path}"

    def _of_kind(self, path: str, kind: Kind) -> Record:
        record = self._found(path)
        if record.entry.kind is not kind:
            raise WrongKindError(path=path, wanted=kind.value, found=record.entry.kind.value)
        return record

    def _folder(self, path: str, record: Record) -> Path:
        target = self._objects.checkout_path(record.files)
        with suppress(OSError):  # The time of the last reading, which `gc` goes by; a read-only lake has none.
            os.utime(target)
        if target.exists():
            return target
        with storage_errors(target, "checked out"), self.reading(record):
            return self._objects.checkout(record.files, self.contents(record), record.entry.kind)

    def _check_sizes(self, path: str, record: Record, folder: Path) -> None:
        """A truncated or missing file is found when the table is opened, not in the middle of a query."""
        for name, content in self.contents(record).items():
            if name == f"{LOG_FOLDER}/_last_checkpoint":
                continue
            try:
                size = (folder / name).stat().st_size
            except FileNotFoundError:
                raise TableReadError(path=path, reason=f"its file {name} is missing.") from None
            if size != content.size:
                raise TableReadError(
                    path=path, reason=f"its file {name} is damaged: {size} bytes instead of {content.size}."
                )


class StagedSnapshot(EmbeddedSnapshot):
    """A transaction's branch as written so far. Valid while the transaction is open."""

    def __init__(
        self,
        base: EmbeddedSnapshot,
        *,
        branch: str,
        staged: Mapping[str, tuple[Record, Path] | None],
    ) -> None:
        """Lays what was staged over the base.

        Args:
            base: The pinned commit.
            branch: Name of the transaction's branch.
            staged: Written paths, to their record and working copy; None for a removed path.
        """
        super().__init__(store=base._store, objects=base._objects, commit=base.commit, tree=base.tree, ref=branch)
        self._base = base
        self._branch = branch
        self._staged = dict(staged)

    def _all_paths(self) -> tuple[str, ...]:
        kept = {path for path in self._base._all_paths() if path not in self._staged}
        return tuple(sorted(kept | {path for path, written in self._staged.items() if written is not None}))

    def record(self, path: str) -> Record | None:
        """The record at `path` as staged, else as in the base."""
        if path in self._staged:
            written = self._staged[path]
            return written[0] if written is not None else None
        return self._base.record(path)

    def uri(self, path: str) -> str:
        """A URI of `path` on the transaction's branch."""
        self._found(path)
        return f"lake://{self._branch}/{path}"

    def _folder(self, path: str, record: Record) -> Path:
        written = self._staged.get(path)
        return written[1] if written is not None else super()._folder(path, record)

    def _check_sizes(self, path: str, record: Record, folder: Path) -> None:
        if self._staged.get(path) is None:
            super()._check_sizes(path, record, folder)
