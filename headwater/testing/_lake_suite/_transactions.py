"""What a lake promises about transactions."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from headwater.lake import Change, Lake, WriteMode
from headwater.lake.errors import (
    MergeConflictError,
    PathNotFoundError,
    RefNotFoundError,
    TransactionClosedError,
)
from headwater.names import MAIN, TRANSACTION_KEY, InvalidNameError
from headwater.testing._lake_suite._common import (
    FOLDER,
    MORE,
    OTHER,
    PATH,
    ROWS,
    SuiteBase,
    files_below,
    ids,
    make_folder,
    provenance,
    publish,
    refuse,
    rows,
)

BAD_NAMES = [
    "",
    "/abs",
    "a//b",
    "a/../b",
    "..",
    "a b",
    "Upper",
    "ünicode",
    "a/" + "x" * 300,
    "x" * 300,
    "a/.hidden",
    "a/",
]


class TransactionsSuite(SuiteBase):
    """Pin, write, audit, publish or refuse."""

    def test_nobody_sees_a_write_before_it_is_published(self, lake: Lake) -> None:
        with lake.transaction(hint=PATH) as tx:
            tx.write_table(PATH, ROWS)
            assert not lake.at(MAIN).has(PATH)
            assert not tx.base.has(PATH)
            assert_frame_equal(tx.staged().table(PATH).collect(), ROWS)
            assert tx.staged().paths() == (PATH,)
            tx.publish(message="Write", provenance=None)
        assert ids(self.reopen(lake)) == [1, 2, 3]

    def test_the_base_stays_the_pinned_commit(self, lake: Lake) -> None:
        first = publish(lake, PATH, ROWS).commit
        with lake.transaction() as tx:
            publish(lake, PATH, MORE)
            assert tx.base.commit == first
            assert_frame_equal(tx.base.table(PATH).collect(), ROWS)
            assert_frame_equal(tx.staged().table(PATH).collect(), ROWS)

    def test_a_snapshot_stays_fixed_while_main_moves(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        snapshot = lake.at(MAIN)
        lazy = snapshot.table(PATH)
        publish(lake, PATH, MORE)
        publish(lake, OTHER, MORE)
        assert_frame_equal(lazy.collect(), ROWS)
        assert_frame_equal(snapshot.table(PATH).collect(), ROWS)
        assert snapshot.paths() == (PATH,)

    def test_leaving_without_publishing_leaves_nothing(self, lake: Lake) -> None:
        before, branches = lake.resolve(MAIN), lake.branches()
        with lake.transaction() as tx:
            tx.write_table(PATH, ROWS)
        with pytest.raises(ZeroDivisionError):
            _write_and_fail(lake)
        with lake.transaction() as tx:
            tx.write_table(PATH, ROWS)
            tx.discard()
        assert (lake.resolve(MAIN), lake.branches()) == (before, branches)

    def test_publishing_makes_one_commit_on_the_head_with_its_record(self, lake: Lake) -> None:
        before = lake.resolve(MAIN)
        record = provenance(lake, facts=1)
        with lake.transaction(id=record.transaction) as tx:
            tx.write_table(PATH, ROWS)
            tx.write_table(OTHER, MORE)
            done = tx.publish(message="Write both", provenance=record)
        assert done.changed
        assert not done.replayed
        assert lake.resolve(MAIN) == done.commit
        assert done.commit.parents == (before.id,)
        assert done.commit.message == "Write both"
        assert done.commit.provenance == record
        assert done.commit.metadata[TRANSACTION_KEY] == record.transaction
        assert lake.resolve(done.commit.id) == done.commit
        assert {change.path for change in lake.diff(before.id, MAIN).changes} == {PATH, OTHER}

    def test_the_same_transaction_publishes_once(self, lake: Lake) -> None:
        first = publish(lake, PATH, ROWS, id="tx-once")
        publish(lake, PATH, MORE)
        again = publish(self.reopen(lake), PATH, ROWS.head(1), id="tx-once")
        assert again.replayed
        assert not again.changed
        assert again.commit == first.commit
        assert ids(lake) == [4, 5]
        assert lake.find_transaction("tx-once") == first.commit
        assert lake.find_transaction("tx-never") is None

    def test_a_transaction_is_found_in_the_history_it_belongs_to(self, lake: Lake) -> None:
        lake.create_branch("dev")
        done = publish(lake, PATH, ROWS, id="tx-dev", into="dev")
        assert lake.find_transaction("tx-dev", ref="dev") == done.commit
        assert lake.find_transaction("tx-dev") is None
        assert not lake.at(MAIN).has(PATH)

    def test_what_comes_out_equal_publishes_nothing(self, lake: Lake) -> None:
        done = publish(lake, PATH, ROWS)
        with lake.transaction() as tx:
            tx.write_table(PATH, ROWS.reverse())
            again = tx.publish(message="Again", provenance=None)
        with lake.transaction() as tx:
            nothing = tx.publish(message="Nothing", provenance=None)
        assert not again.changed
        assert not nothing.changed
        assert again.commit == nothing.commit == done.commit == lake.resolve(MAIN)

    def test_only_what_changed_moves(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        entry = lake.at(MAIN).entry(PATH)
        with lake.transaction() as tx:
            tx.write_table(PATH, ROWS)
            tx.write_table(OTHER, MORE)
            done = tx.publish(message="Write both", provenance=None)
        assert [change.path for change in lake.diff(f"{MAIN}~1", MAIN).changes] == [OTHER]
        assert lake.at(MAIN).entry(PATH) == entry
        assert lake.last_write(MAIN, PATH) != done.commit

    def test_the_last_of_two_writes_counts(self, lake: Lake, tmp_path: Path) -> None:
        with lake.transaction() as tx:
            tx.write_table(PATH, ROWS)
            tx.write_table(PATH, MORE)
            tx.write_table(PATH, ROWS.head(1), mode=WriteMode.APPEND)
            tx.write_folder(FOLDER, make_folder(tmp_path / "1", {"old": b"1"}))
            tx.write_folder(FOLDER, make_folder(tmp_path / "2", {"new": b"2"}))
            tx.publish(message="Write", provenance=None)
        assert ids(lake) == [1, 4, 5]
        assert files_below(lake.at(MAIN).folder(FOLDER)) == {"new": b"2"}

    def test_a_failed_write_leaves_what_was_staged(self, lake: Lake) -> None:
        with lake.transaction() as tx:
            tx.write_table(PATH, ROWS)
            with pytest.raises(Exception, match="dtype"):
                tx.write_table(PATH, pl.DataFrame({"c": [None]}))
            tx.publish(message="Write", provenance=None)
        assert_frame_equal(rows(lake), ROWS)

    def test_a_removed_path_is_gone_and_can_come_back(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        with lake.transaction() as tx:
            tx.remove(PATH)
            assert not tx.staged().has(PATH)
            done = tx.publish(message="Remove", provenance=None)
        assert not lake.at(MAIN).has(PATH)
        assert lake.at(f"{MAIN}~1").has(PATH)
        assert [change.change for change in lake.diff(f"{MAIN}~1", MAIN).changes] == [Change.REMOVED]
        assert lake.last_write(MAIN, PATH) == done.commit
        publish(lake, PATH, MORE)
        assert ids(lake) == [4, 5]

    def test_removing_what_is_not_there_is_an_error(self, lake: Lake) -> None:
        with lake.transaction() as tx, pytest.raises(PathNotFoundError):
            tx.remove(PATH)

    def test_a_refused_transaction_leaves_its_branch_for_a_look(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        before = lake.resolve(MAIN)
        record = provenance(lake, transaction="tx-bad")
        with lake.transaction(id="tx-bad", hint=PATH) as tx:
            tx.write_table(PATH, MORE)
            commit = tx.refuse(message="Refuse", provenance=record)
        assert lake.resolve(MAIN) == before
        assert tx.branch.startswith("tx-shop-datasets-orders-")
        assert tx.branch in {ref.name for ref in lake.branches()}
        assert lake.resolve(tx.branch) == commit
        assert commit.parents == (before.id,)
        assert commit.provenance == record
        assert ids(lake, ref=tx.branch) == [4, 5]
        changes = lake.diff(MAIN, tx.branch).changes
        assert [(change.path, change.change) for change in changes] == [(PATH, Change.CHANGED)]
        assert next(iter(lake.log(tx.branch))) == commit
        assert lake.find_transaction("tx-bad") is None
        lake.delete_branch(tx.branch)
        assert tx.branch not in {ref.name for ref in lake.branches()}

    def test_a_transaction_may_be_refused_again_and_published_later(self, lake: Lake) -> None:
        for frame in (MORE, ROWS):
            with lake.transaction(id="tx-retry", hint=PATH) as tx:
                tx.write_table(PATH, frame)
                commit = tx.refuse(message="Refuse", provenance=None)
        assert lake.resolve(tx.branch) == commit
        assert ids(lake, ref=tx.branch) == [1, 2, 3]
        assert publish(lake, PATH, ROWS, id="tx-retry").changed

    def test_a_closed_transaction_does_nothing(self, lake: Lake, tmp_path: Path) -> None:
        with lake.transaction() as tx:
            tx.write_table(PATH, ROWS)
            tx.publish(message="Write", provenance=None)
            tx.discard()
        for use in (
            lambda: tx.write_table(PATH, MORE),
            lambda: tx.write_folder(FOLDER, tmp_path),
            lambda: tx.remove(PATH),
            lambda: tx.staged(),
            lambda: tx.publish(message="Again", provenance=None),
            lambda: tx.refuse(message="Again", provenance=None),
        ):
            with pytest.raises(TransactionClosedError):
                use()
        assert ids(lake) == [1, 2, 3]

    def test_two_writers_of_different_paths_both_publish(self, lake: Lake) -> None:
        with lake.transaction() as one, self.reopen(lake).transaction() as two:
            one.write_table(PATH, ROWS)
            two.write_table(OTHER, MORE)
            one.publish(message="One", provenance=None)
            second = two.publish(message="Two", provenance=None)
        assert second.commit.parents == (lake.resolve(f"{MAIN}~1").id,)
        assert lake.at(MAIN).paths() == (OTHER, PATH)

    def test_two_writers_of_the_same_content_publish_once(self, lake: Lake) -> None:
        with lake.transaction() as one, self.reopen(lake).transaction() as two:
            one.write_table(PATH, ROWS)
            two.write_table(PATH, ROWS.reverse())
            first = one.publish(message="One", provenance=None)
            second = two.publish(message="Two", provenance=None)
        assert first.changed
        assert not second.changed
        assert second.commit == first.commit

    def test_two_writers_of_one_path_conflict_by_name(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        with lake.transaction() as one, self.reopen(lake).transaction() as two:
            one.write_table(PATH, ROWS.head(1))
            two.write_table(OTHER, ROWS)
            two.write_table(PATH, MORE)
            first = one.publish(message="One", provenance=None)
            with pytest.raises(MergeConflictError, match=PATH) as caught:
                two.publish(message="Two", provenance=None)
        assert caught.value.paths == (PATH,)
        assert lake.resolve(MAIN) == first.commit
        assert not lake.at(MAIN).has(OTHER)

    def test_appends_of_two_writers_are_both_kept(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        with lake.transaction(id="tx-one") as one, self.reopen(lake).transaction(id="tx-two") as two:
            one.write_table(PATH, MORE, mode=WriteMode.APPEND)
            two.write_table(PATH, MORE, mode=WriteMode.APPEND)
            two.write_table(PATH, ROWS, mode=WriteMode.APPEND)
            one.publish(message="One", provenance=None)
            assert two.publish(message="Two", provenance=None).changed
        assert ids(lake) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        assert not publish(lake, PATH, pl.concat([ROWS, ROWS, MORE, MORE])).changed
        publish(lake, PATH, MORE, mode=WriteMode.APPEND)
        assert lake.at(MAIN).entry(PATH).rows == 12

    def test_equal_appends_of_two_writers_both_count(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        with lake.transaction() as one, self.reopen(lake).transaction() as two:
            one.write_table(PATH, MORE, mode=WriteMode.APPEND)
            two.write_table(PATH, MORE, mode=WriteMode.APPEND)
            one.publish(message="One", provenance=None)
            assert two.publish(message="Two", provenance=None).changed
        assert ids(lake) == [1, 2, 3, 4, 4, 5, 5]

    def test_appends_to_partitions_of_two_writers_are_both_kept(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS, partition=("month", "a b"))
        with lake.transaction() as one, self.reopen(lake).transaction() as two:
            one.write_table(PATH, MORE, mode=WriteMode.APPEND, partition=("month", "a b"))
            two.write_table(PATH, MORE, mode=WriteMode.APPEND, partition=("month", "c%d"))
            one.publish(message="One", provenance=None)
            two.publish(message="Two", provenance=None)
        publish(lake, OTHER, pl.concat([ROWS, MORE]), partition=("month", "a b"))
        publish(lake, OTHER, MORE, partition=("month", "c%d"))
        merged, whole = lake.at(MAIN).entry(PATH), lake.at(MAIN).entry(OTHER)
        assert merged.data_version == whole.data_version
        assert dict(merged.partitions) == dict(whole.partitions)
        assert_frame_equal(rows(lake), rows(lake, OTHER), check_row_order=False)

    @pytest.mark.parametrize("append_first", [True, False])
    def test_an_append_meets_an_overwrite_as_a_conflict(self, lake: Lake, append_first: bool) -> None:
        publish(lake, PATH, ROWS)
        with lake.transaction() as append, self.reopen(lake).transaction() as overwrite:
            append.write_table(PATH, MORE, mode=WriteMode.APPEND)
            overwrite.write_table(PATH, MORE)
            first, second = (append, overwrite) if append_first else (overwrite, append)
            first.publish(message="First", provenance=None)
            with pytest.raises(MergeConflictError):
                second.publish(message="Second", provenance=None)
        assert ids(lake) == ([1, 2, 3, 4, 5] if append_first else [4, 5])

    def test_a_removal_meets_a_change_as_a_conflict(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        with lake.transaction() as one, lake.transaction() as two:
            one.remove(PATH)
            two.write_table(PATH, MORE)
            one.publish(message="One", provenance=None)
            with pytest.raises(MergeConflictError):
                two.publish(message="Two", provenance=None)

    @pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name[:12]))
    def test_a_bad_path_is_refused(self, lake: Lake, name: str, tmp_path: Path) -> None:
        with lake.transaction() as tx:
            for use in (
                lambda: tx.write_table(name, ROWS),
                lambda: tx.write_folder(name, tmp_path),
                lambda: tx.remove(name),
                lambda: lake.at(MAIN).entry(name),
            ):
                with pytest.raises(InvalidNameError):
                    use()
        assert not lake.at(MAIN).has(name)

    def test_assets_do_not_nest(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        for name in (f"{PATH}/inner", "shop/datasets", "shop"):
            with pytest.raises(InvalidNameError, match=PATH):
                publish(lake, name, ROWS)

    def test_a_transaction_needs_a_branch(self, lake: Lake) -> None:
        lake.tag("v1", at=MAIN)
        for name in ("absent", "v1", lake.resolve(MAIN).id):
            with pytest.raises(RefNotFoundError), lake.transaction(into=name):
                pass

    def test_a_hint_of_any_words_makes_a_branch_name(self, lake: Lake) -> None:
        for hint in ("", "tx", "Ünïcode/..//x", "a" * 300, "-x-", "a..b"):
            branch, commit = refuse_with_hint(lake, hint)
            assert lake.resolve(branch) == commit

    def test_paths_are_listed_by_prefix(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        publish(lake, OTHER, ROWS)
        publish(lake, "shopping/list", ROWS)
        snapshot = lake.at(MAIN)
        assert snapshot.paths() == (OTHER, PATH, "shopping/list")
        assert snapshot.paths("shop") == (OTHER, PATH)
        assert snapshot.paths("shop/datasets/") == (OTHER, PATH)
        assert snapshot.paths(PATH) == (PATH,)
        assert snapshot.paths("nothing") == ()

    def test_a_uri_names_the_commit_and_the_path(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        uri = lake.at(MAIN).uri(PATH)
        publish(lake, OTHER, ROWS)
        assert PATH in uri
        assert lake.resolve(f"{MAIN}~1").id in uri

    def test_a_refused_branch_can_be_merged_by_hand(self, lake: Lake) -> None:
        branch, _ = refuse(lake, PATH, ROWS)
        assert lake.merge(branch, into=MAIN, message="Accept after all").changed
        assert ids(lake) == [1, 2, 3]


def _write_and_fail(lake: Lake) -> None:
    with lake.transaction() as tx:
        tx.write_table(PATH, ROWS)
        raise ZeroDivisionError


def refuse_with_hint(lake: Lake, hint: str):  # type: ignore[no-untyped-def]
    """A refused write whose branch name comes from `hint`."""
    with lake.transaction(hint=hint) as tx:
        tx.write_table(PATH, ROWS)
        return tx.branch, tx.refuse(message="Refuse", provenance=None)
