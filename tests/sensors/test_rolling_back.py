"""A failing version goes back by Dagster's own daemon code: from the log of failures to the release, with nobody at hand."""

from pathlib import Path

import dagster as dg
import pytest

from tests.rollout_scene import NAME, RolloutScene
from tests.sensors import rollout_location
from tests.sensors.daemon import STATE, running

# Dagster's daemon calls it; as an error it would fail the tick.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys` is deprecated")

LIVE, NEW = "1.0.0", "1.1.0"


def test_failures_in_the_log_take_the_release_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        scene.failures(NEW, 50)
        built: list[str] = []
        while "release" not in built:
            assert len(daemon.tick()) > 0, f"nothing follows {built}"
            built += [path.removeprefix(f"{NAME}/") for run in daemon.launch() for path in run.split(",")]
    assert built[0] == "service_failures"
    assert {"rollout", "rollout_step"} < set(built)
    statement = scene.statement()
    assert (statement["version"], statement["actor"], list(statement["barred"])) == (LIVE, "rollout", [NEW])
