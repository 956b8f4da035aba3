"""What a lake promises about history: log, last write, differences, merges, undoing."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from headwater.lake import Change, Lake, WriteMode
from headwater.lake.errors import MergeConflictError, PathNotFoundError, RefNotFoundError, RevertConflictError
from headwater.names import MAIN
from headwater.testing._lake_suite._common import MORE, OTHER, PATH, ROWS, SuiteBase, ids, provenance, publish, rows


class HistorySuite(SuiteBase):
    """Commits and what lies between them."""

    def test_the_log_is_newest_first_and_can_be_cut_by_path_and_number(self, lake: Lake) -> None:
        one = publish(lake, PATH, ROWS).commit
        two = publish(lake, OTHER, ROWS).commit
        three = publish(lake, PATH, MORE).commit
        log = list(lake.log())
        assert log[:3] == [three, two, one]
        assert log[-1].parents == ()
        assert list(lake.log(limit=2)) == [three, two]
        assert list(lake.log(limit=0)) == []
        assert list(lake.log(path=PATH)) == [three, one]
        assert list(lake.log(path=PATH, limit=1)) == [three]
        assert list(lake.log(f"{MAIN}~1", path=PATH)) == [one]
        assert list(lake.log(path="shop/never")) == []
        assert all(commit.created.utcoffset() is not None for commit in log)

    def test_the_last_write_is_the_newest_commit_that_changed_a_path(self, lake: Lake) -> None:
        one = publish(lake, PATH, ROWS).commit
        publish(lake, OTHER, ROWS)
        assert lake.last_write(MAIN, PATH) == one
        with pytest.raises(PathNotFoundError):
            lake.last_write(MAIN, "shop/never")

    def test_a_difference_is_what_the_right_side_did(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        base = publish(lake, OTHER, ROWS).commit
        lake.create_branch("dev")
        publish(lake, PATH, MORE, into="dev")
        publish(lake, "shop/new", MORE, into="dev")
        publish(lake, OTHER, MORE)
        diff = lake.diff(MAIN, "dev")
        assert (diff.left, diff.right, diff.base) == (lake.resolve(MAIN).id, lake.resolve("dev").id, base.id)
        assert [(c.path, c.change) for c in diff.changes] == [(PATH, Change.CHANGED), ("shop/new", Change.ADDED)]
        changed, added = diff.changes
        assert (changed.before, changed.after) == (lake.at(base.id).entry(PATH), lake.at("dev").entry(PATH))
        assert added.before is None

    def test_a_two_dot_difference_compares_the_ends(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        lake.create_branch("dev")
        publish(lake, OTHER, MORE)
        publish(lake, PATH, MORE, into="dev")
        diff = lake.diff(MAIN, "dev", two_dot=True)
        assert diff.base == lake.resolve(MAIN).id
        assert [(c.path, c.change) for c in diff.changes] == [(OTHER, Change.REMOVED), (PATH, Change.CHANGED)]
        assert lake.diff(MAIN, MAIN).changes == ()

    def test_equal_content_is_no_difference_however_often_it_was_written(self, lake: Lake) -> None:
        first = publish(lake, PATH, ROWS).commit
        publish(lake, PATH, MORE)
        back = publish(lake, PATH, ROWS).commit
        assert lake.diff(first.id, back.id).changes == ()
        assert lake.diff(first.id, f"{back.id}~1").changes != ()

    def test_a_merge_brings_what_changed_and_keeps_the_rest(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        lake.create_branch("dev")
        theirs = publish(lake, "shop/new", MORE, into="dev").commit
        ours = publish(lake, OTHER, MORE).commit
        record = provenance(lake, transaction="tx-merge")
        done = lake.merge("dev", into=MAIN, message="Merge dev", provenance=record)
        assert done.changed
        assert done.commit.parents == (ours.id, theirs.id)
        assert done.commit.provenance == record
        assert lake.at(MAIN).paths() == (OTHER, PATH, "shop/new")
        assert lake.last_write(MAIN, "shop/new") == done.commit
        assert not lake.merge("dev", into=MAIN, message="Again").changed
        assert lake.diff(MAIN, "dev").changes == ()

    def test_a_merge_keeps_the_appends_of_both_sides(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        lake.create_branch("dev")
        publish(lake, PATH, MORE, mode=WriteMode.APPEND, into="dev")
        publish(lake, PATH, MORE.head(1), mode=WriteMode.APPEND, into="dev")
        publish(lake, PATH, MORE, mode=WriteMode.APPEND)
        lake.merge("dev", into=MAIN, message="Merge dev")
        assert ids(lake) == [1, 2, 3, 4, 4, 4, 5, 5]
        assert not publish(lake, PATH, pl.concat([ROWS, MORE, MORE, MORE.head(1)])).changed

    def test_a_merge_names_every_conflict_and_publishes_nothing(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        publish(lake, OTHER, ROWS)
        lake.create_branch("dev")
        for branch, frame in (("dev", MORE), (MAIN, MORE.head(1))):
            publish(lake, PATH, frame, into=branch)
            publish(lake, OTHER, frame, into=branch)
        publish(lake, "shop/fine", MORE, into="dev")
        before = lake.resolve(MAIN)
        with pytest.raises(MergeConflictError) as caught:
            lake.merge("dev", into=MAIN, message="Merge dev")
        assert caught.value.paths == (OTHER, PATH)
        assert lake.resolve(MAIN) == before

    def test_the_same_change_on_both_sides_is_no_conflict(self, lake: Lake) -> None:
        lake.create_branch("dev")
        publish(lake, PATH, ROWS, into="dev")
        publish(lake, PATH, ROWS.reverse())
        assert not lake.merge("dev", into=MAIN, message="Merge dev").changed

    def test_a_merge_needs_both_ends(self, lake: Lake) -> None:
        with pytest.raises(RefNotFoundError):
            lake.merge("absent", into=MAIN, message="Merge")
        with pytest.raises(RefNotFoundError):
            lake.merge(MAIN, into="absent", message="Merge")

    def test_a_revert_puts_back_what_was_there(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        good = lake.at(MAIN).entry(PATH)
        bad = publish(lake, PATH, MORE).commit
        publish(lake, OTHER, MORE)
        done = lake.revert(bad.id, actor="user:ada")
        assert done.changed
        assert_frame_equal(rows(lake), ROWS)
        assert lake.at(MAIN).entry(PATH).data_version == good.data_version
        assert lake.at(MAIN).has(OTHER)
        record = done.commit.provenance
        assert record is not None
        assert (record.action, record.actor) == ("revert", "user:ada")
        assert record.output(PATH) is not None
        assert done.commit.parents == (lake.resolve(f"{MAIN}~1").id,)
        assert not lake.revert(bad.id).changed

    def test_a_table_can_be_written_after_a_revert(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        bad = publish(lake, PATH, MORE, mode=WriteMode.APPEND).commit
        lake.revert(bad.id)
        publish(lake, PATH, MORE.head(1), mode=WriteMode.APPEND)
        assert ids(lake) == [1, 2, 3, 4]

    def test_a_revert_of_an_addition_removes_and_of_a_removal_restores(self, lake: Lake) -> None:
        added = publish(lake, PATH, ROWS).commit
        undone = lake.revert(added.id).commit
        assert not lake.at(MAIN).has(PATH)
        lake.revert(undone.id, message="Put it back")
        assert ids(lake) == [1, 2, 3]
        assert lake.resolve(MAIN).message == "Put it back"

    def test_a_revert_never_overwrites_a_later_change(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        bad = publish(lake, PATH, MORE).commit
        later = publish(lake, PATH, MORE.head(1)).commit
        with pytest.raises(RevertConflictError, match="Undo the later ones first") as caught:
            lake.revert(bad.id)
        assert caught.value.paths == (PATH,)
        assert lake.resolve(MAIN) == later

    def test_the_first_commit_cannot_be_reverted(self, lake: Lake) -> None:
        with pytest.raises(RefNotFoundError):
            lake.revert(MAIN)
