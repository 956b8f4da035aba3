"""Where a version is drawn for a customer, customers are what is compared: a hundred requests of one of them are one draw."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from assets._chain._rollout_evidence import counted_per, plain_test, with_units
from headwater.decisions import (
    ExperimentStanding,
    Rollout,
    RolloutEvidence,
    RolloutKind,
    RolloutRules,
    Standing,
    decide_rollout,
)
from headwater.monitoring import StageCounts, Windowing, experiment_counts, stage_counts
from headwater.product import Model, Product, Serving
from tests.rollout_scene import AT, DAY, RULES, TOY, RolloutScene

LIVE, NEW = "1.0.0", "1.1.0"
UTC_TIME = pl.Datetime("us", "UTC")
BY_CUSTOMER: Product = replace(
    TOY, model=Model(features=("x", "customer")), serving=Serving(assign_by=("customer",)), performance=None
)


def frames(customers: np.ndarray, versions: np.ndarray, wrong: np.ndarray, at: list[datetime]) -> tuple[Any, Any]:
    """Answers and outcomes, one row each: both versions say no, and `wrong` is where that was wrong."""
    ids = [f"r{n}" for n in range(len(wrong))]
    common = {"request_id": ids, "at": at, "variant": versions, "decision": [False] * len(ids)}
    answers = pl.DataFrame(
        {**common, "order": range(len(ids)), "latency_us": [900] * len(ids), "shadows": ["{}"] * len(ids), "received": at,
         "request": [f'{{"customer": "c{one}"}}' for one in customers]},
        schema_overrides={"at": UTC_TIME, "received": UTC_TIME, "latency_us": pl.Int64},
    )  # fmt: skip
    outcomes = pl.DataFrame(
        {**common, "order": range(len(ids)), "received": at, "label": wrong.astype("int8"),
         "truth": ["known"] * len(ids), "judged": [True] * len(ids)},
        schema_overrides={"at": UTC_TIME, "received": UTC_TIME},
    )  # fmt: skip
    return answers, outcomes


def test_the_plain_test_counts_customers() -> None:
    """By events, 60 customers who ask 50 times each made a fair split look broken in two of three tests."""
    draw, runs, broken, sure = np.random.default_rng(0), 60, 0, 0
    customers = np.repeat(np.arange(60), 50)
    for _ in range(runs):
        versions = np.where(draw.random(60) < 0.5, NEW, LIVE)[customers]
        wrong = draw.random(len(customers)) < draw.beta(2, 8, 60)[customers]
        given = frames(customers, versions, wrong, [AT] * len(customers))
        report = plain_test(BY_CUSTOMER, *given, shares={LIVE: 0.5, NEW: 0.5}, control=LIVE)
        assert report is not None
        assert sum(report["ratio"]["observed"].values()) == 60
        broken += report["ratio"]["mismatch"]
        (found,) = report["differences"]
        sure += found["correct"]["low"] > 0 or found["correct"]["high"] < 0
    assert broken == 0
    assert sure <= stats.binom.isf(0.001, runs, 0.07)


FAILURES = pl.DataFrame(schema={"version": pl.String, "code": pl.String, "count": pl.Int64})
LEVELS = RolloutRules()
DAYS, LOOKS, CUSTOMERS = 10, (2, 4, 7, 11, 16), 300


def counted(given: tuple[Any, Any], *, share: float, now: datetime, product: Product = BY_CUSTOMER) -> StageCounts:
    answers, outcomes = given
    return stage_counts(
        with_units(product, answers), FAILURES, outcomes, standing=standing(share), thresholds={NEW: 0.5, LIVE: 0.5},
        slow=timedelta(seconds=1), costs=None, windowing=Windowing(length=DAY), min_coverage=0.9, now=now,
        per=counted_per(product),
    )  # fmt: skip


def standing(share: float) -> Standing:
    return Standing(candidate=NEW, other=LIVE, share=share, since=AT, since_commit="c" * 40, stages=4)


def visits(draw: np.random.Generator, customers: int) -> tuple[np.ndarray, np.ndarray]:
    """The customer and the day of each request: some ask daily from the first day on, some come late, some ask once."""
    daily, first = draw.choice([0.1, 1.0, 10.0], customers), draw.integers(0, DAYS, customers)
    asked = draw.poisson(daily[:, None] * (np.arange(DAYS) >= first[:, None]))
    asked[np.arange(customers), first] += 1
    who, day = np.nonzero(asked)
    return np.repeat(who, asked[who, day]), np.repeat(day, asked[who, day])


def alarms(draw: np.random.Generator, *, share: float, worse: float = 0.0) -> tuple[bool, bool]:
    """One stage, looked at on many days: whether it ever went back, and whether the interval of going on ever missed the truth.

    Customers differ widely. One label in twenty comes in five days late, into windows that are settled. In the shadow the candidate says
    yes to every request of three customers in ten, half of whose requests are late, give or take a customer's own habit.
    """
    who, day = visits(draw, CUSTOMERS)
    is_new = draw.random(CUSTOMERS) < share
    habit = draw.beta(1, 1, CUSTOMERS) if share == 0 else draw.beta(0.4, 1.6, CUSTOMERS)
    wrong = draw.random(len(who)) < np.clip(habit[who] + worse * is_new[who], 0, 1)
    known = day + np.where(draw.random(len(who)) < 0.05, 6, 1)
    given = frames(who, np.where(is_new[who], NEW, LIVE), wrong, [AT + int(one) * DAY for one in day])
    if share == 0:
        says = np.where((draw.random(CUSTOMERS) < 0.3)[who], 0.9, 0.1)
        given = (given[0].with_columns(shadows=pl.Series([f'{{"{NEW}": {one}}}' for one in says])), given[1])
    back = missed = False
    for look in LOOKS:
        seen = [one.filter(day < look) for one in given]
        told = pl.Series(known[day < look] < look)
        outcomes = seen[1].with_columns(truth=pl.when(told).then(pl.lit("known")).otherwise(pl.lit("pending")))
        found = counted((seen[0], outcomes), share=share, now=AT + look * DAY)
        evidence = RolloutEvidence(
            standing=standing(share), candidate=found.candidate, other=found.other, versus=found.versus
        )
        decided = decide_rollout(LEVELS, evidence)
        effect = found.versus.effect(alpha=LEVELS.alpha)
        back |= decided.action == "abort"
        missed |= effect.low > worse or effect.high < worse
    return back, missed


@pytest.mark.parametrize("runs", [40, pytest.param(10_000, marks=[pytest.mark.heavy, pytest.mark.timeout(7_200)])])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_equal_versions_of_customers_who_differ_are_not_sent_back(share: float, runs: int) -> None:
    """By labels, one in eight of such stages went back, at a level of 0.3%."""
    found = [alarms(np.random.default_rng([7, number]), share=share) for number in range(runs)]
    back, missed = (sum(one) for one in zip(*found, strict=True))
    assert back <= stats.binom.isf(0.001, runs, LEVELS.alpha / 16)
    assert missed <= stats.binom.isf(0.001, runs, LEVELS.alpha)


def test_a_version_that_is_worse_for_its_customers_is_sent_back() -> None:
    found = [alarms(np.random.default_rng([8, number]), share=0.5, worse=0.4) for number in range(5)]
    assert [back for back, _ in found] == [True] * 5


def test_a_customer_counts_once_by_its_first_settled_window() -> None:
    customers = np.array([1, 1, 1, 2, 3])
    versions = np.array([NEW, NEW, NEW, LIVE, NEW])
    wrong = np.array([1, 0, 1, 1, 0])
    at = [AT, AT, AT + DAY, AT, AT + DAY]
    first = counted(frames(customers, versions, wrong, at), share=0.5, now=AT + DAY)
    assert vars(first.versus.candidate) == {"count": 1, "total": 0.5, "squares": 0.25}
    then = counted(frames(customers, versions, wrong, at), share=0.5, now=AT + 9 * DAY)
    assert vars(then.versus.candidate) == {"count": 2, "total": 0.5, "squares": 0.25}, "its later request adds nothing"
    assert (then.candidate.wrong.count, then.candidate.answered) == (4, 4), "requests and decisions are counted each"
    assert then.versus.counted == "units (customer) with labels"
    by_event = counted(frames(customers, versions, wrong, at), share=0.5, now=AT + 9 * DAY, product=TOY)
    assert (by_event.versus.candidate.count, by_event.versus.counted) == (4, "labels")


def test_arms_of_an_experiment_count_customers() -> None:
    customers = np.array([1, 1, 2, 2, 2])
    versions = np.array([NEW, NEW, LIVE, LIVE, LIVE])
    answers, outcomes = frames(customers, versions, np.array([1, 0, 1, 1, 0]), [AT] * 5)
    policy = {"kind": "ab-test", "shares": {LIVE: 0.5, NEW: 0.5}, "salt": "s"}
    found = experiment_counts(
        with_units(BY_CUSTOMER, answers.with_columns(score=0.1)), FAILURES, outcomes,
        standing=ExperimentStanding(policy=policy, begun=policy, control=LIVE, back=LIVE, since=AT, since_commit="c" * 40),
        thresholds={}, slow=timedelta(seconds=1), costs=None, windowing=Windowing(length=DAY), min_coverage=0.9,
        now=AT + 9 * DAY, per=("customer",),
    )  # fmt: skip
    losses = {arm.traffic.version: (arm.traffic.loss.count, arm.traffic.loss.mean) for arm in found.arms}
    assert losses == {LIVE: (1, pytest.approx(2 / 3)), NEW: (1, 0.5)}
    assert found.duels[0].loss.labels == 1


def test_a_request_without_a_customer_is_a_unit_of_its_own_and_a_hidden_one_is_none() -> None:
    answers = frames(np.array([1, 1, 2]), np.array([LIVE] * 3), np.zeros(3), [AT] * 3)[0]
    some = answers.with_columns(request=pl.when(pl.col("order") == 2).then(pl.lit("{}")).otherwise("request"))
    units = with_units(BY_CUSTOMER, some)["drawn_unit"].to_list()
    assert (units[0] == units[1], units[2]) == (True, "r2")
    hidden = replace(BY_CUSTOMER, serving=Serving(assign_by=("customer",), redacted=("customer",)))
    assert with_units(hidden, some)["drawn_unit"].null_count() == 3
    assert counted_per(hidden) == ("customer, which the log must not hold",)
    assert counted_per(TOY) == ()


def test_a_stage_by_customer_waits_for_customers_and_says_so(tmp_path: Any) -> None:
    """1,200 labels of 20 customers are 20 outcomes."""
    scene = RolloutScene(tmp_path, Rollout(kind=RolloutKind.CANARY, steps=(0.5, 1.0), rules=RULES), BY_CUSTOMER)
    scene.version(LIVE)
    scene.version(NEW)
    orders = range(1_200)
    versions = {order: NEW if order % 20 < 10 else LIVE for order in orders}
    scene.answers(
        orders, versions, propensity=0.5, request=lambda order: {"order": order, "customer": f"c{order % 20}"}
    )
    scene.label((order, AT, 1, AT + 2 * DAY) for order in orders)
    scene.settle()
    found = scene.decision()
    assert (found["action"], found["rule"]) == ("wait", "labels"), found["reason"]
    assert "10 of 100 units (customer) with labels of settled windows are known" in found["reason"]
    assert found["evidence"]["candidate"]["answered"] == 600
    page = scene.decided_file("rollout.html").read_text()
    assert "10 units (customer) with labels of the candidate" in page
