"""Automation where files come by months: what reads several levels waits for the lower one, and is built once."""

from pathlib import Path

import pytest

from tests.sensors import months_location
from tests.sensors.daemon import STATE, running

# Dagster's daemon calls it; as an error it would fail the tick.
pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys` is deprecated")


def test_a_landed_month_builds_each_table_once_however_many_levels_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card of landing and dataset was built when the landing changed, with the old dataset, and again after the dataset."""
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path / STATE))
    with running(tmp_path, months_location) as daemon:
        daemon.land(1, 2, name="toy/numbers/2013-01.csv")
        daemon.land(3, name="toy/numbers/2013-02.csv")
        daemon.settle()
        assert daemon.rows("toy/card") == [{"landed": 6, "made": 12}]
        assert daemon.rows("toy/audit") == [{"landed": 6, "y": 12}]
        before = {path: daemon.commits(path) for path in ("toy/total", "toy/card", "toy/audit")}
        daemon.land(5, name="toy/numbers/2013-02.csv")
        started = daemon.settle()
        assert daemon.rows("toy/card") == [{"landed": 8, "made": 16}]
        assert daemon.rows("toy/audit") == [{"landed": 8, "y": 16}]
        assert {path: daemon.commits(path) - times for path, times in before.items()} == dict.fromkeys(before, 1), (
            started
        )
