"""Which months of the reference a window is compared with, and that the season alone is then no drift."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headwater.drift import DriftLimits, drift_statistics, profile
from headwater.monitoring import SeasonalReference, Span, Windowing, drift_windows

LIMITS = DriftLimits(min_rows=200)


def span(start: str, days: float = 7) -> Span:
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return Span(start=begin, end=begin + timedelta(days=days))


def year(rows: int = 400, *, months: range = range(1, 13), seed: int = 0) -> pl.DataFrame:
    """So many rows a month of a temperature that follows the season, with a time in the middle of the month."""
    draw = np.random.default_rng(seed)
    parts = [
        pl.DataFrame(
            {
                "at": [datetime(2013, month, 15, tzinfo=UTC)] * rows,
                "warmth": 10 - 12 * np.cos((month - 1) / 6 * np.pi) + draw.normal(0, 3, rows),
            }
        )
        for month in months
    ]
    return pl.concat(parts)


def reference(rows: pl.DataFrame, **more: object) -> SeasonalReference:
    kept = {month: profile(rows.filter(pl.col("at").dt.month() == month).drop("at")) for month in range(1, 13)}
    there = {month: found for month, found in kept.items() if found.rows}
    return SeasonalReference(whole=profile(rows.drop("at")), months=there, **{"min_rows": 200, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("window", "months"),
    [
        (span("2014-07-08"), (6, 7, 8)),
        (span("2020-01-08"), (1, 2, 12)),
        (span("2013-12-08"), (1, 11, 12)),
        (span("2013-06-28"), (5, 6, 7, 8)),  # over the turn of the month
        (span("2013-06-24"), (5, 6, 7)),  # up to it
        (span("2013-03-01", 0), (2, 3, 4)),
        (span("2013-01-01", 400), ()),
        (span("2013-02-10", 280), ()),  # every month
    ],
)
def test_a_window_takes_its_months_and_their_neighbours_of_any_year(window: Span, months: tuple[int, ...]) -> None:
    assert reference(year()).season(window) == months


def test_the_calendar_is_that_of_the_zone() -> None:
    late = Span(start=datetime(2013, 7, 1, 2, tzinfo=UTC), end=datetime(2013, 7, 1, 3, tzinfo=UTC))
    assert reference(year()).season(late) == (6, 7, 8)
    assert reference(year(), zone="America/New_York").season(late) == (5, 6, 7)


def test_few_rows_of_the_season_give_way_to_the_whole() -> None:
    winter = reference(year(months=range(1, 6)))
    assert winter.season(span("2013-08-05")) == ()
    assert winter.season(span("2013-06-10")) == (5,)
    assert reference(year(90, months=range(1, 6))).season(span("2013-06-10")) == ()
    assert reference(year(months=range(6, 8))).season(span("2013-06-10")) == ()  # all that there is
    assert SeasonalReference(whole=year()).season(span("2013-06-10")) == ()


def test_a_july_is_no_drift_beside_other_summers_and_is_one_beside_the_whole_year() -> None:
    known = year()
    july = year(800, months=range(7, 8), seed=9)
    windowing = Windowing(length=timedelta(days=7))
    seasonal, whole = (
        drift_windows(one, july, columns=["warmth"], windowing=windowing, limits=LIMITS)[0]
        for one in (reference(known), profile(known.drop("at")))
    )
    assert (seasonal.season, seasonal.shifted) == ((6, 7, 8), ())
    assert (whole.season, whole.shifted) == ((), ("warmth",))
    summer = known.filter(pl.col("at").dt.month().is_in([6, 7, 8])).drop("at")
    assert seasonal.report == drift_statistics(summer, july.drop("at"), limits=LIMITS)
    assert seasonal.to_json()["season"] == [6, 7, 8]


def test_a_july_that_is_cold_is_a_drift_also_beside_other_summers() -> None:
    cold = year(800, months=range(7, 8)).with_columns(pl.col("warmth") - 6)
    found = drift_windows(reference(year()), cold, columns=["warmth"], windowing=Windowing(), limits=LIMITS)[0]
    assert found.shifted == ("warmth",)
