"""Claims about columns: their dtypes, their values, their nulls."""

from collections.abc import Mapping, Sequence

import polars as pl

from headwater.checks._verdicts import claim, examples, json_value, missing_columns, no_rows
from headwater.product import Audit, Check, DeclarationError, Verdict

Dtype = pl.DataType | type[pl.DataType]


def columns_as_declared(schema: Mapping[str, Dtype]) -> Check:
    """The table has exactly these columns with these dtypes, in any order; the partition column may be left out.

    Args:
        schema: Column to Polars dtype, as Delta holds it (no unsigned integers, datetimes in microseconds and UTC).
    """
    text = {name: str(dtype) for name, dtype in pl.Schema(schema).items()}
    return claim(
        "columns_as_declared",
        _columns_as_declared,
        blocking=True,
        description=f"It has these {len(text)} columns: {', '.join(text)}.",
        schema=text,
    )


def _columns_as_declared(audit: Audit, *, schema: Mapping[str, str]) -> Verdict:
    found = {
        name: str(dtype)
        for name, dtype in audit.rows().collect_schema().items()
        if name != audit.partition_column or name in schema
    }
    missing, extra = sorted(set(schema) - set(found)), sorted(set(found) - set(schema))
    other = {name: [schema[name], found[name]] for name in schema if name in found and schema[name] != found[name]}
    passed = not missing and not extra and not other
    said = f"Missing: {missing or 'none'}; not declared: {extra or 'none'}; other dtype: {other or 'none'}."
    facts = {"columns": len(found), "missing": missing, "extra": extra, "other_dtype": other}
    return Verdict(passed=passed, facts=facts, description="" if passed else said)


def values_in_range(
    column: str, *, low: float | None = None, high: float | None = None, blocking: bool = True
) -> Check:
    """Every value that is not null lies in a range, and there is at least one; NaN lies in none.

    Args:
        column: A number column.
        low: Least value, inclusive; None for no limit.
        high: Greatest value, inclusive; None for no limit.
        blocking: Whether a failure refuses publication.
    """
    if (low is None and high is None) or (low is not None and high is not None and low > high):
        raise DeclarationError(
            what="Check", name=f"{column}_in_range", problem=f"{low} to {high} is no range.", remedy="Give low <= high."
        )
    shown = f"{'any' if low is None else low} to {'any' if high is None else high}"
    return claim(
        f"{column}_in_range",
        _values_in_range,
        blocking=blocking,
        description=f"{column} is null or {shown}.",
        column=column,
        low=low,
        high=high,
    )


def _values_in_range(audit: Audit, *, column: str, low: float | None, high: float | None) -> Verdict:
    if (refused := missing_columns(audit, column)) is not None:
        return refused
    rows, value = audit.rows(), pl.col(column)
    outside = value.cast(pl.Float64).is_nan()
    outside = outside if low is None else outside | (value < low)
    outside = outside if high is None else outside | (value > high)
    present, bad, least, greatest = (
        rows.select(
            value.count().alias("present"),
            outside.sum().alias("bad"),
            value.min().alias("least"),
            value.max().alias("greatest"),
        )
        .collect()
        .row(0)
    )
    facts = {"values": present, "outside": bad, "low": low, "high": high}
    facts |= {"least": json_value(least), "greatest": json_value(greatest)}
    if not present:
        return Verdict(passed=False, facts=facts, description=f"{column} has no value at all, so it is in no range.")
    if not bad:
        return Verdict(passed=True, facts=facts)
    said = f"{bad:,} of {present:,} values of {column} lie outside {low} to {high}."
    return Verdict(passed=False, facts=facts | {"examples": _shown(rows.filter(outside), column)}, description=said)


def values_among(column: str, values: Sequence[str]) -> Check:
    """Every value that is not null is one of `values`, and there is at least one.

    Args:
        column: A string column.
        values: The known values.
    """
    return claim(
        f"{column}_is_known",
        _values_among,
        blocking=True,
        description=f"{column} is one of {', '.join(values)}.",
        column=column,
        values=tuple(values),
    )


def _values_among(audit: Audit, *, column: str, values: tuple[str, ...]) -> Verdict:
    if (refused := missing_columns(audit, column)) is not None:
        return refused
    rows, value = audit.rows(), pl.col(column)
    strange = ~value.is_in(list(values))
    present, bad = rows.select(value.count().alias("present"), strange.sum().alias("bad")).collect().row(0)
    facts = {"values": present, "strange": bad}
    if not present:
        return Verdict(passed=False, facts=facts, description=f"{column} has no value at all.")
    if not bad:
        return Verdict(passed=True, facts=facts)
    names = sorted(rows.filter(strange).select(value.unique()).collect().to_series().to_list())[:20]
    said = f"{bad:,} values of {column} are none of the known ones: {', '.join(map(str, names))}."
    return Verdict(passed=False, facts=facts | {"examples": _shown(rows.filter(strange), column)}, description=said)


def nulls_below(column: str, share: float, *, blocking: bool = True) -> Check:
    """Less than `share` of a column is null; of no rows at all, no share is defined.

    Args:
        column: Any column.
        share: Limit in (0, 1], exclusive; NaN counts as null.
        blocking: Whether a failure refuses publication.
    """
    if not 0 < share <= 1:
        raise DeclarationError(
            what="Check",
            name=f"{column}_nulls_below_limit",
            problem=f"{share} is no share.",
            remedy="Give 0 < share <= 1.",
        )
    return claim(
        f"{column}_nulls_below_limit",
        _nulls_below,
        blocking=blocking,
        description=f"Less than {share:.2%} of {column} is null.",
        column=column,
        limit=share,
    )


def _nulls_below(audit: Audit, *, column: str, limit: float) -> Verdict:
    if (refused := missing_columns(audit, column)) is not None:
        return refused
    rows, null = audit.rows(), pl.col(column).is_null()
    if rows.collect_schema()[column].is_float():
        null |= pl.col(column).is_nan().fill_null(False)
    total, nulls = rows.select(pl.len().alias("rows"), null.sum().alias("nulls")).collect().row(0)
    if not total:
        return no_rows()
    share = nulls / total
    facts = {"rows": total, "nulls": nulls, "share": share, "limit": limit}
    if share < limit:
        return Verdict(passed=True, facts=facts)
    said = f"{share:.2%} of {column} is null; it must be less than {limit:.2%}."
    return Verdict(passed=False, facts=facts | {"examples": _shown(rows.filter(null), column)}, description=said)


def _shown(rows: pl.LazyFrame, column: str) -> list[dict[str, object]]:
    first = [name for name in rows.collect_schema().names() if name != column][:6]
    return examples(rows, columns=(column, *first))
