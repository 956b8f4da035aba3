"""The interval keeps its promise at every look, and finds what is there."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.decisions import RunningMean, effect
from headwater.decisions._sequential import FLOOR, EffectError, is_more_often, radius

BATCH, LOOKS = 100, 60


def first_alarm(runs: int, *, live: float, candidate: float, share: float, seed: int) -> np.ndarray:
    """For each simulated rollout the first of sixty looks at which the interval left zero out, or -1. As `effect` does it."""
    draw = np.random.default_rng(seed)
    shown = draw.binomial(BATCH, share, (runs, LOOKS))
    counts = np.cumsum(shown, axis=1), np.cumsum(BATCH - shown, axis=1)
    hits = np.cumsum(draw.binomial(shown, candidate), axis=1), np.cumsum(draw.binomial(BATCH - shown, live), axis=1)
    radii = np.array([math.inf, *(radius(n, alpha=0.025, tuned_for=1_000) for n in range(1, BATCH * LOOKS + 1))])
    half = np.zeros((runs, LOOKS))
    for count, hit in zip(counts, hits, strict=True):
        mean = (hit + 1) / (count + 2)
        half += np.sqrt(mean - mean**2) * radii[count]
    difference = hits[0] / np.maximum(counts[0], 1) - hits[1] / np.maximum(counts[1], 1)
    out = (np.abs(difference) > half) & (np.minimum(*counts) >= FLOOR)
    return np.where(out.any(axis=1), out.argmax(axis=1), -1)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
@pytest.mark.parametrize("rate", [0.002, 0.02, 0.25])
def test_of_ten_thousand_equal_rollouts_looked_at_sixty_times_few_alarm(rate: float, share: float) -> None:
    alarms = first_alarm(10_000, live=rate, candidate=rate, share=share, seed=3) >= 0
    assert alarms.mean() <= 0.05


def test_a_fixed_sample_interval_looked_at_as_often_alarms_far_too_often() -> None:
    """What the sequence is for: 1.96 standard errors at every look."""
    draw = np.random.default_rng(3)
    outcomes = draw.normal(size=(2_000, LOOKS)).cumsum(axis=1) / np.sqrt(np.arange(1, LOOKS + 1))
    assert (np.abs(outcomes[:, 3:]) > 1.96).any(axis=1).mean() > 0.2


@pytest.mark.parametrize(
    ("candidate", "share", "requests"), [(0.10, 0.25, 1_600), (0.2, 0.05, 3_000), (0.05, 0.5, 3_200)]
)
def test_a_worse_candidate_is_found_soon(candidate: float, share: float, requests: int) -> None:
    """Against 2% errors of the live version; in the median of a thousand rollouts."""
    found = first_alarm(1_000, live=0.02, candidate=candidate, share=share, seed=5)
    assert (found >= 0).mean() > 0.95
    assert BATCH * (np.median(found) + 1) <= requests


def test_the_simulation_is_the_function() -> None:
    """One rollout by hand: the same look alarms."""
    draw = np.random.default_rng(5)
    sides = RunningMean(), RunningMean()
    shown = draw.binomial(BATCH, 0.5, (1, LOOKS))
    hits = draw.binomial(shown, 0.10)[0], draw.binomial(BATCH - shown, 0.02)[0]
    (wanted,) = first_alarm(1, live=0.02, candidate=0.10, share=0.5, seed=5)
    for look in range(LOOKS):
        counts = shown[0][look], BATCH - shown[0][look]
        sides = tuple(
            side.with_outcome(1, repeated=int(hit[look])).with_outcome(0, repeated=int(count - hit[look]))
            for side, hit, count in zip(sides, hits, counts, strict=True)
        )  # type: ignore[assignment]
        found = effect(*sides)
        assert (found.low > 0 or found.high < 0) == bool(look == wanted) or look > wanted
    assert 0 <= wanted < LOOKS


def test_outcomes_one_by_one_and_in_parts_give_the_same() -> None:
    one = RunningMean()
    for number in range(40):
        one = one.with_outcome(float(number % 4 == 0))
    parts = RunningMean().with_outcome(1, repeated=10) + RunningMean().with_outcome(0, repeated=30)
    assert one == parts
    assert one.mean == 0.25


@given(st.integers(1, 10**6), st.floats(0.001, 0.5))
def test_the_interval_narrows_with_requests_and_widens_with_care(count: int, alpha: float) -> None:
    assert radius(count + 1, alpha=alpha, tuned_for=5_000) < radius(count, alpha=alpha, tuned_for=5_000)
    assert radius(count, alpha=alpha / 2, tuned_for=5_000) > radius(count, alpha=alpha, tuned_for=5_000)


def test_too_few_requests_say_nothing() -> None:
    many, few = RunningMean(count=10_000), RunningMean(count=FLOOR - 1, total=FLOOR - 1, squares=FLOOR - 1)
    for found in (effect(many, few), effect(few, many), effect(RunningMean(), RunningMean())):
        assert (found.low, found.high) == (-1, 1)


@pytest.mark.parametrize("outcome", [-0.1, 1.1, float("nan"), float("inf")])
def test_an_outcome_out_of_range_is_refused(outcome: float) -> None:
    with pytest.raises(EffectError, match="from 0 to 1"):
        RunningMean().with_outcome(outcome)


def bad_of(count: int, bad: int) -> RunningMean:
    return RunningMean(count=count, total=bad, squares=bad)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("moments", ["none", "the first hundred", "one in ten"])
def test_what_is_bad_for_both_sides_alike_is_certainly_more_often_so_of_neither(share: float, moments: str) -> None:
    """Each request is drawn for a side; how often it is bad is steady, or has moments in which nearly everything is."""
    draw, place = np.random.default_rng(7), np.arange(600)
    stalls = {"none": place < 0, "the first hundred": place < 100, "one in ten": place % 200 < 20}[moments]
    alarms = 0
    for _ in range(200):
        ours, bad = draw.random(600) < share, draw.random(600) < np.where(stalls, 0.9, 0.02)
        counts = [np.cumsum(some) for some in (ours, ours & bad, ~ours, ~ours & bad)]
        looks = [(bad_of(int(n), int(b)), bad_of(int(m), int(c))) for n, b, m, c in zip(*counts, strict=True)][4::5]
        alarms += any(is_more_often(*one, alpha=0.05) for one in looks)
    assert alarms <= 10


def test_few_outcomes_are_enough_where_one_side_is_bad_alone() -> None:
    level = 0.05 / 12
    assert is_more_often(bad_of(5, 5), bad_of(15, 0), alpha=level)
    assert is_more_often(bad_of(3, 3), bad_of(57, 0), alpha=level)
    assert not is_more_often(bad_of(15, 0), bad_of(5, 5), alpha=level), "the other one is"
    assert not is_more_often(bad_of(1_000, 1_000), bad_of(0, 0), alpha=level), "nobody to compare with"
    with pytest.raises(EffectError, match="alpha"):
        is_more_often(bad_of(1, 1), bad_of(1, 0), alpha=1)
