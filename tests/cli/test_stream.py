"""`headwater stream` over a lake that holds the online features of flights and a few days of departures and arrivals."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest
import redis
from click.testing import CliRunner

from assets._products import product
from assets.flights._paths import MOVEMENTS, OBSERVATIONS
from assets.flights.streams import ARRIVES, EVENTS, messages
from headwater.cli import cli
from headwater.cli._replay_run import _stream
from headwater.cli._stream import NoEventsError
from headwater.features.online._content import write_content
from headwater.features.online._redis_store import RedisOnlineStore
from headwater.product import Product
from headwater.replay import ReplayDay, ReplayEvent
from headwater.streams import FileLog, Limits
from headwater.streams._times import as_time
from resources.settings import SettingsError, load_settings
from tests.assets.flights.test_streams import BEFORE, JULY, STREAMED, Replay, daily
from tests.redis_server import RedisServer

ONLINE = "flights/online_features"


@pytest.fixture
def replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replay:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    monkeypatch.delenv("HEADWATER_LAKE", raising=False)
    found = Replay(tmp_path)
    (tmp_path / "content").mkdir()
    write_content(daily(JULY), tmp_path / "content")
    with found.lake.transaction() as tx:
        tx.write_folder(ONLINE, tmp_path / "content")
        tx.publish(message="Online features", provenance=None)
    return found


def test_a_round_says_what_it_added_and_the_next_one_that_there_is_nothing_new(replay: Replay) -> None:
    before = CliRunner().invoke(cli, ["stream", "refresh", "flights"], catch_exceptions=False)
    assert f"origin_history: the stream {MOVEMENTS} has no events yet" in before.output
    replay.arrive(JULY - BEFORE, JULY + timedelta(hours=12))
    done = CliRunner().invoke(cli, ["stream", "refresh", "flights", "--json"], catch_exceptions=False)
    said = json.loads(done.stdout)
    assert said["is_changed"]
    assert said["commit"] == replay.lake.resolve("main").id
    assert set(said["views"]) == {view.name for view in STREAMED}
    assert all(view["rows"] > 20 and not view["waits_for"] for view in said["views"].values())
    again = CliRunner().invoke(cli, ["stream", "refresh", "flights"], catch_exceptions=False)
    assert again.output.endswith("Nothing new.\n")
    assert "origin_history: " in again.output


def test_one_setting_brings_the_features_to_redis_and_a_flag_elsewhere(
    replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer() as server, RedisServer() as other:
        patient = partial(RedisOnlineStore, timeout=20)
        monkeypatch.setattr("headwater.features.online._redis_store.RedisOnlineStore", patient)
        monkeypatch.setenv("HEADWATER_REDIS_TIMEOUT", "20")
        monkeypatch.setenv("HEADWATER_REDIS", server.url)
        replay.arrive(JULY - BEFORE, JULY + timedelta(hours=12))
        CliRunner().invoke(cli, ["stream", "refresh", "flights"], catch_exceptions=False)
        assert (stored(server), stored(other), (tmp_path / "serving" / "online").exists()) == (1, 0, False)
        CliRunner().invoke(cli, ["stream", "refresh", "flights", "--redis", other.url], catch_exceptions=False)
        assert (stored(other), (tmp_path / "serving" / "online").exists()) == (1, False)
        CliRunner().invoke(cli, ["stream", "refresh", "flights", "--redis", ""], catch_exceptions=False)
        assert (tmp_path / "serving" / "online").exists()
    wrong = CliRunner().invoke(cli, ["stream", "refresh", "flights", "--redis", "localhost:6379"])
    assert isinstance(wrong.exception, SettingsError)


def stored(server: RedisServer) -> int:
    """Products of which a server holds features."""
    client = redis.Redis.from_url(server.url)
    found = len(list(client.scan_iter(b"headwater:online:version:*")))
    client.close()
    return found


def test_what_waits_in_the_logs_of_the_state_folder_is_taken_once(replay: Replay, tmp_path: Path) -> None:
    logs = {source.path: FileLog(tmp_path / "streams" / source.path) for source in EVENTS}
    rows = replay.events.filter(pl.col(ARRIVES) >= JULY).head(30)
    logs[MOVEMENTS].append([body for _, body in messages(rows)], partition=0, at=JULY + timedelta(days=1))
    logs[OBSERVATIONS].append([b"no event"], partition=0, at=JULY + timedelta(days=1))
    said = json.loads(CliRunner().invoke(cli, ["stream", "ingest", "flights", "--json"], catch_exceptions=False).stdout)
    assert said[MOVEMENTS] == {"taken": 30, "late": 0, "duplicates": 0, "rejected": 0}
    assert said[OBSERVATIONS] == {"taken": 0, "late": 0, "duplicates": 0, "rejected": 1}
    again = CliRunner().invoke(cli, ["stream", "ingest", "flights"], catch_exceptions=False)
    assert f"{MOVEMENTS}: 0 taken, 0 late, 0 duplicates, 0 rejected" in again.output
    assert replay.lake.at("main").table(MOVEMENTS).collect().height == 30


def test_a_replay_s_events_come_in_when_they_came(replay: Replay, tmp_path: Path) -> None:
    """They were grouped by minutes once: later, some of them, than a stream may say that its events are there."""
    rows = replay.events.filter(pl.col(ARRIVES) >= JULY, pl.col(ARRIVES) < JULY + timedelta(hours=12))
    came = [ReplayEvent(*each) for each in messages(rows)]

    class Past:
        def days(self, first: date, last: date) -> Iterator[ReplayDay]:
            return iter(())

        def events(self, start: datetime, end: datetime) -> Mapping[str, Sequence[ReplayEvent]]:
            return {MOVEMENTS: [event for event in came if start <= event.arrives < end]}

    for _ in range(2):  # a replay that was killed begins its day again
        _stream(product("flights"), replay.lake, load_settings(), Past(), JULY, JULY + timedelta(hours=12))
    batch = FileLog(tmp_path / "streams" / MOVEMENTS).read({}, limits=Limits(events=10**6, bytes=2**30))
    assert [(as_time(event.appended), event.data) for event in batch.events] == [*came, *came]
    assert len({event.arrives for event in came}) > 200
    assert replay.lake.at("main").table(MOVEMENTS).collect().height == len(came)


def test_who_follows_takes_what_comes_in_and_may_be_killed(replay: Replay, tmp_path: Path) -> None:
    log = FileLog(tmp_path / "streams" / MOVEMENTS)
    rows = replay.events.filter(pl.col(ARRIVES) >= JULY)
    command = [sys.executable, "-m", "headwater.cli", "stream", "follow", "flights", "--every", "1"]
    for start in (0, 20):
        data = [body for _, body in messages(rows.slice(start, 20))]
        log.append(data, partition=0, at=JULY + timedelta(days=1))
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        ) as process:
            assert process.stdout is not None
            assert "20 events" in process.stdout.readline()
            process.send_signal(signal.SIGKILL)
    assert replay.lake.at("main").table(MOVEMENTS).collect().height == 40


def test_a_product_without_events_has_none_to_take(monkeypatch: pytest.MonkeyPatch, replay: Replay) -> None:
    monkeypatch.setattr("assets._products.product", lambda name: Product(name=name, question="?", owners=("team:x",)))
    with pytest.raises(NoEventsError, match="declares no events"):
        CliRunner().invoke(cli, ["stream", "ingest", "toy"], catch_exceptions=False)
