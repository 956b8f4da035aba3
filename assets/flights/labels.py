"""The labelled events: one row a flight, with its truth, when that is known, and what was known without any history."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from assets.flights._paths import FLIGHTS, KEY, LABELS, PLANES, TIMEZONE
from assets.flights._schemas import UTC_TIME, Dtype
from headwater.checks import (
    columns_as_declared,
    keys_are_unique,
    known_after_event,
    not_empty,
    nulls_below,
    share_of_references_found,
    values_in_range,
)
from headwater.product import Inputs, table

LABEL: Final = "late"
PREDICT_AT: Final = "predict_at"
LABEL_KNOWN_AT: Final = "label_known_at"
SCHEDULE: Final = (
    "distance",
    "hour",
    "minute_of_day",
    "day_of_week",
    "scheduled_minutes",
)
"""Request features from the schedule alone."""
PLANE: Final = ("plane_age", "plane_seats")
"""Request features from the register of planes; null for the sixth of flights whose plane is not in it."""
LABEL_COLUMNS: Final[Mapping[str, Dtype]] = {
    "time_hour": UTC_TIME,
    "carrier": pl.String,
    "flight": pl.Int32,
    PREDICT_AT: UTC_TIME,
    LABEL: pl.Int8,
    LABEL_KNOWN_AT: UTC_TIME,
    "origin": pl.String,
    "dest": pl.String,
    "tailnum": pl.String,
    "month": pl.Int32,
    **dict.fromkeys((*SCHEDULE, *PLANE), pl.Int32),
}


@table(
    LABELS,
    inputs=[FLIGHTS, PLANES],
    checks=[
        columns_as_declared(LABEL_COLUMNS),
        not_empty(),
        keys_are_unique(*KEY),
        known_after_event(event_time=PREDICT_AT, known_at=LABEL_KNOWN_AT, nulls_allowed=True),
        nulls_below(LABEL, 0.10),  # 2.8% over 2013: cancelled or diverted
        values_in_range("scheduled_minutes", low=20, high=1_080),  # 50 to 700 in 2013
        values_in_range("day_of_week", low=1, high=7),
        values_in_range("plane_age", low=-1, high=80),
        # 85% over 2013: the register of 2013 lacks planes of American and Envoy, who reported fleet numbers
        share_of_references_found("tailnum", table=PLANES, at_least=0.80),
    ],
)
def labels(inputs: Inputs) -> pl.LazyFrame:
    """One row a flight: key, prediction time, label and when it is known, entities, and request features.

    Nothing here happened after `predict_at` but the label. The label is null for cancelled and diverted flights.
    """
    departure = pl.col("scheduled_departure").dt.convert_time_zone(TIMEZONE)
    planes = inputs.table(PLANES).select("tailnum", pl.col("year").alias("built"), pl.col("seats").alias("plane_seats"))
    return (
        inputs.table(FLIGHTS)
        .join(planes, on="tailnum", how="left")
        .with_columns(
            departure.dt.month().cast(pl.Int32).alias("month"),
            departure.dt.weekday().cast(pl.Int32).alias("day_of_week"),
            (pl.col("hour") * 60 + pl.col("minute")).alias("minute_of_day"),
            _minutes("scheduled_departure", "scheduled_arrival").alias("scheduled_minutes"),
            (departure.dt.year() - pl.col("built")).alias("plane_age"),
        )
        .select(list(LABEL_COLUMNS))
        .sort(*KEY)
    )


def _minutes(begin: str, end: str) -> pl.Expr:
    return (pl.col(end) - pl.col(begin)).dt.total_minutes().cast(pl.Int32)
