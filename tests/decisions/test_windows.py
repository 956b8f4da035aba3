"""A version is wrong more often than the one before it: by windows, because days are bad together."""

import numpy as np
import pytest

from headwater.decisions._windows import LEAST_WINDOWS, allowed_share, wrong_more_often

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
