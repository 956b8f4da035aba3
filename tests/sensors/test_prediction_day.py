"""Outcomes follow the days of the predictions by Dagster's own daemon code, and not every compaction."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.rollout_scene import AT, DAY, NAME, RolloutScene
from tests.sensors import rollout_location
from tests.sensors.daemon import STATE, Daemon, running

# Dagster's daemon calls it; as an error it would fail the tick.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys` is deprecated")


def published(daemon: Daemon) -> dict[str, int]:
    """What is published until nothing starts any more; how often."""
    paths = [f"{NAME}/{name}" for name in ("predictions", "prediction_day", "outcomes")]
    before = {path: daemon.commits(path) for path in paths}
    daemon.settle()
    return {path.removeprefix(f"{NAME}/"): daemon.commits(path) - before[path] for path in paths}


def test_the_first_answer_of_a_day_makes_outcomes_and_the_next_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path / STATE))
    scene = RolloutScene(tmp_path / STATE, rollout_location.PRODUCT.rollout)
    with running(tmp_path, rollout_location) as daemon:
        daemon.settle()
        for day, minute in ((0, 0), (0, 5), (1, 0)):
            orders = range(1_000 * day + 10 * minute, 1_000 * day + 10 * minute + 10)
            scene.answers(orders, "1.0.0", at=AT + day * DAY + timedelta(minutes=minute))
            is_new = int(minute == 0)
            assert published(daemon) == {"predictions": 1, "prediction_day": is_new, "outcomes": is_new}, (day, minute)
