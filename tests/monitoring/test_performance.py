"""Performance is said only where enough of the truth is known."""

import json
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from headwater.decisions import Evidence, Retraining, decide_retraining
from headwater.models import Bootstrap, MetricName
from headwater.monitoring import (
    COST,
    LOCAL_DAY,
    PERFORMANCE_METRICS,
    ROWS,
    BadValuesError,
    DecisionCosts,
    MissingColumnsError,
    MonitoringRuleError,
    Performance,
    PerformanceRules,
    Span,
    Windowing,
    performance_windows,
)
from tests.monitoring.scenario import START, drawn, outcomes

QUICK = Bootstrap(resamples=40)
DAY = Windowing(length=timedelta(days=1))
LATER = START + timedelta(days=60)


def rules(**changes: Any) -> PerformanceRules:
    return PerformanceRules(**{"windowing": DAY, "bootstrap": QUICK, "min_rows": 50} | changes)


def only(frame: pl.DataFrame, **changes: Any) -> Performance:
    (window,) = performance_windows(frame, rules=rules(**changes), now=LATER)
    return window.overall


def test_every_number_is_the_one_of_scikit_learn() -> None:
    label, score = drawn(1_200, seed=1)
    decided = score >= 0.35
    found = only(outcomes(label.tolist(), score.tolist(), decision=decided.tolist()))
    expected = {
        "auc": metrics.roc_auc_score(label, score),
        "log_loss": metrics.log_loss(label, score),
        "brier": metrics.brier_score_loss(label, score),
        "accuracy": metrics.accuracy_score(label, decided),
        "precision": metrics.precision_score(label, decided),
        "recall": metrics.recall_score(label, decided),
        "positive_rate": decided.mean(),
        "base_rate": label.mean(),
        "mean_score": score.mean(),
    }
    assert {metric.name: metric.value for metric in found.metrics if metric.name in expected} == pytest.approx(expected)
    assert [metric.name for metric in found.metrics] == [name.value for name in PERFORMANCE_METRICS]
    for metric in found.metrics:
        assert metric.low is not None
        assert metric.high is not None
        assert metric.low < metric.high
        assert metric.low <= (metric.value or 0) <= metric.high or metric.name == MetricName.CALIBRATION_ERROR


def test_decisions_are_those_that_were_made_not_those_of_one_threshold() -> None:
    """Two versions with two thresholds answered in one window."""
    label, score = drawn(1_000, seed=2)
    decided = np.where(np.arange(1_000) % 2, score >= 0.2, score >= 0.6)
    found = only(outcomes(label.tolist(), score.tolist(), decision=decided.tolist()))
    assert found.metric("recall").value == pytest.approx(metrics.recall_score(label, decided))
    assert found.metric("auc").value == pytest.approx(metrics.roc_auc_score(label, score))


def test_a_window_of_early_labels_alone_is_not_judged() -> None:
    """Late flights come in last: what is known first is nearly all on time, and every number on it is wrong."""
    label, score = drawn(1_000, seed=3)
    early = [int(one) if one == 0 else None for one in label]
    found = only(outcomes(early, score.tolist()))
    assert not found.judged
    assert found.coverage == pytest.approx(1 - label.mean())
    assert "labels are known" in found.reason
    assert {metric.value for metric in found.metrics} == {None}
    assert found.metric("auc").undefined_reason == f"not judged: {found.reason}"
    forced = only(outcomes(early, score.tolist()), min_coverage=0.0)
    assert forced.judged
    assert forced.metric("auc").undefined_reason == "undefined: one class only"


def test_what_will_never_have_a_label_does_not_hold_up_the_window() -> None:
    """On a day of snow a third of the flights is cancelled."""
    label, score = drawn(900, seed=4)
    truth = ["none" if n % 3 == 0 else "known" for n in range(900)]
    found = only(
        outcomes(
            [None if t == "none" else int(x) for t, x in zip(truth, label, strict=True)], score.tolist(), truth=truth
        )
    )
    assert found.judged
    assert (found.rows, found.labelled, found.without_truth, found.coverage) == (900, 600, 300, 1.0)


@pytest.mark.parametrize(
    ("label", "truth", "reason"),
    [
        ([], [], "nothing was predicted"),
        ([None] * 60, ["none"] * 60, "none of 60 events will have a label"),
        ([None] * 60, ["pending"] * 60, "0 of 60 labels are known (0.0%), 95.0% are needed"),
        ([1] * 49, ["known"] * 49, "49 labelled rows, 50 are needed"),
    ],
)
def test_a_window_that_says_nothing_says_why(label: list[int | None], truth: list[str], reason: str) -> None:
    frame = outcomes(label, [0.5] * len(label), truth=truth)
    day = Span(start=START, end=START + timedelta(days=1))
    (window,) = performance_windows(frame, rules=rules(), now=LATER, span=day)
    assert window.overall.reason == reason
    assert window.overall.metric("brier").value is None
    json.dumps(window.to_json(), allow_nan=False)


def test_a_window_that_is_not_over_is_not_judged() -> None:
    label, score = drawn(600, seed=5)
    frame = outcomes(label.tolist(), score.tolist())
    (window,) = performance_windows(frame, rules=rules(), now=START + timedelta(hours=23))
    assert window.overall.reason == "the window is not over"
    (window,) = performance_windows(frame, rules=rules(), now=START + timedelta(hours=24))
    assert window.overall.judged


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_undefined_what_needs_two(label: int) -> None:
    found = only(outcomes([label] * 80, [0.2, 0.7] * 40))
    assert found.metric("auc").undefined_reason == "undefined: one class only"
    assert found.metric("brier").value == pytest.approx(((0.2 - label) ** 2 + (0.7 - label) ** 2) / 2)
    assert (found.metric("recall").value is None) == (label == 0)
    assert found.metric("accuracy").value == 0.5


def test_a_constant_score_is_worth_a_coin() -> None:
    found = only(outcomes([0, 1] * 40, [0.3] * 80))
    assert found.metric("auc").value == 0.5
    assert found.metric("precision").undefined_reason == "undefined: no row is decided positive"
    assert found.metric("recall").value == 0.0


def test_superseded_predictions_are_not_judged() -> None:
    frame = outcomes([1, 0] * 50, [0.9, 0.1] * 50)
    doubled = pl.concat(
        [frame, frame.with_columns(judged=False, request_id=pl.col("request_id") + "!", score=pl.lit(0.5))]
    )
    assert only(doubled) == only(frame)


def test_the_order_of_the_rows_changes_nothing() -> None:
    label, score = drawn(400, seed=6)
    frame = outcomes(label.tolist(), score.tolist(), at=[START] * 400, carrier=["UA", "B6"] * 200)
    first = performance_windows(frame, rules=rules(slices=("carrier",)), now=LATER)
    again = performance_windows(
        frame.sample(fraction=1, shuffle=True, seed=1), rules=rules(slices=("carrier",)), now=LATER
    )
    assert first == again


def test_slices_are_judged_by_their_own_coverage_and_rows() -> None:
    label, score = drawn(900, seed=7)
    carrier = np.array(["UA", "B6", "HA"] * 300)
    carrier[30:900:3] = "UA"  # ten rows of UA become many; what is left of it below the floor is none of the others
    places: list[str | None] = [None if name == "HA" else str(name) for name in carrier]
    known = [
        None if place == "B6" and n % 2 else int(one) for n, (place, one) in enumerate(zip(places, label, strict=True))
    ]
    frame = outcomes(known, score.tolist(), place=places)
    (window,) = performance_windows(frame, rules=rules(slices=("place", "version"), min_coverage=0.8), now=LATER)
    by_value = {one.value: one.performance for one in window.slices if one.column == "place"}
    assert list(by_value) == ["B6", "UA", None]
    assert not by_value["B6"].judged
    assert by_value["UA"].judged
    assert by_value[None].judged
    mine = np.array([place == "UA" for place in places])
    assert by_value["UA"].metric("auc").value == pytest.approx(metrics.roc_auc_score(label[mine], score[mine]))
    assert sum(one.rows for one in by_value.values()) == 900
    assert [one.value for one in window.slices if one.column == "version"] == ["1.0.0"]


def test_windows_follow_each_other_with_the_empty_ones() -> None:
    label, score = drawn(400, seed=8)
    at = [START + timedelta(days=0 if n < 200 else 3, minutes=n) for n in range(400)]
    found = performance_windows(outcomes(label.tolist(), score.tolist(), at=at), rules=rules(), now=LATER)
    assert [one.overall.rows for one in found] == [200, 0, 0, 200]
    assert [one.overall.judged for one in found] == [True, False, False, True]
    assert found[0].end == found[1].start


def test_rows_of_one_day_that_are_alike_widen_every_interval() -> None:
    draw = np.random.default_rng(9)
    day = np.repeat(np.arange(30), 60)
    score = draw.random(1_800)
    label = (draw.random(1_800) < np.clip(score + np.repeat(draw.normal(0, 0.3, 30), 60), 0, 1)).astype(int)
    frame = outcomes(label.tolist(), score.tolist(), at=[START] * 1_800, day=day.tolist())
    widths = []
    for clusters in (None, "day"):
        found = only(frame, clusters=clusters, costs=DecisionCosts(false_alarm=1, miss=3), bootstrap=Bootstrap())
        widths.append({m.name: m.high - m.low for m in found.metrics if m.high is not None and m.low is not None})
    assert all(widths[1][name] > 1.3 * widths[0][name] for name in ("accuracy", "base_rate", "brier", COST))
    one_day = only(frame.with_columns(day=0), clusters="day")
    assert (one_day.metric("auc").value, one_day.metric("auc").low) == (only(frame).metric("auc").value, None)


WEEK = Windowing(length=timedelta(days=7), zone="America/New_York")


def weeks(count: int, *, rows: int, seed: int = 0) -> pl.DataFrame:
    """Weeks from Monday, in New York, in which the share of right decisions is 0.75 and each day has another by 0.06."""
    draw = np.random.default_rng(seed)
    rate = np.clip(0.75 + draw.normal(0, 0.06, count * 7), 0, 1)
    right = (draw.random((count * 7, rows)) < rate[:, None]).ravel()
    score = draw.random(count * 7 * rows)
    label = np.where(right, score >= 0.5, score < 0.5).astype(int)
    # New York is four hours behind: each day begins at 4 o'clock.
    begin = START + timedelta(hours=4)
    at = [begin + timedelta(days=d, seconds=n * 86_400 // rows) for d in range(count * 7) for n in range(rows)]
    return outcomes(label.tolist(), score.tolist(), at=at)


def test_the_interval_of_a_week_covers_what_other_weeks_will_be() -> None:
    """By rows, the interval of a week's accuracy held what the version does in a half of all weeks."""
    covered = {}
    for clusters in (LOCAL_DAY, None):
        found = performance_windows(
            weeks(80, rows=200), rules=rules(windowing=WEEK, clusters=clusters), now=START + timedelta(days=800)
        )
        ends = [one.overall.metric("accuracy") for one in found]
        covered[clusters] = sum(one.low <= 0.75 <= one.high for one in ends)
    assert covered[LOCAL_DAY] >= 0.90 * 80
    assert covered[None] <= 0.75 * 80


def test_days_are_those_of_the_zone_and_drawn_unless_declared_otherwise() -> None:
    frame = weeks(1, rows=100)
    (found,) = performance_windows(frame, rules=rules(windowing=WEEK), now=LATER)
    assert found.overall.drawn_by == LOCAL_DAY
    day = frame.with_columns(day=pl.int_range(pl.len()) // 100)
    (by_column,) = performance_windows(day, rules=rules(windowing=WEEK, clusters="day"), now=LATER)
    assert (by_column.overall.metrics, by_column.overall.drawn_by) == (found.overall.metrics, "day")
    two = frame.filter(pl.col("at") < START + timedelta(days=2))
    (few,) = performance_windows(two, rules=rules(windowing=WEEK), now=LATER)
    assert {one.low for one in few.overall.metrics} == {None}


@pytest.mark.parametrize(("length", "wanted"), [(1, ROWS), (2, ROWS), (3, LOCAL_DAY)])
def test_windows_too_short_for_days_take_rows_and_say_so(length: int, wanted: str) -> None:
    windowing = Windowing(length=timedelta(days=length))
    at = [START + timedelta(days=2 + n % length, seconds=n) for n in range(600)]
    (found, *_) = performance_windows(
        outcomes(*(values.tolist() for values in drawn(600, seed=3)), at=at),
        rules=rules(windowing=windowing),
        now=LATER,
    )
    assert found.overall.drawn_by == wanted
    assert found.overall.metric("auc").low is not None
    assert found.evidence().by_rows is (wanted == ROWS)


def test_the_business_metric_is_the_mean_cost_of_what_was_decided() -> None:
    costs = DecisionCosts(false_alarm=1.0, miss=5.0, right_hint=-2.0, right_silence=0.5, unit="EUR")
    label, decision = [1, 1, 0, 0] * 25, [True, False, True, False] * 25
    found = only(outcomes(label, [0.5] * 100, decision=decision), costs=costs).metric(COST)
    assert found.value == pytest.approx((-2 + 5 + 1 + 0.5) / 4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1.125 < found.high
    with pytest.raises(MonitoringRuleError, match="miss"):
        DecisionCosts(false_alarm=1, miss=float("nan"))


def test_a_window_becomes_what_the_decision_looks_at() -> None:
    """A model that lost its ranking is retrained; the same loss seen on early labels alone is not."""
    worse = []
    for week in range(3):
        label, score = drawn(1_500, seed=20 + week, slope=0.1)
        at = [START + timedelta(days=week, seconds=n) for n in range(1_500)]
        worse.append(outcomes(label.tolist(), score.tolist(), at=at))
    frame = pl.concat(worse)
    for known, action in ((1.0, "retrain"), (0.9, "hold")):
        late = pl.int_range(pl.len()) % 10 >= known * 10
        part = frame.with_columns(
            label=pl.when(late).then(None).otherwise("label"),
            truth=pl.when(late).then(pl.lit("pending")).otherwise("truth"),
        )
        found = performance_windows(part, rules=rules(), now=LATER)
        evidence = Evidence(now=LATER, windows=tuple(one.evidence(effects={"x": 0.0}) for one in found), reference=0.75)
        assert decide_retraining(Retraining(), evidence).action == action


def test_a_frame_without_declared_columns_is_refused() -> None:
    frame = outcomes([1, 0], [0.5, 0.5])
    for wrong in (rules(slices=("carier",)), rules(clusters="day")):
        with pytest.raises(MissingColumnsError):
            performance_windows(frame, rules=wrong, now=LATER)
    with pytest.raises(BadValuesError, match="NaN"):
        performance_windows(frame.with_columns(score=float("nan")), rules=rules(), now=LATER)
    with pytest.raises(BadValuesError, match="neither 0, 1"):
        performance_windows(frame.with_columns(label=pl.lit(3, pl.Int8)), rules=rules(), now=LATER)


@pytest.mark.parametrize("change", [{"min_rows": 1}, {"min_coverage": 1.1}, {"min_coverage": float("nan")}])
def test_rules_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MonitoringRuleError, match="PerformanceRules"):
        rules(**change)


def test_no_rows_have_no_windows() -> None:
    assert performance_windows(outcomes([], []), rules=rules(), now=LATER) == ()
