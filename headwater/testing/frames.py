"""An asset's inputs held in memory, so that a test calls its function with frames of its own."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from headwater.lake import Entry, Kind, Snapshot
from headwater.materialize import UndeclaredInputError
from headwater.provenance import Provenance

Held = pl.DataFrame | pl.LazyFrame | Path


class HeldInputs:
    """In-memory `headwater.product.Inputs`: declared are the given paths and no others.

    Attributes:
        read: Paths that were asked for so far.
    """

    def __init__(
        self,
        held: Mapping[str, Held],
        *,
        landed: Mapping[str, Path] | None = None,
        provenance: Mapping[str, Provenance] | None = None,
        previous: Mapping[str, Snapshot] | None = None,
    ) -> None:
        self._held, self._landed = dict(held), dict(landed or {})
        self._provenance, self._previous = dict(provenance or {}), dict(previous or {})
        self.read: set[str] = set()

    @property
    def commit(self) -> str:
        """A commit id that no lake has."""
        return "0" * 64

    def table(self, path: str) -> pl.LazyFrame:
        """The given frame at `path`."""
        found = self._get(path)
        if isinstance(found, Path):
            raise TypeError(f"{path!r} was given as a folder and is read as a table.")
        return found.lazy()

    def folder(self, path: str) -> Path:
        """The given folder at `path`."""
        found = self._get(path)
        if not isinstance(found, Path):
            raise TypeError(f"{path!r} was given as a table and is read as a folder.")
        return found

    def entry(self, path: str) -> Entry:
        """Kind, row count and schema of what was given; its data version is made up from the path."""
        found = self._get(path)
        if isinstance(found, Path):
            return Entry(path=path, kind=Kind.FOLDER, data_version=f"held:{path}")
        frame = found.lazy().collect()
        schema = {name: str(dtype) for name, dtype in frame.schema.items()}
        return Entry(path=path, kind=Kind.TABLE, data_version=f"held:{path}", rows=frame.height, schema=schema)

    def provenance(self, path: str) -> Provenance:
        """The record given for `path`."""
        self._get(path)
        return self._provenance[path]

    def written_in(self, path: str) -> str:
        """A commit id that no lake has."""
        self._get(path)
        return self.commit

    def landed(self, name: str) -> Path:
        """The landed file given under `name`."""
        if name not in self._landed:
            raise UndeclaredInputError(asset="the function", path=name, declared=tuple(self._landed))
        return self._landed[name]

    def previous(self, path: str, *, commit: str | None = None) -> Snapshot | None:
        """The snapshot given for `path`, None when there was nothing."""
        return self._previous.get(path)

    def _get(self, path: str) -> Held:
        if path not in self._held:
            raise UndeclaredInputError(asset="the function", path=path, declared=tuple(self._held))
        self.read.add(path)
        return self._held[path]


def inputs(held: Mapping[str, Held], *, landed: Mapping[str, Path] | None = None) -> HeldInputs:
    """Inputs that hold the given frames and folders by path; reading any other path is the error it is in a run.

    Args:
        held: Path to frame (tables) or directory (folders).
        landed: Landed file name to file.
    """
    return HeldInputs(held, landed=landed)
