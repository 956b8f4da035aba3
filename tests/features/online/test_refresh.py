"""A round from the lake's streams into a store: idempotent, derived from what is there, and clear about what it waits for."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.features import FeatureTable, FeatureView, StreamedView
from headwater.features.errors import MissingColumnError, NotPublishedError, VersionChangedError
from headwater.features.online import Lookup, OnlineStore, OnlineVersion, prepare, refresh_online
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.features.online._memory_store import MemoryOnlineStore
from headwater.lake import EmbeddedLake
from headwater.materialize import Run
from headwater.product import Product
from headwater.streams import FileLog, StreamSource, catch_up
from headwater.testing.online_suite import at, hour
from serving.publication import is_published
from tests.features.online.test_streaming import STREAMED, VIEW, history

EVENTS = StreamSource(
    path="toy/events",
    columns={"who": pl.String, "number": pl.Int64, "at": pl.Datetime("us", "UTC"), "value": pl.Int64},
    event_time="at",
    id=("number",),
    allowed_lateness=timedelta(minutes=10),
)
PRODUCT = Product(name="toy", question="?", owners=("team:x",), features=(VIEW,), streams=(STREAMED,))
PUBLISHED = pl.DataFrame(
    {
        "who": ["a", "b"], "event_time": [hour(8), hour(7)], "known_at": [hour(8), hour(7)],
        "count": [1, 1], "total": [1, 5],
    },
    schema_overrides={"event_time": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC")},
)  # fmt: skip


class World:
    """A lake, a log and a store."""

    def __init__(self, folder: Path) -> None:
        self.lake, self.log = EmbeddedLake.open(folder / "lake"), FileLog(folder / "log")
        self.store: OnlineStore = EmbeddedOnlineStore(folder / "online")
        self.number = 0

    def publish(self, rows: pl.DataFrame = PUBLISHED, commit: str = "c1") -> OnlineVersion:
        content = prepare([(FeatureTable(view=VIEW, rows=rows), "d")], since=hour(4))
        return self.store.publish("toy", content, commit=commit)

    def happen(self, *events: tuple[str, float, int], arrives: float) -> None:
        """Who, when, value; all of them in the lake."""
        bodies = []
        for who, when, value in events:
            self.number += 1
            body = {"who": who, "number": self.number, "at": hour(when).isoformat(), "value": value}
            bodies.append(json.dumps(body).encode())
        self.log.append(bodies, partition=0, at=hour(arrives))
        catch_up(self.lake, EVENTS, self.log, run=Run(actor="user:ada"), now=datetime(2014, 1, 1, tzinfo=UTC))

    def value(self, who: str, when: float) -> tuple[Any, ...]:
        return self.store.lookup("toy", [Lookup("history", (who,), at(when))])[1][0].values


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.store.close()


def test_a_round_adds_what_the_watermark_has_passed_and_the_same_again_nothing(world: World) -> None:
    world.publish()
    world.happen(("a", 1, 9), ("b", 6.5, 5), ("a", 7.5, 1), ("a", 8.5, 2), ("b", 9.5, 6), ("a", 10.1, 4), arrives=10.1)
    done = refresh_online(world.lake, PRODUCT, world.store)
    assert done.is_changed
    assert done.commit == world.lake.resolve("main").id == done.version.extended
    assert done.views["history"].until == hour(10.1) - timedelta(minutes=10)
    assert [world.value("a", when) for when in (8.9, 9, 12)] == [(1, 1), (2, 3), (2, 3)]  # the watermark is at 9:56
    again = refresh_online(world.lake, PRODUCT, world.store)
    assert not again.is_changed
    assert again.version == done.version == world.store.version("toy")


def test_a_publication_takes_rows_away_and_the_next_round_brings_them_back(world: World) -> None:
    world.publish()
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.5, 4), arrives=10.5)
    first = refresh_online(world.lake, PRODUCT, world.store)
    world.publish(commit="c2")
    assert world.value("a", 9) == (1, 1)
    second = refresh_online(world.lake, PRODUCT, world.store)
    assert world.value("a", 9) == (2, 3)
    assert (second.version.commit, second.version.views) == ("c2", first.version.views)


def test_a_late_event_reaches_the_store_from_its_arrival_on(world: World) -> None:
    world.publish()
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.5, 4), arrives=10.5)
    refresh_online(world.lake, PRODUCT, world.store)
    world.happen(("a", 8.7, 100), arrives=10.75)
    assert not refresh_online(world.lake, PRODUCT, world.store).is_changed  # others may miss the same watermark
    world.happen(("b", 10.8, 1), arrives=10.8)
    assert refresh_online(world.lake, PRODUCT, world.store).is_changed
    assert [world.value("a", when) for when in (9, 10.74, 10.75)] == [(2, 3), (2, 3), (3, 103)]
    world.happen(("a", 11.5, 5), arrives=11.5)
    refresh_online(world.lake, PRODUCT, world.store)
    assert world.value("a", 11) == (3, 106)
    assert world.value("a", 9) == (2, 3)


def test_on_somebody_s_word_the_events_are_complete_sooner(world: World) -> None:
    world.publish()
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2), arrives=8.5)
    assert not refresh_online(world.lake, PRODUCT, world.store).is_changed
    refresh_online(world.lake, PRODUCT, world.store, until=hour(9))
    assert world.value("a", 9) == (2, 3)


def test_a_stream_that_began_a_short_while_ago_is_waited_for(world: World) -> None:
    """What was before its first event is not known, so rows that would count it are not made."""
    world.publish()
    world.happen(("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.1, 3), arrives=10.1)
    done = refresh_online(world.lake, PRODUCT, world.store)
    assert not done.is_changed
    assert done.views["history"].waits_for == f"the stream toy/events begins at {hour(7.5).isoformat()}"
    world.happen(("a", 11.5, 4), ("a", 12.3, 4), arrives=12.3)
    assert refresh_online(world.lake, PRODUCT, world.store).is_changed
    assert [world.value("a", when) for when in (11, 12)] == [(2, 5), (2, 7)]


def test_what_is_missing_is_named(world: World) -> None:
    with pytest.raises(NotPublishedError, match="toy"):
        refresh_online(world.lake, PRODUCT, world.store)
    world.publish()
    nothing = refresh_online(world.lake, PRODUCT, world.store)
    assert not nothing.is_changed
    assert nothing.views["history"].waits_for == "the stream toy/events has no events yet"
    world.happen(("a", 1, 9), ("a", 8.5, 2), ("a", 10.5, 4), arrives=10.5)
    other = FeatureView(name="other", path="toy/other", entity=("who",), features=("count",))
    streamed = StreamedView(view="other", events="toy/events", lookback=timedelta(hours=3), compute=history)
    product = Product(name="toy", question="?", owners=("team:x",), features=(VIEW, other), streams=(streamed,))
    with pytest.raises(NotPublishedError, match="other"):
        refresh_online(world.lake, product, world.store)
    narrow = StreamedView(
        view="history", events="toy/events", lookback=timedelta(hours=3), compute=lambda e: history(e).drop("total")
    )
    product = Product(name="toy", question="?", owners=("team:x",), features=(VIEW,), streams=(narrow,))
    with pytest.raises(MissingColumnError, match="total"):
        refresh_online(world.lake, product, world.store)


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
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.5, 4), arrives=10.5)
    world.store.close()
    world.store = Rivals(world, times=2)
    world.publish()
    done = refresh_online(world.lake, PRODUCT, world.store)
    assert (done.version.commit, world.value("a", 9)) == ("rival 0", (2, 3))
    world.store.times = 99
    with pytest.raises(VersionChangedError):
        refresh_online(world.lake, PRODUCT, world.store)


def test_a_service_that_starts_again_leaves_what_a_stream_has_added(world: World) -> None:
    content = prepare([(FeatureTable(view=VIEW, rows=PUBLISHED), "d")], since=hour(4))
    assert not is_published(world.store, "toy", content)
    world.publish()
    assert is_published(world.store, "toy", content)
    world.happen(("a", 1, 9), ("a", 7.5, 1), ("a", 8.5, 2), ("a", 10.5, 4), arrives=10.5)
    refresh_online(world.lake, PRODUCT, world.store)
    assert is_published(world.store, "toy", content)
    for other in (PUBLISHED.head(1), PUBLISHED.with_columns(total=pl.col("total") + 1)):
        assert not is_published(
            world.store, "toy", prepare([(FeatureTable(view=VIEW, rows=other), "d")], since=hour(4))
        )
    assert not is_published(
        world.store, "toy", prepare([(FeatureTable(view=VIEW, rows=PUBLISHED), "d")], since=hour(5))
    )
