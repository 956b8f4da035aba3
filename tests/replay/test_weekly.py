"""The model that is retrained every week: it knows what was known then, and is trained once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headwater.cli._replay_weekly import weekly_models
from headwater.lake import EmbeddedLake
from headwater.product import Labels, Model, Product, Split
from resources.settings import Settings

START = datetime(2013, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LABELS = "shop/datasets/labels"
PRODUCT = Product(
    name="shop", question="Will they leave?", owners=("team:shop",),
    labels=Labels(path=LABELS, key=("customer",), time="at", label="left", columns=("calls",), known_at="known"),
    model=Model(features=("calls",), rounds=5), split=Split(validation_months=1, test_months=1),
)  # fmt: skip
EARLY, MAY, JUNE = (datetime(2013, month, 16, tzinfo=UTC) for month in (1, 5, 6))


def truth(days: int = 200, per_day: int = 20) -> pl.DataFrame:
    numbers = np.arange(days * per_day)
    at = [START + int(number // per_day) * DAY for number in numbers]
    return pl.DataFrame(
        {
            "customer": numbers, "at": at, "known": [moment + DAY for moment in at],
            "calls": (numbers * 7 % 13).astype(float), "left": (numbers * 7 % 13 > 6).astype(np.int8),
        }
    )  # fmt: skip


def settings(folder: Path, rows: pl.DataFrame) -> tuple[EmbeddedLake, Settings]:
    found = Settings(state=folder)
    lake = EmbeddedLake.open(folder / "lake")
    with lake.transaction() as tx:
        tx.write_table(LABELS, rows)
        tx.publish(message="Labels", provenance=None)
    return lake, found


def scores(folder: Path, rows: pl.DataFrame, week: datetime) -> np.ndarray:
    lake, found = settings(folder, rows)
    bundle = weekly_models(PRODUCT, lake, found, folder / "replay", [week]).bundles[week]
    return bundle.predict(pl.DataFrame({"calls": [float(calls) for calls in range(13)]}))


def test_a_week_knows_nothing_that_came_later(tmp_path: Path) -> None:
    rows = truth()
    later = pl.col("known") > MAY
    turned = rows.with_columns(pl.when(later).then(1 - pl.col("left")).otherwise("left").cast(pl.Int8).alias("left"))
    assert scores(tmp_path / "a", rows, MAY).tolist() == scores(tmp_path / "b", turned, MAY).tolist()
    assert scores(tmp_path / "c", turned, JUNE).tolist() != scores(tmp_path / "d", rows, JUNE).tolist()


def test_a_week_is_trained_once_and_one_with_too_little_has_no_model(tmp_path: Path) -> None:
    lake, found = settings(tmp_path, truth())
    told: list[str] = []
    first = weekly_models(PRODUCT, lake, found, tmp_path / "replay", [EARLY, MAY], told.append)
    assert (list(first.bundles), len(told)) == ([MAY], 2)
    assert first.cpu_seconds > 0
    again = weekly_models(PRODUCT, lake, found, tmp_path / "replay", [EARLY, MAY, JUNE], told.append)
    assert (list(again.bundles), len(told)) == ([MAY, JUNE], 3)
    assert again.cpu_seconds > first.cpu_seconds


def test_another_declaration_is_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, found = settings(tmp_path, truth())
    told: list[str] = []
    for rounds in (5, 6, 5):
        assert PRODUCT.model is not None
        monkeypatch.setattr("assets._declared._chains", {})  # a process knows one product of a name
        other = replace(PRODUCT, model=replace(PRODUCT.model, rounds=rounds))
        weekly_models(other, lake, found, tmp_path / "replay", [MAY], told.append)
    assert len(told) == 2


def test_nothing_is_trained_from_tables_that_are_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, found = settings(tmp_path, truth())
    monkeypatch.setattr("headwater.cli._replay_weekly._up_to_date", lambda *asked: False)
    models = weekly_models(PRODUCT, lake, found, tmp_path / "replay", [MAY])
    assert (models.bundles, models.cpu_seconds) == ({}, 0)
