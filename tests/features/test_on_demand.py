"""Features that one function computes from a request: in a training set, and refused where they cannot be."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from headwater.features import FeatureView, OnDemandFeatures, add_on_demand, fill_defaults
from headwater.features._on_demand import fitted
from headwater.features.errors import (
    ColumnClashError,
    FeatureViewError,
    MissingColumnError,
    OnDemandError,
    OnDemandFaultError,
    OnDemandValueError,
)


def pace(distance: float, minutes: int | None) -> tuple[float | None, bool]:
    if distance < 0:
        raise ValueError("a negative distance")
    return (None if minutes is None else distance / minutes), minutes is None


def weekday(at: datetime) -> tuple[int]:
    return (at.isoweekday(),)


def wrong_count(distance: float) -> tuple[Any, ...]:
    return (distance, distance)


def no_number(distance: float) -> tuple[Any, ...]:
    return ("far",)


PACE = OnDemandFeatures(
    name="pace", function=pace, inputs=("distance", "minutes"), outputs={"pace": pl.Float64, "is_open": pl.Boolean}
)
ROWS = pl.DataFrame({"distance": [10.0, 4.0, 1.0], "minutes": [5, None, 2]}, schema_overrides={"minutes": pl.Int32})


def test_each_row_gets_what_the_function_makes_of_it() -> None:
    found = add_on_demand(ROWS, [PACE])
    made = pl.DataFrame({"pace": [2.0, None, 0.5], "is_open": [False, True, False]})
    assert_frame_equal(found, ROWS.hstack(made))


@given(rows=st.lists(st.tuples(st.floats(0, 1e9), st.none() | st.integers(1, 10**6))))
def test_a_frame_has_exactly_what_single_calls_give(rows: list[tuple[float, int | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"distance": pl.Float64, "minutes": pl.Int64}, orient="row")
    assert add_on_demand(frame, [PACE]).select("pace", "is_open").rows() == [pace(*row) for row in rows]


def same_value(found: Any, wanted: Any) -> bool:
    return type(found) is type(wanted) and (found == wanted or (found != found and wanted != wanted))


WHOLE = [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64]
BORDERS = [
    sign * 2**bits + step for sign in (1, -1) for bits in (7, 8, 15, 16, 24, 31, 32, 53, 63, 64) for step in (-1, 0, 1)
]


@settings(max_examples=400)
@given(
    value=st.none() | st.booleans() | st.text() | st.floats() | st.integers(-(2**70), 2**70) | st.sampled_from(BORDERS),
    dtype=st.sampled_from([pl.Float32, pl.Float64, pl.Boolean, pl.String, *WHOLE]),
)
def test_a_value_of_one_request_is_what_a_column_of_the_training_holds(value: Any, dtype: Any) -> None:
    def given_value(distance: float) -> tuple[Any]:
        return (value,)

    given_value.__qualname__ = "given_value"  # as if it stood at the top of a module
    one = OnDemandFeatures(name="o", function=given_value, inputs=("distance",), outputs={"y": dtype})
    try:
        wanted = add_on_demand(ROWS.head(1), [one])["y"].to_list()
    except OnDemandValueError:
        with pytest.raises(OnDemandValueError, match="'y'"):
            fitted("o", (value,), ("y",), (str(dtype),))
    else:
        (found,) = fitted("o", (value,), ("y",), (str(dtype),))
        assert same_value(found, wanted[0])


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(7, "Int8"), (7, "Int32"), (2**64 - 1, "UInt64"), (7, "Float32"), (7, "Float64"), (0.5, "Float32")],
)
def test_a_plain_number_needs_no_frame(monkeypatch: pytest.MonkeyPatch, value: float, dtype: str) -> None:
    monkeypatch.delattr(pl, "Series")  # takes 15 microseconds for one value
    assert fitted("o", (value,), ("y",), (dtype,)) == [value]


def test_values_of_dtypes_that_no_model_reads_stay_as_they_are() -> None:
    moment = datetime(2013, 7, 1, 3, tzinfo=UTC)
    assert fitted("o", (moment,), ("y",), (str(pl.Datetime("us", "UTC")),)) == [moment]


def test_one_function_reads_what_another_one_made() -> None:
    def half(value: float | None) -> tuple[float | None]:
        return (None if value is None else value / 2,)

    half.__qualname__ = "half"  # as if it stood at the top of a module
    second = OnDemandFeatures(name="half", function=half, inputs=("pace",), outputs={"half_pace": pl.Float64})
    assert add_on_demand(ROWS, [PACE, second])["half_pace"].to_list() == [1.0, None, 0.25]
    with pytest.raises(MissingColumnError, match="'pace'"):
        add_on_demand(ROWS, [second, PACE])


def test_times_come_with_their_zone() -> None:
    at = datetime(2013, 7, 1, 3, tzinfo=UTC)
    one = OnDemandFeatures(name="weekday", function=weekday, inputs=("at",), outputs={"weekday": pl.Int8})
    assert add_on_demand(pl.DataFrame({"at": [at]}), [one])["weekday"].to_list() == [1]


def test_values_that_the_function_refuses_are_named() -> None:
    with pytest.raises(OnDemandValueError, match=r"'pace'.*distance=-1.0, minutes=3: ValueError: a negative distance"):
        add_on_demand(pl.DataFrame({"distance": [-1.0], "minutes": [3]}), [PACE])
    with pytest.raises(OnDemandValueError, match="ZeroDivisionError"):
        add_on_demand(pl.DataFrame({"distance": [1.0], "minutes": [0]}), [PACE])


def test_a_fault_of_the_function_names_the_row_and_is_none_of_its_values() -> None:
    def unsure(distance: float) -> tuple[float]:
        assert distance < 2, "too far"
        return (distance,)

    unsure.__qualname__ = "unsure"  # as if it stood at the top of a module
    one = OnDemandFeatures(name="pace", function=unsure, inputs=("distance",), outputs={"pace": pl.Float64})
    with pytest.raises(OnDemandFaultError, match=r"'pace' failed at distance=7.0: AssertionError: too far") as found:
        add_on_demand(pl.DataFrame({"distance": [1.0, 7.0]}), [one])
    assert isinstance(found.value.__cause__, AssertionError)


@pytest.mark.parametrize(("function", "said"), [(wrong_count, "not a tuple of pace"), (no_number, "is Float64")])
def test_what_the_declaration_does_not_say_is_refused(function: Any, said: str) -> None:
    one = OnDemandFeatures(name="pace", function=function, inputs=("distance",), outputs={"pace": pl.Float64})
    with pytest.raises(OnDemandValueError, match=said):
        add_on_demand(ROWS, [one])


def test_a_column_that_is_there_is_not_replaced() -> None:
    with pytest.raises(ColumnClashError, match="pace"):
        add_on_demand(ROWS.with_columns(pace=1.0), [PACE])


@pytest.mark.parametrize(
    "declared",
    [
        {"function": lambda distance: (distance,)},
        {"function": partial(pace, minutes=1)},
        {"inputs": ()},
        {"outputs": {}},
        {"outputs": {"distance": pl.Float64}},
        {"inputs": ("distance", "distance")},
    ],
)
def test_a_declaration_that_cannot_be_is_refused(declared: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"function": wrong_count, "inputs": ("distance",), "outputs": {"pace": pl.Float64}}
    with pytest.raises(OnDemandError, match="On-demand features 'pace'"):
        OnDemandFeatures(name="pace", **{**usual, **declared})


def view(**more: Any) -> FeatureView:
    return FeatureView(name="calls", path="p/calls", entity=("who",), features=("calls", "spent"), prefix="c_", **more)


def test_a_default_takes_the_place_of_null_and_of_nothing_else() -> None:
    joined = pl.DataFrame({"c_calls": [3, None, 0], "c_spent": [None, 1.5, float("nan")]})
    found = fill_defaults(joined, [view(defaults={"calls": -1})])
    assert found["c_calls"].to_list() == [3, -1, 0]
    assert found["c_spent"].to_list()[:2] == [None, 1.5]
    assert found.schema == joined.schema


@pytest.mark.parametrize("value", ["none", 0.5, 2**70])
def test_a_default_of_another_dtype_is_refused(value: Any) -> None:
    with pytest.raises(FeatureViewError, match=r"'c_calls' is no Int64"):
        fill_defaults(pl.DataFrame({"c_calls": [None, 1]}), [view(defaults={"calls": value})])


@pytest.mark.parametrize("defaults", [{"strange": 1}, {"calls": None}])
def test_a_default_of_no_feature_or_of_null_is_refused(defaults: dict[str, Any]) -> None:
    with pytest.raises(FeatureViewError, match="default"):
        view(defaults=defaults)
