"""Every claim of `headwater.checks`: a table that keeps it, tables that break it, and tables of which it is undefined."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headwater.checks
from headwater.checks import (
    columns_as_declared,
    keys_are_unique,
    known_after_event,
    months_match_partition,
    newest_near_partition_end,
    not_empty,
    nulls_below,
    rows_in_usual_range,
    share_of_references_found,
    values_among,
    values_in_range,
)
from headwater.lake import Kind
from headwater.product import Asset, Check, DeclarationError, Partitions, Severity, Verdict
from headwater.testing.frames import audit_of

TIME = pl.Datetime("us", "UTC")
MONTH = "2013-03"
OTHER = "shop/datasets/other"


def judge(
    check: Check, rows: pl.DataFrame, *, other: pl.DataFrame | None = None, partition: str | None = None
) -> Verdict:
    """The verdict on a table, partitioned by month when a partition is given; its facts are JSON."""
    partitions = Partitions.months("2013-01", "2013-12") if partition else None
    asset = Asset(path="shop/datasets/rows", kind=Kind.TABLE, compute=lambda *_: rows, partitions=partitions)
    verdict = check.judge(audit_of(asset, rows, partition=partition, base={} if other is None else {OTHER: other}))
    json.dumps(dict(verdict.facts), allow_nan=False)
    assert verdict.passed or verdict.description, "a failure says what is wrong"
    return verdict


def column(values: list[Any], dtype: Any = None, name: str = "value") -> pl.DataFrame:
    return pl.DataFrame({name: pl.Series(values, dtype=dtype)})


def times(*values: datetime | None, name: str = "at") -> pl.DataFrame:
    return column(list(values), TIME, name)


def march(day: int, hour: int = 12) -> datetime:
    return datetime(2013, 3, day, hour, tzinfo=UTC)


EMPTY = column([], pl.Float64)
NULLS = column([None, None], pl.Float64)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (not_empty(), column([1.0]), EMPTY),
        (rows_in_usual_range(low=2, high=3), column([1.0, 2.0]), column([1.0])),
        (rows_in_usual_range(low=2, high=3), column([1.0, 2.0, 3.0]), column([1.0] * 4)),
        (keys_are_unique("value"), column([1.0, 2.0]), column([1.0, 1.0])),
        (keys_are_unique("value"), column([1.0, 2.0]), column([1.0, None])),
        (keys_are_unique("value"), column([1.0]), EMPTY),
        (values_in_range("value", low=0, high=1), column([0.0, 1.0, None]), column([0.0, 1.1])),
        (values_in_range("value", low=0, high=1), column([0.5]), column([-0.1])),
        (values_in_range("value", low=0), column([1e300]), column([-1.0])),
        (values_in_range("value", high=1), column([-1e300]), column([2.0])),
        (values_in_range("value", low=0, high=1), column([0.5]), column([0.5, float("nan")])),
        (values_in_range("value", low=0), column([0.5]), column([float("-inf")])),
        (values_in_range("value", low=0, high=1), column([0.5]), NULLS),
        (values_in_range("value", low=0, high=1), column([0.5]), EMPTY),
        (values_among("value", ("a", "b")), column(["a", None]), column(["a", "c"])),
        (values_among("value", ("a", "b")), column(["a"]), column([None], pl.String)),
        (nulls_below("value", 0.5), column([1.0, 2.0, None]), column([1.0, None])),
        (nulls_below("value", 0.5), column([1.0, 2.0]), column([1.0, float("nan")])),
        (nulls_below("value", 1.0), column([1.0, None]), NULLS),
        (nulls_below("value", 0.5), column([1.0]), EMPTY),
        (columns_as_declared({"value": pl.Float64}), column([1.0]), column([1])),
        (columns_as_declared({"value": pl.Float64}), EMPTY, column([1.0], name="worth")),
        (columns_as_declared({"value": pl.Float64}), column([1.0]), column([1.0]).with_columns(more=pl.lit(1))),
    ],
)
def test_a_claim_holds_for_a_good_table_and_fails_for_a_bad_one(
    check: Check, good: pl.DataFrame, bad: pl.DataFrame
) -> None:
    assert judge(check, good).passed
    assert not judge(check, bad).passed


@pytest.mark.parametrize(
    "check",
    [
        keys_are_unique("gone"),
        values_in_range("gone", low=0),
        values_among("gone", ("a",)),
        nulls_below("gone", 0.5),
        share_of_references_found("gone", table=OTHER),
        months_match_partition("gone"),
        newest_near_partition_end("gone", within=timedelta(days=1)),
        known_after_event(event_time="gone"),
    ],
    ids=lambda check: check.name,
)
def test_a_claim_about_a_column_that_is_not_there_fails_and_names_it(check: Check) -> None:
    verdict = judge(check, column([1.0]), partition=MONTH)
    assert not verdict.passed
    assert "gone" in verdict.description


def test_a_repeated_key_is_shown_with_its_count() -> None:
    verdict = judge(keys_are_unique("a", "b"), pl.DataFrame({"a": [1, 1, 2, None], "b": [1, 1, 1, 1]}))
    assert verdict.facts["repeated"] == [{"a": 1, "b": 1, "times": 2}]
    assert verdict.facts["null"] == [{"a": None, "b": 1}]
    assert (verdict.facts["rows"], verdict.facts["distinct_keys"], verdict.facts["null_keys"]) == (4, 3, 1)


def test_failing_rows_are_shown_five_at_most_whatever_the_order() -> None:
    rows = pl.DataFrame({"name": [f"n{i}" for i in range(20)], "value": [float(i) for i in range(20)]})
    check = values_in_range("value", high=5)
    shown = judge(check, rows).facts["examples"]
    assert len(shown) == 5
    assert shown[0] == {"value": 6.0, "name": "n6"}
    assert judge(check, rows.reverse()).facts["examples"] == shown


def test_nan_and_infinity_in_facts_are_still_json() -> None:
    verdict = judge(values_in_range("value", low=0, high=1), column([float("inf"), float("nan"), 0.5]))
    assert verdict.facts["outside"] == 2
    assert verdict.facts["greatest"] == "inf"


def test_the_schema_claim_ignores_the_partition_column_and_names_each_difference() -> None:
    check = columns_as_declared({"value": pl.Float64, "at": TIME})
    rows = pl.DataFrame({"value": [1.0], "at": [march(1)]}, schema_overrides={"at": TIME})
    assert judge(check, rows, partition=MONTH).passed
    other = rows.with_columns(pl.col("value").cast(pl.Int64), pl.lit(1).alias("more")).drop("at")
    facts = judge(check, other, partition=MONTH).facts
    assert (facts["missing"], facts["extra"], facts["other_dtype"]) == (
        ["at"],
        ["more"],
        {"value": ["Float64", "Int64"]},
    )


@pytest.mark.parametrize(
    ("values", "at_least", "passed"),
    [
        (["a", "b"], 1.0, True),
        (["a", "x"], 1.0, False),
        (["a", "x"], 0.5, True),
        (["a", "x", "x"], 0.5, False),
        (["a", None, None], 1.0, True),
        ([None], 0.1, False),
        ([], 0.1, False),
    ],
)
def test_references_are_counted_by_row_and_nulls_refer_to_nothing(
    values: list[str | None], at_least: float, passed: bool
) -> None:
    check = share_of_references_found("value", table=OTHER, key="id", at_least=at_least)
    assert judge(check, column(values, pl.String), other=column(["a", "b"], name="id")).passed is passed


def test_the_most_frequent_lost_references_are_shown() -> None:
    check = share_of_references_found("value", table=OTHER)
    facts = judge(check, column(["x", "y", "y", "a"]), other=column(["a"])).facts
    assert facts["most_frequent_not_found"] == [{"value": "y", "rows": 2}, {"value": "x", "rows": 1}]
    assert facts["share"] == 0.25
    assert check.name == "value_found_in_other"


@pytest.mark.parametrize(
    ("at", "passed"),
    [
        (march(1, 0), False),  # still February in New York
        (march(1, 5), True),
        (datetime(2013, 4, 1, 3, 59, tzinfo=UTC), True),  # summer time by then: midnight is at 4
        (datetime(2013, 4, 1, 4, tzinfo=UTC), False),
        (None, False),
    ],
)
def test_a_month_begins_and_ends_at_local_midnight(at: datetime | None, passed: bool) -> None:
    check = months_match_partition("at", timezone="America/New_York")
    assert judge(check, times(march(15), at), partition=MONTH).passed is passed


def test_december_ends_with_the_year() -> None:
    check = months_match_partition("at")
    assert judge(check, times(datetime(2013, 12, 31, 23, 59, tzinfo=UTC)), partition="2013-12").passed
    assert not judge(check, times(datetime(2014, 1, 1, tzinfo=UTC)), partition="2013-12").passed


@pytest.mark.parametrize("check", [months_match_partition("at"), newest_near_partition_end("at", within=timedelta(1))])
def test_claims_about_a_partition_fail_without_rows_and_without_a_partition(check: Check) -> None:
    assert not judge(check, times(), partition=MONTH).passed
    assert not judge(check, times(march(31))).passed


@pytest.mark.parametrize(
    ("newest", "passed"),
    [(march(31, 1), True), (march(30, 0), True), (march(29, 23), False), (datetime(2013, 4, 2, tzinfo=UTC), False)],
)
def test_a_file_that_ends_early_is_not_fresh_and_the_clock_is_never_asked(newest: datetime, passed: bool) -> None:
    check = newest_near_partition_end("at", within=timedelta(days=2))
    assert judge(check, times(march(2), newest), partition=MONTH).passed is passed
    assert not check.blocking
    assert check.severity is Severity.WARN


@pytest.mark.parametrize(
    ("known", "nulls_allowed", "passed"),
    [
        (march(2), False, True),
        (march(1), False, True),
        (march(1, 11), False, False),
        (None, False, False),
        (None, True, True),
    ],
)
def test_nothing_is_known_before_it_happened(known: datetime | None, nulls_allowed: bool, passed: bool) -> None:
    rows = times(march(1), name="event_time").with_columns(pl.Series("known_at", [known], dtype=TIME))
    check = known_after_event(nulls_allowed=nulls_allowed)
    assert judge(check, rows).passed is passed
    assert not judge(check, rows.clear()).passed


@pytest.mark.parametrize(
    "declare",
    [
        keys_are_unique,
        lambda: values_in_range("a"),
        lambda: values_in_range("a", low=2, high=1),
        lambda: nulls_below("a", 0.0),
        lambda: nulls_below("a", 1.5),
        lambda: rows_in_usual_range(low=3, high=2),
        lambda: share_of_references_found("a", table=OTHER, at_least=0.0),
    ],
)
def test_a_claim_that_could_not_be_meant_is_refused_when_declared(declare: Any) -> None:
    with pytest.raises(DeclarationError):
        declare()


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.none(), max_size=20))
def test_a_range_holds_exactly_when_every_value_lies_in_it(values: list[float | None]) -> None:
    present = [value for value in values if value is not None]
    verdict = judge(values_in_range("value", low=-10, high=10), column(values, pl.Float64))
    assert verdict.passed is (bool(present) and all(-10 <= value <= 10 for value in present))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_keys_are_unique_exactly_when_no_two_are_equal(keys: list[tuple[int, int]]) -> None:
    rows = pl.DataFrame(keys, schema={"a": pl.Int64, "b": pl.Int64}, orient="row")
    assert judge(keys_are_unique("a", "b"), rows).passed is (bool(keys) and len(set(keys)) == len(keys))


def test_the_public_claims_are_these() -> None:
    assert headwater.checks.__all__ == [
        "columns_as_declared",
        "keys_are_unique",
        "known_after_event",
        "months_match_partition",
        "newest_near_partition_end",
        "not_empty",
        "nulls_below",
        "rows_in_usual_range",
        "share_of_references_found",
        "values_among",
        "values_in_range",
    ]
