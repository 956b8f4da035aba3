"""A build that is killed at any instant: the lake stays clean, the next build ends with what an undisturbed one has."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.scenarios.workshop import PRODUCT, Workshop, cell, copy

SECONDS = 14.0


def kill_a_build(workshop: Workshop, after: float) -> int:
    """Starts a build and kills it with all its children after some seconds; returns how it ended."""
    process = subprocess.Popen(
        workshop.command("build"),
        cwd=workshop.checkout,
        env=workshop.variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def from_nothing(built: Workshop, folder: Path) -> Workshop:
    """The built workshop's code with an empty state folder."""
    return Workshop(copy(built, folder).checkout, folder / "fresh")


def survives(built: Workshop, workshop: Workshop, instants: list[float]) -> None:
    killed = 0
    for instant in instants:
        killed += kill_a_build(workshop, instant) == -signal.SIGKILL
        if (workshop.state / "lake" / "format").exists():
            assert workshop.json("lake", "verify")["findings"] == []
    workshop.run("build")
    assert killed, "every build ended before it was killed"
    assert workshop.models() == [("1.0.0", "live")]
    assert model_facts(workshop) == model_facts(built)
    assert workshop.run("status").stdout.strip() == "Everything is up to date."


def model_facts(workshop: Workshop) -> dict[str, str]:
    """Data versions of all that has no dates or commits in it."""
    dated = ("card", "cards", "release", "evaluation")
    return {path: version for path, version in workshop.data().items() if not path.endswith(dated)}


def test_three_killed_builds_lose_nothing(built: Workshop, tmp_path: Path) -> None:
    draw = random.Random(time.time_ns())
    instants = [round(draw.uniform(2.0, 6.0), 2) for _ in range(3)]
    print(f"killed after {instants} s")
    survives(built, from_nothing(built, tmp_path), instants)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_fifty_killed_builds_lose_nothing(built: Workshop, tmp_path: Path) -> None:
    draw = random.Random(time.time_ns())
    for round_ in range(10):
        instants = [round(draw.uniform(0.5, SECONDS), 2) for _ in range(5)]
        print(f"killed after {instants} s")
        survives(built, from_nothing(built, tmp_path / str(round_)), instants)


def test_two_builds_at_once_end_well_and_publish_once(workshop: Workshop) -> None:
    before = workshop.head()
    workshop.rewrite(cell(3, 4, "77.5"))
    builds = [
        subprocess.Popen(
            workshop.command("build"),
            cwd=workshop.checkout,
            env=workshop.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [build.communicate(timeout=120) for build in builds]
    assert [build.returncode for build in builds] == [0, 0], said
    assert "waiting for it" in "".join(err for _, err in said)
    assert sum(" published" in out for out, _ in said) == 1
    assert sum("nothing to do" in out for out, _ in said) == 1
    log = workshop.json("lake", "log")
    since = [path for row in log[: [row["id"] for row in log].index(before)] for path in row["paths"]]
    assert f"{PRODUCT}/landing/customers" in since
    assert len(since) == len(set(since)), "something was published twice"
    assert workshop.run("status").stdout.strip() == "Everything is up to date."
