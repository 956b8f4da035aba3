"""`headwater lake ...` over a built lake, as real processes: what each says, writes and refuses."""

import json
import os
import stat
import subprocess
from pathlib import Path

import polars as pl
import pytest

from headwater.lake import EmbeddedLake
from tests.scenarios.workshop import PRODUCT, Workshop

RELEASE = f"{PRODUCT}/release"


def said(workshop: Workshop, *words: str, code: int = 2) -> str:
    done = workshop.run(*words, code=code)
    assert done.stderr.count("\n") <= 4, done.stderr
    return done.stderr


def test_log_and_show_tell_one_story(built: Workshop) -> None:
    rows = built.json("lake", "log")
    shown = built.json("lake", "show", rows[0]["id"])
    assert shown["parents"] == [rows[1]["id"]]
    assert shown["provenance"]["run_id"] == rows[0]["run_id"]
    assert {entry["path"] for entry in shown["assets"]} >= {RELEASE, f"{PRODUCT}/model"}
    assert rows[-1]["message"] == "Begin the lake"
    assert built.run("lake", "log", "-n", "1").stdout.count("\n") == 2
    assert [row["paths"] for row in built.json("lake", "log", "--path", RELEASE)] == [[RELEASE]]
    assert "nope" in said(built, "lake", "log", "--path", "nope"), "a path that nobody wrote is no path without commits"


def test_diff_takes_two_refs_or_a_range(built: Workshop) -> None:
    ranged = built.json("lake", "diff", "main~1..main")
    assert ranged == built.json("lake", "diff", "main~1", "main")
    assert [(row["path"], row["change"]) for row in ranged["changes"]] == [(RELEASE, "added")]
    assert RELEASE in built.run("lake", "diff", "main~1..").stdout


@pytest.mark.parametrize(
    ("words", "reader", "read"),
    [
        ("lake show --json", "head -1", ["{"]),
        # Once these ended with 1, which says that something was found: click and rich have exits of their own.
        ("lake log --json", "true", []),
        ("lake log", "true", []),
        ("--help", "true", []),
    ],
)
def test_a_reader_that_stops_early_is_no_error(built: Workshop, words: str, reader: str, read: list[str]) -> None:
    line = f"{' '.join(built.command(*words.split()))} | {reader}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=built.checkout, env=built.variables(), capture_output=True, text=True, check=True
    )
    assert (done.stdout.split(), done.stderr) == ([*read, "0"], "")


def test_without_a_ref_commands_are_about_the_branch_that_builds_publish_into(workshop: Workshop) -> None:
    """A read on a branch that was not there made it, so a typing error became a branch; and `lake log` spoke of main alone."""
    branch = {"HEADWATER_BRANCH": "pr-7"}
    for words in (("log", "status"), ("status",), ("lake", "log"), ("model", "list")):
        assert "'pr-7'" in workshop.run(*words, code=2, **branch).stderr
    lake = EmbeddedLake.open(workshop.state / "lake")
    assert [ref.name for ref in lake.branches()] == ["main"]
    lake.create_branch("pr-7")
    with lake.transaction(into="pr-7") as tx:
        tx.remove(RELEASE)
        made = tx.publish(message="Only here", provenance=None).commit.id
    said = workshop.run("lake", "log", "-n", "1", "--json", **branch).stdout
    assert json.loads(said)[0]["id"] == made
    assert json.loads(workshop.run("lake", "show", "--json", **branch).stdout)["id"] == made
    assert json.loads(workshop.run("lake", "tag", "v7", "--json", **branch).stdout)[0]["commit"] == made
    assert workshop.head() != made


@pytest.mark.parametrize("name", ["a/b", "a b", "..", "é", "x" * 300, "-x", "main"])
def test_a_name_that_no_tag_can_have_is_refused(built: Workshop, name: str) -> None:
    assert "headwater: " in said(built, "lake", "tag", "--", name)


def test_a_tag_never_moves(workshop: Workshop) -> None:
    (made,) = workshop.json("lake", "tag", "v1")
    assert made["commit"] == workshop.head()
    assert "Tags never move" in said(workshop, "lake", "tag", "v1", "--at", "main~1")
    assert workshop.json("lake", "tag") == [made]


def test_revert_puts_back_what_was_as_a_new_commit(workshop: Workshop) -> None:
    before, last = workshop.data("main~1"), workshop.head()
    done = workshop.json("lake", "revert", last, "-m", "Not this one")
    assert done["id"] == workshop.head() != last
    assert workshop.data() == before
    assert [row["message"] for row in workshop.json("lake", "log", "-n", "1")] == ["Not this one"]
    first = workshop.json("lake", "log")[-1]["id"]
    assert "is the first commit" in said(workshop, "lake", "revert", first)
    assert "'nothing'" in said(workshop, "lake", "revert", "nothing")
    assert workshop.head() == done["id"]


def test_an_asset_that_no_code_makes_is_named_and_can_be_removed(workshop: Workshop) -> None:
    old = f"{PRODUCT}/datasets/forsaken"
    with EmbeddedLake.open(workshop.state / "lake").transaction() as tx:
        tx.write_table(old, pl.DataFrame({"x": [1]}))
        tx.publish(message="What an earlier version of the code made", provenance=None)
    (row,) = (row for row in workshop.json("status") if row["asset"] == old)
    assert row["waits"] is True
    assert f"headwater lake remove {old}" in row["why"]
    done = workshop.json("lake", "remove", old, "-m", "Nobody makes it")
    assert (done["action"], done["message"], done["id"]) == (
        "remove",
        f"Remove {old}: Nobody makes it",
        workshop.head(),
    )
    assert old not in [row["asset"] for row in workshop.json("status")]
    assert "nothing to remove" in said(workshop, "lake", "remove", old)
    workshop.json("lake", "revert", done["id"])
    assert old in workshop.data()


def test_checkout_writes_an_empty_folder_only(built: Workshop, tmp_path: Path) -> None:
    done = built.json("lake", "checkout", "main", str(tmp_path / "out"), "--path", RELEASE)
    assert done["commit"] == built.head()
    assert [path.name for path in (tmp_path / "out" / PRODUCT).iterdir()] == ["release"]
    assert "it is not empty" in said(built, "lake", "checkout", "main", str(tmp_path / "out"))
    assert "/proc/nothing" in said(built, "lake", "checkout", "main", "/proc/nothing")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("lake", "log", "nothing"), "'nothing'"),
        (("lake", "show", "main~999"), "'main~999'"),
        (("lake", "show", "--path", f"{PRODUCT}/modle"), f"'{PRODUCT}/model'"),
        (("lake", "diff", "a", "b", "c"), "one or two refs"),
        (("lake", "branches", "--delete", "main"), "main"),
        (("model", "show", f"{PRODUCT}@9.9.9"), f"{PRODUCT}@1.0.0"),
        (("model", "show", "nobody@1.0.0"), f"{PRODUCT}@1.0.0"),
        (("model", "reproduce", "a/../b@1"), f"{PRODUCT}@1.0.0"),
        (("model", "reproduce", "é @"), f"{PRODUCT}@1.0.0"),
        (("model", "list", "--product", "nobody"), PRODUCT),
        (("build", "nobody"), PRODUCT),
        (("land", "nobody", "x", "pyproject.toml"), PRODUCT),
        (("land", PRODUCT, "customers", "pyproject.toml", "--partition", "2031-01"), "2024-05"),
        (("up", "--port", "99999"), "65535"),
    ],
)
def test_a_name_that_is_nowhere_gets_an_answer_that_helps(built: Workshop, words: tuple[str, ...], answer: str) -> None:
    assert answer in said(built, *words)


def test_a_flipped_byte_is_found_and_named(workshop: Workshop) -> None:
    assert "clean" in workshop.run("lake", "verify").stdout
    assert workshop.json("lake", "verify", "--deep")["clean"] is True
    objects = [path for path in (workshop.state / "lake" / "objects").rglob("*") if path.is_file()]
    victim = max(objects, key=lambda path: path.stat().st_size)
    victim.chmod(stat.S_IRUSR | stat.S_IWUSR)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    found = workshop.json("lake", "verify", code=1)
    assert not found["clean"]
    assert any(victim.name in finding["name"] for finding in found["findings"])
    assert victim.name in workshop.run("lake", "verify", code=1).stdout


def test_repair_takes_away_what_strays_put_into_the_view(workshop: Workshop) -> None:
    stray = workshop.state / "lake" / "main" / PRODUCT / "model" / "stray.txt"
    os.chmod(stray.parent, 0o755)
    stray.write_text("not of the lake")
    assert workshop.json("lake", "repair") == {"clean": True, "findings": []}
    assert not stray.exists()


def test_gc_keeps_what_a_model_was_made_from(workshop: Workshop) -> None:
    planned = workshop.json("lake", "gc", "--dry-run", "--keep-commits", "1", "--grace-hours", "0")
    assert planned["dry_run"] is True
    workshop.json("lake", "gc", "--keep-commits", "1", "--grace-hours", "0")
    assert workshop.json("lake", "verify")["clean"] is True
    assert workshop.json("model", "reproduce", f"{PRODUCT}@1.0.0")["identical"] is True
