"""A version is wrong more often than the one before it, or loses more on the same requests: by windows, because days are bad together."""

import numpy as np
import pytest
from scipy import stats

from headwater.decisions._windows import LEAST_WINDOWS, allowed_share, effect_by_window, wrong_more_often

USUAL = [0.20, 0.26, 0.14, 0.22, 0.18, 0.30, 0.12]


def found(now: list[float], before: list[float] = USUAL) -> float | None:
    return wrong_more_often(now, before, drop=0.05, looks=8, alpha=0.0125)


def test_what_windows_differ_by_anyway_is_no_reason() -> None:
    assert found([0.35]) is None, "one day of snow"
    assert found([0.3, 0.1, 0.2]) is None
    assert found([0.26] * 7) is None, "within what is allowed and known"


def test_a_version_that_is_certainly_worse_is_found() -> None:
    assert found([0.8]) == pytest.approx(0.8 - allowed_share(USUAL, drop=0.05))
    assert found([0.45, 0.5, 0.4]) is not None


def test_too_few_windows_show_nothing() -> None:
    assert found([]) is None
    assert found([0.9], USUAL[: LEAST_WINDOWS - 1]) is None


@pytest.mark.parametrize("history", [3, 7, 28])
def test_false_alarms_of_a_whole_watch_stay_below_their_level_on_stormy_days(history: int) -> None:
    """As good as the version before, each day with a storm of its own, looked at after each of seven days."""
    random, alarms, runs = np.random.default_rng(7), 0, 2_000
    for _ in range(runs):
        days = np.clip(0.2 + 0.06 * random.standard_normal(history + 7), 0, 1)
        shares = (random.binomial(900, days) / 900).tolist()
        before, watch = shares[:history], shares[history:]
        alarms += any(wrong_more_often(watch[:day], before, drop=0.05, looks=8, alpha=0.05) for day in range(1, 8))
    assert alarms / runs < 0.05


def test_the_difference_by_window_is_students_t_at_a_part_of_the_level() -> None:
    days = (0.05, 0.03, 0.04, 0.06)
    found = effect_by_window(days, alpha=0.05)
    low, high = stats.t.interval(1 - 2 * 0.05 / 4, 3, loc=0.045, scale=stats.sem(days))
    assert found.windows == 4
    assert [found.estimate, found.low, found.high] == pytest.approx([0.045, low, high])
    assert effect_by_window((0.0, 0.0, 0.0), alpha=0.05).high == 0, "versions that always decide alike"
    wide = effect_by_window((1.0, -1.0, 1.0), alpha=0.05)
    assert (wide.low, wide.high) == (-1, 1)


@pytest.mark.parametrize("days", [(), (0.3,), (0.3, 0.31)])
def test_fewer_than_three_windows_know_nothing_of_windows(days: tuple[float, ...]) -> None:
    found = effect_by_window(days, alpha=0.05)
    assert (found.windows, found.low, found.high) == (len(days), -1, 1)


def test_the_ends_of_the_difference_by_window_hold_at_every_look() -> None:
    """Sixty looks, one window more each time; the same t at the whole level each time missed in one of five."""
    random, missed, runs = np.random.default_rng(7), 0, 400
    for _ in range(runs):
        days = np.clip(0.015 * random.standard_normal(60), -1, 1).tolist()
        missed += any(effect_by_window(days[:count], alpha=0.05).low > 0 for count in range(1, 61))
    assert missed <= stats.binom.isf(0.001, runs, 0.05)
