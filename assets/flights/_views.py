"""How the feature tables of flights meet the labels, and which columns the model reads."""

from datetime import timedelta
from typing import Final

from assets.flights._history import history_columns
from assets.flights._paths import (
    CARRIER_HISTORY,
    ORIGIN_HISTORY,
    PLANE_REGISTER,
    ROUTE_HISTORY,
    TAIL_HISTORY,
    WEATHER_OBSERVED,
)
from assets.flights.features import ORIGIN_WINDOWS, PLANE_FEATURES, TAIL_WINDOWS, WEATHER_FEATURES
from headwater.features import FeatureView

ROUTE_WINDOWS: Final = ("24h", "7d")
CARRIER_WINDOWS: Final = ("3h", "24h", "7d")

VIEWS: Final = (
    FeatureView(
        name="origin_history",
        path=ORIGIN_HISTORY,
        entity=("origin",),
        features=history_columns(ORIGIN_WINDOWS),
        ttl=timedelta(days=1),
        prefix="origin_",
    ),
    FeatureView(
        name="carrier_history",
        path=CARRIER_HISTORY,
        entity=("carrier", "origin"),
        features=history_columns(CARRIER_WINDOWS),
        ttl=timedelta(days=7),
        prefix="carrier_",
    ),
    FeatureView(
        name="route_history",
        path=ROUTE_HISTORY,
        entity=("origin", "dest"),
        features=history_columns(ROUTE_WINDOWS),
        ttl=timedelta(days=14),
        prefix="route_",
    ),
    FeatureView(
        name="tail_history",
        path=TAIL_HISTORY,
        entity=("tailnum",),
        features=history_columns(TAIL_WINDOWS),
        ttl=timedelta(days=7),
        prefix="tail_",
    ),
    FeatureView(
        name="weather_observed",
        path=WEATHER_OBSERVED,
        entity=("origin",),
        features=WEATHER_FEATURES,
        ttl=timedelta(hours=6),
        prefix="weather_",
    ),
    FeatureView(
        name="plane_register",
        path=PLANE_REGISTER,
        entity=("tailnum",),
        features=PLANE_FEATURES,
        prefix="plane_",
    ),
)

CATEGORIES: Final = ("carrier", "origin", "dest")
SCHEDULE: Final = ("distance", "hour", "minute_of_day", "day_of_week", "scheduled_minutes")
BASELINE: Final = (*CATEGORIES, *SCHEDULE)
"""What a timetable alone says."""
PLANE: Final = ("plane_age", "plane_seats")
"""Null for the sixth of flights whose plane is not in the register."""
_HISTORIES: Final = tuple(name for view in VIEWS if view.path != PLANE_REGISTER for name in view.outputs.values())
FEATURES: Final = (*BASELINE, *PLANE, *_HISTORIES)
