"""Inputs and audits held in memory, so that a test calls an asset's function and its checks with frames of its own."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
from deltalake import DeltaTable

from headwater.errors import HeadwaterError
from headwater.lake import Commit, Entry, Kind, Snapshot
from headwater.materialize import UndeclaredInputError
from headwater.product import Asset, Audit, Verdict
from headwater.provenance import Provenance

Held = pl.DataFrame | pl.LazyFrame | Path
NO_COMMIT: Final = "0" * 64
"""A commit id that no lake has."""


class NotHeldError(HeadwaterError):
    """A test asked for what it did not put there."""

    def __init__(self, *, path: str, wanted: str) -> None:
        self.path, self.wanted = path, wanted
        super().__init__(f"{path!r} is not held as a {wanted}. Give it to the test's inputs in that form.")


class HeldSnapshot:
    """In-memory `headwater.lake.Snapshot` of frames and directories.

    Args:
        held: Path to frame (tables) or directory (folders).
    """

    def __init__(self, held: Mapping[str, Held]) -> None:
        self._held = dict(held)

    @property
    def commit(self) -> Commit:
        """A commit that no lake has."""
        return Commit(id=NO_COMMIT, parents=(), message="held in memory", created=datetime(2013, 1, 1, tzinfo=UTC))

    def paths(self, prefix: str = "") -> tuple[str, ...]:
        """Held paths below `prefix`, sorted."""
        return tuple(sorted(path for path in self._held if path.startswith(prefix)))

    def has(self, path: str) -> bool:
        """Whether something is held at `path`."""
        return path in self._held

    def table(self, path: str) -> pl.LazyFrame:
        """The frame at `path`. Raises NotHeldError."""
        found = self._held.get(path)
        if found is None or isinstance(found, Path):
            raise NotHeldError(path=path, wanted="table")
        return found.lazy()

    def folder(self, path: str) -> Path:
        """The directory at `path`. Raises NotHeldError."""
        found = self._held.get(path)
        if not isinstance(found, Path):
            raise NotHeldError(path=path, wanted="folder")
        return found

    def entry(self, path: str) -> Entry:
        """Kind, row count and schema of what is held; its data version is made up from the path."""
        version = f"held:{path}"
        if isinstance(self._held.get(path), Path):
            return Entry(path=path, kind=Kind.FOLDER, data_version=version)
        frame = self.table(path).collect()
        schema = {name: str(dtype) for name, dtype in frame.schema.items()}
        return Entry(path=path, kind=Kind.TABLE, data_version=version, rows=frame.height, schema=schema)

    def delta(self, path: str) -> DeltaTable:
        """Always NotHeldError: there is no Delta table in memory."""
        raise NotHeldError(path=path, wanted="Delta table")

    def uri(self, path: str) -> str:
        """A made-up URI."""
        return f"held:{path}"


class HeldInputs:
    """In-memory `headwater.product.Inputs`: declared are the held paths and no others.

    Args:
        held: Path to frame (tables) or directory (folders).
        landed: Landed file name to file.
        provenance: Path to the record of the commit that wrote it.
        previous: Path to the snapshot of its own past.
        started: When the build began; None takes now.
    """

    def __init__(
        self,
        held: Mapping[str, Held],
        *,
        landed: Mapping[str, Path] | None = None,
        provenance: Mapping[str, Provenance] | None = None,
        previous: Mapping[str, Snapshot] | None = None,
        started: datetime | None = None,
    ) -> None:
        self._started = datetime.now(UTC) if started is None else started
        self._snapshot, self._landed = HeldSnapshot(held), dict(landed or {})
        self._provenance, self._previous = dict(provenance or {}), dict(previous or {})
        self.read: set[str] = set()

    @property
    def commit(self) -> str:
        """A commit id that no lake has."""
        return NO_COMMIT

    def table(self, path: str) -> pl.LazyFrame:
        """The frame at `path`."""
        return self._snapshot.table(self._declared(path))

    def folder(self, path: str) -> Path:
        """The directory at `path`."""
        return self._snapshot.folder(self._declared(path))

    def entry(self, path: str) -> Entry:
        """Kind, row count and schema of what is held."""
        return self._snapshot.entry(self._declared(path))

    def provenance(self, path: str) -> Provenance:
        """The record given for `path`."""
        if self._declared(path) not in self._provenance:
            raise NotHeldError(path=path, wanted="path with a provenance")
        return self._provenance[path]

    def written_in(self, path: str) -> str:
        """A commit id that no lake has."""
        self._declared(path)
        return NO_COMMIT

    def landed(self, name: str) -> Path:
        """The landed file given under `name`."""
        if name not in self._landed:
            raise UndeclaredInputError(asset="the function", path=name, declared=tuple(self._landed))
        return self._landed[name]

    def previous(self, path: str, *, commit: str | None = None) -> Snapshot | None:
        """The snapshot given for `path`, None when there was nothing."""
        return self._previous.get(path)

    def history(self, path: str, *, commit: str | None = None) -> Iterator[Commit]:
        """Nothing: no commit wrote what is in memory."""
        return iter(())

    @property
    def started(self) -> datetime:
        """When the build began, UTC."""
        return self._started

    def _declared(self, path: str) -> str:
        if not self._snapshot.has(path):
            raise UndeclaredInputError(asset="the function", path=path, declared=self._snapshot.paths())
        self.read.add(path)
        return path


def inputs(held: Mapping[str, Held], *, landed: Mapping[str, Path] | None = None) -> HeldInputs:
    """Inputs that hold the given frames and folders by path; reading any other path is the error it is in a run.

    Args:
        held: Path to frame (tables) or directory (folders).
        landed: Landed file name to file.
    """
    return HeldInputs(held, landed=landed)


def audit_of(
    asset: Asset,
    rows: pl.DataFrame | pl.LazyFrame,
    *,
    partition: str | None = None,
    base: Mapping[str, Held] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Audit:
    """What the asset's checks see when its function wrote `rows`.

    Args:
        asset: The declaration.
        rows: What its function returned.
        partition: The partition written, for partitioned assets.
        base: The lake before: path to frame or directory.
        facts: What the function reported.
    """
    column = asset.partitions.column if asset.partitions else None
    staged = rows.lazy()
    if column is not None and partition is not None:
        staged = staged.with_columns(pl.lit(partition).alias(column))
    return Audit(
        path=asset.path,
        partition=partition,
        staged=HeldSnapshot({asset.path: staged}),
        base=HeldSnapshot(base or {}),
        facts=facts or {},
        partition_column=column,
    )


def verdicts(asset: Asset, audit: Audit) -> dict[str, Verdict]:
    """The verdict of each of the asset's checks, by name."""
    return {check.name: check.judge(audit) for check in asset.checks}
