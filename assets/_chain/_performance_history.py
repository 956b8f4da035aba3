"""Which windows of the report before stand: those that are settled, and those whose predictions are no longer kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import polars as pl

if TYPE_CHECKING:
    from headwater.monitoring import Span, Windowing

SETTLED: Final = timedelta(days=28)
"""A judged window is settled once a report was made so long after its end: labels that come in later do not change it."""
RECEIVED: Final = "received"
"""In a window: when the first of its predictions that are there came in; null without any."""
DROPPED: Final = "dropped"
"""In a window whose predictions are no longer kept: true. It stays as it was reported while they were all there."""
DRIFT: Final = ("compared_with", "drift", "season", "shifted", "score_drift", "score_shifted", "unsaid", "no_reference")
"""In a window: how far its inputs and scores moved. No label changes that, so that it stays, `SETTLED` after the end, judged or not."""
_MOST_BEFORE: Final = 9_000
_MOST_AHEAD: Final = 900
"""Together fewer than windows can be."""
_Window = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class History:
    """The report before, as far as the same rules made it.

    Attributes:
        now: As of when it was; None without one.
        windows: Its windows, oldest first.
    """

    now: datetime | None = None
    windows: Sequence[_Window] = field(default_factory=tuple)

    def is_long_over(self, window: _Window) -> bool:
        """Whether it was made so long after a window's end that this was settled, if it was judged."""
        return self.now is not None and end_of(window) + SETTLED <= self.now

    def standing(self, rows: pl.DataFrame, *, since: datetime, kept_since: datetime | None) -> "Standing":
        """What of it a new report takes as it is.

        Args:
            rows: The outcomes that are there, with `at` and `received`.
            since: Windows that began before are out of reach.
            kept_since: What came in before is dropped from the predictions; None where nothing is.
        """
        kept = []
        for window in self.windows:
            if window.get(DROPPED) or start_of(window) < since or (is_judged(window) and self.is_long_over(window)):
                kept.append(window)
            elif kept_since is not None and _lost(window, rows, kept_since):
                kept.append(_without_predictions(window))
        names = {window["start"] for window in kept}
        again = [window for window in self.windows if window["start"] not in names]
        return Standing(kept=kept, again=again, compared=[window for window in again if self.is_long_over(window)])


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What stands of the report before.

    Attributes:
        kept: Windows that stay as they are.
        again: Those that are looked at again.
        compared: Those of them whose drift stays.
    """

    kept: Sequence[_Window]
    again: Sequence[_Window]
    compared: Sequence[_Window]

    def spans(self, rows: pl.DataFrame, windowing: "Windowing") -> "list[Span]":
        """The windows to report anew, oldest first: from the first to the last that rows are in, or that the report before had.

        Args:
            rows: Outcomes outside the kept windows.
            windowing: How time is cut.
        """
        moments: list[Any] = [*rows.select(pl.col("at").min(), last=pl.col("at").max()).row(0)] if rows.height else []
        moments += [start_of(window) for window in self.again]
        if not moments:
            return []
        kept = {start_of(window) for window in self.kept}
        return [span for span in windowing.spans(min(moments), max(moments)) if span.start not in kept]

    @cached_property
    def drift(self) -> Mapping[datetime, _Window]:
        """What stays of the drift of a window, by its first instant."""
        return {start_of(window): {name: window[name] for name in DRIFT if name in window} for window in self.compared}


def start_of(window: _Window) -> datetime:
    """Its first instant."""
    return datetime.fromisoformat(window["start"])


def end_of(window: _Window) -> datetime:
    """The first instant after it."""
    return datetime.fromisoformat(window["end"])


def is_judged(window: _Window) -> bool:
    """Whether enough was known to say how good it was."""
    return bool(window["overall"]["judged"])


def reach(now: datetime, windowing: "Windowing", oldest: datetime) -> "Span":
    """What a prediction may be about to stand in a window: one that somebody asked of the year 1 is no reason for no report.

    Args:
        now: As of when.
        windowing: How time is cut.
        oldest: Before it there are no windows.
    """
    from headwater.monitoring import Span

    newest = datetime.max.replace(tzinfo=now.tzinfo)
    ahead = min(_MOST_AHEAD * windowing.length, newest - now)
    return Span(start=now - min(_MOST_BEFORE * windowing.length, now - oldest), end=now + ahead)


def outside(windows: Iterable[_Window]) -> pl.Expr:
    """Whether `at` lies in none of some windows."""
    ranges: list[tuple[datetime, datetime]] = []
    for start, end in sorted((start_of(window), end_of(window)) for window in windows):
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    inside = (pl.col("at").is_between(*one, closed="left") for one in ranges)
    return ~pl.any_horizontal(pl.lit(False), *inside)


def has_its_rows(window: _Window, rows: pl.DataFrame) -> bool:
    """Whether the predictions of a window are there: rows go oldest first, so that the first to come in tells.

    Args:
        window: Of the report; one of an older Headwater does not say when the first came in, and counts as whole unless it was told to be not.
        rows: The outcomes that are there, with `at` and `received`.
    """
    if window.get(DROPPED):
        return False
    if not window.get(RECEIVED):
        return True
    there: Any = rows.filter(pl.col("at").is_between(start_of(window), end_of(window), closed="left"))["received"].min()
    return there is not None and there <= datetime.fromisoformat(window[RECEIVED])


def _lost(window: _Window, rows: pl.DataFrame, kept_since: datetime) -> bool:
    """Whether predictions of a window are dropped: the first to come in is older than any is kept, and not there any more."""
    if not window["overall"]["rows"] and not window.get(RECEIVED):
        return False
    inside = pl.col("at").is_between(start_of(window), end_of(window), closed="left")
    if not window.get(RECEIVED):  # a report of before did not say it
        return (
            start_of(window) < kept_since and rows.filter(inside, pl.col("judged")).height < window["overall"]["rows"]
        )
    first = datetime.fromisoformat(window[RECEIVED])
    if first >= kept_since:
        return False
    there: Any = rows.filter(inside)["received"].min()
    return there is None or there > first


def _without_predictions(window: _Window) -> _Window:
    overall = dict(window["overall"])
    if not overall["judged"]:
        overall["reason"] = f"{overall['reason']}, and its predictions are no longer kept (Serving.keep)"
    return {**window, DROPPED: True, "overall": overall}
