"""What the tests of streams share."""

from collections.abc import Iterator

import pytest

from tests.streams.kafka import Cluster, cluster


@pytest.fixture(scope="session")
def broker() -> Iterator[Cluster]:
    with cluster() as running:
        yield running
