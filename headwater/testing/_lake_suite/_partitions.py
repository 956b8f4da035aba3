"""What a lake promises about partitioned tables."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from headwater.lake import Lake, WriteMode
from headwater.lake.errors import TableWriteError
from headwater.names import MAIN
from headwater.testing._lake_suite._common import MORE, PATH, ROWS, SuiteBase, publish, rows

JAN, FEB = ("month", "2013-01"), ("month", "2013-02")


def _ids(lake: Lake, key: str) -> list[int]:
    return sorted(rows(lake).filter(pl.col("month") == key).get_column("id").to_list())


class PartitionsSuite(SuiteBase):
    """One partition at a time."""

    def test_a_write_replaces_its_own_partition_only(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS, partition=JAN)
        publish(lake, PATH, MORE.lazy(), partition=FEB)
        before = lake.at(MAIN).entry(PATH)
        publish(lake, PATH, ROWS.head(1), partition=JAN)
        after = lake.at(MAIN).entry(PATH)
        assert (_ids(lake, "2013-01"), _ids(lake, "2013-02")) == ([1], [4, 5])
        assert after.rows == 3
        assert after.partitions["2013-02"] == before.partitions["2013-02"]
        assert after.partitions["2013-01"] != before.partitions["2013-01"]
        assert after.data_version != before.data_version

    def test_the_version_does_not_depend_on_the_order_of_partitions(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS, partition=JAN)
        publish(lake, PATH, MORE, partition=FEB)
        first = lake.at(MAIN).entry(PATH)
        publish(lake, "shop/again", MORE, partition=FEB)
        publish(lake, "shop/again", ROWS, partition=JAN)
        second = lake.at(MAIN).entry("shop/again")
        assert first.data_version == second.data_version
        assert dict(first.partitions) == dict(second.partitions)

    def test_a_partition_that_comes_out_equal_publishes_nothing(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS, partition=JAN)
        publish(lake, PATH, MORE, partition=FEB)
        assert not publish(lake, PATH, ROWS.with_columns(month=pl.lit("2013-01")), partition=JAN).changed

    def test_an_append_adds_to_a_partition(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS, partition=JAN)
        publish(lake, PATH, MORE, partition=JAN, mode=WriteMode.APPEND)
        publish(lake, PATH, MORE, partition=FEB, mode=WriteMode.APPEND)
        assert (_ids(lake, "2013-01"), _ids(lake, "2013-02")) == ([1, 2, 3, 4, 5], [4, 5])
        assert not publish(lake, PATH, pl.concat([ROWS, MORE]), partition=JAN).changed

    def test_an_append_of_several_partitions_counts_in_each(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS, partition=JAN)
        both = pl.concat([MORE, MORE]).with_columns(month=pl.Series(["2013-01", "2013-02"] * 2))
        publish(lake, PATH, both, mode=WriteMode.APPEND)
        january = both.filter(pl.col("month") == "2013-01").drop("month")
        assert not publish(lake, PATH, pl.concat([ROWS, january]), partition=JAN).changed
        assert set(lake.at(MAIN).entry(PATH).partitions) == {"2013-01", "2013-02"}

    def test_an_empty_partition_is_known(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS, partition=JAN)
        publish(lake, PATH, ROWS.clear(), partition=FEB)
        assert set(lake.at(MAIN).entry(PATH).partitions) == {"2013-01", "2013-02"}
        publish(lake, PATH, ROWS.clear(), partition=JAN)
        assert rows(lake).is_empty()
        assert rows(lake).columns == ["id", "name", "price", "month"]

    @pytest.mark.parametrize("key", ["a b", "it's", "50%", "x/y", "a=b", "ü", "%20"])
    def test_a_key_may_hold_any_text(self, lake: Lake, key: str) -> None:
        publish(lake, PATH, ROWS, partition=("month", key))
        publish(lake, PATH, MORE, partition=FEB)
        publish(lake, PATH, ROWS.head(1), partition=("month", key))
        assert _ids(lake, key) == [1]
        assert _ids(lake, "2013-02") == [4, 5]
        assert set(lake.at(MAIN).entry(PATH).partitions) == {key, "2013-02"}

    def test_rows_of_another_partition_are_refused(self, lake: Lake) -> None:
        frame = ROWS.with_columns(month=pl.Series(["2013-01", "2013-02", None]))
        with pytest.raises(TableWriteError, match="2 rows for partition '2013-01'"):
            publish(lake, PATH, frame, partition=JAN)

    @pytest.mark.parametrize("key", [None, ""])
    def test_a_row_without_a_key_is_refused(self, lake: Lake, key: str | None) -> None:
        publish(lake, PATH, ROWS, partition=JAN)
        keyless = ROWS.with_columns(month=pl.Series([key, "2013-01", "2013-01"]))
        with pytest.raises(TableWriteError, match="no key in the partition column 'month'"):
            publish(lake, PATH, keyless, mode=WriteMode.APPEND)
        with pytest.raises(TableWriteError, match="is empty"):
            publish(lake, PATH, ROWS, partition=("month", ""))

    def test_a_partition_column_is_text(self, lake: Lake) -> None:
        with pytest.raises(TableWriteError, match="'month'"):
            publish(lake, PATH, ROWS.with_columns(month=pl.lit(1)), partition=("month", "1"))

    def test_a_partition_of_an_unpartitioned_table_is_refused(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        with pytest.raises(TableWriteError, match="partitioned not at all"):
            publish(lake, PATH, ROWS, partition=JAN)

    def test_a_partition_by_another_column_is_refused(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS, partition=JAN)
        with pytest.raises(TableWriteError, match="partitioned by 'month'"):
            publish(lake, PATH, ROWS, partition=("week", "1"))

    def test_a_partition_of_another_schema_is_refused(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS, partition=JAN)
        with pytest.raises(TableWriteError, match="lacks 'name'"):
            publish(lake, PATH, ROWS.drop("name"), partition=FEB)

    def test_an_overwrite_of_the_whole_ends_the_partitions(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS, partition=JAN)
        publish(lake, PATH, MORE)
        assert_frame_equal(rows(lake), MORE)
        assert not lake.at(MAIN).entry(PATH).partitions
