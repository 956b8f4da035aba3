"""Late, doubled and disordered events; the watermark that says which is which."""

import random
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.streams import Late, LogBatch, Reason, StreamSource, StreamState
from headwater.streams._sorting import Sorted, parse, sort, spans
from tests.streams.scenario import NOW, SOURCE, batch_of, micro, minute, reading

NONE = pl.DataFrame(schema={name: pl.Int64 if name == "at" else kind for name, kind in SOURCE.schema.items()})


def step(
    batch: LogBatch, *, state: StreamState | None = None, source: StreamSource = SOURCE, known: pl.DataFrame = NONE
) -> Sorted:
    return sort(source, state or StreamState(), batch, parse(source, batch, now=micro(NOW)), known)


def taken(found: Sorted) -> list[int]:
    return sorted(found.rows["number"].to_list())


def watermark(found: Sorted) -> float | None:
    """In minutes after noon."""
    mark = found.state.watermark
    return None if mark is None else (mark - micro(minute(0))) / 60e6


def test_the_watermark_follows_the_newest_event_by_the_allowed_lateness_and_never_goes_back() -> None:
    first = step(batch_of((0, 30, reading(1, 30)), (0, 31, reading(2, 20))))
    assert watermark(first) == 20
    second = step(batch_of((0, 32, reading(3, 25)), start=2), state=first.state)
    assert watermark(second) == 20
    third = step(batch_of((0, 33, reading(4, 33)), start=3), state=second.state)
    assert watermark(third) == 23


def test_the_slowest_partition_holds_it_back() -> None:
    found = step(batch_of((0, 100, reading(1, 100)), (1, 100, reading(1, 40, meter="b"))))
    assert watermark(found) == 30


def test_disorder_within_a_batch_makes_nothing_late() -> None:
    events = [(0, 0.0, reading(number, number * 5.0)) for number in range(12)]
    random.Random(1).shuffle(events)
    found = step(batch_of(*[(p, 70.0, data) for p, _, data in events]))
    assert (taken(found), found.counts.late) == (list(range(12)), 0)


def test_an_event_behind_the_watermark_is_kept_apart_with_the_watermark_it_missed() -> None:
    first = step(batch_of((0, 60, reading(1, 60))))
    second = step(
        batch_of((0, 61, reading(2, 49)), (0, 61, reading(3, 50)), (0, 62, reading(4, 61)), start=1), state=first.state
    )
    assert taken(second) == [3, 4]
    assert second.late.select("number", "watermark").rows() == [(2, minute(50))]
    assert (second.counts.taken, second.counts.late) == (2, 1)


def test_late_events_are_merged_where_that_is_declared() -> None:
    source = replace(SOURCE, late=Late.MERGED)
    first = step(batch_of((0, 60, reading(1, 60))), source=source)
    second = step(batch_of((0, 61, reading(2, 10)), start=1), state=first.state, source=source)
    assert (taken(second), second.late.height, second.counts.late) == ([2], 0, 1)
    assert second.rows["known_at"].to_list() == [minute(61)]


def test_an_idle_partition_holds_the_watermark_back_for_a_while_and_not_for_ever() -> None:
    """By the log's times: partition 1 has nothing unread and nothing arrived there for more than 30 minutes."""
    both = step(batch_of((0, 0, reading(1, 0)), (1, 0, reading(1, 0, meter="b"))))
    assert watermark(both) == -10
    soon = step(batch_of((0, 29, reading(2, 29)), start=1, ends={1: 1}), state=both.state)
    assert watermark(soon) == -10
    later = step(batch_of((0, 31, reading(3, 31)), start=2, ends={1: 1}), state=soon.state)
    assert watermark(later) == 21
    behind = LogBatch(next={0: 3, 1: 1}, ends={0: 3, 1: 1})
    assert watermark(step(behind, state=later.state)) == 21


def test_a_partition_with_unread_events_is_not_idle() -> None:
    both = step(batch_of((0, 0, reading(1, 0)), (1, 0, reading(1, 0, meter="b"))))
    found = step(LogBatch(
        events=batch_of((0, 99, reading(2, 99)), start=1).events, next={0: 2, 1: 1}, ends={0: 2, 1: 5}
    ), state=both.state)  # fmt: skip
    assert watermark(found) == -10


def test_a_partition_that_never_had_an_event_holds_it_back_only_at_the_start() -> None:
    first = step(batch_of((0, 0, reading(1, 0)), ends={1: 0}))
    assert watermark(first) is None
    second = step(batch_of((0, 40, reading(2, 40)), start=1, ends={1: 0}), state=replace(first.state))
    assert watermark(second) == 30


def test_what_an_idle_partition_brings_when_it_wakes_is_late() -> None:
    both = step(batch_of((0, 0, reading(1, 0)), (1, 0, reading(1, 0, meter="b"))))
    on = step(batch_of((0, 60, reading(2, 60)), start=1, ends={1: 1}), state=both.state)
    woken = step(batch_of((1, 61, reading(2, 1, meter="b")), start=1, ends={0: 2}), state=on.state)
    assert woken.counts.late == 1


@pytest.mark.parametrize(
    "bad", [b"{", reading(9, 60 * 24 * 365 * 50), reading(9, 0, load=float("inf")), b'{"at": 9e99}']
)
def test_a_malformed_event_moves_no_watermark(bad: bytes) -> None:
    found = step(batch_of((0, 0, reading(1, 0)), (0, 0, bad)))
    assert watermark(found) == -10
    assert found.counts.rejected == 1
    assert found.rejected["data"].to_list() == [bad]


def test_a_partition_of_nothing_but_malformed_events_does_not_hold_it_back_for_ever() -> None:
    first = step(batch_of((0, 0, reading(1, 0)), (1, 0, b"{")))
    found = step(batch_of((0, 45, reading(2, 45)), (1, 45, b"{"), start=1), state=first.state)
    assert watermark(found) == 35


def test_a_producers_clock_that_is_ahead_makes_no_event_known_in_the_future() -> None:
    """It says that an event of next year arrived next year: the consumer's clock knows better."""
    batch = batch_of((0, 60.0 * 24 * 800, reading(1, 60 * 24 * 800)), (0, 60.0 * 24 * 800, reading(2, 5)))
    found = step(batch)
    assert found.counts.rejected == 1
    assert found.rows["known_at"].to_list() == [NOW]


def test_of_events_with_one_id_the_first_that_arrived_counts() -> None:
    found = step(batch_of((0, 5, reading(1, 5)), (1, 4, reading(1, 5)), (0, 6, reading(1, 5)), (0, 7, reading(2, 5))))
    assert found.rows.select("number", "log_partition").rows() == [(1, 1), (2, 0)]
    assert found.counts.duplicates == 2


def test_a_duplicate_of_a_row_in_the_lake_is_dropped_within_the_horizon_and_taken_beyond() -> None:
    known = pl.DataFrame([("a", 1, micro(minute(0)), 1.5, None)], schema=NONE.schema, orient="row")
    found = step(batch_of((0, 300, reading(1, 0)), (0, 400, reading(1, 361))), known=known)
    assert (taken(found), found.counts.duplicates) == ([1], 1)
    assert found.rows["at"].to_list() == [minute(361)]


def test_another_event_under_a_taken_id_is_rejected_and_not_lost() -> None:
    found = step(
        batch_of((0, 0, reading(1, 0)), (0, 1, reading(1, 0, load=9.5, estimated=True)), (0, 2, reading(1, 0)))
    )
    assert (found.counts.taken, found.counts.duplicates, found.counts.rejected) == (1, 1, 1)
    assert found.rejected["reason"].to_list() == [Reason.ID_TAKEN]
    assert "'load', 'estimated'" in found.rejected["detail"][0]


@given(st.lists(st.integers(-500, 500), max_size=60), st.integers(0, 30))
def test_spans_are_few_and_hold_everything_near(times: list[int], horizon: int) -> None:
    found = spans(times, horizon)
    assert len(found) <= 16
    assert all(any(begin <= time - horizon and time + horizon <= end for begin, end in found) for time in times)
    assert found == sorted(found)
    if len(found) < 16:  # then none was joined to another for its number's sake
        total = {moment for time in times for moment in range(time - horizon, time + horizon + 1)}
        assert sum(end - begin + 1 for begin, end in found) == len(total) or horizon == 0 or len(set(times)) > 16


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 400)), min_size=1, max_size=40),
    st.integers(1, 9),
    st.randoms(use_true_random=False),
)
def test_however_events_are_cut_into_batches_each_is_counted_once(
    arrivals: list[tuple[int, int]], size: int, draw: random.Random
) -> None:
    """Against a model: of one id within the horizon exactly one survives, in the table or apart."""
    source = replace(SOURCE, duplicate_horizon=timedelta(days=3))
    events = [
        (draw.randrange(2), float(place + 400), reading(number, number * 7.0))
        for place, (number, _) in enumerate(arrivals)
    ]
    whole = batch_of(*events, ends={0: 0, 1: 0})
    state, known, survivors = StreamState(), NONE, []
    for begin in range(0, len(events), size):
        part = whole.events[begin : begin + size]
        seen = whole.events[: begin + size]
        reached = {p: sum(event.partition == p for event in seen) for p in (0, 1)}
        found = step(LogBatch(events=part, next=reached, ends=whole.ends), state=state, source=source, known=known)
        assert found.counts.events == len(part)
        assert state.watermark is None or (found.state.watermark or 0) >= state.watermark
        kept = pl.concat([found.rows, found.late.select(found.rows.columns)])
        known = pl.concat([known, kept.select(pl.col("at").cast(pl.Int64) if n == "at" else n for n in SOURCE.schema)])
        survivors += kept["number"].to_list()
        state = found.state
    assert sorted(survivors) == sorted({number for number, _ in arrivals})
    assert state.totals.events == len(events)
