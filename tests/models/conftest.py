"""Rows and models that the tests of this room share."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headwater.models import LightGBMModel, LogisticBaseline, Split, TimeSplit, TrainedModel, train_model


def make_rows(count: int = 3000, seed: int = 1) -> pl.DataFrame:
    """Half a year of events whose label depends on every kind of column.

    `delay` has nulls and a NaN (both are unknown to a model), `zone` has a null and a category of one row (a rare one),
    `gate` is a whole number used as a category, `wet` is a boolean with nulls.
    """
    random = np.random.default_rng(seed)
    delay = random.gamma(2.0, 5.0, count)
    zone = random.choice(["north", "south", "east"], count, p=[0.5, 0.3, 0.2])
    gate = random.integers(1, 6, count)
    wet = random.random(count) < 0.3
    odds = -3.5 + 0.2 * delay + 1.2 * (zone == "south") + 1.5 * wet - 0.5 * (gate == 3)
    label = random.random(count) < 1.0 / (1.0 + np.exp(-odds))
    start = datetime(2013, 1, 1)
    frame = pl.DataFrame(
        {
            "at": [start + timedelta(minutes=int(minute)) for minute in np.linspace(0, 181 * 24 * 60 - 1, count)],
            "delay": delay,
            "hops": random.integers(0, 4, count),
            "zone": zone,
            "gate": gate,
            "wet": wet,
            "late": label.astype(np.int8),
        }
    )
    row = pl.int_range(pl.len())
    return frame.with_columns(
        delay=pl.when(row % 17 == 0).then(None).when(row == 5).then(float("nan")).otherwise("delay"),
        zone=pl.when(row % 23 == 0).then(None).when(row == 7).then(pl.lit("moon")).otherwise("zone"),
        wet=pl.when(row % 19 == 0).then(None).otherwise("wet"),
    )


FEATURES = ("delay", "hops", "zone", "gate", "wet")
CATEGORICAL = ("zone", "gate")


@pytest.fixture(scope="session")
def rows() -> pl.DataFrame:
    return make_rows()


@pytest.fixture(scope="session")
def split(rows: pl.DataFrame) -> Split:
    return TimeSplit(time="at").apply(rows)


@pytest.fixture(scope="session")
def declaration() -> LightGBMModel:
    return LightGBMModel(
        features=FEATURES,
        categorical=CATEGORICAL,
        label="late",
        rare_below=2,
        parameters={"learning_rate": 0.1, "num_leaves": 7, "bagging_fraction": 0.8, "bagging_freq": 1},
        num_boost_round=25,
    )


@pytest.fixture(scope="session")
def baseline_declaration() -> LogisticBaseline:
    return LogisticBaseline(features=("hops", "zone"), categorical=("zone",), label="late")


@pytest.fixture(scope="session")
def trained(split: Split, declaration: LightGBMModel) -> TrainedModel:
    return train_model(split.train, split.validation, declaration)


@pytest.fixture(scope="session")
def baseline(split: Split, baseline_declaration: LogisticBaseline) -> TrainedModel:
    return train_model(split.train, split.validation, baseline_declaration)
