"""The data version: a digest of logical content. Same rows, same version, however they are stored.

**Tables.** Every row is hashed to four 64-bit lanes by a function of our own (`_digest_hash`, specified there, pinned by
golden vectors), every lane is summed modulo 2^64 over the rows, and SHA-256 over format, canonical schema, row count and
lanes is the data version. Sums make it independent of row order, chunks, files and partitions, and additive: the digest
of a table is the sum of those of its parts. Duplicated rows count. A changed cell, dtype, column name or column order
changes it; null, NaN, zero and the empty string differ; -0.0 is 0.0; every NaN is one NaN. Dtypes that Delta reads back
as another (`_digest_schema` has the table) digest as what is read back.

**Folders.** SHA-256 over the sorted relative names and the SHA-256 of each file's content. Empty directories don't count.

What it is not: a table's digest is no signature. The row hash has no key and is not cryptographic, so somebody who sets
out to can build another table with the same digest. Two tables that nobody made to collide do so with a
chance of about 2^-128; evidence of tampering is the SHA-256 of the lake's objects.
"""

import fnmatch
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa

from headwater.lake._digest_cells import cells
from headwater.lake._digest_hash import LANES, Pair
from headwater.lake._digest_schema import UndigestibleError, canonical_schema
from headwater.lake.errors import LakeError

__all__ = [
    "DigestMismatchError",
    "IdentityError",
    "TableDigest",
    "UndigestibleError",
    "canonical_schema",
    "digest_batches",
    "digest_folder",
    "digest_frame",
    "merkle",
    "select_identity",
]

_TABLE_FORMAT: Final = "headwater/data-version/table/1"
_FOLDER_FORMAT: Final = "headwater/data-version/folder/1"
_FRAME_ROWS: Final = 1 << 17
_BLOCK_ROWS: Final = 1 << 14
_LANE_MASK: Final = (1 << 64) - 1


class DigestMismatchError(LakeError):
    """Digests of different schemas were added."""

    def __init__(self, *, left: Mapping[str, str], right: Mapping[str, str]) -> None:
        self.left, self.right = left, right
        differ = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
        what = f"they differ in {', '.join(map(repr, differ))}" if differ else "their columns are in another order"
        super().__init__(
            f"Digests of two schemas cannot be added: {what}. Give both parts the same columns, dtypes and order."
        )


class IdentityError(LakeError):
    """The names that should make a folder's data version match no file."""

    def __init__(self, *, identity: Sequence[str], names: Sequence[str]) -> None:
        self.identity = tuple(identity)
        shown = ", ".join(map(repr, names[:5])) or "none"
        super().__init__(f"No file matches {list(identity)}; the files are {shown}. Name at least one that is there.")


@dataclass(frozen=True, kw_only=True, eq=False)
class TableDigest:
    """The digest of some rows: a state that adds up.

    Attributes:
        schema: Column names to canonical dtype names, in order.
        rows: Number of rows.
        lanes: Sum of each lane of the row hash over the rows, modulo 2^64.
    """

    schema: Mapping[str, str]
    rows: int
    lanes: tuple[int, ...] = field(default=(0,) * LANES)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", dict(self.schema))
        if self.rows < 0 or len(self.lanes) != LANES or not all(0 <= lane <= _LANE_MASK for lane in self.lanes):
            raise ValueError(f"No rows sum up to {self.rows} rows and lanes {self.lanes}.")

    @classmethod
    def empty(cls, schema: Mapping[str, str]) -> "TableDigest":
        """The digest of no rows of a canonical schema."""
        return cls(schema=schema, rows=0)

    @cached_property
    def hex(self) -> str:
        """The data version: 64 hexadecimal digits."""
        return hashlib.sha256(_json({"format": _TABLE_FORMAT, **self.to_json()})).hexdigest()

    def __add__(self, other: "TableDigest") -> "TableDigest":
        """The digest of the rows of both, duplicates counted.

        Raises:
            DigestMismatchError: Their schemas differ.
        """
        _check_same(self.schema, other.schema)
        return self._plus(other.rows, other.lanes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TableDigest) and self.hex == other.hex

    def __hash__(self) -> int:
        return hash(self.hex)

    def _plus(self, rows: int, lanes: Iterable[int]) -> "TableDigest":
        sums = tuple((a + b) & _LANE_MASK for a, b in zip(self.lanes, lanes, strict=True))
        return TableDigest(schema=self.schema, rows=self.rows + rows, lanes=sums)

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back. Columns are a list of pairs, so that sorted keys keep their order."""
        return {
            "schema": [list(column) for column in self.schema.items()],
            "rows": self.rows,
            "lanes": [f"{lane:016x}" for lane in self.lanes],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "TableDigest":
        """The digest that `to_json` wrote."""
        return cls(schema=dict(raw["schema"]), rows=raw["rows"], lanes=tuple(int(lane, 16) for lane in raw["lanes"]))


def digest_frame(frame: pl.DataFrame) -> TableDigest:
    """The digest of a frame's rows.

    Args:
        frame: Any frame whose dtypes `_digest_schema` lists. Never copied as a whole.

    Raises:
        UndigestibleError: A dtype or a value has no canonical form; the message names the column.
    """
    digest = TableDigest.empty(canonical_schema(frame.schema))
    for part in frame.iter_slices(_FRAME_ROWS):
        arrow = part.to_arrow(compat_level=pl.CompatLevel.oldest())
        digest = _add_batches(digest, arrow.to_batches() if part.width else [])
        if not part.width:
            digest = _add_block(digest, [], part.height)
    return digest


def digest_batches(batches: Iterable[pa.RecordBatch | pa.Table], schema: pa.Schema) -> TableDigest:
    """The digest of the rows of Arrow batches.

    Args:
        batches: Record batches or tables of one schema, consumed once.
        schema: Their schema, which an empty stream needs too.

    Raises:
        UndigestibleError: A dtype or a value has no canonical form.
        DigestMismatchError: A batch has another canonical schema.
    """
    digest = TableDigest.empty(canonical_schema(schema))
    for batch in batches:
        _check_same(digest.schema, canonical_schema(batch.schema))
        digest = _add_batches(digest, batch.to_batches() if isinstance(batch, pa.Table) else [batch])
    return digest


def _check_same(left: Mapping[str, str], right: Mapping[str, str]) -> None:
    if list(left.items()) != list(right.items()):
        raise DigestMismatchError(left=left, right=right)


def _add_batches(digest: TableDigest, batches: Iterable[pa.RecordBatch]) -> TableDigest:
    for batch in batches:
        for start in range(0, batch.num_rows, _BLOCK_ROWS):
            block = batch.slice(start, _BLOCK_ROWS)
            digest = _add_block(digest, block.columns, block.num_rows)
    return digest


def _add_block(digest: TableDigest, columns: Sequence[pa.Array], rows: int) -> TableDigest:
    state = Pair(rows)
    for position, (name, array) in enumerate(zip(digest.schema, columns, strict=True)):
        state.absorb(*cells(array, column=name), position)
    return digest._plus(rows, state.lanes())


def merkle(digests: Mapping[str, str]) -> str:
    """The digest of named contents: 64 hexadecimal digits, whatever the order of the mapping.

    Args:
        digests: Relative name, with `/`, to the SHA-256 of its content in hexadecimal.
    """
    leaves = sorted(digests.items(), key=lambda leaf: leaf[0].encode())
    return hashlib.sha256(_json({"format": _FOLDER_FORMAT, "files": [list(leaf) for leaf in leaves]})).hexdigest()


def select_identity(names: Iterable[str], identity: Sequence[str] | None) -> tuple[str, ...]:
    """The names whose contents make a folder's data version, sorted.

    Args:
        names: Relative names of all files, with `/`.
        identity: Names or globs (`*` matches `/` too, letter case counts); None selects every file.

    Raises:
        IdentityError: They match nothing although there are files.
    """
    every = sorted(names)
    if identity is None:
        return tuple(every)
    chosen = tuple(name for name in every if any(fnmatch.fnmatchcase(name, pattern) for pattern in identity))
    if every and not chosen:
        raise IdentityError(identity=identity, names=every)
    return chosen


def digest_folder(folder: Path, identity: Sequence[str] | None = None) -> str:
    """The data version of the files below a directory: names and contents, nothing else.

    Args:
        folder: Local directory.
        identity: Names or globs that count (see `select_identity`); None means every file.

    Raises:
        IdentityError: `identity` matches no file.
        NotADirectoryError: `folder` is none.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a directory, so it has no data version.")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return merkle({name: _sha256(folder / name) for name in select_identity(names, identity)})


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
