"""The exit codes that the README promises: 0 ok, 1 a finding, 2 usage or error. Seen from outside, by real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.lake import EmbeddedLake
from tests.docs.pages import ROOT


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "headwater.cli", *words],
        cwd=ROOT,
        env={
            **os.environ,
            "HEADWATER_STATE": str(folder / "state"),
            "HEADWATER_BRANCH": "main",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["product", "list"], 0, "flights"),
        (["status", "flights"], 2, "no lake"),
        (["lake", "branches"], 2, "no lake"),
        (["lake", "logs"], 2, "No such command"),
        (["land", "flights", "nothing", "README.md"], 2, "has no source 'nothing'"),
        (["model", "show"], 2, "Missing argument"),
    ],
)
def test_a_command_ends_with_the_promised_code(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    done = run(tmp_path, *words)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
    assert not (tmp_path / "state").exists(), "looking made something"


def test_what_is_stale_is_a_finding(tmp_path: Path) -> None:
    """Once `status` printed what was stale and ended with 0: click returned the code, and nobody looked at it."""
    EmbeddedLake.open(tmp_path / "state" / "lake")
    done = run(tmp_path, "status", "flights")
    assert (done.returncode, "is not there" in done.stdout) == (1, True), done.stdout + done.stderr
