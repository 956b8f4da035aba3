"""Heartbeats over the daemon's own tick code: a dead, stopped or failing sensor is a failed check."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from headwater.heartbeats import Pulse, Tick, WatchedSensor, WatchedSensorError, judge_heartbeat
from resources.opening import open_lake
from resources.settings import load_settings
from sensors.heartbeat import AGAIN, SENSORS_KEY, changed_checks, heartbeats, watched_sensors
from tests.sensors import toy_location
from tests.sensors.daemon import STATE, TICK, Daemon, running

# Dagster's daemon calls it; as an error it would fail the tick.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys` is deprecated")

WATCHED = watched_sensors(toy_location.SENSORS)
NAMES = {one.name for one in WATCHED}
NOW = datetime(2026, 5, 1, tzinfo=UTC)
SENSOR = WatchedSensor(name="landed_data", interval=timedelta(seconds=5))


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path / STATE))
    with running(tmp_path) as found:
        monkeypatch.setattr("sensors.heartbeat._now", lambda: found.now)  # its clock is moved from tick to tick
        yield found


def shown(daemon: Daemon) -> dict[str, bool]:
    """What Dagster's UI shows of each sensor's check."""
    keys = [dg.AssetCheckKey(SENSORS_KEY, f"{name}_ticks") for name in NAMES]
    records = daemon.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    return {key.name.removesuffix("_ticks"): record.status.value == "SUCCEEDED" for key, record in records.items()}


def look(daemon: Daemon, *, after: timedelta = timedelta()) -> dict[str, Pulse]:
    """What somebody sees who looks from outside some time after the newest tick, and tells Dagster."""
    found = heartbeats(daemon.instance, WATCHED, now=daemon.now + after)
    for told in changed_checks(daemon.instance, found):
        daemon.instance.report_runless_asset_event(told)
    return {beat.sensor.name: beat.pulse for beat in found}


def switch(daemon: Daemon, name: str, *, on: bool) -> None:
    """What the button in the UI does."""
    location = next(iter(daemon.workspace.create_request_context().code_locations))
    sensor = next(
        one for repo in location.get_repositories().values() for one in repo.get_sensors() if one.name == name
    )
    if on:
        daemon.instance.start_sensor(sensor)
    else:
        daemon.instance.stop_sensor(sensor.get_remote_origin_id(), sensor.selector_id, sensor)


def test_sensors_that_tick_hold_their_checks(daemon: Daemon) -> None:
    daemon.tick()
    daemon.tick()
    assert look(daemon) == dict.fromkeys(NAMES, Pulse.ALIVE)
    assert shown(daemon) == dict.fromkeys(NAMES, True)


def test_a_dead_daemon_fails_every_check_within_two_intervals_and_holds_them_when_it_is_back(daemon: Daemon) -> None:
    daemon.tick()
    look(daemon)
    last = max(one.limit for one in WATCHED)
    assert Pulse.DEAD not in look(daemon, after=min(one.limit for one in WATCHED)).values()
    assert look(daemon, after=last + timedelta(seconds=1)) == dict.fromkeys(NAMES, Pulse.DEAD)
    assert shown(daemon) == dict.fromkeys(NAMES, False)
    daemon.tick()
    look(daemon)
    assert shown(daemon) == dict.fromkeys(NAMES, True)


def test_a_lake_that_is_away_fails_who_reads_it_at_the_next_tick_and_nothing_is_begun_in_its_place(
    daemon: Daemon, tmp_path: Path
) -> None:
    """The sensors made an empty lake on the mount point, and requested the landing of everything into it."""
    daemon.land(1, 2)
    daemon.settle()
    before = daemon.commits("toy/report")
    open_lake(load_settings(), create=True)
    lake = daemon.state / "lake"
    lake.rename(tmp_path / "away")
    daemon.land(1, 2, 3)
    assert daemon.tick(may_fail=True) == daemon.tick(may_fail=True) == []
    readers = {"landed_data", "outside_commits", "reconciliation"}
    assert daemon.failing == readers
    assert {name for name, pulse in look(daemon).items() if pulse is Pulse.FAILING} == readers
    assert {name for name, holds in shown(daemon).items() if not holds} == readers
    beats = {beat.sensor.name: beat for beat in heartbeats(daemon.instance, WATCHED, now=daemon.now)}
    assert "is not where it was" in beats["landed_data"].reason
    assert not lake.exists()
    (tmp_path / "away").rename(lake)
    assert daemon.settle()[0] == "toy/landing/numbers"
    assert daemon.commits("toy/report") == before + 1
    look(daemon)
    assert shown(daemon) == dict.fromkeys(NAMES, True)


def test_a_stopped_sensor_fails_its_check_alone_until_it_is_started_again(daemon: Daemon) -> None:
    daemon.tick()
    switch(daemon, "landed_data", on=False)
    daemon.tick()
    assert shown(daemon) == dict.fromkeys(NAMES - {"heartbeat", "landed_data"}, True) | {
        "landed_data": False
    }  # told from within
    assert look(daemon) == dict.fromkeys(NAMES, Pulse.ALIVE) | {"landed_data": Pulse.STOPPED}
    switch(daemon, "landed_data", on=True)
    daemon.tick()
    daemon.tick()
    assert look(daemon) == dict.fromkeys(NAMES, Pulse.ALIVE)
    assert shown(daemon) == dict.fromkeys(NAMES, True)


def test_a_sensor_whose_tick_failed_fails_its_check_with_the_error(daemon: Daemon) -> None:
    daemon.tick()
    landing = daemon.state / "landing"
    shutil.rmtree(landing, ignore_errors=True)
    daemon.state.joinpath("lake").rename(daemon.state / "away")
    (daemon.state / "lake").write_text("no lake")
    daemon.tick(may_fail=True)
    assert "outside_commits" in daemon.failing
    found = look(daemon)
    assert {name for name, pulse in found.items() if pulse is Pulse.FAILING} >= {"outside_commits", "reconciliation"}
    assert found["heartbeat"] is Pulse.ALIVE
    key = dg.AssetCheckKey(SENSORS_KEY, "outside_commits_ticks")
    record = daemon.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.event is not None
    told = record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
    assert told.description is not None
    assert "lake" in told.description
    (daemon.state / "lake").unlink()
    daemon.state.joinpath("away").rename(daemon.state / "lake")
    daemon.tick()
    assert look(daemon) == dict.fromkeys(NAMES, Pulse.ALIVE)


def test_a_verdict_is_told_once_and_again_when_nobody_spoke_for_long(daemon: Daemon) -> None:
    daemon.tick()
    found = heartbeats(daemon.instance, WATCHED, now=daemon.now)
    for told in changed_checks(daemon.instance, found):
        daemon.instance.report_runless_asset_event(told)
    assert list(changed_checks(daemon.instance, found)) == []
    assert AGAIN > 2 * TICK


def test_the_checks_can_be_run_by_hand(daemon: Daemon) -> None:
    daemon.tick()
    job = toy_location.defs.resolve_implicit_global_asset_job_def()
    checks = dg.AssetSelection.checks_for_assets(SENSORS_KEY).resolve_checks(toy_location.defs.resolve_asset_graph())
    done = job.get_subset(asset_check_selection=checks, asset_selection=set()).execute_in_process(
        instance=daemon.instance
    )
    assert {told.check_name for told in done.get_asset_check_evaluations()} == {f"{name}_ticks" for name in NAMES}
    assert all(told.passed for told in done.get_asset_check_evaluations())


@pytest.mark.parametrize(
    ("ticks", "stopped", "since", "pulse"),
    [
        ([], False, None, Pulse.DEAD),
        ([], False, timedelta(seconds=20), Pulse.ALIVE),  # there is time yet
        ([], False, timedelta(seconds=21), Pulse.DEAD),
        ([Tick(at=NOW - timedelta(seconds=20))], False, None, Pulse.ALIVE),
        ([Tick(at=NOW - timedelta(seconds=21))], False, None, Pulse.DEAD),
        ([Tick(at=NOW - timedelta(seconds=21))], False, timedelta(seconds=3), Pulse.ALIVE),  # who watches just began
        ([Tick(at=NOW + timedelta(seconds=20))], False, None, Pulse.ALIVE),  # a clock that was set a little
        ([Tick(at=NOW + timedelta(hours=1))], False, None, Pulse.DEAD),  # a clock that went back
        ([Tick(at=NOW + timedelta(hours=1))], False, timedelta(seconds=3), Pulse.ALIVE),  # who watches just began
        ([Tick(at=NOW), Tick(at=NOW + timedelta(hours=1), failed=True)], False, None, Pulse.ALIVE),  # it ticked since
        ([Tick(at=NOW + timedelta(hours=1), failed=True), Tick(at=NOW)], False, None, Pulse.ALIVE),
        ([Tick(at=NOW), Tick(at=NOW)], True, None, Pulse.STOPPED),
        ([], True, None, Pulse.STOPPED),
        ([Tick(at=NOW, failed=True)], False, None, Pulse.FAILING),
        ([Tick(at=NOW, ended=False), Tick(at=NOW, failed=True)], False, None, Pulse.FAILING),  # the next one runs
        ([Tick(at=NOW, ended=False), Tick(at=NOW)], False, None, Pulse.ALIVE),
        ([Tick(at=NOW - timedelta(hours=1), ended=False)], False, None, Pulse.DEAD),  # it hangs
        ([Tick(at=NOW - timedelta(hours=1), failed=True)], False, None, Pulse.DEAD),
        ([Tick(at=NOW), Tick(at=NOW, failed=True)], False, None, Pulse.ALIVE),
    ],
)
def test_a_pulse_follows_from_the_newest_ticks(
    ticks: list[Tick], stopped: bool, since: timedelta | None, pulse: Pulse
) -> None:
    begun = None if since is None else NOW - since
    assert judge_heartbeat(SENSOR, ticks, is_stopped=stopped, now=NOW, since=begun).pulse is pulse


def test_a_sensor_that_has_not_ticked_since_the_clock_went_back_says_so() -> None:
    """It was alive, and had `ticked 0 s ago`, until the clock had caught up."""
    beat = judge_heartbeat(SENSOR, [Tick(at=NOW + timedelta(hours=2))], is_stopped=False, now=NOW)
    assert beat.pulse is Pulse.DEAD
    assert beat.reason.startswith("Its newest tick is dated 7200 s from now: the clock went back")


def test_a_sensor_without_an_interval_cannot_be_watched() -> None:
    with pytest.raises(WatchedSensorError, match="landed_data"):
        WatchedSensor(name="landed_data", interval=timedelta(0))
