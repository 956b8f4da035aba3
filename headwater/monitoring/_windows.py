"""Windows of time: calendar days of a zone, or equal parts of one, so that a day is a day when the clocks change."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import polars as pl

from headwater.lengths import LONGEST
from headwater.monitoring.errors import MonitoringRuleError, TooManyWindowsError

MOST_WINDOWS: Final = 10_000
_DAY: Final = timedelta(days=1)
_MONDAY: Final = date(1970, 1, 5)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OLDEST: Final = datetime(1900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Span:
    """One window.

    Attributes:
        start: Its first instant (UTC).
        end: The first one after it (UTC).
    """

    start: datetime
    end: datetime


@dataclass(frozen=True, kw_only=True)
class Windowing:
    """How time is cut into windows.

    Attributes:
        length: Whole days, a hundred years of them at most, or a part of a day that fills it evenly, such as 6 hours. Of days: calendar days of the zone, counted
            from a Monday, so that 7 days are a week. Parts of a day begin at its midnight; where the clocks change, the day's
            last part is longer or shorter.
        zone: Whose midnights these are.
    """

    length: timedelta = timedelta(days=7)
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.length <= timedelta(0) or (self.length % _DAY and _DAY % self.length):
            wanted = "whole days, or a part of a day that fills it evenly"
            raise MonitoringRuleError(rule="Windowing(...): length", value=str(self.length), wanted=wanted)
        if self.length > LONGEST:
            wanted = f"{LONGEST} at most"
            raise MonitoringRuleError(rule="Windowing(...): length", value=str(self.length), wanted=wanted)
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise MonitoringRuleError(
                rule="Windowing(...): zone", value=self.zone, wanted="a time zone such as Europe/Paris"
            ) from error

    @property
    def by_day(self) -> "Windowing":
        """These windows, or the days that they are parts of: hours of a day are bad together."""
        return replace(self, length=max(self.length, _DAY))

    def spans(self, first: datetime, last: datetime) -> tuple[Span, ...]:
        """The windows from the one that holds `first` to the one that holds `last`, without gaps.

        Raises:
            TooManyWindowsError: There are more than 10,000.
        """
        edges = []
        for edge in self._edges(first):
            edges.append(edge)
            if edge > last:
                break
            if len(edges) > MOST_WINDOWS:
                raise TooManyWindowsError(
                    first=first.isoformat(), last=last.isoformat(), length=str(self.length), limit=MOST_WINDOWS
                )
        inside = [(start, end) for start, end in itertools.pairwise(edges) if end > first]
        return tuple(Span(start=start, end=end) for start, end in inside)

    def _edges(self, first: datetime) -> Iterator[datetime]:
        """Beginnings of windows, from one at or before `first` on."""
        zone, days = ZoneInfo(self.zone), max(self.length // _DAY, 1)
        parts = max(_DAY // self.length, 1)
        day = first.astimezone(zone).date()
        day -= timedelta(days=(day - _MONDAY).days % days)
        while True:
            midnight, day = _midnight(day, zone), day + timedelta(days=days)
            after = _midnight(day, zone)
            starts = (midnight + part * self.length for part in range(parts))
            yield from (start for start in starts if start < after)  # a day may have 23 hours


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def split(
    frame: pl.DataFrame, column: str, windowing: Windowing, *, span: Span | None = None
) -> list[tuple[Span, pl.DataFrame]]:
    """The rows of each window, oldest first, empty windows too.

    Args:
        frame: Rows with an instant, in any order.
        column: The instant, a Datetime with a time zone, never null.
        windowing: How time is cut.
        span: Windows that overlap it are given, whatever rows there are; None covers the rows.

    Raises:
        TooManyWindowsError: The rows, or the span, cover more than 10,000 windows.
    """
    if span is None and frame.is_empty():
        return []
    if span is None:
        span = Span(start=frame[column].min(), end=frame[column].max())  # type: ignore[arg-type]
        spans = windowing.spans(span.start, span.end)
    else:
        spans = windowing.spans(span.start, span.end - timedelta(microseconds=1))
    ordered = frame.sort(column, maintain_order=True)
    instants = ordered[column].dt.epoch("us").to_numpy()
    edges = np.array([_microseconds(one.start) for one in spans] + [_microseconds(spans[-1].end)], dtype=np.int64)
    at = np.searchsorted(instants, edges, side="left")
    return [(one, ordered[int(low) : int(high)]) for one, low, high in zip(spans, at[:-1], at[1:], strict=True)]


def occupied(frame: pl.DataFrame, column: str, windowing: Windowing) -> list[tuple[Span, pl.DataFrame]]:
    """The rows of each window that has any, oldest first: as many windows as rows at most, whatever times they are about.

    Args:
        frame: Rows with an instant, in any order.
        column: The instant, a Datetime with a time zone, never null. What lies before 1900 counts as of its first instant: the
            calendars of zones do not reach back to year 1.
        windowing: How time is cut.
    """
    ordered = frame.sort(column, maintain_order=True)
    instants = np.maximum(ordered[column].dt.epoch("us").to_numpy(), _microseconds(_OLDEST))
    found, low = [], 0
    while low < len(instants):
        first = _EPOCH + timedelta(microseconds=int(instants[low]))
        (span,) = windowing.spans(first, first)
        high = int(np.searchsorted(instants, _microseconds(span.end), side="left"))
        found.append((span, ordered[low:high]))
        low = high
    return found


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)
