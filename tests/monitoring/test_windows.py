"""Windows are calendar days of a zone and leave no instant out, whatever the clocks do."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.monitoring import MonitoringRuleError, Span, TooManyWindowsError, Windowing
from headwater.monitoring._windows import occupied, split

NEW_YORK = "America/New_York"


def day(year: int, month: int, number: int, hour: int = 0, zone: str = NEW_YORK) -> datetime:
    return datetime(year, month, number, hour, tzinfo=ZoneInfo(zone))


def test_a_day_is_a_local_day_of_23_24_or_25_hours() -> None:
    windowing = Windowing(length=timedelta(days=1), zone=NEW_YORK)
    spans = windowing.spans(day(2013, 3, 9, 5), day(2013, 3, 11, 5))
    assert [span.start for span in spans] == [day(2013, 3, 9), day(2013, 3, 10), day(2013, 3, 11)]
    assert spans[1].end - spans[1].start == timedelta(hours=23)
    (autumn,) = windowing.spans(day(2013, 11, 3, 12), day(2013, 11, 3, 13))
    assert autumn.end - autumn.start == timedelta(hours=25)


def test_a_week_begins_on_its_monday() -> None:
    (week,) = Windowing(length=timedelta(days=7), zone=NEW_YORK).spans(day(2013, 7, 4), day(2013, 7, 4))
    assert (week.start, week.end) == (day(2013, 7, 1), day(2013, 7, 8))


@pytest.mark.parametrize(("date", "hours"), [((2013, 3, 10), [6, 6, 6, 5]), ((2013, 11, 3), [6, 6, 6, 7])])
def test_parts_of_a_day_begin_at_its_midnight_and_fill_it(date: tuple[int, int, int], hours: list[int]) -> None:
    spans = Windowing(length=timedelta(hours=6), zone=NEW_YORK).spans(day(*date), day(*date, 23))
    assert [(span.end - span.start) // timedelta(hours=1) for span in spans] == hours


def test_the_hour_that_does_not_exist_has_no_window() -> None:
    spans = Windowing(length=timedelta(hours=1), zone=NEW_YORK).spans(day(2013, 3, 10), day(2013, 3, 10, 23))
    assert len(spans) == 23
    assert all(span.end - span.start == timedelta(hours=1) for span in spans)


ZONES = st.sampled_from(["UTC", NEW_YORK, "America/Havana", "Africa/Cairo", "Asia/Kathmandu", "Australia/Lord_Howe"])
LENGTHS = st.sampled_from([timedelta(minutes=90), timedelta(hours=6), *(timedelta(days=n) for n in (1, 2, 7, 30))])
INSTANTS = st.datetimes(datetime(2013, 1, 1), datetime(2013, 12, 31)).map(lambda at: at.replace(tzinfo=UTC))


@given(LENGTHS, ZONES, INSTANTS, st.timedeltas(timedelta(0), timedelta(days=40)))
@settings(max_examples=80, deadline=None)
def test_windows_touch_each_other_and_hold_what_they_cover(
    length: timedelta, zone: str, first: datetime, further: timedelta
) -> None:
    spans = Windowing(length=length, zone=zone).spans(first, first + further)
    assert spans[0].start <= first < spans[0].end
    assert spans[-1].start <= first + further < spans[-1].end
    assert all(left.end == right.start and left.start < left.end for left, right in itertools.pairwise(spans))
    assert (
        Windowing(length=length, zone=zone).spans(spans[0].start, spans[-1].start) == spans
    )  # no matter where one begins


@given(LENGTHS, ZONES, st.lists(st.timedeltas(timedelta(0), timedelta(days=9)), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_every_row_is_in_the_one_window_that_holds_it(length: timedelta, zone: str, offsets: list[timedelta]) -> None:
    times = [datetime(2013, 11, 1, tzinfo=UTC) + offset for offset in offsets]
    frame = pl.DataFrame({"at": pl.Series(times, dtype=pl.Datetime("us", "UTC"))})
    found = split(frame, "at", Windowing(length=length, zone=zone))
    assert sum(rows.height for _, rows in found) == len(times)
    assert all(span.start <= at < span.end for span, rows in found for at in rows["at"])


def test_a_span_gives_its_empty_windows_and_leaves_out_what_is_outside() -> None:
    frame = pl.DataFrame({"at": pl.Series([day(2013, 1, 1), day(2013, 1, 5)], dtype=pl.Datetime("ms", NEW_YORK))})
    windowing = Windowing(length=timedelta(days=1), zone=NEW_YORK)
    found = split(frame, "at", windowing, span=Span(start=day(2013, 1, 4), end=day(2013, 1, 7)))
    assert [rows.height for _, rows in found] == [0, 1, 0]
    assert split(frame.clear(), "at", windowing) == []


def test_a_time_of_another_age_does_not_make_a_million_windows() -> None:
    frame = pl.DataFrame({"at": [datetime(1970, 1, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC)]})
    with pytest.raises(TooManyWindowsError, match="Look for predictions with a wrong time"):
        split(frame, "at", Windowing(length=timedelta(hours=1)))


@given(
    length=st.sampled_from([timedelta(hours=6), timedelta(days=1), timedelta(days=7)]),
    hours=st.lists(st.integers(0, 24 * 400), min_size=1, max_size=20),
)
def test_the_windows_that_hold_rows_are_those_of_all_windows(length: timedelta, hours: list[int]) -> None:
    windowing = Windowing(length=length, zone="America/New_York")
    frame = pl.DataFrame({"at": [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in hours]})
    found = [(span, rows["at"].to_list()) for span, rows in occupied(frame, "at", windowing)]
    assert found == [(span, rows["at"].to_list()) for span, rows in split(frame, "at", windowing) if rows.height]


def test_of_a_time_of_another_age_one_window_is_made() -> None:
    frame = pl.DataFrame({"at": [datetime(1, 1, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC)]})
    found = occupied(frame, "at", Windowing(length=timedelta(hours=1), zone="America/New_York"))
    assert [rows.height for _, rows in found] == [1, 1]
    assert occupied(frame.clear(), "at", Windowing()) == []


@pytest.mark.parametrize("length", [timedelta(0), timedelta(days=-1), timedelta(hours=7), timedelta(days=1.5)])
def test_windows_that_do_not_fill_days_are_refused(length: timedelta) -> None:
    with pytest.raises(MonitoringRuleError, match="whole days"):
        Windowing(length=length)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc"])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(MonitoringRuleError, match="time zone"):
        Windowing(zone=zone)
