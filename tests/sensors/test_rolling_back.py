"""A failing version goes back by Dagster's own daemon code: from the log of failures to the release, with nobody at hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from tests.rollout_scene import NAME, RolloutScene
from tests.sensors import rollout_location
from tests.sensors.daemon import STATE, Daemon, running

# Dagster's daemon calls it; as an error it would fail the tick.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys` is deprecated")

LIVE, NEW = "1.0.0", "1.1.0"


@contextmanager
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Daemon, RolloutScene]]:
    """A candidate that answers half of the requests, under a daemon that knows of all that stands."""
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path / STATE))
    scene = RolloutScene(tmp_path / STATE, rollout_location.PRODUCT.rollout)
    scene.version(LIVE)
    scene.version(NEW)
    scene.settle()
    assert scene.statement()["policy"]["candidate"] == NEW
    with running(tmp_path, rollout_location) as daemon:
        for path in rollout_location.OUTSIDE:
            version = {"dagster/data_version": daemon.standing(path)}
            daemon.instance.report_runless_asset_event(dg.AssetMaterialization(path.split("/"), tags=version))
        assert daemon.tick() == [], "what stands was made of what stands"
        yield daemon, scene


def test_failures_in_the_log_take_the_release_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with failing(tmp_path, monkeypatch) as (daemon, scene):
        scene.failures(NEW, 50)
        built: list[str] = []
        while "release" not in built:
            assert len(daemon.tick()) > 0, f"nothing follows {built}"
            built += [path.removeprefix(f"{NAME}/") for run in daemon.launch() for path in run.split(",")]
    assert built[0] == "service_failures"
    assert {"rollout", "rollout_step"} < set(built)
    statement = scene.statement()
    assert (statement["version"], statement["actor"], list(statement["barred"])) == (LIVE, "rollout", [NEW])


def test_it_goes_back_although_it_goes_on_failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a version fails its failures are taken in one run after another. The decision once waited for an end of that."""
    with failing(tmp_path, monkeypatch) as (daemon, scene):
        built: list[str] = []
        for _ in range(12):
            scene.failures(NEW, 50)
            assert any("service_failures" in run for run in daemon.tick()), "a run is queued at each look"
            built += [path.removeprefix(f"{NAME}/") for run in daemon.launch() for path in run.split(",")]
            if "release" in built:
                break
    assert "release" in built, built
    assert (scene.statement()["policy"], list(scene.statement()["barred"])) == ("all-at-once", [NEW])


def test_it_goes_back_while_a_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The release reads the newest model, and once waited until that was built: for hours."""
    with failing(tmp_path, monkeypatch) as (daemon, scene):
        job = rollout_location.defs.resolve_implicit_global_asset_job_def()
        chosen = frozenset({dg.AssetKey(rollout_location.TRAINED.split("/"))})
        run = daemon.instance.create_run_for_job(
            job.get_subset(asset_selection=chosen), status=dg.DagsterRunStatus.STARTING, asset_selection=chosen
        )
        scene.failures(NEW, 50)
        built: list[str] = []
        while "release" not in built:
            assert len(daemon.tick()) > 0, f"nothing follows {built}"
            built += [path.removeprefix(f"{NAME}/") for run in daemon.launch() for path in run.split(",")]
        training = daemon.instance.get_run_by_id(run.run_id)
        assert training is not None
        assert training.status is dg.DagsterRunStatus.STARTING
    assert (scene.statement()["policy"], list(scene.statement()["barred"])) == ("all-at-once", [NEW])
