"""Feature tables in Polars. Routes and carriers have theirs in SQL: `dbt_project/models/flights`."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from assets.flights._history import EVENT_TIME, KNOWN_AFTER, KNOWN_AT, delay_history, history_schema
from assets.flights._leakage import only_known_flights_counted
from assets.flights._paths import (
    FLIGHTS,
    ORIGIN_HISTORY,
    ORIGINS,
    PLANE_REGISTER,
    PLANES,
    TAIL_HISTORY,
    WEATHER,
    WEATHER_OBSERVED,
)
from assets.flights._schemas import UTC_TIME, WEATHER_COLUMNS, Dtype
from headwater.checks import (
    columns_as_declared,
    keys_are_unique,
    known_after_event,
    not_empty,
    values_among,
    values_in_range,
)
from headwater.product import Inputs, table

ORIGIN_WINDOWS: Final = ("3h", "24h", "7d")
TAIL_WINDOWS: Final = ("24h", "7d")
REPORT_LAG: Final = timedelta(minutes=15)
"""An observation is reported this long after it was made."""
OBSERVED_AFTER: Final = REPORT_LAG + KNOWN_AFTER
"""Its row is known this long after it was made."""
WEATHER_FEATURES: Final = tuple(name for name in WEATHER_COLUMNS if name not in ("origin", "time_hour"))
PLANE_FEATURES: Final = ("built", "seats")
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The register has no dates: what it says is taken as known all along."""
_PLANE_SCHEMA: Final[Mapping[str, Dtype]] = {
    "tailnum": pl.String,
    EVENT_TIME: UTC_TIME,
    KNOWN_AT: UTC_TIME,
    **dict.fromkeys(PLANE_FEATURES, pl.Int32),
}
_WEATHER_SCHEMA: Final[Mapping[str, Dtype]] = {
    "origin": pl.String,
    EVENT_TIME: UTC_TIME,
    KNOWN_AT: UTC_TIME,
    **dict.fromkeys(WEATHER_FEATURES, pl.Float64),
}


@table(
    ORIGIN_HISTORY,
    inputs=[FLIGHTS],
    checks=[
        columns_as_declared(history_schema(("origin",), ORIGIN_WINDOWS)),
        not_empty(),
        keys_are_unique("origin", EVENT_TIME),
        known_after_event(),
        values_among("origin", ORIGINS),
        values_in_range("arrivals_24h", low=0, high=1_000),
        values_in_range("late_share_24h", low=0, high=1),
        only_known_flights_counted(by=("origin",), windows=ORIGIN_WINDOWS),
    ],
)
def origin_history(inputs: Inputs) -> pl.LazyFrame:
    """Delays of flights from each origin over the last 3 hours, 24 hours and 7 days, at the end of each hour."""
    return delay_history(inputs.table(FLIGHTS), by=("origin",), windows=ORIGIN_WINDOWS)


@table(
    TAIL_HISTORY,
    inputs=[FLIGHTS],
    checks=[
        columns_as_declared(history_schema(("tailnum",), TAIL_WINDOWS)),
        not_empty(),
        keys_are_unique("tailnum", EVENT_TIME),
        known_after_event(),
        values_in_range("arrivals_24h", low=0, high=20),
        values_in_range("late_share_24h", low=0, high=1),
        only_known_flights_counted(by=("tailnum",), windows=TAIL_WINDOWS),
    ],
)
def tail_history(inputs: Inputs) -> pl.LazyFrame:
    """Delays of each plane on its flights from New York over the last 24 hours and 7 days."""
    return delay_history(inputs.table(FLIGHTS), by=("tailnum",), windows=TAIL_WINDOWS)


@table(
    WEATHER_OBSERVED,
    inputs=[WEATHER],
    checks=[
        columns_as_declared(_WEATHER_SCHEMA),
        not_empty(),
        keys_are_unique("origin", EVENT_TIME),
        known_after_event(),
        values_among("origin", ORIGINS),
    ],
)
def weather_observed(inputs: Inputs) -> pl.LazyFrame:
    """Weather at each origin as observed, known 25 minutes after the observation."""
    return observed(inputs.table(WEATHER))


def observed(weather: pl.LazyFrame) -> pl.LazyFrame:
    """Observations as feature rows.

    Args:
        weather: Columns of the weather dataset.
    """
    return weather.select(
        "origin",
        pl.col("time_hour").alias(EVENT_TIME),
        (pl.col("time_hour") + OBSERVED_AFTER).alias(KNOWN_AT),
        *WEATHER_FEATURES,
    ).sort(KNOWN_AT, "origin")


@table(
    PLANE_REGISTER,
    inputs=[PLANES],
    checks=[
        columns_as_declared(_PLANE_SCHEMA),
        not_empty(),
        keys_are_unique("tailnum"),
        known_after_event(),
    ],
)
def plane_register(inputs: Inputs) -> pl.LazyFrame:
    """Year built and seats of each plane in the register, known all along."""
    ever = pl.lit(_EVER).cast(UTC_TIME)
    return (
        inputs.table(PLANES)
        .select("tailnum", ever.alias(EVENT_TIME), ever.alias(KNOWN_AT), pl.col("year").alias("built"), pl.col("seats"))
        .sort("tailnum")
    )
