"""Claims about whole rows: how many there are, and that each has a name of its own."""

import polars as pl

from headwater.checks._verdicts import claim, examples, missing_columns, no_rows
from headwater.product import Audit, Check, DeclarationError, Verdict


def not_empty() -> Check:
    """There is at least one row."""
    return claim("not_empty", _not_empty, blocking=True, description="There is at least one row.")


def _not_empty(audit: Audit) -> Verdict:
    rows = _count(audit)
    return Verdict(passed=rows > 0, facts={"rows": rows}, description="" if rows else "There are no rows.")


def rows_in_usual_range(*, low: int, high: int, blocking: bool = False) -> Check:
    """The number of rows is what it usually is. Warns by default: an unusual month can be a true one.

    Args:
        low: Fewest rows, inclusive.
        high: Most rows, inclusive.
        blocking: Whether a failure refuses publication.
    """
    if not 0 <= low <= high:
        raise DeclarationError(
            what="Check",
            name="rows_in_usual_range",
            problem=f"{low} to {high} is no range.",
            remedy="Give low <= high.",
        )
    return claim(
        "rows_in_usual_range",
        _rows_in_usual_range,
        blocking=blocking,
        description=f"There are {low:,} to {high:,} rows.",
        low=low,
        high=high,
    )


def _rows_in_usual_range(audit: Audit, *, low: int, high: int) -> Verdict:
    rows = _count(audit)
    passed = low <= rows <= high
    said = "" if passed else f"There are {rows:,} rows, usual are {low:,} to {high:,}."
    return Verdict(passed=passed, facts={"rows": rows, "low": low, "high": high}, description=said)


def keys_are_unique(*columns: str) -> Check:
    """No two rows share a key, and no part of a key is null.

    Args:
        columns: The columns that name a row, at least one.
    """
    if not columns:
        raise DeclarationError(
            what="Check", name="keys_are_unique", problem="it names no column.", remedy="Name the key's columns."
        )
    return claim(
        "keys_are_unique",
        _keys_are_unique,
        blocking=True,
        description=f"No two rows share ({', '.join(columns)}), and none of these is null.",
        columns=columns,
    )


def _keys_are_unique(audit: Audit, *, columns: tuple[str, ...]) -> Verdict:
    if (refused := missing_columns(audit, *columns)) is not None:
        return refused
    keys = audit.rows().select(columns)
    total, distinct, nulls = (
        keys.select(
            pl.len().alias("rows"),
            pl.struct(columns).n_unique().alias("distinct"),
            pl.any_horizontal(pl.col(columns).is_null()).sum().alias("nulls"),
        )
        .collect()
        .row(0)
    )
    if not total:
        return no_rows()
    passed = total == distinct and not nulls
    facts = {"rows": total, "distinct_keys": distinct, "null_keys": nulls}
    if passed:
        return Verdict(passed=True, facts=facts)
    twice = keys.group_by(columns).len("times").filter(pl.col("times") > 1)
    null = keys.filter(pl.any_horizontal(pl.col(columns).is_null()))
    return Verdict(
        passed=False,
        facts=facts | {"repeated": examples(twice, columns=(*columns, "times")), "null": examples(null)},
        description=f"{total - distinct:,} rows repeat a key and {nulls:,} have a null in it ({', '.join(columns)}).",
    )


def _count(audit: Audit) -> int:
    return int(audit.rows().select(pl.len()).collect().item())
