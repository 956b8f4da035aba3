"""Datasets of the flights product: typed, with keys and instants in UTC, each behind a contract."""

from datetime import timedelta
from typing import Final

import polars as pl

from assets.flights._paths import (
    AIRLINES,
    AIRPORTS,
    FLIGHTS,
    KEY,
    LANDED_AIRLINES,
    LANDED_AIRPORTS,
    LANDED_FLIGHTS,
    LANDED_PLANES,
    LANDED_WEATHER,
    MONTHS,
    ORIGINS,
    PERIOD,
    PLANES,
    TIMEZONE,
    WEATHER,
)
from assets.flights._schemas import (
    AIRLINE_COLUMNS,
    AIRLINE_FIELDS,
    AIRPORT_COLUMNS,
    AIRPORT_FIELDS,
    FLIGHT_COLUMNS,
    FLIGHT_FIELDS,
    PLANE_COLUMNS,
    PLANE_FIELDS,
    WEATHER_COLUMNS,
    WEATHER_FIELDS,
)
from assets.flights._times import add_instants
from headwater.checks import (
    columns_as_declared,
    keys_are_unique,
    months_match_partition,
    newest_near_partition_end,
    not_empty,
    nulls_below,
    rows_in_usual_range,
    share_of_references_found,
    values_among,
    values_in_range,
)
from headwater.parsing import parse_text
from headwater.product import Inputs, RejectedInputError, Result, table

LATE_MINUTES: Final = 15
"""A flight is late when it arrives more than this after its schedule (the airlines' own on-time rule)."""
PREDICT_BEFORE: Final = timedelta(hours=2)
"""A prediction is made this long before scheduled departure."""
PUERTO_RICO: Final = ("BQN", "PSE", "SJU", "STT")
"""Destinations that airports.csv lacks. All four keep the time of Puerto Rico, without summer time."""
FASTEST_WIND: Final = 200.0
"""Miles an hour. The greatest wind ever measured at the ground by a station here is far below; the file has one 1048."""
_WINDS: Final = ("wind_speed", "wind_gust")


@table(
    AIRPORTS,
    inputs=[LANDED_AIRPORTS],
    checks=[
        columns_as_declared(AIRPORT_COLUMNS),
        not_empty(),
        keys_are_unique("faa"),
        values_in_range("lat", low=-90, high=90),
        values_in_range("lon", low=-180, high=180),
        nulls_below("tzone", 0.01),  # 3 of 1,462: without a zone an arrival has no instant
    ],
)
def airports(inputs: Inputs) -> pl.DataFrame:
    """Airports by FAA code, with their time zone.

    Four destinations in the Caribbean are not in the file: they are added with code and zone, everything else null.
    """
    rows = parse_text(inputs.table(LANDED_AIRPORTS).collect(), AIRPORT_FIELDS, name="airports.csv")
    missing = [code for code in PUERTO_RICO if code not in set(rows["faa"])]
    added = pl.DataFrame({"faa": missing, "tzone": ["America/Puerto_Rico"] * len(missing)}, schema=_ADDED)
    return pl.concat([rows, added], how="diagonal").select(list(AIRPORT_COLUMNS))


_ADDED: Final = {"faa": pl.String, "tzone": pl.String}


@table(AIRLINES, inputs=[LANDED_AIRLINES], checks=[
    columns_as_declared(AIRLINE_COLUMNS), not_empty(), keys_are_unique("carrier"),
])  # fmt: skip
def airlines(inputs: Inputs) -> pl.DataFrame:
    """Names of carriers by their two-letter code."""
    return parse_text(inputs.table(LANDED_AIRLINES).collect(), AIRLINE_FIELDS, name="airlines.csv")


@table(
    PLANES,
    inputs=[LANDED_PLANES],
    checks=[
        columns_as_declared(PLANE_COLUMNS),
        not_empty(),
        keys_are_unique("tailnum"),
        values_in_range("seats", low=1, high=900),
        values_in_range("engines", low=1, high=8),
        values_in_range("year", low=1900, high=2013),
        nulls_below("year", 0.05),  # 70 of 3,322: a plane without a year has no age
    ],
)
def planes(inputs: Inputs) -> pl.DataFrame:
    """Planes by tail number: year built, maker, model, engines, seats."""
    return parse_text(inputs.table(LANDED_PLANES).collect(), PLANE_FIELDS, name="planes.csv")


@table(
    WEATHER,
    inputs=[LANDED_WEATHER],
    partitions=MONTHS,
    checks=[
        columns_as_declared(WEATHER_COLUMNS),
        not_empty(),
        keys_are_unique("origin", "time_hour"),
        values_among("origin", ORIGINS),
        months_match_partition("time_hour", timezone=TIMEZONE),
        newest_near_partition_end("time_hour", within=timedelta(days=2), timezone=TIMEZONE),
        values_in_range("temp", low=-60, high=130),
        values_in_range("humid", low=0, high=100),
        values_in_range("wind_speed", low=0, high=FASTEST_WIND),
        values_in_range("precip", low=0, high=10),
        values_in_range("visib", low=0, high=10),
        nulls_below("temp", 0.05),
        # A tenth over the year, most of some days: stations report it when they can.
        nulls_below("pressure", 0.30, blocking=False),
    ],
)
def weather(inputs: Inputs, period: str) -> Result:
    """Hourly observations at the three origins, by the UTC hour.

    The local hours repeat when summer time ends, so only the UTC hour names a row. Winds above 200 miles an hour are
    broken sensors: they become null and are counted.
    """
    landed = inputs.table(LANDED_WEATHER).filter(pl.col(PERIOD) == period).collect()
    rows = parse_text(landed, WEATHER_FIELDS, name=f"weather.csv of {period}").select(list(WEATHER_COLUMNS))
    broken = sum(rows.filter(pl.col(name) > FASTEST_WIND).height for name in _WINDS)
    return Result(data=rows.with_columns(possible_winds()), facts={"impossible_winds": broken})


def possible_winds() -> list[pl.Expr]:
    """Winds without those of broken sensors."""
    return [pl.when(pl.col(name) <= FASTEST_WIND).then(pl.col(name)).alias(name) for name in _WINDS]


@table(
    FLIGHTS,
    inputs=[LANDED_FLIGHTS, AIRPORTS, AIRLINES],
    partitions=MONTHS,
    checks=[
        columns_as_declared(FLIGHT_COLUMNS),
        not_empty(),
        rows_in_usual_range(low=20_000, high=35_000),  # 24,951 to 29,425 a month in 2013
        keys_are_unique(*KEY),
        values_among("origin", ORIGINS),
        months_match_partition("scheduled_departure", timezone=TIMEZONE),
        newest_near_partition_end("scheduled_departure", within=timedelta(days=1), timezone=TIMEZONE),
        values_in_range("distance", low=1, high=10_000),
        values_in_range("dep_delay", low=-120, high=2_880),  # -43 to 1,301 in 2013
        values_in_range("arr_delay", low=-180, high=2_880),  # -86 to 1,272 in 2013
        values_in_range("air_time", low=10, high=1_200),
        nulls_below("tailnum", 0.05),  # 0.7% over the year
        nulls_below("late", 0.15),  # 2.8% over the year, 5.5% in the snow of February
        share_of_references_found("carrier", table=AIRLINES),
        share_of_references_found("dest", table=AIRPORTS, key="faa"),
    ],
)
def flights(inputs: Inputs, period: str) -> Result:
    """Flights from New York, one row each, with scheduled and actual instants in UTC and the label.

    `late` is 1 when the flight arrived more than 15 minutes after its schedule, else 0. A cancelled or diverted flight
    never arrived where it was to go: its label is null, and so is `label_known_at`. The label of all others is known when
    they arrive. Predictions are made at `predict_at`, two hours before scheduled departure.
    """
    landed = inputs.table(LANDED_FLIGHTS).filter(pl.col(PERIOD) == period).collect()
    rows = parse_text(landed, FLIGHT_FIELDS, name=f"flights.csv of {period}")
    _agree_on_hours(rows, period)
    timed = add_instants(rows, inputs.table(AIRPORTS).filter(pl.col("tzone").is_not_null()).collect())
    names = inputs.table(AIRLINES).select("carrier", pl.col("name").alias("airline")).collect()
    found = timed.join(names, on="carrier", how="left").with_columns(_outcome()).select(list(FLIGHT_COLUMNS))
    facts = {
        "cancelled": int(found["cancelled"].sum()),
        "diverted": int(found["diverted"].sum()),
        "late_share": found["late"].mean(),
    }
    return Result(data=found, facts=facts)


def _outcome() -> list[pl.Expr]:
    """How a flight ended, and what that makes of its label."""
    cancelled = pl.col("dep_time").is_null()
    return [
        cancelled.alias("cancelled"),
        (~cancelled & pl.col("arr_delay").is_null()).alias("diverted"),
        (pl.col("arr_delay") > LATE_MINUTES).cast(pl.Int8).alias("late"),
        pl.col("arrival").alias("label_known_at"),
        (pl.col("scheduled_departure") - PREDICT_BEFORE).alias("predict_at"),
    ]


def _agree_on_hours(rows: pl.DataFrame, period: str) -> None:
    """Refuses rows whose local departure is not the UTC hour's: one of the two would be wrong, and nobody knows which."""
    local = pl.col("time_hour").dt.convert_time_zone(TIMEZONE)
    differs = (local.dt.hour() != pl.col("hour")) | (local.dt.day() != pl.col("day"))
    strange = rows.filter(differs | (pl.col("hour") * 100 + pl.col("minute") != pl.col("sched_dep_time")))
    if strange.height:
        raise RejectedInputError(
            f"flights.csv of {period} has {strange.height} rows whose 'time_hour', 'day', 'hour' and 'sched_dep_time' do "
            f"not name the same departure in {TIMEZONE}. Correct the file and land it again.",
            rows=strange,
        )
