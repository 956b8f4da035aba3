"""The event log in Kafka keeps the contract, over the protocol and a broker that the test starts."""

import uuid
from collections.abc import Iterator

import pytest

from headwater.streams import EventLog, KafkaLog
from headwater.streams.errors import EventLogError
from headwater.testing.stream_suite import EventLogSuite
from tests.streams.kafka import Cluster


class TestKafkaLog(EventLogSuite):
    @pytest.fixture
    def log(self, broker: Cluster) -> Iterator[KafkaLog]:
        log = KafkaLog(broker.servers, broker.make_topic(f"events-{uuid.uuid4().hex[:8]}"), timeout=10)
        yield log
        log.close()

    def reopen(self, log: EventLog) -> KafkaLog:
        assert isinstance(log, KafkaLog)
        servers, _, topic = log.location.partition("/")
        return KafkaLog(servers, topic, timeout=10)

    def forget(self, log: EventLog, partition: int) -> None:
        for _ in range(8):  # the mock keeps 5 MB of a partition
            log.append([b"x" * 900_000], partition=partition)


def test_a_topic_that_is_not_there_is_an_error(broker: Cluster) -> None:
    with pytest.raises(EventLogError, match="Make the topic first"):
        KafkaLog(broker.servers, "never-made", timeout=5)


def test_a_broker_that_is_not_there_is_an_error_within_the_timeout() -> None:
    with pytest.raises(EventLogError, match=r"127\.0\.0\.1:1"):
        KafkaLog("127.0.0.1:1", "events", timeout=0.5)


def test_an_event_that_the_broker_would_not_take_is_an_error_that_says_so(broker: Cluster) -> None:
    log = KafkaLog(broker.servers, broker.make_topic("large"), timeout=5)
    with pytest.raises(EventLogError, match="too large"):
        log.append([b"x" * 2_000_000], partition=0)
    assert log.append([b"y"], partition=0) == (0,)
    log.close()
