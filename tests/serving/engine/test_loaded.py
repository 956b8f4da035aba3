"""What a model reads of a request is what it read in training, to the last bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.features import FeatureView, add_on_demand, fill_defaults
from headwater.features.online import Answer, OnlineRow
from headwater.models import LogisticBaseline, read_bundle, request_schema, train_model, write_bundle
from headwater.testing.online_suite import at, hour
from serving.engine import RefusedValuesError, RequestError, load_model
from serving.engine._loaded import LoadedModel
from tests.serving.toy import IS_ABOVE, TENTH

RATES = FeatureView(
    name="rates", path="toy/rates", entity=("who",), features=("rate",), prefix="h_", defaults={"rate": 0.1}
)
FEATURES = ("fee", "h_rate", "tenth", "is_above", "three")
JOINED = pl.DataFrame(
    {
        "who": [f"p{n}" for n in range(60)],
        "at": [hour(n) for n in range(60)],
        "fee": [n * 0.1 for n in range(60)],
        "h_rate": [None, 0.3] * 30,
        "late": [int(n % 7 > 3) for n in range(60)],
    },
    schema_overrides={"fee": pl.Float32, "h_rate": pl.Float32},
)
TRAINING = add_on_demand(fill_defaults(JOINED, [RATES]), [TENTH, IS_ABOVE])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder: Path = tmp_path_factory.mktemp("bundle")
    declared = LogisticBaseline(features=FEATURES, label="late")
    request = request_schema(TRAINING.schema, features=FEATURES, time="at", views=[RATES], on_demand=[TENTH, IS_ABOVE])
    write_bundle(folder, train_model(TRAINING, TRAINING, declared), request=request)
    return load_model("toy", "1.0.0", read_bundle(folder))


def read(model: LoadedModel, number: int) -> tuple[Any, ...]:
    """What the model reads of a row's request, which is JSON and knows no numbers of 32 bits."""
    rate = JOINED["h_rate"][number]
    row = OnlineRow(Answer.FOUND if rate is not None else Answer.UNKNOWN, (rate,), None)
    fields = model.fields.read({"who": f"p{number}", "fee": number * 0.1})
    return model.inputs(fields, at(number), {"rates": row})[0]


def test_fields_defaults_and_computed_features_of_32_bits_are_those_of_the_training(model: LoadedModel) -> None:
    """The service read them with 64 bits, so that a model saw 0.1 where training had 0.10000000149011612."""
    wanted = TRAINING.select(model.encoder.names).rows()
    found = [read(model, number) for number in range(60)]
    assert found == wanted
    assert [tuple(map(type, row)) for row in found] == [tuple(map(type, row)) for row in wanted]


def test_a_field_that_is_null_stays_null(model: LoadedModel) -> None:
    row = OnlineRow(Answer.UNKNOWN, (None,), None)
    values, _ = model.inputs(model.fields.read({"who": "x", "fee": None}), at(1), {"rates": row})
    assert dict(zip(model.encoder.names, values, strict=True))["tenth"] is None


def test_a_number_that_32_bits_cannot_hold_is_refused_whoever_read_it(model: LoadedModel) -> None:
    """Another version's fields, or an older bundle's, take it; the model read inf."""
    row = OnlineRow(Answer.UNKNOWN, (None,), None)
    with pytest.raises(RefusedValuesError, match=r"'fee' is 1e\+300, more than toy@1.0.0 has bits for"):
        model.inputs({"who": "x", "fee": 1e300}, at(1), {"rates": row})


def test_a_computed_value_that_its_column_could_not_hold_is_refused(model: LoadedModel) -> None:
    (tenth, *rest) = model.plan.functions
    broken = replace(model, plan=replace(model.plan, functions=((tenth[0], lambda fee: ("far",), tenth[2]), *rest)))
    with pytest.raises(RequestError, match="'tenth' is Float32"):
        read(broken, 1)
