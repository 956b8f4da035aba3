"""What a lake promises about its care: attestations, checkouts, verification, collection."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from headwater.lake import Lake
from headwater.lake.errors import PathNotFoundError, RefNotFoundError, StorageError
from headwater.names import MAIN
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
    publish_folder,
    refuse,
)


class CareSuite(SuiteBase):
    """Looking after a lake."""

    def test_attestations_are_kept_newest_first(self, lake: Lake) -> None:
        first, second = provenance(lake, transaction="tx-1"), provenance(lake, transaction="tx-2")
        lake.attest(first)
        lake.attest(second)
        lake.attest(provenance(lake, OTHER, transaction="tx-3"))
        assert self.reopen(lake).attestations(PATH) == (second, first)
        assert lake.attestations("shop/never") == ()

    def test_a_checkout_is_a_plain_copy(self, lake: Lake, tmp_path: Path) -> None:
        publish(lake, PATH, ROWS)
        publish_folder(lake, FOLDER, make_folder(tmp_path / "source", {"a/b": b"1"}))
        commit = lake.checkout(MAIN, tmp_path / "out")
        assert commit == lake.resolve(MAIN)
        assert_frame_equal(pl.DataFrame(DeltaTable(tmp_path / "out" / PATH).to_pyarrow_table()), ROWS)
        assert files_below(tmp_path / "out" / FOLDER) == {"a/b": b"1"}
        (tmp_path / "out" / FOLDER / "a/b").write_bytes(b"changed")
        assert files_below(lake.at(MAIN).folder(FOLDER)) == {"a/b": b"1"}

    def test_a_checkout_can_be_of_some_paths_at_any_commit(self, lake: Lake, tmp_path: Path) -> None:
        publish(lake, PATH, ROWS)
        publish(lake, OTHER, MORE)
        (tmp_path / "out").mkdir()
        lake.checkout(f"{MAIN}~1", tmp_path / "out", paths=[PATH])
        assert {name.split("/")[2] for name in files_below(tmp_path / "out")} == {"orders"}

    def test_a_checkout_never_writes_over_anything(self, lake: Lake, tmp_path: Path) -> None:
        publish(lake, PATH, ROWS)
        make_folder(tmp_path / "out", {"mine": b"1"})
        with pytest.raises(StorageError, match="not empty"):
            lake.checkout(MAIN, tmp_path / "out")
        with pytest.raises(PathNotFoundError):
            lake.checkout(MAIN, tmp_path / "new", paths=["shop/never"])
        with pytest.raises(RefNotFoundError):
            lake.checkout("absent", tmp_path / "new")
        assert files_below(tmp_path / "out") == {"mine": b"1"}

    def test_a_lake_in_order_verifies_clean(self, lake: Lake, tmp_path: Path) -> None:
        publish(lake, PATH, ROWS)
        publish(lake, PATH, MORE, partition=None)
        publish(lake, OTHER, ROWS, partition=("month", "a b"))
        publish_folder(lake, FOLDER, make_folder(tmp_path / "source", {"a/b": b"1"}))
        refuse(lake, PATH, ROWS)
        lake.tag("v1", at=f"{MAIN}~1")
        result = lake.verify()
        assert result.findings == ()
        assert result.clean
        assert result.commits >= 5

    def test_collection_keeps_all_that_is_reachable(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        publish(lake, PATH, MORE)
        branch, _ = refuse(lake, PATH, ROWS.head(1))
        lake.gc(grace=timedelta(0), dry_run=True)
        lake.gc(grace=timedelta(0))
        assert ids(lake) == [4, 5]
        assert ids(lake, ref=f"{MAIN}~1") == [1, 2, 3]
        assert ids(lake, ref=branch) == [1]
        assert lake.verify().clean

    def test_a_lake_describes_itself_and_is_safe(self, lake: Lake) -> None:
        lake.probe()
        assert lake.describe()["kind"]
