"""Intervals as the papers and SciPy have them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from headwater.models import Bootstrap
from headwater.monitoring import MonitoringRuleError, power_of_proportions, rows_for_proportions
from headwater.monitoring._intervals import (
    Mean,
    design_effect,
    effective_rows,
    mean_interval,
    mean_of,
    newcombe,
    student,
    units_of_one_size,
    welch,
    wilson,
)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_intervals_of_newcombes_table(hits: int, count: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3."""
    found = wilson(hits, count)
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_differences_are_those_of_newcombes_table(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe 1998, Statistics in Medicine 17, 873-890, table II, method 10."""
    sides = wilson(*first), wilson(*second)
    assert sides[0] is not None
    assert sides[1] is not None
    found = newcombe(sides[0], sides[1])
    assert found.value == pytest.approx(first[0] / first[1] - second[0] / second[1])
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
@settings(max_examples=100, deadline=None)
def test_wilson_equals_scipy(counts: tuple[int, int], level: float) -> None:
    found = wilson(*counts, level=level)
    expected = stats.binomtest(*counts).proportion_ci(level, method="wilson")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_nothing_has_no_proportion_and_more_hits_than_rows_are_refused() -> None:
    assert wilson(0, 0) is None
    for hits, count in ((3, 2), (-1, 2), (float("nan"), 2)):
        with pytest.raises(MonitoringRuleError, match="from 0 to"):
            wilson(hits, count)


SAMPLES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50).map(np.array)


@given(SAMPLES, SAMPLES, st.floats(0.5, 0.999))
@settings(max_examples=80, deadline=None)
def test_welch_equals_scipy(a: np.ndarray, b: np.ndarray, level: float) -> None:
    sides = mean_of(a), mean_of(b)
    assert sides[0] is not None
    assert sides[1] is not None
    found = welch(sides[0], sides[1], level=level)
    assert found is not None
    if min(a.std(), b.std()) < 1e-6:  # SciPy warns of lost precision, and is right to
        return
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-6)


@given(SAMPLES)
@settings(max_examples=60, deadline=None)
def test_the_interval_of_a_mean_is_students(values: np.ndarray) -> None:
    mean = mean_of(values)
    assert mean is not None
    found = student(mean)
    assert found is not None
    scale = values.std(ddof=1) / math.sqrt(len(values))
    if scale:
        expected = stats.t.interval(0.95, len(values) - 1, loc=values.mean(), scale=scale)
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_samples_without_spread_differ_by_exactly_that_much() -> None:
    found = welch(Mean(value=2.0, variance=0.0, count=5), Mean(value=1.5, variance=0.0, count=9))
    assert found is not None
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)
    assert welch(Mean(value=2.0, variance=0.0, count=1), Mean(value=1.5, variance=0.0, count=9)) is None


def test_variances_whose_squares_vanish_have_an_interval_all_the_same() -> None:
    """Hypothesis found the division by zero that this was."""
    found = welch(Mean(value=0.0, variance=0.0, count=2), Mean(value=0.0, variance=1e-200, count=2))
    assert found is not None
    assert found.low < 0 < found.high


def test_the_power_is_that_of_rs_manual() -> None:
    """`power.prop.test(n = 50, p1 = .50, p2 = .75)` gives 0.740, `power.prop.test(p1 = .50, p2 = .75, power = .90)` n = 76.7."""
    assert power_of_proportions(0.5, 0.25, (50, 50)) == pytest.approx(0.740, abs=5e-4)
    assert rows_for_proportions(0.5, 0.25, power=0.9) == (77, 77)


def test_the_rows_are_those_of_the_textbook() -> None:
    """60% against 70% at 5% and 80% needs 356 a side without continuity correction (Fleiss, Levin and Paik 2003, chapter 4)."""
    assert rows_for_proportions(0.6, 0.1) == (356, 356)


@given(
    st.floats(0.05, 0.6),
    st.floats(0.02, 0.3),
    st.floats(0.5, 0.99),
    st.floats(0.01, 0.1),
    st.sampled_from([0.25, 1.0, 3.0]),
)
@settings(max_examples=100, deadline=None)
def test_as_many_rows_as_needed_have_the_power_wanted(
    base: float, effect: float, power: float, alpha: float, ratio: float
) -> None:
    counts = rows_for_proportions(base, effect, alpha=alpha, power=power, ratio=ratio)
    assert power_of_proportions(base, effect, counts, alpha=alpha) >= power - 1e-9
    fewer = (counts[0] * 0.9, counts[1] * 0.9)
    assert power_of_proportions(base, effect, fewer, alpha=alpha) < power or counts[0] < 20


def test_the_power_is_how_often_a_simulated_test_finds_the_effect() -> None:
    draw = np.random.default_rng(4)
    n, m, base, effect = 1_500, 500, 0.2, 0.06
    a, b = draw.binomial(n, base, 20_000) / n, draw.binomial(m, base + effect, 20_000) / m
    pooled = (a * n + b * m) / (n + m)
    found = np.abs(a - b) > 1.959964 * np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    assert power_of_proportions(base, effect, (n, m)) == pytest.approx(found.mean(), abs=0.015)


@pytest.mark.parametrize(("base", "effect"), [(0.5, 0.0), (0.5, 0.5), (0.2, -0.3), (0.0, 0.1), (float("nan"), 0.1)])
def test_an_effect_that_cannot_be_is_refused(base: float, effect: float) -> None:
    with pytest.raises(MonitoringRuleError, match="effect"):
        rows_for_proportions(base, effect)


def test_rows_that_repeat_count_once() -> None:
    draw = np.random.default_rng(2)
    once = (draw.random(2_000) < 0.3).astype(np.float64)
    units = np.repeat(np.arange(2_000), 5)
    assert design_effect(np.repeat(once, 5), units) == pytest.approx(5.0, rel=0.01)
    assert design_effect(once, np.arange(2_000)) == 1.0
    assert design_effect((draw.random(10_000) < 0.3).astype(np.float64), units) == pytest.approx(1.0, abs=0.1)
    assert design_effect(np.ones(10), np.repeat([0, 1], 5)) == 1.0
    assert design_effect(np.empty(0), np.empty(0, dtype=np.int64)) == 1.0


def test_a_unit_with_most_of_the_rows_does_not_hide_how_unlike_units_are() -> None:
    """Its own distance from a mean that it makes is small: the effect is that of leaving it out."""
    values, units = np.repeat([1.0, 0.0, 0.0], [98, 1, 1]), np.repeat([0, 1, 2], [98, 1, 1])
    left_out = np.array([0.0, 98 / 99, 98 / 99]) - 0.98
    expected = 2 / 3 * float((left_out**2).sum()) / (float(values.var(ddof=1)) / 100)
    assert design_effect(values, units) == pytest.approx(expected)
    assert units_of_one_size(units) == pytest.approx(100**2 / (98**2 + 2))
    assert units_of_one_size(np.repeat(np.arange(7), 3)) == pytest.approx(7)


def test_few_units_count_as_fewer_rows() -> None:
    values, units = np.tile([0.0, 1.0], 50), np.repeat(np.arange(5), 20)
    stretch = stats.t.ppf(0.975, 4) / stats.norm.ppf(0.975)
    alike = design_effect(values, units)
    assert effective_rows(units, alike=alike, level=0.95) == pytest.approx(100 / alike / stretch**2)
    assert effective_rows(np.arange(100), alike=1, level=0.95) == 100
    for alone in (100, 1, 0):
        assert effective_rows(np.zeros(alone, np.int64), alike=1, level=0.95) == 0
    mean = mean_of(values, units=units)
    assert mean is not None
    found = student(mean)
    assert found is not None
    half = stats.t.ppf(0.975, 4) * math.sqrt(values.var(ddof=1) / 100)
    assert (found.low, found.high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))


def test_intervals_divided_by_the_design_effect_hold_where_plain_ones_do_not() -> None:
    """600 tests of 40 units with 20 alike rows each; the truth is 0.3."""
    draw = np.random.default_rng(8)
    units = np.repeat(np.arange(40), 20)
    held = {"plain": 0, "effective": 0}
    for _ in range(600):
        rows = (draw.random(800) < np.repeat(draw.beta(3, 7, 40), 20)).astype(np.float64)
        for name, effect in (("plain", 1.0), ("effective", design_effect(rows, units))):
            found = wilson(rows.mean() * 800 / effect, 800 / effect)
            assert found is not None
            held[name] += found.low <= 0.3 <= found.high
    assert held["plain"] / 600 < 0.80
    assert held["effective"] / 600 > 0.92


def test_groups_drawn_whole_widen_the_interval_of_a_mean() -> None:
    draw = np.random.default_rng(3)
    values = np.repeat(draw.normal(size=60), 30) + draw.normal(scale=0.1, size=1_800)
    plan, groups = Bootstrap(resamples=400), np.repeat(np.arange(60), 30)
    rows, whole = mean_interval(values, plan), mean_interval(values, plan, clusters=groups)
    assert rows is not None
    assert whole is not None
    assert whole.value == rows.value
    assert (whole.high - whole.low) / (rows.high - rows.low) == pytest.approx(math.sqrt(30), rel=0.2)
    assert mean_interval(values, plan, clusters=np.zeros(1_800, dtype=np.int64)) is None
    assert mean_interval(values, plan, clusters=np.arange(1_800) % 2) is None
    assert mean_interval(np.empty(0), plan) is None
    assert mean_interval(np.ones(1), plan) is None


@pytest.mark.parametrize("days", [3, 7])
def test_the_interval_of_few_days_covers_what_other_days_will_be(days: int) -> None:
    """The ends of a bootstrap of 7 days cover 88% of the truth, those of rows a half."""
    covered = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        rate = np.clip(0.75 + draw.normal(0, 0.06, days), 0, 1)
        right = (draw.random((days, 300)) < rate[:, None]).astype(float).ravel()
        found = mean_interval(right, Bootstrap(resamples=100), clusters=np.repeat(np.arange(days), 300))
        assert found is not None
        covered += found.low <= 0.75 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_few_days_that_are_alike_by_chance_give_no_narrower_interval_than_their_rows() -> None:
    right = np.tile(np.repeat([1.0, 0.0], [75, 25]), 4)
    rows, whole = (
        mean_interval(right, Bootstrap(), clusters=clusters) for clusters in (None, np.repeat(np.arange(4), 100))
    )
    assert rows == whole
