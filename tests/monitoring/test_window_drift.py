"""Each window beside the reference that is kept, and which feature moved most."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from headwater.drift import (
    DriftLimits,
    DriftVerdict,
    MissingColumnError,
    drift_statistics,
    profile,
    read_profile,
    write_profile,
)
from headwater.monitoring import (
    BadValuesError,
    MissingColumnsError,
    Span,
    Windowing,
    drift_windows,
    moved_features,
    prediction_drift,
)
from tests.monitoring.scenario import START, drawn, outcomes

DAY = Windowing(length=timedelta(days=1))
LIMITS = DriftLimits(min_rows=200)


def days(*shifts: float, rows: int = 800) -> pl.DataFrame:
    """A day of predictions for each shift of the scores' log odds, and a feature that moves along."""
    parts = []
    for number, shift in enumerate(shifts):
        _, score = drawn(rows, seed=number)
        moved = 1 / (1 + np.exp(-(np.log(score / (1 - score)) + shift)))
        at = [START + timedelta(days=number, seconds=n) for n in range(rows)]
        feature = np.random.default_rng(number).normal(shift, 1, rows)
        parts.append(
            outcomes([0] * rows, moved.tolist(), at=at, wind=feature.tolist(), carrier=["UA", "B6"] * (rows // 2))
        )
    return pl.concat(parts)


def test_scores_are_compared_with_the_profile_that_is_kept(tmp_path: Path) -> None:
    write_profile(profile(days(0.0, rows=4_000).select("score")), tmp_path / "scores.parquet")
    found = prediction_drift(read_profile(tmp_path / "scores.parquet"), days(0.0, 1.5), windowing=DAY, limits=LIMITS)
    verdicts = [one.report.column("score").verdict for one in found if one.report]
    assert verdicts == [DriftVerdict.STABLE, DriftVerdict.SHIFTED]
    assert found[1].effects["score"] > 0.25
    json.dumps([one.to_json() for one in found], allow_nan=False)


def test_a_window_is_compared_as_the_drift_report_does_it() -> None:
    reference, current = days(0.0), days(0.0, 0.5)
    found = drift_windows(reference, current, columns=["wind", "carrier"], windowing=DAY, limits=LIMITS)
    second = current.filter(pl.col("at") >= START + timedelta(days=1))
    assert found[1].report == drift_statistics(reference, second, columns=["wind", "carrier"], limits=LIMITS)


def test_empty_and_small_windows_show_nothing() -> None:
    span = Span(start=START, end=START + timedelta(days=2))
    found = prediction_drift(days(0.0), days(3.0, rows=100), windowing=DAY, limits=LIMITS, span=span)
    assert [(one.rows, one.effects, one.reason) for one in found] == [(100, {}, ""), (0, {}, "nothing was predicted")]
    assert prediction_drift(days(0.0), days(0.0).clear(), windowing=DAY) == ()


def test_the_feature_that_moved_most_comes_first() -> None:
    draw = np.random.default_rng(1)
    reference = pl.DataFrame({name: draw.normal(size=2_000) for name in ("still", "little", "much")})
    reference = reference.with_columns(gone=pl.col("still"))
    missing = pl.when(pl.int_range(pl.len()) % 4 == 0).then(None).otherwise("gone")
    current = reference.with_columns(pl.col("little") + 0.3, pl.col("much") + 2, missing.alias("gone"))
    moved = moved_features(drift_statistics(reference, current))
    assert [one.column for one in moved] == ["much", "gone", "little", "still"]
    assert moved[-1].effect == 0.0
    assert moved[1].missing == pytest.approx(0.25)
    assert moved[0].drift.verdict is DriftVerdict.SHIFTED


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(MissingColumnsError, match=r"'wnd'.*Did you mean 'wind'"):
        drift_windows(days(0.0), days(0.0), columns=["wnd"], windowing=DAY)
    with pytest.raises(MissingColumnError, match="reference data have no column 'wind'"):
        drift_windows(days(0.0).drop("wind"), days(0.0), columns=["wind"], windowing=DAY)
    with pytest.raises(BadValuesError, match="NaN"):
        prediction_drift(days(0.0), days(0.0).with_columns(score=float("nan")), windowing=DAY)


def merchants(rows: int, seed: int, count: int = 300) -> pl.DataFrame:
    """Predictions of one day about equally likely merchants."""
    codes = np.random.default_rng(seed).integers(0, count, rows)
    return pl.DataFrame({"at": [START] * rows, "merchant": [f"m{code}" for code in codes]})


def test_a_column_of_many_categories_that_did_not_move_shows_no_effect() -> None:
    """The PSI of 300 equal categories in 1,000 rows is 0.3 by sampling alone: it ordered a training of every second model."""
    reference = merchants(3_000, 1)
    found = drift_windows(
        reference, merchants(1_000, 2), columns=["merchant"], windowing=DAY, limits=DriftLimits(min_rows=1_000)
    )[0]
    assert found.report is not None
    assert found.report.column("merchant").psi.value > 0.25
    assert found.effects == {"merchant": 0.0}


def test_what_moved_counts_without_what_sampling_gives() -> None:
    moved = merchants(1_000, 2).with_columns(
        merchant=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("m1")).otherwise("merchant")
    )
    found = drift_windows(merchants(20_000, 1), moved, columns=["merchant"], windowing=DAY)[0]
    assert found.report is not None
    psi = found.report.column("merchant").psi
    assert found.effects["merchant"] == pytest.approx(psi.value - psi.noise)
    assert found.effects["merchant"] > 1


def test_a_reference_of_few_rows_is_none() -> None:
    found = drift_windows(merchants(200, 1, 60), merchants(800, 2, 60), columns=["merchant"], windowing=DAY)[0]
    assert found.report is not None
    assert found.report.column("merchant").psi.value > 0.25
    assert found.effects == {}


def test_tests_of_columns_that_some_predictions_do_not_say_are_adjusted_with_all_others() -> None:
    """Each such column was a report of its own: twenty new features were judged by twenty tests as if by one."""
    reference, current = days(0.0, rows=4_000), days(0.1)
    columns = ["wind", "carrier", "score"]
    said = pl.DataFrame({name: [name != "wind"] * 8 + [True] * 792 for name in columns})
    found = drift_windows(reference, current, columns=columns, windowing=DAY, limits=LIMITS, said=said)[0].report
    assert found is not None
    tests = [test for one in found.columns for test in (one.chi_squared, one.ks) if test is not None]
    assert len(tests) == 5
    adjusted = stats.false_discovery_control([test.p_value for test in tests])
    assert [test.q_value for test in tests] == pytest.approx(list(adjusted))
    assert found.column("wind").current.rows == 792
    assert [one.column for one in found.columns] == columns
