"""A roll-back does not wait for trainings that run, however many: Dagster's daemon as it is started, with the configuration that we write."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from resources.dagster_home import prepare_dagster_home
from resources.run_queue import LANE_TAG
from tests.sensors import queue_location

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0


def until(what: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, log.read_text()[-4_000:]
        time.sleep(0.1)


def test_a_place_is_kept_for_what_cannot_wait_for_two_trainings(tmp_path: Path) -> None:
    folder, log = tmp_path / "marks", tmp_path / "daemon.log"
    folder.mkdir()
    home = prepare_dagster_home(tmp_path / "home")
    variables = {**os.environ, "DAGSTER_HOME": str(home), "QUEUE_FOLDER": str(folder), "PYTHONPATH": str(ROOT)}
    command = [
        str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", queue_location.__name__,
    ]  # fmt: skip
    with dg.DagsterInstance.from_config(str(home)) as instance, log.open("wb") as out:
        instance.get_runs_count()  # the daemon and the runs find the tables made
        daemon = subprocess.Popen(command, env=variables, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
        try:
            until((folder / "step").exists, log)
            lanes = [run.tags[LANE_TAG] for run in instance.get_runs()]
            (folder / "end").touch()
            until(lambda: len(list(folder.glob("long-*"))) == queue_location.LONG, log)
            until(lambda: all(run.is_finished for run in instance.get_runs()), log)
        finally:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.SUCCESS}
    assert (folder / "step").read_text() == "2", "the third training waited for a place, the step did not"
    assert sorted(lanes) == ["first", *["usual"] * queue_location.LONG]
