"""`headwater review ...` over a lake with predictions of flights."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from headwater.cli import cli
from headwater.errors import HeadwaterError
from tests.review.scene import PRODUCT, Scene, drawn, prediction

A, B = drawn(2)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    monkeypatch.setenv("HEADWATER_BRANCH", "main")
    monkeypatch.delenv("HEADWATER_LAKE", raising=False)
    made = Scene(tmp_path)
    now = datetime.now(UTC)
    made.predictions(prediction(A, 0.30, received=now), prediction(B, 0.311, flight=2, received=now))
    return made


def call(*words: str) -> Result:
    return CliRunner().invoke(cli, ("review", *words))


def said(*words: str) -> Any:
    done = call(*words, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


def refusal(*words: str) -> str:
    done = call(*words)
    assert isinstance(done.exception, HeadwaterError), done.output
    return str(done.exception)


def test_what_waits_is_listed_shown_answered_and_taken_back(scene: Scene) -> None:
    assert [row["request_id"] for row in said("list")] == [B, A]
    assert [row["request_id"] for row in said("list", PRODUCT, "--limit", "1")] == [B]
    assert "carrier=DL flight=2" in call("list").stdout
    shown = said("show", PRODUCT, A)
    assert (shown["state"], shown["features"]["distance"], shown["answers"]) == (
        "open",
        1089,
        ["on time", "late", "unsure"],
    )
    given = said("answer", PRODUCT, A, "on time", "--reason", "the plane is here")
    assert (given["label"], given["reason"], given["actor"].startswith("user:")) == (0, "the plane is here", True)
    assert "answered already: on time" in refusal("answer", PRODUCT, A, "late", "--reason", "x")
    assert said("show", PRODUCT, A)["answer"]["label"] == 0
    assert said("withdraw", PRODUCT, A, "--reason", "mistaken")["kind"] == "withdraw"
    assert call("answer", PRODUCT, A, "1", "--reason", "x").exit_code == 0
    scene.labels([(1, 0)])
    (row,) = said("status")
    assert (row["answers"], row["with_truth"], row["agreed"], row["known"], row["open"]) == (1, 1, 0, 1, 1)
    assert [one["model_share"] for one in row["people"]] == [1.0]
    assert "user:" in call("status").stdout


def test_what_cannot_be_is_refused_with_the_next_step(scene: Scene) -> None:
    assert "headwater log compact" in refusal("answer", PRODUCT, "nobody", "late", "--reason", "x")
    assert "Answer 'on time', 'late'" in refusal("answer", PRODUCT, A, "maybe", "--reason", "x")
    assert "no reason" in refusal("answer", PRODUCT, A, "late", "--reason", " ")
    assert call("answer", PRODUCT, A, "late").exit_code == 2, "a reason is needed"
    assert "No product is called" in refusal("list", "nothing")
