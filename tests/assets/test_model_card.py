"""The parameters that a model card states are those that apply."""

import pytest

from assets._chain._cards import _parameters
from headwater.models import LightGBMModel, ThresholdKind, ThresholdRule


@pytest.mark.parametrize(
    ("rule", "stated"),
    [
        (ThresholdRule(), {"threshold.kind": "f1"}),
        (
            ThresholdRule(kind=ThresholdKind.POSITIVE_RATE, value=0.2),
            {"threshold.kind": "positive_rate", "threshold.value": 0.2},
        ),
        (ThresholdRule(kind=ThresholdKind.FIXED, value=0.0), {"threshold.kind": "fixed", "threshold.value": 0.0}),
    ],
)
def test_a_threshold_value_is_stated_only_where_the_rule_reads_it(
    rule: ThresholdRule, stated: dict[str, object]
) -> None:
    found = _parameters(LightGBMModel(features=("x",), label="y", threshold=rule))
    assert {name: value for name, value in found.items() if name.startswith("threshold")} == stated


def test_a_parameter_that_is_an_empty_list_is_left_out() -> None:
    assert "not_null" not in _parameters(LightGBMModel(features=("x",), label="y"))
    assert "not_null" in _parameters(LightGBMModel(features=("x",), label="y", not_null=("x",)))
