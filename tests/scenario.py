"""Shared small frames: a few flights as text, each there because it is awkward in one way."""

from collections.abc import Iterable

import polars as pl

from assets.flights._schemas import FLIGHT_FIELDS, WEATHER_FIELDS

AIRPORTS_TEXT = pl.DataFrame(
    {
        "faa": ["IAH", "LAX", "HNL", "ORD", "MIA"],
        "name": ["Houston", "Los Angeles", "Honolulu", "Chicago", "Miami"],
        "lat": ["29.98", "33.94", "21.32", "41.98", "25.79"],
        "lon": ["-95.34", "-118.41", "-157.92", "-87.90", "-80.29"],
        "alt": ["97", "126", "13", "668", "8"],
        "tz": ["-6", "-8", "-10", "-6", "-5"],
        "dst": ["A", "A", "N", "A", "A"],
        "tzone": ["America/Chicago", "America/Los_Angeles", "Pacific/Honolulu", "America/Chicago", "America/New_York"],
    }
)
AIRLINES_TEXT = pl.DataFrame({"carrier": ["UA", "B6", "HA"], "name": ["United", "JetBlue", "Hawaiian"]})
PLANES_TEXT = pl.DataFrame(
    {
        "tailnum": ["N1", "N2"],
        "year": ["2003", "NA"],  # a plane of unknown age
        "type": ["Fixed wing multi engine"] * 2,
        "manufacturer": ["BOEING", "AIRBUS"],
        "model": ["737", "A320"],
        "engines": ["2", "2"],
        "seats": ["149", "182"],
        "speed": ["NA", "NA"],  # almost always missing in the real file
        "engine": ["Turbo-fan"] * 2,
    }
)


def flight(**changes: str) -> dict[str, str]:
    """An ordinary flight as it lands, with changes: EWR to Houston, 2013-01-10 10:30 to 13:30, four minutes late."""
    usual = {
        "year": "2013", "month": "1", "day": "10", "dep_time": "1032", "sched_dep_time": "1030", "dep_delay": "2",
        "arr_time": "1334", "sched_arr_time": "1330", "arr_delay": "4", "carrier": "UA", "flight": "100",
        "tailnum": "N1", "origin": "EWR", "dest": "IAH", "air_time": "220", "distance": "1400", "hour": "10",
        "minute": "30", "time_hour": "2013-01-10T15:00:00Z",
    }  # fmt: skip
    return {**usual, **changes}


AWKWARD_FLIGHTS = {
    "ordinary": flight(),
    # Lands after midnight in the zone of its destination: the arrival is a day later.
    "over_midnight": flight(
        flight="101", dest="MIA", hour="23", minute="5", sched_dep_time="2305", time_hour="2013-01-11T04:00:00Z",
        dep_time="2310", dep_delay="5", sched_arr_time="205", arr_time="230", arr_delay="25",
    ),
    # Nine hours of flight, yet the clock shows only four hours more; no summer time at the destination.
    "far_west": flight(
        flight="102", carrier="HA", origin="JFK", dest="HNL", hour="9", minute="0", sched_dep_time="900",
        time_hour="2013-01-10T14:00:00Z", sched_arr_time="1500", arr_time="1445", arr_delay="-15",
    ),
    # Its destination is missing in airports.csv, and its zone is an hour ahead of New York in winter.
    "no_zone_in_file": flight(flight="103", carrier="B6", origin="JFK", dest="SJU", sched_arr_time="1525"),
    # Never departed: no instant, no label, no tail number.
    "cancelled": flight(
        flight="104", dep_time="NA", dep_delay="NA", arr_time="NA", arr_delay="NA", air_time="NA", tailnum="NA"
    ),
    # Departed and landed elsewhere: a departure is known, an arrival is not.
    "diverted": flight(flight="105", arr_time="NA", arr_delay="NA", air_time="NA"),
    # On the border of the rule: 15 minutes are not late, 16 are.
    "just_on_time": flight(flight="106", arr_delay="15", arr_time="1345"),
    "just_late": flight(flight="107", arr_delay="16", arr_time="1346"),
}  # fmt: skip


def landed_flights(rows: Iterable[dict[str, str]], *, period: str = "2013-01") -> pl.DataFrame:
    """A landed month of flights: every cell as text, and the month it landed for."""
    frame = pl.DataFrame(list(rows), schema=dict.fromkeys(FLIGHT_FIELDS, pl.String))
    return frame.with_columns(pl.lit(period).alias("period"))


def observation(**changes: str) -> dict[str, str]:
    """An ordinary observation as it lands: EWR, 2013-01-10 10:00, no gust."""
    usual = {
        "origin": "EWR", "year": "2013", "month": "1", "day": "10", "hour": "10", "temp": "39.02", "dewp": "26.06",
        "humid": "59.37", "wind_dir": "270", "wind_speed": "10.35702", "wind_gust": "NA", "precip": "0",
        "pressure": "1012", "visib": "10", "time_hour": "2013-01-10T15:00:00Z",
    }  # fmt: skip
    return {**usual, **changes}


def landed_weather(rows: Iterable[dict[str, str]], *, period: str = "2013-01") -> pl.DataFrame:
    """A landed month of weather."""
    frame = pl.DataFrame(list(rows), schema=dict.fromkeys(WEATHER_FIELDS, pl.String))
    return frame.with_columns(pl.lit(period).alias("period"))
