"""What holds a training up: a real lake, real orders, real builds, and toy assets between the order and the evaluation."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain._performance import REPORT_FILE
from assets._chain._release import RELEASE_FILE, RUN_FILE
from assets._chain._retraining import DECISION_FILE, ORDER_FILE, retraining_assets
from assets._plan import stale_assets
from headwater import refusals
from headwater.cli._decisions import recorded_decisions
from headwater.decisions import Retraining, Rollout, RolloutKind
from headwater.lake import Kind, Retention
from headwater.lake import _refs as refs
from headwater.lake._transaction import EmbeddedTransaction
from headwater.lake.errors import CollectedCommitError
from headwater.materialize import Outcome, Run, Status, materialize
from headwater.names import DECISION_FACT, SIGNATURE_FACT
from headwater.product import Asset, Inputs, Result
from headwater.refusals import read_refusals
from headwater.retraining_orders import (
    RetrainingOrderError,
    RetrainingOrderKind,
    order_retraining,
    read_retraining_orders,
    stopped_by,
)
from tests.release_scene import Scene
from tests.rollout_scene import LABELS, NAME, RULES, TOY, RolloutScene

START = datetime(2013, 3, 10, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
EAGER = Retraining(new_rows=1, cool_down=timedelta(0), daily_budget=99)


def copied(inputs: Inputs, folder: Path, *, source: str, file: str) -> None:
    """An asset that changes with what it reads."""
    found = sorted(inputs.folder(source).rglob("*.json"))
    (folder / file).write_text("".join(one.read_text() for one in found))


class Training(Scene):
    """A product that trains again with every new label, in real builds of assets that only copy."""

    def __init__(self, state: Path, rules: Retraining = EAGER, rollout: Rollout | None = None) -> None:
        super().__init__(state, replace(TOY, retraining=rules, rollout=rollout or Rollout()))
        self.decision, self.order, self.stops, self.refusals = retraining_assets(self.product)
        chain = (("training_set", "training_order"), ("model", "training_set"), ("evaluation", "model"))
        self.made = {
            name: Asset(
                path=f"{NAME}/{name}",
                kind=Kind.FOLDER,
                compute=partial(copied, source=f"{NAME}/{source}", file=f"{name}.json"),
                inputs=(f"{NAME}/{source}",),
            )
            for name, source in chain
        }
        self.labels, self.mistaken = 0, False

    def label(self, windows: tuple[dict[str, Any], ...] = ()) -> None:
        """One more label, an hour later, and a report that knows of it."""
        self.labels += 1
        times = [START + HOUR * number for number in range(self.labels)]
        known = [*times[:-1], NEVER] if self.mistaken else times
        with self.lake.transaction() as tx:
            tx.write_table(LABELS, pl.DataFrame({"order": range(self.labels), "at": times, "late": 1, "known": known}))
            tx.publish(message="Labels", provenance=None)
        report = {"now": times[-1].isoformat(), "windows": list(windows)}
        self._folder("performance_report", report, {}, REPORT_FILE)

    def build_one(self, asset: Asset) -> Outcome:
        return materialize(self.lake, asset, run=Run(actor="automation"), state=self.state)

    def decide(self, *windows: dict[str, Any]) -> dict[str, Any]:
        """The decision on record, and its order."""
        self.label(windows)
        self.build_one(self.decision)
        self.build_one(self.order)
        found: dict[str, Any] = json.loads(
            (self.lake.at("main").folder(f"{NAME}/retraining") / DECISION_FILE).read_text()
        )
        return found

    def release(self, *, run: dict[str, Any] | None = None, **said: Any) -> None:
        """A release that stands, as far as the decision reads it."""

        def write(tx: Any, path: str) -> Any:
            source = self.state / "released"
            source.mkdir()
            (source / RELEASE_FILE).write_text(json.dumps({"version": "1.0.0", "policy": "all-at-once", **said}))
            (source / RUN_FILE).write_text(json.dumps(run or {}))
            return tx.write_folder(path, source)

        self._publish("release", write, {})

    def given(self) -> int:
        there = self.lake.at("main").folder(f"{NAME}/training_order") / ORDER_FILE
        return len(json.loads(there.read_text())["orders"])

    def train(self, *names: str) -> None:
        for name in names:
            assert self.build_one(self.made[name]).status is Status.PUBLISHED

    def stop(self, kind: RetrainingOrderKind, reason: str = "enough") -> None:
        order_retraining(
            self.lake, self.stops, kind, reason=reason, actor="user:ada", into="main", now=lambda: datetime.now(UTC)
        )


def trained(made: Training) -> Training:
    """The first order was followed to its evaluation."""
    made.decide()
    made.train("training_set", "model", "evaluation")
    return made


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return trained(Training(tmp_path))


def said(decision: dict[str, Any]) -> tuple[str, str]:
    return decision["action"], decision["rule"]


def test_one_training_goes_on_until_its_model_is_evaluated(training: Training) -> None:
    """Without a cool-down and with budget a second order was given while the first one trained."""
    assert said(training.decide()) == ("retrain", "new_rows")
    for done in ("training_set", "model"):
        assert said(training.decide()) == ("hold", "in_flight"), done
        training.train(done)
    assert said(training.decide()) == ("hold", "in_flight"), "nobody judged the model"
    assert training.given() == 2
    training.train("evaluation")
    assert said(training.decide()) == ("retrain", "new_rows")
    assert training.given() == 3


def test_a_corrected_training_set_of_an_order_that_was_followed_holds_nothing_up(training: Training) -> None:
    training._folder("training_set", {"corrected": True}, {}, "other.json")
    assert said(training.decide()) == ("retrain", "new_rows")


def test_an_order_whose_model_never_comes_is_given_up(tmp_path: Path) -> None:
    made = Training(tmp_path, replace(EAGER, give_up=3 * HOUR))
    assert said(made.decide()) == ("hold", "nothing"), "the first order takes what is there"
    found = [said(made.decide()) for _ in range(3)]
    assert found == [("hold", "in_flight")] * 2 + [("retrain", "new_rows")]


def test_a_label_that_is_known_in_the_future_moves_no_decision_and_no_order(tmp_path: Path) -> None:
    """One label of the year 9999, and the next order took all there ever will be; no decision was newer than it again."""
    made = Training(tmp_path)
    made.mistaken = True
    made.label()
    made.label()
    made.build_one(made.decision)
    first = made.build_one(made.order)
    assert (first.facts["as_of"], first.facts["labels_known_until"]) == (START.isoformat(),) * 2
    made.train("training_set", "model", "evaluation")
    found = made.decide()
    assert said(found) == ("retrain", "new_rows")
    assert (found["now"], found["evidence"]["new_rows"]) == ((START + 2 * HOUR).isoformat(), 1)
    orders = json.loads((made.lake.at("main").folder(f"{NAME}/training_order") / ORDER_FILE).read_text())["orders"]
    assert [order["as_of"] for order in orders] == [START.isoformat(), (START + 2 * HOUR).isoformat()]


def test_a_stop_holds_trainings_and_no_release(training: Training) -> None:
    """Trainings could be stopped by freezing releases only."""
    training.stop(RetrainingOrderKind.STOP, "the labels are wrong")
    assert said(training.decide()) == ("hold", "stopped")
    training.stop(RetrainingOrderKind.RESUME)
    assert said(training.decide()) == ("retrain", "new_rows")
    found = [row for row in recorded_decisions(training.lake, NAME, "main") if row["rule"] == "order"]
    assert [(row["kind"], row["action"], row["reason"], row["actor"]) for row in found] == [
        ("retraining", "stop", "the labels are wrong", "user:ada"),
        ("retraining", "resume", "enough", "user:ada"),
    ]
    assert read_retraining_orders(training.lake.at("main").table(f"{NAME}/retraining_orders"))[0].reason
    assert training.build_one(training.stops).status is Status.UNCHANGED, "a build keeps what people wrote"


def overtaken(training: Training) -> Outcome:
    """The build of the order after a decision that was made while another one's order was given."""
    training.label()
    training.build_one(training.decision)
    training.label()

    def while_the_first_is_ordered(inputs: Inputs, folder: Path) -> Any:
        result = training.decision.compute(inputs, folder)
        assert training.build_one(training.order).status is Status.PUBLISHED
        return result

    second = training.build_one(replace(training.decision, compute=while_the_first_is_ordered))
    assert (second.status, second.facts[DECISION_FACT]["action"]) == (Status.PUBLISHED, "retrain")
    return training.build_one(training.order)


def refused(training: Training) -> list[tuple[str, str, str]]:
    """What `headwater decisions` lists of trainings that were decided and did not follow."""
    found = [row for row in recorded_decisions(training.lake, NAME, "main") if row["action"] == "refuse"]
    return [(row["kind"], row["rule"], row["reason"]) for row in found]


def test_a_decision_that_did_not_know_of_the_last_order_gives_none(training: Training) -> None:
    """Two decisions within minutes, each made without the other's order, were two trainings: no cool-down and no budget held the second."""
    outcome = overtaken(training)
    assert (outcome.status, training.given()) == (Status.UNCHANGED, 2)
    assert re.fullmatch(r"the decision of .*T09.* did not know of the order of .*T08.*", outcome.facts["unfollowed"])
    assert said(training.decide()) == ("hold", "in_flight")


def test_an_order_that_was_followed_is_not_told_to_be_unfollowed(training: Training) -> None:
    training.decide()
    again = training.build_one(training.order)
    assert (again.status, again.facts["unfollowed"], training.given()) == (Status.UNCHANGED, "", 2)
    assert refused(training) == []


def test_a_decision_that_is_not_followed_stays_on_record(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    """`headwater decisions` listed two trainings where one followed, and why stood in an attestation that twenty builds later was gone."""
    monkeypatch.setattr(refs, "_ATTESTATIONS_KEPT", 2)
    why = overtaken(training).facts["unfollowed"]
    for _ in range(3):
        training.label()
        training.build_one(training.order)
    told = [
        output.facts.get("unfollowed")
        for one in training.lake.attestations(f"{NAME}/training_order")
        for output in one.outputs
    ]
    assert len(told) == 2
    assert refused(training) == [("retraining", "overtaken", why)], "once, however often the order is built"
    for _ in range(3):
        training.decide()
    assert refused(training) == [("retraining", "overtaken", why)]
    (kept,) = read_refusals(training.lake.at("main").table(f"{NAME}/training_refusals"))
    assert kept.evidence["decision"]["rule"] == "new_rows"
    assert kept.evidence["orders"][:-1] == kept.evidence["trainings"]
    assert training.build_one(training.refusals).status is Status.UNCHANGED, "a build keeps what stands"


def test_two_builds_at_once_keep_what_they_did_not_follow_once(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each had looked whether it was kept before either wrote: `headwater decisions` listed one refusal twice."""
    training.label()
    training.build_one(training.decision)
    training.stop(RetrainingOrderKind.STOP)
    opened = training.lake.transaction

    @contextmanager
    def overtaken(**how: Any) -> Iterator[EmbeddedTransaction]:
        with opened(**how) as tx:
            if how.get("hint") == training.refusals.path:
                monkeypatch.undo()
                assert training.build_one(training.order).facts["unfollowed"]
            yield tx

    monkeypatch.setattr(training.lake, "transaction", overtaken)
    assert training.build_one(training.order).facts["unfollowed"]
    assert refused(training) == [("retraining", "stopped", "user:ada stopped retraining: enough")]


def test_a_kill_before_it_is_on_record_leaves_the_order_to_be_built_again(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order counted as built, and nobody ever wrote down what it had not followed."""

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(refusals, "write_row", killed)
        with pytest.raises(KeyboardInterrupt):
            overtaken(training)
    stale = stale_assets(training.lake, (training.order,), branch="main", landing=training.state)
    assert [one.path for one in stale] == [training.order.path]
    why = training.build_one(training.order).facts["unfollowed"]
    assert refused(training) == [("retraining", "overtaken", why)]
    assert stale_assets(training.lake, (training.order,), branch="main", landing=training.state) == ()


def test_a_stop_is_not_overtaken_by_a_decision_from_before_it(training: Training) -> None:
    """The order looked at the decision alone: a training began after somebody had stopped them."""
    training.label()
    training.build_one(training.decision)
    training.stop(RetrainingOrderKind.STOP, "the labels are wrong")
    outcome = training.build_one(training.order)
    assert (outcome.status, training.given()) == (Status.UNCHANGED, 1)
    why = "user:ada stopped retraining: the labels are wrong"
    assert outcome.facts["unfollowed"] == why
    assert refused(training) == [("retraining", "stopped", why)]
    training.stop(RetrainingOrderKind.RESUME)
    assert training.build_one(training.decision).status is Status.PUBLISHED, "the order has something new to follow"
    assert training.build_one(training.order).status is Status.PUBLISHED
    assert training.given() == 2


def test_a_hold_of_the_release_is_not_overtaken_either(training: Training) -> None:
    training.label()
    training.build_one(training.decision)
    training.release(held="user:ada holds it: x")
    outcome = training.build_one(training.order)
    assert (outcome.facts["unfollowed"], training.given()) == ("the release is held: user:ada holds it: x", 1)


def test_a_hold_of_the_release_stops_trainings_too(training: Training) -> None:
    training.release(held="user:ada holds it: x")
    assert said(training.decide()) == ("hold", "stopped")


def test_a_rollout_that_goes_on_is_in_flight(training: Training) -> None:
    training.release(rollout={"candidate": "1.1.0", "stage": 0, "stages": [0.0, 1.0]})
    assert said(training.decide()) == ("hold", "in_flight")


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (RolloutKind.CHAMPION_CHALLENGERS, ("retrain", "new_rows")),
        (RolloutKind.AB_TEST, ("hold", "in_flight")),
    ],
)
def test_a_standing_challenger_holds_no_training_up_for_the_next_version_joins_it(
    tmp_path: Path, kind: RolloutKind, found: tuple[str, str]
) -> None:
    """Challengers stand until a person ends them: after the first one nothing was trained any more."""
    rollout = Rollout(kind=kind, rules=RULES)
    served = RolloutScene(tmp_path / "served", rollout)
    for version in ("1.0.0", "1.1.0"):
        served.version(version)
    statement = served.statement()
    assert statement["rollout"]["candidate"] == "1.1.0"
    made = trained(Training(tmp_path / "trained", rollout=rollout))
    made.release(**statement)
    assert said(made.decide()) == found


def drifted(start: datetime, compared_with: str = "1.0.0") -> dict[str, Any]:
    """A window of the report in which `x` moved far, and nothing has a label."""
    overall = {"rows": 5_000, "without_truth": 0, "labelled": 0, "metrics": []}
    return {
        "start": start.isoformat(), "end": (start + HOUR).isoformat(), "overall": overall, "slices": [], "drift": {"x": 0.9},
        "compared_with": compared_with, "answered": {"1.0.0": 5_000},
    }  # fmt: skip


def test_drift_counts_from_the_training_of_the_live_version_on(tmp_path: Path) -> None:
    """A window that had been a reason for the training was one for the next, as all were compared anew with what the new version learned from."""
    rules = Retraining(cool_down=timedelta(0), daily_budget=99)
    made = trained(Training(tmp_path, rules))
    made.release(run={"model_commit": made.lake.last_write("main", f"{NAME}/model").id})
    before, after = (drifted(START + HOUR * hour) for hour in (-1, 0))
    other = drifted(START + HOUR, compared_with="0.9.0")
    for windows in ((before, before, after), (after, other, other)):
        found = made.decide(*windows)
        assert said(found) == ("hold", "nothing")
        assert (
            "drift in 2 of the last 3 windows, which began before the training of the live version 1.0.0"
            in found["reason"]
        )
    assert found["evidence"]["learned_until"] == START.isoformat()
    assert said(made.decide(before, after, after)) == ("retrain", "drift")
    # The newest order trains nobody yet, and moves nothing.
    found = made.decide(before, after, after)
    assert said(found) == ("hold", "in_flight")
    assert found["evidence"]["learned_until"] == START.isoformat() < found["evidence"]["trained"]


def numbered(made: Training) -> Training:
    """Its models are versions, which the lake keeps."""
    copies = made.made["model"]

    def compute(inputs: Inputs, folder: Path) -> Result:
        copies.compute(inputs, folder)
        return Result(facts={SIGNATURE_FACT: "s"})

    made.made["model"] = replace(copies, compute=compute, versioned=True)
    return made


def test_what_the_live_version_learned_is_known_when_its_training_order_is_collected(tmp_path: Path) -> None:
    """No decision was built any more once the nightly collection had taken the commit that the training set was made from."""
    made = numbered(Training(tmp_path))
    trained(made).release(run={"model_commit": made.lake.last_write("main", f"{NAME}/model").id})
    before = made.decide()
    made.lake.gc(grace=timedelta(0), retention=Retention(keep_commits=1))
    with pytest.raises(CollectedCommitError):
        made.lake.at(str(list(made.lake.log(path=f"{NAME}/training_order"))[-1].id))
    after = made.decide()
    assert after["evidence"]["learned_until"] == before["evidence"]["learned_until"] == START.isoformat()


def test_what_the_live_version_learned_is_known_when_its_training_order_left_a_commit_that_stays_in_part(
    tmp_path: Path,
) -> None:
    """Its training set was made right after another program's commit: of that one stays what stood where, and no order."""
    made = numbered(Training(tmp_path, replace(EAGER, give_up=HOUR)))
    made.decide()
    with made.lake.transaction() as tx:
        tx.write_table(f"{NAME}/notes", pl.DataFrame({"note": ["from outside"]}))
        tx.publish(message="Notes", provenance=None)
    made.train("training_set")
    for _ in range(3):
        made.decide()
    assert made.given() > 1, "the training took longer than it is waited for"
    made.train("model", "evaluation")
    made.release(run={"model_commit": made.lake.last_write("main", f"{NAME}/model").id})
    before = made.decide()
    made.lake.gc(grace=timedelta(0), retention=Retention(keep_commits=1))
    assert made.decide()["evidence"]["learned_until"] == before["evidence"]["learned_until"] == START.isoformat()


def test_orders_that_change_nothing_or_have_no_reason_are_refused(training: Training) -> None:
    with pytest.raises(RetrainingOrderError, match="nothing stopped it"):
        training.stop(RetrainingOrderKind.RESUME)
    with pytest.raises(RetrainingOrderError, match="no reason"):
        training.stop(RetrainingOrderKind.STOP, " ")
    training.stop(RetrainingOrderKind.STOP)
    with pytest.raises(RetrainingOrderError, match="stopped already"):
        training.stop(RetrainingOrderKind.STOP)
    assert stopped_by(()) is None
