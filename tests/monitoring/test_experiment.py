"""A report on versions that answered side by side is right as often as it says, and sees a broken split."""

import itertools
import json
import math
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from headwater.monitoring import (
    BadValuesError,
    DecisionCosts,
    Experiment,
    MissingColumnsError,
    MonitoringRuleError,
    experiment_report,
    sample_ratio,
    sample_ratio_of_parts,
)
from headwater.monitoring._intervals import newcombe, wilson
from headwater.monitoring._sample_ratio import _log_evidence
from serving.policies import ABTest, assign
from tests.monitoring.scenario import START, outcomes

COSTS = DecisionCosts(false_alarm=1.0, miss=4.0)


def declared(**changes: Any) -> Experiment:
    usual = {"shares": {"a": 0.5, "b": 0.5}, "control": "a", "unit": ("entity",), "effect": 0.05, "costs": COSTS}
    return Experiment(**{**usual, **changes})


def shown(*, rates: dict[str, float], rows: int, seed: int, each: int = 1) -> pl.DataFrame:
    """Events of entities that keep their variant; decisions are right with the rate of their variant."""
    draw = np.random.default_rng(seed)
    policy = ABTest(shares={name: 1 / len(rates) for name in rates}, salt=f"test {seed}")
    entities = [f"e{n // each}" for n in range(rows)]
    variants = [assign(policy, entity).variant for entity in entities]
    label = draw.integers(0, 2, rows)
    right = draw.random(rows) < np.array([rates[name] for name in variants])
    return outcomes(
        label.tolist(), [0.5] * rows, decision=((label == 1) == right).tolist(), entity=entities, variant=variants
    )


def test_rates_costs_and_differences_are_those_of_the_rows() -> None:
    frame = shown(rates={"a": 0.7, "b": 0.8}, rows=4_000, seed=1)
    report = experiment_report(frame, experiment=declared())
    sides = {}
    for name in "ab":
        rows = frame.filter(pl.col("variant") == name)
        costs = COSTS.of(rows["label"].to_numpy(), rows["decision"].to_numpy())
        sides[name] = ((rows["label"] == 1) == rows["decision"]).sum(), rows.height, costs
    control, other = report.variants
    assert (control.variant, control.labelled, control.units) == ("a", sides["a"][1], sides["a"][1])
    assert control.correct == wilson(sides["a"][0], sides["a"][1])
    (difference,) = report.differences
    expected = newcombe(*(wilson(*sides[name][:2]) for name in "ba"))  # type: ignore[arg-type]
    assert difference.correct == expected
    welch = stats.ttest_ind(sides["b"][2], sides["a"][2], equal_var=False).confidence_interval(0.95)
    assert difference.cost is not None
    assert (difference.cost.low, difference.cost.high) == pytest.approx((welch.low, welch.high))
    assert (difference.judged, report.crossed, report.undeclared, report.ratio.mismatch) == (True, 0, 0, False)
    assert "a difference at level 0.95" in difference.reason
    assert other.design_effect == 1.0
    json.dumps(report.to_json(), allow_nan=False)


FEW, MANY = 30, pytest.param(400, marks=pytest.mark.heavy)


@pytest.mark.parametrize("each", [1, 8])
@pytest.mark.parametrize("runs", [FEW, MANY])
def test_equal_versions_differ_as_seldom_as_declared(runs: int, each: int) -> None:
    """Also where an entity's events are all alike."""
    alarms = 0
    for seed in range(runs):
        frame = shown(rates={"a": 0.75, "b": 0.75}, rows=400, seed=seed)
        repeated = pl.concat([frame.with_columns(request_id=pl.col("request_id") + str(n)) for n in range(each)])
        (difference,) = experiment_report(repeated, experiment=declared(costs=None)).differences
        assert difference.correct is not None
        alarms += difference.correct.low > 0 or difference.correct.high < 0
    assert alarms <= stats.binom.isf(0.001, runs, 0.05)


def of_customers(sizes: np.ndarray, *, seed: int) -> pl.DataFrame:
    """Customers that keep their version and ask so often each, of a rate of wrong decisions of their own; the versions are equal."""
    draw = np.random.default_rng(seed)
    customer = np.repeat(np.arange(len(sizes)), sizes)
    label = (draw.random(len(customer)) < draw.beta(2, 8, len(sizes))[customer]).astype(int)
    named, variants = [f"c{n}" for n in customer], ["ab"[n % 2] for n in customer]
    rows = len(customer)
    return outcomes(label.tolist(), [0.5] * rows, decision=[False] * rows, entity=named, variant=variants)


def sizes_of(customers: int, *, skewed: bool, seed: int) -> np.ndarray:
    """50 requests each, or 1 to 500 where few ask most."""
    draw = np.random.default_rng(seed)
    asked = (draw.pareto(1.2, customers) * 5).astype(int).clip(1, 500)
    return asked if skewed else np.full(customers, 50)


@pytest.mark.parametrize(("customers", "skewed"), [(4, False), (6, False), (10, True), (20, True), (40, True)])
@pytest.mark.parametrize("runs", [100, pytest.param(2_000, marks=pytest.mark.heavy)])
def test_equal_versions_differ_as_seldom_as_declared_where_few_customers_ask_most(
    runs: int, customers: int, skewed: bool
) -> None:
    """With normal quantiles 16% to 19% of such tests showed a difference at 5%."""
    alarms = np.zeros(2)
    for seed in range(runs):
        frame = of_customers(sizes_of(customers, skewed=skewed, seed=seed), seed=seed)
        (found,) = experiment_report(frame, experiment=declared(effect=-0.05)).differences
        alarms += [one is not None and (one.low > 0 or one.high < 0) for one in (found.correct, found.cost)]
    assert max(alarms) <= stats.binom.isf(0.001, runs, 0.05)


def test_a_difference_of_many_customers_is_still_found() -> None:
    frame = of_customers(sizes_of(200, skewed=True, seed=1), seed=1)
    better = pl.when(pl.col("variant") == "a").then(pl.lit(0, pl.Int8)).otherwise("label")
    (found,) = experiment_report(frame.with_columns(label=better), experiment=declared()).differences
    assert found.correct is not None
    assert found.correct.high < -0.05


@pytest.mark.parametrize(("sizes", "told"), [([50] * 4, "2.0"), ([500, 500, 1, 1, 1, 1], "1.0")])
def test_two_units_a_side_are_judged_by_nobody(sizes: list[int], told: str) -> None:
    frame = of_customers(np.array(sizes), seed=3)
    report = experiment_report(frame, experiment=declared())
    (found,) = report.differences
    assert (found.judged, found.correct, found.cost, found.power) == (False, None, None, None)
    assert found.reason == f"the labels of b count as those of {told} units of one size, more than 2 are needed"
    assert [one.correct for one in report.variants] == [None, None]


@pytest.mark.parametrize("runs", [FEW, MANY])
def test_the_power_says_how_often_the_effect_is_found(runs: int) -> None:
    found, power = 0, []
    for seed in range(runs):
        frame = shown(rates={"a": 0.70, "b": 0.78}, rows=800, seed=seed)
        report = experiment_report(frame, experiment=declared(effect=0.08, costs=None))
        (difference,) = report.differences
        assert difference.correct is not None
        assert difference.power is not None
        found += difference.correct.low > 0
        power.append(difference.power)
    chance = float(np.mean(power))
    assert stats.binom.ppf(0.001, runs, chance) <= found <= stats.binom.isf(0.001, runs, chance)


def test_the_rows_needed_grow_with_rows_that_are_alike() -> None:
    frame = shown(rates={"a": 0.7, "b": 0.7}, rows=1_000, seed=3)
    doubled = pl.concat([frame, frame.with_columns(request_id=pl.col("request_id") + "!")])
    alone, alike = (experiment_report(one, experiment=declared()).differences[0] for one in (frame, doubled))
    assert alone.needed is not None
    assert alike.needed is not None
    assert alike.needed[0] == pytest.approx(2 * alone.needed[0], rel=0.01)
    assert alike.power == pytest.approx(alone.power, abs=0.01)


@given(st.integers(1, 12), st.lists(st.integers(1, 9), min_size=2, max_size=3))
@settings(max_examples=40, deadline=None)
def test_the_evidence_against_a_fair_split_is_one_on_average(units: int, weights: list[int]) -> None:
    """Counted over every way in which the units can fall: then it is ever 1,000 with a chance of 0.1% at most (Ville 1939)."""
    shares = {str(n): weight / sum(weights) for n, weight in enumerate(weights)}
    mean = sum(chance * math.exp(_log_evidence([part])) for chance, part in ways_to_fall(units, shares))
    assert mean == pytest.approx(1, abs=1e-6)


@given(st.integers(1, 6), st.integers(1, 6), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
@settings(max_examples=20, deadline=None)
def test_the_evidence_against_shares_that_change_is_one_on_average(
    before: int, after: int, first: float, then: float
) -> None:
    ways = [ways_to_fall(units, {"a": 1 - share, "b": share}) for units, share in ((before, first), (after, then))]
    mean = sum(
        one * other * math.exp(_log_evidence([left, right])) for (one, left), (other, right) in itertools.product(*ways)
    )
    assert mean == pytest.approx(1, abs=1e-6)


def ways_to_fall(units: int, shares: dict[str, float]) -> list[tuple[float, dict[str, tuple[int, float]]]]:
    """Chance and counts of each way in which units can fall among variants."""
    found = []
    for counts in itertools.product(range(units + 1), repeat=len(shares)):
        if sum(counts) == units:
            chance = float(stats.multinomial.pmf(counts, units, list(shares.values())))
            found.append((chance, dict(zip(shares, zip(counts, shares.values(), strict=True), strict=True))))
    return found


def test_one_unit_breaks_no_split() -> None:
    for share in (0.01, 0.05, 0.5):
        found = sample_ratio({"new": 1}, {"new": share, "old": 1 - share})
        assert found.p_value is not None
        assert found.p_value > 0.8


def learning(*, tilt: float, seed: int, parts: int = 700, units: int = 100) -> list[tuple[Any, Any]]:
    """Parts of a bandit that learns, with the odds of one version wrong by a factor in all of them."""
    draw, found = np.random.default_rng(seed), []
    for step in range(parts):
        share = float(np.clip(0.5 + 0.2 * np.sin(step / 20) + draw.normal(0, 0.01), 0.05, 0.95))
        got = int(draw.binomial(units, 1 / (1 + (1 - share) / share * math.exp(-tilt))))
        found.append(({"a": got, "b": units - got}, {"a": share, "b": 1 - share}))
    return found


@pytest.mark.parametrize(
    ("tilt", "parts", "units"), [(0.2, 700, 100), (0.4, 240, 40), (1.0, 240, 10), (-0.05, 2_000, 100)]
)
def test_a_split_that_leaks_slightly_under_all_that_a_bandit_learned_is_called_broken(
    tilt: float, parts: int, units: int
) -> None:
    """38,997 units where 35,725 were declared had a p-value of 1: each learned step was judged as if nothing was known of the others."""
    assert sample_ratio_of_parts(learning(tilt=tilt, seed=1, parts=parts, units=units)).mismatch


@pytest.mark.parametrize("runs", [40, pytest.param(2_000, marks=pytest.mark.heavy)])
def test_a_fair_split_of_a_bandit_is_seldom_called_broken_however_often_one_looks(runs: int) -> None:
    alarms = 0
    for seed in range(runs):
        parts = learning(tilt=0.0, seed=seed, parts=120, units=20)
        alarms += any(sample_ratio_of_parts(parts[:end]).mismatch for end in (1, 2, 5, *range(10, 121, 10)))
    assert alarms <= stats.binom.isf(0.001, runs, 0.001)


@pytest.mark.parametrize("runs", [100, pytest.param(4_000, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_a_fair_split_is_seldom_called_broken_however_often_one_looks(share: float, runs: int) -> None:
    """A chi-squared test that is looked at so alarms in 9% of the splits with a share of 5%."""
    draw, alarms, looks = np.random.default_rng(int(100 * share)), 0, range(20, 5_000, 60)
    for _ in range(runs):
        got = np.cumsum(draw.random(5_000) < share)
        alarms += any(
            sample_ratio({"new": int(got[n]), "old": n + 1 - int(got[n])}, {"new": share, "old": 1 - share}).mismatch
            for n in (0, 1, 2, 5, *looks)
        )
    assert alarms <= stats.binom.isf(0.001, runs, 0.001)


def test_a_split_that_leaks_is_called_broken() -> None:
    shares = {"a": 0.5, "b": 0.5}
    # A well-known one: 821,588 against 815,482 users (Fabijan et al. 2019).
    assert sample_ratio({"a": 821_588, "b": 815_482}, shares).mismatch
    assert sample_ratio({"a": 20}, shares).mismatch, "few are enough for what is grossly wrong"
    assert sample_ratio({"a": 20_900, "b": 19_100}, shares).mismatch


def test_shares_that_change_are_judged_each_by_what_was_drawn_from_them() -> None:
    first, then = {"a": 0.9, "b": 0.1}, {"a": 0.1, "b": 0.9}
    fair = sample_ratio_of_parts([({"a": 900, "b": 100}, first), ({"a": 100, "b": 900}, then)])
    assert (dict(fair.observed), fair.expected, fair.mismatch) == (
        {"a": 1_000, "b": 1_000},
        pytest.approx({"a": 1_000, "b": 1_000}),
        False,
    )
    swapped = sample_ratio_of_parts([({"a": 100, "b": 900}, first), ({"a": 900, "b": 100}, then)])
    assert swapped.mismatch, "its sums look fair"
    assert sample_ratio_of_parts([]).p_value is None


def test_a_broken_split_is_judged_by_nobody() -> None:
    frame = shown(rates={"a": 0.7, "b": 0.9}, rows=3_000, seed=4)
    lost = frame.filter((pl.col("variant") == "a") | (pl.int_range(pl.len()) % 4 > 0))
    report = experiment_report(lost, experiment=declared())
    assert report.ratio.mismatch
    assert not report.differences[0].judged
    assert "not split as declared" in report.differences[0].reason


def test_who_has_no_share_must_get_no_unit() -> None:
    shares = {"a": 0.5, "b": 0.5, "c": 0.0}
    assert not sample_ratio({"a": 50, "b": 50}, shares).mismatch
    assert sample_ratio({"a": 50, "b": 50, "c": 1}, shares).p_value == 0.0
    assert sample_ratio({}, {"a": 0.5, "b": 0.5}).p_value is None
    with pytest.raises(MonitoringRuleError, match="'x'"):
        sample_ratio({"x": 1}, shares)


def test_a_unit_that_got_two_variants_is_named_and_counts_where_it_was_first() -> None:
    rows = ["a", "b", "b", "a", "b"]
    entities = ["one", "one", "two", "three", "three"]
    at = [START + timedelta(minutes=n) for n in (5, 1, 2, 3, 4)]
    frame = outcomes([1] * 5, [0.9] * 5, at=at, entity=entities, variant=rows)
    report = experiment_report(frame, experiment=declared())
    assert (report.crossed, report.crossed_examples) == (2, ("one", "three"))
    assert dict(report.ratio.observed) == {"a": 1, "b": 2}


def test_units_of_several_columns_are_not_mixed_up() -> None:
    frame = outcomes([1] * 2, [0.9] * 2, first=["a b", "a"], second=["c", "b c"], variant=["a", "b"])
    report = experiment_report(frame, experiment=declared(unit=("first", "second")))
    assert report.crossed == 0
    assert dict(report.ratio.observed) == {"a": 1, "b": 1}


def test_early_labels_of_one_variant_are_not_compared() -> None:
    frame = shown(rates={"a": 0.7, "b": 0.9}, rows=2_000, seed=5)
    late = (pl.col("variant") == "b") & (pl.int_range(pl.len()) % 3 == 0)
    frame = frame.with_columns(
        label=pl.when(late).then(None).otherwise("label"),
        truth=pl.when(late).then(pl.lit("pending")).otherwise("truth"),
    )
    report = experiment_report(frame, experiment=declared())
    assert (report.differences[0].judged, report.differences[0].correct, report.differences[0].cost) == (
        False,
        None,
        None,
    )
    assert "of the labels of b are known" in report.differences[0].reason
    assert report.variants[0].correct is not None
    assert report.variants[1].correct is None


def test_several_candidates_share_the_chance_of_a_false_alarm() -> None:
    frame = shown(rates={"a": 0.7, "b": 0.7, "c": 0.7}, rows=900, seed=6)
    thirds = {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}
    report = experiment_report(frame, experiment=declared(shares=thirds))
    assert report.level == pytest.approx(0.975)
    assert [one.variant for one in report.differences] == ["b", "c"]


def test_undeclared_variants_are_left_out_and_counted() -> None:
    frame = outcomes([1, 0, 1], [0.9] * 3, entity=["x", "y", "z"], variant=["a", "b", "old"])
    report = experiment_report(frame, experiment=declared())
    assert (report.undeclared, sum(one.events for one in report.variants)) == (1, 2)


def test_nothing_yet_is_a_report_too() -> None:
    frame = outcomes([1], [0.9], entity=["x"], variant=["a"]).clear()
    report = experiment_report(frame, experiment=declared())
    assert report.ratio.p_value is None
    assert "none of the labels" in report.differences[0].reason
    assert report.variants[0].decided is None
    json.dumps(report.to_json(), allow_nan=False)
    alone = experiment_report(outcomes([1], [0.9], entity=["x"], variant=["a"]), experiment=declared())
    assert alone.differences[0].power is None


@pytest.mark.parametrize(
    "change",
    [
        {"shares": {"a": 1.0}}, {"shares": {"a": 0.5, "b": 0.6}}, {"shares": {"a": 1.5, "b": -0.5}},
        {"control": "x"}, {"unit": ()}, {"effect": 0.0}, {"alpha": 1.0}, {"power": float("nan")}, {"min_coverage": 2.0},
    ],
)  # fmt: skip
def test_a_test_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MonitoringRuleError, match=f"Experiment.*{next(iter(change))}"):
        declared(**change)


def test_a_frame_without_its_units_is_refused() -> None:
    frame = outcomes([1], [0.9], entity=["x"], variant=["a"])
    with pytest.raises(MissingColumnsError, match="'entty'"):
        experiment_report(frame, experiment=declared(unit=("entty",)))
    with pytest.raises(BadValuesError, match="'entity' of the outcomes is null"):
        experiment_report(frame.with_columns(entity=pl.lit(None, pl.String)), experiment=declared())
