"""Recent delays of an entity, hour by hour, from the arrivals and departures that had come in by then.

An arrival happens when the plane arrives, a departure when it departs. A row stands for the end of an hour: it counts what
happened before that instant. It is known a while later, for no service can have it at that very instant: what happens takes
minutes to come in, and a row minutes to be made. `dbt_project/macros/delay_history.sql` says the same in SQL.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import polars as pl

from assets.flights._schemas import UTC_TIME, Dtype

EVENT_TIME: Final = "event_time"
KNOWN_AT: Final = "known_at"
KNOWN_AFTER: Final = timedelta(minutes=10)
"""How long after the end of its hour a row is known: five minutes until the last event is in, and five to read it and make the row."""
HOURS: Final[Mapping[str, int]] = {"3h": 3, "24h": 24, "7d": 168}
_COUNTED: Final = ("arrivals", "arr_delay", "late", "departures", "dep_delay")


def history_columns(windows: Sequence[str]) -> tuple[str, ...]:
    """Feature columns of a history with these windows, in order."""
    return tuple(
        f"{name}_{window}"
        for window in windows
        for name in ("arrivals", "arr_delay_mean", "late_share", "dep_delay_mean")
    )


def history_schema(by: Sequence[str], windows: Sequence[str]) -> dict[str, Dtype]:
    """Columns of a history with their dtypes."""
    counts = {name: pl.Int64 if name.startswith("arrivals_") else pl.Float64 for name in history_columns(windows)}
    return {**dict.fromkeys(by, pl.String), EVENT_TIME: UTC_TIME, KNOWN_AT: UTC_TIME, **counts}


def delay_history(flights: pl.LazyFrame, *, by: Sequence[str], windows: Sequence[str]) -> pl.LazyFrame:
    """One row an entity and hour in which something happened to it.

    Args:
        flights: The flights dataset, all months.
        by: Entity columns; rows with a null in one are left out.
        windows: Names from `HOURS`.

    Returns:
        Entity, `event_time` (the end of the hour, UTC), `known_at` (`KNOWN_AFTER` it) and for each window the number of arrivals,
        the mean arrival delay, the share of late arrivals and the mean departure delay in minutes; a mean of nothing is null.
    """
    hourly = _hourly(flights, by)
    summed = [
        pl.col(name).rolling_sum_by(EVENT_TIME, window_size=f"{HOURS[window]}h").over(by).alias(f"{name}_{window}")
        for window in windows
        for name in _COUNTED
    ]
    return (
        hourly.with_columns(summed)
        .with_columns(column for window in windows for column in _means(window))
        .with_columns((pl.col(EVENT_TIME) + KNOWN_AFTER).alias(KNOWN_AT))
        .select(list(history_schema(by, windows)))
    )


def _hourly(flights: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
    """Sums of what happened in each hour, by the hour's end."""
    whole = flights.filter(pl.all_horizontal(pl.col(by).is_not_null()))
    arrivals = whole.filter(pl.col("arrival").is_not_null()).select(
        *by,
        _hour_end("arrival"),
        pl.lit(1, pl.Int64).alias("arrivals"),
        pl.col("arr_delay").cast(pl.Int64),
        pl.col("late").cast(pl.Int64),
    )
    departures = whole.filter(pl.col("departure").is_not_null()).select(
        *by, _hour_end("departure"), pl.lit(1, pl.Int64).alias("departures"), pl.col("dep_delay").cast(pl.Int64)
    )
    return (
        pl.concat([arrivals, departures], how="diagonal")
        .group_by(*by, EVENT_TIME)
        .agg(pl.col(_COUNTED).sum())
        .sort(EVENT_TIME, *by)
    )


def _hour_end(column: str) -> pl.Expr:
    return pl.col(column).dt.truncate("1h").dt.offset_by("1h").alias(EVENT_TIME)


def _means(window: str) -> list[pl.Expr]:
    return [
        _ratio(f"arr_delay_{window}", f"arrivals_{window}").alias(f"arr_delay_mean_{window}"),
        _ratio(f"late_{window}", f"arrivals_{window}").alias(f"late_share_{window}"),
        _ratio(f"dep_delay_{window}", f"departures_{window}").alias(f"dep_delay_mean_{window}"),
    ]


def _ratio(total: str, count: str) -> pl.Expr:
    return pl.when(pl.col(count) > 0).then(pl.col(total) / pl.col(count))
