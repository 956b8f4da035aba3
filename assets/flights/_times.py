"""Instants of a flight. The file has local times of two places; everything below is UTC."""

from collections.abc import Sequence

import polars as pl

from headwater.product import RejectedInputError


def add_instants(flights: pl.DataFrame, zones: pl.DataFrame) -> pl.DataFrame:
    """Adds scheduled and actual departure and arrival in UTC.

    Args:
        flights: Rows with `time_hour` (UTC), `minute`, `dest`, `sched_arr_time` (HHMM at the destination), `dep_delay` and
            `arr_delay` in minutes.
        zones: `faa` to `tzone`, without nulls.

    Raises:
        RejectedInputError: A destination has no known zone, or a clock shows no time of day.
    """
    joined = flights.join(zones.select(pl.col("faa").alias("dest"), "tzone"), on="dest", how="left")
    lost = joined.filter(pl.col("tzone").is_null())
    if lost.height:
        names = lost["dest"].unique().sort().to_list()
        raise RejectedInputError(
            f"The airports have no time zone for the destinations {names}, so {lost.height} arrivals have no instant. "
            "Add them to airports.csv, or to the zones in assets/flights/datasets.py.",
            rows=lost.drop("tzone"),
        )
    clock = pl.col("sched_arr_time")
    odd = joined.filter((clock > 2400) | (clock % 100 > 59))
    if odd.height:
        raise RejectedInputError(
            f"{odd.height} values of 'sched_arr_time' are no time of day, such as {odd['sched_arr_time'][0]}. "
            "Correct the file and land it again.",
            rows=odd.drop("tzone"),
        )
    departure = pl.col("time_hour") + pl.duration(minutes=pl.col("minute"))
    timed = joined.with_columns(departure.alias("scheduled_departure"))
    timed = timed.with_columns(_scheduled_arrival(timed["tzone"].unique().sort().to_list()).alias("scheduled_arrival"))
    return timed.with_columns(
        (pl.col("scheduled_departure") + pl.duration(minutes=pl.col("dep_delay"))).alias("departure"),
        (pl.col("scheduled_arrival") + pl.duration(minutes=pl.col("arr_delay"))).alias("arrival"),
    ).drop("tzone")


def _scheduled_arrival(zones: Sequence[str]) -> pl.Expr:
    """The first instant after departure at which the destination's clock shows the scheduled time."""
    nothing = pl.lit(None, pl.Datetime("us", "UTC"))  # of no rows, no zone
    return pl.coalesce(*(pl.when(pl.col("tzone") == zone).then(_arrival_in(zone)) for zone in zones), nothing)


def _arrival_in(zone: str) -> pl.Expr:
    departure = pl.col("scheduled_departure")
    midnight = departure.dt.convert_time_zone(zone).dt.replace_time_zone(None).dt.truncate("1d")
    clock = pl.col("sched_arr_time")
    local = midnight + pl.duration(hours=clock // 100, minutes=clock % 100)
    same_day, next_day = _instant(local, zone), _instant(local + pl.duration(days=1), zone)
    return pl.when(same_day >= departure).then(same_day).otherwise(next_day)


def _instant(local: pl.Expr, zone: str) -> pl.Expr:
    """A local time as an instant. Twice on the clock: the first one. Skipped by the clock: an hour later."""
    exact = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    later = (local + pl.duration(hours=1)).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return pl.coalesce(exact, later).dt.convert_time_zone("UTC")
