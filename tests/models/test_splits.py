from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.models import TimeSplit
from headwater.models.errors import (
    EmptyPartError,
    MissingColumnsError,
    ModelDeclarationError,
    NullTimeError,
    WrongDtypeError,
)


def days(first: date, last: date) -> pl.DataFrame:
    return pl.DataFrame({"at": pl.datetime_range(first, last, "1d", eager=True)})


def test_january_to_june_trains_to_april_validates_may_tests_june() -> None:
    split = TimeSplit(time="at").apply(days(date(2013, 1, 1), date(2013, 6, 30)))
    assert split.rows() == {"train": 31 + 28 + 31 + 30, "validation": 31, "test": 30}
    assert split.validation["at"].min() == datetime(2013, 5, 1)
    assert split.test["at"].min() == datetime(2013, 6, 1)


def test_a_landed_july_moves_the_window_by_a_month() -> None:
    split = TimeSplit(time="at").apply(days(date(2013, 1, 1), date(2013, 7, 31)))
    assert split.train["at"].max() == datetime(2013, 5, 31)
    assert split.validation["at"].to_list() == days(date(2013, 6, 1), date(2013, 6, 30))["at"].to_list()
    assert split.test["at"].min() == datetime(2013, 7, 1)


def test_a_month_that_has_just_begun_is_tested_with_the_month_before_it() -> None:
    """An order of 3 November had two days to judge a model on: their weather passed it, or refused it."""
    split = TimeSplit(time="at").apply(days(date(2013, 1, 1), date(2013, 7, 2)))
    assert (split.bounds.validation, split.bounds.test) == (datetime(2013, 5, 1), datetime(2013, 6, 1))
    assert split.rows() == {"train": 120, "validation": 31, "test": 32}
    ninth, tenth = (TimeSplit(time="at").apply(days(date(2013, 1, 1), date(2013, 7, day))) for day in (9, 10))
    assert (ninth.bounds.test, tenth.bounds.test) == (datetime(2013, 6, 1), datetime(2013, 7, 1))
    longer = TimeSplit(time="at", test_months=2).apply(days(date(2013, 1, 1), date(2013, 7, 2)))
    assert longer.bounds.test == datetime(2013, 6, 1), "two months have enough days, however few of the newest"


def test_days_count_and_not_rows() -> None:
    hours = pl.DataFrame({"at": pl.datetime_range(date(2013, 1, 1), datetime(2013, 7, 2, 23), "1h", eager=True)})
    assert TimeSplit(time="at").apply(hours).bounds.test == datetime(2013, 6, 1)


def test_months_that_all_have_one_day_are_whole_as_they_are() -> None:
    """An extract of the first of each month: no later day of it is to come."""
    monthly = pl.DataFrame({"at": [datetime(2013, month, 1) for month in range(1, 9)] * 50})
    assert TimeSplit(time="at").apply(monthly).rows() == {"train": 300, "validation": 50, "test": 50}


def test_a_test_part_of_few_days_stays_where_reaching_back_would_leave_nothing_to_learn_from() -> None:
    split = TimeSplit(time="at").apply(days(date(2013, 5, 1), date(2013, 7, 2)))
    assert split.rows() == {"train": 31, "validation": 30, "test": 2}
    short = TimeSplit(time="at", train_months=1).apply(days(date(2013, 1, 1), date(2013, 7, 2)))
    assert (short.bounds.start, short.bounds.test) == (datetime(2013, 4, 1), datetime(2013, 6, 1))


def test_the_window_crosses_a_new_year() -> None:
    bounds = TimeSplit(time="at", validation_months=2, test_months=1, train_months=3).bounds(datetime(2014, 1, 9))
    assert (bounds.start, bounds.validation) == (datetime(2013, 8, 1), datetime(2013, 11, 1))
    assert (bounds.test, bounds.end) == (datetime(2014, 1, 1), datetime(2014, 2, 1))


def test_a_june_evening_in_new_york_is_june_although_it_is_july_by_utc() -> None:
    utc = pl.DataFrame({"at": [datetime(2013, month, 1, 12) for month in range(1, 7)] + [datetime(2013, 7, 1, 2)]})
    utc = utc.with_columns(pl.col("at").dt.replace_time_zone("UTC"))
    local = TimeSplit(time="at", timezone="America/New_York").apply(utc)
    assert local.bounds.end == datetime(2013, 7, 1)
    assert local.test["at"].max() == utc["at"].max()
    assert TimeSplit(time="at").apply(utc).bounds.end == datetime(2013, 8, 1)


@settings(deadline=None)
@given(
    minutes=st.lists(st.integers(0, 400 * 24 * 60), min_size=1, max_size=60),
    validation=st.integers(1, 3),
    test=st.integers(1, 3),
    train=st.none() | st.integers(1, 4),
)
def test_parts_are_disjoint_ordered_in_time_and_lose_only_what_is_older_than_train(
    minutes: list[int], validation: int, test: int, train: int | None
) -> None:
    times = [datetime(2013, 1, 1) + timedelta(minutes=minute) for minute in minutes]
    frame = pl.DataFrame({"at": times, "row": list(range(len(times)))})
    splitter = TimeSplit(time="at", validation_months=validation, test_months=test, train_months=train)
    try:
        split = splitter.apply(frame)
    except EmptyPartError:
        return
    bounds = split.bounds
    assert split.train["at"].max() < bounds.validation <= split.validation["at"].min()
    assert split.validation["at"].max() < bounds.test <= split.test["at"].min()
    assert split.test["at"].max() < bounds.end
    kept = [*split.train["row"], *split.validation["row"], *split.test["row"]]
    assert len(kept) == len(set(kept))
    lost = set(frame["row"]) - set(kept)
    assert all(bounds.start is not None and times[row] < bounds.start for row in lost)


def test_labels_that_come_in_after_a_part_ended_are_left_out_of_it_and_counted() -> None:
    """A model made on the first of May could not have learned how the flight of the last evening of April ended."""
    frame = days(date(2013, 1, 1), date(2013, 6, 30)).with_columns(known=pl.col("at").dt.offset_by("3d"))
    split = TimeSplit(time="at", known_at="known").apply(frame)
    assert split.purged == {"train": 2, "validation": 2}
    assert split.train["known"].max() == datetime(2013, 5, 1)  # known when validation begins is known in time
    assert split.validation["known"].max() == datetime(2013, 6, 1)
    assert split.test.height == 30
    everything = TimeSplit(time="at").apply(frame)
    assert everything.purged == {"train": 0, "validation": 0}
    assert everything.rows() == {"train": 120, "validation": 31, "test": 30}


def test_a_row_without_a_time_is_an_error() -> None:
    with pytest.raises(NullTimeError, match="'at' is null in 1 rows"):
        TimeSplit(time="at").apply(pl.DataFrame({"at": [datetime(2013, 1, 1), None]}))


def test_a_label_without_the_time_it_was_known_is_an_error() -> None:
    frame = days(date(2013, 1, 1), date(2013, 6, 30)).with_columns(known=pl.col("at"))
    frame[3, "known"] = None
    with pytest.raises(NullTimeError, match="'known' is null in 1 rows"):
        TimeSplit(time="at", known_at="known").apply(frame)
    zoned = days(date(2013, 1, 1), date(2013, 6, 30)).with_columns(known=pl.col("at").dt.replace_time_zone("UTC"))
    with pytest.raises(WrongDtypeError, match="without a time zone, as 'at' is"):
        TimeSplit(time="at", known_at="known").apply(zoned)
    with pytest.raises(MissingColumnsError, match="absent"):
        TimeSplit(time="at", known_at="absent").apply(frame)


def test_row_order_changes_no_part() -> None:
    frame = days(date(2013, 1, 1), date(2013, 6, 30))
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=3)
    assert TimeSplit(time="at").apply(shuffled).test["at"].sort().equals(TimeSplit(time="at").apply(frame).test["at"])


@pytest.mark.parametrize(
    ("frame", "part"),
    [
        (days(date(2013, 1, 1), date(2013, 1, 31)), "validation|train"),
        (days(date(2013, 1, 1), date(2013, 2, 28)), "train"),
        (days(date(2013, 1, 1), date(2013, 1, 31)).clear(), "whole"),
    ],
)
def test_an_empty_part_is_an_error_that_names_it(frame: pl.DataFrame, part: str) -> None:
    with pytest.raises(EmptyPartError, match=part):
        TimeSplit(time="at").apply(frame)


def test_a_gap_of_a_whole_month_names_the_empty_part_and_the_bounds() -> None:
    frame = pl.concat([days(date(2013, 1, 1), date(2013, 4, 30)), days(date(2013, 6, 1), date(2013, 6, 2))])
    with pytest.raises(EmptyPartError, match=r"validation.*2013-05-01"):
        TimeSplit(time="at").apply(frame)


def test_a_split_without_its_time_column_names_the_column() -> None:
    with pytest.raises(MissingColumnsError, match="'when'"):
        TimeSplit(time="when").apply(days(date(2013, 1, 1), date(2013, 6, 30)))
    with pytest.raises(WrongDtypeError, match="datetime"):
        TimeSplit(time="at").apply(pl.DataFrame({"at": ["2013-01-01"]}))


@pytest.mark.parametrize("wrong", [{"validation_months": 0}, {"test_months": -1}, {"timezone": "Mars/Olympus"}])
def test_an_impossible_split_cannot_be_declared(wrong: dict[str, object]) -> None:
    with pytest.raises(ModelDeclarationError):
        TimeSplit(time="at", **wrong)
