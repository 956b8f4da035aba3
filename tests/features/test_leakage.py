"""Leaks planted one by one, and honest data that must pass."""

import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.features import (
    FeatureTable,
    FeatureView,
    LeakageKind,
    duplicate_entities,
    future_columns,
    future_values,
    label_among_features,
    late_labels,
    point_in_time_join,
    single_feature_auc,
    suspicious_features,
)
from headwater.features.errors import MissingColumnError, UndefinedAucError

START = datetime(2013, 1, 1, tzinfo=UTC)
VIEW = FeatureView(name="history", path="p/history", entity=("who",), features=("value",), prefix="past_")


def planted() -> tuple[pl.DataFrame, FeatureTable]:
    """Labels and a table whose rows are known one to five hours after their event."""
    draw = random.Random(3)
    events = [START + timedelta(hours=number) for number in range(200)]
    table = pl.DataFrame(
        {
            "who": [draw.choice(["ann", "bob"]) for _ in events],
            "event_time": events,
            "known_at": [event + timedelta(hours=draw.randint(1, 5)) for event in events],
            "value": [draw.random() for _ in events],
        },
        schema_overrides={"event_time": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC")},
    )
    labels = table.select("who", pl.col("event_time").dt.offset_by("30m").alias("at"))
    return labels, FeatureTable(view=VIEW, rows=table)


def test_a_join_that_ignores_known_at_is_caught_and_ours_is_not() -> None:
    labels, table = planted()
    honest = point_in_time_join(labels, [table], time="at").collect()
    assert future_values(honest, [table], time="at", sample=None) == []
    leaking = labels.join_asof(
        table.rows.lazy().collect().rename({"value": "past_value"}),
        left_on="at", right_on="event_time", by="who", check_sortedness=False,
    )  # fmt: skip
    (finding,) = future_values(leaking, [table], time="at", sample=None)
    assert finding.kind is LeakageKind.FUTURE_VALUE
    assert finding.column == "history"
    assert finding.rows > 100
    assert [found.kind for found in future_values(leaking, [table], time="at", sample=20)] == [LeakageKind.FUTURE_VALUE]
    (column,) = future_columns(leaking, time="at", known_at={"past_value": "known_at"})
    assert column.kind is LeakageKind.FUTURE_COLUMN
    assert column.rows == leaking.filter(pl.col("known_at") > pl.col("at")).height


def test_a_feature_known_exactly_at_the_prediction_time_is_no_leak() -> None:
    frame = pl.DataFrame({"at": [START], "known": [START], "x": [1]})
    assert future_columns(frame, time="at", known_at={"x": "known"}) == []


def test_a_null_feature_of_the_future_is_no_leak() -> None:
    frame = pl.DataFrame({"at": [START], "known": [START + timedelta(1)], "x": [None]}, schema_overrides={"x": pl.Int8})
    assert future_columns(frame, time="at", known_at={"x": "known"}) == []


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5) | st.none(), st.booleans()), min_size=1, max_size=30))
def test_the_auc_is_the_share_of_pairs_in_the_right_order(cells: list[tuple[int | None, bool]]) -> None:
    above = [value for value, truth in cells if truth and value is not None]
    below = [value for value, truth in cells if not truth and value is not None]
    area = single_feature_auc(
        pl.Series([value for value, _ in cells], dtype=pl.Int64), pl.Series([truth for _, truth in cells])
    )
    if not above or not below:
        assert area is None
    else:
        pairs = sum((a > b) + (a == b) / 2 for a in above for b in below) / (len(above) * len(below))
        assert area == pytest.approx(pairs, abs=1e-12)


def frame() -> pl.DataFrame:
    """`copy` is the outcome with noise, `gone` is null when the outcome is bad, `noise` is honest."""
    draw = random.Random(1)
    label = [draw.random() < 0.3 for _ in range(400)]
    return pl.DataFrame(
        {
            "label": [int(bad) for bad in label],
            "copy": [-bad + draw.gauss(0, 0.1) for bad in label],
            "gone": [None if bad else draw.random() for bad in label],
            "nans": [float("nan") if bad else draw.random() for bad in label],
            "text": [None if bad else "here" for bad in label],
            "noise": [draw.random() for _ in label],
        }
    )


def test_a_feature_that_is_nearly_the_outcome_is_suspicious_in_either_direction() -> None:
    found = suspicious_features(frame(), label="label", features=["copy", "gone", "nans", "text", "noise"])
    assert [finding.column for finding in found] == ["copy", "gone", "nans", "text"]
    assert all(finding.value is not None and finding.value > 0.99 for finding in found)
    assert "by its value" in found[0].message
    assert all("by being null" in finding.message for finding in found[1:])


def test_a_category_that_tells_the_outcome_is_suspicious_whatever_its_order() -> None:
    draw = random.Random(5)
    label = [draw.randint(0, 1) for _ in range(2_000)]
    rows = pl.DataFrame(
        {
            "label": label,
            "status": [draw.choice(["arrived", "parked"] if truth else ["boarding", "queued"]) for truth in label],
            "code": [draw.choice([1, 4] if truth else [2, 3]) for truth in label],
            "honest": [draw.choice(["a", "b", "c"]) for _ in label],
            "name": [f"row {number}" for number in range(len(label))],
            "pair": [number // 2 for number in range(len(label))],
        }
    )
    features = [name for name in rows.columns if name != "label"]
    found = suspicious_features(rows, label="label", features=features)
    assert [finding.column for finding in found] == ["status", "code"]
    assert all("by its category" in finding.message and finding.rows == 2_000 for finding in found)
    shuffled = rows.sort("label").with_columns(pl.col("status").cast(pl.Categorical))
    assert [finding.column for finding in suspicious_features(shuffled, label="label", features=features)] == [
        "status",
        "code",
    ]


def test_the_limit_is_a_parameter() -> None:
    assert suspicious_features(frame(), label="label", features=["copy"], limit=1.0) == []
    assert suspicious_features(frame(), label="label", features=["noise"], limit=0.5) != []


def test_rows_without_label_are_left_out_and_one_class_is_an_error() -> None:
    rows = frame().with_columns(label=pl.when(pl.col("label") == 1).then(None).otherwise(0))
    with pytest.raises(UndefinedAucError, match="0 positive and"):
        suspicious_features(rows, label="label", features=["noise"])


def test_a_key_in_two_parts_is_found() -> None:
    rows = pl.DataFrame({"who": ["a", "a", "b", "c", "c"], "split": ["train", "test", "train", "test", "test"]})
    (finding,) = duplicate_entities(rows, key=["who"], split="split")
    assert (finding.kind, finding.rows) == (LeakageKind.DUPLICATE_ENTITY, 2)
    assert duplicate_entities(rows.filter(pl.col("who") != "a"), key=["who"], split="split") == []


def test_the_label_is_found_among_the_features_by_name_and_by_value() -> None:
    rows = frame().with_columns(same=pl.col("label").cast(pl.Boolean), opposite=1 - pl.col("label"))
    found = label_among_features(rows, label="label", features=["label", "same", "opposite", "noise", "text"])
    assert [finding.column for finding in found] == ["label", "same", "opposite"]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(MissingColumnError, match="lack 'nothing'"):
        suspicious_features(frame(), label="label", features=["nothing"])


def test_a_label_known_after_the_next_part_begins_is_found_and_the_last_part_may_end_late() -> None:
    at = [START + timedelta(days=day) for day in range(4)]
    rows = pl.DataFrame(
        {
            "at": at,
            "known": [at[2] + timedelta(minutes=1), at[2], at[3] - timedelta(hours=1), at[3] + timedelta(days=99)],
            "split": ["train", "train", "validation", "test"],
        }
    )
    parts = ("train", "validation", "test")
    (finding,) = late_labels(rows, time="at", known_at="known", split="split", parts=parts)
    assert (finding.kind, finding.column, finding.rows) == (LeakageKind.LATE_LABEL, "known", 1)
    assert "train" in finding.message
    assert late_labels(rows[1:], time="at", known_at="known", split="split", parts=parts) == []


def test_late_labels_are_found_over_an_empty_part_and_in_other_zones() -> None:
    at = [START, START + timedelta(days=10)]
    rows = pl.DataFrame({"at": at, "known": [at[1] + timedelta(minutes=1), at[1]], "split": ["train", "test"]})
    elsewhere = rows.with_columns(pl.col("known").dt.convert_time_zone("Asia/Tokyo"))
    for frame in (rows, elsewhere):
        (finding,) = late_labels(
            frame, time="at", known_at="known", split="split", parts=("train", "validation", "test")
        )
        assert finding.rows == 1
    assert late_labels(rows[:1], time="at", known_at="known", split="split", parts=("train", "validation")) == []
