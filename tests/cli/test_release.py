"""`headwater release ...` over a lake that holds published versions of flights."""

import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from headwater.cli import cli
from headwater.decisions import OrderKind
from headwater.errors import HeadwaterError
from headwater.lake import Retention
from headwater.product import Serving
from headwater.registry import ModelNotFoundError, model_version
from headwater.release_history import live_at, release_history
from serving.policies import from_json, to_json
from serving.retired_calls import RETIRED_FILE, RetiredCalls
from tests.assets.test_release import CANARY
from tests.assets.test_release import served as served
from tests.release_scene import GATE, PRODUCT, Scene

ROOT = Path(__file__).parents[2]
REFUSALS = f"{PRODUCT}/release_refusals"


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    monkeypatch.setenv("HEADWATER_BRANCH", "main")
    monkeypatch.delenv("HEADWATER_LAKE", raising=False)
    made = Scene(tmp_path)
    made.version("1.0.0")
    made.version("1.1.0")
    return made


def call(*words: str) -> Result:
    return CliRunner().invoke(cli, words, catch_exceptions=True)


def said(*words: str, code: int = 0) -> Any:
    done = call(*words, "--json")
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout)


def order(*words: str, code: int = 0) -> Any:
    return said("release", words[0], PRODUCT, *words[1:], "--reason", "because", code=code)


def refusal(*words: str) -> str:
    """What an order that cannot be given is answered."""
    done = call("release", words[0], PRODUCT, *words[1:])
    assert isinstance(done.exception, HeadwaterError), done.output
    return str(done.exception)


def test_roll_back_takes_effect_at_once_and_says_by_whose_word(scene: Scene) -> None:
    row = order("rollback")
    assert (row["version"], row["policy"], row["reason"], row["problem"]) == ("1.0.0", "all-at-once", "because", "")
    assert row["actor"].startswith("user:")
    assert (row["waits"], list(row["barred"])) == ("1.1.0", ["1.1.0"])
    newest = next(scene.lake.log("main", path=f"{PRODUCT}/release_orders"))
    assert newest.provenance is not None
    assert (newest.provenance.action, newest.provenance.actor) == ("order", row["actor"])
    assert newest.message == "Order: rollback 1.0.0 of flights: because"
    assert scene.build().status == "unchanged", "automation finds nothing to do"
    states = {one["version"]: one["state"] for one in said("model", "list")}
    assert states == {"1.0.0": "live", "1.1.0": "barred"}
    assert order("promote")["version"] == "1.1.0"


def test_status_shows_what_waits_and_since_when_something_is_live(scene: Scene) -> None:
    order("hold")
    scene.version("1.2.0")
    (row,) = said("release", "status", PRODUCT)
    since = [commit.id for commit in scene.lake.log("main", path=f"{PRODUCT}/release")][2]
    assert (row["version"], row["waits"], row["since_commit"]) == ("1.1.0", "1.2.0", since)
    assert "holds it: because" in row["waits_for"]
    row = order("resume")
    assert (row["version"], row["stage"]) == ("1.1.0", "1.2.0: shadow"), "flights lets a version in by degrees"
    assert row["stage_waits_for"] == "No answer of this stage was looked at yet."
    table = call("release", "status", PRODUCT).stdout
    assert "1.2.0" in table
    assert "shadow" in table


def test_history_tells_each_change_and_what_was_live_then(scene: Scene) -> None:
    order("rollback")
    order("hold")
    rows = said("release", "history", PRODUCT)
    assert [row["version"] for row in rows] == ["1.0.0", "1.1.0", "1.0.0", "1.0.0"]
    assert [[one["order"] for one in row["orders"]] for row in rows] == [[], [], ["rollback"], ["hold"]]
    assert [row["until"] for row in rows] == [*(row["from"] for row in rows[1:]), None]
    assert rows[1]["actor"] == "automation"
    assert rows[2]["reason"] == "because"
    (then,) = said("release", "history", PRODUCT, "--at", rows[2]["from"])
    assert then == rows[2]
    before = datetime.fromisoformat(rows[0]["from"]) - timedelta(seconds=1)
    assert said("release", "history", PRODUCT, "--at", before.isoformat()) == []
    assert "Nothing was live then." in call("release", "history", PRODUCT, "--at", "2013-07-01T12:00:00Z").stdout
    assert call("release", "history", PRODUCT, "--at", "yesterday").exit_code == 2
    naive = datetime.now(UTC).replace(tzinfo=None).isoformat()
    assert said("release", "history", PRODUCT, "--at", naive) == [rows[3]]
    later = call("release", "history", PRODUCT, "--at", "2099-01-01")
    assert (later.exit_code, "is to come" in later.output) == (2, True), "it said what would be live in 2099"


def test_history_of_a_reverted_release_says_what_stood_again(scene: Scene) -> None:
    newest = next(scene.lake.log("main", path=f"{PRODUCT}/release"))
    scene.lake.revert(newest.id, actor="user:bob")
    last = said("release", "history", PRODUCT)[-1]
    assert (last["version"], last["actor"]) == ("1.0.0", "user:bob")
    (row,) = said("release", "status", PRODUCT)
    assert row["version"] == "1.0.0"


def test_what_was_live_after_a_revert_is_told_when_its_content_was_collected(scene: Scene) -> None:
    """A nightly gc took the content of the revert, and `history --at` said that nothing was live while 1.0.0 was."""
    scene.lake.revert(next(scene.lake.log("main", path=f"{PRODUCT}/release")).id, actor="user:bob")
    scene.table("other", pl.DataFrame({"a": [1]}))
    scene.version("1.2.0")
    before = said("release", "history", PRODUCT)
    assert [row["version"] for row in before] == ["1.0.0", "1.1.0", "1.0.0", "1.2.0"]
    scene.lake.gc(grace=timedelta(0), retention=Retention(keep_commits=1))
    assert said("release", "history", PRODUCT) == before
    assert said("release", "history", PRODUCT, "--at", before[2]["from"]) == [before[2]]
    (reverted,) = (commit for commit in scene.lake.log("main") if commit.id == before[2]["commit"])
    assert json.loads(scene.file("release.json", reverted.id))["version"] == "1.0.0", "it is kept as a release is"


@pytest.mark.parametrize("is_told", [True, False])
def test_what_an_older_collection_took_is_told_by_the_records_or_said_to_be_unknown(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    """Lakes that were collected before reverts were kept: the record of the build with that data version tells; without one nobody."""
    released = [commit.id for commit in scene.lake.log("main", path=f"{PRODUCT}/release")]
    if is_told:
        scene.lake.revert(released[0], actor="user:bob")
    else:
        scene.lake.create_branch("dev")
        scene.version("1.2.0", build=False)
        with scene.lake.transaction(into="dev") as tx:
            shutil.copytree(scene.lake.at("main").folder(f"{PRODUCT}/release"), folder := scene.state / "by-hand")
            (folder / "release.json").write_text(scene.file("release.json").replace("1.1.0", "1.0.9"))
            tx.write_folder(f"{PRODUCT}/release", folder)
            tx.publish(message="By hand", provenance=None)
        scene.lake.merge("dev", into="main", message="Merge dev")
        scene.lake.delete_branch("dev")
    scene.table("other", pl.DataFrame({"a": [1]}))  # what the next version is made from is kept
    scene.version("1.3.0")
    by_hand = said("release", "history", PRODUCT)[2]["commit"]
    with monkeypatch.context() as older:
        older.setattr("headwater.lake._gc.RELEASE_ASSET", "no such name")
        scene.lake.gc(grace=timedelta(0), retention=Retention(keep_commits=1))
    with sqlite3.connect(scene.state / "lake" / "catalog.sqlite") as catalog:
        assert catalog.execute("UPDATE commits SET collected = 1 WHERE id = ?", (by_hand,)).rowcount == 1
    row = said("release", "history", PRODUCT)[2]
    assert (row["version"], row["known"]) == (("1.0.0", True) if is_told else (None, False))
    (then,) = said("release", "history", PRODUCT, "--at", row["from"])
    assert then == row
    shown = call("release", "history", PRODUCT, "--at", row["from"])
    assert "Nothing was live then." not in shown.output
    why = f"is not kept any more: the content of commit {row['commit'][:12]} was removed by `headwater lake gc`"
    assert (why in shown.stderr) == (not is_told)


def test_a_first_release_that_was_reverted_left_nothing_live(tmp_path: Path, scene: Scene) -> None:
    """Nothing is what is known there, not what is lost."""
    history = said("release", "history", PRODUCT)
    fresh = Scene(tmp_path / "fresh")
    fresh.version("1.0.0")
    fresh.lake.revert(next(fresh.lake.log("main", path=f"{PRODUCT}/release")).id)
    spans = release_history(fresh.lake, PRODUCT)
    assert [(span.version, span.known) for span in spans] == [("1.0.0", True), (None, True)]
    assert live_at(spans, datetime.now(UTC)) is None
    assert [row["known"] for row in history] == [True, True]


def test_a_version_whose_gates_failed_is_not_promoted_and_the_gate_is_named(scene: Scene) -> None:
    refused = scene.version("1.2.0", auc=0.61)
    assert refused is not None
    assert refused.status == "refused"
    assert {one["version"]: one["state"] for one in said("model", "list")}["1.2.0"] == "refused"
    before = scene.lake.resolve("main").id
    assert f"gate {GATE} failed: auc is 0.6" in refusal("promote", "--to", "1.2.0", "--reason", "x")
    assert changed(scene, before) == [REFUSALS]


def changed(scene: Scene, since: str) -> list[str]:
    """The paths that main has changed."""
    return [change.path for change in scene.lake.diff(since, "main").changes]


def test_decisions_tell_each_change_of_the_release_as_its_history_does(scene: Scene) -> None:
    """A hold was told as a release with the reason of the first one, and a revert as `Every gate held.`"""
    scene.lake.revert(scene.lake.last_write("main", f"{PRODUCT}/release").id, actor="user:bob")
    scene.version("1.2.0")
    for kind, version in (
        (OrderKind.ROLLBACK, None), (OrderKind.HOLD, None), (OrderKind.RESUME, None), (OrderKind.DEPRECATE, "1.1.0"),
        (OrderKind.PROMOTE, "1.2.0"), (OrderKind.HOLD, None),
    ):  # fmt: skip
        scene.give(kind, version, reason=f"{kind} it")
        scene.build()
    scene.lake.revert(scene.lake.last_write("main", f"{PRODUCT}/release").id, message="Too early", actor="user:bob")
    rows, spans = decisions(), said("release", "history", PRODUCT)
    told = ("commit", "action", "changed", "version", "policy", "reason", "actor", "order")
    assert [{name: row[name] for name in told} for row in rows] == [{name: one[name] for name in told} for one in spans]
    assert {row["kind"] for row in rows} == {"release"}
    assert [(row["action"], row["version"], row["changed"], row["actor"]) for row in rows] == [
        ("release", "1.0.0", True, "automation"),
        ("release", "1.1.0", True, "automation"),
        ("revert", "1.0.0", True, "user:bob"),
        ("release", "1.2.0", True, "automation"),
        ("rollback", "1.0.0", True, "user:ada"),
        ("hold", "1.0.0", False, "user:ada"),
        ("resume", "1.0.0", False, "user:ada"),
        ("deprecate", "1.0.0", False, "user:ada"),
        ("promote", "1.2.0", True, "user:ada"),
        ("hold", "1.2.0", False, "user:ada"),
        ("revert", "1.2.0", False, "user:bob"),
    ]
    assert rows[2]["reason"].startswith("Revert ")
    assert [row["reason"] for row in rows[4:]] == [
        *("rollback it", "hold it", "resume it", "deprecate it", "promote it", "hold it"), "Too early",
    ]  # fmt: skip
    assert [row["order"]["order"] for row in rows if row["order"]] == [row["action"] for row in rows[4:-1]]
    assert [row["rule"] for row in rows] == ["gates", "gates", "revert", "gates", *["order"] * 6, "revert"]


def test_a_reason_with_brackets_is_shown_as_it_was_written(scene: Scene) -> None:
    """`[/tmp/x]` broke every later table of that release, and `[incident]` was left out: they were read as markup."""
    order("hold")
    for reason in ("see [incident] 42", "fixed in [/tmp/x]"):
        done = call("release", "resume" if "x" in reason else "hold", PRODUCT, "--reason", reason)
        assert done.exit_code == 0, (done.output, done.exception)
    for words in (("release", "history", PRODUCT), ("decisions", "--product", PRODUCT)):
        done = call(*words)
        assert done.exit_code == 0, (done.output, done.exception)
        assert "see [incident] 42" in done.stdout
        assert "fixed in [/tmp/x]" in done.stdout


def test_a_refused_order_stays_on_record_with_who_gave_it_and_what_stood_against_it(scene: Scene) -> None:
    """An order that could not be followed left no trace: nobody could see afterwards who had tried to promote what."""
    scene.version("1.2.0", auc=0.61)
    refusal("promote", "--to", "1.2.0", "--reason", "I like it")
    refusal("rollback", "--to", "9.9.9", "--reason", "x")
    order("rollback")
    refusal("rollback", "--reason", "again")
    rows = [row for row in decisions() if row["action"] == "refuse" and row["order"]]
    assert [(row["action"], row["rule"]) for row in rows] == [
        ("refuse", "gates"), ("refuse", "published"), ("refuse", "version"),
    ]  # fmt: skip
    first = rows[0]
    assert (first["kind"], first["version"], first["order"]["reason"]) == ("release", "1.2.0", "I like it")
    assert first["order"]["order"] == "promote"
    assert first["actor"].startswith("user:")
    assert f"gate {GATE} failed" in first["reason"]
    assert first["evidence"]["judged"]["1.2.0"]["version"] == "1.2.0"
    assert first["evidence"]["release"]["version"] == "1.1.0"
    assert scene.lake.at(first["commit"]).has(f"{PRODUCT}/release")
    found = [row["recorded"] for row in decisions()]
    assert found == sorted(found)


def test_a_failed_gate_stays_on_record_when_its_branch_is_gone(scene: Scene) -> None:
    """`headwater decisions` read it off the branch, which people delete."""
    refused = scene.version("1.2.0", auc=0.61)
    assert refused is not None
    assert refused.branch is not None
    (row,) = [row for row in decisions() if row["action"] == "refuse"]
    assert (row["version"], row["rule"], row["commit"]) == ("1.2.0", GATE, refused.commit)
    assert row["evidence"]["checks"][GATE]["gate"] == GATE
    assert row["evidence"]["metrics"]["auc"]["value"] == 0.61
    assert f"{PRODUCT}/evaluation" in row["inputs"]
    assert call("lake", "branches", "--delete", refused.branch).exit_code == 0
    assert [one for one in decisions() if one["action"] == "refuse"] == [row]
    assert {one["version"]: one["state"] for one in said("model", "list")}["1.2.0"] == "refused"
    assert "1.2.0" in call("decisions", "--product", PRODUCT).stdout


def test_a_refused_build_that_was_not_put_on_record_is_read_off_its_branch(scene: Scene) -> None:
    """As after a kill right behind the refusal, or from an older Headwater."""
    refused = scene.version("1.2.0", auc=0.61)
    assert refused is not None
    scene.lake.revert(scene.lake.last_write("main", REFUSALS).id)
    (row,) = [row for row in decisions() if row["action"] == "refuse"]
    assert (row["version"], row["rule"], row["commit"]) == ("1.2.0", GATE, refused.commit)


def test_an_order_that_cannot_be_followed_when_it_is_heard_is_a_decision_too(scene: Scene) -> None:
    given = scene.give(OrderKind.PROMOTE, "9.9.9", check=False)
    scene.build()
    (row,) = [row for row in decisions() if row["action"] == "refuse"]
    assert (row["version"], row["actor"], row["order"]["id"]) == ("9.9.9", "user:ada", given.id)
    assert "no such version was published" in row["reason"]


def decisions() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = said("decisions", "--product", PRODUCT)
    return found


def test_a_roll_back_is_published_while_the_newest_version_fails_its_gates(scene: Scene) -> None:
    scene.version("1.2.0", auc=0.61)
    row = order("rollback")
    assert (row["version"], row["waits"]) == ("1.0.0", "1.2.0")
    assert scene.statement()["gates"][0]["passed"] is True
    assert scene.build().status == "unchanged"


def test_what_cannot_be_is_refused_with_a_remedy_and_changes_nothing(scene: Scene, tmp_path: Path) -> None:
    before = scene.lake.resolve("main").id
    shares = '{"kind": "ab-test", "salt": "s", "shares": {"1.0.0": 0.5, "1.1.0": 0.6}}'
    assert "together 1.1. Let them add up to 1." in refusal("promote", "--policy", shares, "--reason", "x")
    salted = '{"kind": "ab-test", "shares": {"1.0.0": 1.0}, "salt": 2026}'
    assert "its salt is 2026, no text" in refusal("promote", "--policy", salted, "--reason", "x")
    assert "`headwater model list` shows all" in refusal("promote", "--to", "9.9.9", "--reason", "x")
    assert "has no reason" in refusal("hold", "--reason", " ")
    assert "in service" in refusal("retire", "--version", "1.1.0", "--reason", "x")
    for policy in ("{", "nowhere.json", "[1]", '{"a":' * 20_000, f'{{"a": {"9" * 5_000}}}'):
        assert call("release", "promote", PRODUCT, "--policy", policy, "--reason", "x").exit_code == 2
    assert call("release", "promote", PRODUCT).exit_code == 2, "a reason is needed"
    assert call("release", "retire", PRODUCT, "--reason", "x").exit_code == 2, "a version is needed"
    assert changed(scene, before) == [REFUSALS]


def test_a_policy_comes_from_a_file_and_stands(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text('{"kind": "canary", "live": "1.0.0", "candidate": "1.1.0", "share": 0.25, "salt": "may"}')
    row = order("promote", "--to", "1.1.0", "--policy", str(file))
    assert (row["version"], row["traffic"]) == ("1.0.0", {"1.0.0": 0.75, "1.1.0": 0.25})
    scene.version("1.2.0")
    (row,) = said("release", "status", PRODUCT)
    assert (row["policy"]["share"], row["waits"]) == (0.25, "1.2.0")
    assert "canary 25% 1.1.0" in call("release", "status", PRODUCT).stdout
    assert order("rollback")["version"] == "1.1.0", "what answered everything before the policy"


def test_retired_versions_are_named_and_their_state_is_shown(scene: Scene) -> None:
    order("deprecate", "--version", "1.1.0")
    row = order("retire", "--version", "1.0.0")
    assert (list(row["deprecated"]), list(row["retired"])) == (["1.1.0"], ["1.0.0"])
    assert {one["version"]: one["state"] for one in said("model", "list")} == {"1.0.0": "retired", "1.1.0": "live"}
    assert "nothing was live before" in refusal("rollback", "--reason", "x")


def test_orders_of_several_people_at_once_are_all_kept(scene: Scene) -> None:
    words = [sys.executable, "-m", "headwater.cli", "release"]
    asked = [["rollback", PRODUCT], ["deprecate", PRODUCT, "--version", "1.1.0"]]
    started = [
        subprocess.Popen([*words, *one, "--reason", "x", "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for one in asked
    ]
    given = {json.loads(process.communicate(timeout=120)[0])["order"]["id"] for process in started}
    assert [process.returncode for process in started] == [0, 0]
    statement = scene.statement()
    assert set(statement["heard"]) == given
    assert (statement["version"], list(statement["deprecated"])) == ("1.0.0", ["1.1.0"])
    again = subprocess.run([*words, *asked[0], "--reason", "x"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (again.returncode, "nothing was live before 1.0.0" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    "words",
    [("rollback",), ("rollback", "--to", "1.0.0"), ("promote", "--to", "1.0.0")],
    ids=lambda words: " ".join(words),
)
def test_what_was_ordered_and_interrupted_is_followed_when_it_is_ordered_again(
    scene: Scene, words: tuple[str, ...]
) -> None:
    """It was refused as live already, while the version that was to go answered on."""
    given = scene.give(OrderKind.ROLLBACK)
    (row,) = said("release", "status", PRODUCT)
    assert (row["version"], [one["id"] for one in row["ordered"]]) == ("1.1.0", [given.id])
    assert "rollback 1.0.0 was ordered by" in call("release", "status", PRODUCT).stderr
    row = order(*words)
    assert (row["version"], row["ordered"], row["order"]["id"], row["problem"]) == ("1.0.0", [], given.id, "")
    assert scene.statement()["heard"] == [given.id], "nothing was ordered twice"
    assert [row["action"] for row in decisions() if row["action"] == "refuse"] == []


def test_an_order_that_became_impossible_while_it_waited_is_told_so_when_it_is_ordered_again(
    served: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told to be live so already, and that nothing needs to be done, while the release was refused."""
    served.product = replace(served.product, serving=Serving(assign_by=("who",)))
    served.declare()
    given = served.give(OrderKind.PROMOTE, "1.1.0", policy=to_json(from_json(CANARY)))
    served.product = replace(served.product, serving=Serving(assign_by=("who", "extra")))
    served.declare()
    monkeypatch.setenv("HEADWATER_STATE", str(served.state))
    monkeypatch.setattr("assets._products.product", lambda name: served.product)
    monkeypatch.setattr("headwater.cli._release._assets", lambda product: (served.orders, served.released))
    row = order("promote", "--policy", json.dumps(CANARY), code=1)
    assert (row["policy"], row["order"]["id"]) == ("all-at-once", given.id)
    assert "the release was refused: policy_can_be_served" in row["problem"]
    assert [one["rule"] for one in decisions() if one["action"] == "refuse"] == ["policy_can_be_served"]


def test_a_release_that_is_refused_for_one_order_says_nothing_of_another_one(
    served: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who resumed what nobody held was told that it had been ordered before, as a promotion, and no refusal was kept."""
    served.product = replace(served.product, serving=Serving(assign_by=("who",)))
    served.declare()
    served.give(OrderKind.PROMOTE, "1.1.0", policy=to_json(from_json(CANARY)))
    served.product = replace(served.product, serving=Serving(assign_by=("who", "extra")))
    served.declare()
    monkeypatch.setenv("HEADWATER_STATE", str(served.state))
    monkeypatch.setattr("assets._products.product", lambda name: served.product)
    monkeypatch.setattr("headwater.cli._release._assets", lambda product: (served.orders, served.released))
    assert "nothing is held" in refusal("resume", "--reason", "x")
    kept = [one for one in decisions() if one["action"] == "refuse"]
    assert "changes_nothing" in [one["rule"] for one in kept]


def test_an_order_that_waits_excuses_no_other_one(scene: Scene) -> None:
    scene.give(OrderKind.RETIRE, "1.0.0")
    assert "it is live already" in refusal("rollback", "--to", "1.1.0", "--reason", "x")
    scene.build()
    assert "it is live already" in refusal("rollback", "--to", "1.1.0", "--reason", "x")


def test_who_stops_the_command_learns_that_the_order_stands(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("headwater.cli._release.built_until_heard", stopped)
        done = call("release", "rollback", PRODUCT, "--reason", "it errs")
    assert done.exit_code != 0
    assert "The order is written: rollback 1.0.0." in done.stderr
    assert order("rollback")["version"] == "1.0.0"


def test_before_the_first_release_nothing_can_be_ordered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    Scene(tmp_path).version("1.0.0", build=False)
    assert "Build it first: `headwater build flights`" in refusal("hold", "--reason", "x")
    (row,) = said("release", "status", PRODUCT)
    assert row["version"] is None
    assert {"held", "barred", "since", "stage", "ordered"} <= row.keys(), "the same names as after it"
    assert said("release", "history", PRODUCT) == []


def test_who_still_calls_a_version_is_known_whether_it_answers_or_not(scene: Scene) -> None:
    assert said("release", "callers", PRODUCT) == []
    assert "Nobody called." in call("release", "callers", PRODUCT).stdout
    order("deprecate", "--version", "1.1.0")
    order("retire", "--version", "1.0.0")
    start = datetime(2026, 5, 1, tzinfo=UTC)
    rows = [("1.1.0", "desk", 1), ("1.1.0", "desk", 2), ("1.1.0", "", 3), ("1.0.0", "desk", 0)]
    frame = pl.DataFrame([{"version": v, "caller": c, "received": start + timedelta(hours=h)} for v, c, h in rows])
    with scene.lake.transaction() as tx:
        tx.write_table(f"{PRODUCT}/predictions", frame)
        tx.publish(message="answers", provenance=None)
    refused = RetiredCalls(scene.state / "serving" / "log" / RETIRED_FILE)
    for _ in range(2):
        refused.note(PRODUCT, "1.0.0", "desk")
    refused.keep()
    found = [
        (row["version"], row["caller"], row["state"], row["answered"], row["refused"])
        for row in said("release", "callers", PRODUCT)
    ]
    assert found == [("1.0.0", "desk", "retired", 1, 2), ("1.1.0", "", "live", 1, 0), ("1.1.0", "desk", "live", 2, 0)]
    (row,) = said("release", "callers", PRODUCT, "--version", "1.1.0", "--since", "2026-05-01T02:30:00")
    assert (row["caller"], row["answered"]) == ("", 1)
    assert "(no key)" in call("release", "callers", PRODUCT).stdout
    assert call("release", "callers", PRODUCT, "--since", "soon").exit_code == 2
    assert said("release", "callers", PRODUCT, "--version", "1.1.0", "--since", "2026-05-03T00:00:00") == []
    unknown = call("release", "callers", PRODUCT, "--version", "9")
    assert isinstance(unknown.exception, ModelNotFoundError), "`Nobody called.` of what nobody published is no evidence"


def test_who_asks_by_name_for_a_version_that_is_not_served_is_shown_apart(scene: Scene) -> None:
    """Between its deprecation and its retirement nobody is served a version, and `Nobody called.` was said of it."""
    order("deprecate", "--version", "1.0.0")
    counts = RetiredCalls(scene.state / "serving" / "log" / RETIRED_FILE)
    for _ in range(3):
        counts.note(PRODUCT, "1.0.0", "desk", is_retired=False)
    counts.keep()
    (row,) = said("release", "callers", PRODUCT, "--version", "1.0.0")
    told = ("caller", "state", "answered", "refused", "not_served")
    assert [row[name] for name in told] == ["desk", "deprecated", 0, 0, 3]
    order("retire", "--version", "1.0.0")
    counts.note(PRODUCT, "1.0.0", "desk")
    counts.keep()
    (row,) = said("release", "callers", PRODUCT, "--version", "1.0.0")
    assert [row[name] for name in told] == ["desk", "retired", 0, 1, 3]


def test_who_called_before_answers_were_dropped_is_said_to_be_unknown(scene: Scene, tmp_path: Path) -> None:
    """`Nobody called.`, of a version that somebody called the month before: that is no evidence for its retirement."""
    rows = {"version": ["1.1.0"], "caller": ["desk"], "received": [datetime(2026, 5, 9, tzinfo=UTC)]}
    positions = tmp_path / "positions"
    positions.mkdir()
    (positions / "positions.json").write_text('{"positions": {"dropped_until": "2026-05-02T10:00:00+00:00"}}')
    with scene.lake.transaction() as tx:
        tx.write_table(f"{PRODUCT}/predictions", pl.DataFrame(rows))
        tx.write_folder(f"{PRODUCT}/predictions.positions", positions)
        tx.publish(message="answers", provenance=None)
    told = "Answers that came in up to 2026-05-02T10:00:00+00:00 are no longer kept (Serving.keep)"
    assert told in call("release", "callers", PRODUCT, "--version", "1.0.0").stderr
    assert told in call("release", "callers", PRODUCT, "--since", "2026-05-01").stderr
    assert told not in call("release", "callers", PRODUCT, "--since", "2026-05-03").stderr
    assert [row["version"] for row in said("release", "callers", PRODUCT)] == ["1.1.0"]


def test_a_retired_version_is_kept_by_every_retention(scene: Scene) -> None:
    order("retire", "--version", "1.0.0")
    for number in range(5):
        scene.version(f"1.2.{number}", build=False)
    scene.lake.gc(grace=timedelta(0), retention=Retention(keep_commits=1))
    there = model_version(scene.lake, f"{PRODUCT}@1.0.0")
    assert there.state == "retired"
    assert "1.0.0" in (scene.lake.at(there.commit).folder(f"{PRODUCT}/model") / "content.json").read_text()
    assert scene.lake.verify().clean


def test_a_test_of_versions_says_how_it_stands(scene: Scene, tmp_path: Path) -> None:
    policy = tmp_path / "spring.json"
    policy.write_text(json.dumps({"kind": "ab-test", "shares": {"1.0.0": 0.5, "1.1.0": 0.5}, "salt": "spring"}))
    row = order("promote", "--to", "1.1.0", "--policy", str(policy))
    assert (row["stage"], row["stage_waits_for"]) == (
        "1.0.0, 1.1.0: ab-test",
        "No answer under this policy was looked at yet.",
    )
    standing = {"policy": row["policy"], "order": row["order"]["id"]}
    document = {"reason": "loss of 1.1.0 against 1.0.0", "evidence": {"standing": standing}}
    scene._folder("experiment", document, {}, "decision.json")
    assert said("release", "status", PRODUCT)[0]["stage_waits_for"] == "loss of 1.1.0 against 1.0.0"
    assert order("rollback")["stage"] == ""
