"""Which windows of requests have enough of their labels, and the rows that count."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from headwater.monitoring._frames import AT, JUDGED, LABEL, REQUEST_ID, TRUTH, VARIANT
from headwater.monitoring._json import Recorded
from headwater.monitoring._outcomes import Truth
from headwater.monitoring._windows import Windowing, occupied

WINDOW: Final = "__window"
"""Column of the number of a row's window."""


@dataclass(frozen=True, kw_only=True)
class SettledWindow(Recorded):
    """One window of a stage's requests.

    Attributes:
        start: Its first instant (UTC), by prediction time.
        events: Events that will have a label, as far as is known.
        labelled: Of them with a known one.
        is_settled: Whether it is over and enough labels are known.
    """

    start: datetime
    events: int
    labelled: int
    is_settled: bool


def settled_rows(
    rows: pl.DataFrame,
    outcomes: pl.DataFrame,
    windowing: Windowing,
    min_coverage: float,
    now: datetime,
    *,
    by_version: bool = False,
) -> tuple[pl.DataFrame, tuple[SettledWindow, ...]]:
    """The labelled rows of the windows that count, each with its window's number, and what is known of each window.

    Args:
        rows: Answers: `request_id`, `at`, `variant`.
        outcomes: The frame of `join_outcomes`.
        windowing: Windows of labels.
        min_coverage: Share of a window's events whose label must be known.
        now: As of when.
        by_version: Whether it must be known of each version's events by themselves. Where each answers requests of its own, those of a
            small share may all be missing, and the first labels may be of other decisions than the rest.
    """
    # An id may be used again, about another time.
    named = [REQUEST_ID, AT]
    told = outcomes.select(*named, LABEL, TRUTH, JUDGED).unique(named, keep="last", maintain_order=True)
    events = rows.join(told, on=named, how="left").filter(pl.col(JUDGED).fill_null(True))
    events = events.filter(pl.col(TRUTH).fill_null(Truth.PENDING.value) != Truth.NONE.value)
    kept, windows = [_numbered(events.clear(), 0)], []
    for span, part in occupied(events, AT, windowing):  # one answer about a time long past is one window more, no error
        known = part.filter(pl.col(TRUTH) == Truth.KNOWN.value)
        sides = part.partition_by(VARIANT) if by_version else [part]
        is_settled = span.end <= now and all(_is_covered(side, min_coverage) for side in sides)
        windows.append(
            SettledWindow(start=span.start, events=part.height, labelled=known.height, is_settled=is_settled)
        )
        if is_settled:
            kept.append(_numbered(known, len(windows)))
    return pl.concat(kept), tuple(windows)


def _is_covered(rows: pl.DataFrame, min_coverage: float) -> bool:
    return rows.filter(pl.col(TRUTH) == Truth.KNOWN.value).height >= min_coverage * rows.height


def whole_days(
    rows: pl.DataFrame,
    outcomes: pl.DataFrame,
    windowing: Windowing,
    min_coverage: float,
    now: datetime,
    *,
    first: datetime | None,
    settled: tuple[pl.DataFrame, tuple[SettledWindow, ...]],
) -> pl.DataFrame:
    """As `settled_rows`, of windows that last a day at least and began no earlier than `first`.

    Args:
        rows: See `settled_rows`.
        outcomes: See there.
        windowing: See there.
        min_coverage: See there.
        now: See there.
        first: The instant, by prediction time, before which windows are pieces; None takes all.
        settled: What `settled_rows` found, which is enough where windows are so long.
    """
    by_day = windowing.by_day
    found = settled if by_day == windowing else settled_rows(rows, outcomes, by_day, min_coverage, now)
    return whole_windows(*found, first=first)


def whole_windows(rows: pl.DataFrame, windows: tuple[SettledWindow, ...], *, first: datetime | None) -> pl.DataFrame:
    """Of labelled rows those of windows that began no earlier than `first`."""
    whole = [number for number, one in enumerate(windows, start=1) if first is None or one.start >= first]
    return rows.filter(pl.col(WINDOW).is_in(whole))


def _numbered(rows: pl.DataFrame, window: int) -> pl.DataFrame:
    return rows.with_columns(pl.lit(window, pl.Int32).alias(WINDOW))
