"""Departures, arrivals and the weather as they come in, and the features that they carry on between two publications."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import polars as pl

from assets.flights._history import HOURS, KNOWN_AFTER, delay_history
from assets.flights._paths import KEY, MOVEMENTS, OBSERVATIONS
from assets.flights._schemas import UTC_TIME, WEATHER_COLUMNS
from assets.flights._views import CARRIER_WINDOWS, ROUTE_WINDOWS
from assets.flights.datasets import LATE_MINUTES
from assets.flights.features import (
    OBSERVED_AFTER,
    ORIGIN_WINDOWS,
    REPORT_LAG,
    TAIL_WINDOWS,
    WEATHER_FEATURES,
    observed,
)
from headwater.features import StreamedView
from headwater.streams import StreamSource

DEPARTURE: Final = "departure"
ARRIVAL: Final = "arrival"
ARRIVES: Final = "arrives"
"""When an event comes in."""
_ON_THE_WAY: Final = timedelta(minutes=5)
"""So long it takes at most until it is in the log."""

MOVEMENT_EVENTS: Final = StreamSource(
    path=MOVEMENTS,
    columns={
        "time_hour": UTC_TIME,
        "carrier": pl.String,
        "flight": pl.Int64,
        "kind": pl.String,
        "at": UTC_TIME,
        "delay": pl.Int64,
        "origin": pl.String,
        "dest": pl.String,
        "tailnum": pl.String,
    },
    event_time="at",
    id=(*KEY, "kind"),
    optional=("tailnum",),
    allowed_lateness=timedelta(minutes=10),
    duplicate_horizon=timedelta(days=2),
    idle_after=timedelta(minutes=30),
    arrives_within=_ON_THE_WAY,
    owners=("team:flights",),
    description="Each departure from New York and each arrival of such a flight, when it happens, with its delay in minutes.",
)

WEATHER_EVENTS: Final = StreamSource(
    path=OBSERVATIONS,
    columns=WEATHER_COLUMNS,
    event_time="time_hour",
    id=("origin", "time_hour"),
    optional=WEATHER_FEATURES,
    allowed_lateness=timedelta(minutes=10),
    duplicate_horizon=timedelta(days=2),
    idle_after=timedelta(hours=3),
    arrives_within=REPORT_LAG + _ON_THE_WAY,
    owners=("team:flights",),
    description="Each hourly observation at the three origins, when it is reported: a quarter of an hour later.",
)
EVENTS: Final = (MOVEMENT_EVENTS, WEATHER_EVENTS)


def movement_histories(events: pl.LazyFrame, *, by: Sequence[str], windows: Sequence[str]) -> pl.LazyFrame:
    """The delay history that departures and arrivals make: `delay_history` of what they say of flights.

    Args:
        events: Rows of the stream of movements.
        by: Entity columns.
        windows: Names from `HOURS`.
    """
    return delay_history(flights_of(events), by=by, windows=windows)


def flights_of(events: pl.LazyFrame) -> pl.LazyFrame:
    """What each event says of its flight, in the columns of the flights dataset: a departure or an arrival, never both."""
    departed, arrived = pl.col("kind") == DEPARTURE, pl.col("kind") == ARRIVAL
    return events.select(
        *("carrier", "origin", "dest", "tailnum"),
        pl.when(departed).then("at").alias("departure"),
        pl.when(arrived).then("at").alias("arrival"),
        pl.when(departed).then("delay").alias("dep_delay"),
        pl.when(arrived).then("delay").alias("arr_delay"),
        pl.when(arrived).then(pl.col("delay") > LATE_MINUTES).cast(pl.Int8).alias("late"),
    )


def events_of(flights: pl.DataFrame) -> pl.DataFrame:
    """The events of flights that have been: two of one that arrived, one of one that was diverted, none of a cancelled one.

    Args:
        flights: Rows of the flights dataset.

    Returns:
        The columns of the stream and `arrives`, the instant at which the event comes in: when it happens. In that order.
    """
    parts = [
        flights.filter(pl.col(kind).is_not_null()).select(
            *KEY[:2],
            pl.col("flight").cast(pl.Int64),
            pl.lit(kind).alias("kind"),
            pl.col(kind).alias("at"),
            pl.col(delay).cast(pl.Int64).alias("delay"),
            *("origin", "dest", "tailnum"),
            pl.col(kind).alias(ARRIVES),
        )
        for kind, delay in ((DEPARTURE, "dep_delay"), (ARRIVAL, "arr_delay"))
    ]
    return pl.concat(parts).sort(ARRIVES, *KEY, "kind")


def reports_of(weather: pl.DataFrame) -> pl.DataFrame:
    """The events of observations.

    Args:
        weather: Rows of the weather dataset.

    Returns:
        The columns of the stream and `arrives`, in that order.
    """
    return weather.select(*WEATHER_COLUMNS, (pl.col("time_hour") + REPORT_LAG).alias(ARRIVES)).sort(
        ARRIVES, "origin", maintain_order=True
    )


def messages(events: pl.DataFrame, source: StreamSource = MOVEMENT_EVENTS) -> Iterator[tuple[datetime, bytes]]:
    """Events as a log takes them: when each arrives, and its bytes."""
    names = list(source.columns)
    for row in events.select(*names, ARRIVES).iter_rows(named=True):
        arrives = row.pop(ARRIVES)
        yield arrives, json.dumps({name: _plain(value) for name, value in row.items()}).encode()


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _streamed(view: str, by: Sequence[str], windows: Sequence[str]) -> StreamedView:
    lengths = tuple(timedelta(hours=HOURS[window]) for window in windows)
    return StreamedView(
        view=view,
        events=MOVEMENTS,
        lookback=max(lengths),
        compute=partial(movement_histories, by=tuple(by), windows=tuple(windows)),
        known_after=KNOWN_AFTER,
        windows=lengths,
        # A file of a day or a month has its flights' arrivals of the next day, and lacks those of the next day's flights: up to
        # 22 hours of delay and 7 in the air after its end.
        settles=timedelta(hours=36),
    )


STREAMS: Final = (
    _streamed("origin_history", ("origin",), ORIGIN_WINDOWS),
    _streamed("carrier_history", ("carrier", "origin"), CARRIER_WINDOWS),
    _streamed("route_history", ("origin", "dest"), ROUTE_WINDOWS),
    _streamed("tail_history", ("tailnum",), TAIL_WINDOWS),
    # An observation is a row by itself: it looks back at no other.
    StreamedView(
        view="weather_observed",
        events=OBSERVATIONS,
        lookback=timedelta(hours=1),
        compute=observed,
        known_after=OBSERVED_AFTER,
        inclusive=True,
    ),
)
