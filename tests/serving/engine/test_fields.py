"""The fields of a request: read as training had them, or refused with the name of each that is wrong."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.models import FieldType, RequestField, RequestSchema
from serving.engine import RequestError, RequestFields, RequestTimeError

NEW_YORK = "America/New_York"
SCHEMA = RequestSchema(
    time="at", zone="UTC", key=("number",),
    fields=(
        RequestField(name="count", dtype=FieldType.INT64), RequestField(name="price", dtype=FieldType.FLOAT64),
        RequestField(name="plan", dtype=FieldType.STRING), RequestField(name="is_new", dtype=FieldType.BOOLEAN),
        RequestField(name="since", dtype=FieldType.DATE), RequestField(name="seen", dtype=FieldType.TIME, zone=NEW_YORK),
        RequestField(name="local", dtype=FieldType.TIME), RequestField(name="number", dtype=FieldType.INT64, required=False),
    ),
)  # fmt: skip
FIELDS = RequestFields("shop", SCHEMA)
GOOD: dict[str, Any] = {
    "count": 3, "price": 2.5, "plan": "basic", "is_new": True, "since": "2013-07-01", "seen": "2013-07-01T12:00:00Z",
    "local": "2013-07-01T12:00:00", "number": 7,
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def test_good_fields_have_the_values_that_training_had() -> None:
    found = FIELDS.read(GOOD)
    assert found["since"] == date(2013, 7, 1)
    assert found["seen"] == datetime(2013, 7, 1, 8, tzinfo=ZoneInfo(NEW_YORK))
    assert str(found["seen"].tzinfo) == NEW_YORK
    assert found["local"] == datetime(2013, 7, 1, 12)
    assert [found[name] for name in ("count", "price", "plan", "is_new", "number")] == [3, 2.5, "basic", True, 7]


def test_a_whole_number_may_be_written_either_way() -> None:
    found = FIELDS.read({**GOOD, "count": 3.0, "price": 2})
    assert (type(found["count"]), type(found["price"])) == (int, float)


def test_an_optional_field_may_be_absent_and_any_field_null() -> None:
    assert FIELDS.read({name: value for name, value in GOOD.items() if name != "number"})["number"] is None
    assert set(FIELDS.read(dict.fromkeys(GOOD)).values()) == {None}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("count", "3", "not a whole number"), ("count", 2.5, "not a whole number"), ("count", 2**63, "64 bits"),
        ("count", True, "not a whole number"), ("count", 1e300, "not a whole number"), ("price", "2", "not a finite number"),
        ("price", float("nan"), "not a finite number"), ("price", float("inf"), "not a finite number"),
        ("price", 2**80, "not a finite number"), ("plan", 3, "not a text"), ("is_new", 1, "neither true nor false"),
        ("since", "2013-13-01", "not a date"), ("since", 20130701, "not a date"), ("seen", "2013-07-01T12:00:00", "with a zone"),
        ("seen", "yesterday", "not a time"), ("seen", 0, "not a time"), ("local", "2013-07-01T12:00:00Z", "without a zone"),
        ("seen", "0001-01-01T00:00:00Z", "not a time"),
    ],
)  # fmt: skip
def test_a_value_that_a_field_cannot_have_is_refused_by_name(field: str, value: Any, said: str) -> None:
    with pytest.raises(RequestError, match=f"'{field}'") as caught:
        FIELDS.read({**GOOD, field: value})
    assert said in caught.value.fields[field]


NARROW = RequestFields(
    "shop",
    RequestSchema(
        time="at", zone="UTC", key=(), views=(),
        fields=tuple(
            RequestField(name=column, dtype=FieldType.FLOAT64 if column == "Float32" else FieldType.INT64, column=column)
            for column in ("Int8", "Int32", "UInt16", "UInt64", "Float32")
        ),
    ),
)  # fmt: skip
HELD = {"Int8": (-128, 127), "Int32": (-(2**31), 2**31 - 1), "UInt16": (0, 65_535), "UInt64": (0, 2**63 - 1)}


def test_a_field_takes_what_its_column_holds_and_nothing_beyond() -> None:
    """Key 2**40 of an Int32 was answered and null in the predictions, so that it never met its label; of a Float32 a model read inf."""
    zero = dict.fromkeys([*HELD, "Float32"], 0)
    for column, (low, high) in HELD.items():
        for most in (low, high):
            assert NARROW.read({**zero, column: most})[column] == most
        for beyond in (low - 1, high + 1, float(2 * high + 2)):
            with pytest.raises(RequestError, match=f"'{column}' is .*, not a whole number from {low} to {high}"):
                NARROW.read({**zero, column: beyond})
    assert NARROW.read({**zero, "Float32": 3.4e38})["Float32"] == 3.4e38
    for beyond in (3.5e38, -1e300):
        with pytest.raises(RequestError, match=r"'Float32' is .*, not a number from -3.40282e\+38 to 3.40282e\+38"):
            NARROW.read({**zero, "Float32": beyond})
    assert set(NARROW.read(dict.fromkeys(zero)).values()) == {None}


def test_everything_that_is_wrong_is_said_at_once() -> None:
    bad = {**GOOD, "count": "x", "plann": "basic"}
    del bad["plan"]
    with pytest.raises(RequestError) as caught:
        FIELDS.read(bad)
    assert set(caught.value.fields) == {"count", "plan", "plann"}
    assert "did you mean 'plan'" in caught.value.fields["plann"]


def test_the_prediction_time_among_the_fields_is_pointed_to_its_place() -> None:
    with pytest.raises(RequestError, match="beside the entity"):
        FIELDS.read({**GOOD, "at": "2013-07-01T12:00:00Z"})


@given(raw=JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD, JSON)))
def test_nothing_but_a_request_error_comes_of_any_json(raw: Any) -> None:
    try:
        found = FIELDS.read(raw)
    except RequestError as error:
        found = dict.fromkeys(GOOD) if error.fields else {}
    assert set(found) == set(GOOD)


@given(moment=st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_a_time_is_the_same_instant_in_whatever_zone_it_is_written(moment: datetime) -> None:
    at = FIELDS.time(moment.isoformat())
    assert FIELDS.time(moment.astimezone(ZoneInfo("Asia/Kathmandu")).isoformat()) == at
    assert FIELDS.moment(at) == moment


@pytest.mark.parametrize("raw", ["", "now", 5, None, "2013-07-01", "2013-07-01T12:00:00", [], "9999-99-99T00:00:00Z"])
def test_what_is_no_time_is_refused(raw: Any) -> None:
    with pytest.raises(RequestTimeError, match="prediction time"):
        FIELDS.time(raw)
