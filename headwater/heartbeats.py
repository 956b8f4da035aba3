"""Whether a sensor lives: its newest ticks against its interval. Pure; who reads ticks and tells people is elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from headwater.errors import HeadwaterError

TURN: Final = timedelta(seconds=5)
"""A daemon looks which sensors are due once in so long (Dagster's `MIN_INTERVAL_LOOP_TIME`)."""
_INTERVALS: Final = 2


class Pulse(StrEnum):
    """How a sensor does."""

    ALIVE = "alive"
    FAILING = "failing"
    STOPPED = "stopped"
    DEAD = "dead"


class WatchedSensorError(HeadwaterError):
    """A sensor cannot be watched as it is declared."""

    def __init__(self, *, sensor: str, interval: timedelta) -> None:
        super().__init__(f"Sensor '{sensor}' has the interval {interval}. Declare one above zero.")


@dataclass(frozen=True, kw_only=True)
class WatchedSensor:
    """A sensor that should tick.

    Attributes:
        name: Its name.
        interval: Shortest time between two ticks, more than zero.
    """

    name: str
    interval: timedelta

    def __post_init__(self) -> None:
        if self.interval <= timedelta(0):
            raise WatchedSensorError(sensor=self.name, interval=self.interval)

    @property
    def limit(self) -> timedelta:
        """Age of the newest tick from which on it is dead: two intervals, each with a turn of the daemon."""
        return _INTERVALS * (self.interval + TURN)


@dataclass(frozen=True, kw_only=True)
class Tick:
    """One evaluation of a sensor.

    Attributes:
        at: When it began, UTC.
        failed: Whether it ended in an error.
        ended: Whether it ended at all.
        error: The error's first line, empty without.
    """

    at: datetime
    failed: bool = False
    ended: bool = True
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """How a sensor does at an instant.

    Attributes:
        sensor: The sensor.
        pulse: How it does.
        last: When its newest tick began, UTC; None when it never ticked. Ahead of now where the clock went back since.
        age: Time since then, never negative; None when it never ticked.
        reason: A sentence that says why.
    """

    sensor: WatchedSensor
    pulse: Pulse
    last: datetime | None
    age: timedelta | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """JSON values; times in UTC, durations in seconds."""
        return {
            "sensor": self.sensor.name,
            "pulse": self.pulse.value,
            "last_tick": self.last.isoformat() if self.last is not None else None,
            "age_seconds": round(self.age.total_seconds(), 1) if self.age is not None else None,
            "interval_seconds": self.sensor.interval.total_seconds(),
            "limit_seconds": self.sensor.limit.total_seconds(),
            "reason": self.reason,
        }


def judge_heartbeat(
    sensor: WatchedSensor, ticks: Sequence[Tick], *, is_stopped: bool, now: datetime, since: datetime | None = None
) -> Heartbeat:
    """How a sensor does: stopped before dead before failing before alive. A tick further ahead than its limit is no sign of life.

    Args:
        sensor: The sensor.
        ticks: Its newest ticks, the newest first.
        is_stopped: Whether somebody switched it off.
        now: The time, UTC.
        since: From when on it can have ticked, such as the start of who watches; None counts from its newest tick alone.
    """
    felt = [tick for tick in ticks if tick.at - now <= sensor.limit]
    newest = next(iter(felt or ticks), None)
    last = newest.at if newest is not None else None
    age = max(now - last, timedelta(0)) if last is not None else None
    begun = max((moment for moment in (last if felt else None, since) if moment is not None), default=None)
    is_late = begun is None or now - begun > sensor.limit
    ended = next((tick for tick in felt if tick.ended), None)
    if is_stopped:
        pulse, reason = Pulse.STOPPED, "Somebody switched it off. Switch it on in the UI, under Automation."
    elif is_late:
        pulse, reason = Pulse.DEAD, _why_dead(sensor, newest, age, now)
    elif ended is not None and ended.failed:
        pulse, reason = Pulse.FAILING, f"Its newest tick failed: {ended.error or 'without a message'}"
    else:
        said = "It has not ticked yet, and has time to." if not felt or age is None else f"It ticked {_shown(age)} ago."
        pulse, reason = Pulse.ALIVE, said
    return Heartbeat(sensor=sensor, pulse=pulse, last=last, age=age, reason=reason)


def _why_dead(sensor: WatchedSensor, newest: Tick | None, age: timedelta | None, now: datetime) -> str:
    limit = _shown(sensor.limit)
    if newest is None or age is None:
        return f"It never ticked. Does the daemon run? It should tick within {limit}."
    if (ahead := newest.at - now) > sensor.limit:
        return (
            f"Its newest tick is dated {_shown(ahead)} from now: the clock went back, and Dagster lets it tick again only "
            "then. Is the clock right?"
        )
    what = "began" if newest.ended else "began, and has not ended,"
    return f"Its newest tick {what} {_shown(age)} ago; within {limit} there should be another one. Does the daemon run?"


def _shown(time: timedelta) -> str:
    return f"{time.total_seconds():.0f} s"
