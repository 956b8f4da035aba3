"""The exit codes that the README promises: 0 ok, 1 a finding, 2 usage or error. Seen from outside, by real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["product", "list"], 0, "flights"),
        # Once `status` printed what was stale and ended with 0: click returned the code, and nobody looked at it.
        (["status", "flights"], 1, "is not there"),
        (["lake", "branches"], 2, "no lake"),
        (["lake", "logs"], 2, "No such command"),
        (["land", "flights", "nothing", "README.md"], 2, "has no source 'nothing'"),
        (["model", "show"], 2, "Missing argument"),
    ],
)
def test_a_command_ends_with_the_promised_code(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headwater.cli", *words],
        cwd=ROOT,
        env={**os.environ, "HEADWATER_STATE": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
