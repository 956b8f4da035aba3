"""The server under test: the double, or a real one when `LAKECTL_SERVER_ENDPOINT_URL` names it."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.lake.lakefs import LakeFSLake, LakeFSSettings
from headwater.testing.lakefs_double import LakeFSDouble


@pytest.fixture(scope="session")
def _shared_double() -> Iterator[LakeFSDouble | None]:
    if os.environ.get("LAKECTL_SERVER_ENDPOINT_URL"):
        yield None
        return
    with LakeFSDouble() as server:
        yield server


@pytest.fixture
def settings(_shared_double: LakeFSDouble | None, tmp_path: Path) -> LakeFSSettings:
    """A repository that no other test uses, on the server under test."""
    repository = f"test-{secrets.token_hex(8)}"
    if _shared_double is not None:
        return settings_of(_shared_double, repository, tmp_path)
    return LakeFSSettings(
        endpoint=os.environ["LAKECTL_SERVER_ENDPOINT_URL"],
        access_key=os.environ["LAKECTL_CREDENTIALS_ACCESS_KEY_ID"],
        secret_key=os.environ["LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY"],
        repository=repository,
        cache=tmp_path / "cache",
    )


def settings_of(server: LakeFSDouble, repository: str, tmp_path: Path) -> LakeFSSettings:
    """Settings for a repository of a double, impatient enough for tests."""
    return LakeFSSettings(
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        repository=repository,
        cache=tmp_path / "cache",
        connect_timeout=2,
        read_timeout=10,
        tries=4,
        backoff=0.02,
    )


@pytest.fixture
def lake(settings: LakeFSSettings) -> LakeFSLake:
    """An empty lake on the server under test."""
    return LakeFSLake.open(settings)


@pytest.fixture
def double() -> Iterator[LakeFSDouble]:
    """A double of the test's own, for faults and for looking at requests."""
    with LakeFSDouble() as server:
        yield server


@pytest.fixture
def faulty(double: LakeFSDouble, tmp_path: Path) -> LakeFSLake:
    """An empty lake on the test's own double."""
    return LakeFSLake.open(settings_of(double, "faulty", tmp_path))
