"""The training set through a real lake: honest rows are published, planted leaks are refused by the check `leakage`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain import _training_set
from assets._chain._training_set import training_set_asset
from headwater.features import FeatureTable, FeatureView
from headwater.lake import EmbeddedLake
from headwater.materialize import Outcome, Run, Status, materialize
from headwater.models import TimeSplit
from headwater.product import Labels, Product, Split
from headwater.provenance import CheckRecord

START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = 600
LABELS, HISTORY = "toy/datasets/labels", "toy/features/history"


def product(
    *, columns: tuple[str, ...] = ("size",), key: tuple[str, ...] = ("id",), known_at: str | None = None
) -> Product:
    return Product(
        name="toy",
        question="Does it leak?",
        owners=("team:toy",),
        labels=Labels(path=LABELS, key=key, time="at", label="late", columns=("who", *columns), known_at=known_at),
        features=(FeatureView(name="history", path=HISTORY, entity=("who",), features=("mean",)),),
        split=Split(validation_months=1, test_months=1),
    )


def rows() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Labels over four months, and a history whose rows are known three days after their event."""
    at = [START + timedelta(hours=4.8 * number) for number in range(ROWS)]
    labels = pl.DataFrame(
        {
            "id": range(ROWS),
            "who": [f"w{number % 7}" for number in range(ROWS)],
            "at": at,
            "late": [int(number * 7919 % 10 < 3) for number in range(ROWS)],
            "size": [number * 31 % 17 for number in range(ROWS)],
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )
    history = labels.select(
        "who",
        pl.col("at").alias("event_time"),
        pl.col("at").dt.offset_by("3d").alias("known_at"),
        (pl.col("id") * 0.61803 % 1).alias("mean"),
    )
    return labels, history


def built(place: Path, declared: Product, labels: pl.DataFrame, history: pl.DataFrame) -> Outcome:
    lake = EmbeddedLake.open(place / "lake")
    with lake.transaction() as tx:
        tx.write_table(LABELS, labels)
        tx.write_table(HISTORY, history)
        tx.publish(message="Put the inputs there", provenance=None)
    return materialize(lake, training_set_asset(declared), run=Run())


def verdict(outcome: Outcome) -> CheckRecord:
    return next(check for check in outcome.checks if check.name == "leakage")


def kinds(outcome: Outcome) -> set[tuple[str, str]]:
    return {(found["kind"], found["column"]) for found in verdict(outcome).facts["findings"]}


def test_an_honest_training_set_is_published(tmp_path: Path) -> None:
    outcome = built(tmp_path, product(), *rows())
    assert outcome.status is Status.PUBLISHED
    assert verdict(outcome).facts == {"features_judged": 1}


def test_labels_not_known_at_the_border_are_left_out_and_counted(tmp_path: Path) -> None:
    labels, history = rows()
    known = labels.with_columns(arrived=pl.col("at").dt.offset_by("2d"))
    outcome = built(tmp_path, product(known_at="arrived"), known, history)
    assert outcome.status is Status.PUBLISHED
    assert outcome.facts["rows_purged"] == {"train": 9, "validation": 9}  # five rows a day, one of them on the minute
    made = EmbeddedLake.open(tmp_path / "lake").at("main").table("toy/training_set").collect()
    assert made.height == ROWS - 18
    assert made.filter(pl.col("split") == "train")["arrived"].max() <= datetime(2024, 3, 1, tzinfo=UTC)


def test_a_split_that_ignores_when_labels_came_in_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(**settings: Any) -> TimeSplit:
        return TimeSplit(**{**settings, "known_at": None})

    monkeypatch.setattr(_training_set, "TimeSplit", careless)
    labels, history = rows()
    known = labels.with_columns(arrived=pl.col("at").dt.offset_by("2d"))
    outcome = built(tmp_path, product(known_at="arrived"), known, history)
    assert outcome.status is Status.REFUSED
    assert kinds(outcome) == {("late_label", "arrived")}


def test_a_feature_made_from_the_outcome_refuses_it(tmp_path: Path) -> None:
    labels, history = rows()
    told = history.with_columns(mean=labels["late"] + pl.col("mean") / 10)
    told = told.with_columns(known_at=pl.col("event_time"))  # the planted lie: known when it happened
    outcome = built(tmp_path, product(), labels, told)
    assert outcome.status is Status.REFUSED
    assert kinds(outcome) == {("suspicious_auc", "mean")}


def test_a_join_that_sees_the_future_refuses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(labels: pl.LazyFrame, tables: list[FeatureTable], *, time: str) -> pl.LazyFrame:
        facts: Any = tables[0].rows.lazy().collect()
        joined = labels.collect().join_asof(
            facts, left_on=time, right_on="event_time", by="who", strategy="forward", check_sortedness=False
        )
        return joined.drop("known_at", "event_time", strict=False).lazy()

    monkeypatch.setattr(_training_set, "point_in_time_join", careless)
    outcome = built(tmp_path, product(), *rows())
    assert outcome.status is Status.REFUSED
    assert ("future_value", "history") in kinds(outcome)


def test_a_key_on_both_sides_of_the_split_refuses_it(tmp_path: Path) -> None:
    outcome = built(tmp_path, product(key=("who",)), *rows())
    assert outcome.status is Status.REFUSED
    assert kinds(outcome) == {("duplicate_entity", "who")}


def test_a_label_of_one_class_fails_the_check_instead_of_passing_it(tmp_path: Path) -> None:
    labels, history = rows()
    outcome = built(tmp_path, product(), labels.with_columns(late=pl.lit(0)), history)
    assert outcome.status is Status.REFUSED
    assert not verdict(outcome).passed
    assert "0" in str(verdict(outcome).facts["description"])
