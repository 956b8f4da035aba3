"""Neither a roll-back nor the labels that it is decided by wait for trainings that run: Dagster's daemon as it is started, with the configuration that we write."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from resources.dagster_home import prepare_dagster_home
from resources.run_queue import LANE_TAG, lane_of
from tests.sensors import queue_location

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0


def until(what: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, log.read_text()[-4_000:]
        time.sleep(0.1)


def test_a_roll_back_and_labels_wait_for_no_training(tmp_path: Path) -> None:
    folder, log = tmp_path / "marks", tmp_path / "daemon.log"
    folder.mkdir()
    home = prepare_dagster_home(tmp_path / "home")
    variables = {**os.environ, "DAGSTER_HOME": str(home), "QUEUE_FOLDER": str(folder), "PYTHONPATH": str(ROOT)}
    command = [
        str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", queue_location.__name__,
    ]  # fmt: skip
    with dg.DagsterInstance.from_config(str(home)) as instance, log.open("wb") as out:
        job = queue_location.defs.resolve_implicit_global_asset_job_def()
        for _ in range(3):  # what `headwater build` runs is in no lane, and takes no place
            instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTING, tags={"beside": "the queue"})
        daemon = subprocess.Popen(command, env=variables, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
        try:
            until(lambda: (folder / "step").exists() and (folder / "labels").exists(), log)
            queued = [run for run in instance.get_runs() if "beside" not in run.tags]
            lanes = [run.tags[LANE_TAG] for run in queued]
            (folder / "end").touch()
            until(lambda: len(list(folder.glob("long-*"))) == queue_location.LONG, log)
            until(lambda: all(instance.get_run_by_id(run.run_id).is_finished for run in queued), log)  # type: ignore[union-attr]
        finally:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()
        ended = [run.status for run in instance.get_runs() if "beside" not in run.tags]
        assert set(ended) == {dg.DagsterRunStatus.SUCCESS}
    waited = [(folder / name).read_text() for name in ("labels", "step")]
    assert waited == ["2", "2"], "the third training waited for a place, the others did not"
    assert sorted(lanes) == ["first", *["training"] * queue_location.LONG, "usual"]


def test_a_run_of_everything_counts_as_a_training() -> None:
    def run(*paths: str) -> dg.DagsterRun:
        chosen = frozenset(dg.AssetKey(path.split("/")) for path in paths)
        return dg.DagsterRun(job_name="__ASSET_JOB", asset_selection=chosen or None)

    assert [lane_of(run(*paths)) for paths in ((), ("toy/labels", "toy/model"), ("toy/labels",), ("toy/model_card",))] == [
        "training", "training", "usual", "usual",
    ]  # fmt: skip
