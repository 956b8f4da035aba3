"""One row at a time gives the numbers that a frame gives, and refuses what a frame refuses."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.models import Preprocessing
from headwater.models.errors import MissingColumnsError, NullInputError, WrongDtypeError
from headwater.models.row_encoder import RowEncoder

TRAIN = pl.DataFrame(
    {
        "distance": [100, 2_000, None],
        "delay": [1.5, None, -3.0],
        "night": [True, False, None],
        "origin": ["EWR", "JFK", "EWR"],
        "gate": [1, 2, 2],
        "hour": [5, 6, 7],
    },
    schema={
        "distance": pl.Int32, "delay": pl.Float64, "night": pl.Boolean, "origin": pl.String, "gate": pl.Int16, "hour": pl.Int8
    },
)  # fmt: skip
FITTED = Preprocessing.fit(TRAIN, features=TRAIN.columns, categorical=("origin", "gate"), not_null=("hour",))
ENCODER = RowEncoder(FITTED)

numbers = st.none() | st.integers(-(2**63), 2**64 - 1) | st.floats()
rows = st.fixed_dictionaries(
    {
        "distance": numbers,
        "delay": numbers,
        "night": st.none() | st.booleans(),
        "origin": st.none() | st.sampled_from(["EWR", "JFK", "LGA", ""]),
        "gate": st.none() | st.integers(-3, 3),
        "hour": st.integers(0, 23),
    }
)


def in_a_frame(row: dict[str, Any]) -> np.ndarray:
    frame = pl.DataFrame({name: [value] for name, value in row.items()})
    return FITTED.transform(frame)


@settings(max_examples=400, deadline=None)
@given(rows)
def test_a_row_has_the_numbers_that_it_has_in_a_frame(row: dict[str, Any]) -> None:
    np.testing.assert_array_equal(ENCODER.matrix([{**row, "more": object()}]), in_a_frame(row))


@settings(max_examples=400, deadline=None)
@given(st.lists(rows, max_size=5))
def test_rows_of_values_in_order_have_the_numbers_of_rows_by_name(many: list[dict[str, Any]]) -> None:
    values = [tuple(row[name] for name in ENCODER.names) for row in many]
    np.testing.assert_array_equal(ENCODER.encode(values), ENCODER.matrix(many))


GOOD: dict[str, Any] = {"distance": 1, "delay": 1.0, "night": True, "origin": "EWR", "gate": 1, "hour": 1}


def test_many_rows_are_the_rows_of_a_matrix_in_their_order() -> None:
    found = ENCODER.matrix([GOOD, {**GOOD, "hour": 2}])
    assert found.shape == (2, 6)
    assert found.flags.c_contiguous
    assert found[:, 5].tolist() == [1, 2]
    assert ENCODER.matrix([]).shape == (0, 6)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("distance", "far"), ("distance", True), ("distance", 2**64), ("distance", 10**400), ("distance", [1]), ("delay", b"1"), ("night", 1),
        ("night", "yes"), ("origin", 1), ("origin", True), ("gate", "1"), ("gate", 1.0), ("gate", True), ("hour", "6"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_by_its_column(column: str, value: Any) -> None:
    with pytest.raises(WrongDtypeError, match=column):
        ENCODER.matrix([GOOD, {**GOOD, column: value}])
    with pytest.raises(WrongDtypeError, match=column):
        ENCODER.encode([tuple({**GOOD, column: value}.values())])


def test_a_null_that_cannot_be_and_a_column_that_is_not_there_are_named() -> None:
    with pytest.raises(NullInputError, match="hour"):
        ENCODER.matrix([{**GOOD, "hour": None}])
    with pytest.raises(MissingColumnsError, match="'gate', 'hour'"):
        ENCODER.matrix([{name: GOOD[name] for name in ("distance", "delay", "night", "origin")}])


def test_a_number_that_is_none_is_like_a_null() -> None:
    found = ENCODER.matrix([{**GOOD, "delay": math.inf}, {**GOOD, "delay": math.nan}, {**GOOD, "delay": None}])
    assert np.isnan(found[:, 1]).all()
