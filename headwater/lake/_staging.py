"""Writing to a transaction's working copies: a table by delta-rs, a folder by copying."""

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from headwater.lake import _trees
from headwater.lake._catalog import NodeBuffer
from headwater.lake._core import Core, Side, Staged
from headwater.lake._digest import merkle, select_identity
from headwater.lake._files import copy, hash_file, walk
from headwater.lake._interface import Entry, Kind, TableData, WriteMode
from headwater.lake._layout import Workspace
from headwater.lake._objects import Content, NewFile
from headwater.lake._records import Record
from headwater.lake._steps import Step, reached
from headwater.lake._tables import LOG_FOLDER, Written, local, write_table
from headwater.lake.errors import FolderWriteError

_LOG_NAME: Final = re.compile(rf"^{LOG_FOLDER}/(?:(\d{{20}})\.[^#]*|_last_checkpoint|_sidecars/[^#]*)$")
_CHECKPOINT: Final = re.compile(rf"^{LOG_FOLDER}/(\d{{20}})\.checkpoint\.")


class Stager:
    """Writes to working copies in one workspace.

    Args:
        core: The lake.
        buffer: Where new nodes go.
        space: Where working copies lie.
    """

    def __init__(self, core: Core, buffer: NodeBuffer, space: Workspace) -> None:
        """Remembers the parts."""
        self._core = core
        self._buffer = buffer
        self._space = space

    def table(
        self,
        path: str,
        data: TableData,
        *,
        mode: WriteMode,
        partition: tuple[str, str] | None,
        before: Side,
        transaction: str,
    ) -> Staged:
        """Writes rows over `before`; a failed write leaves `before` as it was. Raises TableWriteError."""
        record = before.record if isinstance(before, Staged) else before
        old = self.contents(before)
        folder = before.folder if isinstance(before, Staged) else self.working_copy(logs(old))
        known = inodes(folder)
        reached(Step.PREPARED)
        after = write_table(
            local(folder),
            path=path,
            data=data,
            mode=mode,
            partition=partition,
            before=record,
            transaction=transaction,
        )
        reached(Step.WRITTEN)
        return self.seal(folder, after, before=before, old=old, known=known)

    def contents(self, side: Side) -> Mapping[str, Content]:
        """The files of a path's state."""
        if isinstance(side, Staged):
            return side.contents
        return _trees.contents(self._buffer, side) if side is not None else {}

    def working_copy(self, contents: Mapping[str, Content]) -> Path:
        """A new working copy with some files of a table. Its log is enough: no write of ours reads the data files."""
        folder = self._space.fresh()
        self._core.objects.fill(folder, contents, share=True)
        return folder

    def seal(
        self,
        folder: Path,
        after: Written,
        *,
        before: Side,
        old: Mapping[str, Content],
        known: Mapping[str, int],
    ) -> Staged:
        """Completes a working copy after a Delta commit: dead files go, live ones of before are linked, new ones hashed.

        Args:
            folder: The working copy.
            after: What was written.
            before: What stood at the path.
            old: Contents that files of before, or of another side, have.
            known: Inodes of the files that were there before the Delta commit.
        """
        contents: dict[str, Content] = {}
        new = {file.file: file for file in before.new} if isinstance(before, Staged) else {}
        found = dict(walk(folder))
        oldest = _horizon(found)
        for name, entry in found.items():
            file = Path(entry.path)
            if name not in after.live and not _keeps_log(name, oldest):
                file.unlink()
                new.pop(file, None)
            elif known.get(name) == entry.inode() and name in old:
                contents[name] = old[name]
            else:
                contents[name] = Content(hash_file(file), entry.stat().st_size)
                new[file] = NewFile(file, contents[name], True)
        missing = {name: old[name] for name in after.live if name not in contents}
        self._core.objects.fill(folder, missing, share=True)
        contents |= missing
        base = before if isinstance(before, Record) else None
        files = _trees.put_contents(self._buffer, base, contents)
        reached(Step.STAGED)
        return Staged(record=after.record.with_files(files), folder=folder, contents=contents, new=tuple(new.values()))

    def folder(self, path: str, source: Path, *, identity: Sequence[str] | None, transaction: str) -> Staged:
        """Copies every file below `source`. Raises FolderWriteError."""
        if not source.is_dir() or source.is_symlink():
            raise FolderWriteError(path=path, reason=f"{source} is not a directory. Give one.")
        folder = self._space.fresh()
        folder.mkdir()
        reached(Step.PREPARED)
        contents: dict[str, Content] = {}
        new = []
        for name, entry in walk(source):
            _check_plain(path, name, entry)
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy(Path(entry.path), target)
            contents[name] = Content(hash_file(target), target.stat().st_size)
            new.append(NewFile(target, contents[name], False))
        reached(Step.WRITTEN)
        record = Record(
            entry=Entry(
                path=path,
                kind=Kind.FOLDER,
                data_version=merkle({name: contents[name].sha256 for name in select_identity(contents, identity)}),
                bytes=sum(content.size for content in contents.values()),
                files=len(contents),
                transaction=transaction,
            ),
            identity=tuple(identity) if identity is not None else None,
        )
        files = _trees.put_contents(self._buffer, None, contents)
        reached(Step.STAGED)
        return Staged(record=record.with_files(files), folder=folder, contents=contents, new=tuple(new))


def _horizon(names: Iterable[str]) -> str:
    """The second newest checkpoint: what the log says before it is of no use, because older versions are older commits.

    The newest alone would do for readers; a merge also looks at the entries since its base.
    """
    checkpoints = sorted({match[1] for name in names if (match := _CHECKPOINT.match(name))})
    return checkpoints[-2] if len(checkpoints) > 1 else ""


def _keeps_log(name: str, oldest: str) -> bool:
    match = _LOG_NAME.fullmatch(name)
    return match is not None and (match[1] is None or match[1] >= oldest)


def logs(contents: Mapping[str, Content]) -> dict[str, Content]:
    """The files of a table's Delta log."""
    return {name: content for name, content in contents.items() if name.startswith(f"{LOG_FOLDER}/")}


def inodes(folder: Path) -> dict[str, int]:
    """Inode of every file below a folder, by relative name: a file replaced under its name gets another."""
    return {name: entry.inode() for name, entry in walk(folder)}


def _check_plain(path: str, name: str, entry: os.DirEntry[str]) -> None:
    if entry.is_symlink():
        raise FolderWriteError(path=path, reason=f"{name!r} is a symbolic link. Put the file itself there.")
    if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
        raise FolderWriteError(path=path, reason=f"{name!r} is not a regular file. Take it out.")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise FolderWriteError(path=path, reason=f"the file name {name!r} is not UTF-8. Rename it.") from None
