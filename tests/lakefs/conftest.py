"""The server under test: the double, or a real one when `LAKECTL_SERVER_ENDPOINT_URL` names it."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from headwater.lake.lakefs import LakeFSLake, LakeFSSettings
from headwater.testing.lakefs_double import ACCESS_KEY, SECRET_KEY, LakeFSDouble
from tests.ports import free_port


@dataclass(frozen=True)
class Address:
    """Where a server is, and who may use it."""

    endpoint: str
    access_key: str
    secret_key: str


@pytest.fixture(scope="session")
def address() -> Iterator[Address]:
    """The server under test. The double runs in a process of its own: delta-rs waits while holding the global lock."""
    if endpoint := os.environ.get("LAKECTL_SERVER_ENDPOINT_URL"):
        key, secret = "LAKECTL_CREDENTIALS_ACCESS_KEY_ID", "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY"
        yield Address(endpoint, os.environ[key], os.environ[secret])
        return
    command = [sys.executable, "-m", "headwater.testing.lakefs_double"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Address(process.stdout.readline().strip(), ACCESS_KEY, SECRET_KEY)
        process.communicate()


@pytest.fixture
def settings(address: Address, tmp_path: Path) -> LakeFSSettings:
    """A repository that no other test uses, on the server under test."""
    return settings_of(address, f"test-{secrets.token_hex(8)}", tmp_path)


def settings_of(server: Address | LakeFSDouble, repository: str, tmp_path: Path) -> LakeFSSettings:
    """Settings for a repository of a server, impatient enough for tests."""
    return LakeFSSettings(
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        repository=repository,
        cache=tmp_path / "cache",
        connect_timeout=2,
        read_timeout=10,
        tries=4,
        lease=0,
        backoff=0.02,
    )


@pytest.fixture
def lake(settings: LakeFSSettings) -> LakeFSLake:
    """An empty lake on the server under test."""
    return LakeFSLake.open(settings)


@pytest.fixture
def double() -> Iterator[LakeFSDouble]:
    """A double of the test's own, for faults and for looking at requests; a port that it lets go of is its own still."""
    with LakeFSDouble(port=free_port()) as server:
        yield server


@pytest.fixture
def faulty(double: LakeFSDouble, tmp_path: Path) -> LakeFSLake:
    """An empty lake on the test's own double."""
    return LakeFSLake.open(settings_of(double, "faulty", tmp_path))
