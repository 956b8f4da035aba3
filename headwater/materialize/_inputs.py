"""What an asset's function reads, at one commit, with a record of what it really read."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from headwater.errors import HeadwaterError
from headwater.feeds import Positions
from headwater.lake import Commit, Entry, Lake, Snapshot
from headwater.materialize._file_digests import Stamp, file_sha256, stamp_of
from headwater.names import BY_HAND
from headwater.product import Asset
from headwater.provenance import Pin, Provenance, ProvenanceError


class UndeclaredInputError(HeadwaterError):
    """An asset's function read something it never declared."""

    def __init__(self, *, asset: str, path: str, declared: tuple[str, ...]) -> None:
        self.asset, self.path, self.declared = asset, path, declared
        known = ", ".join(map(repr, declared)) or "nothing"
        super().__init__(
            f"{asset!r} read {path!r}, which it does not declare (it declares {known}). Add it to the asset's inputs, "
            "so that lineage and automation know of it."
        )


class LandedFileMissingError(HeadwaterError):
    """A landing asset was asked for a file that has not arrived."""

    def __init__(self, *, asset: str, file: Path) -> None:
        self.asset, self.file = asset, file
        super().__init__(
            f"{asset!r} needs the landed file {file.name!r} in {file.parent}, and it is not there. Land it with "
            f"`headwater land {asset.split('/', 1)[0]} FILE` or put it there."
        )


class LandedFileChangedError(HeadwaterError):
    """A landed file was replaced or written to while it was being read."""

    def __init__(self, *, asset: str, file: Path) -> None:
        self.asset, self.file = asset, file
        super().__init__(
            f"The landed file {file.name!r} in {file.parent} changed while {asset!r} read it; nothing was published. Run "
            "it again when the file is whole (`headwater land` replaces files at one stroke)."
        )


class NotFedError(HeadwaterError):
    """A feed was asked for by an asset that has none, or where no state folder is."""

    def __init__(self, *, asset: str, declared: bool) -> None:
        self.asset = asset
        remedy = "Run it where the state folder is" if declared else "Declare its feed"
        super().__init__(f"{asset!r} has no feed here. {remedy}.")


class PartitionMissingError(HeadwaterError):
    """A partition was asked for before the same partition of an input was there."""

    def __init__(self, *, asset: str, path: str, partition: str) -> None:
        self.asset, self.path, self.partition = asset, path, partition
        super().__init__(
            f"{asset!r} needs partition {partition!r} of {path!r}, which is not there. Materialize it first."
        )


class RecordingInputs:
    """The one implementation of `headwater.product.Inputs` that runs use.

    Args:
        lake: The lake, for records of commits.
        snapshot: The pinned input commit.
        asset: Whose declaration decides what may be read.
        partition: The partition being built, or None.
        landing: Folder of landed files, or None where nothing lands.
        state: The state folder, below which feeds are, or None where none is.
        started: When the build began (UTC); None is now.
    """

    def __init__(
        self,
        *,
        lake: Lake,
        snapshot: Snapshot,
        asset: Asset,
        partition: str | None = None,
        landing: Path | None = None,
        state: Path | None = None,
        started: datetime | None = None,
    ) -> None:
        self._lake, self._snapshot, self._asset = lake, snapshot, asset
        self._landing, self._partition = landing, partition
        self._state, self._started = state, started or datetime.now(UTC)
        self._landed = tuple(name.format(partition=partition) for name in asset.landed)
        self._read: set[str] = set()
        self._files: dict[str, str] = {}
        self._stamps: dict[str, Stamp | None] = {}
        self._past: dict[str, str] = {}

    @property
    def commit(self) -> str:
        """Id of the input commit."""
        return self._snapshot.commit.id

    def table(self, path: str) -> pl.LazyFrame:
        """The declared input table at `path`: of a table with the same partitions, the partition being built."""
        rows, column = self._snapshot.table(self._declared(path)), self._partition_column(path)
        return rows if column is None else rows.filter(pl.col(column) == self._partition)

    def folder(self, path: str) -> Path:
        """The declared input folder at `path`, read only."""
        return self._snapshot.folder(self._declared(path))

    def entry(self, path: str) -> Entry:
        """Data version, schema, row count of a declared input."""
        return self._snapshot.entry(self._declared(path))

    def provenance(self, path: str) -> Provenance:
        """The record of the build that made a declared input; of what a revert put back, the build before it.

        Raises:
            ProvenanceError: It came from outside Headwater and has no record.
        """
        found = built_by(self._lake, self._snapshot, self._declared(path))
        if found is None:
            commit = self._lake.last_write(self.commit, path)
            raise ProvenanceError(commit=commit.id, reason=f"no build of {path!r} made what stands there")
        return found

    def written_in(self, path: str) -> str:
        """Id of the commit that last wrote a declared input."""
        return self._lake.last_write(self.commit, self._declared(path)).id

    def landed(self, name: str) -> Path:
        """The landed file of a source, by its name in the product's landing folder.

        Raises:
            UndeclaredInputError: The asset does not declare it.
            LandedFileMissingError: It has not arrived.
        """
        if name not in self._landed:
            raise UndeclaredInputError(asset=self._asset.path, path=name, declared=self._landed)
        file = (self._landing or Path()) / self._asset.product / name
        if self._landing is None or not file.is_file():
            raise LandedFileMissingError(asset=self._asset.path, file=file)
        if name not in self._files:
            self._stamps[name] = stamp_of(file)
            self._files[name] = file_sha256(file)
        return file

    def check_landed(self) -> None:
        """Makes sure that each landed file is still the one whose digest was taken before the function read it.

        Raises:
            LandedFileChangedError: One is not.
        """
        for name, stamp in self._stamps.items():
            file = (self._landing or Path()) / self._asset.product / name
            if stamp_of(file) != stamp:
                raise LandedFileChangedError(asset=self._asset.path, file=file)

    def history(self, path: str, *, commit: str | None = None) -> Iterator[Commit]:
        """The commits that wrote `path`, one of those it compares itself with, newest first, up to the input commit (or an older one)."""
        return self._lake.log(self.commit if commit is None else commit, path=self._compared(path))

    def _compared(self, path: str) -> str:
        if path not in self._asset.previous:
            raise UndeclaredInputError(asset=self._asset.path, path=path, declared=self._asset.previous)
        return path

    def previous(self, path: str, *, commit: str | None = None) -> Snapshot | None:
        """The lake as `path` stood at the input commit (or at an older one), None when nothing stood there."""
        self._compared(path)
        snapshot = self._snapshot if commit is None else self._lake.at(commit)
        if not snapshot.has(path):
            return None
        self._past[path] = snapshot.entry(path).data_version
        return snapshot

    @property
    def feed(self) -> Path:
        """The folder in which the records of a fed table arrive. Raises NotFedError."""
        if self._asset.feed is None or self._state is None:
            raise NotFedError(asset=self._asset.path, declared=self._asset.feed is not None)
        return self._state / self._asset.feed.folder

    @property
    def positions(self) -> Positions:
        """Up to where earlier builds took the records of a fed table."""
        from headwater.materialize._append import read_positions

        return read_positions(self._snapshot, self._asset.path)

    @property
    def started(self) -> datetime:
        """When the build began, UTC."""
        return self._started

    def pins(self) -> tuple[Pin, ...]:
        """What was declared, at which data version, and whether it was read."""
        declared = [
            Pin(
                path=path,
                data_version=version_of(self._snapshot.entry(path), self._asset, self._partition),
                read=path in self._read,
            )
            for path in self._asset.inputs
            if self._snapshot.has(path)
        ]
        landed = [Pin(path=name, data_version=sha, role="landed") for name, sha in sorted(self._files.items())]
        past = [Pin(path=path, data_version=version, role="previous") for path, version in sorted(self._past.items())]
        return (*declared, *landed, *past)

    def unread(self) -> tuple[str, ...]:
        """Declared inputs that the function never asked for."""
        return tuple(path for path in self._asset.inputs if path not in self._read)

    def _partition_column(self, path: str) -> str | None:
        entry = self._snapshot.entry(path)
        if self._asset.partitions is None or not entry.partitions:
            return None
        if self._partition not in entry.partitions:
            raise PartitionMissingError(asset=self._asset.path, path=path, partition=str(self._partition))
        return self._asset.partitions.column

    def _declared(self, path: str) -> str:
        if path not in self._asset.inputs:
            raise UndeclaredInputError(asset=self._asset.path, path=path, declared=self._asset.inputs)
        self._read.add(path)
        return path


def version_of(entry: Entry, asset: Asset, partition: str | None) -> str:
    """The data version of an input as an asset reads it: its own partition's where both have partitions."""
    if asset.partitions is not None and partition is not None and entry.partitions:
        return entry.partitions.get(partition, "")
    return entry.data_version


def built_by(lake: Lake, snapshot: Snapshot, path: str) -> Provenance | None:
    """The record of the build that made what stands at `path`, None when no build did.

    A revert or a merge puts there what was built before: its own record says who put it, not how it was made.
    """
    version = snapshot.entry(path).data_version
    for commit in lake.log(snapshot.commit.id, path=path):
        record = commit.provenance
        output = record.output(path) if record else None
        if record is None:
            return None
        if record.action not in BY_HAND and output is not None and output.data_version == version:
            return record
    return None
