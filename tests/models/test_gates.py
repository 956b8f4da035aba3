from collections.abc import Callable
from dataclasses import replace

import pytest

from headwater.models import (
    Evaluation,
    Gate,
    Metric,
    MetricName,
    Slice,
    beats_baseline,
    judge,
    not_worse_than_champion,
)
from headwater.models.errors import ModelDeclarationError
from headwater.models.evaluation import BASELINE, CHAMPION, Comparison, Difference


def metric(name: str, value: float | None, low: float | None = None, high: float | None = None) -> Metric:
    reason = "undefined: one class only" if value is None else None
    return Metric(name=name, value=value, low=low, high=high, n=100, undefined_reason=reason)


def comparison(against: str, *differences: Metric) -> Comparison:
    found = tuple(Difference(metric=item, better_share=0.9) for item in differences)
    return Comparison(against=against, version="1.0.0", metrics=(), differences=found)


EVALUATION = Evaluation(
    rows=100,
    positives=30,
    threshold=0.5,
    resamples=200,
    level=0.95,
    seed=7,
    clustered=False,
    slice_floor=50,
    metrics=(metric("auc", 0.72, 0.70, 0.74), metric("brier", 0.15, 0.14, 0.16), metric("precision", None)),
    slices=(
        Slice(column="carrier", value="AA", n=60, judged=True, metrics=(metric("auc", 0.60),)),
        Slice(column="carrier", value="UA", n=60, judged=True, metrics=(metric("auc", 0.75),)),
        Slice(column="carrier", value="OO", n=9, judged=False, metrics=(metric("auc", None),)),
        Slice(column="origin", value="JFK", n=60, judged=True, metrics=(metric("auc", None),)),
        Slice(column="hour", value="1", n=9, judged=False, metrics=()),
    ),
    baseline=comparison(
        BASELINE, metric("auc", 0.05, 0.03, 0.07), metric("brier", -0.02, -0.03, -0.01), metric("recall", 0.1)
    ),
    champion=comparison(CHAMPION, metric("auc", -0.004, -0.012, 0.004), metric("brier", 0.001, -0.001, 0.003)),
)


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        (Gate(metric="auc", minimum=0.72), True),
        (Gate(metric="auc", minimum=0.721), False),
        (Gate(metric="auc", minimum=0.71, cautious=True), False),
        (Gate(metric="auc", minimum=0.70, cautious=True), True),
        (Gate(metric="brier", maximum=0.15), True),
        (Gate(metric="brier", maximum=0.15, cautious=True), False),
        (Gate(metric="auc", minimum=0.6, by="carrier"), True),
        (Gate(metric="auc", minimum=0.61, by="carrier"), False),
        (beats_baseline(), True),
        (beats_baseline(by=0.029), True),
        (beats_baseline(by=0.03), False),
        (beats_baseline(metric="brier", by=0.009), True),
        (beats_baseline(metric="brier", by=0.02), False),
        (not_worse_than_champion(by=0.012), True),
        (not_worse_than_champion(by=0.011), False),
        (not_worse_than_champion(metric="brier", by=0.003), True),
        (not_worse_than_champion(metric="brier", by=0.002), False),
    ],
)
def test_a_gate_holds_exactly_when_its_number_does(gate: Gate, passed: bool) -> None:
    (verdict,) = judge([gate], EVALUATION)
    assert verdict.passed is passed
    assert verdict.gate == gate
    assert str(verdict.limit) in verdict.reason


@pytest.mark.parametrize(
    "gate",
    [
        Gate(metric="precision", minimum=0.0),
        Gate(metric="precision", maximum=1.0),
        Gate(metric="recall", minimum=0.0),
        Gate(metric="auc", minimum=0.0, by="origin"),
        Gate(metric="auc", minimum=0.0, by="hour"),
        Gate(metric="auc", minimum=0.0, by="no_such_column"),
        Gate(metric="recall", minimum=0.0, by="carrier"),
        beats_baseline(metric="precision"),
        beats_baseline(metric="recall"),
        not_worse_than_champion(metric="recall", by=1.0),
    ],
)
def test_an_undefined_or_missing_number_fails_its_gate_however_low_the_bar(gate: Gate) -> None:
    (verdict,) = judge([gate], EVALUATION)
    assert not verdict.passed
    assert verdict.value is None
    assert "fails" in verdict.reason


def test_a_value_without_interval_fails_a_cautious_gate() -> None:
    bare = replace(EVALUATION, metrics=(metric("auc", 0.99),))
    assert not judge([Gate(metric="auc", minimum=0.1, cautious=True)], bare)[0].passed


def test_a_champion_that_cannot_be_compared_fails_its_gate() -> None:
    gone = replace(EVALUATION, champion=None, champion_gap="Version 1.0.0 cannot score the test rows.")
    (verdict,) = judge([not_worse_than_champion()], Evaluation.from_json(gone.to_json()))
    assert not verdict.passed
    assert "cannot be compared" in verdict.reason
    assert "Version 1.0.0 cannot score" in verdict.reason


def test_a_missing_baseline_fails_but_a_first_model_has_no_champion_to_lose_against() -> None:
    first = replace(EVALUATION, baseline=None, champion=None)
    against_baseline, against_champion = judge([beats_baseline(), not_worse_than_champion()], first)
    assert not against_baseline.passed
    assert against_champion.passed
    assert "no champion" in against_champion.reason


def test_the_worst_slice_is_the_one_reported() -> None:
    (verdict,) = judge([Gate(metric="auc", minimum=0.7, by="carrier")], EVALUATION)
    assert verdict.value == 0.60
    assert "carrier is AA" in verdict.reason


def test_verdicts_come_in_the_order_of_the_gates_with_names_that_are_claims() -> None:
    gates = [Gate(metric="auc", minimum=0.65), beats_baseline(), not_worse_than_champion(metric="brier")]
    names = [verdict.name for verdict in judge(gates, EVALUATION)]
    assert names == ["auc_is_at_least_0_65", "auc_beats_the_baseline", "brier_is_not_worse_than_the_champion"]
    assert judge(gates, EVALUATION)[0].facts()["value"] == 0.72


WRONG: dict[str, Callable[[], Gate]] = {
    "no limit": lambda: Gate(metric="auc"),
    "two limits": lambda: Gate(metric="auc", minimum=0.1, maximum=0.2),
    "a NaN limit": lambda: Gate(metric="auc", minimum=float("nan")),
    "an unknown metric": lambda: Gate(metric="awesomeness", minimum=0.1),
    "a negative margin": lambda: not_worse_than_champion(by=-0.1),
    "a sliced relative gate": lambda: Gate(metric="auc", over_baseline=0.0, by="carrier"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_gate_that_could_not_be_judged_cannot_be_declared(what: str) -> None:
    with pytest.raises(ModelDeclarationError, match="Gate"):
        WRONG[what]()


def test_every_metric_can_be_gated() -> None:
    assert {Gate(metric=name, minimum=0.0).metric for name in MetricName} == set(MetricName)
