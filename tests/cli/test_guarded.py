"""Builds and replays end when they are told to, and what they started ends with them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
IGNORING = "trap '' INT; exec "
"""A shell that starts something in the background has Ctrl-C ignored in it, and so has what it starts."""
KEEPING = """
import subprocess, sys, time
from headwater.cli._guarded import guarded, named_to
with guarded() as guard:
    child = subprocess.Popen(["sleep", "600"], process_group=0, preexec_fn=named_to(guard))
    print(child.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_build_in_the_background_ends_when_told(tmp_path: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "HEADWATER_STATE": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    words = ["sh", "-c", f"{IGNORING}{sys.executable} -m headwater.cli build flights"]
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as build:  # fmt: skip
        try:
            assert build.stdout is not None
            while "landing" not in (line := build.stdout.readline()):
                assert line, "it ended by itself"
            build.send_signal(number)
            build.communicate(timeout=90)
            assert build.returncode not in (0, None)
        finally:
            build.kill()


def test_what_was_started_ends_with_a_starter_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", KEEPING], cwd=ROOT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        child = int(starter.stdout.readline())
        starter.kill()
    deadline = time.monotonic() + 60
    while _runs(child):
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
