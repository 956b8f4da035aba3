"""A round from the lake's streams into a store: idempotent, derived from what is there, and clear about what it waits for."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.features import FeatureTable, FeatureView, StreamedView
from headwater.features.errors import FeatureViewError, MissingColumnError, NotPublishedError, VersionChangedError
from headwater.features.online import Lookup, OnlineStore, OnlineVersion, prepare, refresh_online
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.features.online._memory_store import MemoryOnlineStore
from headwater.lake import EmbeddedLake
from headwater.materialize import Run
from headwater.product import Product
from headwater.streams import FileLog, Late, StreamSource, catch_up, skip_to
from headwater.streams.errors import NoZoneError
from headwater.testing.online_suite import at, hour
from serving.publication import is_published
from tests.features.online.test_streaming import EVENTS as SOURCE
from tests.features.online.test_streaming import STREAMED as PLAIN
from tests.features.online.test_streaming import VIEW
from tests.features.online.test_streaming import history as plain_history

KNOWN_AFTER = timedelta(hours=0.2)


def history(events: pl.LazyFrame) -> pl.LazyFrame:
    """Count and total of the last three hours, known twelve minutes later."""
    return plain_history(events).with_columns((pl.col("event_time") + KNOWN_AFTER).alias("known_at"))


EVENTS = replace(SOURCE, arrives_within=timedelta(hours=0.05))
STREAMED = replace(PLAIN, compute=history, known_after=KNOWN_AFTER)


def product_of(streamed: StreamedView = STREAMED, view: FeatureView = VIEW, source: StreamSource = EVENTS) -> Product:
    return Product(
        name="toy", question="?", owners=("team:x",), features=(view,), events=(source,), streams=(streamed,)
    )


PRODUCT = product_of()
PUBLISHED = pl.DataFrame(
    {
        "who": ["a", "b"], "event_time": [hour(8), hour(7)], "known_at": [hour(8.2), hour(7.2)],
        "count": [1, 1], "total": [1, 5],
    },
    schema_overrides={"event_time": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC")},
)  # fmt: skip


class World:
    """A lake, a log and a store."""

    def __init__(self, folder: Path, *, source: StreamSource = EVENTS, view: FeatureView = VIEW) -> None:
        self.lake, self.log = EmbeddedLake.open(folder / "lake"), FileLog(folder / "log", sync=False)
        self.store: OnlineStore = EmbeddedOnlineStore(folder / "online")
        self.source, self.view, self.number = source, view, 0

    def publish(self, rows: pl.DataFrame = PUBLISHED, commit: str = "c1") -> OnlineVersion:
        since = hour(4) if rows.schema["event_time"] == pl.Datetime("us", "UTC") else hour(4).replace(tzinfo=None)
        content = prepare([(FeatureTable(view=self.view, rows=rows), "d")], since=since)
        return self.store.publish("toy", content, commit=commit)

    def happen(self, *events: tuple[str, float, int], arrives: float | None = None) -> None:
        """Who, when, value; all of them in the lake, each arrived when it happened or at one time."""
        for event in events:
            self.send(event, arrives=event[1] if arrives is None else arrives)
        self.ingest()

    def send(self, event: tuple[str, float, int], *, arrives: float) -> None:
        who, when, value = event
        self.number += 1
        body = {"who": who, "number": self.number, "at": hour(when).isoformat(), "value": value}
        self.log.append([json.dumps(body).encode()], partition=0, at=hour(arrives))

    def ingest(self) -> None:
        catch_up(self.lake, self.source, self.log, run=Run(actor="user:ada"), now=datetime(2014, 1, 1, tzinfo=UTC))

    def value(self, who: str, when: float) -> tuple[Any, ...]:
        return self.store.lookup("toy", [Lookup(self.view.name, (who,), at(when))])[1][0].values


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.store.close()


def test_a_round_adds_what_the_watermark_has_passed_and_the_same_again_nothing(world: World) -> None:
    world.publish()
    world.happen(("a", 1, 9), ("b", 6.5, 5), ("a", 7.5, 1), ("a", 8.5, 2), ("b", 9.5, 6), ("a", 10.1, 4))
    done = refresh_online(world.lake, PRODUCT, world.store)
    assert done.is_changed
    assert done.commit == world.lake.resolve("main").id == done.version.extended
    assert done.views["history"].until == hour(10.1) - timedelta(minutes=10)
    assert [world.value("a", when) for when in (9.19, 9.2, 12)] == [(1, 1), (2, 3), (2, 3)]  # the watermark is at 9:56
    again = refresh_online(world.lake, PRODUCT, world.store)
    assert not again.is_changed
    assert again.version == done.version == world.store.version("toy")


def test_a_publication_takes_rows_away_and_the_next_round_brings_them_back(world: World) -> None:
    world.publish()
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.5, 4))
    first = refresh_online(world.lake, PRODUCT, world.store)
    world.publish(commit="c2")
    assert world.value("a", 9.2) == (1, 1)
    second = refresh_online(world.lake, PRODUCT, world.store)
    assert world.value("a", 9.2) == (2, 3)
    assert (second.version.commit, second.version.views) == ("c2", first.version.views)


def test_a_late_event_reaches_the_store_as_long_after_its_arrival_as_a_row_after_its_event_time(world: World) -> None:
    world.publish()
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.5, 4))
    refresh_online(world.lake, PRODUCT, world.store)
    world.happen(("a", 8.7, 100), arrives=10.75)
    assert not refresh_online(world.lake, PRODUCT, world.store).is_changed  # others may miss the same watermark
    world.happen(("b", 10.9, 1))
    assert refresh_online(world.lake, PRODUCT, world.store).is_changed
    assert [world.value("a", when) for when in (9.2, 10.94, 10.95)] == [(2, 3), (2, 3), (3, 103)]
    world.happen(("a", 11.5, 5))
    refresh_online(world.lake, PRODUCT, world.store)
    assert world.value("a", 11.2) == (3, 106)
    assert world.value("a", 9.2) == (2, 3)


def test_a_late_event_older_than_two_lookbacks_corrects_the_newest_row_of_its_entity(world: World) -> None:
    """Of an entity that was cut off for longer, the round did not read that far back."""
    view = replace(VIEW, ttl=None)
    product = replace(PRODUCT, features=(view,))
    content = prepare([(FeatureTable(view=view, rows=PUBLISHED), "d")], since=hour(4))
    world.store.publish("toy", content, commit="c1")
    world.happen(("b", 1, 9), ("a", 7.5, 1), ("b", 19.5, 2), ("b", 20.5, 3))
    refresh_online(world.lake, product, world.store)
    world.happen(("a", 7.7, 100), arrives=20.75)
    world.happen(("b", 21.8, 1))
    assert refresh_online(world.lake, product, world.store).is_changed
    assert [world.value("a", when) for when in (20.94, 20.95)] == [(1, 1), (2, 101)]


def test_on_somebody_s_word_the_events_are_complete_sooner(world: World) -> None:
    world.publish()
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2))
    assert not refresh_online(world.lake, PRODUCT, world.store).is_changed
    refresh_online(world.lake, PRODUCT, world.store, until=hour(9))
    assert world.value("a", 9.2) == (2, 3)


def test_at_night_a_row_does_not_wait_for_the_next_event(world: World) -> None:
    """The watermark stood at the evening's last event, and the row of its hour came in the morning."""
    world.publish()
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2))
    assert not refresh_online(world.lake, PRODUCT, world.store, read=hour(9.04)).is_changed
    done = refresh_online(world.lake, PRODUCT, world.store, read=hour(9.05))
    assert done.views["history"].until == hour(9)
    assert [world.value("a", when) for when in (9.19, 9.2)] == [(1, 1), (2, 3)]
    # Nobody's clock takes back what the watermark has passed, and a caller's word goes before both.
    world.happen(("b", 11, 1))
    ends = [{"read": hour(9.05)}, {}, {"read": hour(12), "until": hour(9.5)}]
    found = [refresh_online(world.lake, PRODUCT, world.store, **words).views["history"].until for words in ends]
    assert found == [hour(11) - timedelta(minutes=10)] * 2 + [hour(9.5)]
    with pytest.raises(NoZoneError):
        refresh_online(world.lake, PRODUCT, world.store, read=hour(9).replace(tzinfo=None))


def readings(found: pl.LazyFrame) -> pl.LazyFrame:
    """A row for each event."""
    known = (pl.col("at") + KNOWN_AFTER).alias("known_at")
    return found.select("who", pl.col("at").alias("event_time"), known, "value").sort("event_time", "who")


SINGLE = FeatureView(name="readings", path="toy/readings", entity=("who",), features=("value",))
EACH = StreamedView(
    view="readings", events="toy/events", lookback=timedelta(hours=1), compute=readings, inclusive=True,
    known_after=KNOWN_AFTER,
)  # fmt: skip
READ = pl.DataFrame(
    [("a", hour(6), hour(6.2), 1)],
    schema={"who": pl.String, "event_time": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC"), "value": pl.Int64},
    orient="row",
)  # fmt: skip


def test_an_event_that_comes_after_its_row_was_due_makes_a_row_all_the_same(tmp_path: Path) -> None:
    """It missed no watermark, for nothing else had come in: only the clock says that it is late."""
    world, product = World(tmp_path, view=SINGLE), product_of(EACH, SINGLE)
    world.publish(READ)
    world.happen(("a", 6, 1), ("a", 7, 2), ("a", 8, 3), ("b", 8, 30))
    refresh_online(world.lake, product, world.store, read=hour(8.1))
    world.happen(("c", 8, 300), arrives=8.5)
    for read in (8.5, 8.6):
        refresh_online(world.lake, product, world.store, read=hour(read))
    assert [world.value("c", when) for when in (8.69, 8.7)] == [(None,), (300,)]
    assert world.value("a", 8.2) == (3,)


@pytest.mark.parametrize("late", Late)
def test_what_was_answered_as_events_came_in_is_what_the_store_says_of_those_instants(
    tmp_path: Path, late: Late
) -> None:
    """Rounds in time, some events far too late: a replay, a training set and the service agree on what was known when."""
    source = replace(EVENTS, late=late)
    world, product, draw = World(tmp_path, source=source), product_of(source=source), random.Random(3)
    world.store.close()
    world.store = MemoryOnlineStore()
    world.publish()
    world.happen(("a", 1, 9), ("b", 6.5, 5), ("a", 7.5, 1))
    found = [("ab"[draw.randrange(2)], 7.6 + draw.random() * 3, draw.randrange(9)) for _ in range(40)]
    waits = [draw.choice([0.0] * 8 + [0.04, 0.3, 1.5]) for _ in found]
    answered: dict[tuple[str, float], tuple[Any, ...]] = {}
    for step in range(26):  # as often as `known_after` leaves time for
        begin, end = 7.6 + step * 0.15, 7.6 + (step + 1) * 0.15
        came = [(e, e[1] + wait) for e, wait in zip(found, waits, strict=True) if begin <= e[1] + wait < end]
        for event, arrives in sorted(came, key=lambda each: each[1]):
            world.send(event, arrives=arrives)
        world.ingest()
        refresh_online(world.lake, product, world.store, read=hour(end))
        asked = [(who, end + part * 0.04) for who in "ab" for part in range(4)]
        answered |= {each: world.value(*each) for each in asked}
    refresh_online(world.lake, product, world.store, until=hour(14))
    assert {each: world.value(*each) for each in answered} == answered
    assert len(set(answered.values())) > 8
    assert world.lake.at("main").has("toy/events.late") is (late is Late.APART)


def test_rows_that_are_known_sooner_than_is_declared_are_refused(world: World) -> None:
    """They would answer instants at which no service had them."""
    world.publish()
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.5, 4))
    early = product_of(replace(STREAMED, compute=plain_history))
    with pytest.raises(
        FeatureViewError, match=r"'history': .* row of 'a' and event time 2013-.*T13:00:00.* known at .*T13:00"
    ) as told:
        refresh_online(world.lake, early, world.store)
    assert "0:12:00 after its event time" in str(told.value)
    assert world.value("a", 12) == (1, 1)


def test_a_stream_that_began_a_short_while_ago_is_waited_for(world: World) -> None:
    """What was before its first event came in is not known, so rows that would count it are not made."""
    world.publish()
    world.happen(("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.1, 3))
    done = refresh_online(world.lake, PRODUCT, world.store)
    assert not done.is_changed
    assert done.views["history"].waits_for == f"the stream toy/events begins at {hour(7.5).isoformat()}"
    world.happen(("a", 11.5, 4), ("a", 12.3, 4))
    assert refresh_online(world.lake, PRODUCT, world.store).is_changed
    assert [world.value("a", when) for when in (11.2, 12.2)] == [(2, 5), (2, 7)]


def test_an_old_event_says_nothing_of_when_the_stream_began(world: World) -> None:
    """A device with its clock at 1970 made a stream complete for ever; rows that lacked most of it replaced right ones."""
    world.publish(PUBLISHED.with_columns(total=pl.lit(101, pl.Int64)))
    world.happen(("z", -370_000, 0), ("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.1, 3), arrives=10.1)
    done = refresh_online(world.lake, PRODUCT, world.store)
    assert done.views["history"].waits_for == f"the stream toy/events begins at {hour(10.1).isoformat()}"
    assert world.value("a", 10) == (1, 101)
    world.happen(("a", 12.5, 4), ("a", 13.5, 6), ("a", 14.4, 4))
    refresh_online(world.lake, PRODUCT, world.store)
    assert [world.value("a", when) for when in (12.9, 14.2)] == [(1, 101), (2, 10)]  # up to 13:06 nobody knows all


def test_one_event_time_of_the_far_future_does_not_end_a_stream(tmp_path: Path) -> None:
    """Of a published row: no watermark would ever pass it, and nothing said so."""
    far = datetime(2099, 1, 1, tzinfo=UTC)
    for view, streamed, rows in ((VIEW, STREAMED, PUBLISHED), (SINGLE, EACH, READ)):
        world = World(tmp_path / view.name, view=view)
        odd = rows.head(1).with_columns(
            who=pl.lit("z"), event_time=pl.lit(far), known_at=pl.lit(far).cast(rows.schema["known_at"])
        )
        world.publish(pl.concat([rows, odd.select(rows.columns).cast(dict(rows.schema))]))
        world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2), ("a", 9.1, 7), ("a", 10.5, 4))
        product = product_of(streamed, view)
        assert refresh_online(world.lake, product, world.store, until=hour(9.2)).views[view.name].rows
        assert world.value("a", 9.4) == {"history": (2, 3), "readings": (7,)}[view.name]
        world.happen(("a", 13, 4))
        ended = refresh_online(world.lake, product, world.store).views[view.name].waits_for
        assert (
            ended
            == {
                "history": "",  # its row of 11 settles
                "readings": f"the store has rows up to {far.isoformat()}, and the stream toy/events ends at {(hour(13) - timedelta(minutes=10)).isoformat()}",
            }[view.name]
        )
        world.store.close()


def test_a_table_whose_times_have_no_zone_is_carried_on_too(world: World) -> None:
    """Each round ended in polars' SchemaError. Such times are UTC, also where the caller's zone is another."""

    def zoneless(events: pl.LazyFrame) -> pl.LazyFrame:
        return history(events).with_columns(pl.col("event_time", "known_at").dt.replace_time_zone(None))

    world.publish(PUBLISHED.with_columns(pl.col("event_time", "known_at").dt.replace_time_zone(None)))
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.5, 4))
    product = product_of(replace(STREAMED, compute=zoneless))
    refresh_online(world.lake, product, world.store, until=hour(9).astimezone(timezone(timedelta(hours=-5))))
    assert [world.value("a", when) for when in (9.19, 9.2)] == [(1, 1), (2, 3)]
    world.happen(("a", 8.7, 100), arrives=10.75)
    world.happen(("a", 11.5, 1))
    refresh_online(world.lake, product, world.store)
    assert [world.value("a", when) for when in (10.94, 10.95)] == [(2, 3), (3, 103)]


def test_a_stream_that_was_only_skipped_has_no_events_yet(world: World) -> None:
    world.publish()
    world.log.append([b"{}"], partition=0)
    skip_to(world.lake, EVENTS, world.log, {0: 1}, run=Run(actor="user:ada"))
    done = refresh_online(world.lake, PRODUCT, world.store, read=hour(9))
    assert done.views["history"].waits_for == "the stream toy/events has no events yet"


def test_what_is_missing_is_named(world: World) -> None:
    with pytest.raises(NotPublishedError, match="toy"):
        refresh_online(world.lake, PRODUCT, world.store)
    world.publish()
    nothing = refresh_online(world.lake, PRODUCT, world.store)
    assert not nothing.is_changed
    assert nothing.views["history"].waits_for == "the stream toy/events has no events yet"
    world.happen(("a", 1, 9), ("a", 8.5, 2), ("a", 10.5, 4))
    other = FeatureView(name="other", path="toy/other", entity=("who",), features=("count",))
    with pytest.raises(NotPublishedError, match="other"):
        refresh_online(world.lake, product_of(replace(STREAMED, view="other"), other), world.store)
    narrow = replace(STREAMED, compute=lambda e: history(e).drop("total"))
    with pytest.raises(MissingColumnError, match="total"):
        refresh_online(world.lake, product_of(narrow), world.store)


class Rivals(MemoryOnlineStore):
    """A store into which somebody publishes whenever rows are to be added, so many times."""

    def __init__(self, world: World, times: int) -> None:
        super().__init__()
        self._world, self.times = world, times

    def extend(self, product: str, rows: Any, **more: Any) -> OnlineVersion:
        if self.times:
            self.times -= 1
            content = prepare([(FeatureTable(view=VIEW, rows=PUBLISHED), "d")], since=hour(4))
            self.publish("toy", content, commit=f"rival {self.times}")
        return super().extend(product, rows, **more)


def test_a_publication_during_a_round_makes_it_begin_anew(world: World) -> None:
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.5, 4))
    world.store.close()
    world.store = Rivals(world, times=2)
    world.publish()
    done = refresh_online(world.lake, PRODUCT, world.store)
    assert (done.version.commit, world.value("a", 9.2)) == ("rival 0", (2, 3))
    world.store.times = 99
    with pytest.raises(VersionChangedError):
        refresh_online(world.lake, PRODUCT, world.store)


def test_a_service_that_starts_again_leaves_what_a_stream_has_added(world: World) -> None:
    content = prepare([(FeatureTable(view=VIEW, rows=PUBLISHED), "d")], since=hour(4))
    assert not is_published(world.store, "toy", content)
    world.publish()
    assert is_published(world.store, "toy", content)
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.5, 4))
    refresh_online(world.lake, PRODUCT, world.store)
    assert is_published(world.store, "toy", content)
    for other in (PUBLISHED.head(1), PUBLISHED.with_columns(total=pl.col("total") + 1)):
        assert not is_published(
            world.store, "toy", prepare([(FeatureTable(view=VIEW, rows=other), "d")], since=hour(4))
        )
    assert not is_published(
        world.store, "toy", prepare([(FeatureTable(view=VIEW, rows=PUBLISHED), "d")], since=hour(5))
    )
