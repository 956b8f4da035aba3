"""The release as an asset: what it is built from, what its gates judge, and what it says after each kind of change."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from headwater.decisions import (
    Order,
    OrderKind,
    OrderRefusedError,
    ReleaseInput,
    Rollout,
    RolloutKind,
    RolloutStep,
    StepAction,
    next_release,
)
from headwater.features import FeatureTable, FeatureView
from headwater.features.online import prepare
from headwater.features.online._content import write_content
from headwater.lake import Snapshot
from headwater.lake.errors import MergeConflictError
from headwater.materialize import Run, Status, materialize
from headwater.monitoring import ServiceLevels
from headwater.product import Labels, Model, Serving
from headwater.release_history import release_history
from headwater.release_orders import SCHEMA, give_order, read_orders, write_orders
from headwater.testing.online_suite import hour, rows
from serving.deployment import read_deployment
from serving.policies import Canary
from tests.release_scene import FLIGHTS, GATE, NOW, PRODUCT, Scene
from tests.serving.conftest import REPLACED, SERVED, WIDER, bundle


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    made.version("1.0.0")
    return made


def test_the_statement_keeps_its_fields_and_says_by_whose_word(scene: Scene) -> None:
    said = scene.statement()
    assert (said["version"], said["policy"], said["traffic"]) == ("1.0.0", "all-at-once", {"1.0.0": 1.0})
    assert said["data_version"] == scene.lake.at("main").entry(f"{PRODUCT}/model").data_version
    assert set(said["evidence"]) == {f"{PRODUCT}/{name}" for name in ("evaluation", "model_card", "drift_report")}
    assert [gate["passed"] for gate in said["gates"]] == [True] * 5
    assert (said["barred"], said["deprecated"], said["retired"], said["order"]) == ({}, {}, {}, None)
    given = ReleaseInput.from_json(json.loads(scene.file("decision.json")))
    assert next_release(given).release.version == "1.0.0", "the decision can be made again from what is kept"


def test_a_rolled_back_release_is_of_the_older_bundle_and_its_evidence(scene: Scene) -> None:
    first = scene.statement()
    models = [commit.id for commit in scene.lake.log("main", path=f"{PRODUCT}/model")]
    scene.version("1.1.0")
    scene.give(OrderKind.ROLLBACK)
    assert scene.build().status is Status.PUBLISHED
    said, run = scene.statement(), json.loads(scene.file("run.json"))
    assert (said["version"], said["data_version"]) == ("1.0.0", first["data_version"])
    assert run["model_commit"] == models[0]
    evaluated = f"{PRODUCT}/evaluation"
    assert said["evidence"][evaluated] == first["evidence"][evaluated]
    assert read_deployment(scene.lake, PRODUCT).models == {"1.0.0": first["data_version"]}


def test_what_was_rolled_back_stays_out_of_later_builds_and_a_later_version_comes_in(scene: Scene) -> None:
    scene.version("1.1.0")
    scene.give(OrderKind.ROLLBACK)
    scene.build()
    scene._publish("drift_report", lambda tx, path: tx.write_table(path, pl.DataFrame({"column": ["again"]})), {})
    assert scene.build().status is Status.UNCHANGED
    assert scene.statement()["version"] == "1.0.0"
    scene.version("1.2.0")
    assert scene.statement()["version"] == "1.2.0"


def test_a_failing_version_is_refused_with_its_gate_and_the_live_one_stays(scene: Scene) -> None:
    outcome = scene.version("1.1.0", auc=0.6)
    assert outcome is not None
    assert outcome.status is Status.REFUSED
    assert [check.name for check in outcome.checks if not check.passed] == [GATE]
    assert scene.statement()["version"] == "1.0.0"


def test_an_older_version_is_promoted_while_the_newest_fails(scene: Scene) -> None:
    scene.version("1.1.0")
    scene.version("1.2.0", auc=0.6)
    scene.give(OrderKind.PROMOTE, "1.0.0")
    outcome = scene.build()
    assert (outcome.status, scene.statement()["version"]) == (Status.PUBLISHED, "1.0.0")
    assert all(check.passed for check in outcome.checks)


def test_a_live_version_that_fails_its_newest_evaluation_can_be_rolled_back(scene: Scene) -> None:
    scene.version("1.1.0")
    refused = scene.version("1.1.0", auc=0.6)
    assert refused is not None
    assert refused.status is Status.REFUSED, "its new evidence is refused, as before"
    scene.give(OrderKind.HOLD)
    assert scene.build().status is Status.PUBLISHED, "an order about the product is followed all the same"
    assert scene.statement()["gates"][0]["passed"] is True, "on the evidence that it went live with"
    scene.give(OrderKind.ROLLBACK)
    assert scene.build().status is Status.PUBLISHED
    assert scene.statement()["version"] == "1.0.0"


def test_a_declared_canary_begins_at_its_first_share_and_survives_builds(scene: Scene) -> None:
    scene.declare(Rollout(kind=RolloutKind.CANARY))
    scene.version("1.1.0")
    policy = read_deployment(scene.lake, PRODUCT).policy
    assert isinstance(policy, Canary)
    assert (policy.live, policy.candidate, policy.share) == ("1.0.0", "1.1.0", 0.05)
    before = scene.statement()
    scene.version("1.2.0")
    now = scene.statement()
    assert (now["policy"], now["rollout"], now["waits"]) == (before["policy"], before["rollout"], "1.2.0")
    assert {name: gate[0]["passed"] for name, gate in ((n, v["gates"]) for n, v in now["versions"].items())} == {
        "1.0.0": True,
        "1.1.0": True,
    }


def test_a_canary_whose_gates_fail_is_the_one_that_is_refused(scene: Scene) -> None:
    scene.declare(Rollout(kind=RolloutKind.CANARY))
    outcome = scene.version("1.1.0", auc=0.6)
    assert outcome is not None
    assert (outcome.status, outcome.facts["introduced"]) == (Status.REFUSED, ["1.1.0"])


def test_an_order_that_things_overtook_is_heard_once_and_the_refusal_kept(scene: Scene) -> None:
    scene.version("1.1.0")
    late = scene.give(OrderKind.RETIRE, "1.1.0", check=False)
    scene.build()
    assert "it is in service" in scene.statement()["refused"][late.id]
    assert scene.build().status is Status.UNCHANGED


def test_an_order_is_checked_against_orders_that_no_release_has_heard_yet(scene: Scene) -> None:
    scene.version("1.1.0")
    scene.give(OrderKind.ROLLBACK)
    with pytest.raises(OrderRefusedError, match="live already"):
        scene.give(OrderKind.ROLLBACK, "1.0.0")


def test_a_policy_that_the_service_cannot_read_reaches_nobody(scene: Scene) -> None:
    scene.version("1.1.0")
    strange = {"kind": "canary", "live": "1.0.0", "candidate": "1.1.0", "share": 0.1, "colour": "red"}
    scene.give(OrderKind.PROMOTE, "1.1.0", check=False, policy=strange)
    outcome = scene.build()
    assert outcome.status is Status.REFUSED
    assert [check.name for check in outcome.checks if not check.passed] == ["policy_can_be_served"]


CANARY = {"kind": "canary", "live": "1.0.0", "candidate": "1.1.0", "share": 0.5}


@pytest.fixture
def served(tmp_path: Path) -> Scene:
    """Real bundles: requests to 1.0.0 hold who, x, kind and order; those to 1.1.0 `extra` too, by which the product draws."""
    labels = Labels(path=f"{PRODUCT}/labels", key=("order",), time="at", label="late")
    model = Model(features=("x", "kind", "extra", "who"))
    serving = Serving(assign_by=("who", "extra"), redacted=("extra", "kind"))
    declared = replace(FLIGHTS, labels=labels, model=model, serving=serving, features=(), streams=(), on_demand=())
    made = Scene(tmp_path / "state", declared)
    made.version("1.0.0", bundle=bundle(tmp_path / "bundle-1", slope=1))
    made.version("1.1.0", bundle=bundle(tmp_path / "bundle-2", slope=7, more=("extra",)))
    return made


def test_a_policy_that_draws_by_what_its_first_version_is_not_told_is_refused(served: Scene) -> None:
    with pytest.raises(OrderRefusedError, match="draws by extra, which requests to its first version"):
        served.give(OrderKind.PROMOTE, "1.1.0", policy=CANARY)
    served.give(OrderKind.PROMOTE, "1.1.0", check=False, policy=CANARY)
    outcome = served.build()
    assert outcome.status is Status.REFUSED
    (failed,) = [check for check in outcome.checks if not check.passed]
    assert failed.name == "policy_can_be_served"
    assert served.statement()["policy"] == "all-at-once"


def test_what_stands_is_held_and_taken_back_whatever_it_draws_by(served: Scene) -> None:
    """A release of before the field was declared stands with a policy that no order may bring in any more."""
    served.product = replace(served.product, serving=Serving(assign_by=("who",)))
    served.declare()
    served.give(OrderKind.PROMOTE, "1.1.0", policy=CANARY)
    assert served.build().status is Status.PUBLISHED
    served.product = replace(served.product, serving=Serving(assign_by=("who", "extra")))
    served.declare()
    served.give(OrderKind.HOLD)
    assert served.build().status is Status.PUBLISHED
    served.give(OrderKind.ROLLBACK)
    assert served.build().status is Status.PUBLISHED
    assert served.statement()["policy"] == "all-at-once"


def test_a_policy_whose_first_version_is_told_all_it_draws_by_is_released(served: Scene) -> None:
    served.give(OrderKind.PROMOTE, "1.1.0", policy={**CANARY, "live": "1.1.0", "candidate": "1.0.0"})
    assert served.build().status is Status.PUBLISHED
    assert served.statement()["serving"]["redacted"] == ["extra", "kind"]


def test_a_field_that_only_the_newer_version_has_keeps_nobody_from_going_back(served: Scene) -> None:
    assert served.statement()["serving"]["redacted"] == ["extra", "kind"]
    served.give(OrderKind.ROLLBACK)
    assert served.build().status is Status.PUBLISHED
    assert (served.statement()["version"], served.statement()["serving"]["redacted"]) == ("1.0.0", ["kind"])


def changed(tmp_path: Path, view: FeatureView, rollout: Rollout) -> Scene:
    """1.0.0 is live and reads a view as it was; 2.0.0 comes in by degrees and reads it as it is declared and published now."""
    labels = Labels(path=f"{PRODUCT}/labels", key=("order",), time="at", label="late")
    declared = replace(
        FLIGHTS, labels=labels, model=Model(features=("x", "kind")), serving=Serving(), features=(SERVED,), streams=(), on_demand=()
    )  # fmt: skip
    scene = Scene(tmp_path / "state", declared)
    publish_online(scene, SERVED)
    scene.version("1.0.0", bundle=bundle(tmp_path / "bundle-1", slope=1))
    scene.product = replace(declared, features=(view,), rollout=rollout)
    scene.declare()
    publish_online(scene, view)
    scene.version("2.0.0", bundle=bundle(tmp_path / "bundle-2", slope=7, views=(view,)), build=False)
    return scene


def publish_online(scene: Scene, view: FeatureView) -> None:
    source = scene.state / f"online-{len(view.features)}-{view.features[0]}"
    source.mkdir()
    frame = rows(("ann", 1, 1, 10)).with_columns(double=pl.col("value") * 2)
    write_content(prepare([(FeatureTable(view=view, rows=frame), "d")], since=hour(0)), source)
    scene._publish("online_features", lambda tx, path: tx.write_folder(path, source), {})


SHADOW, ALL = Rollout(kind=RolloutKind.CANARY, shadow_first=True), Rollout()
BOTH = {"kind": "shadow", "live": "1.0.0", "shadows": ["2.0.0"]}


def test_a_version_whose_view_gained_a_column_begins_in_the_shadow(tmp_path: Path) -> None:
    """It was released so before, and never served."""
    scene = changed(tmp_path, WIDER, SHADOW)
    assert scene.build().status is Status.PUBLISHED
    found = read_deployment(scene.lake, PRODUCT)
    assert (set(found.models), found.online_commit) == ({"1.0.0", "2.0.0"}, "")


def test_versions_that_no_features_answer_together_are_refused_as_one_policy(tmp_path: Path) -> None:
    """The rollout was released, never served, and waited two weeks for a person."""
    scene = changed(tmp_path, REPLACED, SHADOW)
    outcome = scene.build()
    assert outcome.status is Status.REFUSED
    (failed,) = [check for check in outcome.checks if not check.passed]
    assert failed.name == "policy_can_be_served"
    assert failed.facts["unanswerable"].startswith("1.0.0: view 'history' gives ('h_double',)")
    with pytest.raises(OrderRefusedError, match=r"No online features of 'flights'.*Promote one version to everything"):
        scene.give(OrderKind.PROMOTE, "2.0.0", policy=BOTH)
    scene.give(OrderKind.PROMOTE, "2.0.0")
    assert scene.build().status is Status.PUBLISHED
    scene.give(OrderKind.ROLLBACK)
    assert scene.build().status is Status.PUBLISHED
    found = read_deployment(scene.lake, PRODUCT)
    assert (set(found.models), found.online_commit != "") == ({"1.0.0"}, True)


def test_versions_that_only_older_features_answer_together_are_released(tmp_path: Path) -> None:
    scene = changed(tmp_path, WIDER, ALL)
    scene.build()
    narrower = replace(scene.product, features=(REPLACED,))
    scene.product = narrower
    scene.declare()
    publish_online(scene, REPLACED)
    scene.version("3.0.0", bundle=bundle(tmp_path / "bundle-3", slope=11, views=(REPLACED,)))
    scene.give(OrderKind.PROMOTE, "3.0.0", policy={"kind": "shadow", "live": "2.0.0", "shadows": ["3.0.0"]})
    assert scene.build().status is Status.PUBLISHED
    found = read_deployment(scene.lake, PRODUCT)
    assert (set(found.models), found.online_commit != "") == ({"2.0.0", "3.0.0"}, True)


def test_what_a_product_promises_reaches_the_service_with_the_next_build(served: Scene) -> None:
    assert served.statement()["serving"]["latency_seconds"] == 0.1, "the usual"
    served.product = replace(served.product, service_levels=ServiceLevels(latency=timedelta(milliseconds=25)))
    served.declare()
    assert served.build().status is Status.PUBLISHED
    assert served.statement()["serving"]["latency_seconds"] == 0.025
    assert served.build().status is not Status.PUBLISHED, "nothing changed"


def test_orders_are_rows_that_a_build_keeps(scene: Scene) -> None:
    order = scene.give(OrderKind.HOLD)
    rows = scene.lake.at("main").table(f"{PRODUCT}/release_orders")
    assert dict(rows.collect_schema()) == dict(SCHEMA)
    assert read_orders(rows) == (order,)
    assert materialize(scene.lake, scene.orders, run=Run()).status is Status.UNCHANGED
    policy = {"kind": "all-at-once", "live": "1.0.0"}
    more = Order(id="b", time=NOW, order=OrderKind.PROMOTE, version="1.0.0", policy=policy, reason="x", actor="y")
    assert read_orders(write_orders(more).lazy()) == (more,)


def test_who_is_overtaken_by_another_order_tries_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.release_orders._TRIES", 3)
    overtaken: list[Order] = []

    def made(snapshot: Snapshot, id: str) -> Order:
        if len(overtaken) < 2:
            overtaken.append(scene.give(OrderKind.HOLD, check=False))
        return Order(id=id, time=NOW, order=OrderKind.RESUME, reason="x", actor="user:bob")

    mine = give_order(scene.lake, scene.orders, made, into="main", now=lambda: NOW)
    rows = read_orders(scene.lake.at("main").table(f"{PRODUCT}/release_orders"))
    assert {order.id for order in rows} == {mine.id, *(order.id for order in overtaken)}

    def always(snapshot: Snapshot, id: str) -> Order:
        scene.give(OrderKind.HOLD, check=False)
        return Order(id=id, time=NOW, order=OrderKind.RESUME, reason="x", actor="user:bob")

    with pytest.raises(MergeConflictError):
        give_order(scene.lake, scene.orders, always, into="main", now=lambda: NOW)


def test_a_release_of_an_older_headwater_is_followed_from_its_history(scene: Scene) -> None:
    """It said version, policy and evidence, and nothing of what was live before."""
    scene.version("1.1.0")
    old = scene.statement()
    kept = ("version", "policy", "data_version", "evidence", "gates", "traffic", "product", "risk", "serving")
    content = {name: old[name] for name in kept}
    source = scene.state / "older"
    source.mkdir()
    (source / "release.json").write_text(json.dumps(content))
    (source / "run.json").write_text(scene.file("run.json"))
    with scene.lake.transaction() as tx:
        tx.write_folder(f"{PRODUCT}/release", source, identity=("release.json",))
        tx.publish(message="As it was", provenance=None)
    assert release_history(scene.lake, PRODUCT)[-1].version == "1.1.0"
    scene.give(OrderKind.ROLLBACK)
    scene.build()
    assert scene.statement()["version"] == "1.0.0"


def test_orders_are_heard_as_they_were_given_whatever_the_clocks_say(scene: Scene) -> None:
    held, resumed = (
        scene.give(OrderKind.HOLD),
        scene.give(OrderKind.RESUME),
    )  # both at one instant, by the scene's clock
    assert held.time < resumed.time
    scene.build()
    assert (scene.statement()["held"], scene.statement()["refused"]) == ("", {})


def test_two_who_roll_back_at_once_go_back_once(scene: Scene) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        scene.version(version)
    first: list[Order] = []

    def quicker() -> None:
        if not first:
            first.append(scene.give(OrderKind.ROLLBACK))

    with pytest.raises(OrderRefusedError, match="it is live already"):
        scene.give(OrderKind.ROLLBACK, overtaken_by=quicker)
    assert first[0].version == "1.1.0"
    scene.build()
    assert (scene.statement()["version"], set(scene.statement()["barred"])) == ("1.1.0", {"1.2.0"})
    assert scene.give(OrderKind.ROLLBACK).version == "1.0.0", "who sees 1.1.0 live and goes back means the one before"


def test_an_order_that_no_release_has_heard_yet_is_not_gone_back_behind(scene: Scene) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        scene.version(version)
    assert scene.give(OrderKind.ROLLBACK).version == "1.1.0"
    with pytest.raises(OrderRefusedError, match="it is live already"):
        scene.give(OrderKind.ROLLBACK)


def test_the_history_says_by_whose_word_it_went_back_though_somebody_held_meanwhile(scene: Scene) -> None:
    for version in ("1.0.0", "1.1.0"):
        scene.version(version)
    scene.give(OrderKind.HOLD)
    scene.step(RolloutStep(id="x", candidate="1.1.0", action=StepAction.ABORT, share=1.0, reason="40 of 100 failed"))
    scene.build()
    last = release_history(scene.lake, PRODUCT)[-1]
    assert (last.version, last.actor, [order["order"] for order in last.orders]) == ("1.0.0", "rollout", ["hold"])
    assert "40 of 100 failed" in last.reason
    scene.give(OrderKind.RESUME)
    scene.build()
    assert release_history(scene.lake, PRODUCT)[-1].actor == "user:ada", "nothing else happened"


def test_the_history_does_not_follow_an_order_that_was_refused_when_it_was_heard(scene: Scene) -> None:
    for version in ("1.0.0", "1.1.0"):
        scene.version(version)
    scene.give(OrderKind.RETIRE, "1.0.0")
    scene.give(OrderKind.PROMOTE, "1.0.0", check=False, reason="it was better")
    scene.build()
    last = release_history(scene.lake, PRODUCT)[-1]
    assert (last.version, last.reason) == ("1.1.0", "because"), "the retirement's"
    assert [order["order"] for order in last.orders] == ["retire", "promote"]
    assert list(scene.statement()["refused"]) == [last.orders[1]["id"]]
