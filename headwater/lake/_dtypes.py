"""Which dtypes a Delta table can hold, and how the others become one of them.

| from | to | why |
|---|---|---|
| Categorical, Enum | String | Delta has no dictionaries |
| UInt8, UInt16, UInt32 | Int16, Int32, Int64 | Delta has no unsigned integers; no value is lost |
| UInt64 | Int64 | a value above 2^63-1 is an error |
| Float16 | Float32 | |
| Datetime in ms or ns | Datetime in us | a value between two microseconds is an error |
| Datetime with a zone | Datetime in us, UTC | the instant stays, the zone's name goes |
| Array | List | Delta arrays have no fixed width |

Time, Duration, Int128, UInt128, Null, Object, maps, arrays of arrays and structs without fields are errors that name
column and dtype. The rules hold inside lists and structs too. The data version is taken after the conversion, so what
is read back digests the same.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from headwater.lake.errors import TableWriteError

_PLAIN: Final = frozenset(
    {pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.String, pl.Binary, pl.Date}
)
_WIDER: Final = {
    pl.UInt8: pl.Int16(),
    pl.UInt16: pl.Int32(),
    pl.UInt32: pl.Int64(),
    pl.UInt64: pl.Int64(),
    pl.Float16: pl.Float32(),
    pl.Categorical: pl.String(),
    pl.Enum: pl.String(),
}
_REMEDIES: Final = {
    pl.Time: "Cast it to String, or to Int64 nanoseconds.",
    pl.Duration: "Cast it to Int64 in a unit that its name tells.",
    pl.Null: "Cast it to the dtype that its values would have.",
}


def delta_dtype(dtype: pl.DataType) -> pl.DataType | None:
    """The dtype under which a Delta table holds `dtype`, None when it can't.

    Args:
        dtype: Any Polars dtype.
    """
    base = dtype.base_type()
    if base in _PLAIN:
        return dtype
    if base in _WIDER:
        return _WIDER[base]
    match dtype:
        case pl.Datetime():
            return pl.Datetime("us", "UTC" if dtype.time_zone else None)
        case pl.Decimal():
            return dtype
        case pl.List() | pl.Array():
            inner = _inner(dtype)
            return None if inner is None else pl.List(inner)
        case pl.Struct():
            fields = {field.name: delta_dtype(_instance(field.dtype)) for field in dtype.fields}
            known = {name: inner for name, inner in fields.items() if inner is not None}
            return pl.Struct(known) if fields and len(known) == len(dtype.fields) else None
    return None


def _inner(dtype: pl.List | pl.Array) -> pl.DataType | None:
    inner = _instance(dtype.inner)
    if isinstance(dtype, pl.Array) and isinstance(inner, pl.Array):
        return None
    return delta_dtype(inner)


def _instance(dtype: object) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[return-value]


def delta_schema(schema: Mapping[str, pl.DataType], *, path: str) -> pl.Schema:
    """The schema under which a Delta table at `path` holds rows of `schema`.

    Raises:
        TableWriteError: There is no column, two differ in case only, or a dtype has no place in Delta.
    """
    if not schema:
        raise TableWriteError(path=path, reason="it has no columns. A table needs at least one.")
    folded: dict[str, str] = {}
    converted = {}
    for name, dtype in schema.items():
        if name.lower() in folded:
            raise TableWriteError(
                path=path,
                reason=f"columns {folded[name.lower()]!r} and {name!r} differ in case only, which Delta can't tell apart. Rename one.",
            )
        folded[name.lower()] = name
        target = delta_dtype(dtype)
        if target is None:
            remedy = _REMEDIES.get(dtype.base_type(), "Cast it to a dtype that docs/lake.md lists.")
            raise TableWriteError(
                path=path, reason=f"column {name!r} has dtype {dtype}, which Delta can't hold. {remedy}"
            )
        converted[name] = target
    return pl.Schema(converted)


def cast(schema: Mapping[str, pl.DataType], target: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """Expressions that turn columns of `schema` into those of `target`, in target's order; strict."""
    return [
        pl.col(name) if schema[name] == dtype else pl.col(name).cast(dtype, strict=True)
        for name, dtype in target.items()
    ]


def same_but_for_order(left: pl.Schema, right: pl.Schema) -> bool:
    """Whether two schemas have the same names and dtypes, in any order, those within structs too."""
    return left.keys() == right.keys() and all(_same_dtype(dtype, right[name]) for name, dtype in left.items())


def _same_dtype(left: pl.DataType, right: pl.DataType) -> bool:
    if isinstance(left, pl.Struct) and isinstance(right, pl.Struct):
        return same_but_for_order(pl.Schema(left.to_schema()), pl.Schema(right.to_schema()))
    if isinstance(left, pl.List) and isinstance(right, pl.List):
        return _same_dtype(left.inner, right.inner)  # type: ignore[arg-type]
    return left == right


def check_exact(frame: pl.DataFrame, *, path: str) -> None:
    """Refuses nanoseconds that microseconds would round.

    Raises:
        TableWriteError: A value lies between two microseconds.
    """
    for name, dtype in frame.schema.items():
        if dtype.base_type() is pl.Datetime and dtype.time_unit == "ns":  # type: ignore[attr-defined]
            lost = frame.select((pl.col(name).dt.nanosecond() % 1000 != 0).any()).item()
            if lost:
                raise TableWriteError(
                    path=path,
                    reason=f"column {name!r} has instants between two microseconds, Delta's finest unit. "
                    "Truncate it with .dt.truncate('1us') first.",
                )
