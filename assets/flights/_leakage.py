"""A claim about histories: they count exactly what had come in, recounted from the flights one row at a time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import polars as pl

from assets.flights._history import HOURS, KNOWN_AFTER, KNOWN_AT
from assets.flights._paths import FLIGHTS
from headwater.product import Audit, Check, Verdict

_SAMPLED: Final = 40
_EXAMPLES: Final = 5


def only_known_flights_counted(*, by: Sequence[str], windows: Sequence[str]) -> Check:
    """A sample of rows counts exactly the flights that had arrived `KNOWN_AFTER` before their known-at time: none later, none missing.

    Args:
        by: Entity columns.
        windows: Names from `HOURS`.
    """
    return Check(
        name="only_known_flights_counted",
        judge=partial(_only_known_flights_counted, by=tuple(by), windows=tuple(windows)),
        description=f"Recounted from the flights, {_SAMPLED} rows count what had arrived ten minutes before their known-at time.",
    )


def _only_known_flights_counted(audit: Audit, *, by: tuple[str, ...], windows: tuple[str, ...]) -> Verdict:
    rows = audit.rows().sort(*by, KNOWN_AT).collect()
    if rows.is_empty():
        return Verdict(passed=False, facts={"rows": 0}, description="There are no rows, so the claim is undefined.")
    sample = rows.gather_every(max(1, rows.height // _SAMPLED))
    flights = audit.base.table(FLIGHTS).filter(pl.col("arrival").is_not_null()).select(*by, "arrival", "late").collect()
    wrong = []
    for row in sample.iter_rows(named=True):
        own = flights.filter(pl.col(name) == row[name] for name in by)
        wrong += [found for window in windows if (found := _differs(own, row, window)) is not None]
    passed = not wrong
    said = f"{len(wrong)} of {sample.height * len(windows)} recounted numbers differ: the rows know something else."
    facts = {"recounted": sample.height * len(windows), "wrong": len(wrong)}
    return Verdict(
        passed=passed,
        facts=facts if passed else facts | {"examples": wrong[:_EXAMPLES]},
        description="" if passed else said,
    )


def _differs(own: pl.DataFrame, row: dict[str, Any], window: str) -> dict[str, Any] | None:
    known_at = row[KNOWN_AT]
    assert isinstance(known_at, datetime)
    end = known_at - KNOWN_AFTER
    known = own.filter(pl.col("arrival").is_between(end - timedelta(hours=HOURS[window]), end, closed="left"))
    share = known["late"].mean()
    if row[f"arrivals_{window}"] == known.height and row[f"late_share_{window}"] == share:
        return None
    return {
        KNOWN_AT: known_at.isoformat(),
        "window": window,
        "arrivals": row[f"arrivals_{window}"],
        "arrivals_known": known.height,
        "late_share": row[f"late_share_{window}"],
        "late_share_known": share,
    }
