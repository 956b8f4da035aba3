"""Text becomes typed columns, or an error that shows the cells: never a silent null."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.parsing import PROBLEM, Field, parse_text
from headwater.product import RejectedInputError

WHOLE, MAYBE = Field(pl.Int32), Field(pl.Int32, nullable=True)
INSTANT = Field(pl.Datetime("us", "UTC"), format="%Y-%m-%dT%H:%M:%SZ")


def parse(values: list[str | None], field: Field) -> pl.Series:
    return parse_text(pl.DataFrame({"cell": pl.Series(values, dtype=pl.String)}), {"cell": field}, name="file.csv")[
        "cell"
    ]


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("5", WHOLE, 5),
        ("-5", WHOLE, -5),
        ("NA", MAYBE, None),
        ("", MAYBE, None),
        ("0.25", Field(pl.Float64), 0.25),
        ("1e3", Field(pl.Float64), 1000.0),
        ("N1", Field(pl.String), "N1"),
        ("2013-01-01T10:00:00Z", INSTANT, datetime(2013, 1, 1, 10, tzinfo=UTC)),
        ("2013-02-28", Field(pl.Date, format="%Y-%m-%d"), datetime(2013, 2, 28).date()),
    ],
)
def test_a_readable_cell_becomes_its_value(text: str, field: Field, value: object) -> None:
    assert parse([text], field).to_list() == [value]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("NA", WHOLE),
        ("", WHOLE),
        (None, WHOLE),
        ("five", MAYBE),
        ("5.0", MAYBE),
        (" 5", MAYBE),
        ("99999999999", MAYBE),
        ("nan", Field(pl.Float64, nullable=True)),
        ("inf", Field(pl.Float64, nullable=True)),
        ("NULL", MAYBE),
        ("2013-02-30T10:00:00Z", INSTANT),
        ("2013-01-01 10:00:00", INSTANT),
        ("2013-02-30", Field(pl.Date, format="%Y-%m-%d")),
    ],
)
def test_an_unreadable_cell_is_refused_with_its_row(text: str | None, field: Field) -> None:
    good = "2013-01-01T10:00:00Z" if field.dtype == INSTANT.dtype else "2013-01-01" if field.dtype is pl.Date else "1"
    with pytest.raises(RejectedInputError, match=r"file\.csv cannot be read: 1 cells of 'cell'.*row 2") as refused:
        parse([good, text, good], field)
    assert refused.value.rows is not None
    assert refused.value.rows.to_dicts() == [{"cell": text, PROBLEM: "cell"}]


def test_every_bad_column_of_a_row_is_named_once() -> None:
    rows = pl.DataFrame({"a": ["1", "x", "3"], "b": ["y", "x", "3"]})
    with pytest.raises(RejectedInputError, match=r"1 cells of 'a'.*2 cells of 'b'") as refused:
        parse_text(rows, {"a": WHOLE, "b": WHOLE}, name="file.csv")
    assert refused.value.rows is not None
    assert refused.value.rows[PROBLEM].to_list() == ["b", "a, b"]


def test_five_examples_are_enough_and_all_rows_are_kept() -> None:
    with pytest.raises(RejectedInputError, match="20 cells") as refused:
        parse(["x"] * 20, WHOLE)
    assert str(refused.value).count("row ") == 5
    assert refused.value.rows is not None
    assert refused.value.rows.height == 20


def test_a_missing_column_is_named_with_those_there() -> None:
    with pytest.raises(RejectedInputError, match=r"lacks the columns \['b'\]; it has \['a'\]"):
        parse_text(pl.DataFrame({"a": ["1"]}), {"a": WHOLE, "b": WHOLE}, name="file.csv")


def test_no_rows_become_no_rows_of_the_right_dtypes() -> None:
    found = parse_text(pl.DataFrame(schema={"a": pl.String, "b": pl.String}), {"b": INSTANT}, name="file.csv")
    assert dict(found.schema) == {"b": pl.Datetime("us", "UTC")}


def test_the_texts_for_null_are_the_callers() -> None:
    rows = pl.DataFrame({"a": ["-", "1"]})
    assert parse_text(rows, {"a": MAYBE}, name="file.csv", null_texts=("-",))["a"].to_list() == [None, 1]


@given(st.lists(st.integers(-(2**31), 2**31 - 1) | st.none(), max_size=20))
def test_whole_numbers_survive_their_text(values: list[int | None]) -> None:
    assert parse(["NA" if value is None else str(value) for value in values], MAYBE).to_list() == values


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_finite_numbers_survive_their_text(values: list[float]) -> None:
    assert parse([repr(value) for value in values], Field(pl.Float64)).to_list() == values


@given(st.text(max_size=8))
def test_a_cell_is_a_value_a_null_text_or_an_error(text: str) -> None:
    try:
        found = parse([text], MAYBE).to_list()[0]
    except RejectedInputError:
        assert text not in ("", "NA")
    else:
        assert (found is None) == (text in ("", "NA"))
