"""Recalibration as statsmodels fits it, and a verdict that neither chance nor an old flaw can cause."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from headwater.models import Bootstrap, MetricName, evaluate
from headwater.monitoring import (
    BadValuesError,
    CalibrationLimits,
    CalibrationReference,
    MonitoringRuleError,
    calibration_drift,
)
from tests.monitoring.scenario import drawn

QUICK = CalibrationLimits(bootstrap=Bootstrap(resamples=60))


@pytest.mark.parametrize("clustered", [False, True])
def test_slope_and_intercept_and_their_intervals_are_those_of_statsmodels(clustered: bool) -> None:
    api = pytest.importorskip("statsmodels.api")
    label, score = drawn(2_000, seed=1, slope=0.8, shift=0.3)
    day = np.arange(2_000) // 50
    design = np.column_stack([np.log(score / (1 - score)), np.ones(2_000)])
    options = {"cov_type": "cluster", "cov_kwds": {"groups": day, "use_correction": False}} if clustered else {}
    fitted = api.Logit(label, design).fit(disp=0, **options)
    low, high = fitted.conf_int()[:, 0], fitted.conf_int()[:, 1]
    found = calibration_drift(label, score, clusters=day if clustered else None, limits=QUICK)
    # 40 groups: the variance is that of statsmodels times 40 / 39, and the quantile Student's.
    wider = math.sqrt(40 / 39) * stats.t.ppf(0.975, 39) / stats.norm.ppf(0.975) if clustered else 1.0
    for at, metric in enumerate((found.slope, found.intercept)):
        assert metric.value == pytest.approx(fitted.params[at], abs=1e-6)
        assert metric.low == pytest.approx(fitted.params[at] - wider * (fitted.params[at] - low[at]), abs=1e-5)
        assert metric.high == pytest.approx(fitted.params[at] + wider * (high[at] - fitted.params[at]), abs=1e-5)


def test_the_error_is_the_one_of_the_evaluation() -> None:
    label, score = drawn(3_000, seed=2)
    judged = evaluate(
        labels=label, scores=score, threshold=0.5, baseline=None, champion=None, bootstrap=QUICK.bootstrap
    )
    wanted = judged.metric(MetricName.CALIBRATION_ERROR)
    assert wanted is not None
    found = calibration_drift(label, score, reference=CalibrationReference.of(judged), limits=QUICK)
    assert found.error.value == pytest.approx(wanted.value)
    assert found.reference is not None
    assert found.reference.bias == pytest.approx(found.bias.value)
    assert found.bias.value == pytest.approx(score.mean() - label.mean())


def test_scores_that_stay_probabilities_lose_nothing() -> None:
    verdicts = [calibration_drift(*drawn(1_000, seed=seed), limits=QUICK) for seed in range(60)]
    assert sum(found.lost for found in verdicts) == 0
    # The test itself errs as often as it says: one in a hundred.
    assert sum((found.p_value or 0) <= 0.01 for found in verdicts) <= 4
    noises = [found.error_noise for found in verdicts]
    assert np.mean([found.error.value for found in verdicts]) == pytest.approx(np.mean(noises), rel=0.1)


def test_scores_that_became_too_high_are_found() -> None:
    found = calibration_drift(
        *drawn(5_000, seed=3, shift=-0.8), reference=CalibrationReference(error=0.01, bias=0.0), limits=QUICK
    )
    assert found.lost
    assert found.intercept.high is not None
    assert found.intercept.high < 0
    assert "(p " in found.reason


def test_a_flaw_that_the_model_had_before_its_release_is_no_drift() -> None:
    label, score = drawn(5_000, seed=3, shift=-0.8)
    judged = evaluate(
        labels=label, scores=score, threshold=0.5, baseline=None, champion=None, bootstrap=QUICK.bootstrap
    )
    assert calibration_drift(label, score, limits=QUICK).lost
    assert not calibration_drift(label, score, reference=CalibrationReference.of(judged), limits=QUICK).lost


def test_a_bad_week_of_a_model_that_never_was_perfect_is_no_loss_unless_the_error_certainly_rose() -> None:
    """That scores are not perfect is certain of many a model at its release; that it got worse was taken from that."""
    label, score = drawn(600, seed=2, shift=-0.5)
    alone = calibration_drift(label, score, limits=QUICK)
    assert alone.lost, "perfect scores were expected"
    assert alone.error.value is not None
    assert alone.bias.value is not None
    before = CalibrationReference(error=alone.error.value - 0.021, bias=alone.bias.value - 0.021)
    found = calibration_drift(label, score, reference=before, limits=QUICK)
    assert found.p_value is not None
    assert found.p_value < QUICK.p_value
    assert found.error.low is not None
    assert found.error.low < before.error
    assert not found.lost
    assert "its interval reaches the reference" in found.reason


def test_scores_that_were_too_low_and_are_too_high_now_have_the_same_error_and_are_found() -> None:
    """As flights from June to September: the error stays near .08, and every score means something else."""
    low, high = drawn(5_000, seed=3, shift=0.5), drawn(5_000, seed=4, shift=-0.6)
    judged = evaluate(
        labels=low[0], scores=low[1], threshold=0.5, baseline=None, champion=None, bootstrap=QUICK.bootstrap
    )
    before = CalibrationReference.of(judged)
    found = calibration_drift(*high, reference=before, limits=QUICK)
    assert before is not None
    assert found.error.value == pytest.approx(before.error, abs=0.02)
    assert found.lost
    assert "surely beyond the limit" in found.reason


def test_a_small_flaw_of_many_rows_is_certain_and_yet_none() -> None:
    found = calibration_drift(*drawn(60_000, seed=4, slope=0.95), limits=QUICK)
    assert found.p_value is not None
    assert found.p_value < 0.01
    assert not found.lost


def test_the_order_of_the_rows_changes_nothing() -> None:
    label, score = drawn(700, seed=5)
    mixed = np.random.default_rng(1).permutation(700)
    day = np.arange(700) // 70
    first = calibration_drift(label, score, clusters=day, limits=QUICK)
    assert first == calibration_drift(label[mixed], score[mixed], clusters=day[mixed], limits=QUICK)


@pytest.mark.parametrize(
    ("label", "score"),
    [
        (np.ones(600), np.linspace(0.1, 0.9, 600)),
        (np.zeros(600), np.full(600, 0.5)),
        (np.arange(600) % 2, np.full(600, 0.5)),  # constant score
        (np.arange(600) >= 300, np.arange(600) / 600),  # separable
    ],
)
def test_what_has_no_recalibration_says_so_and_is_not_judged(label: np.ndarray, score: np.ndarray) -> None:
    found = calibration_drift(label, score, limits=QUICK)
    assert found.slope.value is None
    assert found.slope.undefined_reason is not None
    assert found.p_value is None
    assert "whether by chance cannot be said" in found.reason
    assert found.lost == (abs(label.mean() - score.mean()) > 0.1)  # the bias needs no recalibration
    json.dumps(found.to_json(), allow_nan=False)


def test_no_rows_and_few_rows_are_not_judged() -> None:
    nothing = calibration_drift(np.empty(0), np.empty(0))
    assert (nothing.rows, nothing.error.value, nothing.bias.value, nothing.lost) == (0, None, None, False)
    few = calibration_drift(*drawn(400, seed=6, shift=-2.0), limits=QUICK)
    assert few.reason == "400 labelled rows, 500 are needed."


@pytest.mark.parametrize("days", [1, 2])
def test_of_one_or_two_days_nothing_is_certain(days: int) -> None:
    found = calibration_drift(*drawn(600, seed=6, shift=-0.8), clusters=np.arange(600) % days, limits=QUICK)
    assert (found.slope.low, found.error.low, found.bias.low, found.p_value, found.lost) == (
        None,
        None,
        None,
        None,
        False,
    )


def test_days_that_differ_as_days_do_are_no_loss_of_calibration() -> None:
    """By rows two of three weeks of weather were one; by seven days with a normal quantile every tenth."""
    sure = 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        day = np.repeat(np.arange(7), 150)
        score = 1 / (1 + np.exp(-draw.normal(-1, 0.7, 1_050)))
        logit = np.log(score / (1 - score)) + draw.normal(0, 0.4, 7)[day]
        label = (draw.random(1_050) < 1 / (1 + np.exp(-logit))).astype(float)
        found = calibration_drift(
            label, score, clusters=day, limits=CalibrationLimits(bootstrap=Bootstrap(resamples=20))
        )
        sure += (found.p_value or 0) <= 0.05
    assert sure <= 10


@pytest.mark.parametrize(
    ("label", "score", "said"),
    [
        ([0, 1], [0.5], "has 1 values for 2 labels"),
        ([0, 2], [0.5, 0.5], "neither 0 nor 1"),
        ([0, float("nan")], [0.5, 0.5], "neither 0 nor 1"),
        ([0, 1], [0.5, float("nan")], "NaN or outside"),
        ([0, 1], [0.5, 1.01], "NaN or outside"),
    ],
)
def test_arrays_that_are_no_labelled_scores_are_refused(label: list[float], score: list[float], said: str) -> None:
    with pytest.raises(BadValuesError, match=said):
        calibration_drift(np.array(label), np.array(score))


@pytest.mark.parametrize("change", [{"rise": 0.0}, {"rise": float("nan")}, {"p_value": 1.0}, {"min_rows": 0}])
def test_limits_that_cannot_be_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(MonitoringRuleError, match="CalibrationLimits"):
        CalibrationLimits(**change)  # type: ignore[arg-type]
