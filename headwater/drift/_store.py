"""Keeps a profile in one Parquet file that any tool opens: one row group a column, read back one column at a time."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.drift._columns import CATEGORY, ROWS, ValueKind
from headwater.drift._distribution import CategoricalProfile, ColumnProfile, NumericProfile
from headwater.drift.errors import ProfileFormatError
from headwater.drift.profile import ReferenceProfile

FORMAT_VERSION: Final = 1
_METADATA_KEY: Final = b"headwater.profile"
_SCHEMA: Final = pa.schema(
    [
        pa.field("column", pa.string(), nullable=False),
        pa.field("integer", pa.int64()),
        pa.field("single", pa.float32()),
        pa.field("double", pa.float64()),
        pa.field("category", pa.string()),
        pa.field("rows", pa.int64(), nullable=False),
    ]
)
# Sorted numbers share their leading bytes: split by byte they are a third smaller and read twice as fast.
_SPLIT: Final = ("integer", "single", "double")
_ENCODING: Final[dict[str, Any]] = {
    "compression": "zstd",
    "write_statistics": False,
    "write_page_checksum": True,
    "use_dictionary": ["column", "category", "rows"],
    "column_encoding": dict.fromkeys(_SPLIT, "BYTE_STREAM_SPLIT"),
}
_FIELD_OF: Final = {
    ValueKind.INTEGER: "integer", ValueKind.INSTANT: "integer", ValueKind.DURATION: "integer",
    ValueKind.SINGLE: "single", ValueKind.DOUBLE: "double", ValueKind.NOTHING: "double", ValueKind.CATEGORY: "category",
}  # fmt: skip


def write_profile(profile: ReferenceProfile, file: Path) -> None:
    """Writes a profile as one Parquet file; the same profile gives the same bytes.

    Args:
        profile: What to keep.
        file: Where; replaced at once when it exists. Its folder must exist.
    """
    columns = []
    for name, column in profile.columns.items():
        facts: dict[str, Any] = {"name": name, "kind": column.kind.value, "nulls": column.nulls}
        if isinstance(column, NumericProfile):
            facts |= {"nans": column.nans, "misplaced": column.misplaced, "counted": column.counts is not None}
        columns.append(facts)
    described = {"version": FORMAT_VERSION, "rows": profile.rows, "columns": columns}
    metadata = {_METADATA_KEY: json.dumps(described, sort_keys=True).encode()}
    # The profile may be read lazily from the very file it replaces, and a reader must never see half a file.
    partial = file.with_name(file.name + ".partial")
    with pq.ParquetWriter(partial, _SCHEMA.with_metadata(metadata), **_ENCODING) as writer:
        for name, column in profile.columns.items():
            entries = _entries(name, column)
            writer.write_table(entries, row_group_size=max(entries.num_rows, 1))
    os.replace(partial, file)


def read_profile(file: Path) -> ReferenceProfile:
    """The profile in a file. A column's values are read when asked for and not kept, so memory stays small.

    Raises:
        ProfileFormatError: The file is no profile, is damaged, or was written by a newer Headwater.
        FileNotFoundError: There is no such file.
    """
    stored = _StoredColumns(file)
    return ReferenceProfile(rows=stored.rows, columns=stored)


class _StoredColumns(Mapping[str, ColumnProfile]):
    """Column profiles in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            with pq.ParquetFile(file) as opened:
                metadata = opened.schema_arrow.metadata or {}
                # Parsed once: a file of 50 columns takes longer to say where they are than to give one.
                self._footer = opened.metadata
            described = json.loads(metadata[_METADATA_KEY])
            version, self.rows = int(described["version"]), int(described["rows"])
            self._facts = {facts["name"]: (number, facts) for number, facts in enumerate(described["columns"])}
        except KeyError as error:
            raise ProfileFormatError(location=str(file), reason="it carries no profile metadata") from error
        except (pa.ArrowInvalid, ValueError, TypeError) as error:
            raise ProfileFormatError(location=str(file), reason=f"it cannot be read ({error})") from error
        if version > FORMAT_VERSION:
            reason = f"it has version {version}, this Headwater reads up to {FORMAT_VERSION}"
            raise ProfileFormatError(location=str(file), reason=reason)
        if (groups := self._footer.num_row_groups) != len(self._facts):
            raise ProfileFormatError(location=str(file), reason=f"it has {groups} of {len(self._facts)} columns")

    def __getitem__(self, name: str) -> ColumnProfile:
        number, facts = self._facts[name]
        kind = ValueKind(facts["kind"])
        try:
            with pq.ParquetFile(self._file, metadata=self._footer, page_checksum_verification=True) as opened:
                wanted = [_FIELD_OF[kind], *(["rows"] if facts.get("counted", True) else [])]
                entries = opened.read_row_group(number, columns=wanted, use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise ProfileFormatError(
                location=str(self._file), reason=f"column '{name}' is damaged ({error})"
            ) from error
        # Arrow's own `to_numpy` imports pandas; Polars' does not.
        values, *rows = (pl.Series(entries.column(name).combine_chunks()) for name in wanted)
        if kind is ValueKind.CATEGORY:
            return CategoricalProfile(counts=pl.DataFrame({CATEGORY: values, ROWS: rows[0]}), nulls=facts["nulls"])
        return NumericProfile(
            kind=kind,
            values=values.to_numpy(),
            counts=rows[0].to_numpy() if rows else None,
            nulls=facts["nulls"],
            nans=facts["nans"],
            misplaced=facts["misplaced"],
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)


def _entries(name: str, column: ColumnProfile) -> pa.Table:
    if isinstance(column, CategoricalProfile):
        values, rows = column.counts.get_column(CATEGORY), column.counts.get_column(ROWS)
    else:
        values = pl.Series(column.values)
        rows = (
            pl.repeat(1, len(values), dtype=pl.Int64, eager=True) if column.counts is None else pl.Series(column.counts)
        )
    names = pl.repeat(name, len(values), dtype=pl.String, eager=True)
    filled = {"column": names, _FIELD_OF[column.kind]: values, "rows": rows}
    arrays = [
        filled[field.name].to_arrow().cast(field.type) if field.name in filled else pa.nulls(len(values), field.type)
        for field in _SCHEMA
    ]
    return pa.table(arrays, schema=_SCHEMA)
