"""Each event once: consumers that are really killed, at any instant, and consumers that work at the same time."""

import os
import random
import signal
import time
import uuid
from pathlib import Path

import pytest

from headwater.lake import EmbeddedLake
from headwater.lake._steps import Step
from headwater.lake.errors import MergeConflictError
from headwater.streams import EventLog, FileLog, KafkaLog, catch_up, ingest
from tests.streams.feed import Feed, Interrupted, check_each_once
from tests.streams.kafka import Cluster
from tests.streams.processes import FEW, consume, ingest_and_die, start
from tests.streams.scenario import NOW, RUN, SOURCE, numbers

STEPS = tuple(step for step in Step if step not in (Step.FOUNDED, Step.FORGOTTEN, Step.UNSHELVED))


def kill_often(tmp_path: Path, place: str, log: EventLog, kills: int, seed: int) -> None:
    """A consumer works while events come in, and is killed again and again, whatever it is doing."""
    lake, ended, draw = EmbeddedLake.open(tmp_path / "lake"), tmp_path / "ended", random.Random(seed)
    feed = Feed(log, seed)
    published = 0
    for _ in range(kills):
        consumer = start(consume, tmp_path / "lake", place, ended)
        feed.send(60)
        deadline = time.monotonic() + 60
        while (now := sum(1 for _ in lake.log(path=SOURCE.offsets_path))) == published and time.monotonic() < deadline:
            time.sleep(0.01)
        feed.send(20)
        time.sleep(draw.uniform(0, 0.25))
        assert consumer.pid is not None
        os.kill(consumer.pid, signal.SIGKILL)
        consumer.join()
        assert now > published
        published = sum(1 for _ in lake.log(path=SOURCE.offsets_path))
    ended.touch()
    last = start(consume, tmp_path / "lake", place, ended)
    last.join(120)
    assert last.exitcode == 0
    check_each_once(EmbeddedLake.open(tmp_path / "lake"), feed, log)


def test_a_consumer_killed_three_times_gives_each_event_once(tmp_path: Path) -> None:
    log = FileLog(tmp_path / "log", partitions=4)
    kill_often(tmp_path, str(tmp_path / "log"), log, kills=3, seed=1)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(2, 4))
def test_a_consumer_killed_twenty_times_gives_each_event_once(tmp_path: Path, seed: int) -> None:
    log = FileLog(tmp_path / "log", partitions=4)
    kill_often(tmp_path, str(tmp_path / "log"), log, kills=20, seed=seed)


def test_a_consumer_of_kafka_killed_in_between_gives_each_event_once(tmp_path: Path, broker: Cluster) -> None:
    topic = broker.make_topic(f"readings-{uuid.uuid4().hex[:8]}")
    log = KafkaLog(broker.servers, topic, timeout=10)
    kill_often(tmp_path, f"{broker.servers}/{topic}", log, kills=1, seed=5)
    log.close()


@pytest.mark.heavy
def test_a_consumer_of_kafka_killed_twenty_times_gives_each_event_once(tmp_path: Path, broker: Cluster) -> None:
    topic = broker.make_topic(f"readings-{uuid.uuid4().hex[:8]}")
    log = KafkaLog(broker.servers, topic, timeout=10)
    kill_often(tmp_path, f"{broker.servers}/{topic}", log, kills=20, seed=6)
    log.close()


@pytest.mark.parametrize("most_files", [500, 1], ids=["appends", "rewrites"])
@pytest.mark.parametrize(
    "steps",
    [(Step.STAGED, Step.OBJECTS_LINKED, Step.COMMITTED, Step.VIEWED), pytest.param(STEPS, marks=pytest.mark.heavy)],
    ids=["some", "all"],
)
def test_a_consumer_killed_at_steps_of_a_publication_gives_each_event_once(
    tmp_path: Path, steps: tuple[Step, ...], most_files: int
) -> None:
    log, lake = FileLog(tmp_path / "log", partitions=4), EmbeddedLake.open(tmp_path / "lake")
    feed = Feed(log, seed=9)
    feed.send(30)
    ingest(lake, SOURCE, log, run=RUN, limits=FEW, now=NOW)
    for step in steps:
        feed.send(10)
        process = start(ingest_and_die, tmp_path / "lake", str(tmp_path / "log"), step, most_files)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    lake = EmbeddedLake.open(tmp_path / "lake")
    assert (lake.at("main").entry(SOURCE.path).files == 1) == (most_files == 1)
    catch_up(lake, SOURCE, log, run=RUN, now=NOW)
    check_each_once(lake, feed, log)


@pytest.mark.parametrize(
    ("is_first", "most_files"), [(True, 500), (False, 500), (False, 1)],
    ids=["of all events", "of later events", "which both rewrite the table"],
)  # fmt: skip
def test_of_two_consumers_of_the_same_events_one_publishes_and_the_other_is_told(
    tmp_path: Path, is_first: bool, most_files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both append, which the lake would replay, and both write the same offsets, which it would take for agreement."""
    monkeypatch.setattr("headwater.materialize._adding._MOST_FILES", most_files)
    log, lake = FileLog(tmp_path / "log", partitions=4), EmbeddedLake.open(tmp_path / "lake")
    feed = Feed(log, seed=3)
    if not is_first:
        feed.send(20)
        catch_up(lake, SOURCE, log, run=RUN, now=NOW)
    feed.send(20)
    slow = Interrupted(log, lambda: ingest(lake, SOURCE, log, run=RUN, now=NOW))
    with pytest.raises(MergeConflictError, match=SOURCE.offsets_path):
        ingest(lake, SOURCE, slow, run=RUN, now=NOW)
    check_each_once(lake, feed, log)
    assert catch_up(lake, SOURCE, log, run=RUN, now=NOW).events == 0


def test_a_consumer_that_was_overtaken_goes_on_from_where_the_other_ended(tmp_path: Path) -> None:
    log, lake = FileLog(tmp_path / "log", partitions=4), EmbeddedLake.open(tmp_path / "lake")
    feed = Feed(log, seed=4)
    feed.send(60)
    slow = Interrupted(log, lambda: ingest(lake, SOURCE, log, run=RUN, limits=FEW, now=NOW))
    counts = catch_up(lake, SOURCE, slow, run=RUN, limits=FEW, now=NOW)
    check_each_once(lake, feed, log)
    assert counts.events == sum(log.ends().values()) - 40


def test_two_processes_that_consume_at_once_give_each_event_once(tmp_path: Path) -> None:
    log, lake = FileLog(tmp_path / "log", partitions=4), EmbeddedLake.open(tmp_path / "lake")
    feed, ended = Feed(log, seed=8), tmp_path / "ended"
    consumers = [start(consume, tmp_path / "lake", str(tmp_path / "log"), ended) for _ in range(2)]
    for _ in range(4):
        feed.send(15)
        time.sleep(0.1)
    ended.touch()
    for consumer in consumers:
        consumer.join(120)
    assert [consumer.exitcode for consumer in consumers] == [0, 0]
    check_each_once(lake, feed, log)


def test_a_batch_that_was_reverted_is_read_again(tmp_path: Path) -> None:
    """Rows and offsets stand in one commit: they go together."""
    log, lake = FileLog(tmp_path / "log", partitions=4), EmbeddedLake.open(tmp_path / "lake")
    feed = Feed(log, seed=2)
    feed.send(20)
    catch_up(lake, SOURCE, log, run=RUN, now=NOW)
    feed.send(20)
    done = ingest(lake, SOURCE, log, run=RUN, now=NOW)
    assert done.commit is not None
    lake.revert(done.commit)
    assert len(numbers(lake)) + len(numbers(lake, SOURCE.late_path)) == 20
    again = ingest(lake, SOURCE, log, run=RUN, now=NOW)
    assert again.counts == done.counts
    check_each_once(lake, feed, log)
