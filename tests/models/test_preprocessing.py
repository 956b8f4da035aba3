import json
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.models import Preprocessing, Signature
from headwater.models.errors import MissingColumnsError, NullInputError, RecordError, WrongDtypeError
from headwater.models.pyfunc import from_pandas

TRAIN = pl.DataFrame(
    {
        "number": [1.5, None, 3.0],
        "count": [1, 2, 3],
        "kind": ["a", "b", "b"],
        "code": [10, 20, 20],
        "flag": [True, False, None],
    }
)
FEATURES = ("number", "count", "kind", "code", "flag")
FITTED = Preprocessing.fit(TRAIN, features=FEATURES, categorical=("kind", "code"))


def test_numbers_pass_nulls_are_nan_and_categories_count_from_one() -> None:
    expected = [[1.5, 1, 1, 1, 1], [np.nan, 2, 2, 2, 0], [3.0, 3, 2, 2, np.nan]]
    np.testing.assert_array_equal(FITTED.transform(TRAIN), np.array(expected))


def test_a_null_and_an_unknown_category_get_the_reserved_code() -> None:
    frame = TRAIN.with_columns(kind=pl.Series([None, "never seen", "a"]), code=pl.Series([None, 30, 10]))
    assert FITTED.transform(frame)[:, 2].tolist() == [0, 0, 1]
    assert FITTED.transform(frame)[:, 3].tolist() == [0, 0, 1]


def test_rare_categories_are_learned_as_unknown() -> None:
    fitted = Preprocessing.fit(TRAIN, features=("kind",), categorical=("kind",), rare_below=2)
    assert fitted.features[0].vocabulary == ("b",)
    assert fitted.transform(TRAIN)[:, 0].tolist() == [0, 1, 1]


def test_infinite_and_nan_numbers_are_unknown() -> None:
    frame = TRAIN.with_columns(number=pl.Series([np.inf, -np.inf, np.nan]))
    assert np.isnan(FITTED.transform(frame)[:, 0]).all()


def test_the_json_round_trip_changes_nothing() -> None:
    text = json.dumps(FITTED.to_json())
    assert Preprocessing.from_json(json.loads(text)) == FITTED


def test_further_columns_and_other_widths_of_a_dtype_change_nothing() -> None:
    other = TRAIN.with_columns(
        pl.col("number").cast(pl.Float32),
        pl.col("count").cast(pl.UInt8),
        pl.col("kind").cast(pl.Categorical),
        x=pl.lit(1),
    )
    np.testing.assert_array_equal(FITTED.transform(other), FITTED.transform(TRAIN))


def test_an_all_null_column_of_no_type_is_accepted_where_nulls_are() -> None:
    frame = TRAIN.with_columns(number=pl.Series([None] * 3), kind=pl.Series([None] * 3), flag=pl.Series([None] * 3))
    encoded = FITTED.transform(frame)
    assert np.isnan(encoded[:, [0, 4]]).all()
    assert (encoded[:, 2] == 0).all()


def test_every_missing_column_is_named_at_once() -> None:
    with pytest.raises(MissingColumnsError, match="'count', 'kind'") as caught:
        FITTED.transform(TRAIN.drop("kind", "count"))
    assert caught.value.columns == ("count", "kind")


@pytest.mark.parametrize(
    ("column", "values"), [("number", ["x"] * 3), ("kind", [1, 2, 3]), ("flag", [1, 0, 1]), ("code", ["10"] * 3)]
)
def test_another_dtype_than_in_training_is_an_error_that_names_the_column(column: str, values: list[object]) -> None:
    with pytest.raises(WrongDtypeError, match=f"'{column}'"):
        FITTED.transform(TRAIN.with_columns(pl.Series(column, values)))


def test_a_datetime_or_a_list_is_no_feature() -> None:
    for values in ([datetime(2013, 1, 1)], [[1]]):
        with pytest.raises(WrongDtypeError, match="upstream"):
            Preprocessing.fit(pl.DataFrame({"x": values}), features=("x",))


def test_a_text_that_is_not_declared_categorical_says_how_to_declare_it() -> None:
    with pytest.raises(WrongDtypeError, match="`categorical`"):
        Preprocessing.fit(TRAIN, features=("kind",))


def test_a_null_in_a_column_declared_never_null_is_an_error_with_its_count() -> None:
    fitted = Preprocessing.fit(TRAIN, features=("count",), not_null=("count",))
    with pytest.raises(NullInputError, match="2 nulls"):
        fitted.transform(pl.DataFrame({"count": [None, None, 1]}))


@pytest.mark.parametrize(
    "damage", [{}, {"unknown_code": 9, "features": []}, {"unknown_code": 0, "features": [{"name": "x"}]}]
)
def test_a_damaged_record_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(RecordError, match="preprocessing"):
        Preprocessing.from_json(damage)


def test_the_signature_does_not_depend_on_the_categories_seen_but_on_columns_and_dtypes() -> None:
    base = Signature.of(FITTED).digest()
    more = Preprocessing.fit(TRAIN.with_columns(kind=pl.lit("z")), features=FEATURES, categorical=("kind", "code"))
    assert Signature.of(more).digest() == base
    for changed in (
        Preprocessing.fit(TRAIN, features=FEATURES[:-1], categorical=("kind", "code")),
        Preprocessing.fit(TRAIN, features=FEATURES[::-1], categorical=("kind", "code")),
        Preprocessing.fit(TRAIN, features=FEATURES, categorical=("kind", "code"), not_null=("count",)),
        Preprocessing.fit(
            TRAIN.with_columns(pl.col("count").cast(pl.Float64)), features=FEATURES, categorical=("kind", "code")
        ),
    ):
        assert Signature.of(changed).digest() != base
    assert Signature.from_json(Signature.of(FITTED).to_json()) == Signature.of(FITTED)


cells = st.fixed_dictionaries(
    {
        "number": st.none() | st.floats(allow_nan=True, allow_infinity=True),
        "count": st.none() | st.integers(-(2**53), 2**53),
        "kind": st.none() | st.sampled_from(["a", "b", "c", "", "nan", "é"]),
        "code": st.none() | st.sampled_from([10, 20, 30]),
        "flag": st.none() | st.booleans(),
    }
)


@settings(deadline=None)
@given(st.lists(cells, min_size=1, max_size=20))
def test_pandas_and_polars_rows_give_the_same_matrix(records: list[dict[str, object]]) -> None:
    frame = pl.DataFrame(records, schema=TRAIN.schema)
    through_pandas = from_pandas(frame.to_pandas(), FITTED)
    np.testing.assert_array_equal(FITTED.transform(through_pandas), FITTED.transform(frame))


def test_a_pandas_column_of_mixed_values_is_refused_not_turned_into_nulls() -> None:
    pandas = TRAIN.to_pandas()
    pandas["number"] = [1.0, "two", None]
    with pytest.raises(WrongDtypeError, match="'number'"):
        from_pandas(pandas, FITTED)
    with pytest.raises(MissingColumnsError, match="'code'"):
        from_pandas(TRAIN.to_pandas().drop(columns="code"), FITTED)


def test_what_another_version_read_as_another_type_is_null_where_it_is_no_value_of_this_one() -> None:
    """A feature became a number; the reports read the answers of the version before it too, and none could be made."""
    rows = pl.DataFrame({"plan": ["a", "b"], "calls": [1.5, 2.5], "is_new": [True, False], "seats": [1, 2]})
    made = Preprocessing.fit(rows, features=("plan", "calls", "is_new", "seats"), categorical=("plan",))
    said = pl.Series(
        [
            '{"plan":"a","calls":1.5,"is_new":true,"seats":3}',
            '{"plan":7,"calls":"many","is_new":1,"seats":"2"}',
            '{"plan":null,"is_new":false}',
            None,
        ]
    )
    assert made.recorded(said).rows() == [
        ("a", 1.5, True, 3), ("7", None, None, 2), (None, None, False, None), (None, None, None, None),
    ]  # fmt: skip
    assert made.recorded(said[:1]).schema == made.recorded(said).schema
