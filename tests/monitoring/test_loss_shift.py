"""Contributions of slices add up to the change of the loss, whatever came, went or grew."""

import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from headwater.monitoring import DecisionCosts, Loss, LossShift, MissingColumnsError, MonitoringRuleError, loss_shifts
from tests.monitoring.scenario import drawn, outcomes

COSTS = DecisionCosts(false_alarm=1.0, miss=4.0)


def shift(reference: pl.DataFrame, current: pl.DataFrame, **options: Any) -> LossShift:
    (found,) = loss_shifts(reference, current, columns=["place"], **options)
    return found


SIDES = st.lists(
    st.tuples(st.sampled_from([0, 1]), st.floats(0, 1), st.sampled_from(["a", "b", "c", "", None])),
    min_size=1,
    max_size=60,
)


@given(SIDES, SIDES, st.sampled_from(list(Loss)))
@settings(max_examples=80, deadline=None)
def test_contributions_add_up_to_the_change(old: list[Any], new: list[Any], loss: Loss) -> None:
    sides = [
        outcomes([row[0] for row in rows], [row[1] for row in rows]).with_columns(
            place=pl.Series([row[2] for row in rows], dtype=pl.String)
        )
        for rows in (old, new)
    ]
    found = shift(*sides, loss=loss, costs=COSTS)
    assert found.change is not None
    scale = max(1.0, *(abs(one.change) for one in found.slices))
    assert math.fsum(one.change for one in found.slices) == pytest.approx(found.change, abs=1e-12 * scale)
    assert sum(one.reference_rows for one in found.slices) == len(old)
    assert sum(one.current_rows for one in found.slices) == len(new)
    backwards = shift(sides[1], sides[0], loss=loss, costs=COSTS)
    assert {one.value: one.change for one in backwards.slices} == pytest.approx(
        {one.value: -one.change for one in found.slices}, abs=1e-9
    )
    json.dumps(found.to_json(), allow_nan=False)


def test_losses_are_those_of_scikit_learn() -> None:
    label, score = drawn(500, seed=1)
    later, higher = drawn(400, seed=2, shift=1.0)
    sides = [outcomes(y.tolist(), s.tolist(), place=["x"] * len(y)) for y, s in ((label, score), (later, higher))]
    logs = shift(*sides, loss=Loss.LOG)
    assert (logs.reference, logs.current) == pytest.approx(
        (metrics.log_loss(label, score), metrics.log_loss(later, higher))
    )
    squares = shift(*sides, loss=Loss.SQUARED)
    assert squares.current == pytest.approx(metrics.brier_score_loss(later, higher))
    costs = shift(*sides, loss=Loss.COST, costs=COSTS)
    assert costs.reference == pytest.approx(COSTS.of(label, score >= 0.5).mean())


def by_hand(shares: dict[str, int], misses: dict[str, int]) -> pl.DataFrame:
    """Rows by place, of which some are missed (cost 1), the others right (cost 0)."""
    places, labels = [], []
    for name, rows in shares.items():
        places += [name] * rows
        labels += [1] * misses[name] + [0] * (rows - misses[name])
    return outcomes(labels, [0.1] * len(labels), place=places)


def test_a_slice_that_grows_without_a_worse_loss_changes_by_its_share_alone() -> None:
    """60% of 0.1 and 40% of 0.5 become 40% and 60%: the mean rises from 0.26 to 0.34."""
    old = by_hand({"easy": 60, "hard": 40}, {"easy": 6, "hard": 20})
    new = by_hand({"easy": 40, "hard": 60}, {"easy": 4, "hard": 30})
    found = shift(old, new, loss=Loss.COST, costs=DecisionCosts(false_alarm=0, miss=1))
    assert (found.reference, found.current) == pytest.approx((0.26, 0.34))
    parts = {one.value: (one.share_change, one.within_change) for one in found.slices}
    assert parts["easy"] == pytest.approx((0.04, 0.0))
    assert parts["hard"] == pytest.approx((0.04, 0.0))


def test_a_slice_that_becomes_worse_carries_the_loss_and_stands_first() -> None:
    old = by_hand({"north": 300, "south": 100}, {"north": 30, "south": 10})
    new = by_hand({"north": 300, "south": 100}, {"north": 30, "south": 40})
    found = shift(old, new, loss=Loss.COST, costs=DecisionCosts(false_alarm=0, miss=1))
    first, second = found.slices
    assert (first.value, first.within_change, first.share_change) == ("south", pytest.approx(0.075), pytest.approx(0.0))
    assert second.change == pytest.approx(0.0)
    # Standard error of a difference of two means of 100, times the share of the slice.
    deviation = math.sqrt(np.var([1] * 10 + [0] * 90, ddof=1) / 100 + np.var([1] * 40 + [0] * 60, ddof=1) / 100)
    assert first.within_error == pytest.approx(deviation / 4)


def test_a_new_and_a_vanished_slice_change_by_their_share() -> None:
    old = by_hand({"stays": 50, "goes": 50}, {"stays": 5, "goes": 25})
    new = by_hand({"stays": 50, "comes": 50}, {"stays": 5, "comes": 40})
    found = shift(old, new, loss=Loss.COST, costs=DecisionCosts(false_alarm=0, miss=1))
    parts = {one.value: one for one in found.slices}
    assert parts["comes"].within_change == parts["goes"].within_change == 0.0
    assert (parts["comes"].reference_loss, parts["goes"].current_loss) == (None, None)
    assert parts["comes"].change > 0 > parts["goes"].change
    assert parts["comes"].within_error is None


def test_only_judged_and_labelled_rows_count() -> None:
    old = by_hand({"a": 10}, {"a": 5})
    extra = old.head(4).with_columns(judged=False)
    pending = old.head(3).with_columns(label=pl.lit(None, pl.Int8), truth=pl.lit("pending"))
    assert shift(pl.concat([old, extra, pending]), old) == shift(old, old)


def test_a_window_without_labelled_rows_has_no_change() -> None:
    rows = by_hand({"a": 10}, {"a": 5})
    nothing = rows.with_columns(label=pl.lit(None, pl.Int8), truth=pl.lit("pending"))
    found = shift(rows, nothing)
    assert (found.change, found.slices, found.reason) == (None, (), "the current window has no labelled rows")
    assert shift(nothing.clear(), rows).reason == "the reference window has no labelled rows"


def test_each_column_is_a_decomposition_of_its_own() -> None:
    label, score = drawn(300, seed=3)
    sides = [
        outcomes(label.tolist(), score.tolist(), place=["a", "b", "c"] * 100, hour=hours * 100)
        for hours in ([1, 2, 3], [2, 2, 3])
    ]
    place, hour = loss_shifts(*sides, columns=["place", "hour"])
    assert place.change == hour.change == 0.0
    assert {one.value for one in hour.slices} == {"1", "2", "3"}


def test_what_cannot_be_decomposed_is_refused() -> None:
    rows = by_hand({"a": 10}, {"a": 5})
    with pytest.raises(MissingColumnsError, match="'plce'"):
        loss_shifts(rows, rows, columns=["plce"])
    with pytest.raises(MonitoringRuleError, match="costs"):
        shift(rows, rows, loss=Loss.COST)
