"""Times as whole microseconds since 1970 (UTC), which compare and subtract exactly."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from headwater.streams.errors import NoZoneError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ONE: Final = timedelta(microseconds=1)


def in_microseconds(moment: datetime) -> int:
    """A moment with a zone, in microseconds since 1970. Raises NoZoneError without one."""
    if moment.tzinfo is None:
        raise NoZoneError(moment=moment.isoformat())
    return (moment - EPOCH) // _ONE


def arrivals(at: datetime | Sequence[datetime] | None, count: int) -> list[int]:
    """When each of some events came in, in microseconds since 1970.

    Args:
        at: When they all did, or each, with a zone; None is now.
        count: How many there are.

    Raises:
        NoZoneError: A time has no zone.
        ValueError: There is not one time for each.
    """
    if at is None:
        return [time.time_ns() // 1_000] * count
    if isinstance(at, datetime):
        return [in_microseconds(at)] * count
    if len(at) != count:
        raise ValueError(f"There are {len(at)} times of arrival for {count} events. Give one for each, or one for all.")
    return [in_microseconds(moment) for moment in at]


def length(duration: timedelta) -> int:
    """A duration in microseconds."""
    return duration // _ONE


def as_time(microseconds: int) -> datetime:
    """The moment so many microseconds after 1970, in UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


EARLIEST: Final = in_microseconds(datetime(1, 1, 2, tzinfo=UTC))
LATEST: Final = in_microseconds(datetime(9999, 12, 31, tzinfo=UTC))
"""The least and the greatest event time: in every zone they are a time that Python has."""
