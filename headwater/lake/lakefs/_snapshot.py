"""The lake at one commit, read through the S3 gateway."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from headwater.lake._files import READ_ONLY, hash_file
from headwater.lake._interface import Commit, Entry, Kind
from headwater.lake._tables import TableLocation, open_delta, scan
from headwater.lake.errors import PathNotFoundError, StorageError, WrongKindError
from headwater.lake.lakefs._history import History
from headwater.lake.lakefs._manifest import Manifest
from headwater.lake.lakefs._objects import Objects
from headwater.lake.lakefs._server import Server
from headwater.lake.lakefs._settings import LakeFSSettings
from headwater.names import check_path


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of one opened lake.

    Attributes:
        settings: Where it is.
        server: Control.
        objects: Contents.
        history: Commits and trees.
        live: Working branches in use by this process.
    """

    settings: LakeFSSettings
    server: Server
    objects: Objects
    history: History
    live: set[str] = field(default_factory=set)

    def table(self, ref: str, path: str) -> TableLocation:
        """Where the table at `path` lies at a ref."""
        return TableLocation(
            uri=f"s3://{self.settings.repository}/{ref}/{path}", storage_options=self.settings.storage_options
        )


class LakeFSSnapshot:
    """The lake at one commit; see `headwater.lake.Snapshot`."""

    def __init__(self, parts: Parts, *, commit: Commit, ref: str) -> None:
        """Fixes the snapshot.

        Args:
            parts: The lake.
            commit: The commit.
            ref: What was asked for, for errors.
        """
        self._parts = parts
        self._commit = commit
        self._ref = ref

    @property
    def commit(self) -> Commit:
        """The commit everything is read at."""
        return self._commit

    def paths(self, prefix: str = "") -> tuple[str, ...]:
        """Asset paths at or below `prefix`, sorted."""
        stem = prefix.rstrip("/")
        return tuple(path for path in self._all_paths() if not stem or path == stem or path.startswith(stem + "/"))

    def entry(self, path: str) -> Entry:
        """What stands at `path`. Raises PathNotFoundError."""
        return self._found(path).record.entry

    def has(self, path: str) -> bool:
        """Whether something stands at `path`."""
        return self.manifest(path) is not None

    def table(self, path: str) -> pl.LazyFrame:
        """The table at `path` as a lazy frame. Raises PathNotFoundError, WrongKindError, TableReadError."""
        return scan(self.delta(path), path=path)

    def delta(self, path: str) -> DeltaTable:
        """The table at `path` as an opened Delta table. Same errors as `table`."""
        version = self._of_kind(path, Kind.TABLE).record.entry.delta_version
        with self._parts.server.call.tables(f"read {path}"):
            return open_delta(self._parts.table(self._data_ref(path), path), path=path, version=version)

    def folder(self, path: str) -> Path:
        """A local read-only directory with the folder's files. Raises PathNotFoundError, WrongKindError."""
        manifest = self._of_kind(path, Kind.FOLDER)
        target = _own_cache(self._parts.settings) / manifest.content_key
        if not target.is_dir():
            fetch_folder(self._parts, self._data_ref(path), path, manifest, target, read_only=True)
        return target

    def uri(self, path: str) -> str:
        """A stable URI of `path` at this commit."""
        self._found(path)
        return f"lakefs://{self._parts.settings.repository}/{self._data_ref(path)}/{path}"

    def manifest(self, path: str) -> Manifest | None:
        """What stands at `path`, None when nothing does."""
        return self._parts.history.manifest(self._commit.id, path)

    def _all_paths(self) -> tuple[str, ...]:
        return tuple(sorted(self._parts.history.tree(self._commit.id)))

    def _data_ref(self, path: str) -> str:
        return self._commit.id

    def _found(self, path: str) -> Manifest:
        manifest = self.manifest(check_path(path))
        if manifest is None:
            raise PathNotFoundError(path=path, ref=self._ref, known=self._all_paths())
        return manifest

    def _of_kind(self, path: str, kind: Kind) -> Manifest:
        manifest = self._found(path)
        if manifest.kind is not kind:
            raise WrongKindError(path=path, wanted=kind.value, found=manifest.kind.value)
        return manifest


class StagedSnapshot(LakeFSSnapshot):
    """A transaction's branch as written so far."""

    def __init__(
        self, base: LakeFSSnapshot, *, branch: str, working: str, staged: Mapping[str, Manifest | None]
    ) -> None:
        """Lays what was staged over the base.

        Args:
            base: The pinned commit.
            branch: The transaction's branch as users know it, for errors.
            working: The branch that holds what was written.
            staged: Written paths; None for a removed one.
        """
        super().__init__(base._parts, commit=base.commit, ref=branch)
        self._working = working
        self._staged = dict(staged)

    def manifest(self, path: str) -> Manifest | None:
        """What stands at `path`: as staged, else as in the base."""
        return self._staged[path] if path in self._staged else super().manifest(path)

    def _all_paths(self) -> tuple[str, ...]:
        kept = {path for path in super()._all_paths() if path not in self._staged}
        return tuple(sorted(kept | {path for path, written in self._staged.items() if written is not None}))

    def _data_ref(self, path: str) -> str:
        return self._working if path in self._staged else super()._data_ref(path)


def _own_cache(settings: LakeFSSettings) -> Path:
    """The cache, made when missing. Raises StorageError when it is another user's, who could have put anything there."""
    folder = settings.cache_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise StorageError(
            location=str(folder),
            action="used as a cache",
            reason="it belongs to another user",
            remedy="Name a folder of your own in LakeFSSettings.cache.",
        )
    return folder


def fetch_folder(parts: Parts, ref: str, path: str, manifest: Manifest, target: Path, *, read_only: bool) -> None:
    """Downloads a folder asset, checks every file's sha256, and puts it in place as a whole.

    Raises:
        StorageError: A file that arrived is not the one that was published.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
    try:
        for name, file in manifest.files.items():
            local = part / name
            parts.objects.download(ref, f"{path}/{name}", local)
            if hash_file(local) != file.sha256:
                raise StorageError(
                    location=parts.settings.location,
                    action="read",
                    reason=f"{path}/{name} at {ref[:12]} is damaged: its sha256 is not the published one",
                    remedy="Run `headwater lake verify`, and restore the object from a copy.",
                )
            if read_only:
                local.chmod(READ_ONLY)
        part.chmod(0o755)
        try:
            os.rename(part, target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
