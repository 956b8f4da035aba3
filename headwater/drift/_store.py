"""Keeps a profile in one Parquet file that any tool opens: one row group a column, read back one column at a time."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.drift._columns import ValueKind
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
    with pq.ParquetWriter(
        partial, _SCHEMA.with_metadata(metadata), compression="zstd", write_statistics=False
    ) as writer:
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
                groups = opened.num_row_groups
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
        if groups != len(self._facts):
            raise ProfileFormatError(location=str(file), reason=f"it has {groups} of {len(self._facts)} columns")

    def __getitem__(self, name: str) -> ColumnProfile:
        number, facts = self._facts[name]
        kind = ValueKind(facts["kind"])
        try:
            with pq.ParquetFile(self._file) as opened:
                entries = opened.read_row_group(number, columns=[_FIELD_OF[kind], "rows"], use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise ProfileFormatError(
                location=str(self._file), reason=f"column '{name}' is damaged ({error})"
            ) from error
        if kind is ValueKind.CATEGORY:
            counts = pl.DataFrame({"category": entries["category"], "rows": entries["rows"]})
            return CategoricalProfile(counts=counts, nulls=facts["nulls"])
        return NumericProfile(
            kind=kind,
            values=entries[_FIELD_OF[kind]].to_numpy(),
            counts=entries["rows"].to_numpy() if facts["counted"] else None,
            nulls=facts["nulls"], nans=facts["nans"], misplaced=facts["misplaced"],
        )  # fmt: skip

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)


def _entries(name: str, column: ColumnProfile) -> pa.Table:
    if isinstance(column, CategoricalProfile):
        values: pa.Array = column.counts.get_column("category").to_arrow().cast(pa.string())
        rows = column.counts.get_column("rows").to_numpy()
    else:
        values = pa.array(column.values)
        rows = np.ones(len(column.values), np.int64) if column.counts is None else column.counts
    size = len(values)
    filled = {"column": pa.array([name]).take(pa.array(np.zeros(size, np.int64))), _FIELD_OF[column.kind]: values}
    filled["rows"] = pa.array(rows)
    return pa.table([filled.get(field.name, pa.nulls(size, field.type)) for field in _SCHEMA], schema=_SCHEMA)
