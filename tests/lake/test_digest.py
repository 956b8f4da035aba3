"""The data version of tables: what it sees, what it does not see, and its exact values."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing.parametric import column, dataframes

from headwater.lake._digest import (
    DigestMismatchError,
    TableDigest,
    UndigestibleError,
    canonical_schema,
    digest_batches,
    digest_frame,
)
from tests.lake.digest_reference import lanes

DTYPES: list[Any] = [
    pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.Float32, pl.Float64, pl.String,
    pl.Binary, pl.Date, pl.Time, pl.Duration("us"), pl.Datetime("us"), pl.Datetime("us", "UTC"), pl.Datetime("ms"),
    pl.Decimal(20, 3), pl.Categorical, pl.Null, pl.List(pl.Int16), pl.List(pl.String), pl.List(pl.List(pl.Float32)),
    pl.Array(pl.Int32, 3), pl.Struct({"p": pl.Int64, "q": pl.String}), pl.List(pl.Struct({"p": pl.Float64})),
    pl.Struct({"p": pl.List(pl.Binary)}),
]  # fmt: skip
frames = dataframes(allowed_dtypes=DTYPES, min_cols=1, max_cols=5, max_size=30, allow_null=True)
plain = dataframes(
    [column("i", pl.Int64), column("s", pl.String), column("f", pl.Float64), column("b", pl.Binary)],
    min_size=1, max_size=20, allow_null=True,
)  # fmt: skip
checked = settings(max_examples=60, deadline=None)


def moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def awkward() -> pl.DataFrame:
    """Every dtype with a null, an extreme and a value that another dtype or cell could be taken for."""
    return pl.DataFrame(
        {
            "bool": [True, False, None, True],
            "int8": pl.Series([-128, 127, None, 0], dtype=pl.Int8),
            "int64": [-(2**63), 2**63 - 1, None, 0],
            "float32": pl.Series([0.1, float("nan"), None, 0.0], dtype=pl.Float32),
            "float64": [float("inf"), float("nan"), None, -1e-310],
            "string": ["", "ünïcödé, over eight bytes", None, "a\0"],
            "binary": [b"", b"\xff" * 17, None, b"12345678"],
            "date": [date(1, 1, 1), date(9999, 12, 31), None, date(1970, 1, 1)],
            "time": [time(0), time(23, 59, 59, 999999), None, time(12)],
            "naive": [datetime(1900, 1, 1), datetime(2200, 1, 1, 0, 0, 0, 1), None, datetime(1970, 1, 1)],
            "aware": [moment(2013, 3, 10, 7), moment(2013, 11, 3, 6, 30), None, moment(1970, 1, 1)],
            "duration": [timedelta(-1), timedelta(microseconds=1), None, timedelta(0)],
            "decimal": pl.Series([Decimal("-1.10"), Decimal("99999999999999999.99"), None, Decimal(0)], dtype=pl.Decimal(38, 2)),
            "list": [[1, None, 3], [], None, [0]],
            "struct": [{"p": 1, "q": "x"}, {"p": None, "q": None}, None, {"p": 0, "q": ""}],
            "nested": [[["a", None], []], [None], None, [[""]]],
            "null": pl.Series([None] * 4, dtype=pl.Null),
        }
    )  # fmt: skip


def plain_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    whole = [
        pl.col(name).to_physical() if dtype.is_temporal() else pl.col(name) for name, dtype in frame.schema.items()
    ]
    return frame.select(whole).to_dicts()


GOLDEN = {
    "empty frame": (pl.DataFrame(), "a643572f421c6ad9f09f80c5b2f2d78c4853c5b0817e76baf96432e315c52895"),
    "no rows": (
        pl.DataFrame(schema={"a": pl.Int8}),
        "e9cdc6bb1bb861d3df5f317144fcb83df93e7b885007f68457b8cad2c3119ebc",
    ),
    "awkward": (awkward(), "db202d64c5aa052b08b3d0b27ad33e32ac50f32fef9ecc2cc7d9542b6ec32c7f"),
    "long strings": (
        pl.DataFrame({"s": ["x" * 500, "y", None, ""]}),
        "3e96c19d1fa5a0da52e3f2c926b56b8900923bcedfdadbdea3e92c3f9bb15e94",
    ),
    "many rows": (
        pl.DataFrame({"n": range(70_000)}).with_columns(s=pl.col("n").cast(pl.String)),
        "52bcb8b3af45a725f075899c3fa2b9b87181f2ded25237927b8f1a987444c2f5",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_vectors_never_change(name: str) -> None:
    frame, version = GOLDEN[name]
    assert digest_frame(frame).hex == version


def test_the_arrays_compute_what_the_description_says() -> None:
    frame = awkward()
    digest = digest_frame(frame)
    assert digest.lanes == lanes(plain_rows(frame), dict(digest.schema))


@checked
@given(dataframes(allowed_dtypes=[pl.Int32, pl.String, pl.Float64, pl.List(pl.String)], max_cols=3, max_size=6))
def test_any_frame_digests_as_the_description_says(frame: pl.DataFrame) -> None:
    digest = digest_frame(frame)
    assert digest.lanes == lanes(frame.to_dicts(), dict(digest.schema))


@checked
@given(frames, st.randoms())
def test_the_order_of_rows_does_not_count(frame: pl.DataFrame, draw: Any) -> None:
    order = list(range(frame.height))
    draw.shuffle(order)
    assert digest_frame(frame[order]) == digest_frame(frame)


@checked
@given(frames, st.integers(0, 30))
def test_the_parts_add_up_to_the_whole(frame: pl.DataFrame, at: int) -> None:
    first, second = frame[:at], frame[at:]
    whole = digest_frame(frame)
    assert digest_frame(first) + digest_frame(second) == whole
    assert digest_frame(pl.concat([first, second], rechunk=False)) == whole
    assert TableDigest.from_json(whole.to_json()) == whole


@checked
@given(frames, st.integers(1, 7), st.integers(0, 5))
def test_arrow_batches_of_any_cut_and_offset_digest_alike(frame: pl.DataFrame, size: int, skip: int) -> None:
    arrow = frame.to_arrow()
    batches = arrow.to_batches(max_chunksize=size)
    assert digest_batches(batches, arrow.schema) == digest_frame(frame)
    cut = arrow.slice(skip, size)
    assert digest_batches([cut], arrow.schema) == digest_frame(frame[skip : skip + size])


@checked
@given(dataframes(allowed_dtypes=DTYPES[:18], min_cols=1, max_cols=4, max_size=20, allow_null=True))
def test_a_round_trip_through_parquet_keeps_the_digest(frame: pl.DataFrame) -> None:
    import io

    file = io.BytesIO()
    frame.write_parquet(file, row_group_size=3)
    file.seek(0)
    assert digest_frame(pl.read_parquet(file)) == digest_frame(frame)


def test_what_delta_reads_back_digests_as_what_was_given(tmp_path: Path) -> None:
    frame = awkward().drop("time", "duration", "null").with_columns(
        category=pl.Series(["a", "b", None, "a"], dtype=pl.Categorical),
        enum=pl.Series(["a", "b", None, "a"], dtype=pl.Enum(["b", "a"])),
        millis=pl.col("naive").cast(pl.Datetime("ms")),
        array=pl.Series([[1, 2], [3, 4], None, [0, 0]], dtype=pl.Array(pl.Int32, 2)),
    )  # fmt: skip
    given = digest_frame(frame)
    frame = frame.cast(
        {"category": pl.String, "enum": pl.String, "array": pl.List(pl.Int32)}
    )  # as the lake writes them
    frame.write_delta(str(tmp_path / "one"))
    assert digest_frame(pl.read_delta(str(tmp_path / "one"))) == given
    table = DeltaTable(tmp_path / "one").to_pyarrow_table()
    assert digest_batches([table], table.schema) == given
    other = frame.reverse()
    other[:1].write_delta(str(tmp_path / "two"))
    other[1:].write_delta(str(tmp_path / "two"), mode="append")
    DeltaTable(tmp_path / "two").optimize.compact()
    assert digest_frame(pl.read_delta(str(tmp_path / "two"))) == given


def test_unsigned_integers_digest_as_the_signed_ones_that_hold_them(tmp_path: Path) -> None:
    pairs = [(pl.UInt8, pl.Int16), (pl.UInt16, pl.Int32), (pl.UInt32, pl.Int64), (pl.UInt64, pl.Int64)]
    for unsigned, signed in pairs:
        top = 2**63 - 1 if unsigned is pl.UInt64 else unsigned.max()  # type: ignore[attr-defined]
        top = top if isinstance(top, int) else pl.select(top).item()
        frame = pl.DataFrame({"u": [0, top, None]}, schema={"u": unsigned})
        assert digest_frame(frame) == digest_frame(frame.cast(signed))


@checked
@given(plain, st.data())
def test_one_changed_cell_changes_the_digest(frame: pl.DataFrame, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(frame.columns))
    row = data.draw(st.integers(0, frame.height - 1))
    old = frame[row, name]
    by_dtype = {"i": st.integers(-5, 5), "s": st.text(max_size=9), "f": st.floats(), "b": st.binary(max_size=9)}
    new = data.draw(st.none() | by_dtype[name])
    assume(not (new == old or (new != new and old is not None and old != old)))
    values = frame[name].to_list()
    values[row] = new
    changed = frame.with_columns(pl.Series(name, values, dtype=frame.schema[name]))
    assert digest_frame(changed) != digest_frame(frame)


@checked
@given(plain)
def test_a_duplicated_row_counts(frame: pl.DataFrame) -> None:
    once = digest_frame(frame)
    assert len({once, once + digest_frame(frame[:1]), once + digest_frame(frame[:1]) + digest_frame(frame[:1])}) == 3
    assert digest_frame(pl.concat([frame, frame])) == once + once != once


def test_values_that_swap_places_between_rows_or_columns_are_seen() -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": [3, 4], "s": ["x", "y"], "t": ["y", "x"]})
    seen = {
        digest_frame(frame).hex,
        digest_frame(frame.with_columns(b=pl.col("b").reverse())).hex,
        digest_frame(frame.with_columns(s=pl.col("s").reverse())).hex,
        digest_frame(frame.with_columns(s=pl.col("t"), t=pl.col("s"), a=pl.col("b"), b=pl.col("a"))).hex,
    }
    assert len(seen) == 4


def test_absences_differ() -> None:
    numbers = [None, float("nan"), 0.0, float("inf"), float("-inf"), 5e-324]
    assert len({digest_frame(pl.DataFrame({"x": [v]}, schema={"x": pl.Float64})).hex for v in numbers}) == 6
    texts = [None, "", "\0", "\0\0", " ", "null"]
    assert len({digest_frame(pl.DataFrame({"x": [v]}, schema={"x": pl.String})).hex for v in texts}) == 6
    lists = [None, [], [None], [None, None], [0], [0, None]]
    assert len({digest_frame(pl.DataFrame({"x": [v]}, schema={"x": pl.List(pl.Int64)})).hex for v in lists}) == 6
    nests = [[["a"], ["b"]], [["a", "b"]], [["a", "b"], []], [["b"], ["a"]], [["ab"]]]
    assert len({digest_frame(pl.DataFrame({"x": [v]})).hex for v in nests}) == 5


def test_negative_zero_is_zero_and_every_nan_is_one() -> None:
    for dtype, quiet in (("<f8", b"\x01\0\0\0\0\0\xf8\xff"), ("<f4", b"\x01\0\xc0\xff")):
        import numpy as np

        odd = np.frombuffer(quiet, dtype=dtype)
        given = pl.DataFrame({"x": np.array([-0.0, odd[0]], dtype=dtype)})
        assert digest_frame(given) == digest_frame(pl.DataFrame({"x": np.array([0.0, np.nan], dtype=dtype)}))


def test_dtype_name_and_order_of_columns_count() -> None:
    frame = pl.DataFrame({"a": [1], "b": [1]})
    seen = {
        digest_frame(changed).hex
        for changed in (
            frame,
            frame.rename({"b": "c"}),
            frame.select("b", "a"),
            frame.cast({"a": pl.Int32}),
            frame.cast({"a": pl.Float64}),
            frame.cast({"a": pl.Boolean}),
            frame.cast({"a": pl.Datetime("us")}),
            frame.cast({"a": pl.Datetime("us", "UTC")}),
            frame.cast({"a": pl.Decimal(10, 0)}),
            frame.cast({"a": pl.Decimal(11, 0)}),
            frame.cast({"a": pl.Duration("us")}),
            frame.cast({"a": pl.Duration("ms")}),
            frame.select("a"),
        )
    }
    assert len(seen) == 13


def test_an_instant_is_the_same_in_every_zone() -> None:
    frame = pl.DataFrame({"at": [moment(2013, 11, 3, 6, 30)]})
    local = frame.with_columns(pl.col("at").dt.convert_time_zone("America/New_York"))
    assert digest_frame(local) == digest_frame(frame)
    assert digest_frame(frame.with_columns(pl.col("at").dt.replace_time_zone(None))) != digest_frame(frame)


def test_what_lies_behind_a_null_is_not_looked_at() -> None:
    import numpy as np

    mask = pa.array([True, False]).buffers()[1]
    dirty = pa.Array.from_buffers(pa.uint64(), 2, [mask, pa.py_buffer(np.array([1, 2**64 - 1], dtype=np.uint64))])
    clean = pa.array([1, None], pa.uint64())
    schema = pa.schema({"u": pa.uint64()})
    dirty_digest = digest_batches([pa.record_batch([dirty], schema)], schema)
    assert dirty_digest == digest_batches([pa.record_batch([clean], schema)], schema)


@pytest.mark.parametrize(
    "dtype",
    [
        pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
    ],
)  # fmt: skip
def test_text_digests_alike_in_every_arrow_form(dtype: pa.DataType) -> None:
    schema = pa.schema({"s": dtype})
    batch = pa.record_batch([pa.array(["a", None, "longer than eight", "a"]).cast(dtype)], schema)
    frame = pl.DataFrame({"s": ["a", None, "longer than eight", "a"]})
    assert digest_batches([batch], schema) == digest_frame(frame)


def test_a_dictionary_without_values_digests_as_nulls_of_its_values() -> None:
    # Found by the test of cuts: such a cell had one word, a null string has two.
    dtype = pa.dictionary(pa.int32(), pa.string())
    empty = pa.DictionaryArray.from_arrays(pa.array([None], pa.int32()), pa.array([], pa.string()))
    schema = pa.schema({"s": dtype})
    assert digest_batches([pa.record_batch([empty], schema)], schema) == digest_frame(
        pl.DataFrame({"s": [None]}, schema={"s": pl.String})
    )


def test_binary_decimal_map_and_time_digest_alike_in_every_arrow_form() -> None:
    octets = [b"1234", None, b"abcd"]
    forms = [pa.binary(), pa.large_binary(), pa.binary(4), pa.binary_view()]
    assert (
        len({digest_batches([pa.table({"x": pa.array(octets, form)})], pa.schema({"x": form})) for form in forms}) == 1
    )
    money = [Decimal("-1.25"), None]
    wide = [pa.decimal32(9, 2), pa.decimal64(9, 2), pa.decimal128(9, 2), pa.decimal256(9, 2)]
    assert len({digest_batches([pa.table({"x": pa.array(money, form)})], pa.schema({"x": form})) for form in wide}) == 1
    clock = [time(1, 2, 3), None]
    units = [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]
    assert (
        len({digest_batches([pa.table({"x": pa.array(clock, form)})], pa.schema({"x": form})) for form in units}) == 1
    )
    kind = pa.map_(pa.string(), pa.int64())
    pairs = pa.table({"x": pa.array([[("a", 1), ("b", None)], None, []], kind)})
    listed = pl.DataFrame({"x": [[{"key": "a", "value": 1}, {"key": "b", "value": None}], None, []]})
    assert digest_batches([pairs], pairs.schema) == digest_frame(listed)


def test_values_without_a_canonical_form_are_refused_by_column() -> None:
    nanos = pl.DataFrame({"at": [1001]}).cast(pl.Datetime("ns"))
    with pytest.raises(UndigestibleError, match=r"'at' has no data version: a timestamp lies between"):
        digest_frame(nanos)
    with pytest.raises(UndigestibleError, match=r"'u'.*above 2\^63"):
        digest_frame(pl.DataFrame({"u": [2**63]}, schema={"u": pl.UInt64}))
    with pytest.raises(UndigestibleError, match=r"'o'.*Object"):
        digest_frame(pl.DataFrame({"o": [object()]}))
    with pytest.raises(UndigestibleError, match=r"'i'.*Int128"):
        digest_frame(pl.DataFrame({"i": [[1]]}, schema={"i": pl.List(pl.Int128)}))
    with pytest.raises(UndigestibleError, match="two columns have this name"):
        canonical_schema(pa.schema([("a", pa.int8()), ("a", pa.int8())]))
    with pytest.raises(UndigestibleError, match="out of range"):
        digest_frame(pl.DataFrame({"at": [2**62]}).cast(pl.Datetime("ms")))


def test_whole_microseconds_in_nanoseconds_digest_as_microseconds() -> None:
    frame = pl.DataFrame({"at": [datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(2013, 1, 1, 0, 0, 0, 7)]})
    assert digest_frame(frame.cast(pl.Datetime("ns"))) == digest_frame(frame)


def test_digests_of_two_schemas_do_not_add() -> None:
    one = digest_frame(pl.DataFrame({"a": [1], "b": [2]}))
    with pytest.raises(DigestMismatchError, match="differ in 'b', 'c'"):
        one + digest_frame(pl.DataFrame({"a": [1], "c": [2]}))
    with pytest.raises(DigestMismatchError, match="another order"):
        one + digest_frame(pl.DataFrame({"b": [1], "a": [2]}))
    with pytest.raises(DigestMismatchError):
        digest_batches([pa.table({"a": ["x"]})], pa.schema({"a": pa.int64()}))


def test_the_empty_digest_is_neutral_and_knows_its_schema() -> None:
    digest = digest_frame(pl.DataFrame({"a": [1]}))
    empty = TableDigest.empty({"a": "int64"})
    assert empty + digest == digest
    assert empty == digest_frame(pl.DataFrame(schema={"a": pl.Int64}))
    assert empty != TableDigest.empty({"a": "int32"})


def test_long_values_digest_alike_however_blocks_are_cut() -> None:
    text = pl.DataFrame({"s": [chr(97 + n % 26) * (n * 37 % 4001) for n in range(600)]})
    numbers = pl.DataFrame({"v": [[float(n)] * (n % 700) for n in range(300)]})
    for frame in (text, numbers):
        whole = digest_frame(frame)
        parts = [digest_frame(part) for part in frame.iter_slices(7)]
        assert sum(parts[1:], parts[0]) == whole


def test_a_table_written_by_another_writer_has_the_same_digest(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": range(1000), "s": [str(n % 7) for n in range(1000)]})
    write_deltalake(tmp_path / "p", frame.to_arrow(compat_level=pl.CompatLevel.oldest()), partition_by=["s"])
    assert digest_frame(pl.read_delta(str(tmp_path / "p")).select("n", "s")) == digest_frame(frame)
