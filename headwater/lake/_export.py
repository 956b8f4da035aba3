"""Plain copies of the lake outside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from headwater.lake._core import Core
from headwater.lake._files import copy
from headwater.lake._history import resolve
from headwater.lake._interface import Commit
from headwater.lake._objects import Content
from headwater.lake._storage import storage_errors
from headwater.lake.errors import PathNotFoundError, StorageError

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
    contents = dict[str, Mapping[str, Content]]()
    for path in chosen:
        record = snapshot.record(path)
        if record is None:
            raise PathNotFoundError(path=path, ref=ref, known=snapshot.paths())
        contents[path] = snapshot.contents(record)
    with storage_errors(destination, "checked out to"):
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            raise StorageError(
                location=str(destination),
                action="checked out to",
                reason="it is not empty",
                remedy="Name an empty or absent directory.",
            )
        destination.mkdir(parents=True, exist_ok=True)
        for path, files in contents.items():
            for name, content in files.items():
                target = destination / path / name
                target.parent.mkdir(parents=True, exist_ok=True)
                copy(core.objects.path(content.sha256), target)
                target.chmod(_WRITABLE)
            (destination / path).mkdir(parents=True, exist_ok=True)
    return snapshot.commit
