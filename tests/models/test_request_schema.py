"""What a request holds, derived from what a model reads and where each of its inputs comes from."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from headwater.features import FeatureView, OnDemandFeatures
from headwater.features.errors import FeatureViewError
from headwater.models import FieldType, RequestSchema, RequestSchemaError, request_schema
from headwater.models.errors import RecordError

SCHEMA: dict[str, pl.DataType] = {
    "customer": pl.Int64(), "at": pl.Datetime("us", "UTC"), "plan": pl.String(), "fee": pl.Float32(), "since": pl.Date(),
    "is_new": pl.Boolean(), "renewed": pl.Datetime("ms"), "c_calls": pl.Int32(), "c_spent": pl.Float64(), "ratio": pl.Float64(),
    "left": pl.Int8(), "tags": pl.List(pl.String()), "split": pl.String(),
}  # fmt: skip
CALLS = FeatureView(
    name="calls", path="p/calls", entity=("customer",), features=("calls", "spent"), prefix="c_", defaults={"calls": 0}
)


def ratio(fee: float, spent: float) -> tuple[float]:
    return (fee / spent,)


def other_ratio(fee: float, spent: float) -> tuple[float]:
    return (fee / spent + 1,)


RATIO = OnDemandFeatures(name="ratio", function=ratio, inputs=("fee", "c_spent"), outputs={"ratio": pl.Float64})


def made(*features: str, **more: Any) -> RequestSchema:
    declared = {"time": "at", "key": ("customer", "at"), "views": [CALLS], "on_demand": [RATIO], **more}
    return request_schema(SCHEMA, features=features, **declared)


def names(schema: RequestSchema, *, required: bool) -> list[str]:
    return [field.name for field in schema.fields if field.required is required]


def test_what_no_view_and_no_function_gives_has_to_be_in_the_request() -> None:
    found = made("plan", "fee", "c_calls")
    assert names(found, required=True) == ["plan", "fee", "customer"]
    assert [(use.name, use.keys, use.features) for use in found.views] == [
        ("calls", ("customer",), ("c_calls", "c_spent"))
    ]
    assert [(use.dtypes, use.entity) for use in found.views] == [(("Int32", "Float64"), ("Int64",))]
    assert found.functions == ()
    assert found.defaults == {"c_calls": 0}


def test_a_function_brings_what_it_reads() -> None:
    found = made("ratio")
    assert names(found, required=True) == ["fee", "customer"]
    assert [use.name for use in found.views] == ["calls"]
    assert [(use.function.split(":")[1], use.inputs, use.outputs) for use in found.functions] == [
        ("ratio", ("fee", "c_spent"), ("ratio",))
    ]


def test_what_training_rounded_is_told_to_the_service() -> None:
    small = replace(RATIO, outputs={"ratio": pl.Float32})
    rates = replace(CALLS, defaults={"spent": 0.1, "calls": 0})
    found = request_schema(
        {**SCHEMA, "c_spent": pl.Float32()}, features=["ratio", "plan"], time="at", views=[rates], on_demand=[small]
    )
    assert found.functions[0].dtypes == ("Float32",)
    assert found.singles == ("fee",)
    assert found.defaults == {"c_spent": pl.Series([0.1], dtype=pl.Float32).item(), "c_calls": 0}
    with pytest.raises(FeatureViewError, match="'c_calls' is no Int32"):
        made("c_calls", views=[replace(CALLS, defaults={"calls": "none"})])


def test_what_of_the_training_read_nothing_but_defaults_is_told_to_the_service() -> None:
    rows = pl.DataFrame(
        {"c_calls": [0, 0, 3, 0], "c_spent": [None, 1.5, None, None]},
        schema={"c_calls": pl.Int32, "c_spent": pl.Float64},
    )
    found = made("ratio", "c_calls", trained=rows)
    assert found.defaulted == {"calls": 0.5}
    assert RequestSchema.from_json(found.to_json()) == found
    assert made("ratio", trained=rows.clear()).defaulted == {}
    before = {name: value for name, value in found.to_json().items() if name != "defaulted"}
    assert RequestSchema.from_json(before).defaulted == {}


def test_a_bundle_of_before_the_dtypes_were_kept_is_read_and_rounds_nothing() -> None:
    raw = made("ratio").to_json()
    raw.pop("singles")
    for use in (*raw["functions"], *raw["views"]):
        use.pop("dtypes")
    raw["views"][0].pop("entity")
    found = RequestSchema.from_json(raw)
    assert (found.singles, found.functions[0].dtypes) == ((), ())
    assert (found.views[0].dtypes, found.views[0].entity) == ((), ())


def test_what_the_model_does_not_read_is_not_asked_for() -> None:
    found = made("plan")
    assert names(found, required=True) == ["plan"]
    assert found.views == found.functions == ()


def test_the_key_may_be_left_out_where_nothing_else_needs_it() -> None:
    assert names(made("plan"), required=False) == ["customer"]
    assert names(made("c_calls"), required=False) == []


def test_the_prediction_time_is_no_field() -> None:
    assert "at" not in {field.name for field in made("plan", key=("customer", "at")).fields}


@pytest.mark.parametrize("use", [{"features": ["time"]}, {"features": ["plan"], "key": ("customer", "time")}])
def test_no_field_may_be_called_as_the_prediction_time(use: dict[str, Any]) -> None:
    """As tensors the time wrote over the field, and nobody could ask."""
    schema = {**SCHEMA, "time": pl.Datetime("us", "UTC")}
    with pytest.raises(RequestSchemaError, match=r"'time'.*Rename it"):
        request_schema(schema, **{"time": "at", **use})
    itself = request_schema(schema, **{**use, "time": "time"})
    assert "time" not in {field.name for field in itself.fields}


def test_each_dtype_has_its_family() -> None:
    found = made("plan", "fee", "since", "is_new", "renewed", "customer")
    assert {field.name: (field.dtype, field.zone) for field in found.fields} == {
        "plan": (FieldType.STRING, None),
        "fee": (FieldType.FLOAT64, None),
        "since": (FieldType.DATE, None),
        "is_new": (FieldType.BOOLEAN, None),
        "renewed": (FieldType.TIME, None),
        "customer": (FieldType.INT64, None),
    }
    assert found.zone == "UTC"


def test_a_field_holds_what_its_column_holds() -> None:
    found = {field.name: field for field in made("fee", "left", "c_spent", views=[]).fields}
    assert {name: field.column for name, field in found.items()} == {
        "fee": "Float32", "left": "Int8", "c_spent": "Float64", "customer": "Int64",
    }  # fmt: skip
    assert (found["left"].within, found["customer"].within) == ((-128, 127), (-(2**63), 2**63 - 1))
    low, high = found["fee"].within or (0, 0)
    assert (low, pl.Series([high], dtype=pl.Float32).item()) == (-high, high)
    assert found["c_spent"].within is None
    unsigned = request_schema({"n": pl.UInt64(), "at": SCHEMA["at"]}, features=["n"], time="at").fields
    assert unsigned[0].within == (0, 2**63 - 1)


def test_a_bundle_of_before_columns_were_kept_holds_what_it_held() -> None:
    raw = made("fee", "left").to_json()
    for field in raw["fields"]:
        field.pop("column")
    assert {field.name: field.within for field in RequestSchema.from_json(raw).fields} == {
        "fee": None, "left": (-(2**63), 2**63 - 1), "customer": (-(2**63), 2**63 - 1),
    }  # fmt: skip


def test_a_column_that_no_request_can_hold_is_named() -> None:
    with pytest.raises(RequestSchemaError, match=r"'tags'.*List"):
        made("tags")
    with pytest.raises(RequestSchemaError, match=r"'nothing'.*no columns"):
        made("plan", "nothing")


def test_it_reads_back_as_it_was_written() -> None:
    found = made("plan", "ratio", "c_calls", "since")
    assert RequestSchema.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "broken", [{"format": 2}, {"fields": [{"name": "a", "dtype": "Cube"}]}, {"views": [{}]}, {"key": None}]
)
def test_a_record_that_cannot_be_read_says_so(broken: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="request schema"):
        RequestSchema.from_json({**made("plan").to_json(), **broken})


def test_the_digest_changes_exactly_when_a_caller_has_to_send_something_else() -> None:
    before = made("plan", "c_calls").digest()
    assert made("plan", "c_calls", views=[replace(CALLS, defaults={})]).digest() == before
    assert made("plan", "c_calls", "c_spent").digest() == before
    assert made("plan", "c_calls", "fee").digest() != before
    wider = request_schema(
        {**SCHEMA, "customer": pl.Int32()},
        features=["plan", "c_calls"],
        time="at",
        key=("customer", "at"),
        views=[CALLS],
    )
    assert wider.digest() == before, "its family is the same"
    assert before == "e6ef1fcf7838afa75008d641e1b2084ddab08e47fb988289fc175ecd48e490e2", (
        "what bundles of before columns were kept have"
    )


def test_another_code_of_a_function_shows_in_its_digest() -> None:
    other = OnDemandFeatures(
        name="ratio", function=other_ratio, inputs=("fee", "c_spent"), outputs={"ratio": pl.Float64}
    )
    assert made("ratio").functions[0].digest == made("ratio").functions[0].digest
    assert made("ratio").functions[0].digest != made("ratio", on_demand=[other]).functions[0].digest
