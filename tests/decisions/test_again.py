"""Each kind of decision made again from what is stored of it alone: its reason stands only if it follows from its record."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets._chain._release import DECISION_FILE as RELEASE_INPUT
from assets._chain._release import RELEASE_FILE
from headwater.decisions import (
    Decision,
    Evidence,
    ReleaseInput,
    Retraining,
    Rollout,
    RolloutKind,
    UnknownDecisionError,
    Window,
    decide_again,
    decide_retraining,
    next_release,
)
from headwater.decisions._again import read_evidence
from tests.assets.test_retraining import Training
from tests.rollout_scene import AT, DAY, NAME, RULES, RolloutScene

NOW = datetime(2013, 7, 1, tzinfo=UTC)


def same(document: dict[str, Any]) -> tuple[str, str]:
    """What was decided, which is what is decided again."""
    again = decide_again(document)
    names = ("action", "rule", "reason", "reasons", "held_by", "unseen")
    told = {name: getattr(again, name) for name in names} if isinstance(again, Decision) else again.to_json()
    told = json.loads(json.dumps(told))
    assert told == {name: document[name] for name in told}
    return document["action"], document["rule"]


def test_decisions_to_train_again(tmp_path: Path) -> None:
    training = Training(tmp_path)
    assert same(training.decide()) == ("hold", "nothing")
    training.train("training_set", "model", "evaluation")
    assert same(training.decide()) == ("retrain", "new_rows")
    assert same(training.decide()) == ("hold", "in_flight")


def test_a_rollout_a_watch_and_their_release(tmp_path: Path) -> None:
    rollout = Rollout(kind=RolloutKind.CANARY, steps=(0.5, 1.0), rules=RULES)
    scene = RolloutScene(tmp_path, rollout)
    assert same(scene.decision()) == ("wait", "idle")
    for version in ("1.0.0", "1.1.0"):
        scene.version(version)
        scene.settle()
    orders = list(range(240))
    scene.answers(orders, {one: "1.1.0" if one % 2 else "1.0.0" for one in orders}, propensity=0.5)
    scene.answers([900], "1.0.0", at=AT + DAY, propensity=0.5)
    scene.label([(one, AT, one % 2, AT + timedelta(hours=5)) for one in orders])
    scene.settle()
    assert same(scene.decision())[0] in ("wait", "advance")
    scene.failures("1.1.0", 200)
    scene.settle()
    assert same(scene.decision()) == ("abort", "errors")
    released = scene.lake.at("main").folder(f"{NAME}/release")
    said = json.loads((released / RELEASE_FILE).read_text())
    again = next_release(ReleaseInput.from_json(json.loads((released / RELEASE_INPUT).read_text()))).release.to_json()
    assert json.loads(json.dumps(again)) == {name: said[name] for name in again}


def test_a_bandit_that_learns(tmp_path: Path) -> None:
    scene = RolloutScene(tmp_path, Rollout(kind=RolloutKind.THOMPSON, rules=RULES))
    for version in ("1.0.0", "1.1.0"):
        scene.version(version)
        scene.settle()
    assert same(scene.experiment())[0] == "wait"
    orders = list(range(240))
    scene.answers(orders, {one: "1.1.0" if one % 2 else "1.0.0" for one in orders}, propensity=0.5)
    scene.answers([900], "1.0.0", at=AT + DAY, propensity=0.5)
    scene.label([(one, AT, one % 2, AT + timedelta(hours=5)) for one in orders])
    scene.settle()
    assert same(scene.experiment())[0] == "learn"


def test_a_kind_that_nobody_decides_is_an_error() -> None:
    with pytest.raises(UnknownDecisionError, match="release"):
        decide_again({"kind": "release", "rules": {}, "evidence": {}})


def test_rules_of_an_older_headwater_are_read_from_their_texts() -> None:
    """They were kept as texts, and no rules could be made of them."""
    rules = Retraining(columns=("a",), every=timedelta(days=28, seconds=1.5), cool_down=timedelta(hours=36))
    texts = {"every": "28 days, 0:00:01.500000", "cool_down": "1 day, 12:00:00", "give_up": "2 days, 0:00:00"}
    assert Retraining.from_json({**rules.to_json(), **texts}) == rules
    assert Retraining.from_json({"windows": 4, "every": None}) == Retraining(windows=4)
    assert json.loads(json.dumps(Retraining().to_json()))["cool_down"] == 86_400


@given(
    st.builds(
        Evidence,
        now=st.just(NOW),
        windows=st.lists(
            st.builds(
                Window,
                start=st.just(NOW - 7 * DAY),
                end=st.just(NOW),
                rows=st.integers(0, 5_000),
                labelled=st.integers(0, 5_000),
                effects=st.dictionaries(st.sampled_from("abc"), st.floats(0, 2)),
                metric=st.none() | st.floats(0, 1),
                metric_high=st.none() | st.floats(0, 1),
                version=st.sampled_from(["", "1.0.0"]),
                answered=st.just({"1.0.0": 5}),
            ),
            max_size=3,
        ).map(tuple),
        reference=st.none() | st.floats(0, 1),
        trained=st.none() | st.just(NOW - 9 * DAY),
        trainings=st.just((NOW - 9 * DAY,)),
        version=st.sampled_from(["", "1.0.0"]),
        learned_until=st.none() | st.just(NOW - 9 * DAY),
    )
)
def test_evidence_of_trainings_comes_back_as_it_was(evidence: Evidence) -> None:
    assert read_evidence(Evidence, json.loads(json.dumps(evidence.to_json()))) == evidence
    rules = replace(Retraining(), new_rows=1)
    read = Retraining.from_json(json.loads(json.dumps(rules.to_json())))
    assert decide_retraining(read, evidence) == decide_retraining(rules, evidence)
