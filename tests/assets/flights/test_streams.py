"""Features from events as they come in: at any instant what the batch tables of the whole period say, at the seams too."""

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.flights._history import delay_history
from assets.flights._paths import FLIGHTS, MOVEMENTS, OBSERVATIONS, WEATHER
from assets.flights._views import VIEWS
from assets.flights.features import observed
from assets.flights.product import PRODUCT
from assets.flights.streams import (
    ARRIVES,
    EVENTS,
    MOVEMENT_EVENTS,
    STREAMS,
    WEATHER_EVENTS,
    events_of,
    messages,
    reports_of,
)
from headwater.features import FeatureTable, point_in_time_join
from headwater.features.online import Lookup, OnlineContent, OnlineStore, prepare, refresh_online
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.features.online._memory_store import MemoryOnlineStore
from headwater.features.online._parity import Parity, parity
from headwater.lake import EmbeddedLake
from headwater.materialize import Run
from headwater.product import Product
from headwater.streams import FileLog, catch_up, watermark_of
from tests.real_flights import datasets

JULY = datetime(2013, 7, 1, 4, tzinfo=UTC)
"""Midnight in New York."""
BEFORE = timedelta(days=8)
"""So long before, the stream has events: the longest window, and a day."""
STREAMED = tuple(view for view in VIEWS if view.name in {streamed.view for streamed in STREAMS})
TOY = Product(name="flights", question="?", owners=("team:flights",), features=STREAMED, events=EVENTS, streams=STREAMS)
RUN = Run(actor="user:ada")
WINDOW = timedelta(days=7)


@cache
def flown() -> pl.DataFrame:
    """Flights of late June and July."""
    return datasets(7)[FLIGHTS].filter(pl.col("scheduled_departure") > JULY - BEFORE - timedelta(days=8))


@cache
def reported() -> pl.DataFrame:
    """Weather of late June and July."""
    return datasets(7)[WEATHER].filter(pl.col("time_hour") > JULY - BEFORE - timedelta(days=8))


@cache
def tables() -> list[FeatureTable]:
    """The batch tables of the whole period."""
    return [FeatureTable(view=view, rows=_table(flown(), reported(), view.name)) for view in STREAMED]


def _table(flights: pl.DataFrame, weather: pl.DataFrame, name: str) -> pl.DataFrame:
    if name == "weather_observed":
        return observed(weather.lazy()).collect()
    view = next(view for view in STREAMED if view.name == name)
    windows = tuple(column.removeprefix("arrivals_") for column in view.features if column.startswith("arrivals_"))
    return delay_history(flights.lazy(), by=view.entity, windows=windows).collect()


def daily(day: datetime) -> OnlineContent:
    """What is published of the files up to a day: its flights with all that became of them, and none of the next day's."""
    known = flown().filter(pl.col("scheduled_departure") < day)
    weather = reported().filter(pl.col("time_hour") < day)
    made = [(FeatureTable(view=view, rows=_table(known, weather, view.name)), str(day)) for view in STREAMED]
    newest = max(table.rows["known_at"].max() for table, _ in made)
    return prepare(made, since=newest - WINDOW)


def questions(start: datetime, end: datetime, count: int, seed: int) -> pl.DataFrame:
    """Entities of real flights, at instants of the stretch: many of them on an hour or just before one."""
    draw = random.Random(seed)
    rows = flown().filter(pl.col("tailnum").is_not_null()).select("origin", "dest", "carrier", "tailnum")
    seconds = (end - start) // timedelta(seconds=1)
    moments = []
    for _ in range(count):
        moment = start + timedelta(seconds=draw.randrange(seconds + 1))
        whole = moment.replace(minute=0, second=0)
        moments.append(max(start, draw.choice([moment, whole, whole - timedelta(microseconds=1)])))
    return rows.sample(count, seed=seed, with_replacement=True).with_columns(
        pl.Series("at", moments, pl.Datetime("us", "UTC"))
    )


def compared(store: OnlineStore, start: datetime, end: datetime, *, count: int, seed: int) -> Parity:
    return parity(store, "flights", tables(), questions(start, end, count, seed), time="at")


class Replay:
    """A lake and logs into which the events of July come when they came."""

    def __init__(self, folder: Path) -> None:
        self.lake = EmbeddedLake.open(folder / "lake")
        self.logs = {source.path: FileLog(folder / source.path, sync=False) for source in EVENTS}
        self.events = events_of(flown()).filter(pl.col(ARRIVES) >= JULY - BEFORE)
        self.reports = reports_of(reported()).filter(pl.col(ARRIVES) >= JULY - BEFORE)

    def arrive(self, start: datetime, end: datetime) -> None:
        """What comes in from one instant up to another is in the lake."""
        for source, came in ((MOVEMENT_EVENTS, self.events), (WEATHER_EVENTS, self.reports)):
            log, known = self.logs[source.path], came.filter(pl.col(ARRIVES) >= start, pl.col(ARRIVES) < end)
            for (moment,), rows in known.group_by(ARRIVES, maintain_order=True):
                log.append([body for _, body in messages(rows, source)], partition=0, at=moment)
            catch_up(self.lake, source, log, run=RUN, now=end + timedelta(days=1))


def play(folder: Path, store: OnlineStore, *, days: int, step: timedelta, count: int) -> list[Parity]:
    """Days of July, hour by hour, each day's files published at noon of the next; what is compared after each round."""
    replay, found = Replay(folder), []
    replay.arrive(JULY - BEFORE, JULY)
    moments = [JULY + step * number for number in range(1 + timedelta(days=days) // step)]
    store.publish("flights", daily(JULY - timedelta(days=1)), commit="c")
    for number, (start, end) in enumerate(pairwise(moments)):
        replay.arrive(start, end)
        noon = end.replace(hour=16, minute=0)
        if start < noon <= end:
            store.publish("flights", daily(end.replace(hour=4)), commit=str(end))
        refresh_online(replay.lake, TOY, store)
        snapshot = replay.lake.at("main")
        watermarks = [watermark_of(snapshot, source.path) for source in EVENTS]
        until = min(moment for moment in watermarks if moment is not None)
        since = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=store.version("flights").since)
        recent = max(since, until - timedelta(hours=4))
        found.append(compared(store, recent, until, count=count, seed=number))
        if start < noon <= end:  # the seam, and all that is in the window
            found.append(compared(store, since, until, count=5 * count, seed=number))
    return found


def test_hour_by_hour_the_store_answers_as_the_batch_tables_of_the_whole_period(tmp_path: Path) -> None:
    """Two days, with two publications."""
    found = play(tmp_path, MemoryOnlineStore(), days=2, step=timedelta(hours=6), count=60)
    assert [each.different for each in found] == [0] * len(found)
    assert sum(each.found for each in found) > 8_000


def test_a_live_stream_answers_at_each_instant_as_a_training_set_sees_it(tmp_path: Path) -> None:
    """Rows were known at their event time, before anybody could have them: of 600 predictions all read something else."""
    replay, store, step = Replay(tmp_path), MemoryOnlineStore(), timedelta(minutes=5)
    begin = JULY + timedelta(hours=10, minutes=52)
    replay.arrive(JULY - BEFORE, begin)
    store.publish("flights", daily(JULY), commit="c")
    near = flown().filter(pl.col("scheduled_departure").is_between(begin, begin + timedelta(hours=4)))
    entities = near.drop_nulls("tailnum").select("origin", "dest", "carrier", "tailnum").sample(12, seed=1)
    asked: list[dict[str, Any]] = []
    answered: dict[str, list[Any]] = {view.name: [] for view in STREAMED}
    for number in range(15):
        now = begin + step * number
        replay.arrive(now - step if number else begin, now)
        refresh_online(replay.lake, TOY, store, read=now)
        for moment in (now, now + timedelta(seconds=150), now + timedelta(seconds=299)):
            at = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
            for who in entities.iter_rows(named=True):
                asked.append({**who, "at": moment})
                lookups = [Lookup(view.name, tuple(who[key] for key in view.entity), at) for view in STREAMED]
                for view, found in zip(STREAMED, store.lookup("flights", lookups)[1], strict=True):
                    answered[view.name].append(found.values)
    labels = pl.DataFrame(asked, schema_overrides={"at": pl.Datetime("us", "UTC")})
    for table in tables():
        offline = point_in_time_join(labels, [table], time="at").select(list(table.view.outputs.values())).collect()
        different = [
            at
            for at, was, said in zip(labels["at"], answered[table.view.name], offline.rows(), strict=True)
            if was != said
        ]
        assert different == [], table.view.name
        assert offline.unique().height > 3, "answers change meanwhile"


def test_whole_tables_are_known_as_late_as_their_streamed_rows() -> None:
    for streamed, table in zip(STREAMS, tables(), strict=True):
        rows = table.rows.lazy().collect()
        assert rows.height > 1_000
        assert (rows["known_at"] - rows["event_time"]).unique().to_list() == [streamed.known_after]


@pytest.mark.heavy
def test_two_weeks_of_july_hour_by_hour_differ_in_nothing(tmp_path: Path) -> None:
    store = EmbeddedOnlineStore(tmp_path / "online")
    found = play(tmp_path, store, days=14, step=timedelta(hours=1), count=200)
    assert [each.different for each in found] == [0] * len(found)
    assert sum(each.found for each in found) > 500_000
    store.close()


def test_a_day_s_files_alone_answer_otherwise_than_the_stream() -> None:
    """The comparison can fail: behind its last flights a day's content has only the arrivals of that day's flights."""
    store = MemoryOnlineStore()
    store.publish("flights", daily(JULY), commit="c")
    assert compared(store, JULY + timedelta(hours=8), JULY + timedelta(hours=12), count=300, seed=1).different > 0


def test_events_make_the_rows_that_flights_and_weather_make() -> None:
    flights, weather = flown(), reported()
    events = {MOVEMENTS: events_of(flights), OBSERVATIONS: reports_of(weather)}
    for streamed in STREAMS:
        wanted = _table(flights, weather, streamed.view)
        found = streamed.compute(events[streamed.events].lazy()).collect()
        assert wanted.equals(found), streamed.view


def test_a_flight_has_two_events_a_diverted_one_its_departure_and_a_cancelled_one_none() -> None:
    flights = flown()
    count = dict(events_of(flights).group_by("kind").len().iter_rows())
    assert count["departure"] == flights.filter(~pl.col("cancelled")).height
    assert count["arrival"] == flights.filter(~pl.col("cancelled") & ~pl.col("diverted")).height
    events = events_of(flights.filter(pl.col("departure").is_not_null()).head(1))
    assert events["kind"].to_list() == ["departure", "arrival"]
    assert events["arrives"].to_list() == events["at"].to_list()


def test_every_real_event_is_well_formed_and_on_time(tmp_path: Path) -> None:
    replay = Replay(tmp_path)
    replay.arrive(JULY, JULY + timedelta(days=1))
    snapshot = replay.lake.at("main")
    rows = snapshot.table(MOVEMENTS).collect()
    known = replay.events.filter(pl.col(ARRIVES) >= JULY, pl.col(ARRIVES) < JULY + timedelta(days=1))
    assert rows.height == known.height > 1_500
    assert not snapshot.has(f"{MOVEMENTS}.rejected")
    assert not snapshot.has(f"{MOVEMENTS}.late")
    names = list(MOVEMENT_EVENTS.columns)
    order = ["at", "carrier", "flight", "kind"]
    assert rows.select(names).sort(order).equals(known.select(names).sort(order).with_columns(pl.col("time_hour")))


def test_each_history_is_streamed_with_its_longest_window() -> None:
    assert PRODUCT.streams == STREAMS
    for streamed, view in zip(STREAMS, STREAMED, strict=True):
        assert streamed.view == view.name
        is_history = streamed.events == MOVEMENTS
        assert streamed.inclusive is not is_history
        if is_history:
            assert streamed.lookback == max(streamed.windows) == timedelta(days=7)
        events = events_of(flown().head(50)) if is_history else reports_of(reported().head(50))
        assert streamed.compute(events.lazy()).collect_schema().names() == list(view.columns)
