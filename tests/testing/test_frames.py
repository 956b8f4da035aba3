"""Inputs held in memory behave like those of a run: what was not declared cannot be read."""

from pathlib import Path

import polars as pl
import pytest

from headwater.checks import not_empty
from headwater.lake import Kind
from headwater.materialize import UndeclaredInputError
from headwater.product import Inputs, Partitions, table
from headwater.testing.frames import HeldInputs, NotHeldError, audit_of, inputs, verdicts

ROWS = pl.DataFrame({"a": [1, 2]})


def test_held_frames_and_folders_are_read_and_remembered(tmp_path: Path) -> None:
    held = inputs({"shop/rows": ROWS, "shop/lazy": ROWS.lazy(), "shop/folder": tmp_path})
    assert held.table("shop/rows").collect().equals(ROWS)
    assert held.table("shop/lazy").collect().equals(ROWS)
    assert held.folder("shop/folder") == tmp_path
    assert held.read == {"shop/rows", "shop/lazy", "shop/folder"}
    assert held.entry("shop/rows").rows == 2
    assert held.entry("shop/folder").kind is Kind.FOLDER


@pytest.mark.parametrize("method", ["table", "folder", "entry", "provenance", "written_in", "landed"])
def test_what_was_not_given_cannot_be_read(method: str) -> None:
    with pytest.raises(UndeclaredInputError, match="'shop/other'"):
        getattr(inputs({"shop/rows": ROWS}), method)("shop/other")


def test_a_table_is_no_folder(tmp_path: Path) -> None:
    held = inputs({"shop/rows": ROWS, "shop/folder": tmp_path})
    with pytest.raises(NotHeldError, match="'shop/rows' is not held as a folder"):
        held.folder("shop/rows")
    with pytest.raises(NotHeldError, match="'shop/folder' is not held as a table"):
        held.table("shop/folder")


def test_landed_files_are_found_by_name(tmp_path: Path) -> None:
    assert inputs({}, landed={"rows.csv": tmp_path}).landed("rows.csv") == tmp_path
    assert inputs({}).previous("shop/rows") is None


def test_held_inputs_are_the_inputs_that_a_function_declares() -> None:
    def rows_of(given: Inputs) -> pl.DataFrame:
        return given.table("shop/rows").collect()

    found: HeldInputs = inputs({"shop/rows": ROWS})
    assert rows_of(found).equals(ROWS)


def test_an_audit_sees_the_partition_that_was_written() -> None:
    @table("shop/rows", checks=[not_empty()], partitions=Partitions.months("2013-01", "2013-02"))
    def rows(given: Inputs, period: str) -> pl.DataFrame:
        """Rows."""
        return ROWS

    audit = audit_of(rows, ROWS, partition="2013-01", base={"shop/other": ROWS}, facts={"n": 1})
    assert audit.rows().collect()["period"].unique().to_list() == ["2013-01"]
    assert audit.base.table("shop/other").collect().equals(ROWS)
    assert verdicts(rows, audit)["not_empty"].passed
    assert not verdicts(rows, audit_of(rows, ROWS.clear(), partition="2013-01"))["not_empty"].passed
