"""What is computed from a request for one flight, by the functions that made the training set."""

from datetime import UTC, datetime, timedelta

import pytest

from assets.flights.on_demand import age, schedule

DEPARTURE = datetime(2013, 1, 10, 15, 30, tzinfo=UTC)


def test_the_schedule_is_that_of_new_york() -> None:
    assert schedule(DEPARTURE, DEPARTURE + timedelta(hours=4)) == (10, 630, 4, 240)
    summer = datetime(2013, 7, 8, 3, 59, tzinfo=UTC)  # Sunday evening in New York
    assert schedule(summer, summer + timedelta(minutes=50)) == (23, 1_439, 7, 50)


@pytest.mark.parametrize("hours", [-1, 0, 25])
def test_an_arrival_that_no_flight_can_have_is_refused(hours: int) -> None:
    with pytest.raises(ValueError, match="within a day after departure"):
        schedule(DEPARTURE, DEPARTURE + timedelta(hours=hours))


def test_a_plane_has_an_age_when_the_register_knows_it() -> None:
    assert age(DEPARTURE, 2003) == (10,)
    assert age(datetime(2014, 1, 1, 4, tzinfo=UTC), 2003) == (10,)  # still 2013 in New York
    assert age(DEPARTURE, None) == (None,)
