"""Shared by all claims: examples people can read, and how a claim becomes a `Check`."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any, Final

import polars as pl

from headwater.product import Audit, Check, Severity, Verdict

EXAMPLES: Final = 5


def claim(name: str, judge: Callable[..., Verdict], *, blocking: bool, description: str, **values: Any) -> Check:
    """A check that calls `judge(audit, **values)`; one that does not block has severity WARN."""
    return Check(
        name=name,
        judge=partial(judge, **values),
        blocking=blocking,
        severity=Severity.ERROR if blocking else Severity.WARN,
        description=description,
    )


def examples(rows: pl.LazyFrame, *, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The first failing rows as JSON values, in an order that does not depend on the file layout.

    Args:
        rows: The failing rows.
        columns: Columns to show; none shows the first eight.
    """
    names = list(columns) or rows.collect_schema().names()[:8]
    found = rows.select(names).bottom_k(EXAMPLES, by=names).sort(names).collect()
    return [{name: json_value(value) for name, value in row.items()} for row in found.to_dicts()]


def json_value(value: Any) -> Any:
    """A cell as a JSON value: times as ISO 8601, what is not finite as text."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def missing_columns(audit: Audit, *columns: str) -> Verdict | None:
    """A failed verdict when the audited table lacks one of `columns`, else None."""
    found = audit.rows().collect_schema().names()
    missing = [column for column in columns if column not in found]
    if not missing:
        return None
    return Verdict(passed=False, facts={"missing": missing}, description=f"It has no column {', '.join(missing)}.")


def no_rows() -> Verdict:
    """The verdict of a claim about values where there is no row to judge."""
    return Verdict(passed=False, facts={"rows": 0}, description="There are no rows, so the claim is undefined.")
