"""Waiting for the daemon to be done with a day."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.cli import _replay_sensors
from headwater.cli._replay_sensors import DayNotBuiltError, _waited
from resources.settings import Settings

NOTHING, PREDICTIONS = frozenset[str](), frozenset({"shop/predictions"})


def clock() -> Callable[[], float]:
    """Ten seconds more at each look."""
    times: Iterator[int] = iter(range(0, 10_000_000, 10))
    return lambda: float(next(times))


def waited(*looks: tuple[frozenset[str], bool], alive: bool = True, state: Path = Path()) -> list[str]:
    rest = iter(looks)
    last = looks[-1]
    return list(_waited(lambda: next(rest, last), Settings(state=state), lambda: alive, clock()))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_replay_sensors, "_LOOK", 0.0)


def test_a_day_is_done_when_nothing_is_left_and_nothing_runs_twice_in_a_row() -> None:
    seen = []

    def look() -> tuple[frozenset[str], bool]:
        seen.append(len(seen))
        return [(PREDICTIONS, False), (NOTHING, True), (NOTHING, False), (PREDICTIONS, True), (NOTHING, False), (NOTHING, False)][len(seen) - 1]  # fmt: skip

    assert _waited(look, Settings(state=Path()), lambda: True, clock()) == ()
    assert len(seen) == 6


def test_what_no_sensor_builds_any_more_is_said() -> None:
    assert waited((PREDICTIONS, False)) == ["shop/predictions is left: no sensor builds it."]


def test_a_daemon_that_ended_is_an_error_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(DayNotBuiltError, match=r"dagster\.log"):
        waited((PREDICTIONS, False), alive=False, state=tmp_path)


def test_a_day_that_never_ends_is_an_error_that_names_what_is_left() -> None:
    with pytest.raises(DayNotBuiltError, match="30 minutes: shop/predictions"):
        waited((PREDICTIONS, True))
