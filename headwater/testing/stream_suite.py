"""The event log's contract suite: what every implementation of `headwater.streams.EventLog` must do.

Run it over an implementation of your own by subclassing it in a test module:

    import pytest

    from headwater.testing.stream_suite import EventLogSuite

    class TestMyLog(EventLogSuite):
        @pytest.fixture
        def log(self, tmp_path):
            return MyLog(tmp_path / "log", partitions=4)    # empty, four partitions or more

        def reopen(self, log):
            return MyLog(log.location)                      # as another process would open it

        def forget(self, log, partition):
            log.remove_oldest(partition)                    # makes the first events of the partition go
"""

import random
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from headwater.streams import EventLog, Limits, LogEvent
from headwater.streams.errors import BehindEndError, LostEventsError, NoPartitionError

NOON = datetime(2013, 3, 10, 12, tzinfo=UTC)
WIDE = Limits()


def everything(log: EventLog, *, limits: Limits = WIDE, start: Mapping[int, int] | None = None) -> list[LogEvent]:
    """All events from some offsets on, batch by batch."""
    events: list[LogEvent] = []
    offsets: Mapping[int, int] = start or {}
    while batch := log.read(offsets, limits=limits):
        if not batch.events:
            return events
        events += batch.events
        offsets = batch.next
    raise AssertionError("a batch is an object, also an empty one")


def data_of(events: list[LogEvent], partition: int) -> list[bytes]:
    """The bytes of one partition's events, in the order in which they were read."""
    return [event.data for event in events if event.partition == partition]


class EventLogSuite:
    """Every promise of the interface. Override the `log` fixture, `reopen` and `forget`."""

    def reopen(self, log: EventLog) -> EventLog:
        """The same log as another process would open it."""
        raise NotImplementedError

    def forget(self, log: EventLog, partition: int) -> None:
        """Makes the oldest events of a partition go, as retention does."""
        raise NotImplementedError

    def test_an_empty_log_has_partitions_and_no_events(self, log: EventLog) -> None:
        assert log.partitions()[:4] == (0, 1, 2, 3)
        batch = log.read({}, limits=WIDE)
        assert (batch.events, batch.left) == ((), 0)
        assert batch.next == log.ends() == dict.fromkeys(log.partitions(), 0)

    def test_events_come_back_as_they_were_in_the_order_of_their_partition(self, log: EventLog) -> None:
        wanted = {p: [bytes([p]) * (n % 50) + str(n).encode() for n in range(30)] for p in (0, 2)}
        for start in range(0, 30, 7):
            for partition, events in wanted.items():
                offsets = log.append(events[start : start + 7], partition=partition)
                assert list(offsets) == list(range(start, min(start + 7, 30)))
        found = everything(log)
        for partition, events in wanted.items():
            assert data_of(found, partition) == events
            assert [event.offset for event in found if event.partition == partition] == list(range(30))
        assert len(found) == 60

    def test_an_event_is_opaque(self, log: EventLog) -> None:
        awkward = [b"", b"\0" * 9, bytes(range(256)), "é ☃".encode(), b'{"a": NaN}', b"x" * 300_000]
        log.append(awkward, partition=1)
        assert data_of(everything(log), 1) == awkward

    def test_what_another_process_appended_is_read_on(self, log: EventLog) -> None:
        log.append([b"a"], partition=0)
        first = log.read({}, limits=WIDE)
        other = self.reopen(log)
        assert other.identity == log.identity
        assert other.append([b"b", b"c"], partition=0) == (1, 2)
        other.close()
        second = log.read(first.next, limits=WIDE)
        assert data_of(list(second.events), 0) == [b"b", b"c"]
        assert log.append([b"d"], partition=0) == (3,)

    def test_the_time_of_arrival_is_kept_to_the_millisecond(self, log: EventLog) -> None:
        log.append([b"then"], partition=0, at=NOON + timedelta(microseconds=123_456))
        before = datetime.now(UTC)
        log.append([b"now"], partition=0)
        epoch, one = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
        then, now = everything(log)
        assert epoch + then.appended * one == NOON + timedelta(milliseconds=123)
        assert abs(epoch + now.appended * one - before) < timedelta(minutes=1)

    def test_each_event_may_have_a_time_of_arrival_of_its_own(self, log: EventLog) -> None:
        moments = [NOON + timedelta(seconds=3), NOON, NOON + timedelta(hours=1)]
        assert log.append([b"a", b"b", b"c"], partition=0, at=moments) == (0, 1, 2)
        epoch, one = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
        assert [(event.data, epoch + event.appended * one) for event in everything(log)] == list(
            zip([b"a", b"b", b"c"], moments, strict=True)
        )
        for wrong in ([NOON], [NOON] * 4, []):
            with pytest.raises(ValueError, match=f"There are {len(wrong)} times of arrival for 3 events"):
                log.append([b"a", b"b", b"c"], partition=0, at=wrong)
        assert len(everything(log)) == 3

    @pytest.mark.parametrize("limits", [Limits(events=1), Limits(events=7), Limits(bytes=1), Limits(bytes=100)])
    def test_a_batch_is_bounded_and_the_next_one_goes_on_behind_it(self, log: EventLog, limits: Limits) -> None:
        wanted = [f"event {number}".encode() for number in range(20)]
        log.append(wanted, partition=3)
        offsets: Mapping[int, int] = {}
        found: list[bytes] = []
        while events := (batch := log.read(offsets, limits=limits)).events:
            found += [event.data for event in events]
            assert len(events) <= limits.events
            assert sum(len(event.data) for event in events[:-1]) < limits.bytes
            assert batch.left == 20 - len(found)
            offsets = batch.next
        assert found == wanted

    def test_no_partition_keeps_the_others_waiting(self, log: EventLog) -> None:
        log.append([b"many"] * 1000, partition=0)
        log.append([b"few"] * 3, partition=1)
        batch = log.read({}, limits=Limits(events=10))
        assert len(batch.events) == 10
        assert data_of(list(batch.events), 1) == [b"few"] * 3

    def test_one_large_event_comes_through_small_limits(self, log: EventLog) -> None:
        log.append([b"x" * 500_000, b"y"], partition=0)
        batch = log.read({}, limits=Limits(bytes=10))
        assert [len(event.data) for event in batch.events] == [500_000]

    def test_reading_again_from_the_same_offsets_gives_the_same(self, log: EventLog) -> None:
        draw = random.Random(3)
        wanted = {p: [draw.randbytes(draw.randrange(40)) for _ in range(200)] for p in (0, 1)}
        for partition, events in wanted.items():
            log.append(events, partition=partition)
        for _ in range(12):
            start = {p: draw.randrange(200) for p in wanted}
            found = everything(log, start=start, limits=Limits(events=draw.randrange(40, 200)))
            for partition, events in wanted.items():
                assert data_of(found, partition) == events[start[partition] :]

    def test_nothing_is_nothing(self, log: EventLog) -> None:
        assert log.append([], partition=0) == ()
        assert log.ends()[0] == 0

    def test_a_partition_that_is_not_there_is_an_error(self, log: EventLog) -> None:
        for call in (lambda: log.append([b"x"], partition=99), lambda: log.read({99: 0}, limits=WIDE)):
            with pytest.raises(NoPartitionError, match="99"):
                call()

    def test_offsets_behind_the_end_are_of_another_log(self, log: EventLog) -> None:
        log.append([b"x"], partition=0)
        assert log.read({0: 1}, limits=WIDE).events == ()
        with pytest.raises(BehindEndError, match="ends at offset 1, and 2 is to be read next"):
            log.read({0: 2}, limits=WIDE)

    def test_events_that_went_unread_are_an_error_and_not_passed_over(self, log: EventLog) -> None:
        log.append([b"kept"], partition=1)
        self.forget(log, 0)
        with pytest.raises(LostEventsError, match="Partition 0") as raised:
            log.read({0: 0, 1: 0}, limits=WIDE)
        start = raised.value.start
        assert start > 0
        batch = log.read({1: 0}, limits=Limits(events=2))  # a partition that is not named begins at its first event
        assert {(event.partition, event.offset) for event in batch.events} == {(0, start), (1, 0)}

    def test_writers_and_readers_at_the_same_time_lose_and_double_nothing(self, log: EventLog) -> None:
        ended = threading.Event()
        seen: list[LogEvent] = []

        def write(name: int) -> None:
            mine = self.reopen(log)
            for number in range(0, 60, 3):
                mine.append([f"{name}:{number + k}".encode() for k in range(3)], partition=name % 2)
            mine.close()

        def read() -> None:
            mine = self.reopen(log)
            offsets: Mapping[int, int] = {}
            while True:
                last = ended.is_set()
                batch = mine.read(offsets, limits=Limits(events=11))
                seen.extend(batch.events)
                offsets = batch.next
                if last and not batch.events:
                    break
            mine.close()

        writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
        reader = threading.Thread(target=read)
        for thread in (reader, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        ended.set()
        reader.join()
        assert sorted(event.data for event in seen) == sorted(f"{w}:{n}".encode() for w in range(4) for n in range(60))
        for name in range(4):  # each writer's own events in its order
            mine = [event.data for event in seen if event.data.startswith(f"{name}:".encode())]
            assert mine == [f"{name}:{number}".encode() for number in range(60)]
