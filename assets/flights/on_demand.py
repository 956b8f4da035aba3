"""Features computed from the request for one flight: the same functions for a training row and in the service."""

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from assets.flights._paths import TIMEZONE
from headwater.features import OnDemandFeatures

_ZONE: Final = ZoneInfo(TIMEZONE)
_LONGEST: Final = timedelta(hours=24)


def schedule(departure: datetime, arrival: datetime) -> tuple[int, int, int, int]:
    """Hour, minute of the day and day of the week (Monday 1) of departure in New York, and minutes to arrival."""
    if not departure < arrival <= departure + _LONGEST:
        raise ValueError(f"scheduled arrival {arrival} is not within a day after departure {departure}")
    local = departure.astimezone(_ZONE)
    minutes = (arrival - departure) // timedelta(minutes=1)
    return local.hour, local.hour * 60 + local.minute, local.isoweekday(), minutes


def age(departure: datetime, built: int | None) -> tuple[int | None]:
    """Years since the plane was built, None for one that is not in the register."""
    return (None if built is None else departure.astimezone(_ZONE).year - built,)


ON_DEMAND: Final = (
    OnDemandFeatures(
        name="schedule",
        function=schedule,
        inputs=("scheduled_departure", "scheduled_arrival"),
        outputs={"hour": pl.Int32, "minute_of_day": pl.Int32, "day_of_week": pl.Int32, "scheduled_minutes": pl.Int32},
    ),
    OnDemandFeatures(
        name="plane_age",
        function=age,
        inputs=("scheduled_departure", "plane_built"),
        outputs={"plane_age": pl.Int32},
    ),
)
