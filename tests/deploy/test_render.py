"""What draws the dashboards' pictures, with a browser that does not: the program itself, beside a dashboard that asks Prometheus nothing."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.deploy.prometheus import FOLDER

PATIENCE = 20
"""Seconds in which it should be told that the browser is no good: it takes none."""
ESBUILD = "export const build = async () => ({ outputFiles: [] });\n"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """The program with what it needs of other packages and one dashboard, and a folder for what it leaves."""
    if shutil.which("node") is None:
        pytest.skip("node is not there: the pictures of the dashboards need Node 20")
    room, esbuild = tmp_path / "render", tmp_path / "render" / "node_modules" / "esbuild"
    for folder in (esbuild, tmp_path / "grafana", tmp_path / "tmp"):
        folder.mkdir(parents=True)
    shutil.copy(FOLDER / "render" / "render.mjs", room)
    (esbuild / "package.json").write_text(json.dumps({"name": "esbuild", "type": "module", "exports": "./index.js"}))
    (esbuild / "index.js").write_text(ESBUILD)
    panel = {"id": 1, "targets": [], "gridPos": {"x": 0, "y": 0, "w": 24, "h": 4}}
    (tmp_path / "grafana" / "one.json").write_text(json.dumps({"templating": {"list": []}, "panels": [panel]}))
    return room


def drawn_by(room: Path, browser: Path) -> subprocess.CompletedProcess[str]:
    """What came of the pictures with a browser."""
    words = ["node", str(room / "render.mjs"), "--browser", str(browser), "--out", str(room / "build")]
    environment = {**os.environ, "TMPDIR": str(room.parent / "tmp")}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


def alive(group: int) -> list[str]:
    """The processes that are left of a browser, once they had a moment to go."""
    found: list[str] = []
    for _ in range(20):
        found = [said for file in Path("/proc").glob("[0-9]*/stat") if group == _group(said := _read(file))]
        if not found:
            break
        time.sleep(0.1)
    return found


def _read(file: Path) -> str:
    with suppress(OSError):  # it is gone
        return file.read_text()
    return ""


def _group(stat: str) -> int | None:
    """The group of a process that is none of those that are dead and were not looked at yet."""
    state, _, group = (stat.rpartition(")")[2].split() or ["Z", "", ""])[:3]
    return None if state == "Z" else int(group)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'No usable sandbox!' >&2; exit 3", "ended. It said: No usable sandbox!\n"),
        ("sleep 30 3<&- 4>&- & exit 1", "ended.\n"),
        ("exec 3<&- 4>&-; sleep 60", "closed its pipes, and was killed.\n"),
        ("exec 4>&-; trap '' TERM; exec sleep 60", "closed its pipes, and was killed.\n"),
        ("echo 'No memory.' >&2; exec 3<&- 4>&-; exec sleep 60", "closed its pipes, and was killed. It said: No memory.\n"),
    ],
)  # fmt: skip
def test_a_browser_that_is_no_good_is_told_and_goes(room: Path, script: str, said: str) -> None:
    """One that closed its pipes and went on living was waited for without an end."""
    browser, pid = room / "browser", room / "pid"
    browser.write_text(f"#!/bin/sh\necho $$ > {pid}\n{script}\n")
    browser.chmod(0o755)
    try:
        done = drawn_by(room, browser)
    except subprocess.TimeoutExpired:
        os.kill(int(pid.read_text()), signal.SIGKILL)
        raise
    assert (done.returncode, f"Error: {browser} {said}" in done.stderr) == (1, True), done.stderr
    assert alive(int(pid.read_text())) == []
    assert list((room.parent / "tmp").iterdir()) == []


def test_a_browser_that_is_not_there_is_told(room: Path) -> None:
    done = drawn_by(room, room / "none")
    assert (done.returncode, f"Error: spawn {room / 'none'} ENOENT" in done.stderr) == (1, True), done.stderr
    assert list((room.parent / "tmp").iterdir()) == []
