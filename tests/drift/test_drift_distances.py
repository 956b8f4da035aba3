"""Wasserstein and Jensen-Shannon against SciPy, their own algebra, and what has no distance."""

import datetime as dt
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.spatial.distance import jensenshannon

from headwater.drift import DriftLimits, DriftVerdict, Wasserstein, drift_statistics, profile, report_frame
from headwater.drift._rare import cell_of_each
from tests.drift.test_drift_statistics import CATEGORIES, compare

# Ties, zeros of both signs, numbers whose squares are none, and any length, so that most pairs differ in rows.
FINITE = st.one_of(
    st.sampled_from([-2.0, -0.0, 0.0, 1.0, math.nextafter(1.0, 2.0), 1e150]), st.floats(-1e150, 1e150, width=64)
)
SAMPLES = hnp.arrays(np.float64, st.integers(1, 60), elements=FINITE)
FEW_VALUES = hnp.arrays(np.float64, st.integers(1, 80), elements=st.sampled_from([0.0, 0.1, 1.0, 7.5]))
ANY = st.one_of(SAMPLES, FEW_VALUES)


def moved(reference: Any, current: Any, **options: Any) -> Wasserstein:
    found = compare(reference, current, **options).wasserstein
    assert found is not None
    return found


@given(ANY, ANY)
@settings(max_examples=200, deadline=None)
def test_wasserstein_equals_scipy_whatever_is_tied_and_however_many_rows(a: np.ndarray, b: np.ndarray) -> None:
    expected = stats.wasserstein_distance(a, b)
    found = moved(a, b)
    # SciPy adds up products of gaps and shares; the scale of its rounding is that of the values.
    assert found.distance == pytest.approx(expected, rel=1e-9, abs=1e-12 * max(np.abs(a).max(), np.abs(b).max()))
    assert found.error == 0.0


@given(ANY, ANY)
@settings(max_examples=60, deadline=None)
def test_wasserstein_is_the_same_both_ways_round(a: np.ndarray, b: np.ndarray) -> None:
    assert moved(a, b).distance == pytest.approx(moved(b, a).distance, rel=1e-12)


@given(ANY, ANY)
@settings(max_examples=60, deadline=None)
def test_the_effect_is_the_distance_in_standard_deviations_of_the_reference(a: np.ndarray, b: np.ndarray) -> None:
    spread = float((a / 1e150).std()) * 1e150
    assume(spread > 1e-9 * np.abs(a).max())  # below that NumPy's own deviation is rounding
    found = moved(a, b)
    assert found.effect == pytest.approx(found.distance / spread, rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(70_001, 70_001), (70_001, 50_002), (1, 70_001), (70_001, 3)])
@pytest.mark.parametrize("decimals", [1, 12])
def test_wasserstein_of_many_rows_equals_scipy(n: int, m: int, decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    a, b = rng.normal(5, 2, n).round(decimals), rng.gamma(2, 3, m).round(decimals)
    found = moved(a, b)
    assert found.distance == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-9)
    assert n == 1 or found.effect == pytest.approx(found.distance / a.std(), rel=1e-9)


def test_a_shift_by_two_deviations_has_an_effect_of_two() -> None:
    values = np.random.default_rng(3).normal(10, 4, 5_000)
    found = moved(values, values + 2 * values.std())
    assert found.effect == pytest.approx(2.0)
    assert found.distance == pytest.approx(2 * values.std())


def test_null_and_nan_take_no_part_in_the_distance() -> None:
    found = compare([1.0, 2.0, None, math.nan], [2.0, 3.0, 3.0, 2.0, None])
    assert found.wasserstein == moved([1.0, 2.0], [2.0, 3.0, 3.0, 2.0])
    assert found.wasserstein is not None
    assert found.wasserstein.distance == 1.0
    assert found.jensen_shannon > 0


def test_a_constant_that_stays_has_no_distance_and_one_that_moves_has_no_effect() -> None:
    assert moved([3.0] * 6, [3.0] * 9) == Wasserstein(distance=0.0, effect=0.0, error=0.0)
    assert moved([3.0] * 6, [4.5] * 9) == Wasserstein(distance=1.5, effect=None, error=0.0)
    assert moved([3.0], [4.5]) == Wasserstein(distance=1.5, effect=None, error=0.0)
    assert compare([3.0] * 6, [3.0] * 9).jensen_shannon == 0.0


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        ([1.0, math.inf], [1.0, 2.0]),
        ([1.0, 2.0], [-math.inf, 2.0]),
        ([math.inf], [math.inf]),
        ([1.0, None], [None, None]),
        ([math.nan], [1.0]),
        ([-1.7e308], [1.7e308]),
        (["a"], ["b"]),
        ([None], [None]),
    ],
)
def test_what_has_no_distance_is_null(reference: list[Any], current: list[Any]) -> None:
    found = compare(reference, current)
    assert found.wasserstein is None
    assert math.isfinite(found.jensen_shannon)


def test_numbers_whose_range_is_no_number_have_no_effect() -> None:
    assert moved([-1e308, 0.0, 1e308], [-1e308, 0.0, 1e308]).effect == 0.0
    assert moved([-1.5e308, 1.5e308], [-1.5e308, 1.4e308]).effect is None


def test_large_integers_keep_their_last_digit_and_their_sign() -> None:
    big = 2**53
    assert moved(pl.Series([big] * 5), pl.Series([big + 1] * 5)).distance == 1.0
    assert moved(pl.Series([big, big + 2]), pl.Series([big + 1, big + 3])).effect == 1.0
    ends = [-(2**63), 2**63 - 1]
    assert moved(pl.Series(ends[:1]), pl.Series(ends[1:])).distance == 2.0**64


@pytest.mark.parametrize(
    ("start", "step"),
    [
        (dt.datetime(2013, 1, 1, tzinfo=dt.UTC), dt.timedelta(seconds=90)),
        (dt.timedelta(0), dt.timedelta(seconds=90)),
        (dt.date(2013, 1, 1), dt.timedelta(days=1)),
    ],
)
def test_points_in_time_move_by_seconds(start: Any, step: dt.timedelta) -> None:
    rows = [start + n * step for n in range(50)]
    found = moved(pl.Series(rows), pl.Series([row + step for row in rows]))
    assert found.distance == pytest.approx(step.total_seconds())
    assert found.effect == pytest.approx(1 / np.arange(50).std())


@given(CATEGORIES, CATEGORIES)
@settings(max_examples=100, deadline=None)
def test_jensen_shannon_of_categories_equals_scipy_with_null_as_a_category(
    a: list[str | None], b: list[str | None]
) -> None:
    found = compare(pl.Series(a, dtype=pl.String), pl.Series(b, dtype=pl.String))
    names = sorted({*a, *b}, key=lambda name: (name is None, name or ""))  # as the cells are: null last
    counts = [np.array([side.count(name) for name in names]) for side in (a, b)]
    shares = [np.bincount(cell_of_each(*counts), weights=side / side.sum()) for side in counts]
    assert found.jensen_shannon == pytest.approx(np.nan_to_num(jensenshannon(*shares, base=2)), abs=1e-7)
    assert 0 <= found.jensen_shannon <= 1
    assert found.wasserstein is None


def test_jensen_shannon_of_numbers_is_over_the_cells_of_psi() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=50_000), rng.normal(0.4, 1.2, size=30_000)
    edges = np.sort(a)[np.arange(1, 10) * 5_000 - 1]
    shares = [np.bincount(np.searchsorted(edges, side), minlength=10) for side in (a, b)]
    assert compare(a, b).jensen_shannon == pytest.approx(float(jensenshannon(*shares, base=2)), rel=1e-9)


def test_jensen_shannon_is_one_where_no_category_is_shared_and_finite_for_a_new_one() -> None:
    assert compare(["a", "b"] * 9, ["c"] * 6).jensen_shannon == 1.0
    new = compare(["a"] * 900 + ["b"] * 100, ["a"] * 900 + ["c"] * 100)
    assert new.jensen_shannon == pytest.approx(math.sqrt(0.1))


@given(CATEGORIES, CATEGORIES)
@settings(max_examples=40, deadline=None)
def test_jensen_shannon_is_the_same_both_ways_round(a: list[str | None], b: list[str | None]) -> None:
    left, right = pl.Series(a, dtype=pl.String), pl.Series(b, dtype=pl.String)
    assert compare(left, right).jensen_shannon == pytest.approx(compare(right, left).jensen_shannon, abs=1e-12)


def sides(rows: int = 20_000) -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(8)

    def side(shift: float, rows: int) -> pl.DataFrame:
        rain = rng.gamma(1, size=rows) * (rng.random(rows) < 0.2 + shift / 10)
        return pl.DataFrame({"normal": rng.normal(shift, size=rows), "rain": rain, "hour": rng.integers(0, 24, rows)})

    return side(0.0, rows), side(0.3, rows // 3)


def test_a_kept_exact_profile_gives_the_distances_of_the_rows() -> None:
    reference, current = sides()
    assert drift_statistics(profile(reference), current) == drift_statistics(reference, current)


@pytest.mark.parametrize("points", [5, 40, 1_000])
def test_a_compressed_profile_says_how_far_its_distance_may_be_off(points: int) -> None:
    reference, current = sides()
    exact = drift_statistics(reference, current)
    halves = [profile(half).compress(points) for half in (reference.head(7_000), reference.tail(13_000))]
    for kept in (profile(reference).compress(points), halves[0].merge(halves[1])):
        rough = drift_statistics(kept, current)
        for name in ("normal", "rain"):
            a, b = exact.column(name).wasserstein, rough.column(name).wasserstein
            assert a is not None
            assert b is not None
            assert abs(a.distance - b.distance) <= b.error
            assert b.error <= 1.1 / (points - 1) * (reference[name].max() - reference[name].min())  # type: ignore[operator]
    # So few distinct hours are all kept, and the error says so.
    if points >= 40:
        assert rough.column("hour").wasserstein == exact.column("hour").wasserstein


def test_the_new_statistics_stand_in_the_table_and_judge_nothing() -> None:
    reference, current = sides()
    report = drift_statistics(reference, current, limits=DriftLimits(psi=9.0, ks=None))
    row = report_frame(report).row(0, named=True)
    record = report.column("normal")
    assert record.wasserstein is not None
    assert (row["jensen_shannon"], row["wasserstein"]) == (record.jensen_shannon, record.wasserstein.distance)
    assert (row["wasserstein_effect"], row["wasserstein_error"]) == (record.wasserstein.effect, 0.0)
    assert record.verdict is DriftVerdict.STABLE
    words = report_frame(drift_statistics(*(pl.DataFrame({"x": [word] * 9}) for word in "ab"))).row(0, named=True)
    assert (words["jensen_shannon"], words["wasserstein"], words["wasserstein_effect"]) == (1.0, None, None)
