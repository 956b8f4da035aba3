"""Settings of every test, and the workshop that scenarios share."""

import fcntl
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.scenarios.workshop import Workshop, copy, make

# Its assertions are the suites' own: a failure shows both sides.
pytest.register_assert_rewrite("headwater.testing")
# An example that a busy machine stalls for 200 ms is no failure. Tests that check less than a hundred say so themselves.
settings.register_profile("headwater", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headwater")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A workshop whose product is built: once for all processes of a test run. Copy it before changing anything."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "built"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            make(folder).run("build")
            (folder / "done").touch()
    return Workshop(folder / "checkout", folder / "state")


@pytest.fixture
def workshop(built: Workshop, tmp_path: Path) -> Workshop:
    """A built workshop of the test's own."""
    return copy(built, tmp_path)
