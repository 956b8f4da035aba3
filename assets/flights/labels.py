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
)
from headwater.product import Inputs, Result, table

LABEL: Final = "late"
PREDICT_AT: Final = "predict_at"
LABEL_KNOWN_AT: Final = "label_known_at"
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
    "distance": pl.Int32,
    "scheduled_departure": UTC_TIME,
    "scheduled_arrival": UTC_TIME,
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
        # 85% over 2013: the register of 2013 lacks planes of American and Envoy, who reported fleet numbers
        share_of_references_found("tailnum", table=PLANES, at_least=0.80),
    ],
)
def labels(inputs: Inputs) -> Result:
    """One row a flight: key, prediction time, label and when it is known, entities, and what a request for it says.

    Nothing here happened after `predict_at` but the label. The label is null for cancelled and diverted flights.
    """
    local = pl.col("scheduled_departure").dt.convert_time_zone(TIMEZONE)
    rows = inputs.table(FLIGHTS).with_columns(local.dt.month().cast(pl.Int32).alias("month"))
    planes = inputs.table(PLANES).select("tailnum").unique()
    registered = inputs.table(FLIGHTS).select("tailnum").join(planes, on="tailnum", how="semi").select(pl.len())
    facts = {"flights_of_registered_planes": registered.collect().item()}
    return Result(data=rows.select(list(LABEL_COLUMNS)).sort(*KEY), facts=facts)
