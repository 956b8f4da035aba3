"""Plain copies of the lake outside it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from headwater.lake._core import Core
from headwater.lake._destination import fill_destination
from headwater.lake._files import copy
from headwater.lake._history import resolve
from headwater.lake._interface import Commit
from headwater.lake._objects import Content
from headwater.lake._records import Record
from headwater.lake.errors import DamagedLakeError, PathNotFoundError

_WRITABLE = 0o644


def checkout(core: Core, ref: str, destination: Path, *, paths: Sequence[str] | None) -> Commit:
    """Copies the lake at `ref`, or some of its paths, to an empty or absent directory.

    Raises:
        StorageError: The directory is not empty, something is removed from it meanwhile, or the disk refuses.
        CollectedCommitError: `gc` removed what stood at the ref, or at one of the paths.
        PathNotFoundError: Nothing stands at one of the paths.
    """
    snapshot = core.snapshot(resolve(core.catalog, ref), ref=ref)
    chosen = snapshot.paths() if paths is None else tuple(dict.fromkeys(paths))
    found = list[tuple[Record, Mapping[str, Content]]]()
    for path in chosen:
        record = snapshot.record(path)
        if record is None:
            raise PathNotFoundError(path=path, ref=ref, known=snapshot.paths())
        found.append((record, snapshot.contents(record)))

    def write(folder: Path) -> Iterator[str]:
        for record, files in found:
            with snapshot.reading(record):
                _copy(core, files, folder / record.entry.path)
            yield from (f"{record.entry.path}/{name}" for name in files)

    fill_destination(destination, write)
    return snapshot.commit


def _copy(core: Core, files: Mapping[str, Content], folder: Path) -> None:
    """A path's files. Raises DamagedLakeError when a content is not there, FileNotFoundError when the folder went."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = core.objects.path(content.sha256)
        try:
            copy(source, target)
        except FileNotFoundError:
            if source.exists():
                raise
            raise DamagedLakeError(what="object", name=content.sha256) from None
        target.chmod(_WRITABLE)
