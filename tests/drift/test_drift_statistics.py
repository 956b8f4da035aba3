"""Each statistic against SciPy, its own algebra, and the awkward columns that break others."""

import datetime as dt
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from headwater.drift import (
    ColumnKindError,
    DriftLimits,
    DriftVerdict,
    EmptySampleError,
    LimitError,
    MissingColumnError,
    UnsupportedColumnError,
    drift_statistics,
)
from headwater.drift._rare import cell_of_each
from headwater.drift.report import ColumnDrift

# Few distinct values make ties; infinities, zeros of both signs and neighbours of 1 are where comparisons go wrong.
AWKWARD = st.sampled_from([-np.inf, -2.0, -1.0, -0.0, 0.0, 1.0, math.nextafter(1.0, 2.0), 2.0, 1e300, np.inf])
ANY_FLOAT = st.floats(allow_nan=False, width=64)
SAMPLES = hnp.arrays(np.float64, st.integers(1, 400), elements=st.one_of(AWKWARD, ANY_FLOAT))
CATEGORIES = st.lists(st.sampled_from([None, "", "a", "b", "ß", "long category " * 5]), min_size=1, max_size=200)
EVERYTHING = DriftLimits(min_rows=1)


def compare(reference: Any, current: Any, **options: Any) -> ColumnDrift:
    frames = [
        side if isinstance(side, pl.Series) else pl.Series("x", side, strict=False) for side in (reference, current)
    ]
    options.setdefault("limits", EVERYTHING)
    return drift_statistics(*(side.alias("x").to_frame() for side in frames), **options).columns[0]


def ks(reference: Any, current: Any, **options: Any) -> float:
    found = compare(reference, current, **options).ks
    assert found is not None
    return found.statistic


@given(SAMPLES, SAMPLES)
@settings(max_examples=150, deadline=None)
def test_ks_equals_scipy_ties_and_infinities_included(a: np.ndarray, b: np.ndarray) -> None:
    with np.errstate(all="ignore"):  # SciPy's p-value divides by zero for a single row.
        expected = stats.ks_2samp(a + 0.0, b + 0.0, method="asymp").statistic
    assert ks(a, b) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.001, 0.05, 1.0, 8.0])
@pytest.mark.parametrize("decimals", [1, 3, 12])
def test_ks_of_many_rows_equals_scipy(shift: float, decimals: int) -> None:
    # Thousands of blocks, most skipped: the search must not skip the one that holds the largest gap.
    rng = np.random.default_rng(decimals)
    a, b = rng.normal(size=60_000).round(decimals), rng.normal(shift, 1 + shift, size=41_000).round(decimals)
    assert ks(a, b) == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic, abs=1e-12)


def test_ks_finds_a_gap_that_only_one_value_shows() -> None:
    a = np.arange(100_000, dtype=np.float64)
    b = a.copy()
    b[50_000:50_100] = 50_100.0
    assert ks(a, b) == 0.001
    assert stats.ks_2samp(a, b, method="asymp").statistic == pytest.approx(0.001)


@given(SAMPLES, SAMPLES)
@settings(max_examples=60, deadline=None)
def test_ks_is_the_same_both_ways_round(a: np.ndarray, b: np.ndarray) -> None:
    assert ks(a, b) == ks(b, a)


@pytest.mark.parametrize(("n", "m"), [(500, 500), (500, 20_000), (30_000, 30_000)])
def test_the_ks_p_value_is_the_limit_that_scipy_knows(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=n), rng.normal(0.05, size=m)
    found = compare(a, b).ks
    assert found is not None
    assert found.p_value == pytest.approx(stats.kstwobign.sf(found.statistic * math.sqrt(n * m / (n + m))), rel=1e-9)
    # SciPy's own asymptotic p-value adds a finite-sample correction; at 500 rows both agree to about a tenth.
    assert found.p_value == pytest.approx(stats.ks_2samp(a, b, method="asymp").pvalue, rel=0.15)


@given(CATEGORIES, CATEGORIES)
@settings(max_examples=100, deadline=None)
def test_chi_squared_equals_scipy_over_its_cells_with_null_as_a_category(
    a: list[str | None], b: list[str | None]
) -> None:
    found = compare(pl.Series(a, dtype=pl.String), pl.Series(b, dtype=pl.String)).chi_squared
    names = sorted({*a, *b}, key=lambda name: (name is None, name or ""))  # as the cells are: null last
    left, right = (np.array([side.count(name) for name in names]) for side in (a, b))
    cell = cell_of_each(left, right)
    if (len(a) > len(b) / 3) and (len(b) > len(a) / 3):
        assert len(set(cell)) == len(names), "nothing is pooled where both sides have about as many rows"
    table = np.array([np.bincount(cell, weights=side) for side in (left, right)]).astype(np.int64)
    expected = stats.chi2_contingency(table, correction=False)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert found.dof == expected.dof
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-12)
    cramers_v = stats.contingency.association(table) if found.dof else 0.0
    assert found.cramers_v == pytest.approx(cramers_v, abs=1e-9)


@given(SAMPLES, SAMPLES)
@settings(max_examples=60, deadline=None)
def test_psi_is_never_negative_nor_infinite(a: np.ndarray, b: np.ndarray) -> None:
    value = compare(a, b).psi.value
    assert 0 <= value < math.inf


@given(st.one_of(SAMPLES, CATEGORIES))
@settings(max_examples=60, deadline=None)
def test_identical_samples_show_exactly_nothing(sample: Any) -> None:
    side = pl.Series(sample) if isinstance(sample, np.ndarray) else pl.Series(sample, dtype=pl.String)
    found = compare(side, side.reverse())
    assert found.psi.value == 0.0
    assert found.chi_squared.statistic == 0.0
    assert found.chi_squared.p_value == 1.0
    assert found.ks is None or (found.ks.statistic == 0.0 and found.ks.p_value == 1.0)
    assert found.verdict is DriftVerdict.STABLE


def test_the_same_shares_in_twice_the_rows_are_no_drift() -> None:
    rows = np.concatenate([np.zeros(900), np.arange(1, 101)])
    found = compare(rows, np.tile(rows, 2))
    assert found.psi.value == 0.0
    assert found.ks is not None
    assert found.ks.statistic == 0.0


def test_psi_of_a_zero_inflated_column_sees_more_rain() -> None:
    # Deciles of a column that is 93% zero are all zero, so that textbook PSI is 0 whatever happens.
    wet = np.linspace(0.01, 2.0, 7_000)
    dry_year = np.concatenate([np.zeros(93_000), wet])
    wet_year = np.concatenate([np.zeros(79_000), np.repeat(wet, 3)])
    found = compare(dry_year, wet_year)
    by_hand = (0.93 - 0.79) * math.log(0.93 / 0.79) + (0.07 - 0.21) * math.log(0.07 / 0.21)
    assert found.psi.value == pytest.approx(by_hand, rel=1e-3)
    assert found.psi.cells == 10


def test_psi_sees_rain_move_among_the_wet_hours_alone() -> None:
    light = np.concatenate([np.zeros(93_000), np.linspace(0.01, 1.0, 7_000)])
    heavy = np.concatenate([np.zeros(93_000), np.linspace(1.01, 2.0, 7_000)])
    assert compare(light, heavy).psi.value > 0.1


def test_an_atom_takes_only_its_own_value() -> None:
    atom = np.zeros(5_000)
    spread = np.linspace(1, 2, 5_000)
    # Just below and just above zero is not zero.
    near = np.concatenate([np.full(2_500, -1e-9), np.full(2_500, 1e-9)])
    assert compare(np.concatenate([atom, spread]), np.concatenate([near, spread])).psi.value > 1


def test_psi_of_a_normal_equals_the_textbook_deciles() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=50_000), rng.normal(0.4, 1.2, size=30_000)
    edges = np.sort(a)[np.arange(1, 10) * 5_000 - 1]
    p = np.bincount(np.searchsorted(edges, a), minlength=10) / len(a)
    q = np.bincount(np.searchsorted(edges, b), minlength=10) / len(b)
    assert compare(a, b).psi.value == pytest.approx(float(((p - q) * np.log(p / q)).sum()), rel=1e-9)


def psi_by_hand(x: np.ndarray, y: np.ndarray, bins: int = 10) -> tuple[float, int]:
    """Row by row: values that fill a bin alone have their cell, the rest is cut at its own quantiles."""
    values, counts = np.unique(x, return_counts=True)
    atoms = values[counts * bins >= len(x)]
    rest = np.sort(x[~np.isin(x, atoms)])
    wanted = max(bins - len(atoms), 1)
    edges = np.unique([rest[-(-i * len(rest) // wanted) - 1] for i in range(1, wanted)]) if len(rest) else rest
    edges = edges[edges < x.max()]

    def cell(at: np.ndarray) -> np.ndarray:
        beside = np.searchsorted(atoms, at, side="left") + np.searchsorted(atoms, at, side="right")
        return np.searchsorted(edges, at, side="left") * 1_000 + beside

    left, right = cell(x), cell(y)
    cells = np.union1d(left, right)
    p = [max(float(np.count_nonzero(left == one)), 0.5) / len(x) for one in cells]
    q = [max(float(np.count_nonzero(right == one)), 0.5) / len(y) for one in cells]
    return sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True)), len(cells)


@pytest.mark.parametrize("dry", [0.0, 0.05, 0.5, 0.95])
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_psi_equals_a_row_by_row_reckoning_of_columns_like_rain(dry: float, decimals: int) -> None:
    rng = np.random.default_rng(12)
    x, y = (
        np.where(rng.random(rows) < dry, 0.0, rng.gamma(shape, 2.0, rows).round(decimals))
        for rows, shape in ((6_007, 1.0), (2_003, 1.3))
    )
    expected, cells = psi_by_hand(x, y)
    found = compare(x, y).psi
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.cells == cells


def test_psi_noise_is_what_sampling_gives_without_a_shift() -> None:
    rng = np.random.default_rng(11)
    found = [compare(rng.normal(size=2_000), rng.normal(size=1_000)).psi for _ in range(60)]
    assert np.mean([psi.value for psi in found]) == pytest.approx(found[0].noise, rel=0.15)


def test_new_and_vanished_categories_are_named_and_finite() -> None:
    found = compare(["a"] * 700 + ["b"] * 300, ["a"] * 700 + ["c"] * 200 + ["d"] * 100)
    assert found.new_categories == ("c", "d")
    assert found.vanished_categories == ("b",)
    assert (found.new_count, found.vanished_count) == (2, 1)
    half = 0.5 / 1000
    terms = [(0.3, half), (half, 0.2), (half, 0.1)]
    assert found.psi.value == pytest.approx(sum((p - q) * math.log(p / q) for p, q in terms))
    assert found.verdict is DriftVerdict.SHIFTED


def test_only_twenty_new_categories_are_named_and_all_are_counted() -> None:
    found = compare(["a"], [f"c{n:03}" for n in range(300)])
    assert len(found.new_categories) == 20
    assert found.new_categories[0] == "c000"
    assert found.new_count == 300


def test_values_that_turn_null_are_a_shift() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=2_000)
    found = compare(pl.Series(values), pl.Series([None if n % 2 else v for n, v in enumerate(values)]))
    assert found.current.nulls == 1_000
    assert found.ks is not None
    assert found.ks.statistic < 0.05
    assert found.verdict is DriftVerdict.SHIFTED
    assert "PSI" in found.reason


def test_nan_is_neither_null_nor_a_number() -> None:
    found = compare([1.0, 2.0, math.nan, None], [1.0, 2.0, None, None])
    assert (found.reference.nans, found.reference.nulls) == (1, 1)
    assert (found.current.nans, found.current.nulls) == (0, 2)
    assert found.psi.value > 0
    assert found.ks is not None
    assert found.ks.statistic == 0.0


def test_a_column_without_any_value_on_both_sides_is_stable() -> None:
    for dtype in (pl.Null, pl.Float64, pl.String):
        empty = pl.Series([None] * 600, dtype=dtype)
        found = compare(empty, empty)
        assert found.verdict is DriftVerdict.STABLE
        assert found.ks is None
        assert found.psi.value == 0.0


@pytest.mark.parametrize("values", [[1.5] * 600, ["a"] * 600])
@pytest.mark.parametrize("dtype", [pl.Null, None])
def test_a_column_that_lost_every_value_has_shifted(values: list[Any], dtype: Any) -> None:
    lost = pl.Series([None] * 600, dtype=dtype or pl.Series(values).dtype)
    assert compare(pl.Series(values), lost).verdict is DriftVerdict.SHIFTED
    assert compare(lost, pl.Series(values)).verdict is DriftVerdict.SHIFTED


def test_a_constant_column_is_stable_until_the_constant_changes() -> None:
    assert compare([3.0] * 600, [3.0] * 900).verdict is DriftVerdict.STABLE
    changed = compare([3.0] * 600, [4.0] * 900)
    assert changed.ks is not None
    assert changed.ks.statistic == 1.0
    assert changed.verdict is DriftVerdict.SHIFTED


def test_infinities_are_values_at_the_ends() -> None:
    found = compare([-math.inf, 0.0, 1.0, math.inf], [0.0, 1.0, math.inf, math.inf])
    assert found.ks is not None
    assert found.ks.statistic == 0.25
    assert math.isfinite(found.psi.value)


def test_narrow_and_wide_floats_are_compared_in_the_narrow_width() -> None:
    # 0.1 as Float32 is not 0.1 as Float64: compared bit by bit a constant column would show KS 1.
    narrow = pl.Series([0.1, 0.2] * 400, dtype=pl.Float32)
    wide = pl.Series([0.1, 0.2] * 400, dtype=pl.Float64)
    for found in (compare(narrow, wide), compare(wide, narrow)):
        assert found.kind == "single"
        assert found.psi.value == 0.0


def test_large_integers_keep_their_last_digit() -> None:
    big = 2**53
    found = compare(pl.Series([big] * 600), pl.Series([big + 1] * 600))
    assert found.ks is not None
    assert found.ks.statistic == 1.0


@pytest.mark.parametrize(
    ("left", "right", "kind"),
    [
        (pl.Int8, pl.Int64, "integer"),
        (pl.UInt32, pl.Int16, "integer"),
        (pl.Int32, pl.Float64, "double"),
        (pl.Int32, pl.Float32, "double"),
        (pl.UInt64, pl.Int64, "double"),
        (pl.Decimal(10, 2), pl.Float64, "double"),
        (pl.String, pl.Categorical, "category"),
    ],
)
def test_equal_values_of_related_dtypes_show_nothing(left: Any, right: Any, kind: str) -> None:
    values = pl.Series([1, 2, 3, 4] * 200)
    found = compare(values.cast(left), values.cast(pl.String).cast(right))
    assert (found.kind, found.psi.value) == (kind, 0.0)


@pytest.mark.parametrize(
    "series",
    [
        pl.Series([dt.date(2013, 1, day) for day in range(1, 29)]),
        pl.Series([dt.datetime(2013, 1, day, tzinfo=dt.UTC) for day in range(1, 29)]),
        pl.Series([dt.timedelta(hours=hour) for hour in range(24)]),
        pl.Series([dt.time(hour) for hour in range(24)]),
    ],
)
def test_points_in_time_have_an_order(series: pl.Series) -> None:
    found = compare(series, series.tail(len(series) // 2))
    assert found.ks is not None
    assert found.ks.statistic == 0.5
    assert found.reference.median is None


def test_codes_can_be_compared_as_categories() -> None:
    codes, others = pl.Series([1, 2] * 300), pl.Series([1, 3] * 300)
    assert compare(codes, others).ks is not None
    found = compare(codes, others, categorical=["x"])
    assert found.ks is None
    assert found.new_categories == ("3",)


def test_booleans_are_categories() -> None:
    found = compare([True] * 900 + [False] * 100, [True] * 100 + [False] * 900)
    assert found.kind == "category"
    assert found.verdict is DriftVerdict.SHIFTED


def test_an_empty_side_is_an_error_that_names_column_and_side() -> None:
    full, empty = pl.DataFrame({"x": [1.0]}), pl.DataFrame({"x": []}, schema={"x": pl.Float64})
    with pytest.raises(EmptySampleError, match=r"Column 'x' has no current rows.*Materialize the current dataset"):
        drift_statistics(full, empty)
    with pytest.raises(EmptySampleError, match="Column 'x' has no reference rows"):
        drift_statistics(empty, full)


def test_a_missing_column_is_an_error_with_near_misses() -> None:
    with pytest.raises(MissingColumnError, match=r"current data have no column 'dep_delay'.*Did you mean 'dep_delays'"):
        drift_statistics(pl.DataFrame({"dep_delay": [1]}), pl.DataFrame({"dep_delays": [1]}))
    with pytest.raises(MissingColumnError, match="reference data have no column 'y'"):
        drift_statistics(pl.DataFrame({"x": [1]}), pl.DataFrame({"x": [1], "y": [1]}), columns=["y"])
    with pytest.raises(MissingColumnError, match="no column 'z'"):
        drift_statistics(pl.DataFrame({"x": [1]}), pl.DataFrame({"x": [1]}), categorical=["z"])


@pytest.mark.parametrize("other", [pl.Series(["1"]), pl.Series([dt.date(2013, 1, 1)]), pl.Series([True])])
def test_numbers_against_another_kind_are_an_error(other: pl.Series) -> None:
    with pytest.raises(ColumnKindError, match="Column 'x' holds integer values in the reference"):
        compare([1], other)


@pytest.mark.parametrize("series", [pl.Series([[1]]), pl.Series([{"a": 1}]), pl.Series([b"a"])])
def test_a_nested_or_binary_column_is_an_error(series: pl.Series) -> None:
    with pytest.raises(UnsupportedColumnError, match="Column 'x' has dtype"):
        compare(series, series)


def test_few_rows_are_measured_but_not_judged() -> None:
    found = compare([0.0] * 499, [9.0] * 10_000, limits=DriftLimits(min_rows=500))
    assert found.verdict is DriftVerdict.TOO_FEW_ROWS
    assert "reference data have 499 rows, fewer than 500" in found.reason
    assert found.psi.value > 1


def test_many_rare_categories_without_a_shift_do_not_alarm() -> None:
    # PSI of 4,000 categories in 5,000 rows is large by sampling alone.
    rng = np.random.default_rng(3)
    draws = [pl.Series([f"N{n}" for n in rng.integers(0, 4_000, 5_000)]) for _ in range(2)]
    found = compare(*draws, limits=DriftLimits())
    assert found.psi.value > 0.25
    assert found.verdict is DriftVerdict.STABLE
    assert "chance" in found.reason


def test_a_certain_but_small_shift_does_not_alarm() -> None:
    rng = np.random.default_rng(4)
    found = compare(rng.normal(size=200_000), rng.normal(0.05, size=200_000), limits=DriftLimits())
    assert found.ks is not None
    assert found.ks.q_value < 1e-6
    assert found.verdict is DriftVerdict.STABLE


def test_q_values_are_benjamini_hochberg_over_all_tests() -> None:
    rng = np.random.default_rng(6)
    shifts = {"a": 0.0, "b": 0.02, "c": 0.05, "d": 0.3}
    reference = pl.DataFrame({name: rng.normal(size=3_000) for name in shifts})
    current = pl.DataFrame({name: rng.normal(shift, size=3_000) for name, shift in shifts.items()})
    columns = drift_statistics(reference, current).columns
    tests = [test for record in columns for test in (record.chi_squared, record.ks) if test is not None]
    expected = stats.false_discovery_control([test.p_value for test in tests], method="bh")
    assert [test.q_value for test in tests] == pytest.approx(list(expected), rel=1e-12)


def test_false_alarms_stay_rare_over_many_columns_without_a_shift() -> None:
    rng = np.random.default_rng(7)
    names = [f"c{n}" for n in range(200)]
    sides = [pl.DataFrame({name: rng.normal(size=600) for name in names}) for _ in range(2)]
    # Limits near zero leave the decision to significance alone.
    report = drift_statistics(*sides, limits=DriftLimits(psi=1e-9, ks=1e-9))
    assert len(report.shifted) <= 2


@pytest.mark.parametrize(
    "wrong", [{"psi": 0}, {"psi": math.nan}, {"ks": 1.5}, {"false_discovery": 0}, {"min_rows": 0}, {"bins": 1}]
)
def test_limits_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LimitError, match=f"'{next(iter(wrong))}'"):
        DriftLimits(**wrong)


def test_names_that_read_as_patterns_are_names_and_a_name_given_twice_counts_once() -> None:
    """Polars takes `^x1$` and `*` for patterns: the report once showed another column's numbers."""
    frame = pl.DataFrame({"^x1$": [100, 200, 300], "x1": [1, 2, 3], "*": [5, 5, 5]})
    for sample in (frame, frame.lazy(), frame.to_arrow()):
        found = drift_statistics(sample, sample, columns=["^x1$", "*", "^x1$"])
        assert [(record.column, record.reference.median) for record in found.columns] == [("^x1$", 200), ("*", 5)]
