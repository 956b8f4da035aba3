"""Recent delays: they count what was known at their time and nothing else, and a planted leak is caught."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assets.flights._history import HOURS, KNOWN_AFTER, delay_history, history_columns, history_schema
from assets.flights._leakage import only_known_flights_counted
from assets.flights._paths import FLIGHTS, WEATHER
from assets.flights.features import ORIGIN_WINDOWS, origin_history, tail_history, weather_observed
from headwater.product import Audit
from headwater.testing.frames import HeldSnapshot, audit_of, inputs, verdicts

START = datetime(2013, 1, 10, tzinfo=UTC)
SCHEMA = {
    "origin": pl.String,
    "tailnum": pl.String,
    "departure": pl.Datetime("us", "UTC"),
    "arrival": pl.Datetime("us", "UTC"),
    "dep_delay": pl.Int32,
    "arr_delay": pl.Int32,
    "late": pl.Int8,
}


def flown(
    departs: float, arrives: float | None, delay: int, *, origin: str = "EWR", tailnum: str | None = "N1"
) -> dict[str, object]:
    """A flight by hours since START; None never arrived."""
    arrived = arrives is not None
    return {
        "origin": origin,
        "tailnum": tailnum,
        "departure": START + timedelta(hours=departs),
        "arrival": START + timedelta(hours=arrives) if arrives is not None else None,
        "dep_delay": delay,
        "arr_delay": delay if arrived else None,
        "late": int(delay > 15) if arrived else None,
    }


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def history(rows: pl.DataFrame, *, by: tuple[str, ...] = ("origin",)) -> pl.DataFrame:
    return delay_history(rows.lazy(), by=by, windows=ORIGIN_WINDOWS).collect()


flights_drawn = st.lists(
    st.builds(
        lambda origin, departs, flight, delay, arrives: flown(
            departs, departs + flight if arrives else None, delay, origin=origin
        ),
        origin=st.sampled_from(["EWR", "JFK"]),
        # Quarters of an hour, so that many arrivals fall on the border of an hour or of a window.
        departs=st.integers(0, 4 * 200).map(lambda quarter: quarter / 4),
        flight=st.integers(1, 40).map(lambda quarter: quarter / 4),
        delay=st.integers(-30, 200),
        arrives=st.booleans(),
    ),
    max_size=30,
)


def test_a_row_says_what_had_happened_by_the_end_of_its_hour_and_is_known_a_while_later() -> None:
    found = history(frame(flown(0.0, 2.5, 20), flown(1.0, 2.9, 10), flown(2.0, 3.1, 40)))
    row = found.filter(pl.col("event_time") == START + timedelta(hours=3)).row(0, named=True)
    assert (row["arrivals_3h"], row["arr_delay_mean_3h"], row["late_share_3h"]) == (2, 15.0, 0.5)
    assert row["dep_delay_mean_3h"] == pytest.approx((20 + 10 + 40) / 3)
    assert row["known_at"] == START + timedelta(hours=3, minutes=10)


def test_an_arrival_on_the_hour_belongs_to_the_next_row() -> None:
    found = history(frame(flown(0.0, 2.0, 20)))
    assert found.filter(pl.col("arrivals_3h") > 0)["event_time"].min() == START + timedelta(hours=3)


def test_an_hour_without_arrivals_has_null_means_not_nan() -> None:
    row = history(frame(flown(0.0, None, 20))).row(0, named=True)
    assert (row["arrivals_3h"], row["arr_delay_mean_3h"], row["late_share_3h"]) == (0, None, None)
    assert row["dep_delay_mean_3h"] == 20.0


def test_flights_without_a_tail_number_make_no_history() -> None:
    found = history(frame(flown(0.0, 2.0, 5, tailnum=None), flown(0.0, 2.0, 5)), by=("tailnum",))
    assert found["tailnum"].unique().to_list() == ["N1"]


def test_no_flights_make_an_empty_history_of_the_same_columns() -> None:
    found = history(frame())
    assert found.is_empty()
    assert dict(found.schema) == {
        name: dtype() if isinstance(dtype, type) else dtype
        for name, dtype in history_schema(("origin",), ORIGIN_WINDOWS).items()
    }


@settings(max_examples=60, deadline=None)
@given(flights_drawn)
def test_every_row_equals_a_recount_of_what_had_happened_by_then(drawn: list[dict[str, object]]) -> None:
    rows = frame(*drawn)
    for row in history(rows).iter_rows(named=True):
        own = rows.filter(pl.col("origin") == row["origin"])
        for window in ORIGIN_WINDOWS:
            end = row["known_at"] - KNOWN_AFTER
            begin = end - timedelta(hours=HOURS[window])
            arrived = own.filter(pl.col("arrival").is_between(begin, end, closed="left"))
            departed = own.filter(pl.col("departure").is_between(begin, end, closed="left"))
            assert row[f"arrivals_{window}"] == arrived.height
            assert row[f"arr_delay_mean_{window}"] == pytest.approx(arrived["arr_delay"].mean())
            assert row[f"late_share_{window}"] == pytest.approx(arrived["late"].mean())
            assert row[f"dep_delay_mean_{window}"] == pytest.approx(departed["dep_delay"].mean())


@settings(max_examples=60, deadline=None)
@given(flights_drawn, st.integers(0, 220))
def test_what_happens_later_never_changes_a_row(drawn: list[dict[str, object]], hour: int) -> None:
    now, rows = START + timedelta(hours=hour), frame(*drawn)
    not_yet = [
        pl.when(pl.col("arrival") < now).then(pl.col(name)).alias(name) for name in ("arrival", "arr_delay", "late")
    ]
    then = rows.filter(pl.col("departure") < now).with_columns(not_yet)
    assert_frame_equal(history(then), history(rows).filter(pl.col("event_time") <= now))


@settings(max_examples=30, deadline=None)
@given(flights_drawn)
def test_the_order_of_flights_does_not_matter(drawn: list[dict[str, object]]) -> None:
    rows = frame(*drawn)
    assert_frame_equal(history(rows), history(rows.reverse()))


def leaky(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Histories as a careless author would write them."""
    if kind == "hour's begin as known-at":
        return history(rows).with_columns(pl.col("known_at", "event_time").dt.offset_by("-1h"))
    if kind == "known at departure":
        return history(rows.with_columns(pl.when(pl.col("arrival").is_not_null()).then("departure").alias("arrival")))
    if kind == "whole day":
        day = pl.col("arrival").dt.truncate("1d") + pl.duration(minutes=1)
        return history(rows.with_columns(day.alias("arrival")))
    return history(rows)


def judged(rows: pl.DataFrame, table: pl.DataFrame) -> bool:
    check = only_known_flights_counted(by=("origin",), windows=ORIGIN_WINDOWS)
    staged = HeldSnapshot({origin_history.path: table})
    audit = Audit(path=origin_history.path, partition=None, staged=staged, base=HeldSnapshot({FLIGHTS: rows}), facts={})
    return check.judge(audit).passed


BUSY_DAYS = frame(
    *(flown(quarter / 4, quarter / 4 + 2.3, quarter % 37, tailnum=f"N{quarter % 12}") for quarter in range(300))
)


@pytest.mark.parametrize("kind", ["hour's begin as known-at", "known at departure", "whole day"])
def test_a_planted_leak_is_refused(kind: str) -> None:
    assert judged(BUSY_DAYS, leaky(BUSY_DAYS, "none"))
    assert not judged(BUSY_DAYS, leaky(BUSY_DAYS, kind))


def test_a_history_without_rows_is_refused() -> None:
    assert not judged(BUSY_DAYS, history(frame()))


@pytest.mark.parametrize("asset", [origin_history, tail_history])
def test_the_contracts_of_histories_hold_and_see_a_leak(asset: object) -> None:
    rows = asset(inputs({FLIGHTS: BUSY_DAYS})).collect()  # type: ignore[operator]
    good = verdicts(asset, audit_of(asset, rows, base={FLIGHTS: BUSY_DAYS}))  # type: ignore[arg-type]
    assert {name for name, verdict in good.items() if not verdict.passed} == set()
    early = rows.with_columns(pl.col("known_at").dt.offset_by("-1h"))
    bad = verdicts(asset, audit_of(asset, early, base={FLIGHTS: BUSY_DAYS}))  # type: ignore[arg-type]
    assert {name for name, verdict in bad.items() if not verdict.passed} == {
        "known_after_event",
        "only_known_flights_counted",
    }


def test_an_observation_is_known_ten_minutes_after_it_is_reported() -> None:
    names = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
    row = {"origin": "EWR", "time_hour": START, **dict.fromkeys(names, 1.0)}
    found = weather_observed(inputs({WEATHER: pl.DataFrame([row])})).collect().row(0, named=True)
    assert (found["event_time"], found["known_at"]) == (START, START + timedelta(minutes=25))


def test_feature_columns_are_named_by_what_and_how_long() -> None:
    assert history_columns(("3h",)) == ("arrivals_3h", "arr_delay_mean_3h", "late_share_3h", "dep_delay_mean_3h")
