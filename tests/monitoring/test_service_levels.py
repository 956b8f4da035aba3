"""A broken promise is said, a kept one and a silent night are not."""

import json
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headwater.models import Bootstrap
from headwater.monitoring import (
    BadValuesError,
    BurnRule,
    ColumnTypeError,
    MissingColumnsError,
    MonitoringRuleError,
    PerformanceRules,
    ServiceLevels,
    ServiceWindow,
    Span,
    Windowing,
    accuracy_dropped,
    burning,
    freshness,
    performance_windows,
    service_windows,
)
from tests.monitoring.scenario import START, UTC_TIME, outcomes

HOUR = Windowing(length=timedelta(hours=1))
LEVELS = ServiceLevels()


def answers(
    milliseconds: list[float], *, every: timedelta = timedelta(seconds=1), start: datetime = START
) -> pl.DataFrame:
    """Answers with these latencies, one after the other."""
    times = pl.Series([start + n * every for n in range(len(milliseconds))], dtype=UTC_TIME)
    micros = pl.Series([round(one * 1_000) for one in milliseconds], dtype=pl.Int64)
    ids = [f"r{number}" for number in range(len(milliseconds))]
    frame = pl.DataFrame({"request_id": pl.Series(ids, dtype=pl.String), "received": times, "latency_us": micros})
    return frame.with_columns(variant=pl.lit("1.0.0"))


def failures(*counts: tuple[datetime, int]) -> pl.DataFrame:
    """Counts of failed requests."""
    return pl.DataFrame(list(counts), schema={"received": UTC_TIME, "count": pl.Int64}, orient="row")


def only(told: pl.DataFrame, failed: pl.DataFrame | None = None, *, levels: ServiceLevels = LEVELS) -> ServiceWindow:
    (window,) = service_windows(told, failed, levels=levels, windowing=HOUR)
    return window


def test_the_defaults_are_the_ones_promised() -> None:
    assert (LEVELS.latency, LEVELS.latency_share) == (timedelta(milliseconds=100), 0.95)
    assert (LEVELS.errors, LEVELS.accuracy_drop) == (0.01, 0.05)


def test_the_95th_percentile_breaks_the_promise_when_more_than_a_twentieth_is_slow() -> None:
    kept, broken = (only(answers([5.0] * (1_000 - slow) + [250.0] * slow)) for slow in (50, 51))
    assert (kept.latency, kept.broken) == (timedelta(milliseconds=5), ())
    assert broken.latency == timedelta(milliseconds=250)
    assert broken.broken == ("0.95 of the answers took up to 250 ms, 100 are promised",)
    assert broken.slow.burn == pytest.approx(1.02)
    assert kept.slow.left == pytest.approx(0.0)


def test_failures_count_against_all_requests() -> None:
    kept, broken = (only(answers([5.0] * 990), failures((START, n - 1), (START, 1))) for n in (10, 11))
    assert (kept.failed, kept.errors.requests, kept.broken) == (10, 1_000, ())
    assert kept.errors.burn == pytest.approx(1.0)
    assert broken.broken == ("11 of 1001 requests failed, 1.00% may",)
    json.dumps(broken.to_json(), allow_nan=False)


def test_a_service_that_answers_nothing_at_all_breaks_its_promise() -> None:
    window = only(answers([]), failures((START, 500)))
    assert (window.answered, window.latency, window.judged) == (0, None, True)
    assert window.broken == ("500 of 500 requests failed, 1.00% may",)


def test_a_quiet_window_is_not_judged_and_an_empty_one_has_nothing() -> None:
    assert only(answers([900.0] * 99)).broken == ()
    span = Span(start=START, end=START + timedelta(hours=2))
    _, empty = service_windows(answers([5.0] * 200), levels=LEVELS, windowing=HOUR, span=span)
    assert (empty.answered, empty.latency, empty.slow.burn, empty.errors.left, empty.judged) == (
        0,
        None,
        None,
        None,
        False,
    )
    assert service_windows(answers([]), levels=LEVELS, windowing=HOUR) == ()


@given(st.lists(st.floats(0.1, 300), min_size=100, max_size=300), st.floats(0.5, 0.99))
@settings(max_examples=60, deadline=None)
def test_the_quantile_and_the_budget_say_the_same(milliseconds: list[float], share: float) -> None:
    wanted = share * len(milliseconds)
    assume(abs(wanted - round(wanted)) > 1e-6)  # there NumPy counts one more or less, as the binary fractions fall
    window = only(answers(milliseconds), levels=ServiceLevels(latency_share=share))
    assert window.latency is not None
    micros = np.array([round(one * 1_000) for one in milliseconds])
    assert window.latency / timedelta(microseconds=1) == np.quantile(micros, share, method="inverted_cdf")
    if abs(window.slow.bad - (1 - share) * len(milliseconds)) > 1e-6:
        assert bool(window.broken) == (window.slow.bad > (1 - share) * len(milliseconds))


def test_a_fast_burn_pages_and_ends_with_its_cause() -> None:
    """One hour of 20% errors: twenty times the budget."""
    hour = answers([5.0] * 3_600, start=START + timedelta(milliseconds=500))
    failed = failures(*((START + timedelta(minutes=n, seconds=1), 15) for n in range(60)))
    now = START + timedelta(hours=1)
    found = burning(hour, failed, levels=LEVELS, now=now)
    assert {(one.rule, one.budget) for one in found} == {
        ("page", "errors"),
        ("page_slow", "errors"),
        ("ticket", "errors"),
    }
    assert found[0].long == pytest.approx(20.0)
    later = pl.concat([hour, answers([5.0] * 600, start=now)])
    after = burning(later, failed, levels=LEVELS, now=now + timedelta(minutes=10))
    assert "page" not in {one.rule for one in after}


def test_a_burn_at_the_promised_rate_alarms_nobody_but_the_slowest_rule() -> None:
    told = answers([5.0] * 8_640, every=timedelta(seconds=30))
    failed = failures(*((START + timedelta(hours=n), 1) for n in range(72)))
    assert burning(told, failed, levels=LEVELS, now=START + timedelta(days=3)) == ()
    slow = answers(([5.0] * 9 + [400.0]) * 864, every=timedelta(seconds=30))
    assert {(one.rule, one.budget) for one in burning(slow, levels=LEVELS, now=START + timedelta(days=3))} == {
        ("ticket", "latency")
    }


def test_what_is_received_after_now_and_too_little_of_it_is_not_looked_at() -> None:
    told = answers([500.0] * 1_000)
    assert burning(told, levels=LEVELS, now=START - timedelta(seconds=1)) == ()
    assert burning(told.head(50), levels=LEVELS, now=START + timedelta(hours=1)) == ()


def test_what_is_old_or_absent_is_stale_and_a_clock_that_is_ahead_is_not() -> None:
    levels = ServiceLevels(freshness=timedelta(hours=1))
    newest = {
        "weather": START,
        "delays": START - timedelta(seconds=1),
        "none": None,
        "ahead": START + timedelta(days=1),
    }
    found = {one.name: one for one in freshness(newest, levels=levels, now=START + timedelta(hours=1))}
    assert {name for name, one in found.items() if one.stale} == {"delays", "none"}
    assert found["ahead"].age == timedelta(0)
    assert not any(one.stale for one in freshness(newest, levels=LEVELS, now=START + timedelta(days=9)))
    json.dumps([one.to_json() for one in found.values()], allow_nan=False)


def test_a_caller_waits_for_the_log_too() -> None:
    """Of a disk that took 150 ms for each answer the report said that it took 1 ms."""
    quick = answers([1.0] * 100)
    slow = quick.with_columns(log_us=pl.lit(150_000, pl.Int64))
    assert (only(quick).latency, only(quick).slow.bad) == (timedelta(milliseconds=1), 0)
    assert (only(slow).latency, only(slow).slow.bad) == (timedelta(milliseconds=151), 100)
    assert {one.budget for one in burning(slow, levels=LEVELS, now=START + timedelta(minutes=2))} == {"latency"}
    batch = slow.with_columns(request_id=pl.lit("night#") + pl.int_range(100).cast(pl.String), received=pl.lit(START))
    assert (only(batch).latency, only(batch).slow.requests) == (None, 0)


@pytest.mark.parametrize(("accuracy", "dropped"), [(0.80, False), (0.74, False), (0.70, True)])
def test_the_accuracy_dropped_when_its_whole_interval_did(accuracy: float, dropped: bool) -> None:
    """Five percent below 0.8 are 0.76; 0.74 of 1,000 rows may still be that."""
    wrong = round((1 - accuracy) * 1_000)
    frame = outcomes([1] * wrong + [0] * (1_000 - wrong), [0.1] * 1_000)
    rules = PerformanceRules(windowing=Windowing(length=timedelta(days=1)), bootstrap=Bootstrap(resamples=20))
    (window,) = performance_windows(frame, rules=rules, now=START + timedelta(days=2))
    found = accuracy_dropped(window, reference=0.8, levels=LEVELS)
    assert (found is not None) == dropped
    early = performance_windows(frame, rules=rules, now=START)[0]
    assert accuracy_dropped(early, reference=0.8, levels=LEVELS) is None


@pytest.mark.parametrize(
    ("told", "failed", "error", "said"),
    [
        (answers([5.0]).drop("latency_us"), None, MissingColumnsError, "latency_us"),
        (answers([-5.0]), None, BadValuesError, "is negative"),
        (answers([5.0]).with_columns(latency_us=pl.lit(None, pl.Int64)), None, BadValuesError, "is null"),
        (answers([5.0]).with_columns(pl.col("latency_us").cast(pl.Float64)), None, ColumnTypeError, "Int64"),
        (answers([5.0]).with_columns(log_us=pl.lit(-1, pl.Int64)), None, BadValuesError, "'log_us' .* is negative"),
        (answers([5.0]).with_columns(log_us=pl.lit(None, pl.Int64)), None, BadValuesError, "'log_us' .* is null"),
        (answers([5.0]), failures((START, -1)), BadValuesError, "'count' of the failures is negative"),
        (answers([5.0]), failures((START, 1)).cast({"count": pl.Float64}), ColumnTypeError, "whole number"),
    ],
)  # fmt: skip
def test_frames_that_are_none_are_refused(
    told: pl.DataFrame, failed: pl.DataFrame | None, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        service_windows(told, failed, levels=LEVELS, windowing=HOUR)


@pytest.mark.parametrize(
    "change",
    [
        {"latency": timedelta(0)}, {"latency_share": 1.0}, {"errors": 0.0}, {"errors": float("nan")},
        {"accuracy_drop": 1.0}, {"freshness": timedelta(0)}, {"min_requests": 0},
    ],
)  # fmt: skip
def test_promises_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MonitoringRuleError, match=f"ServiceLevels.*{next(iter(change))}"):
        ServiceLevels(**change)


def test_burn_rules_and_instants_that_cannot_be_are_refused() -> None:
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    for change in ({"short": hour * 2}, {"short": timedelta(0)}, {"burn": 0.0}):
        with pytest.raises(MonitoringRuleError, match="BurnRule"):
            BurnRule(**{"name": "x", "long": hour, "short": minute, "burn": 1.0} | change)  # type: ignore[arg-type]
    with pytest.raises(MonitoringRuleError, match="time zone"):
        burning(answers([5.0]), levels=LEVELS, now=datetime(2013, 7, 1))
    with pytest.raises(MonitoringRuleError, match="time zone"):
        freshness({"x": datetime(2013, 7, 1)}, levels=LEVELS, now=START)
