"""`headwater stream refresh` over a lake that holds the online features of flights and a few days of departures and arrivals."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from assets.flights._paths import MOVEMENTS
from headwater.cli import cli
from headwater.features.online._content import write_content
from headwater.lake.errors import PathNotFoundError
from tests.assets.flights.test_streams import BEFORE, JULY, Replay, daily

ONLINE = "flights/online_features"


@pytest.fixture
def replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replay:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    monkeypatch.delenv("HEADWATER_LAKE", raising=False)
    found = Replay(tmp_path)
    (tmp_path / "content").mkdir()
    write_content(daily(JULY), tmp_path / "content")
    with found.lake.transaction() as tx:
        tx.write_folder(ONLINE, tmp_path / "content")
        tx.publish(message="Online features", provenance=None)
    return found


def test_a_round_says_what_it_added_and_the_next_one_that_there_is_nothing_new(replay: Replay) -> None:
    with pytest.raises(PathNotFoundError, match=MOVEMENTS):
        CliRunner().invoke(cli, ["stream", "refresh", "flights"], catch_exceptions=False)
    replay.arrive(JULY - BEFORE, JULY + timedelta(hours=12))
    done = CliRunner().invoke(cli, ["stream", "refresh", "flights", "--json"], catch_exceptions=False)
    said = json.loads(done.stdout)
    assert said["is_changed"]
    assert said["commit"] == replay.lake.resolve("main").id
    assert set(said["views"]) == {"origin_history", "carrier_history", "route_history", "tail_history"}
    assert all(view["rows"] > 50 and not view["waits_for"] for view in said["views"].values())
    again = CliRunner().invoke(cli, ["stream", "refresh", "flights"], catch_exceptions=False)
    assert again.output.endswith("Nothing new.\n")
    assert "origin_history: " in again.output
