"""What each landed file has, how its text is read, and what the datasets look like."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from headwater.parsing import Field

Dtype = pl.DataType | type[pl.DataType]
UTC_TIME: Final = pl.Datetime("us", "UTC")
_HOUR: Final = Field(UTC_TIME, format="%Y-%m-%dT%H:%M:%SZ")
_WHOLE: Final = Field(pl.Int32)
_MAYBE_WHOLE: Final = Field(pl.Int32, nullable=True)
_NUMBER: Final = Field(pl.Float64)
_MAYBE_NUMBER: Final = Field(pl.Float64, nullable=True)
_NAME: Final = Field(pl.String)

FLIGHT_FIELDS: Final[Mapping[str, Field]] = {
    "year": _WHOLE,
    "month": _WHOLE,
    "day": _WHOLE,
    "dep_time": _MAYBE_WHOLE,
    "sched_dep_time": _WHOLE,
    "dep_delay": _MAYBE_WHOLE,
    "arr_time": _MAYBE_WHOLE,
    "sched_arr_time": _WHOLE,
    "arr_delay": _MAYBE_WHOLE,
    "carrier": _NAME,
    "flight": _WHOLE,
    "tailnum": Field(pl.String, nullable=True),
    "origin": _NAME,
    "dest": _NAME,
    "air_time": _MAYBE_WHOLE,
    "distance": _WHOLE,
    "hour": _WHOLE,
    "minute": _WHOLE,
    "time_hour": _HOUR,
}
WEATHER_FIELDS: Final[Mapping[str, Field]] = {
    "origin": _NAME,
    "year": _WHOLE,
    "month": _WHOLE,
    "day": _WHOLE,
    "hour": _WHOLE,
    "temp": _MAYBE_NUMBER,
    "dewp": _MAYBE_NUMBER,
    "humid": _MAYBE_NUMBER,
    "wind_dir": _MAYBE_NUMBER,
    "wind_speed": _MAYBE_NUMBER,
    "wind_gust": _MAYBE_NUMBER,
    "precip": _NUMBER,
    "pressure": _MAYBE_NUMBER,
    "visib": _NUMBER,
    "time_hour": _HOUR,
}
PLANE_FIELDS: Final[Mapping[str, Field]] = {
    "tailnum": _NAME,
    "year": _MAYBE_WHOLE,
    "type": _NAME,
    "manufacturer": _NAME,
    "model": _NAME,
    "engines": _WHOLE,
    "seats": _WHOLE,
    "speed": _MAYBE_WHOLE,
    "engine": _NAME,
}
AIRPORT_FIELDS: Final[Mapping[str, Field]] = {
    "faa": _NAME,
    "name": _NAME,
    "lat": _NUMBER,
    "lon": _NUMBER,
    "alt": _WHOLE,
    "tz": _WHOLE,
    "dst": _NAME,
    "tzone": Field(pl.String, nullable=True),
}
AIRLINE_FIELDS: Final[Mapping[str, Field]] = {"carrier": _NAME, "name": _NAME}

FLIGHT_COLUMNS: Final[Mapping[str, Dtype]] = {
    "time_hour": UTC_TIME,
    "carrier": pl.String,
    "flight": pl.Int32,
    "airline": pl.String,
    "tailnum": pl.String,
    "origin": pl.String,
    "dest": pl.String,
    "distance": pl.Int32,
    "hour": pl.Int32,
    "minute": pl.Int32,
    "scheduled_departure": UTC_TIME,
    "scheduled_arrival": UTC_TIME,
    "departure": UTC_TIME,
    "arrival": UTC_TIME,
    "dep_delay": pl.Int32,
    "arr_delay": pl.Int32,
    "air_time": pl.Int32,
    "cancelled": pl.Boolean,
    "diverted": pl.Boolean,
    "late": pl.Int8,
    "label_known_at": UTC_TIME,
    "predict_at": UTC_TIME,
}
WEATHER_COLUMNS: Final[Mapping[str, Dtype]] = {
    "origin": pl.String,
    "time_hour": UTC_TIME,
    **{name: field.dtype for name, field in WEATHER_FIELDS.items() if field.dtype is pl.Float64},
}
PLANE_COLUMNS: Final[Mapping[str, Dtype]] = {name: field.dtype for name, field in PLANE_FIELDS.items()}
AIRPORT_COLUMNS: Final[Mapping[str, Dtype]] = {name: field.dtype for name, field in AIRPORT_FIELDS.items()}
AIRLINE_COLUMNS: Final[Mapping[str, Dtype]] = {name: field.dtype for name, field in AIRLINE_FIELDS.items()}
