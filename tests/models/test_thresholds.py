from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.models import ThresholdKind, ThresholdRule
from headwater.models.errors import ModelDeclarationError

samples = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.7, 1.0])), min_size=2, max_size=40)


def arrays(rows: list[tuple[bool, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([float(label) for label, _ in rows]), np.array([score for _, score in rows])


@settings(deadline=None)
@given(samples)
def test_the_f1_threshold_is_the_best_of_all_scores(rows: list[tuple[bool, float]]) -> None:
    labels, scores = arrays(rows)
    if not 0 < labels.sum() < len(labels):
        return

    def f1(threshold: float) -> float:
        decided = scores >= threshold
        return float(2 * (labels * decided).sum() / (decided.sum() + labels.sum()))

    assert f1(ThresholdRule().choose(labels, scores)) == pytest.approx(max(map(f1, scores)))


@settings(deadline=None)
@given(samples, st.floats(0.1, 20.0))
def test_the_cost_threshold_is_the_cheapest_of_all_scores(rows: list[tuple[bool, float]], ratio: float) -> None:
    labels, scores = arrays(rows)

    def cost(threshold: float) -> float:
        decided = scores >= threshold
        return float((decided * (1 - labels)).sum() + ratio * (labels * ~decided).sum())

    chosen = ThresholdRule(kind=ThresholdKind.COST, value=ratio).choose(labels, scores)
    assert cost(chosen) == pytest.approx(min(map(cost, (*scores, 1.1))))


def test_nobody_is_marked_where_every_mark_costs_more() -> None:
    """With one score for all and a base rate of 5%, everybody was marked: 95% false alarms, where nobody costs 5%."""
    labels = np.repeat([1.0, 0.0], [50, 950])
    rule = ThresholdRule(kind=ThresholdKind.COST, value=1.0)
    for scores in (np.full(1_000, 0.05), np.where(np.arange(1_000) < 990, 0.05, 0.9)):
        assert not (scores >= rule.choose(labels, scores)).any()
    assert (np.full(1_000, 0.05) >= replace(rule, value=20.0).choose(labels, np.full(1_000, 0.05))).all()


def test_the_positive_rate_threshold_marks_that_share() -> None:
    scores = np.random.default_rng(0).random(1000)
    for share in (0.0, 0.25, 1.0):
        threshold = ThresholdRule(kind=ThresholdKind.POSITIVE_RATE, value=share).choose(np.zeros(1000), scores)
        assert (scores >= threshold).mean() == share


def test_a_fixed_threshold_is_itself() -> None:
    assert ThresholdRule(kind=ThresholdKind.FIXED, value=0.3).choose(np.array([0.0]), np.array([0.9])) == 0.3


@pytest.mark.parametrize(("kind", "value"), [("fixed", 1.5), ("positive_rate", -0.1), ("cost", 0.0)])
def test_an_impossible_rule_cannot_be_declared(kind: str, value: float) -> None:
    with pytest.raises(ModelDeclarationError):
        ThresholdRule(kind=ThresholdKind(kind), value=value)
