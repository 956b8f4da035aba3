"""Writing to a transaction's branch: a table by delta-rs through the gateway, a folder file by file."""

import os
import re
import secrets
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from headwater.lake._digest import digest_folder
from headwater.lake._files import hash_file, walk
from headwater.lake._interface import Entry, Kind, TableData, WriteMode
from headwater.lake._records import Record
from headwater.lake._tables import LOG_FOLDER, open_delta, read_table, write_table
from headwater.lake.errors import FolderWriteError
from headwater.lake.lakefs._manifest import FolderFile, Manifest, key_of
from headwater.lake.lakefs._snapshot import Parts

_LOG_NAME: Final = re.compile(rf"^{LOG_FOLDER}/(\d{{20}}\..*|_sidecars/.*)$")

CHECKPOINT_EVERY: Final = 10
"""Delta versions between two checkpoints."""


class Stager:
    """Writes to one branch.

    Args:
        parts: The lake.
        branch: A branch of our own.
        transaction: Id that Delta commits and entries carry.
    """

    def __init__(self, parts: Parts, *, branch: str, transaction: str) -> None:
        """Starts with nothing written."""
        self._parts = parts
        self._branch = branch
        self.transaction = transaction
        self._live: dict[str, frozenset[str]] = {}
        self.attempt = secrets.token_hex(8)

    def table(
        self,
        path: str,
        data: TableData,
        *,
        mode: WriteMode,
        partition: tuple[str, str] | None,
        before: Manifest | None,
    ) -> Manifest:
        """Writes rows over `before` as one Delta commit. Raises TableWriteError."""
        with self._parts.server.call.tables(f"write {path}"):
            record = before.record if before is not None else None
            if record is not None and (mode is WriteMode.APPEND or partition is not None):
                record = self._present(path, record)
            after = write_table(
                self._parts.table(self._branch, path),
                path=path,
                data=data,
                mode=mode,
                partition=partition,
                before=record,
                transaction=self.transaction,
            )
            self._checkpoint(path, after.record)
        self._live[path] = frozenset(after.live)
        return Manifest(record=after.record, attempt=self.attempt)

    def _present(self, path: str, record: Record) -> Record:
        """The record of what really stands there: read anew when others wrote to the table after it was published."""
        following = f"{path}/{LOG_FOLDER}/{(record.entry.delta_version or 0) + 1:020d}.json"
        if not self._parts.objects.has(self._branch, following):
            return record
        return read_table(self._parts.table(self._branch, path), path=path).record

    def _checkpoint(self, path: str, record: Record) -> None:
        """Sums up the Delta log now and then: each entry costs every reader a request or two."""
        version = record.entry.delta_version
        if version and version % CHECKPOINT_EVERY == 0:
            open_delta(self._parts.table(self._branch, path), path=path).create_checkpoint()

    def keep(self, path: str, live: Mapping[str, int]) -> None:
        """Says which data files of a table live, for `finish`."""
        self._live[path] = frozenset(live)

    def folder(self, path: str, source: Path, *, identity: Sequence[str] | None) -> Manifest:
        """Stores every file below `source`, and only those. Raises FolderWriteError."""
        if not source.is_dir() or source.is_symlink():
            raise FolderWriteError(path=path, reason=f"{source} is not a directory. Give one.")
        files: dict[str, FolderFile] = {}
        for name, entry in walk(source):
            _check_plain(path, name, entry)
            files[name] = FolderFile(sha256=hash_file(Path(entry.path)), size=entry.stat().st_size)
        version = digest_folder(source, identity=identity)
        for name in files:
            self._parts.objects.upload(self._branch, f"{path}/{name}", source / name)
        self._drop(path, keep=frozenset(files))
        entry_ = Entry(
            path=path,
            kind=Kind.FOLDER,
            data_version=version,
            bytes=sum(file.size for file in files.values()),
            files=len(files),
            transaction=self.transaction,
        )
        record = Record(entry=entry_, identity=tuple(identity) if identity is not None else None)
        return Manifest(record=record, files=files, attempt=self.attempt)

    def remove(self, path: str) -> None:
        """Removes everything at a path."""
        self._live.pop(path, None)
        self._drop(path, keep=frozenset())

    def finish(self, path: str, manifest: Manifest | None) -> None:
        """Completes a path before the commit: files that no reader needs go, the manifest comes."""
        if manifest is None:
            self._parts.objects.delete(self._branch, [key_of(path)])
            return
        if manifest.kind is Kind.TABLE and path in self._live:
            self._drop(path, keep=self._live[path], logs=True)
        self._parts.objects.put(self._branch, key_of(path), manifest.to_bytes())

    def _drop(self, path: str, *, keep: frozenset[str], logs: bool = False) -> None:
        prefix = f"{path}/"
        names = [item.path.removeprefix(prefix) for item in self._parts.server.list(self._branch, prefix)]
        dead = [name for name in names if name not in keep and not (logs and _LOG_NAME.fullmatch(name))]
        self._parts.objects.delete(self._branch, [prefix + name for name in dead])


def _check_plain(path: str, name: str, entry: os.DirEntry[str]) -> None:
    if entry.is_symlink():
        raise FolderWriteError(path=path, reason=f"{name!r} is a symbolic link. Put the file itself there.")
    if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
        raise FolderWriteError(path=path, reason=f"{name!r} is not a regular file. Take it out.")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise FolderWriteError(path=path, reason=f"the file name {name!r} is not UTF-8. Rename it.") from None
