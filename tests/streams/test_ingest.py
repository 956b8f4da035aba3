"""What a batch leaves in the lake: tables, offsets, provenance; and when it refuses to go on."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.lake import EmbeddedLake, Lake
from headwater.lake.errors import PathNotFoundError
from headwater.streams import (
    Counts,
    FileLog,
    Ingested,
    Late,
    Limits,
    PartitionState,
    catch_up,
    events_between,
    ingest,
    read_state,
    skip_to,
    watermark_of,
)
from headwater.streams.errors import (
    AnotherLogError,
    BehindEndError,
    ClocksDifferError,
    LostEventsError,
    NoPartitionError,
    NoZoneError,
    StreamError,
    StreamStateError,
)
from tests.streams.scenario import NOW, PATH, RUN, SOURCE, micro, minute, numbers, reading, rows_of, send


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return EmbeddedLake.open(tmp_path / "lake")


@pytest.fixture
def log(tmp_path: Path) -> FileLog:
    return FileLog(tmp_path / "log")


@pytest.fixture
def two(tmp_path: Path) -> FileLog:
    return FileLog(tmp_path / "two", partitions=2)


def test_a_batch_becomes_rows_offsets_and_one_commit(lake: Lake, two: FileLog) -> None:
    send(two, reading(1, 0, estimated=True), reading(2, 5, load=None), arrived=6)
    send(two, reading(3, 2), b"{torn", partition=1, arrived=7)
    before = lake.at("main").commit.id
    done = ingest(lake, SOURCE, two, run=RUN)
    commit = lake.at("main").commit
    assert (done.commit, commit.parents) == (commit.id, (before,))
    assert (done.counts, done.left) == (Counts(taken=3, rejected=1), 0)
    rows = rows_of(lake.at("main"), PATH)
    assert rows.schema == SOURCE.rows_schema
    assert rows.rows() == [
        ("a", 1, minute(0), 1.5, True, minute(6), 0, 0),
        ("a", 2, minute(5), None, None, minute(6), 0, 1),
        ("a", 3, minute(2), 1.5, None, minute(7), 1, 0),
    ]
    assert rows_of(lake.at("main"), SOURCE.rejected_path).select("reason", "data", "known_at", "log_offset").rows() == [
        ("not_json", b"{torn", minute(7), 1)
    ]
    state = read_state(lake.at("main"), PATH)
    assert state == done.state
    assert state is not None
    assert state.partitions == {
        0: PartitionState(offset=2, newest=micro(minute(5)), active=micro(minute(6))),
        1: PartitionState(offset=2, newest=micro(minute(2)), active=micro(minute(7))),
    }
    assert done.watermark == watermark_of(lake.at("main"), PATH) == minute(-8)


def test_the_commit_says_what_was_read_by_which_code_and_what_came_of_it(lake: Lake, log: FileLog) -> None:
    send(log, reading(1, 0), b"{")
    ingest(lake, SOURCE, log, run=RUN)
    send(log, reading(2, 0), reading(1, 0))
    ingest(lake, SOURCE, log, run=RUN)
    first, second = reversed([commit.provenance for commit in lake.log(path=SOURCE.offsets_path)])
    assert first is not None
    assert second is not None
    assert [output.path for output in first.outputs] == [PATH, SOURCE.rejected_path, SOURCE.offsets_path]
    assert [output.path for output in second.outputs] == [PATH, SOURCE.offsets_path]
    output = second.output(PATH)
    assert output is not None
    assert output.data_version == lake.at("main").entry(PATH).data_version
    assert output.code_version
    assert output.definition
    assert {name: output.facts[name] for name in ("taken", "late", "duplicates", "rejected", "appended")} == {
        "taken": 1, "late": 0, "duplicates": 1, "rejected": 0, "appended": 1,
    }  # fmt: skip
    assert [(pin.path, pin.data_version) for pin in second.inputs if pin.role == "log"] == [
        (f"{log.identity}#0", "2..4")
    ]
    assert {check.name: (check.passed, check.blocking) for check in first.checks} == {
        "events_are_well_formed": (False, False),
        "events_are_on_time": (True, False),
    }
    assert first.checks[0].facts["reasons"] == {"not_json": 1}
    assert (second.action, second.actor, second.input_commit) == (
        "materialize",
        "user:ada",
        lake.at("main~1").commit.id,
    )


def test_a_batch_costs_what_it_wrote_and_not_its_table(lake: Lake, log: FileLog) -> None:
    """Eight equal batches cost 22, 43, 64 and at last 169 kB: each was charged with all that stood."""
    costs = []
    for hour in range(4):
        send(log, *(reading(hour * 1000 + n, hour * 60 + n / 20) for n in range(1000)), arrived=hour * 60 + 59)
        ingest(lake, SOURCE, log, run=RUN, now=NOW)
        provenance = lake.at("main").commit.provenance
        assert provenance is not None
        costs.append(provenance.cost.bytes_written)
    assert max(costs) < 1.1 * min(costs)
    assert sum(costs) >= lake.at("main").entry(PATH).bytes


def test_tables_of_very_many_files_are_written_as_a_whole_once(
    lake: Lake, log: FileLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing bounded the files: a batch of one event took 0.09 s at 50 of them, 0.26 s at 1,200, and more every day."""
    monkeypatch.setattr("headwater.materialize._adding._MOST_FILES", 3)
    late, rejected = SOURCE.late_path, SOURCE.rejected_path
    files = []
    for number in range(6):
        send(log, reading(number, 60 * number), reading(100 + number, -60), b"{torn", arrived=60 * number)
        ingest(lake, SOURCE, log, run=RUN, now=NOW)
        snapshot = lake.at("main")
        files.append([snapshot.entry(path).files if snapshot.has(path) else 0 for path in (PATH, late, rejected)])
    assert files == [[1, 0, 1], [2, 1, 2], [3, 2, 3], [1, 3, 1], [2, 1, 2], [3, 2, 3]]
    assert sorted(numbers(lake)) == [0, 1, 2, 3, 4, 5, 100]
    assert sorted(numbers(lake, late)) == [101, 102, 103, 104, 105]
    assert snapshot.table(rejected).collect().height == 6
    send(log, reading(5, 300), reading(105, -60), arrived=360)
    assert ingest(lake, SOURCE, log, run=RUN, now=NOW).counts.duplicates == 2


def test_nothing_new_makes_no_commit(lake: Lake, log: FileLog) -> None:
    before = lake.at("main").commit.id
    assert ingest(lake, SOURCE, log, run=RUN).commit is None
    send(log, reading(1, 0))
    ingest(lake, SOURCE, log, run=RUN)
    done = ingest(lake, SOURCE, log, run=RUN)
    assert (done.commit, done.counts, done.watermark) == (None, Counts(), minute(-10))
    assert lake.at("main~1").commit.id == before


def test_a_batch_of_nothing_but_duplicates_moves_the_offsets_alone(lake: Lake, two: FileLog) -> None:
    send(two, reading(1, 0))
    ingest(lake, SOURCE, two, run=RUN)
    version = lake.at("main").entry(PATH).data_version
    send(two, reading(1, 0), reading(1, 0), partition=1)
    done = ingest(lake, SOURCE, two, run=RUN)
    assert done.counts == Counts(duplicates=2)
    assert lake.at("main").entry(PATH).data_version == version
    assert ingest(lake, SOURCE, two, run=RUN).commit is None


def test_a_duplicate_of_an_event_that_came_late_is_seen_too(lake: Lake, log: FileLog) -> None:
    send(log, reading(1, 60), arrived=60)
    ingest(lake, SOURCE, log, run=RUN)
    send(log, reading(2, 0), arrived=61)
    assert ingest(lake, SOURCE, log, run=RUN).counts == Counts(late=1)
    send(log, reading(2, 0), arrived=600)
    assert ingest(lake, SOURCE, log, run=RUN).counts == Counts(duplicates=1)
    late = rows_of(lake.at("main"), SOURCE.late_path)
    assert late.select("number", "at", "known_at", "watermark").rows() == [(2, minute(0), minute(61), minute(50))]
    assert numbers(lake) == [1]


def test_late_events_are_among_the_others_where_that_is_declared(lake: Lake, log: FileLog) -> None:
    source = replace(SOURCE, late=Late.MERGED)
    send(log, reading(1, 60), arrived=60)
    ingest(lake, source, log, run=RUN)
    send(log, reading(2, 0), arrived=61)
    assert ingest(lake, source, log, run=RUN).counts == Counts(late=1)
    assert numbers(lake) == [1, 2]
    assert not lake.at("main").has(source.late_path)


def test_batches_are_bounded_and_progress_is_told(lake: Lake, log: FileLog) -> None:
    send(log, *[reading(number, number) for number in range(25)], arrived=30)
    told: list[Ingested] = []
    total = catch_up(lake, SOURCE, log, run=RUN, limits=Limits(events=10), progress=told.append)
    assert total == Counts(taken=25)
    assert [(done.counts.taken, done.left) for done in told] == [(10, 15), (10, 5), (5, 0)]
    assert [done.state.totals.taken for done in told] == [10, 20, 25]
    assert len(list(lake.log(path=SOURCE.offsets_path))) == 3
    size = len(reading(1, 1))
    send(log, *[reading(number, 30) for number in range(30, 40)], arrived=31)
    assert ingest(lake, SOURCE, log, run=RUN, limits=Limits(bytes=3 * size)).counts.events == 3


def test_a_consumer_that_is_told_to_stop_leaves_the_rest_in_the_log(lake: Lake, log: FileLog) -> None:
    send(log, *[reading(number, number) for number in range(25)], arrived=30)
    told: list[Ingested] = []
    catch_up(lake, SOURCE, log, run=RUN, limits=Limits(events=10), progress=told.append, stop=lambda: len(told) == 2)
    assert numbers(lake) == list(range(20))


def test_two_streams_of_one_lake_do_not_meet(lake: Lake, log: FileLog) -> None:
    other = replace(SOURCE, path="grid/landing/others")
    send(log, reading(1, 0))
    for source in (SOURCE, other):
        assert ingest(lake, source, log, run=RUN).counts == Counts(taken=1)
    assert numbers(lake, other.path) == [1]


def test_offsets_of_one_log_are_not_used_on_another(lake: Lake, log: FileLog, tmp_path: Path) -> None:
    send(log, reading(1, 0))
    ingest(lake, SOURCE, log, run=RUN)
    with pytest.raises(AnotherLogError, match=log.identity):
        ingest(lake, SOURCE, FileLog(tmp_path / "other"), run=RUN)


def test_tables_without_their_offsets_are_not_filled_a_second_time(lake: Lake, log: FileLog) -> None:
    send(log, reading(1, 0))
    ingest(lake, SOURCE, log, run=RUN)
    with lake.transaction() as tx:
        tx.remove(SOURCE.offsets_path)
        tx.publish(message="Remove the offsets", provenance=None)
    with pytest.raises(StreamStateError, match=r"readings\.offsets does not"):
        ingest(lake, SOURCE, log, run=RUN)


def test_offsets_that_cannot_be_read_are_an_error_that_names_them(lake: Lake, log: FileLog, tmp_path: Path) -> None:
    send(log, reading(1, 0))
    ingest(lake, SOURCE, log, run=RUN)
    (tmp_path / "bad").mkdir()
    for text in ('{"format": 99}', "[]", "{"):
        (tmp_path / "bad" / "state.json").write_text(text)
        with lake.transaction() as tx:
            tx.write_folder(SOURCE.offsets_path, tmp_path / "bad")
            tx.publish(message="Spoil the offsets", provenance=None)
        with pytest.raises(StreamStateError, match=r"readings\.offsets cannot be read"):
            ingest(lake, SOURCE, log, run=RUN)


def test_a_declaration_that_no_longer_fits_the_table_changes_nothing(lake: Lake, log: FileLog) -> None:
    send(log, reading(1, 0))
    ingest(lake, SOURCE, log, run=RUN)
    send(log, reading(2, 0))
    changed = replace(SOURCE, columns={**SOURCE.columns, "place": pl.String}, optional=("place", "load", "estimated"))
    with pytest.raises(StreamStateError, match="place"):
        ingest(lake, changed, log, run=RUN)
    assert numbers(lake) == [1]


@pytest.mark.parametrize(
    ("change", "said"), [({"event_time": "sent"}, "event time was at"), ({"id": ("number",)}, "id was meter, number")]
)
def test_another_event_time_or_id_of_the_same_columns_needs_a_path_of_its_own(
    lake: Lake, log: FileLog, change: dict[str, Any], said: str
) -> None:
    """The watermark went on by the new time, and spans of events by the old one: two of two events were not in theirs."""
    source = replace(SOURCE, columns={**SOURCE.columns, "sent": pl.Datetime("us", "UTC")})
    send(log, reading(1, 0, sent=minute(1).isoformat()), arrived=1)
    ingest(lake, source, log, run=RUN)
    send(log, reading(2, 2, sent=minute(3).isoformat()), arrived=3)
    with pytest.raises(StreamStateError, match=said):
        ingest(lake, replace(source, **change), log, run=RUN)
    assert ingest(lake, replace(source, id=("number", "meter")), log, run=RUN).counts == Counts(taken=1)


def test_offsets_of_before_they_named_an_id_go_on_and_name_it_from_then_on(
    lake: Lake, log: FileLog, tmp_path: Path
) -> None:
    send(log, reading(1, 0))
    ingest(lake, SOURCE, log, run=RUN)
    said = json.loads((lake.at("main").folder(SOURCE.offsets_path) / "state.json").read_text())
    assert said.pop("id") == ["meter", "number"]
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "state.json").write_text(json.dumps(said))
    with lake.transaction() as tx:
        tx.write_folder(SOURCE.offsets_path, tmp_path / "old")
        tx.publish(message="Offsets of an older Headwater", provenance=None)
    send(log, reading(2, 0))
    assert ingest(lake, SOURCE, log, run=RUN).counts == Counts(taken=1)
    state = read_state(lake.at("main"), PATH)
    assert state is not None
    assert state.id == ("meter", "number")


def test_a_clock_behind_the_logs_stops_the_stream_and_costs_no_event(lake: Lake, log: FileLog) -> None:
    """The consumer's clock was taken for the arrival, and good events were rejected for good."""
    send(log, reading(1, -30), reading(2, 0), arrived=0)
    before = lake.at("main").commit.id
    with pytest.raises(ClocksDifferError, match=r"took event 1 .* at 2013-03-10T12:00:00.* says 2013-03-10T11:54:00"):
        ingest(lake, SOURCE, log, run=RUN, now=minute(-6))
    assert lake.at("main").commit.id == before
    assert ingest(lake, SOURCE, log, run=RUN, now=minute(1)).counts == Counts(taken=2)


def test_a_clock_a_little_behind_the_logs_rejects_nothing_that_arrived_in_time(lake: Lake, log: FileLog) -> None:
    send(log, reading(1, 4), reading(2, 6), arrived=0)
    assert ingest(lake, SOURCE, log, run=RUN, now=minute(-4)).counts == Counts(taken=1, rejected=1)
    assert rows_of(lake.at("main"), PATH)["known_at"].to_list() == [minute(-4)]
    rejected = rows_of(lake.at("main"), SOURCE.rejected_path)
    assert "arrived at 2013-03-10 12:00:00" in rejected["detail"][0]


def test_a_producers_clock_that_is_ahead_holds_nobody_up_once_others_follow(lake: Lake, log: FileLog) -> None:
    """Whose clock is wrong shows from the event behind it, which arrived later and says earlier."""
    send(log, reading(1, 0), arrived=60 * 24 * 9)
    with pytest.raises(ClocksDifferError, match="or `skip_to` past it"):
        ingest(lake, SOURCE, log, run=RUN, now=minute(2))
    send(log, reading(2, 1), arrived=2)
    assert ingest(lake, SOURCE, log, run=RUN, now=minute(2)).counts == Counts(taken=2)
    assert rows_of(lake.at("main"), PATH)["known_at"].to_list() == [minute(2), minute(2)]


def test_a_batch_that_ends_by_chance_at_a_wrong_clock_stops_no_stream(lake: Lake, log: FileLog) -> None:
    """Others follow it in the log: no batch of that size would ever have got past it."""
    send(log, reading(1, 0), reading(2, 1), arrived=1)
    send(log, reading(3, 1), arrived=60 * 24 * 9)
    send(log, reading(4, 2), arrived=2)
    assert ingest(lake, SOURCE, log, run=RUN, now=minute(2), limits=Limits(events=3)).counts == Counts(taken=3)


def test_the_earliest_time_and_a_long_lateness_stop_no_stream(lake: Lake, log: FileLog) -> None:
    """The watermark lay before the first day that a time can have: OverflowError, round after round."""
    source = replace(SOURCE, allowed_lateness=timedelta(days=2))
    send(log, json.dumps({"meter": "a", "number": 1, "at": "0001-01-02T00:00:00Z"}).encode())
    done = ingest(lake, source, log, run=RUN)
    assert done.counts == Counts(taken=1)
    assert done.watermark == watermark_of(lake.at("main"), PATH) == datetime(1, 1, 2, tzinfo=UTC)
    send(log, reading(2, 0))
    assert ingest(lake, source, log, run=RUN).watermark == minute(0) - timedelta(days=2)


def test_a_log_that_was_emptied_of_what_was_read_passes_over_nothing(lake: Lake, log: FileLog, tmp_path: Path) -> None:
    """Offsets began at 0 again, and the events up to where the lake had read were never taken."""
    send(log, *[reading(number, number) for number in range(5)], arrived=5)
    catch_up(lake, SOURCE, log, run=RUN)
    for segment in (tmp_path / "log").glob("*/*.events"):
        segment.unlink()
    log = FileLog(tmp_path / "log")
    assert catch_up(lake, SOURCE, log, run=RUN) == Counts()
    send(log, *[reading(number, number) for number in range(100, 108)], arrived=108)
    assert catch_up(lake, SOURCE, log, run=RUN) == Counts(taken=8)
    assert numbers(lake) == [*range(5), *range(100, 108)]


def test_lost_events_stop_the_stream_until_somebody_accepts_the_loss(lake: Lake, tmp_path: Path) -> None:
    log = FileLog(tmp_path / "short", partitions=1, segment_bytes=200)
    for number in range(8):
        send(log, reading(number, number), arrived=number)
    ingest(lake, SOURCE, log, run=RUN, limits=Limits(events=1))
    for segment in sorted((tmp_path / "short" / "partition-0000").glob("*.events"))[:2]:
        segment.unlink()
    with pytest.raises(LostEventsError) as raised:
        ingest(lake, SOURCE, log, run=RUN)
    skip_to(lake, SOURCE, log, {0: raised.value.start}, run=RUN)
    catch_up(lake, SOURCE, log, run=RUN)
    assert numbers(lake) == [0, *range(raised.value.start, 8)]
    (skipped,) = [
        output.facts["skipped"]
        for commit in lake.log(path=SOURCE.offsets_path)
        if commit.provenance and (output := commit.provenance.output(SOURCE.offsets_path)) and "skipped" in output.facts
    ]
    assert skipped == {"0": [1, raised.value.start]}


def test_going_back_gives_no_event_a_second_time(lake: Lake, log: FileLog) -> None:
    send(log, *[reading(number, number) for number in range(9)], arrived=9)
    catch_up(lake, SOURCE, log, run=RUN)
    skip_to(lake, SOURCE, log, {0: 3}, run=RUN)
    assert catch_up(lake, SOURCE, log, run=RUN) == Counts(duplicates=6)
    assert numbers(lake) == list(range(9))


@pytest.mark.parametrize(("offsets", "error"), [({7: 0}, NoPartitionError), ({0: 5}, BehindEndError)])
def test_nobody_skips_to_where_there_is_nothing(
    lake: Lake, log: FileLog, offsets: dict[int, int], error: type[StreamError]
) -> None:
    with pytest.raises(error):
        skip_to(lake, SOURCE, log, offsets, run=RUN)


@pytest.fixture
def hours(lake: Lake, log: FileLog) -> Lake:
    """Readings at each half hour, and one that came late."""
    send(log, *[reading(number, number * 30.0) for number in range(8)], arrived=220)
    catch_up(lake, SOURCE, log, run=RUN)
    send(log, reading(99, 45), arrived=221)
    catch_up(lake, SOURCE, log, run=RUN)
    return lake


def test_the_events_of_a_span_are_those_from_its_start_to_before_its_end(hours: Lake) -> None:
    found = events_between(hours.at("main"), PATH, minute(30), minute(90)).collect()
    assert found["number"].sort().to_list() == [1, 2]
    assert found.schema == SOURCE.rows_schema
    with_late = events_between(hours.at("main"), PATH, minute(30), minute(90), with_late=True).collect()
    assert with_late["number"].sort().to_list() == [1, 2, 99]
    in_another_zone = minute(30).astimezone(tz=None)
    assert events_between(hours.at("main"), PATH, in_another_zone, minute(31)).collect().height == 1


def test_spans_of_a_stream_hold_each_event_once(hours: Lake) -> None:
    cuts = [minute(-10) + timedelta(minutes=17 * number) for number in range(16)]
    found = [
        number
        for begin, end in pairwise(cuts)
        for number in events_between(hours.at("main"), PATH, begin, end).collect()["number"]
    ]
    assert sorted(found) == list(range(8))


def test_a_span_of_no_stream_or_without_a_zone_is_an_error(hours: Lake) -> None:
    with pytest.raises(PathNotFoundError, match="catch_up"):
        events_between(hours.at("main"), "grid/landing/none", minute(0), minute(1))
    with pytest.raises(NoZoneError, match="no zone"):
        events_between(hours.at("main"), PATH, minute(0).replace(tzinfo=None), minute(1))


def test_what_features_read_at_a_commit_stays_what_it_was(hours: Lake, log: FileLog) -> None:
    pinned = hours.at(hours.at("main").commit.id)
    before = events_between(pinned, PATH, minute(0), minute(500)).collect()
    mark = watermark_of(pinned, PATH)
    send(log, reading(50, 300), arrived=300)
    catch_up(hours, SOURCE, log, run=RUN, now=NOW)
    assert events_between(pinned, PATH, minute(0), minute(500)).collect().equals(before)
    assert watermark_of(pinned, PATH) == mark == minute(200)
    assert watermark_of(hours.at("main"), PATH) == minute(290)
