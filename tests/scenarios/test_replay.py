"""Three days of the real flights played again, killed on the way: every flight is answered once, every day is decided about."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest

from headwater.lake import EmbeddedLake

ROOT = Path(__file__).resolve().parents[2]
WORDS = ("replay", "flights", "--from", "2013-07-01", "--to", "2013-07-03")


def command(state: Path, *words: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "HEADWATER_STATE": str(state), "DAGSTER_HOME": str(state / "dagster")}
    return subprocess.Popen(
        [sys.executable, "-m", "headwater.cli", *words],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def run(state: Path, *words: str) -> str:
    process = command(state, *words)
    said, _ = process.communicate(timeout=1_200)
    assert process.returncode == 0, said
    return said


def services(state: Path) -> list[int]:
    """Services that run with this state."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if "serve" in (process.info["cmdline"] or ()) and process.environ().get("HEADWATER_STATE") == str(state):
                found.append(process.pid)
    return found


@pytest.mark.heavy
@pytest.mark.timeout(2_400)
def test_a_killed_replay_goes_on_and_answers_nothing_twice(tmp_path: Path) -> None:
    run(tmp_path, "build", "flights")
    plan: dict[str, Any] = json.loads(run(tmp_path, *WORDS, "--dry-run", "--json"))
    process = command(tmp_path, *WORDS)
    assert process.stdout is not None
    for line in process.stdout:  # the first day is played: kill it in the second
        if line.startswith("2013-07-01"):
            break
    time.sleep(3)
    os.kill(process.pid, signal.SIGKILL)  # its service is left to itself
    process.communicate()
    deadline = time.monotonic() + 60
    while services(tmp_path):
        assert time.monotonic() < deadline, "the service runs on"
        time.sleep(0.2)
    said = run(tmp_path, *WORDS)
    assert "1 days were played before" in said
    lake = EmbeddedLake.open(tmp_path / "lake")
    predictions = lake.at("main").table("flights/predictions").collect()
    assert predictions.height == predictions["request_id"].n_unique() == plan["requests"]
    assert predictions["version"].unique().to_list() == ["1.0.0"]
    decisions = json.loads(run(tmp_path, "decisions", "--product", "flights", "--json"))
    days = {decision["decided"][:10] for decision in decisions if decision["kind"] == "retraining"}
    assert len(days) >= 3
    outcomes = lake.at("main").table("flights/outcomes").filter(pl.col("truth") == "known").collect()
    assert 0.9 * plan["requests"] < outcomes.height < plan["requests"]
    assert "Retraining" in (tmp_path / "replay" / "flights" / "index.html").read_text()


@pytest.mark.heavy
@pytest.mark.timeout(2_400)
def test_sensors_and_conditions_build_a_day(tmp_path: Path) -> None:
    run(tmp_path, "build", "flights")
    built = EmbeddedLake.open(tmp_path / "lake").resolve("main").id
    said = run(tmp_path, "replay", "flights", "--from", "2013-07-01", "--to", "2013-07-01", "--by-sensors")
    assert "Dagster UI  http://127.0.0.1:" in said
    lake, who = EmbeddedLake.open(tmp_path / "lake"), set()
    for commit in lake.log("main"):
        if commit.id == built:
            break
        if commit.provenance is not None and commit.provenance.outputs:
            who.add((commit.provenance.actor, commit.provenance.outputs[0].path))
    assert {
        ("sensor:landed_data", "flights/landing/flights"),
        ("sensor:compaction", "flights/predictions"),
        ("automation", "flights/performance_report"),
        ("automation", "flights/retraining"),
    } <= who
    assert not services(tmp_path)
