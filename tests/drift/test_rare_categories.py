"""Categories with a long tail: what did not move is not said to have moved, and what moved is found."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from headwater.drift import DriftVerdict, drift_statistics
from headwater.drift._rare import cell_of_each
from headwater.drift.report import ColumnDrift


def zipf(categories: int, exponent: float) -> np.ndarray:
    weights = 1 / np.arange(1, categories + 1) ** exponent
    return weights / weights.sum()


SHOPS = zipf(4_000, 1.2)


def drawn(weights: np.ndarray, rows: int, *, seed: int, prefix: str = "shop ") -> list[str]:
    return [f"{prefix}{n}" for n in np.random.default_rng(seed).choice(len(weights), rows, p=weights)]


def compare(reference: list[str], current: list[str]) -> ColumnDrift:
    return drift_statistics(pl.DataFrame({"x": reference}), pl.DataFrame({"x": current}), threads=1).columns[0]


def surplus(found: ColumnDrift) -> float:
    return found.psi.value - found.psi.noise


@pytest.mark.parametrize(
    ("weights", "rows"),
    [
        (SHOPS, (100_000, 1_000)),
        (SHOPS, (1_000, 50_000)),
        (zipf(20_000, 1.0), (100_000, 1_500)),
        (zipf(3_000, 0.0), (20_000, 1_000)),
        (zipf(500, 2.0), (20_000, 1_000)),
        (zipf(4_000, 1.0), (9_000, 1_000)),
    ],
)
@pytest.mark.parametrize("runs", [150, pytest.param(2_000, marks=pytest.mark.heavy)])
def test_categories_with_a_long_tail_that_did_not_move_seldom_seem_to(
    runs: int, weights: np.ndarray, rows: tuple[int, int]
) -> None:
    """With a cell for each, 31% of windows of 1,000 rows counted as a shift at a declared 1%, and ordered trainings."""
    draw, certain, beyond = np.random.default_rng(1), 0, []
    for _ in range(runs):
        sides = [draw.multinomial(count, weights) for count in rows]
        cell = cell_of_each(*sides)
        table = np.array([np.bincount(cell, weights=side) for side in sides])
        table = table[:, table.sum(axis=0) > 0]
        certain += stats.chi2_contingency(table, correction=False).pvalue <= 0.01
        p, q = (np.maximum(side, 0.5) / side.sum() for side in table)
        beyond.append(((p - q) * np.log(p / q)).sum() - (table.shape[1] - 1) * (1 / rows[0] + 1 / rows[1]))
    assert certain <= stats.binom.isf(0.001, runs, 0.02)
    assert max(np.mean(beyond), 0) < 0.03
    assert max(beyond) < 0.25


def test_a_window_of_shops_that_did_not_move_is_stable() -> None:
    found = [compare(drawn(SHOPS, 50_000, seed=n), drawn(SHOPS, 1_000, seed=100 + n)) for n in range(10)]
    assert [one.verdict for one in found] == [DriftVerdict.STABLE] * 10
    assert max(one.psi.value for one in found) < 0.25


def test_a_tail_that_grew_as_a_whole_is_found() -> None:
    grown = np.where(np.arange(4_000) < 50, SHOPS, 4 * SHOPS)
    found = compare(drawn(SHOPS, 50_000, seed=1), drawn(grown / grown.sum(), 1_000, seed=2))
    assert found.verdict is DriftVerdict.SHIFTED
    assert surplus(found) > 0.25


def test_half_of_the_rare_categories_gone_is_found() -> None:
    """Each has three rows of the window: none has a cell of its own."""
    there = np.random.default_rng(3).random(350) < 0.5
    found = compare(drawn(zipf(350, 0.0), 20_000, seed=1), drawn(there / there.sum(), 1_000, seed=2))
    assert found.verdict is DriftVerdict.SHIFTED
    assert found.psi.cells < 200


def test_many_new_categories_of_a_row_each_are_found_together() -> None:
    current = drawn(SHOPS, 850, seed=2) + [f"new {n}" for n in range(150)]
    found = compare(drawn(SHOPS, 50_000, seed=1), current)
    assert found.verdict is DriftVerdict.SHIFTED
    assert found.new_count >= 150


@pytest.mark.parametrize(("count", "verdict"), [(80, DriftVerdict.SHIFTED), (4, DriftVerdict.STABLE)])
def test_a_new_category_has_a_cell_of_its_own(count: int, verdict: DriftVerdict) -> None:
    """Its rows would drown in those of the tail. Four of 1,000 are certain, and a small effect."""
    found = compare(drawn(SHOPS, 50_000, seed=1), drawn(SHOPS, 1_000 - count, seed=2) + ["new"] * count)
    assert "new" in found.new_categories
    assert (found.verdict, found.chi_squared.p_value < 1e-6) == (verdict, True)


@pytest.mark.parametrize(("weights", "rows"), [(SHOPS, 1_000), (zipf(2_000, 0.0), 1_000), (zipf(2_000, 0.0), 9_000)])
def test_names_that_are_written_otherwise_are_a_shift_however_rare_each_is(weights: np.ndarray, rows: int) -> None:
    found = compare(drawn(weights, 20_000, seed=1), drawn(weights, rows, seed=2, prefix="SHOP "))
    assert found.verdict is DriftVerdict.SHIFTED
    assert found.vanished_count > 1_000


@pytest.mark.parametrize("rows", [(1_000, 1_000), (40_000, 1_000), (1_000, 40_000)])
def test_ids_are_no_shift_and_codes_in_their_place_are(rows: tuple[int, int]) -> None:
    before, after = ([f"{side} {n}" for n in range(count)] for side, count in enumerate(rows))
    assert compare(before, after).verdict is DriftVerdict.STABLE
    assert compare(before, [f"code {n % 10}" for n in range(rows[1])]).verdict is DriftVerdict.SHIFTED


def test_one_row_of_a_rare_value_among_two_is_nothing() -> None:
    """One such row had a p-value of 2e-22."""
    found = compare(["yes"] * 60_000 + ["no"] * 40_000, ["yes"] * 599 + ["no"] * 400 + ["maybe"])
    assert found.chi_squared.p_value > 0.9
    assert found.new_categories == ("maybe",)
    alone = compare(["yes"] * 99_990 + ["no"] * 10, ["yes"] * 1_000)
    assert (alone.psi.value, alone.psi.cells, alone.vanished_categories) == (0.0, 1, ("no",))
