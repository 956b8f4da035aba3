"""Claims about times, judged against the partition or another column: never against the clock of the machine."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from headwater.checks._verdicts import claim, examples, missing_columns, no_rows
from headwater.product import Audit, Check, Verdict


def months_match_partition(column: str, *, timezone: str = "UTC") -> Check:
    """Every time lies in the month that the partition key names.

    Args:
        column: A datetime column in UTC.
        timezone: Zone whose midnights begin the months.
    """
    return claim(
        "months_match_partition",
        _months_match_partition,
        blocking=True,
        description=f"Every {column} lies in the partition's month, in {timezone}.",
        column=column,
        timezone=timezone,
    )


def _months_match_partition(audit: Audit, *, column: str, timezone: str) -> Verdict:
    if (refused := missing_columns(audit, column)) is not None:
        return refused
    if audit.partition is None:
        return Verdict(passed=False, description="The table was not written by partition, so no month is named.")
    rows = audit.rows()
    begin, end = _month(audit.partition, timezone)
    inside = pl.col(column).is_between(begin, end, closed="left").fill_null(False)
    total, strangers = rows.select(pl.len().alias("rows"), (~inside).sum().alias("outside")).collect().row(0)
    if not total:
        return no_rows()
    facts = {"rows": total, "outside": strangers, "begin": begin.isoformat(), "end": end.isoformat()}
    if not strangers:
        return Verdict(passed=True, facts=facts)
    said = f"{strangers:,} of {total:,} rows have a {column} outside {audit.partition}."
    return Verdict(passed=False, facts=facts | {"examples": examples(rows.filter(~inside))}, description=said)


def newest_near_partition_end(
    column: str, *, within: timedelta, timezone: str = "UTC", blocking: bool = False
) -> Check:
    """The newest time lies near the end of the partition's month: the file was not cut off. Warns by default.

    Args:
        column: A datetime column in UTC.
        within: How long before the month's end the newest row may be.
        timezone: Zone whose midnights begin the months.
        blocking: Whether a failure refuses publication.
    """
    return claim(
        "newest_near_partition_end",
        _newest_near_partition_end,
        blocking=blocking,
        description=f"The newest {column} lies within {within} of the end of the partition's month.",
        column=column,
        within=within,
        timezone=timezone,
    )


def _newest_near_partition_end(audit: Audit, *, column: str, within: timedelta, timezone: str) -> Verdict:
    if (refused := missing_columns(audit, column)) is not None:
        return refused
    if audit.partition is None:
        return Verdict(passed=False, description="The table was not written by partition, so no month is named.")
    newest = audit.rows().select(pl.col(column).max()).collect().item()
    if not isinstance(newest, datetime):
        return Verdict(passed=False, description=f"{column} has no value at all, so nothing is the newest.")
    _, end = _month(audit.partition, timezone)
    age = end - newest
    passed = timedelta(0) < age <= within
    facts = {
        "newest": newest.isoformat(),
        "end": end.isoformat(),
        "hours_before_end": age.total_seconds() / 3600,
        "limit_hours": within.total_seconds() / 3600,
    }
    said = f"The newest {column} is {newest.isoformat()}; it must lie within {within} before {end.isoformat()}."
    return Verdict(passed=passed, facts=facts, description="" if passed else said)


def known_after_event(
    *, event_time: str = "event_time", known_at: str = "known_at", nulls_allowed: bool = False
) -> Check:
    """No row was known before what it describes had happened, and both times are there.

    Args:
        event_time: Column with the time that a row describes.
        known_at: Column with the time from which the row could be known.
        nulls_allowed: Whether `known_at` may be null: it is not known yet, or never will be.
    """
    return claim(
        "known_after_event",
        _known_after_event,
        blocking=True,
        description=f"{known_at} is never before {event_time}.",
        event_time=event_time,
        known_at=known_at,
        nulls_allowed=nulls_allowed,
    )


def _known_after_event(audit: Audit, *, event_time: str, known_at: str, nulls_allowed: bool) -> Verdict:
    if (refused := missing_columns(audit, event_time, known_at)) is not None:
        return refused
    rows = audit.rows()
    wrong = ~(pl.col(known_at) >= pl.col(event_time)).fill_null(False)
    if nulls_allowed:
        wrong &= pl.col(known_at).is_not_null()
    total, bad = rows.select(pl.len().alias("rows"), wrong.sum().alias("bad")).collect().row(0)
    if not total:
        return no_rows()
    facts = {"rows": total, "known_too_early": bad}
    if not bad:
        return Verdict(passed=True, facts=facts)
    said = f"{bad:,} of {total:,} rows were known before their {event_time}, or lack one of the two times."
    shown = examples(rows.filter(wrong), columns=(event_time, known_at))
    return Verdict(passed=False, facts=facts | {"examples": shown}, description=said)


def _month(key: str, timezone: str) -> tuple[datetime, datetime]:
    """First instant of the month `YYYY-MM` and of the next one, in UTC."""
    year, month = map(int, key.split("-"))
    zone = ZoneInfo(timezone)
    begin = datetime(year, month, 1, tzinfo=zone)
    end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
    return begin.astimezone(UTC), end.astimezone(UTC)
