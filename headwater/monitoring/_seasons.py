"""References by the season: July is compared with summers, where enough of them is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import reduce
from zoneinfo import ZoneInfo

import polars as pl

from headwater.drift import ReferenceProfile
from headwater.monitoring._windows import Span

_YEAR = 12


@dataclass(frozen=True, kw_only=True)
class SeasonalReference:
    """A reference, and its rows of each calendar month.

    Attributes:
        whole: Profile or rows of all of it.
        months: Profiles of its rows by calendar month, 1 to 12, of whatever years; those without rows are absent. They
            have the same columns. Empty compares everything with the whole.
        zone: Whose calendar it is.
        min_rows: Rows that the months of a season need to stand for it.
    """

    whole: ReferenceProfile | pl.DataFrame
    months: Mapping[int, ReferenceProfile] = field(default_factory=dict)
    zone: str = "UTC"
    min_rows: int = 500

    def season(self, window: Span) -> tuple[int, ...]:
        """The months that a window is compared with: its own and their neighbours, as far as there are rows of them.

        Empty, which is the whole, when they have too few rows or are all that there is.
        """
        there = tuple(sorted(_around(window, ZoneInfo(self.zone)) & self.months.keys()))
        rows = sum(self.months[month].rows for month in there)
        return there if rows >= self.min_rows and len(there) < len(self.months) else ()

    def of(self, season: tuple[int, ...]) -> ReferenceProfile | pl.DataFrame:
        """The reference of these months; of no month, the whole."""
        if not season:
            return self.whole
        return reduce(ReferenceProfile.merge, (self.months[month] for month in season))


def _around(window: Span, zone: ZoneInfo) -> set[int]:
    """Calendar months that a window touches, with the one before and the one after."""
    moments = window.start, max(window.end - timedelta(microseconds=1), window.start)
    first, last = (moment.year * _YEAR + moment.month - 1 for moment in (one.astimezone(zone) for one in moments))
    return {number % _YEAR + 1 for number in range(first - 1, min(last, first + _YEAR) + 2)}
