import json
import sys
from collections import Counter
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from headwater.models import (
    Bootstrap,
    Evaluation,
    Gate,
    Metric,
    MetricName,
    Rival,
    Slicing,
    beats_baseline,
    evaluate,
    judge,
)
from headwater.models.errors import EmptyPartError, ModelDeclarationError, RecordError, SampleShapeError
from headwater.models.evaluation_metrics import RESAMPLED, Sample, area_under_curve, calibration_line, measure_all

PLAN = Bootstrap(resamples=60)

weighted = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]), st.integers(0, 3)),
    min_size=1,
    max_size=40,
)


def sample(count: int, seed: int, signal: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and calibrated scores: the score is the probability that the label was drawn with."""
    random = np.random.default_rng(seed)
    scores = 1.0 / (1.0 + np.exp(-random.normal(-1.0, signal, count)))
    return (random.random(count) < scores).astype(float), scores


@settings(deadline=None)
@given(weighted)
def test_weighted_metrics_equal_those_of_the_repeated_rows_in_scikit_learn(rows: list[tuple[bool, float, int]]) -> None:
    from sklearn import metrics

    labels, scores = np.array([float(row[0]) for row in rows]), np.array([row[1] for row in rows])
    counts = np.array([row[2] for row in rows])
    label, score = np.repeat(labels, counts), np.repeat(scores, counts)
    if not len(label):
        return
    found = dict(zip(RESAMPLED, Sample.of(labels, scores, threshold=0.5).measure(counts.astype(float)), strict=True))
    assert found[MetricName.BRIER] == pytest.approx(np.mean((score - label) ** 2))
    assert found[MetricName.LOG_LOSS] == pytest.approx(metrics.log_loss(label, score, labels=[0, 1]), rel=1e-4)
    decided = score >= 0.5
    assert found[MetricName.ACCURACY] == pytest.approx(metrics.accuracy_score(label, decided))
    if decided.any():
        assert found[MetricName.PRECISION] == pytest.approx(metrics.precision_score(label, decided))
    else:
        assert np.isnan(found[MetricName.PRECISION])
    if label.any():
        assert found[MetricName.RECALL] == pytest.approx(metrics.recall_score(label, decided))
        assert found[MetricName.F1] == pytest.approx(metrics.f1_score(label, decided))
    if 0 < label.sum() < len(label):
        assert found[MetricName.AUC] == pytest.approx(metrics.roc_auc_score(label, score))
        assert found[MetricName.SPECIFICITY] == pytest.approx(metrics.recall_score(1 - label, ~decided))
    else:
        assert np.isnan(found[MetricName.AUC])


def test_calibrated_scores_have_slope_one_and_a_small_error() -> None:
    labels, scores = sample(40_000, 1)
    values = measure_all(labels, scores, threshold=0.5)
    assert values[MetricName.CALIBRATION_SLOPE] == pytest.approx(1.0, abs=0.05)
    assert values[MetricName.CALIBRATION_INTERCEPT] == pytest.approx(0.0, abs=0.05)
    assert values[MetricName.CALIBRATION_ERROR] < 0.02
    assert measure_all(labels, scores**3, threshold=0.5)[MetricName.CALIBRATION_ERROR] > 0.1


def test_the_calibration_line_is_that_of_a_logistic_regression_on_the_logit() -> None:
    from sklearn.linear_model import LogisticRegression

    labels, scores = sample(2000, 2)
    spoiled = scores**2
    logit = np.log(spoiled / (1 - spoiled)).reshape(-1, 1)
    fitted = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(logit, labels)
    slope, intercept = calibration_line(labels, spoiled)
    assert slope == pytest.approx(fitted.coef_[0][0], rel=1e-3)
    assert intercept == pytest.approx(fitted.intercept_[0], rel=1e-3)


def test_separable_or_constant_scores_have_no_calibration_line() -> None:
    assert np.isnan(calibration_line(np.array([0.0, 1.0]), np.array([0.2, 0.8]))).all()
    assert np.isnan(calibration_line(np.array([0.0, 1.0]), np.array([0.5, 0.5]))).all()


def delong(labels: np.ndarray, *scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and their covariance by placements (DeLong, DeLong and Clarke-Pearson 1988)."""
    positive, negative = labels == 1, labels == 0
    placed = []
    for score in scores:
        less = score[positive][:, None] > score[negative][None, :]
        same = score[positive][:, None] == score[negative][None, :]
        placed.append(less + 0.5 * same)
    over = np.array([table.mean(axis=1) for table in placed])
    under = np.array([table.mean(axis=0) for table in placed])
    covariance = np.atleast_2d(np.cov(over)) / positive.sum() + np.atleast_2d(np.cov(under)) / negative.sum()
    return np.array([table.mean() for table in placed]), covariance


def test_the_interval_of_the_auc_agrees_with_delong() -> None:
    labels, scores = sample(1500, 3)
    area, covariance = delong(labels, scores)
    half = stats.norm.ppf(0.975) * np.sqrt(covariance[0, 0])
    found = evaluate(
        labels=labels, scores=scores, threshold=0.5, baseline=None, champion=None, bootstrap=Bootstrap(resamples=600)
    ).metric("auc")
    assert found is not None
    assert found.value == pytest.approx(area[0])
    assert found.low == pytest.approx(area[0] - half, abs=0.15 * half)
    assert found.high == pytest.approx(area[0] + half, abs=0.15 * half)


def test_the_paired_difference_agrees_with_delong_and_is_tighter_than_two_intervals() -> None:
    labels, scores = sample(1500, 4)
    noise = np.random.default_rng(5).normal(0, 0.08, 1500)
    other = np.clip(scores + noise, 0, 1)
    area, covariance = delong(labels, scores, other)
    half = stats.norm.ppf(0.975) * np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    judged = evaluate(
        labels=labels,
        scores=scores,
        threshold=0.5,
        baseline=None,
        champion=Rival(version="1.0.0", scores=other, threshold=0.4),
        bootstrap=Bootstrap(resamples=600),
    )
    assert judged.champion is not None
    found = next(item for item in judged.champion.differences if item.metric.name == "auc")
    assert found.metric.value == pytest.approx(area[0] - area[1])
    assert found.metric.low == pytest.approx(area[0] - area[1] - half, abs=0.15 * half)
    assert found.metric.high == pytest.approx(area[0] - area[1] + half, abs=0.15 * half)
    ours = judged.metric("auc")
    assert ours is not None
    assert (found.metric.high - found.metric.low) < 0.7 * (ours.high - ours.low)
    assert found.better_share is not None
    assert found.better_share > 0.9


def test_whole_groups_drawn_together_give_the_wider_interval_that_dependence_deserves() -> None:
    random = np.random.default_rng(6)
    day = np.repeat(np.arange(30), 50)
    shared = random.normal(0, 1.5, 30)[day]
    scores = 1 / (1 + np.exp(-random.normal(-1, 0.5, 1500)))
    labels = (random.random(1500) < 1 / (1 + np.exp(-(np.log(scores / (1 - scores)) + shared)))).astype(float)
    arguments = {
        "labels": labels,
        "scores": scores,
        "threshold": 0.5,
        "baseline": None,
        "champion": None,
        "bootstrap": PLAN,
    }
    alone = evaluate(**arguments).metric("base_rate")
    grouped = evaluate(**arguments, clusters=day).metric("base_rate")
    assert alone is not None
    assert grouped is not None
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def stormy(days: int, *, rows: int = 100, seed: int = 3) -> dict[str, object]:
    """Rows of days each of which has a rate of its own."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    scores = 1 / (1 + np.exp(-random.normal(-1, 0.5, len(day))))
    logits = np.log(scores / (1 - scores)) + random.normal(0, 0.8, days)[day]
    labels = (random.random(len(day)) < 1 / (1 + np.exp(-logits))).astype(float)
    return {
        "labels": labels, "scores": scores, "threshold": 0.3, "champion": None, "bootstrap": PLAN, "clusters": day,
        "baseline": Rival(version="constant", scores=np.full(len(day), 0.3), threshold=0.5),
    }  # fmt: skip


def test_few_days_give_a_wide_interval_and_fewer_than_three_none() -> None:
    """Below ten days rows were drawn, and an interval of two days was a third as wide as an honest one: gates passed by the weather."""
    for days in (3, 9):
        given = stormy(days)
        whole, rows = evaluate(**given).metric("base_rate"), evaluate(**given | {"clusters": None}).metric("base_rate")
        assert whole is not None
        assert rows is not None
        assert whole.high - whole.low > 2 * (rows.high - rows.low)
        assert 0 <= whole.low <= rows.low
    found = evaluate(**stormy(2))
    metrics = [*found.metrics, *(one.metric for one in found.baseline.differences)]
    assert {(one.low, one.high) for one in metrics} == {(None, None)}
    sure = (Gate(metric="auc", minimum=0.5, cautious=True), beats_baseline(by=-0.0))
    assert [(verdict.passed, "interval" in verdict.reason) for verdict in judge(sure, found)] == [(False, True)] * 2


def test_few_days_that_are_alike_by_chance_are_no_more_certain_than_their_rows() -> None:
    labels, scores = (np.tile(values, 4) for values in sample(300, 5))
    given = {"labels": labels, "scores": scores, "threshold": 0.3, "champion": None, "bootstrap": PLAN}
    given["baseline"] = Rival(version="constant", scores=np.full(1_200, 0.3), threshold=0.5)
    alike, rows = evaluate(**given, clusters=np.repeat(np.arange(4), 300)), evaluate(**given)
    widths = [[one.high - one.low for one in found.metrics if one.high is not None] for found in (alike, rows)]
    assert widths[0] == pytest.approx(widths[1], rel=0.5)
    gaps = [{one.metric.name: one.metric for one in found.baseline.differences}["auc"] for found in (alike, rows)]
    assert gaps[0].high - gaps[0].low > 0.5 * (gaps[1].high - gaps[1].low)


@pytest.mark.parametrize("days", [1, 2])
def test_a_slice_of_one_or_two_days_has_no_interval(days: int) -> None:
    """Of one day every resample was the sample: 0.71 [0.71, 0.71], and a cautious gate passed on it."""
    given = stormy(20)
    holiday = pl.DataFrame({"kind": np.where(given["clusters"] < days, "holiday", "working day")})
    found = {one.value: one for one in evaluate(**given, slicing=Slicing(frame=holiday, floor=50)).slices}
    assert {one.low for one in found["holiday"].metrics} == {None}
    auc = next(one for one in found["working day"].metrics if one.name == "auc")
    assert auc.low is not None
    assert auc.low < auc.value < auc.high


def everything(seed: int = 8) -> dict[str, object]:
    labels, scores = sample(800, seed)
    random = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "carrier": random.choice(["AA", "UA", "XX"], 800, p=[0.6, 0.39, 0.01]),
            "hour": random.integers(5, 8, 800),
            "origin": pl.Series([None, "EWR"] * 400),
        }
    )
    return {
        "labels": labels,
        "scores": scores,
        "threshold": 0.4,
        "baseline": Rival(version="constant", scores=np.full(800, 0.3), threshold=0.5),
        "champion": Rival(version="1.0.0", scores=np.round(scores, 1), threshold=0.5),
        "slicing": Slicing(frame=frame, floor=100),
        "clusters": random.integers(0, 40, 800),
        "bootstrap": PLAN,
    }


def test_the_order_of_the_rows_changes_nothing() -> None:
    given = everything()
    order = np.random.default_rng(0).permutation(800)
    shuffled = given | {
        "labels": given["labels"][order],
        "scores": given["scores"][order],
        "baseline": given["baseline"],
        "champion": replace(given["champion"], scores=given["champion"].scores[order]),
        "slicing": replace(given["slicing"], frame=given["slicing"].frame[order]),
        "clusters": given["clusters"][order],
    }
    ours, theirs = evaluate(**given), evaluate(**shuffled)
    assert ours.metrics == theirs.metrics
    assert (ours.baseline, ours.champion) == (theirs.baseline, theirs.champion)
    assert (ours.calibration, ours.lift, ours.roc) == (theirs.calibration, theirs.lift, theirs.roc)
    for left, right in zip(ours.slices, theirs.slices, strict=True):
        assert (left.column, left.value, left.n) == (right.column, right.value, right.n)
        for one, two in zip(left.metrics, right.metrics, strict=True):
            assert one.value == pytest.approx(two.value)


def test_the_number_of_threads_changes_no_bit() -> None:
    from threadpoolctl import threadpool_limits

    labels, scores = sample(20_000, 11)
    arguments = {"labels": labels, "scores": scores, "threshold": 0.4, "baseline": None, "champion": None}
    with threadpool_limits(1):
        alone = evaluate(**arguments, bootstrap=PLAN)
    with threadpool_limits(4):
        assert evaluate(**arguments, bootstrap=PLAN) == alone


def test_the_same_seed_gives_the_same_record_and_another_seed_other_intervals() -> None:
    assert evaluate(**everything()) == evaluate(**everything())
    other = evaluate(**everything() | {"bootstrap": Bootstrap(resamples=60, seed=8)})
    assert other.metric("auc").value == evaluate(**everything()).metric("auc").value
    assert other.metric("auc").low != evaluate(**everything()).metric("auc").low


def test_a_record_reads_back_from_json_without_a_nan() -> None:
    judged = evaluate(**everything())
    text = json.dumps(judged.to_json(), allow_nan=False)
    assert Evaluation.from_json(json.loads(text)) == judged
    assert judged.numbers()["auc"] == judged.metric("auc").value
    assert set(judged.numbers()) == {metric.name for metric in judged.metrics if metric.value is not None}


def test_slices_below_the_floor_say_so_and_nulls_are_a_slice() -> None:
    judged = evaluate(**everything())
    by_value = {(item.column, item.value): item for item in judged.slices}
    small = by_value["carrier", "XX"]
    assert not small.judged
    assert {metric.value for metric in small.metrics} == {None}
    assert small.metrics[0].undefined_reason == f"undefined: {small.n} rows, the floor is 100"
    assert by_value["origin", None].n == 400
    assert [item.value for item in judged.slices if item.column == "hour"] == ["5", "6", "7"]
    assert all(
        sum(item.n for item in judged.slices if item.column == name) == 800 for name in ("carrier", "hour", "origin")
    )


def test_a_slice_equals_an_evaluation_of_its_rows_alone() -> None:
    given = everything()
    rows = (given["slicing"].frame["hour"] == 6).to_numpy()
    alone = measure_all(given["labels"][rows], given["scores"][rows], threshold=0.4)
    found = next(item for item in evaluate(**given).slices if (item.column, item.value) == ("hour", "6"))
    for metric in found.metrics:
        assert metric.value == pytest.approx(alone[MetricName(metric.name)])


def test_one_class_only_leaves_the_auc_undefined_with_its_reason() -> None:
    judged = evaluate(
        labels=np.zeros(50), scores=np.linspace(0, 1, 50), threshold=0.5, baseline=None, champion=None, bootstrap=PLAN
    )
    assert judged.metric("auc") == Metric(name="auc", value=None, n=50, undefined_reason="undefined: one class only")
    assert judged.metric("brier").value is not None
    assert judged.roc == ()
    assert {row.lift for row in judged.lift} == {None}
    assert Evaluation.from_json(json.loads(json.dumps(judged.to_json(), allow_nan=False))) == judged


def test_a_rare_class_that_most_resamples_miss_has_a_value_but_no_interval() -> None:
    labels = np.array([1.0] + [0.0] * 99)
    judged = evaluate(
        labels=labels, scores=np.linspace(0, 1, 100), threshold=0.5, baseline=None, champion=None, bootstrap=PLAN
    )
    assert judged.metric("auc").value == 0.0
    assert judged.metric("auc").low is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scores": np.array([0.1, np.nan])}, "scores"),
        ({"scores": np.array([0.1, 1.1])}, "scores"),
        ({"scores": np.array([0.1])}, "1 values for 2"),
        ({"labels": np.array([0.0, 2.0])}, "labels"),
        ({"labels": np.array([0.0, np.nan])}, "labels"),
        ({"baseline": Rival(version="b", scores=np.array([0.1]), threshold=0.5)}, "baseline"),
        ({"clusters": np.array([1])}, "clusters"),
        ({"slicing": Slicing(frame=pl.DataFrame({"x": [1]}))}, "slicing"),
    ],
)
def test_scores_that_no_model_gives_are_refused_by_name(wrong: dict[str, object], message: str) -> None:
    good = {"labels": np.array([0.0, 1.0]), "scores": np.array([0.1, 0.9]), "baseline": None, "champion": None}
    with pytest.raises(SampleShapeError, match=message):
        evaluate(**(good | wrong), threshold=0.5)


def test_no_rows_and_no_resamples_are_errors() -> None:
    with pytest.raises(EmptyPartError):
        evaluate(labels=np.empty(0), scores=np.empty(0), threshold=0.5, baseline=None, champion=None)
    with pytest.raises(ModelDeclarationError):
        Bootstrap(resamples=1)


def test_a_metric_is_never_nan_and_never_silent_about_why() -> None:
    for wrong in ({"value": float("nan")}, {"value": None}, {"value": 1.0, "low": float("inf")}):
        with pytest.raises(RecordError):
            Metric(name="auc", n=1, **wrong)
    with pytest.raises(RecordError):
        Metric(name="auc", n=1, value=1.0, undefined_reason="undefined")


@pytest.mark.parametrize("damage", [{}, {"metrics": [{"name": "auc"}]}])
def test_a_damaged_record_is_refused(damage: dict[str, object]) -> None:
    whole = evaluate(**everything()).to_json()
    with pytest.raises(RecordError):
        Evaluation.from_json(whole | damage if damage else {})


def test_curves_describe_the_sample() -> None:
    given = everything()
    judged = evaluate(**given)
    assert sum(item.n for item in judged.calibration) == 800
    weighted_mean = sum(item.n * item.observed for item in judged.calibration) / 800
    assert weighted_mean == pytest.approx(given["labels"].mean())
    assert judged.lift[-1].gain == pytest.approx(1.0)
    assert judged.lift[-1].lift == pytest.approx(1.0)
    assert judged.lift[0].lift == pytest.approx(judged.metric("top_decile_lift").value)
    assert judged.roc[0] == (0.0, 0.0)
    assert judged.roc[-1] == (1.0, 1.0)
    assert len(judged.roc) <= 101
    x, y = np.array(judged.roc).T
    assert np.trapezoid(y, x) == pytest.approx(judged.metric("auc").value, abs=0.01)


def test_ties_share_a_cut_equally_whatever_their_labels() -> None:
    judged = evaluate(
        labels=np.array([0.0, 1.0] * 50),
        scores=np.full(100, 0.5),
        threshold=0.5,
        baseline=None,
        champion=None,
        bootstrap=PLAN,
    )
    assert {row.lift for row in judged.lift} == {1.0}
    assert judged.metric("auc").value == 0.5
    assert judged.metric("top_decile_lift").value == pytest.approx(1.0)


def test_rows_cost_no_calls_and_resamples_no_sorting() -> None:
    """So thirty thousand rows with two rivals take seconds: nothing is done row by row, and each model's scores are sorted once."""
    few, many = calls_of_evaluate(300, 20), calls_of_evaluate(30_000, 20)
    assert many.total() < 1.5 * few.total()
    more = calls_of_evaluate(30_000, 40)
    assert more.total() > many.total()
    assert [more[name] for name in SORTING] == [many[name] for name in SORTING]


SORTING = "argsort", "lexsort", "sort"


def calls_of_evaluate(rows: int, resamples: int) -> Counter[str]:
    """How often it calls what, by name."""
    labels, scores = sample(rows, 9)
    rival = Rival(version="r", scores=scores**2, threshold=0.2)
    found: Counter[str] = Counter()

    def count(frame: FrameType, event: str, function: Any) -> None:
        if event == "call":
            found[frame.f_code.co_name] += 1
        elif event == "c_call":
            found[function.__name__] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        evaluate(
            labels=labels, scores=scores, threshold=0.5, baseline=rival, champion=rival,
            bootstrap=Bootstrap(resamples=resamples),
        )  # fmt: skip
    finally:
        sys.setprofile(before)
    return found


def test_the_area_of_a_perfect_ranking_is_one() -> None:
    assert area_under_curve(np.array([0, 1, 1]), np.array([0.1, 0.2, 0.3])) == 1.0
    assert np.isnan(area_under_curve(np.array([1, 1]), np.array([0.1, 0.2])))
