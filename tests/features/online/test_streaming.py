"""Windowed features from events: added hour by hour they are the batch table's, and late events change nothing that was final."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.features import FeatureTable, FeatureView, StreamedView
from headwater.features.errors import FeatureViewError
from headwater.features.online import Answer, Lookup, OnlineStore, prepare, rows_from
from headwater.features.online._memory_store import MemoryOnlineStore
from headwater.features.online._streaming import Events, begin_of, streamed_rows
from headwater.product import DeclarationError, Product
from headwater.streams import StreamSource
from headwater.testing.online_suite import at, differences, hour

TIME = pl.Datetime("us", "UTC")
VIEW = FeatureView(
    name="history", path="toy/history", entity=("who",), features=("count", "total"), ttl=timedelta(hours=5)
)
BEGIN = 8.0
"""Hours after the start: rows up to then are published. Events of before are all there."""
BEGUN = -24.0
"""When the stream began."""


def history(events: pl.LazyFrame) -> pl.LazyFrame:
    """A batch function: count and total of the last three hours, at the end of each hour in which something happened."""
    hourly = events.group_by("who", pl.col("at").dt.truncate("1h").dt.offset_by("1h").alias("known_at")).agg(
        pl.len().cast(pl.Int64).alias("count"), pl.col("value").sum().alias("total")
    )
    summed = pl.col("count", "total").rolling_sum_by("known_at", window_size="3h").over("who")
    rows = hourly.sort("known_at", "who").with_columns(summed, pl.col("known_at").alias("event_time"))
    return rows.select("who", "event_time", "known_at", "count", "total")


STREAMED = StreamedView(
    view="history", events="toy/events", lookback=timedelta(hours=3), compute=history, known_after=timedelta(0),
    settles=timedelta(hours=2),
)  # fmt: skip
EVENTS = StreamSource(
    path="toy/events",
    columns={"who": pl.String, "number": pl.Int64, "at": pl.Datetime("us", "UTC"), "value": pl.Int64},
    event_time="at",
    id=("number",),
    allowed_lateness=timedelta(minutes=10),
    arrives_within=timedelta(0),
)


class Event(NamedTuple):
    """By hours since the start: when, and for a late one the watermark that it missed and how long after that it came."""

    who: str
    when: float
    value: int
    missed: float | None = None
    wait: float = 0.0


def events(found: Sequence[Event]) -> Events:
    def frame(rows: Sequence[Event]) -> pl.DataFrame:
        cells = [(e.who, hour(e.when), e.value, hour((e.missed or e.when) + e.wait), hour(e.missed or 0)) for e in rows]
        names = {"who": pl.String, "at": TIME, "value": pl.Int64, "known_at": TIME, "watermark": TIME}
        return pl.DataFrame(cells, schema=names, orient="row")

    timely = frame([event for event in found if event.missed is None])
    return Events(
        timely=timely.drop("watermark").lazy(),
        late=frame([event for event in found if event.missed is not None]).lazy(),
        event_time="at",
    )


def published(found: Sequence[Event], streamed: StreamedView = STREAMED) -> MemoryOnlineStore:
    """A store with the batch table of the events up to `BEGIN`."""
    rows = streamed.compute(events([e for e in found if e.when < BEGIN and e.missed is None]).timely).collect()
    store = MemoryOnlineStore()
    content = prepare([(FeatureTable(view=VIEW, rows=rows), "d")], since=hour(4))
    store.publish("toy", content, commit="c")
    return store


def refresh(
    store: OnlineStore, found: Sequence[Event], until: float, streamed: StreamedView = STREAMED
) -> pl.DataFrame:
    """One round, as `refresh_online` makes it, with no more events than it has to read."""
    newest = store.version("toy").views["history"].newest
    there = hour(4) if newest is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=newest)
    after, whole = there + streamed.after_row - streamed.settles, events(found)
    begin = begin_of(streamed, whole.late, event_time="at", after=after, until=hour(until), first=hour(BEGUN))
    late = None if whole.late is None else whole.late.filter(pl.col("at") >= begin)
    read = replace(whole, timely=whole.timely.filter(pl.col("at") >= begin), late=late)
    rows = streamed_rows(streamed, VIEW, read, after=after, until=hour(until), begin=begin)
    if rows.height:
        store.extend("toy", {"history": rows_from(FeatureTable(view=VIEW, rows=rows), hour(4))}, commit="c2")
    return rows


def asked(last: float) -> pl.DataFrame:
    moments = [hour(4 + step / 4) for step in range(int((last - 4) * 4) + 1)]
    return pl.DataFrame(
        [(who, moment) for who in "abx" for moment in moments], schema={"who": pl.String, "at": TIME}, orient="row"
    )


def answers(store: OnlineStore, last: float) -> list[Any]:
    lookups = [
        Lookup("history", (who,), at(4 + step / 12)) for who in "abx" for step in range(int((last - 4) * 12) + 1)
    ]
    return store.lookup("toy", lookups)[1]


quarters = st.integers(0, 4 * 24).map(lambda quarter: quarter / 4)
timely_events = st.lists(
    st.builds(lambda *given: Event(*given), st.sampled_from("ab"), quarters, st.integers(-9, 9)), max_size=40
)
cuts = st.lists(st.integers(int(BEGIN) * 6, 24 * 6).map(lambda part: part / 6), min_size=1, max_size=5).map(sorted)
late_events = st.lists(
    st.builds(
        lambda who, value, missed, before, wait: Event(who, missed - before, value, missed, wait),
        st.sampled_from("ab"),
        st.integers(-9, 9),
        st.integers(int(BEGIN) * 4, 24 * 4).map(lambda quarter: quarter / 4),
        st.integers(1, 12).map(lambda quarter: quarter / 4),
        st.integers(1, 8).map(lambda quarter: quarter / 4),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(timely_events, cuts)
def test_round_by_round_the_answers_are_those_of_the_batch_table(found: list[Event], untils: list[float]) -> None:
    store = published(found)
    whole = history(events(found).timely).collect()
    for until in untils:
        refresh(store, found, until)
        table = FeatureTable(view=VIEW, rows=whole.filter(pl.col("known_at") <= hour(until)))
        assert differences(store, "toy", [table], asked(until)) == []
    before = store.version("toy")
    refresh(store, found, untils[-1])
    assert store.version("toy") == before


@settings(max_examples=25, deadline=None)
@given(timely_events, late_events, cuts)
def test_late_events_give_the_same_answers_however_often_somebody_looked(
    found: list[Event], late: list[Event], untils: list[float]
) -> None:
    often, once = published(found), published(found)
    for until in untils:  # an event that missed a watermark is there before the next one is
        refresh(often, found + [event for event in late if event.missed is not None and event.missed < until], until)
    refresh(once, found + late, untils[-1])
    assert answers(often, untils[-1] + 6) == answers(once, untils[-1] + 6)


def readings(found: pl.LazyFrame) -> pl.LazyFrame:
    """A batch function: each event is a row."""
    row = found.group_by("who", "at").agg(pl.len().cast(pl.Int64).alias("count"), pl.col("value").sum().alias("total"))
    return row.select("who", pl.col("at").alias("event_time"), pl.col("at").alias("known_at"), "count", "total")


READINGS = StreamedView(
    view="history",
    events="toy/events",
    lookback=timedelta(hours=1),
    compute=readings,
    known_after=timedelta(0),
    inclusive=True,
)
very_late_events = st.lists(
    st.builds(
        lambda who, value, missed, before, wait: Event(who, missed - before, value, missed, wait),
        st.sampled_from("ab"),
        st.integers(-9, 9),
        st.sampled_from([11.25, 20.0]),  # several miss one watermark
        (st.integers(1, 8) | st.integers(13, 80)).map(lambda quarter: quarter / 4),
        st.integers(1, 24).map(lambda quarter: quarter / 4),
    ),
    min_size=4,
    max_size=12,
)


@pytest.mark.parametrize("streamed", [STREAMED, replace(STREAMED, settles=timedelta(0)), READINGS])
@settings(max_examples=30, deadline=None)
@given(found=timely_events, late=very_late_events, untils=cuts.map(lambda found: [*found, 24.0]))
def test_events_that_are_late_by_many_lookbacks_give_the_same_rows_however_often_somebody_looked(
    streamed: StreamedView, found: list[Event], late: list[Event], untils: list[float]
) -> None:
    """Corrections went one lookback back from the watermark, and their known-at time was that of whatever a round had read."""
    often, once = published(found, streamed), published(found, streamed)
    for until in untils:
        there = [event for event in late if event.missed is not None and event.missed < until]
        refresh(often, found + there, until, streamed)
    refresh(once, found + late, untils[-1], streamed)
    assert answers(often, untils[-1] + 12) == answers(once, untils[-1] + 12)


def test_a_station_that_was_cut_off_for_long_gets_its_last_reading_when_that_comes() -> None:
    """Of 10:00, it missed the watermark of 11:50, and a reading looks back one hour. It never came into the store."""
    found = [Event("a", 7, 1), Event("b", 7, 1), Event("a", 9, 9), Event("b", 9, 1), Event("b", 12, 2)]
    late = Event("a", 10, 10, missed=11 + 5 / 6, wait=0.5)
    store = published(found, READINGS)
    refresh(store, found, 11.8, READINGS)
    refresh(store, [*found, late, Event("b", 13, 3)], 12.5, READINGS)

    def total(when: float) -> Any:
        return store.lookup("toy", [Lookup("history", ("a",), at(when))])[1][0].values[1]

    assert [total(when) for when in (10, 12.3, 12.34)] == [9, 9, 10]


def test_a_correction_is_known_from_the_last_event_that_its_row_counts() -> None:
    """Two missed one watermark. One of them, of another day, came later, and once moved the other's correction with it."""
    found = [Event("a", 7.5, 1), Event("a", 8.5, 2), Event("a", 12.5, 4)]
    late = [Event("a", 8.7, 100, missed=9.25, wait=0.25), Event("b", 2.5, 7, missed=9.25, wait=2)]
    store = published(found)
    refresh(store, found + late, 12)

    def total(when: float) -> Any:
        return store.lookup("toy", [Lookup("history", ("a",), at(when))])[1][0].values[1]

    assert [total(when) for when in (9, 9.49, 9.5)] == [3, 3, 103]


def test_no_row_is_corrected_of_which_the_lookback_begins_before_the_stream() -> None:
    found = [Event("a", 8.2, 1), Event("a", 9.2, 2)]
    late = [Event("a", 6.5, 5, missed=9.5, wait=0.25), Event("a", 2.0, 50, missed=9.5, wait=0.25)]
    after = hour(9)
    first = hour(6)
    begin = begin_of(STREAMED, events(late).late, event_time="at", after=after, until=hour(11), first=first)
    assert begin == first
    rows = streamed_rows(STREAMED, VIEW, events(found + late), after=after, until=hour(11), begin=begin)
    assert rows.filter(pl.col("event_time") <= hour(9)).is_empty()
    assert begin_of(STREAMED, events(late).late, event_time="at", after=after, until=hour(11), first=hour(0)) == hour(0)
    assert begin_of(STREAMED, events(late).late, event_time="at", after=after, until=hour(11), first=hour(-9)) == hour(
        -1
    )
    assert begin_of(STREAMED, None, event_time="at", after=after, until=hour(11), first=hour(-9)) == hour(6)


@settings(max_examples=25, deadline=None)
@given(timely_events, late_events)
def test_a_row_counts_the_late_events_that_missed_a_watermark_before_it_and_no_others(
    found: list[Event], late: list[Event]
) -> None:
    rows = streamed_rows(STREAMED, VIEW, events(found + late), after=hour(BEGIN), until=hour(24))
    for end in range(int(BEGIN) + 1, 25):
        there = [e for e in found + late if e.when < end and (e.missed is None or e.missed < end)]
        whole = events([event._replace(missed=None) for event in there]).timely
        wanted = history(whole).filter(pl.col("event_time") == hour(end)).sort("who").collect()
        first = rows.filter(pl.col("event_time") == hour(end), pl.col("known_at") == hour(end)).sort("who")
        assert first.rows() == wanted.rows()


def test_a_late_event_corrects_the_newest_row_from_its_arrival_on_and_counts_in_later_ones() -> None:
    """Of 8:30, it missed the watermark of 9:15 and came in at 9:40."""
    found = [Event("a", 8.2, 1), Event("a", 9.5, 2), Event("b", 8.1, 5), Event("a", 8.5, 40, missed=9.25, wait=0.42)]
    store = published(found)
    refresh(store, found, 10)

    def total(who: str, when: float) -> tuple[Any, ...]:
        return store.lookup("toy", [Lookup("history", (who,), at(when))])[1][0].values

    assert [total("a", when) for when in (9, 9.66, 9.67, 9.99, 10)] == [(1, 1), (1, 1), (2, 41), (2, 41), (3, 43)]
    assert [total("b", when) for when in (9, 9.99)] == [(1, 5), (1, 5)]


def test_rows_that_were_published_as_final_stay_and_those_that_may_lack_events_are_replaced() -> None:
    """The batch table of a day's file lacked an event of 7:30, whose row lies within two hours of the newest."""
    found = [Event("a", 3.5, 1), Event("a", 5.5, 2), Event("a", 7.2, 3)]
    store = published(found)
    refresh(store, [*found, Event("a", 5.6, 100), Event("a", 7.5, 10)], 9)
    moments = (6, 7.9, 8)
    rows = store.lookup("toy", [Lookup("history", ("a",), at(moment)) for moment in moments])[1]
    assert [row.values for row in rows] == [(2, 3), (2, 3), (4, 115)]
    assert rows[0].answer is Answer.FOUND


def test_hours_that_the_watermark_has_not_passed_do_not_count() -> None:
    found = [Event("a", 8.5, 1), Event("a", 9.5, 2)]
    rows = streamed_rows(STREAMED, VIEW, events(found), after=hour(8), until=hour(9.75))
    assert rows["event_time"].to_list() == [hour(9)]
    assert streamed_rows(STREAMED, VIEW, events(found), after=hour(8), until=hour(8.9)).is_empty()
    assert streamed_rows(STREAMED, VIEW, events(found), after=hour(8), until=hour(7)).schema == rows.schema


def test_a_view_that_looks_back_less_than_its_longest_window_is_refused() -> None:
    for wrong, said in (
        ({"windows": (timedelta(hours=4),)}, "longest window"),
        ({"lookback": timedelta(0)}, "lookback is 0:00:00"),
        ({"settles": -timedelta(1)}, "settles"),
        ({"known_after": -timedelta(1)}, "known_after"),
    ):
        with pytest.raises(FeatureViewError, match=said):
            replace(STREAMED, **wrong)  # type: ignore[arg-type]


def test_a_streamed_view_says_when_its_rows_are_known_and_not_before_their_events_are() -> None:
    product: dict[str, Any] = {"name": "toy", "question": "?", "owners": ("team:x",), "features": (VIEW,)}
    slow = replace(EVENTS, arrives_within=timedelta(minutes=5))
    for events, streamed, said in (
        ((), STREAMED, "none of its events"),
        ((replace(EVENTS, arrives_within=None),), STREAMED, r"Declare StreamSource\(arrives_within"),
        ((slow,), replace(STREAMED, known_after=timedelta(minutes=4)), "known 0:04:00 after .* take up to 0:05:00"),
    ):
        with pytest.raises(DeclarationError, match=said):
            Product(**product, events=events, streams=(streamed,))
    Product(**product, events=(slow,), streams=(replace(STREAMED, known_after=timedelta(minutes=5)),))


def test_a_streamed_view_with_one_column_for_both_times_is_refused() -> None:
    """A corrected row is known later: it took its event time along, and rows of others behind it were passed over."""
    product: dict[str, Any] = {"name": "toy", "question": "?", "owners": ("team:x",), "events": (EVENTS,)}
    with pytest.raises(DeclarationError, match="one column for event time and known-at time"):
        Product(**product, features=(replace(VIEW, known_at="event_time"),), streams=(STREAMED,))


def test_a_product_streams_views_that_it_has_and_each_once() -> None:
    product: dict[str, Any] = {"name": "toy", "question": "?", "owners": ("team:x",), "events": (EVENTS,)}
    assert Product(**product, features=(VIEW,), streams=(STREAMED,)).streams == (STREAMED,)
    with pytest.raises(DeclarationError, match="none of its feature views"):
        Product(**product, streams=(STREAMED,))
    with pytest.raises(DeclarationError, match="streamed twice"):
        Product(**product, features=(VIEW,), streams=(STREAMED, STREAMED))


def test_a_row_that_is_one_event_is_made_once_the_watermark_has_left_it_behind() -> None:
    def readings(found: pl.LazyFrame) -> pl.LazyFrame:
        return found.select("who", pl.col("at").alias("event_time"), pl.col("at").alias("known_at"), "value")

    view = FeatureView(name="readings", path="toy/readings", entity=("who",), features=("value",))
    streamed = StreamedView(
        view="readings", events="toy/events", lookback=timedelta(hours=1), compute=readings, inclusive=True,
        known_after=timedelta(0),
    )  # fmt: skip
    came = events([Event("a", 7, 1), Event("a", 8, 2), Event("a", 8.5, 3), Event("a", 9, 4)])
    first = streamed_rows(streamed, view, came, after=hour(7) + streamed.after_row, until=hour(9))
    assert first["value"].to_list() == [2, 3]
    second = streamed_rows(streamed, view, came, after=hour(8.5) + streamed.after_row, until=hour(10))
    assert second["value"].to_list() == [4]
    assert replace(streamed, inclusive=False).after_row == timedelta(0)
