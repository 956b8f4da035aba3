"""`headwater retraining ...` over a lake of flights in which nothing was built yet."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from headwater.cli import cli
from headwater.errors import HeadwaterError
from tests.release_scene import PRODUCT, Scene


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    monkeypatch.setenv("HEADWATER_BRANCH", "main")
    monkeypatch.delenv("HEADWATER_LAKE", raising=False)
    return Scene(tmp_path)


def call(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def rows(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call(*words, "--json").stdout)
    return found


def test_trainings_are_stopped_and_resumed_by_name_and_reason(scene: Scene) -> None:
    done = call("retraining", "stop", PRODUCT, "--reason", "the labels are wrong", "--json")
    assert done.exit_code == 0, done.exception
    order = json.loads(done.stdout)
    assert (order["order"], order["reason"]) == ("stop", "the labels are wrong")
    assert order["actor"].startswith("user:")
    why = [row["why"] for row in rows("status", PRODUCT) if row["asset"] == f"{PRODUCT}/training_order"]
    assert f"waits: {order['actor']} stopped retraining: the labels are wrong" in why
    assert isinstance(call("retraining", "stop", PRODUCT, "--reason", "x").exception, HeadwaterError)
    assert "resume retraining" in call("retraining", "resume", PRODUCT, "--reason", "mended").stdout
    assert not [row for row in rows("status", PRODUCT) if "stopped retraining" in row["why"]]
    assert [row["action"] for row in rows("decisions", "--product", PRODUCT)] == ["stop", "resume"]
    assert call("retraining", "stop", PRODUCT).exit_code == 2, "a reason is needed"


def test_who_holds_a_release_is_told_that_trainings_stop_too() -> None:
    said = " ".join(call("release", "hold", "--help").stdout.split())
    assert "no training begin" in said
    assert "headwater retraining stop" in said
