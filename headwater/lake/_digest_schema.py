"""Canonical dtype names: one name for everything that a Delta table stores and reads back as one dtype.

| given (Polars or Arrow) | canonical |
|---|---|
| null, boolean | `null`, `bool` |
| signed integers; unsigned of 8, 16, 32, 64 bits | `int8` to `int64`; `int16`, `int32`, `int64`, `int64` |
| floats of 16, 32, 64 bits | `float32`, `float32`, `float64` |
| string, large string, string view, categorical, enum | `string` |
| binary, large, view, of fixed size | `binary` |
| date; time in any unit | `date`; `time[ns]` |
| timestamp in any unit, without or with a zone | `timestamp[us]`, `timestamp[us, UTC]` |
| duration | `duration[s]`, `[ms]`, `[us]`, `[ns]`: the unit stays |
| decimal of any width | `decimal(precision, scale)` |
| list, large, of fixed size; map | `list<item>`; `list<struct<key: k, value: v>>` |
| dictionary | that of its values |
| struct | `struct<name: dtype, ...>`; a name that is no identifier is written as a JSON string |
"""

import json
import re
from collections.abc import Mapping
from typing import Final

import polars as pl
import pyarrow as pa

from headwater.lake.errors import LakeError

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN: Final[Mapping[pa.DataType, str]] = {
    pa.null(): "null",
    pa.bool_(): "bool",
    pa.int8(): "int8",
    pa.int16(): "int16",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.uint8(): "int16",
    pa.uint16(): "int32",
    pa.uint32(): "int64",
    pa.uint64(): "int64",
    pa.float16(): "float32",
    pa.float32(): "float32",
    pa.float64(): "float64",
    pa.string(): "string",
    pa.large_string(): "string",
    pa.string_view(): "string",
    pa.binary(): "binary",
    pa.large_binary(): "binary",
    pa.binary_view(): "binary",
    pa.date32(): "date",
    pa.date64(): "timestamp[us]",
}


class UndigestibleError(LakeError):
    """A column whose content has no canonical form."""

    def __init__(self, *, column: str, problem: str, remedy: str) -> None:
        self.column, self.problem = column, problem
        super().__init__(f"Column {column!r} has no data version: {problem} {remedy}")


def canonical_schema(schema: pl.Schema | pa.Schema) -> dict[str, str]:
    """Column names to canonical dtype names, in order.

    Args:
        schema: Of a Polars frame or of Arrow data.

    Raises:
        UndigestibleError: Two columns have one name, or a dtype has no canonical form (Object, 128-bit integers,
            unions, intervals, extension types).
    """
    if isinstance(schema, pl.Schema):
        return canonical_schema(_arrow_schema(schema))
    names: dict[str, str] = {}
    for field in schema:
        if field.name in names:
            raise UndigestibleError(
                column=field.name, problem="two columns have this name.", remedy="Rename or drop one of them."
            )
        names[field.name] = canonical_dtype(field.type, column=field.name)
    return names


def _arrow_schema(schema: pl.Schema) -> pa.Schema:
    for name, dtype in schema.items():
        if {pl.Object, pl.Int128, pl.UInt128} & {leaf.base_type() for leaf in _leaves(dtype)}:
            raise UndigestibleError(
                column=name, problem=f"its dtype is {dtype}.", remedy="Cast it to String or Decimal."
            )
    return pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema


def _leaves(dtype: pl.DataType) -> list[pl.DataType]:
    if isinstance(dtype, pl.Struct):
        return [leaf for field in dtype.fields for leaf in _leaves(field.dtype)]  # type: ignore[arg-type]
    if isinstance(dtype, pl.List | pl.Array):
        return _leaves(dtype.inner)  # type: ignore[arg-type]
    return [dtype]


def canonical_dtype(dtype: pa.DataType, *, column: str) -> str:
    """The canonical name of one Arrow dtype.

    Args:
        dtype: Arrow dtype.
        column: The column it belongs to, for the error.

    Raises:
        UndigestibleError: It has no canonical form.
    """
    types = pa.types
    if dtype in _PLAIN:
        return _PLAIN[dtype]
    if types.is_fixed_size_binary(dtype):
        return "binary"
    if types.is_time(dtype):
        return "time[ns]"
    if types.is_timestamp(dtype):
        return "timestamp[us, UTC]" if dtype.tz else "timestamp[us]"
    if types.is_duration(dtype):
        return f"duration[{dtype.unit}]"
    if types.is_decimal(dtype):
        return f"decimal({dtype.precision}, {dtype.scale})"
    if types.is_dictionary(dtype):
        return canonical_dtype(dtype.value_type, column=column)
    if types.is_map(dtype):
        key, value = (canonical_dtype(inner, column=column) for inner in (dtype.key_type, dtype.item_type))
        return f"list<struct<key: {key}, value: {value}>>"
    if types.is_list(dtype) or types.is_large_list(dtype) or types.is_fixed_size_list(dtype):
        return f"list<{canonical_dtype(dtype.value_type, column=column)}>"
    if types.is_struct(dtype):
        fields = (f"{_quoted(field.name)}: {canonical_dtype(field.type, column=column)}" for field in dtype)
        return f"struct<{', '.join(fields)}>"
    raise UndigestibleError(
        column=column, problem=f"its Arrow dtype is {dtype}.", remedy="Cast it to a dtype that a Delta table holds."
    )


def _quoted(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)
