"""What a lake promises about tables."""

import datetime as dt
from collections.abc import Callable

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from headwater.lake import Kind, Lake, TableData, WriteMode
from headwater.lake.errors import PathNotFoundError, TableWriteError, WrongKindError
from headwater.names import DELTA_TRANSACTION_KEY, MAIN
from headwater.testing._lake_suite._common import (
    AWKWARD,
    MORE,
    PATH,
    ROWS,
    SuiteBase,
    ids,
    publish,
    publish_folder,
    rows,
)

FORMS: dict[str, Callable[[pl.DataFrame], TableData]] = {
    "lazy": lambda frame: frame.lazy(),
    "arrow": lambda frame: frame.to_arrow(),
    "reader": lambda frame: frame.to_arrow(compat_level=pl.CompatLevel.oldest()).to_reader(max_chunksize=1),
    "sliced": lambda frame: pl.concat([frame.slice(2), frame.slice(0, 2)], rechunk=False),
}


class TablesSuite(SuiteBase):
    """Rows in, rows out."""

    def test_every_dtype_that_delta_stores_comes_back_as_it_was(self, lake: Lake) -> None:
        publish(lake, PATH, AWKWARD)
        assert_frame_equal(rows(lake), AWKWARD, check_row_order=True)

    @pytest.mark.parametrize("form", FORMS)
    def test_every_form_of_the_same_rows_has_one_version(self, lake: Lake, form: str) -> None:
        first = publish(lake, PATH, AWKWARD)
        second = publish(lake, PATH, FORMS[form](AWKWARD))
        assert first.changed
        assert not second.changed
        assert second.commit == first.commit

    def test_an_entry_says_what_stands_there(self, lake: Lake) -> None:
        with lake.transaction(id="tx-entry") as tx:
            written = tx.write_table(PATH, ROWS)
            tx.publish(message="Write", provenance=None)
        entry = lake.at(MAIN).entry(PATH)
        assert entry == written
        assert (entry.path, entry.kind, entry.rows, entry.transaction) == (PATH, Kind.TABLE, 3, "tx-entry")
        assert list(entry.schema.items()) == [("id", "int64"), ("name", "string"), ("price", "float64")]
        assert entry.files >= 1
        assert entry.bytes > 0
        assert entry.delta_version == lake.at(MAIN).delta(PATH).version()

    def test_an_empty_table_keeps_its_schema(self, lake: Lake) -> None:
        publish(lake, PATH, AWKWARD.clear().lazy())
        assert_frame_equal(rows(lake), AWKWARD.clear())
        assert lake.at(MAIN).entry(PATH).rows == 0

    def test_a_changed_cell_or_name_or_dtype_or_row_count_changes_the_version(self, lake: Lake) -> None:
        changes = [
            ROWS,
            ROWS.with_columns(id=pl.lit(9)),
            ROWS.rename({"id": "key"}),
            ROWS.with_columns(pl.col("id").cast(pl.Int32)),
            pl.concat([ROWS, ROWS]),
            ROWS.with_columns(price=pl.col("price").fill_nan(None)),
        ]
        versions = []
        for frame in changes:
            publish(lake, PATH, frame)
            versions.append(lake.at(MAIN).entry(PATH).data_version)
        assert len(set(versions)) == len(changes)

    def test_row_order_does_not_change_the_version(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        assert not publish(lake, PATH, ROWS.reverse()).changed

    def test_an_overwrite_may_bring_another_schema(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        other = pl.DataFrame({"when": [dt.datetime(2020, 1, 1)], "id": ["text now"]})
        publish(lake, PATH, other)
        assert_frame_equal(rows(lake), other)
        assert_frame_equal(rows(lake, ref=f"{MAIN}~1"), ROWS)

    def test_an_overwrite_with_the_same_columns_keeps_their_order(self, lake: Lake) -> None:
        """The data version spoke of the new order, and the table had the old one: a deep verification called it damaged."""
        publish(lake, PATH, ROWS)
        assert not publish(lake, PATH, ROWS.select("price", "name", "id")).changed
        publish(lake, PATH, MORE.select("name", "price", "id"))
        assert rows(lake).columns == list(lake.at(MAIN).entry(PATH).schema) == ROWS.columns
        assert not publish(lake, PATH, rows(lake)).changed

    def test_an_overwrite_with_the_same_structs_keeps_the_order_of_their_fields(self, lake: Lake) -> None:
        publish(lake, PATH, pl.DataFrame({"found": [{"a": 1, "b": "x"}], "all": [[{"a": 2, "b": "y"}]]}))
        publish(lake, PATH, pl.DataFrame({"all": [[{"b": "y", "a": 3}]], "found": [{"b": "x", "a": 1}]}))
        assert rows(lake).to_dicts() == [{"found": {"a": 1, "b": "x"}, "all": [{"a": 3, "b": "y"}]}]
        assert not publish(lake, PATH, rows(lake)).changed

    def test_an_append_has_the_version_of_the_whole(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        publish(lake, PATH, MORE, mode=WriteMode.APPEND)
        publish(lake, PATH, ROWS.clear(), mode=WriteMode.APPEND)
        assert ids(lake) == [1, 2, 3, 4, 5]
        assert not publish(lake, PATH, pl.concat([MORE, ROWS])).changed

    def test_an_append_makes_an_absent_table(self, lake: Lake) -> None:
        publish(lake, PATH, MORE, mode=WriteMode.APPEND)
        assert ids(lake) == [4, 5]

    def test_an_append_takes_columns_in_any_order(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        publish(lake, PATH, MORE.select("price", "name", "id"), mode=WriteMode.APPEND)
        assert rows(lake).columns == ROWS.columns
        assert not publish(lake, PATH, pl.concat([ROWS, MORE])).changed

    @pytest.mark.parametrize(
        ("frame", "said"),
        [
            (ROWS.drop("name"), "lacks 'name'"),
            (ROWS.with_columns(extra=pl.lit(1)), "has 'extra'"),
            (ROWS.with_columns(pl.col("id").cast(pl.String)), "'id' as string instead of int64"),
        ],
        ids=["missing", "extra", "dtype"],
    )
    def test_an_append_of_another_schema_names_the_columns(self, lake: Lake, frame: pl.DataFrame, said: str) -> None:
        publish(lake, PATH, ROWS)
        with pytest.raises(TableWriteError, match=said):
            publish(lake, PATH, frame, mode=WriteMode.APPEND)
        assert_frame_equal(rows(lake), ROWS)

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            (pl.Series(["a", "b"], dtype=pl.Categorical), pl.String),
            (pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"])), pl.String),
            (pl.Series([1, 255], dtype=pl.UInt8), pl.Int16),
            (pl.Series([1, 65535], dtype=pl.UInt16), pl.Int32),
            (pl.Series([1, 2**32 - 1], dtype=pl.UInt32), pl.Int64),
            (pl.Series([1, 2**63 - 1], dtype=pl.UInt64), pl.Int64),
            (pl.Series([dt.datetime(2020, 1, 1)], dtype=pl.Datetime("ns")), pl.Datetime("us")),
            (pl.Series([dt.datetime(2020, 1, 1)], dtype=pl.Datetime("ms", "Asia/Tokyo")), pl.Datetime("us", "UTC")),
            (pl.Series([[1, 2]], dtype=pl.Array(pl.UInt8, 2)), pl.List(pl.Int16)),
            (pl.Series([{"a": ["x"]}], dtype=pl.Struct({"a": pl.List(pl.Categorical)})), pl.Struct({"a": pl.List(pl.String)})),
        ],
        ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else "",
    )  # fmt: skip
    def test_dtypes_that_delta_lacks_are_kept_by_the_documented_rule(
        self, lake: Lake, given: pl.Series, kept: pl.DataType
    ) -> None:
        publish(lake, PATH, pl.DataFrame({"c": given}))
        found = rows(lake).get_column("c")
        assert found.dtype == kept
        assert not publish(lake, PATH, rows(lake)).changed
        if isinstance(given.dtype, pl.Datetime):
            assert found.dt.epoch("us").to_list() == given.dt.epoch("us").to_list()
        else:
            assert found.to_list() == given.to_list()

    @pytest.mark.parametrize(
        "given",
        [
            pl.Series([dt.time(1, 2)]),
            pl.Series([dt.timedelta(seconds=1)]),
            pl.Series([None]),
            pl.Series([[None]]),
            pl.Series([2**63], dtype=pl.UInt64),
            pl.Series([1], dtype=pl.Int128),
            pl.Series([object()], dtype=pl.Object),
            pl.Series([1], dtype=pl.Int64).cast(pl.Datetime("ns")),
        ],
        ids=lambda value: str(value.dtype),
    )
    def test_what_delta_cannot_hold_is_an_error_that_names_the_column(self, lake: Lake, given: pl.Series) -> None:
        publish(lake, PATH, ROWS)
        with pytest.raises(TableWriteError, match="culprit"):
            publish(lake, PATH, pl.DataFrame({"id": [1], "culprit": given}))
        assert_frame_equal(rows(lake), ROWS)

    @pytest.mark.parametrize(
        "dtype", [pa.decimal256(50, 2), pa.map_(pa.string(), pa.int64()), pa.month_day_nano_interval()]
    )
    def test_arrow_types_beyond_delta_are_errors_that_name_the_column(self, lake: Lake, dtype: pa.DataType) -> None:
        with pytest.raises(TableWriteError, match="culprit"):
            publish(lake, PATH, pa.table({"culprit": pa.array([None], dtype)}))

    def test_a_table_needs_a_column(self, lake: Lake) -> None:
        with pytest.raises(TableWriteError, match="no columns"):
            publish(lake, PATH, pl.DataFrame())

    def test_columns_that_differ_in_case_only_are_refused(self, lake: Lake) -> None:
        with pytest.raises(TableWriteError, match=r"'a' and 'A'"):
            publish(lake, PATH, pl.DataFrame({"a": [1], "A": [2]}))

    def test_columns_of_one_name_are_refused(self, lake: Lake) -> None:
        with pytest.raises(TableWriteError, match="a"):
            publish(lake, PATH, pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]))

    def test_a_failure_in_the_data_itself_is_passed_on_and_publishes_nothing(self, lake: Lake) -> None:
        before = publish(lake, PATH, ROWS).commit
        with pytest.raises(pl.exceptions.ComputeError), lake.transaction() as tx:
            tx.write_table(PATH, ROWS.lazy().map_batches(_fail, schema=ROWS.schema))
        assert lake.resolve(MAIN) == before

    def test_every_delta_commit_carries_the_transaction(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS, id="tx-delta")
        history = lake.at(MAIN).delta(PATH).history(1)
        assert history[0][DELTA_TRANSACTION_KEY] == "tx-delta"

    def test_a_table_is_no_folder_and_a_folder_no_table(self, lake: Lake, tmp_path) -> None:  # type: ignore[no-untyped-def]
        (tmp_path / "source").mkdir()
        (tmp_path / "source" / "file").write_text("x")
        publish(lake, PATH, ROWS)
        publish_folder(lake, "shop/model", tmp_path / "source")
        snapshot = lake.at(MAIN)
        for read in (snapshot.table, snapshot.delta):
            with pytest.raises(WrongKindError, match="is a folder"):
                read("shop/model")
        with pytest.raises(WrongKindError, match="is a table"):
            snapshot.folder(PATH)
        with pytest.raises(WrongKindError):
            publish(lake, "shop/model", ROWS)
        with pytest.raises(WrongKindError):
            publish_folder(lake, PATH, tmp_path / "source")

    def test_an_absent_path_is_an_error_that_names_near_misses(self, lake: Lake) -> None:
        publish(lake, PATH, ROWS)
        snapshot = lake.at(MAIN)
        for read in (snapshot.table, snapshot.delta, snapshot.folder, snapshot.entry, snapshot.uri):
            with pytest.raises(PathNotFoundError, match=PATH):
                read("shop/datasets/order")
        assert not snapshot.has("shop/datasets/order")
        assert not snapshot.has("shop")


def _fail(frame: pl.DataFrame) -> pl.DataFrame:
    raise pl.exceptions.ComputeError("the plan is broken")
