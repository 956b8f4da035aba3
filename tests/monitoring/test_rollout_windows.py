"""Which windows of a stage count, and what each of them says: whole ones, settled for each version that has requests of its own."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from headwater.decisions import RolloutAction, RolloutEvidence, RolloutRules, Standing, decide_rollout
from headwater.monitoring import DecisionCosts, StageCounts, Windowing, stage_counts, wrong_by_window

LIVE, NEW = "1.0.0", "1.1.0"
DAY = timedelta(days=1)
START = datetime(2026, 5, 1, tzinfo=UTC)
SHADOW = Standing(candidate=NEW, other=LIVE, share=0.0, since=START, since_commit="c" * 64, stages=5)
WATCH = replace(SHADOW, share=1.0, is_watch=True, is_compared=True)
UTC_TIME = pl.Datetime("us", "UTC")
FAILURES = pl.DataFrame(schema={"version": pl.String, "code": pl.String, "count": pl.Int64})


def frames(rows: list[dict[str, Any]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Answers and outcomes of rows that say when (`at`), which version (`variant`), whether it was wrong, and what the other would have said."""
    count = len(rows)
    usual = {"variant": LIVE, "known": True, "wrong": False, "other_wrong": False, "unit": None}
    full = [{**usual, **row} for row in rows]
    ids = [f"r{number}" for number in range(count)]
    at = [row["at"] for row in full]
    units = [row["unit"] or one for row, one in zip(full, ids, strict=True)]
    shadows = [f'{{"{NEW if row["variant"] == LIVE else LIVE}": {0.9 if row["other_wrong"] else 0.1}}}' for row in full]
    answers = pl.DataFrame(
        {"request_id": ids, "at": at, "received": at, "latency_us": [900] * count, "variant": [row["variant"] for row in full],
         "decision": [row["wrong"] for row in full], "shadows": shadows, "drawn_unit": units},
        schema_overrides={"at": UTC_TIME, "received": UTC_TIME, "latency_us": pl.Int64},
    )  # fmt: skip
    outcomes = pl.DataFrame(
        {"request_id": ids, "at": at, "label": [0 if row["known"] else None for row in full],
         "truth": ["known" if row["known"] else "pending" for row in full], "judged": [True] * count},
        schema_overrides={"at": UTC_TIME, "label": pl.Int8},
    )  # fmt: skip
    return answers, outcomes


def day(number: int, count: int, *, worse: int = 0, better: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Requests of one day, spread over it, about which the candidate in the shadow is wrong alone, or right alone."""
    step = DAY / count
    told = [{"other_wrong": True}] * worse + [{"wrong": True}] * better + [{}] * (count - worse - better)
    return [{"at": START + number * DAY + one * step, **told[one], **more} for one in range(count)]


def counted(rows: list[dict[str, Any]], *, standing: Standing = SHADOW, **more: Any) -> StageCounts:
    answers, outcomes = frames(rows)
    usual: dict[str, Any] = {
        "standing": standing, "thresholds": {LIVE: 0.5, NEW: 0.5}, "slow": DAY, "costs": None,
        "windowing": Windowing(length=DAY), "min_coverage": 0.95, "now": START + 30 * DAY, "first": START,
    }  # fmt: skip
    return stage_counts(answers, FAILURES, outcomes, **{**usual, **more})


def test_one_settled_day_sends_no_version_back() -> None:
    """800 requests on which the candidate loses 0.045 more: certain of that day, and nothing is known of others."""
    found = counted(day(0, 800, worse=58, better=22))
    assert found.versus.windows == pytest.approx((0.045,))
    evidence = RolloutEvidence(
        standing=SHADOW, candidate=found.candidate, other=found.other, versus=found.versus,
        versus_wrong=found.versus_wrong, now=START + 2 * DAY, first=START,
    )  # fmt: skip
    decided = decide_rollout(RolloutRules(), evidence)
    assert decided.alarm is not None
    assert decided.alarm.low > 0
    assert decided.action is RolloutAction.WAIT, decided.reason
    watched = decide_rollout(RolloutRules(), replace(evidence, standing=WATCH))
    assert watched.action is RolloutAction.WAIT, watched.reason


def test_each_whole_settled_day_is_one_value_and_a_piece_of_one_is_none() -> None:
    rows = [*day(0, 100, worse=50), *day(1, 100, worse=10), *day(2, 200, better=10), *day(3, 100, worse=5, known=False)]
    began = counted(rows, first=START + timedelta(hours=18))
    assert began.versus.windows == pytest.approx((0.1, -0.05)), (
        "neither the day in which it began nor one without labels"
    )
    assert began.versus.labels == 400, "by requests all settled ones count"
    assert counted(rows).versus.windows == pytest.approx((0.5, 0.1, -0.05))
    early = counted(rows, now=START + 2 * DAY - timedelta(hours=1))
    assert early.versus.windows == pytest.approx((0.5,)), "a day that is not over"


def test_costs_weigh_what_a_window_says_and_wrong_decisions_are_said_beside_it() -> None:
    found = counted(day(0, 100, worse=30), costs=DecisionCosts(false_alarm=10, miss=40))
    assert found.versus.windows == pytest.approx((0.3 * 10 / 40,))
    assert found.versus_wrong.windows == pytest.approx((0.3,))


def test_hours_of_a_day_are_no_windows_of_their_own() -> None:
    """Its weather makes every hour of a day alike."""
    rows = [*day(0, 240, worse=24), *day(1, 240, better=24)]
    found = counted(rows, windowing=Windowing(length=timedelta(hours=1)))
    assert found.versus.windows == pytest.approx((0.1, -0.1))
    assert len(found.windows) == 48
    answers, outcomes = frames([{**row, "variant": NEW, "wrong": row.get("other_wrong", False)} for row in rows])
    hours: dict[str, Any] = {"windowing": Windowing(length=timedelta(hours=1)), "min_coverage": 0.95}
    wrong = wrong_by_window(answers, outcomes, version=NEW, now=START + 9 * DAY, first=START, **hours)
    assert wrong == pytest.approx((0.1, 0.0))


def test_few_requests_a_day_count_with_those_of_the_next_days() -> None:
    rows = [one for number in range(7) for one in day(number, 12, worse=number % 2 * 6)]
    assert counted(rows).versus.windows == pytest.approx((6 / 36, 12 / 36)), (
        "three days are a window, the last one waits"
    )


def test_a_customer_counts_once_in_each_window() -> None:
    """Forty who ask once, and one for whom the candidate is wrong in all of a hundred requests."""
    rows = [
        one
        for number in range(2)
        for one in [*day(number, 40), *day(number, 100, worse=100, unit="heavy")]
    ]  # fmt: skip
    rows = [{**row, "unit": row.get("unit") or f"c{number % 40}"} for number, row in enumerate(rows)]
    assert counted(rows, per=("customer",)).versus.windows == pytest.approx((1 / 41, 1 / 41))


def test_a_small_share_without_its_late_labels_is_not_compared() -> None:
    """What was flagged is inspected after a week: 96% of all labels are known, and none of the candidate's flags."""
    canary = replace(SHADOW, share=0.05)
    rows = [*day(0, 931), *day(0, 19, known=False), *day(0, 30, variant=NEW), *day(0, 20, variant=NEW, known=False)]
    found = counted(rows, standing=canary)
    assert (found.versus.candidate.count, found.versus.other.count, found.unsettled) == (0, 0, 1_000)
    then = counted([{**row, "known": True} for row in rows], standing=canary)
    assert (then.versus.candidate.count, then.versus.other.count, then.unsettled) == (50, 950, 0)
    assert then.versus.windows == (), "nothing was answered twice"


def test_a_piece_of_a_day_is_no_day_of_the_accuracy() -> None:
    """A version that got everything in a bad evening went back the next morning: its evening stood beside 28 whole days."""
    draw, bad = np.random.default_rng(1), START + 28 * DAY + timedelta(hours=18)
    before = [one for number in range(28) for one in wrong_day(number, int(100 * draw.normal(0.2, 0.06)))]
    before += [{"at": bad - timedelta(hours=6), "wrong": True}] * 40
    evening = [
        {"at": bad + number * timedelta(minutes=1), "variant": NEW, "wrong": number % 2 == 0} for number in range(200)
    ]
    answers, outcomes = frames([*before, *evening])
    how: dict[str, Any] = {"windowing": Windowing(length=DAY), "min_coverage": 0.95, "now": START + 30 * DAY}
    now = wrong_by_window(answers, outcomes, version=NEW, first=bad, **how)
    past = wrong_by_window(answers, outcomes, version=LIVE, first=None, **how)
    assert now == ()
    assert len(past) == 27, "neither the first day that is looked at nor the morning of the last"
    whole = wrong_by_window(answers, outcomes, version=NEW, first=START + 28 * DAY, **how)
    assert whole == (0.5,)


def wrong_day(number: int, wrong: int) -> list[dict[str, Any]]:
    return [{**row, "wrong": order < wrong} for order, row in enumerate(day(number, 100))]
