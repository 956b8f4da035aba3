"""The datasets' functions on rows that are awkward one way each, and their contracts on rows that break them."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from assets.flights._paths import (
    AIRLINES,
    AIRPORTS,
    LANDED_AIRLINES,
    LANDED_AIRPORTS,
    LANDED_FLIGHTS,
    LANDED_PLANES,
    LANDED_WEATHER,
)
from assets.flights.datasets import airlines, airports, flights, planes, weather
from headwater.product import RejectedInputError
from headwater.testing.frames import audit_of, inputs, verdicts
from tests.scenario import (
    AIRLINES_TEXT,
    AIRPORTS_TEXT,
    AWKWARD_FLIGHTS,
    PLANES_TEXT,
    flight,
    landed_flights,
    landed_weather,
    observation,
)

JANUARY = "2013-01"


def typed_flights(*rows: dict[str, str], period: str = JANUARY) -> pl.DataFrame:
    held = {
        LANDED_FLIGHTS: landed_flights(rows, period=period),
        AIRPORTS: airports(inputs({LANDED_AIRPORTS: AIRPORTS_TEXT})),
        AIRLINES: airlines(inputs({LANDED_AIRLINES: AIRLINES_TEXT})),
    }
    return flights(inputs(held), period).data


def one(name: str) -> dict[str, object]:
    return typed_flights(AWKWARD_FLIGHTS[name]).row(0, named=True)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_an_ordinary_flight_gets_its_instants_and_label() -> None:
    row = one("ordinary")
    assert row["scheduled_departure"] == utc(2013, 1, 10, 15, 30)
    assert row["departure"] == utc(2013, 1, 10, 15, 32)
    assert row["scheduled_arrival"] == utc(2013, 1, 10, 19, 30)
    assert row["arrival"] == row["label_known_at"] == utc(2013, 1, 10, 19, 34)
    assert row["predict_at"] == utc(2013, 1, 10, 13, 30)
    assert (row["late"], row["cancelled"], row["diverted"], row["airline"]) == (0, False, False, "United")


@pytest.mark.parametrize(
    ("name", "scheduled", "arrival"),
    [
        ("over_midnight", utc(2013, 1, 11, 7, 5), utc(2013, 1, 11, 7, 30)),
        ("far_west", utc(2013, 1, 11, 1, 0), utc(2013, 1, 11, 0, 45)),
        ("no_zone_in_file", utc(2013, 1, 10, 19, 25), utc(2013, 1, 10, 19, 29)),
    ],
)
def test_an_arrival_is_an_instant_whatever_the_clocks_show(name: str, scheduled: datetime, arrival: datetime) -> None:
    row = one(name)
    assert (row["scheduled_arrival"], row["arrival"]) == (scheduled, arrival)


@pytest.mark.parametrize(
    ("changes", "scheduled"),
    [
        # 02:30 does not exist in Chicago that night: the clock jumps to 03:00, so it is 03:30 there.
        ({"day": "9", "month": "3", "time_hour": "2013-03-10T04:00:00Z", "sched_arr_time": "230"}, (3, 10, 8, 30)),
        # 01:30 happens twice in Chicago that night: the first one.
        ({"day": "2", "month": "11", "time_hour": "2013-11-03T03:00:00Z", "sched_arr_time": "130"}, (11, 3, 6, 30)),
    ],
)
def test_a_night_that_changes_the_clocks_has_one_arrival(changes: dict[str, str], scheduled: tuple[int, ...]) -> None:
    row = flight(dest="ORD", hour="23", minute="0", sched_dep_time="2300", **changes)
    period = f"2013-{int(changes['month']):02d}"
    found = typed_flights(row, period=period).row(0, named=True)
    assert found["scheduled_arrival"] == utc(2013, *scheduled)


def test_what_never_arrived_has_no_label_and_no_time_at_which_it_was_known() -> None:
    cancelled, diverted = one("cancelled"), one("diverted")
    assert (cancelled["cancelled"], cancelled["diverted"]) == (True, False)
    assert (diverted["cancelled"], diverted["diverted"]) == (False, True)
    for row in (cancelled, diverted):
        assert row["late"] is None
        assert row["label_known_at"] is None
        assert row["arrival"] is None
    assert cancelled["departure"] is None
    assert diverted["departure"] == utc(2013, 1, 10, 15, 32)


def test_late_means_more_than_fifteen_minutes() -> None:
    assert one("just_on_time")["late"] == 0
    assert one("just_late")["late"] == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dep_delay": "two"}, "'dep_delay'"),
        ({"distance": "NA"}, "'distance'"),
        ({"distance": "1400.5"}, "'distance'"),
        ({"time_hour": "10/01/2013 15:00"}, "'time_hour'"),
        ({"minute": "31"}, "do not name the same departure"),
        ({"time_hour": "2013-01-10T16:00:00Z"}, "do not name the same departure"),
        ({"dest": "XXX"}, r"no time zone for the destinations \['XXX'\]"),
        ({"sched_arr_time": "1375"}, "no time of day"),
    ],
)
def test_a_cell_that_makes_no_sense_is_refused_and_shown(changes: dict[str, str], said: str) -> None:
    with pytest.raises(RejectedInputError, match=said) as refused:
        typed_flights(flight(), flight(flight="101", **changes))
    assert refused.value.rows is not None
    assert refused.value.rows.height == 1


def test_only_the_asked_month_is_read() -> None:
    held = {
        LANDED_FLIGHTS: pl.concat([landed_flights([flight()]), landed_flights([flight()], period="2013-02")]),
        AIRPORTS: airports(inputs({LANDED_AIRPORTS: AIRPORTS_TEXT})),
        AIRLINES: airlines(inputs({LANDED_AIRLINES: AIRLINES_TEXT})),
    }
    assert flights(inputs(held), JANUARY).data.height == 1


def contract(*rows: dict[str, str], period: str = JANUARY) -> dict[str, bool]:
    base = {
        AIRPORTS: airports(inputs({LANDED_AIRPORTS: AIRPORTS_TEXT})),
        AIRLINES: airlines(inputs({LANDED_AIRLINES: AIRLINES_TEXT})),
    }
    found = audit_of(flights, typed_flights(*rows), partition=period, base=base)
    return {name: verdict.passed for name, verdict in verdicts(flights, found).items()}


def failed(found: dict[str, bool]) -> set[str]:
    return {name for name, passed in found.items() if not passed}


WHOLE_MONTH = (
    *AWKWARD_FLIGHTS.values(),
    *(flight(flight=str(number)) for number in range(200, 260)),
    flight(flight="300", day="31", time_hour="2013-01-31T15:00:00Z"),
)
# A scenario has no 20,000 rows: that claim warns and refuses nothing.
SMALL = {"rows_in_usual_range"}


def test_the_contract_holds_for_a_month_that_keeps_it() -> None:
    assert failed(contract(*WHOLE_MONTH)) == SMALL


@pytest.mark.parametrize(
    ("broken", "claim"),
    [
        (flight(), "keys_are_unique"),
        (flight(flight="301", origin="PHL"), "origin_is_known"),
        (flight(flight="301", day="1", month="2", time_hour="2013-02-01T15:00:00Z"), "months_match_partition"),
        (flight(flight="301", distance="0"), "distance_in_range"),
        (flight(flight="301", arr_delay="9000"), "arr_delay_in_range"),
        (flight(flight="301", air_time="3"), "air_time_in_range"),
        (flight(flight="301", carrier="ZZ"), "carrier_found_in_airlines"),
    ],
)
def test_one_bad_row_breaks_its_claim(broken: dict[str, str], claim: str) -> None:
    assert claim in failed(contract(*WHOLE_MONTH, broken))
    assert {check.name: check.blocking for check in flights.checks}[claim]


def test_a_month_that_was_cut_off_warns_and_refuses_nothing() -> None:
    assert failed(contract(*WHOLE_MONTH[:-1])) == SMALL | {"newest_near_partition_end"}
    warned = {check.name for check in flights.checks if not check.blocking}
    assert warned == SMALL | {"newest_near_partition_end"}


def test_no_rows_break_every_claim_about_values() -> None:
    assert failed(contract()) >= {"not_empty", "keys_are_unique", "months_match_partition", "late_nulls_below_limit"}


def test_a_month_without_any_label_is_refused() -> None:
    gone = {"dep_time": "NA", "dep_delay": "NA", "arr_time": "NA", "arr_delay": "NA", "air_time": "NA"}
    assert "late_nulls_below_limit" in failed(contract(*(row | gone for row in WHOLE_MONTH)))


def test_an_impossible_wind_becomes_null_and_is_counted() -> None:
    rows = [observation(), observation(hour="11", time_hour="2013-01-10T16:00:00Z", wind_speed="1048.36058")]
    found = weather(inputs({LANDED_WEATHER: landed_weather(rows)}), JANUARY)
    assert found.data["wind_speed"].to_list() == [10.35702, None]
    assert found.facts == {"impossible_winds": 1}


def test_weather_of_one_hour_twice_is_refused() -> None:
    rows = [observation(), observation(temp="40")]
    found = weather(inputs({LANDED_WEATHER: landed_weather(rows)}), JANUARY)
    audit = audit_of(weather, found.data, partition=JANUARY)
    assert not verdicts(weather, audit)["keys_are_unique"].passed


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "warm", " 39", ""])
def test_a_temperature_that_is_no_number_never_becomes_one(text: str) -> None:
    rows = landed_weather([observation(temp=text)])
    if text:
        with pytest.raises(RejectedInputError, match="'temp'"):
            weather(inputs({LANDED_WEATHER: rows}), JANUARY)
    else:
        assert weather(inputs({LANDED_WEATHER: rows}), JANUARY).data["temp"].to_list() == [None]


def test_four_destinations_without_a_zone_get_that_of_puerto_rico() -> None:
    found = airports(inputs({LANDED_AIRPORTS: AIRPORTS_TEXT}))
    zones = dict(found.select("faa", "tzone").iter_rows())
    assert {zones[code] for code in ("BQN", "PSE", "SJU", "STT")} == {"America/Puerto_Rico"}
    again = airports(inputs({LANDED_AIRPORTS: AIRPORTS_TEXT.with_columns(faa=pl.lit("SJU")).head(1)}))
    assert again["faa"].to_list().count("SJU") == 1


def test_planes_of_unknown_age_stay() -> None:
    found = planes(inputs({LANDED_PLANES: PLANES_TEXT}))
    assert found["year"].to_list() == [2003, None]
    assert {name for name, v in verdicts(planes, audit_of(planes, found)).items() if not v.passed} == {
        "year_nulls_below_limit"
    }


def test_a_prediction_is_made_before_any_label_is_known() -> None:
    rows = typed_flights(*WHOLE_MONTH).filter(pl.col("label_known_at").is_not_null())
    assert rows.filter(pl.col("label_known_at") - pl.col("predict_at") < timedelta(hours=2)).is_empty()
