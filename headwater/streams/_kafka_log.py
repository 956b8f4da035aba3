"""The event log in a topic of a broker that speaks Kafka's protocol. Offsets live in the lake: no consumer group is used."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from headwater.streams._interface import Limits, LogBatch, LogEvent
from headwater.streams._times import arrivals
from headwater.streams.errors import BehindEndError, EventLogError, LostEventsError, NoPartitionError

_CHUNK: Final = 500
_PASSING: Final = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT)
"""Errors that the client mends by itself; the deadline says when it could not."""
_log = logging.getLogger(__name__)


class KafkaLog:
    """An event log in a topic. The topic is there already; its retention must be longer than a consumer is ever away.

    Not for a process that forks after it was made. An event's `appended` is what the broker says: with
    `message.timestamp.type=LogAppendTime` its own clock, otherwise the producer's.
    """

    def __init__(
        self, servers: str, topic: str, *, settings: Mapping[str, str] | None = None, timeout: float = 30.0
    ) -> None:
        """Connects to a topic.

        Args:
            servers: `host:port`, several with commas.
            topic: The topic's name.
            settings: More settings of librdkafka, such as those of TLS and SASL.
            timeout: Seconds after which a broker that does not answer is an error.

        Raises:
            EventLogError: No broker answers, or there is no such topic.
        """
        self.location, self._topic, self._timeout = f"{servers}/{topic}", topic, timeout
        common = {**(settings or {}), "bootstrap.servers": servers, "logger": _log}
        # Idempotent: what the client sends again is in the log once, and in order.
        report = {"delivery.timeout.ms": int(timeout * 1000)}
        with self._errors("opened"):  # a setting that librdkafka does not know
            self._consumer = Consumer({**common, **_CONSUMER})
            self._asker = Consumer(
                {**common, **_CONSUMER}
            )  # a broker answers a connection in turn, and fetches wait there
            self._producer = Producer({**common, **report, "acks": "all", "enable.idempotence": True, "linger.ms": 0})
        try:
            self._cluster, self._known = self._described()
        except EventLogError:
            self.close()
            raise

    @property
    def identity(self) -> str:
        """`kafka:`, the cluster's id and the topic. A topic that was made anew under its old name is seen by its offsets."""
        return f"kafka:{self._cluster}/{self._topic}"

    def partitions(self) -> tuple[int, ...]:
        """The partitions, sorted; a topic may get more."""
        self._cluster, self._known = self._described()
        return self._known

    def ends(self) -> Mapping[int, int]:
        """Partition to the offset that its next event will have at the least."""
        return {partition: end for partition, (_, end) in self._bounds().items()}

    def append(
        self, events: Sequence[bytes], *, partition: int, at: datetime | Sequence[datetime] | None = None
    ) -> tuple[int, ...]:
        """Appends events in order; see `headwater.streams.EventLog.append`."""
        if partition not in self._known and partition not in self.partitions():
            raise NoPartitionError(location=self.location, partition=partition, known=self._known)
        moments = arrivals(at, len(events))
        offsets: list[int] = []
        errors: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                errors.append(error)
            else:
                offsets.append(message.offset() or 0)

        with self._errors("written"):
            for event, moment in zip(events, moments, strict=True):
                self._produce(event, partition, moment // 1_000, delivered)
            left = self._producer.flush(self._timeout + 1)
        if errors or left:
            reason = errors[0].str() if errors else f"{left} events were not confirmed in {self._timeout:g} s"
            raise EventLogError(location=self.location, action="written", reason=reason)
        return tuple(offsets)

    def read(self, offsets: Mapping[int, int], *, limits: Limits) -> LogBatch:
        """The next events of all partitions; see `headwater.streams.EventLog.read`."""
        bounds = self._bounds()
        for partition in offsets:
            if partition not in bounds:
                raise NoPartitionError(location=self.location, partition=partition, known=tuple(bounds))
        reached = {partition: offsets.get(partition, start) for partition, (start, _) in bounds.items()}
        for partition, (start, end) in bounds.items():
            self._check(partition, reached[partition], start, end)
        waiting = [(end - reached[p], p, end) for p, (_, end) in bounds.items() if reached[p] < end]
        events: list[LogEvent] = []
        room, size = limits.events, limits.bytes
        for place, (_, partition, end) in enumerate(sorted(waiting)):
            if room < 1 or size < 1:
                break
            left = len(waiting) - place
            share = Limits(events=max(room // left, 1), bytes=max(size // left, 1))
            found, reached[partition] = self._events(partition, reached[partition], end, share)
            events += found
            room, size = room - len(found), size - sum(len(event.data) for event in found)
        if waiting:
            self._consumer.unassign()
        return LogBatch(events=tuple(events), next=reached, ends={p: end for p, (_, end) in bounds.items()})

    def close(self) -> None:
        """Lets go of the connections."""
        self._consumer.close()
        self._asker.close()
        self._producer.purge()
        self._producer.flush(0)

    def _described(self) -> tuple[str, tuple[int, ...]]:
        with self._errors("reached"):
            found = self._asker.list_topics(self._topic, timeout=self._timeout)
        topic = found.topics[self._topic]
        if topic.error is not None or not topic.partitions:
            reason = topic.error.str() if topic.error is not None else "the topic has no partitions"
            raise EventLogError(location=self.location, action="opened", reason=reason, remedy="Make the topic first.")
        return str(found.cluster_id), tuple(sorted(topic.partitions))

    def _bounds(self) -> Mapping[int, tuple[int, int]]:
        """Partition to the offsets of its first event and behind its last."""
        with self._errors("read"):
            return {
                partition: self._asker.get_watermark_offsets(
                    TopicPartition(self._topic, partition), timeout=self._timeout
                )
                for partition in self.partitions()
            }

    def _check(self, partition: int, offset: int, start: int, end: int) -> None:
        if offset < start:
            raise LostEventsError(location=self.location, partition=partition, offset=offset, start=start)
        if offset > end:
            raise BehindEndError(location=self.location, partition=partition, offset=offset, end=end)

    def _produce(self, event: bytes, partition: int, moment: int, delivered: Any) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic, value=event, partition=partition, timestamp=moment, on_delivery=delivered
                )
                return
            except BufferError:  # the client's queue is full: wait for the broker
                self._producer.poll(0.1)

    def _events(self, partition: int, offset: int, end: int, limits: Limits) -> tuple[list[LogEvent], int]:
        """Events of one partition and the offset behind them, which may lie behind a gap."""
        events: list[LogEvent] = []
        size = 0
        with self._errors("read"):
            self._consumer.assign([TopicPartition(self._topic, partition, offset)])
            for message in self._messages(partition, offset, limits):
                error, place = message.error(), message.offset() or 0
                if error is not None:  # the end: behind the last event may be marks of transactions
                    return events, max(place, offset)
                if place >= end:
                    break
                events.append(_event(message))
                offset, size = place + 1, size + len(events[-1].data)
                if offset >= end or len(events) >= limits.events or size >= limits.bytes:
                    break
        return events, offset

    def _messages(self, partition: int, offset: int, limits: Limits) -> Iterator[Message]:
        """What the broker sends, up to and with the note of the partition's end."""
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            first = self._consumer.poll(0.2)
            more = self._consumer.consume(min(_CHUNK, limits.events), timeout=0) if first is not None else []
            for message in [first, *more] if first is not None else []:
                error = message.error()
                if message.partition() != partition and (error is None or error.code() == KafkaError._PARTITION_EOF):
                    continue  # of an assignment before
                if error is None or error.code() == KafkaError._PARTITION_EOF:
                    deadline = time.monotonic() + self._timeout
                    yield message
                elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                    start, _ = self._bounds()[partition]
                    raise LostEventsError(location=self.location, partition=partition, offset=offset, start=start)
                elif error.code() not in _PASSING:
                    raise KafkaException(error)
        reason = f"nothing came in {self._timeout:g} s"
        raise EventLogError(location=self.location, action="read", reason=reason)

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            found = error.args[0]
            reason = found.str() if isinstance(found, KafkaError) else str(found)
            raise EventLogError(location=self.location, action=action, reason=reason) from error


_CONSUMER: Final = {
    "group.id": "headwater",  # the client asks for one; nothing is committed to it
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 10,
}


def _event(message: Message) -> LogEvent:
    kind, moment = message.timestamp()
    appended = time.time_ns() // 1_000 if kind == TIMESTAMP_NOT_AVAILABLE else moment * 1_000
    value = message.value()
    data = value if isinstance(value, bytes) else str(value or "").encode()
    return LogEvent(message.partition() or 0, message.offset() or 0, appended, data)
