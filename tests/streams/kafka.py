"""A broker that speaks Kafka's protocol, inside the test's own process: librdkafka's mock cluster, on 127.0.0.1."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Producer


class Cluster:
    """A running mock cluster."""

    def __init__(self) -> None:
        self._owner = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
        brokers = self._owner.list_topics(timeout=10).brokers.values()
        self.servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        self._client = Producer({"bootstrap.servers": self.servers, "log_level": 0})

    def make_topic(self, name: str) -> str:
        """A topic with four partitions: the mock makes what a producer asks about."""
        self._client.list_topics(name, timeout=10)
        return name


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster for as long as the context lasts."""
    running = Cluster()
    yield running
    del running
