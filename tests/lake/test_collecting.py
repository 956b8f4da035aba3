"""Garbage collection removes what nothing needs, and nothing else."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.lake import Collected, Commit, EmbeddedLake, Published, Retention, _snapshot, _trees
from headwater.lake._objects import Objects
from headwater.lake._snapshot import EmbeddedSnapshot
from headwater.lake.errors import CollectedCommitError, DamagedLakeError, StorageError
from headwater.names import MAIN, RELEASED_FACT, VERSION_FACT
from headwater.provenance import Output, Provenance

NOW = timedelta(0)
NEWEST = Retention(keep_commits=1)
PATH = "shop/table"


@pytest.fixture
def lake(tmp_path: Path) -> EmbeddedLake:
    return EmbeddedLake.open(tmp_path / "lake")


def _write(lake: EmbeddedLake, number: int, *, path: str = PATH, into: str = MAIN, **facts: object) -> Published:
    with lake.transaction(into=into) as tx:
        entry = tx.write_table(path, pl.DataFrame({"id": [number]}))
        record = Provenance(
            transaction=tx.id,
            action="materialize",
            outputs=(Output(path=path, kind="table", data_version=entry.data_version, facts=facts),),
            input_commit=tx.base.commit.id,
        )
        return tx.publish(message=f"Write {number}", provenance=record)


def _readable(lake: EmbeddedLake, commit: str, path: str = PATH) -> bool:
    try:
        return not lake.at(commit).table(path).collect().is_empty()
    except CollectedCommitError:
        return False


def test_without_a_retention_all_that_is_reachable_stays(lake: EmbeddedLake) -> None:
    commits = [_write(lake, number).commit.id for number in range(3)]
    done = lake.gc(grace=NOW)
    assert (done.commits, done.objects, done.bytes) == (0, 0, 0)
    assert all(_readable(lake, commit) for commit in commits)


def test_the_newest_commits_of_every_branch_stay(lake: EmbeddedLake) -> None:
    commits = [_write(lake, number).commit.id for number in range(5)]
    lake.create_branch("dev", at=commits[2])
    done = lake.gc(grace=NOW, retention=Retention(keep_commits=2))
    assert done.commits == 2
    assert done.objects > 0
    assert [_readable(lake, commit) for commit in commits] == [False, True, True, True, True]
    assert lake.verify(deep=True).clean


def test_what_is_collected_keeps_its_record_and_says_so(lake: EmbeddedLake) -> None:
    first = _write(lake, 1).commit
    _write(lake, 2)
    lake.gc(grace=NOW, retention=NEWEST)
    assert lake.resolve(first.id) == first
    assert first in list(lake.log(path=PATH))
    for use in (lambda: lake.at(first.id), lambda: lake.diff(first.id, MAIN), lambda: lake.revert(first.id)):
        with pytest.raises(CollectedCommitError, match=first.id[:12]):
            use()


def test_a_dry_run_removes_nothing_and_counts_the_same(lake: EmbeddedLake) -> None:
    commits = [_write(lake, number).commit.id for number in range(3)]
    tried = lake.gc(grace=NOW, retention=NEWEST, dry_run=True)
    assert all(_readable(lake, commit) for commit in commits)
    done = lake.gc(grace=NOW, retention=NEWEST)
    assert (tried.commits, tried.objects, tried.bytes) == (done.commits, done.objects, done.bytes)
    assert done.commits == 3


def test_what_is_young_stays(lake: EmbeddedLake) -> None:
    commits = [_write(lake, number).commit.id for number in range(3)]
    done = lake.gc(grace=timedelta(hours=1), retention=NEWEST)
    assert (done.commits, done.objects) == (0, 0)
    assert lake.gc(grace=NOW, retention=Retention(keep_for=timedelta(hours=1))).commits == 0
    assert all(_readable(lake, commit) for commit in commits)


@pytest.mark.parametrize("fact", [RELEASED_FACT, VERSION_FACT])
def test_a_released_model_and_what_it_was_made_from_stay(lake: EmbeddedLake, fact: str) -> None:
    _write(lake, 1)
    pinned = _write(lake, 2).commit.id
    model = _write(lake, 3, path="shop/model", **{fact: "1.0.0"}).commit.id
    _write(lake, 4)
    _write(lake, 5, path="shop/model")
    lake.gc(grace=NOW, retention=NEWEST)
    assert _readable(lake, pinned)
    assert _readable(lake, model, "shop/model")
    assert _readable(lake, model)
    assert lake.verify(deep=True).clean


def test_tags_stay(lake: EmbeddedLake) -> None:
    tagged = _write(lake, 1).commit.id
    lake.tag("v1", at=tagged)
    _write(lake, 2)
    lake.gc(grace=NOW, retention=NEWEST)
    assert _readable(lake, "v1")


def test_what_a_live_transaction_is_pinned_to_stays(lake: EmbeddedLake) -> None:
    pinned = _write(lake, 1).commit.id
    with lake.transaction() as tx:
        tx.write_table("shop/other", pl.DataFrame({"id": [1]}))
        _write(lake, 2)
        lake.gc(grace=NOW, retention=NEWEST)
        assert _readable(lake, pinned)
        assert tx.base.table(PATH).collect().get_column("id").to_list() == [1]
        tx.publish(message="Other", provenance=None)
    assert lake.at(MAIN).table("shop/other").collect().height == 1
    lake.gc(grace=NOW, retention=NEWEST)
    assert not _readable(lake, pinned)
    assert lake.verify(deep=True).clean


def test_where_a_branch_left_main_stays_so_that_it_can_be_compared_and_merged(lake: EmbeddedLake) -> None:
    _write(lake, 1)
    lake.create_branch("dev")
    _write(lake, 9, path="shop/new", into="dev")
    for number in range(2, 5):
        _write(lake, number)
    lake.gc(grace=NOW, retention=NEWEST)
    assert [change.path for change in lake.diff(MAIN, "dev").changes] == ["shop/new"]
    assert lake.merge("dev", into=MAIN, message="Merge dev").changed


def test_a_deleted_branch_is_collected(lake: EmbeddedLake) -> None:
    _write(lake, 1)
    lake.create_branch("dev")
    commit = _write(lake, 2, into="dev").commit.id
    lake.delete_branch("dev")
    assert lake.gc(grace=NOW).commits == 1
    assert not _readable(lake, commit)
    assert _readable(lake, MAIN)


def test_the_same_content_can_be_published_again_after_it_was_collected(lake: EmbeddedLake) -> None:
    for number in (1, 2):
        _write(lake, number)
    lake.gc(grace=NOW, retention=NEWEST)
    assert _write(lake, 1).changed
    assert lake.at(MAIN).table(PATH).collect().get_column("id").to_list() == [1]
    assert lake.verify(deep=True).clean


def test_checkouts_that_nobody_read_are_made_again_when_read(lake: EmbeddedLake) -> None:
    old = _write(lake, 1).commit.id
    _write(lake, 2)
    before = len(list((lake.location / "checkouts").iterdir()))
    lake.gc(grace=NOW)
    assert len(list((lake.location / "checkouts").iterdir())) < before
    assert _readable(lake, old)


FLEETING = (
    "shop/predictions",
    "shop/predictions.rejected",
    "shop/service_failures",
    "shop/outcomes",
    "shop/served_parity",
)


@pytest.mark.parametrize("fact", [RELEASED_FACT, VERSION_FACT])
def test_what_services_were_asked_does_not_stay_for_a_released_model(lake: EmbeddedLake, fact: str) -> None:
    """Each release kept all that stood beside it: answers that `Serving.keep` had dropped could be read for ever."""
    lasting = ("shop/review_answers", "shop/datasets/predictions")
    for path in (PATH, *lasting, *FLEETING):
        _write(lake, 1, path=path)
    model = _write(lake, 2, path="shop/model", **{fact: "1.0.0"}).commit.id
    for path in (PATH, *lasting, *FLEETING):
        _write(lake, 3, path=path)
    lake.gc(grace=NOW, retention=NEWEST)
    assert all(_readable(lake, model, path) for path in ("shop/model", PATH, *lasting))
    assert not any(_readable(lake, model, path) for path in FLEETING)
    assert all(lake.at(model).entry(path).rows == 1 for path in FLEETING)
    with pytest.raises(CollectedCommitError, match=f"{model[:12]} at 'shop/outcomes'"):
        lake.at(model).table("shop/outcomes")
    assert lake.verify(deep=True).clean
    assert lake.gc(grace=NOW, retention=NEWEST) == Collected(commits=0, objects=0, bytes=0, dry_run=False)


def test_what_services_were_asked_stays_where_the_retention_or_a_tag_says_so(lake: EmbeddedLake) -> None:
    commits = [_write(lake, number, path="shop/predictions").commit.id for number in range(3)]
    lake.tag("audit", at=commits[0])
    lake.gc(grace=NOW, retention=Retention(keep_commits=1))
    assert [_readable(lake, commit, "shop/predictions") for commit in commits] == [True, False, True]


def test_of_a_commit_that_no_build_made_stays_which_data_stood_where_and_no_content(lake: EmbeddedLake) -> None:
    first, second = (_write(lake, number).commit for number in (1, 2))
    undone = lake.revert(second.id).commit
    told = {commit.id: lake.at(commit.id).entry(PATH).data_version for commit in (second, undone)}
    for number in (3, 4):
        _write(lake, number)
    lake.gc(grace=NOW, retention=NEWEST)
    assert {id: lake.at(id).entry(PATH).data_version for id in told} == told
    assert not any(_readable(lake, commit.id) for commit in (first, second, undone))
    assert [change.path for change in lake.diff(second.id, undone.id, two_dot=True).changes] == [PATH]
    with pytest.raises(CollectedCommitError):
        lake.revert(undone.id)
    with pytest.raises(CollectedCommitError):
        lake.checkout(undone.id, lake.location.parent / "out")
    assert not (lake.location.parent / "out").exists()
    assert lake.verify(deep=True).clean


def test_who_read_a_content_before_it_was_collected_is_told_the_same_as_everybody(lake: EmbeddedLake) -> None:
    """A process remembers nodes: another one's collection looked like damage to it, and an export left half a folder."""
    reader = EmbeddedLake.open(lake.location)
    first = _write(lake, 1).commit
    lake.revert(first.id)
    _write(lake, 2)
    assert _readable(reader, first.id)
    lake.gc(grace=NOW, retention=NEWEST)
    assert not _readable(reader, first.id)
    with pytest.raises(CollectedCommitError):
        reader.checkout(first.id, lake.location.parent / "out")
    assert not (lake.location.parent / "out").exists()


def _collectable(lake: EmbeddedLake, *, in_part: bool) -> tuple[EmbeddedLake, Commit]:
    """The lake as another reader has it, and a first commit that `gc` takes: in part where a revert tells of it, else whole."""
    reader, first = EmbeddedLake.open(lake.location), _write(lake, 1).commit
    if in_part:
        lake.revert(first.id)
    _write(lake, 2)
    return reader, first


@pytest.mark.parametrize("is_told", [True, False], ids=["in part", "whole"])
@pytest.mark.parametrize("moment", ["before", "nodes", "objects", "export"])
def test_who_reads_while_a_content_is_collected_is_told_so(
    lake: EmbeddedLake, monkeypatch: pytest.MonkeyPatch, moment: str, is_told: bool
) -> None:
    """Readers hold nothing up: between the question whether it is kept and its files it went, and was called damage; an export stayed half."""
    reader, first = _collectable(lake, in_part=is_told)
    shutil.rmtree(lake.location / "checkouts")
    (lake.location / "checkouts").mkdir()
    contents, then = _trees.contents, reader.at(first.id)

    def collect() -> None:
        monkeypatch.undo()
        lake.gc(grace=NOW, retention=NEWEST)

    def overtaken(*given: Any) -> Any:
        if moment == "nodes":
            collect()
        found = contents(*given)
        if moment != "nodes":
            collect()
        return found

    monkeypatch.setattr(_trees, "contents", overtaken)
    if moment == "before":
        collect()
    out = lake.location.parent / "out"
    with pytest.raises(CollectedCommitError, match=first.id[:12]):
        reader.checkout(first.id, out) if moment == "export" else then.table(PATH)
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize("collected", ["left", "right"])
def test_who_compares_commits_while_one_is_collected_is_told_so(
    lake: EmbeddedLake, monkeypatch: pytest.MonkeyPatch, collected: str
) -> None:
    """Only what was collected before the comparison began said so; after that it was a missing node."""
    reader, first, newest = EmbeddedLake.open(lake.location), _write(lake, 1).commit, _write(lake, 2).commit
    changed = _trees.changed

    def overtaken(*given: Any) -> Any:
        lake.gc(grace=NOW, retention=NEWEST)
        return changed(*given)

    monkeypatch.setattr(_trees, "changed", overtaken)
    sides = (first.id, newest.id) if collected == "left" else (newest.id, first.id)
    with pytest.raises(CollectedCommitError, match=first.id[:12]):
        reader.diff(*sides, two_dot=True)


def _before(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object]) -> None:
    """Does something else, once, when a snapshot is about to open a table (`open_delta`) or to look at its files."""
    owner: Any = _snapshot if name == "open_delta" else EmbeddedSnapshot
    known = getattr(owner, name)

    def overtaken(*given: Any, **named: Any) -> Any:
        monkeypatch.undo()
        act()
        return known(*given, **named)

    monkeypatch.setattr(owner, name, overtaken)


@pytest.mark.parametrize("is_told", [True, False], ids=["in part", "whole"])
@pytest.mark.parametrize("moment", ["_check_sizes", "open_delta"])
def test_who_opens_a_table_while_it_is_collected_is_told_so(
    lake: EmbeddedLake, monkeypatch: pytest.MonkeyPatch, moment: str, is_told: bool
) -> None:
    """Its checkout was there when it was asked for, and gone when it was opened: `headwater lake verify` was asked, of a lake in order."""
    reader, first = _collectable(lake, in_part=is_told)
    then = reader.at(first.id)
    then.table(PATH)
    _before(monkeypatch, moment, lambda: lake.gc(grace=NOW, retention=NEWEST))
    with pytest.raises(CollectedCommitError, match=first.id[:12]):
        then.table(PATH)


@pytest.mark.parametrize("moment", ["_check_sizes", "open_delta"])
def test_a_table_whose_checkout_goes_while_it_is_opened_is_read_all_the_same(
    lake: EmbeddedLake, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A checkout that nobody read for long may go while the commit stays; who came at that moment was told of damage."""
    reader, first = EmbeddedLake.open(lake.location), _write(lake, 1).commit
    _write(lake, 2)
    _before(monkeypatch, moment, lambda: lake.gc(grace=NOW))
    assert reader.at(first.id).table(PATH).collect().get_column("id").to_list() == [1]


def test_who_may_only_read_and_opened_a_table_before_it_was_collected_is_told_so(
    lake: EmbeddedLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process remembers nodes, so it set out to make the checkout, and was told to make the lake writable."""
    reader, first = EmbeddedLake.open(lake.location), _write(lake, 1).commit
    _write(lake, 2)
    then = reader.at(first.id)
    then.table(PATH)
    lake.gc(grace=NOW, retention=NEWEST)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Objects, "checkout", refuse)
    with pytest.raises(CollectedCommitError, match=first.id[:12]):
        then.table(PATH)
    shutil.rmtree(lake.location / "checkouts")  # of what is kept, too: that is as it was said
    with pytest.raises(StorageError, match="Make it writable"):
        reader.at(MAIN).table(PATH)


def test_a_branch_from_a_commit_that_stays_in_part_says_what_is_gone_when_it_is_written(lake: EmbeddedLake) -> None:
    """A write over a table whose content was collected told people to restore a backup."""
    first = _write(lake, 1).commit
    lake.revert(first.id)
    _write(lake, 2)
    lake.gc(grace=NOW, retention=NEWEST)
    lake.create_branch("old", at=first.id)
    with pytest.raises(CollectedCommitError, match=f"{first.id[:12]} at '{PATH}'"):
        _write(lake, 3, into="old")
    _write(lake, 3, path="shop/other", into="old")
    assert lake.verify(deep=True).clean


def test_a_tag_on_a_commit_that_stays_in_part_brings_nothing_back(lake: EmbeddedLake) -> None:
    first = _write(lake, 1, path="shop/predictions").commit
    lake.revert(first.id)
    _write(lake, 2)
    lake.gc(grace=NOW, retention=NEWEST)
    assert not _readable(lake, first.id, "shop/predictions")
    lake.tag("old", at=first.id)  # names what is not all there any more
    lake.gc(grace=NOW, retention=NEWEST)
    assert lake.verify(deep=True).clean
    assert not _readable(lake, "old", "shop/predictions")


def test_a_lake_whose_catalog_knows_of_no_collected_files_says_that_a_missing_node_is_damage(
    lake: EmbeddedLake,
) -> None:
    _write(lake, 1)
    shutil.rmtree(lake.location / "checkouts")
    (lake.location / "checkouts").mkdir()
    with sqlite3.connect(lake.location / "catalog.sqlite") as catalog:
        files = lake.at(MAIN).record(PATH)
        assert files is not None
        catalog.execute("DELETE FROM nodes WHERE hash = ?", (files.files,))
    again = EmbeddedLake.open(lake.location)
    with pytest.raises(DamagedLakeError):
        again.at(MAIN).table(PATH)
