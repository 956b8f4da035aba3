"""Plain copies of the lake outside it."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from headwater.lake._core import Core
from headwater.lake._files import copy
from headwater.lake._history import resolve
from headwater.lake._interface import Commit
from headwater.lake._objects import Content
from headwater.lake._records import Record
from headwater.lake._storage import storage_errors
from headwater.lake.errors import DamagedLakeError, LakeError, PathNotFoundError, StorageError

_WRITABLE = 0o644


def checkout(core: Core, ref: str, destination: Path, *, paths: Sequence[str] | None) -> Commit:
    """Copies the lake at `ref`, or some of its paths, to an empty or absent directory.

    Raises:
        StorageError: The directory is not empty, or the disk refuses.
        CollectedCommitError: `gc` removed what stood at the ref, or at one of the paths.
        PathNotFoundError: Nothing stands at one of the paths.
    """
    snapshot = core.snapshot(resolve(core.catalog, ref), ref=ref)
    chosen = snapshot.paths() if paths is None else tuple(paths)
    found = list[tuple[Record, Mapping[str, Content]]]()
    for path in chosen:
        record = snapshot.record(path)
        if record is None:
            raise PathNotFoundError(path=path, ref=ref, known=snapshot.paths())
        found.append((record, snapshot.contents(record)))
    with storage_errors(destination, "checked out to"):
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            raise StorageError(
                location=str(destination),
                action="checked out to",
                reason="it is not empty",
                remedy="Name an empty or absent directory.",
            )
        destination.mkdir(parents=True, exist_ok=True)
        try:
            for record, files in found:
                with snapshot.reading(record):
                    _copy(core, files, destination / record.entry.path)
        except LakeError:
            for made in destination.iterdir():  # which was empty: a half of a commit looks like one
                shutil.rmtree(made)
            raise
    return snapshot.commit


def _copy(core: Core, files: Mapping[str, Content], folder: Path) -> None:
    """A path's files. Raises DamagedLakeError when a content is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            copy(core.objects.path(content.sha256), target)
        except FileNotFoundError:
            raise DamagedLakeError(what="object", name=content.sha256) from None
        target.chmod(_WRITABLE)
