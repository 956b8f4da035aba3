"""The flights of 2013 as they came: nothing is asked with, and nothing lands before, what nobody knew."""

from datetime import UTC, date, datetime, timedelta
from functools import cache

import polars as pl

from assets.flights._paths import AIRPORTS, FLIGHTS
from assets.flights.product import PRODUCT
from assets.flights.replay import FlightsReplay
from headwater.replay import ReplayDay
from headwater.testing.frames import HeldSnapshot
from resources.packaged import packaged_rows
from tests.real_flights import datasets

KEY = ["time_hour", "carrier", "flight"]


@cache
def days() -> tuple[ReplayDay, ...]:
    """The end of January and the begin of February."""
    source = FlightsReplay(HeldSnapshot({AIRPORTS: datasets(2)[AIRPORTS]}), packaged_rows(PRODUCT))
    return tuple(source.days(date(2013, 1, 29), date(2013, 2, 2)))


def landed(day: ReplayDay, month: str) -> pl.DataFrame:
    return day.files["flights", month].with_columns(
        pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC"),
        pl.col("flight").cast(pl.Int32),
    )


def test_each_flight_is_asked_about_once_two_hours_before_it_leaves() -> None:
    typed = datasets(2)[FLIGHTS]
    begin, end = datetime(2013, 1, 29, 5, tzinfo=UTC), datetime(2013, 2, 3, 5, tzinfo=UTC)
    due = typed.filter(pl.col("predict_at").is_between(begin, end, closed="left"))
    asked = [request for day in days() for request in day.requests]
    assert len(asked) == due.height > 4_000
    assert len({request.id for request in asked}) == len(asked)
    assert [request.at for request in asked] == due["predict_at"].sort().to_list()
    for request in asked[::97]:
        departure = datetime.fromisoformat(request.entity["scheduled_departure"])
        assert departure - request.at == timedelta(hours=2)


def test_a_request_says_nothing_of_what_became_of_the_flight() -> None:
    told = {
        "carrier",
        "origin",
        "dest",
        "tailnum",
        "distance",
        "flight",
        "scheduled_departure",
        "scheduled_arrival",
        "time_hour",
    }
    assert {name for day in days() for request in day.requests[:50] for name in request.entity} == told
    assert not {request.entity["tailnum"] for day in days() for request in day.requests} & {"NA", ""}


def test_what_lands_was_known_by_the_end_of_the_day_and_nothing_of_it_is_kept_back() -> None:
    typed = datasets(2)[FLIGHTS].select(*KEY, "arrival", "cancelled", "period")
    for day in days():
        for month in ("2013-01", "2013-02"):
            if ("flights", month) not in day.files:
                continue
            there = landed(day, month).select(KEY).join(typed, on=KEY, how="left")
            assert there.filter(pl.col("arrival") >= day.end).is_empty()
            arrived = typed.filter((pl.col("arrival") < day.end) & (pl.col("period") == month))
            assert there.filter(pl.col("arrival").is_not_null()).height == arrived.height


def test_a_month_grows_day_by_day_and_late_arrivals_of_the_month_before_still_come() -> None:
    heights = [day.files["flights", "2013-01"].height for day in days() if ("flights", "2013-01") in day.files]
    assert heights == sorted(heights)
    assert heights[-1] == 27_004
    first = days()[3]
    assert first.day == date(2013, 2, 1)
    assert ("flights", "2013-01") in first.files
    assert 700 < first.files["flights", "2013-02"].height < 950


def test_landed_rows_are_the_file_s_own_text() -> None:
    source = next(source for source in PRODUCT.sources if source.name == "flights")
    file = days()[-1].files["flights", "2013-02"]
    assert set(file.columns) == set(source.columns)
    assert set(file.schema.values()) == {pl.String}
    original = packaged_rows(PRODUCT)["flights"].select(file.columns)
    assert file.join(original, on=file.columns, how="anti", nulls_equal=True).is_empty()
