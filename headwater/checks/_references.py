"""Claims about references from one table to another."""

from collections.abc import Sequence

import polars as pl

from headwater.checks._verdicts import EXAMPLES, claim, json_value, missing_columns
from headwater.product import Audit, Check, DeclarationError, Verdict


def share_of_references_found(
    column: str, *, table: str, key: str | None = None, at_least: float = 1.0, blocking: bool = True
) -> Check:
    """Enough of a column's values that are not null are keys of another table.

    Args:
        column: The referring column.
        table: Lake path of the other table, which the asset has to declare as an input; read at the input commit.
        key: Its key column; None when it has the same name.
        at_least: Least share of referring rows, in (0, 1], inclusive.
        blocking: Whether a failure refuses publication.
    """
    name = f"{column}_found_in_{table.rsplit('/', 1)[-1]}"
    if not 0 < at_least <= 1:
        raise DeclarationError(
            what="Check", name=name, problem=f"{at_least} is no share.", remedy="Give 0 < at_least <= 1."
        )
    return claim(
        name,
        _share_of_references_found,
        blocking=blocking,
        description=f"At least {at_least:.1%} of the values of {column} are in {table}.",
        column=column,
        table=table,
        key=key or column,
        at_least=at_least,
    )


def _share_of_references_found(audit: Audit, *, column: str, table: str, key: str, at_least: float) -> Verdict:
    if (refused := missing_columns(audit, column)) is not None:
        return refused
    known = audit.base.table(table).select(pl.col(key).unique()).collect().to_series()
    counts = audit.rows().group_by(column).len("rows").collect()
    referring = counts.filter(pl.col(column).is_not_null())
    lost = referring.filter(~pl.col(column).is_in(known.implode()))
    total, missed = int(referring["rows"].sum()), int(lost["rows"].sum())
    nulls = int(counts["rows"].sum()) - total
    facts = {"references": total, "nulls": nulls, "not_found": missed, "at_least": at_least, "in": table}
    if not total:
        return Verdict(passed=False, facts=facts, description=f"{column} refers to nothing, so no share is defined.")
    share = 1 - missed / total
    facts |= {"share": share, "most_frequent_not_found": _most(lost, [column, "rows"])}
    said = f"{share:.1%} of the values of {column} are in {table}; at least {at_least:.1%} must be."
    return Verdict(passed=share >= at_least, facts=facts, description="" if share >= at_least else said)


def _most(lost: pl.DataFrame, columns: Sequence[str]) -> list[dict[str, object]]:
    top = lost.select(columns).sort("rows", columns[0], descending=[True, False]).head(EXAMPLES)
    return [{name: json_value(value) for name, value in row.items()} for row in top.to_dicts()]
