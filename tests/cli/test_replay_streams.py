"""How a replay's events come into the logs."""

from datetime import UTC, datetime, timedelta

from assets.flights.streams import EVENTS
from headwater.cli._replay_run import together
from headwater.replay import ReplayEvent

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


def test_events_come_into_a_log_about_when_they_arrived() -> None:
    """They were stamped with the end of their hour: later than a stream may say that its events are there."""
    events = [ReplayEvent(NOON + timedelta(minutes=minute), str(minute).encode()) for minute in range(0, 60, 2)]
    found = list(together(events))
    assert [data for _, part in found for data in part] == [event.data for event in events]
    came = {data: at for at, part in found for data in part}
    waits = [came[event.data] - event.arrives for event in events]
    assert min(waits) == timedelta(0)
    assert max(waits) == timedelta(minutes=4)
    assert all(source.arrives_within is not None and max(waits) < source.arrives_within for source in EVENTS)
    assert len(found) == 12
