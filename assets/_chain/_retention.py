"""How long what the service said stays in its tables: by when its request came in, so that today's answer about last year is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl

from assets._chain._prediction_rows import REJECTED
from headwater.feeds import Positions
from headwater.lake import Snapshot
from headwater.materialize import REJECTED_SUFFIX, read_positions
from headwater.product import Audit, Check, Severity, Verdict

SLACK: Final = timedelta(days=1)
"""Rows that are too old stay so much longer at most: dropping rewrites the table."""
Aside = tuple[str, int, str, bytes]
"""A record that is no row: segment, its end there, what is wrong with it, its bytes."""
_RECEIVED: Final = "received"
_DROPPED_UNTIL: Final = "dropped_until"
"""In the positions of a fed table: when the newest request came in whose row is dropped. It goes where the rows go, also back with them."""


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """What a build does to the table of rejected records.

    Attributes:
        rows: Rows to add; of `replaces`, all rows.
        replaces: Whether they are all that shall stand.
        dropped: Rows that stood and are too old.
    """

    rows: pl.DataFrame
    replaces: bool
    dropped: int


def too_old(standing: pl.LazyFrame, cutoff: datetime | None) -> int:
    """How many rows are to go, none before it is worth it.

    Args:
        standing: Rows with `received`.
        cutoff: What came in before it goes; None keeps all.
    """
    if cutoff is None:
        return 0
    old = standing.filter(pl.col(_RECEIVED) < cutoff).select(rows=pl.len(), oldest=pl.col(_RECEIVED).min()).collect()
    rows, oldest = old.row(0)
    return int(rows) if rows and oldest < cutoff - SLACK else 0


def with_dropped(positions: Positions, before: Positions, rows: pl.LazyFrame, cutoff: datetime | None) -> Positions:
    """Positions that say up to when rows are dropped; what they said before stays.

    Args:
        positions: Up to where the feed was taken.
        before: The positions of the build before.
        rows: Rows with `received`, of which those before the cutoff are dropped by this build.
        cutoff: What came in before it goes; None keeps all.
    """
    said = [before[_DROPPED_UNTIL]] if _DROPPED_UNTIL in before else []
    if cutoff is not None:
        old = rows.filter(pl.col(_RECEIVED) < cutoff)
        newest: Any = old.select(pl.col(_RECEIVED).max()).collect().item()
        said += [newest.isoformat()] if newest is not None else []
    return {**positions, _DROPPED_UNTIL: max(said, key=datetime.fromisoformat)} if said else positions


def dropped_until(standing: Snapshot | None, path: str) -> datetime | None:
    """When the newest request came in of which `Serving.keep` took the row from a fed table; None where it took none.

    Args:
        standing: The lake as it stands; None where the table does not.
        path: The fed table.
    """
    said = None if standing is None else read_positions(standing, path).get(_DROPPED_UNTIL)
    return None if said is None else datetime.fromisoformat(said)


def set_aside(
    found: Sequence[Aside],
    before: Snapshot | None,
    path: str,
    *,
    cutoff: datetime | None,
    started: datetime,
    received: Callable[[bytes], int | None],
) -> SetAside:
    """The rejected records of a build, and what has to go of those that stand.

    Args:
        found: Records that are no rows.
        before: The lake before this build.
        path: The fed table.
        cutoff: What came in before it goes; None keeps all.
        started: When the build began: bytes that do not say when they came in count from then.
        received: Microseconds since 1970 at which a record's request came in, None where its bytes do not say.
    """
    rows = _dated(pl.DataFrame(found, schema=_without_time(), orient="row"), started, received)
    aside = path + REJECTED_SUFFIX
    if before is None or not before.has(aside):
        return SetAside(rows=rows, replaces=False, dropped=0)
    standing = before.table(aside)
    # An older Headwater kept no times: what stands gets them as soon as something is written.
    is_old = _RECEIVED not in standing.collect_schema()
    if is_old and (rows.height or cutoff is not None):
        standing = _dated(standing.collect(), started, received).lazy()
    elif is_old:
        return SetAside(rows=rows, replaces=False, dropped=0)
    dropped = too_old(standing, cutoff)
    if not (is_old or dropped):
        return SetAside(rows=rows, replaces=False, dropped=0)
    kept = standing.collect() if cutoff is None else standing.filter(pl.col(_RECEIVED) >= cutoff).collect()
    return SetAside(rows=pl.concat([kept, rows]), replaces=True, dropped=dropped)


def _without_time() -> dict[str, pl.DataType]:
    return {name: dtype for name, dtype in REJECTED.items() if name != _RECEIVED}


def _dated(rows: pl.DataFrame, started: datetime, received: Callable[[bytes], int | None]) -> pl.DataFrame:
    now = (started - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    said = [received(data) for data in rows["record"]]
    # A clock that went wrong must not keep a record for ever, nor one that says a time before there were records.
    times = [now if moment is None or not 0 <= moment <= now else moment for moment in said]
    column = pl.Series(_RECEIVED, times, dtype=pl.Int64).cast(REJECTED[_RECEIVED])
    return rows.with_columns(column).select(list(REJECTED))


def taken_in_time() -> Check:
    """Warns of records that were too old for their table when they were taken."""
    return Check(
        name="records_are_taken_in_time",
        judge=_taken_in_time,
        blocking=False,
        severity=Severity.WARN,
        description="No record had waited longer than `Serving.keep` when it was taken: such a one never reaches the table.",
    )


def _taken_in_time(audit: Audit) -> Verdict:
    expired = int(audit.facts.get("expired", 0))
    said = (
        f"{expired} records had come in longer ago than Serving.keep and were dropped as they were taken. Compact more often, or keep longer."
        if expired
        else ""
    )
    facts: dict[str, Any] = {name: audit.facts.get(name, 0) for name in ("expired", "dropped", "rejected_dropped")}
    return Verdict(passed=not expired, facts=facts, description=said)
