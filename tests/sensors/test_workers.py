"""Whether a run's process is still there, asked of real processes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from sensors._workers import is_running


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def test_a_process_runs_until_it_is_killed_and_not_as_a_zombie(sleeper: "subprocess.Popen[bytes]") -> None:
    now = time.time()
    assert is_running(sleeper.pid, since=now)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has taken its status: a zombie
    assert not is_running(sleeper.pid, since=now)
    sleeper.wait()
    assert not is_running(sleeper.pid, since=now)


def test_a_later_process_with_the_same_number_is_another_one(sleeper: "subprocess.Popen[bytes]") -> None:
    assert not is_running(sleeper.pid, since=time.time() - 3600)


def test_a_process_that_the_system_does_not_show_to_this_user_counts_as_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a hardened machine (hidepid) a service once could not look at the runs of another user."""
    for hidden in (psutil.AccessDenied, psutil.NoSuchProcess):

        def refuse(pid: int, refusal: type[psutil.Error] = hidden) -> None:
            raise refusal(pid)

        def not_ours(pid: int, signal: int) -> None:
            raise PermissionError

        monkeypatch.setattr(psutil, "Process", refuse)
        monkeypatch.setattr(os, "kill", not_ours)
        assert is_running(1, since=time.time())
