"""`headwater retraining ...` over a lake of flights in which nothing was built yet."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from assets._chain._performance import REPORT_FILE
from assets._declared import _chains, declared
from assets._products import product as find
from headwater.cli import cli
from headwater.errors import HeadwaterError
from headwater.materialize import Outcome, Run, materialize
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


class Deciding:
    """A lake of flights in which a month has gone by since the first training, and a daemon that decides while a command does."""

    def __init__(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scene = scene
        chain = declared(find(PRODUCT))
        assets = {asset.path.rpartition("/")[2]: asset for asset in chain}
        self.decision, self.order = assets["retraining"], assets["training_order"]
        self.is_pinned, self.is_met = Event(), Event()
        self.daemon = Thread(target=self.decide, args=(self.meanwhile,))
        met = replace(self.decision, compute=self.after_the_daemon)
        monkeypatch.setitem(_chains, PRODUCT, tuple(met if one is self.decision else one for one in chain))

    def days(self, number: int) -> None:
        """Labels of so many days, and a report that knows of them."""
        labels = find(PRODUCT).labels
        assert labels is not None
        times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(number)]
        rows = {labels.time: times, labels.known_at or labels.time: times, labels.label: [0] * number}
        with self.scene.lake.transaction() as tx:
            tx.write_table(labels.path, pl.DataFrame(rows))
            tx.publish(message="Labels", provenance=None)
        report = {"now": times[-1].isoformat(), "windows": []}
        self.scene._folder("performance_report", report, {}, REPORT_FILE)

    def decide(self, compute: Any) -> None:
        materialize(self.scene.lake, replace(self.decision, compute=compute), run=Run(actor="automation"))

    def meanwhile(self, inputs: Any, folder: Path) -> Any:
        """As the daemon decides: pinned before the order, published while the command decides."""
        result = self.decision.compute(inputs, folder)
        self.is_pinned.set()
        assert self.is_met.wait(60)
        return result

    def after_the_daemon(self, inputs: Any, folder: Path) -> Any:
        result = self.decision.compute(inputs, folder)
        self.is_met.set()
        self.daemon.join()
        return result

    def ordered(self) -> Outcome:
        return materialize(self.scene.lake, self.order, run=Run(actor="automation"))


def test_a_stop_while_a_daemon_decides_is_heard_and_no_training_begins(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop was written, the user read of a merge conflict, and the decision from before the stop stood, and was followed."""
    deciding = Deciding(scene, monkeypatch)
    deciding.days(1)
    deciding.decide(deciding.decision.compute)
    deciding.ordered()
    deciding.days(40)
    deciding.daemon.start()
    assert deciding.is_pinned.wait(60)
    done = call("retraining", "stop", PRODUCT, "--reason", "the labels are wrong")
    assert done.exit_code == 0, done.exception
    found = [(row["action"], row["rule"]) for row in rows("decisions", "--product", PRODUCT)]
    assert found == [("hold", "nothing"), ("stop", "order"), ("retrain", "schedule"), ("hold", "stopped")]
    assert deciding.ordered().facts["orders"] == 1


def test_who_holds_a_release_is_told_that_trainings_stop_too() -> None:
    said = " ".join(call("release", "hold", "--help").stdout.split())
    assert "no training begin" in said
    assert "headwater retraining stop" in said
