"""Plain copies of the lake outside it."""

from collections.abc import Sequence
from pathlib import Path

from headwater.lake import _trees
from headwater.lake._core import Core
from headwater.lake._files import copy
from headwater.lake._history import resolve
from headwater.lake._interface import Commit
from headwater.lake._storage import storage_errors
from headwater.lake.errors import PathNotFoundError, StorageError

_WRITABLE = 0o644


def checkout(core: Core, ref: str, destination: Path, *, paths: Sequence[str] | None) -> Commit:
    """Copies the lake at `ref`, or some of its paths, to an empty or absent directory.

    Raises:
        StorageError: The directory is not empty, or the disk refuses.
        PathNotFoundError: Nothing stands at one of the paths.
    """
    snapshot = core.snapshot(resolve(core.catalog, ref), ref=ref)
    chosen = snapshot.paths() if paths is None else tuple(paths)
    records = {path: snapshot.record(path) for path in chosen}
    with storage_errors(destination, "checked out to"):
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            raise StorageError(
                location=str(destination),
                action="checked out to",
                reason="it is not empty",
                remedy="Name an empty or absent directory.",
            )
        destination.mkdir(parents=True, exist_ok=True)
        for path, record in records.items():
            if record is None:
                raise PathNotFoundError(path=path, ref=ref, known=snapshot.paths())
            for name, content in _trees.contents(core.catalog, record).items():
                target = destination / path / name
                target.parent.mkdir(parents=True, exist_ok=True)
                copy(core.objects.path(content.sha256), target)
                target.chmod(_WRITABLE)
            (destination / path).mkdir(parents=True, exist_ok=True)
    return snapshot.commit
