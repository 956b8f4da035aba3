"""January to June of the real flights, through the product's own functions: counts, contracts, joins, learnability."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets._chain._paths import ChainPaths
from assets._chain._retraining import ORDER_FILE
from assets._chain._training_set import training_set_asset
from assets.flights._history import delay_history
from assets.flights._paths import FLIGHTS, PLANES, WEATHER, WEATHER_OBSERVED
from assets.flights._views import BASELINE, CATEGORIES, FEATURES, VIEWS
from assets.flights.datasets import airlines, airports, flights, planes, weather
from assets.flights.features import origin_history, plane_register, tail_history, weather_observed
from assets.flights.labels import labels
from assets.flights.product import PRODUCT
from headwater.features import FeatureTable, point_in_time_join
from headwater.testing.frames import audit_of, inputs, verdicts
from tests.real_flights import broken_claims, datasets

MONTHS_LANDED = 6
# Counted in the files: shared facts of the data, by month from January.
ROWS = (27_004, 24_951, 28_834, 28_330, 28_796, 28_243)
LATE_SHARE = (0.227, 0.229, 0.228, 0.279, 0.220, 0.308)
WITHOUT_LABEL = (606, 1_340, 932, 766, 668, 1_168)
LABEL_TOO_LATE = (48, 64)  # arrived after the train and the validation month were over


def histories(typed: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Every history of the product; those that dbt makes by the Polars function that equals it."""
    made = {}
    for view in VIEWS:
        if view.name.endswith("_history"):
            windows = tuple(name.removeprefix("arrivals_") for name in view.features if name.startswith("arrivals_"))
            made[view.path] = delay_history(typed.lazy(), by=view.entity, windows=windows).collect()
    return made


@cache
def lake() -> dict[str, pl.DataFrame]:
    tables = dict(datasets(MONTHS_LANDED))
    tables[labels.path] = labels(inputs({path: tables[path] for path in labels.inputs})).data.collect()
    for asset in (weather_observed, plane_register):
        tables[asset.path] = asset(inputs({path: tables[path] for path in asset.inputs})).collect()
    return tables | histories(tables[FLIGHTS])


@cache
def training_set() -> pl.DataFrame:
    asset = training_set_asset(PRODUCT)
    with tempfile.TemporaryDirectory() as name:
        # Ordered when everything of June had come in.
        (Path(name) / ORDER_FILE).write_text('{"orders": [{"as_of": "2013-07-02T00:00:00+00:00", "reason": ""}]}')
        held = {**lake(), ChainPaths(product=PRODUCT.name).training_order: Path(name)}
        found: pl.DataFrame = asset(inputs({path: held[path] for path in asset.inputs})).data
    return found


def test_every_month_has_the_rows_labels_and_late_share_of_the_file() -> None:
    months = (
        lake()[FLIGHTS]
        .group_by("period")
        .agg(pl.len(), pl.col("late").mean(), pl.col("late").null_count().alias("nulls"), pl.col("cancelled").sum())
    )
    months = months.sort("period")
    assert tuple(months["len"]) == ROWS
    assert tuple(months["nulls"]) == WITHOUT_LABEL
    assert months["late"].to_list() == pytest.approx(LATE_SHARE, abs=0.0005)
    assert months["cancelled"].sum() == 4_883


def test_the_contracts_hold_on_every_real_month() -> None:
    assert broken_claims(flights, MONTHS_LANDED) == set()
    assert broken_claims(weather, MONTHS_LANDED) == set()


@pytest.mark.parametrize(
    "asset",
    [airports, airlines, planes, labels, origin_history, tail_history, weather_observed, plane_register],
    ids=lambda a: a.path,
)
def test_the_contract_of_each_table_holds_on_the_real_rows(asset: Any) -> None:
    found = verdicts(asset, audit_of(asset, lake()[asset.path], base=lake()))
    assert {name: verdict.description for name, verdict in found.items() if not verdict.passed} == {}


def test_arrivals_come_when_the_plane_that_departed_can_be_there() -> None:
    flown = lake()[FLIGHTS].filter(pl.col("arrival").is_not_null())
    on_ground = (flown["arrival"] - flown["departure"]).dt.total_minutes() - flown["air_time"]
    assert on_ground.min() == 5  # taxiing out and in, minutes: a wrong zone or day would be hours off
    assert on_ground.max() < 300
    known_after = (flown["label_known_at"] - flown["scheduled_departure"]).dt.total_minutes() / 60
    assert known_after.median() == pytest.approx(2.8, abs=0.1)
    assert known_after.quantile(0.95) == pytest.approx(6.4, abs=0.2)


def test_the_register_knows_most_planes() -> None:
    found = verdicts(labels, audit_of(labels, lake()[labels.path], base=lake()))["tailnum_found_in_planes"]
    assert found.facts["share"] == pytest.approx(0.85, abs=0.01)
    assert lake()[PLANES].height == 3_322


def test_what_was_known_two_hours_before_reaches_nearly_every_label() -> None:
    rows = training_set()
    assert rows.height == sum(ROWS) - sum(WITHOUT_LABEL) - sum(LABEL_TOO_LATE)
    share = {
        view.name: rows.select(pl.any_horizontal(pl.col(list(view.outputs.values())).is_not_null()).mean()).item()
        for view in VIEWS
    }
    assert share["weather_observed"] >= 0.9977
    assert share["origin_history"] > 0.998
    assert share["carrier_history"] > 0.998
    assert share["route_history"] > 0.99
    assert 0.80 < share["tail_history"] < 0.90
    assert share["plane_register"] == pytest.approx(0.85, abs=0.01)


def test_weather_joins_nearly_every_hour_of_departure() -> None:
    hours = lake()[FLIGHTS].join(lake()[WEATHER].select("origin", "time_hour"), on=["origin", "time_hour"], how="semi")
    assert hours.height / lake()[FLIGHTS].height > 0.999


def test_what_happens_after_a_prediction_never_changes_its_features() -> None:
    moment = pl.datetime(2013, 3, 8, 18, time_zone="UTC")  # the worst day of the year, at midday in New York
    typed = lake()[FLIGHTS]
    not_yet = [
        pl.when(pl.col("arrival") < moment).then(pl.col(name)).alias(name) for name in ("arrival", "arr_delay", "late")
    ]
    then = lake() | histories(typed.filter(pl.col("departure") < moment).with_columns(not_yet))
    then[WEATHER_OBSERVED] = then[WEATHER_OBSERVED].filter(pl.col("known_at") <= moment)
    asked = lake()[labels.path].filter(pl.col("predict_at") <= moment)
    assert asked.height > 50_000

    def joined(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
        views = [FeatureTable(view=view, rows=tables[view.path]) for view in VIEWS]
        return point_in_time_join(asked, views, time="predict_at").collect()

    assert_frame_equal(joined(then), joined(lake()))


def test_recent_delays_and_weather_make_june_predictable() -> None:
    month = pl.col("predict_at").dt.convert_time_zone("America/New_York").dt.month()
    rows = training_set().sort("predict_at")
    train, test = rows.filter(month <= 4).gather_every(3), rows.filter(month == 6)
    known, schedule = auc(train, test, FEATURES), auc(train, test, BASELINE)
    assert known >= 0.75
    assert known - schedule > 0.05
    # A hindsight feature would look like this: far above what can be known.
    assert known < 0.85


def auc(train: pl.DataFrame, test: pl.DataFrame, columns: tuple[str, ...]) -> float:
    """Area under the curve in June of a small model of the months up to April."""
    import lightgbm
    from sklearn.metrics import roc_auc_score

    levels = {name: pl.Enum(train[name].unique().sort()) for name in CATEGORIES}

    def matrix(rows: pl.DataFrame) -> np.ndarray:
        codes = [pl.col(name).cast(levels[name], strict=False).to_physical().cast(pl.Float32) for name in levels]
        return rows.select(columns).with_columns(codes).cast(pl.Float32).to_numpy()

    parameters = {"objective": "binary", "num_leaves": 31, "learning_rate": 0.1, "min_data_in_leaf": 200, "verbose": -1}
    parameters |= {"num_threads": 1, "seed": 1, "deterministic": True, "force_row_wise": True, "feature_fraction": 0.5}
    categorical = [index for index, name in enumerate(columns) if name in CATEGORIES]
    data = lightgbm.Dataset(matrix(train), train["late"].to_numpy(), categorical_feature=categorical)
    model = lightgbm.train(parameters, data, num_boost_round=50)
    return float(roc_auc_score(test["late"].to_numpy(), model.predict(matrix(test))))


@pytest.mark.heavy
def test_the_whole_year_keeps_the_contracts_and_finds_its_weather() -> None:
    assert broken_claims(flights, 12) == set()
    assert broken_claims(weather, 12) == set()
    year = datasets(12)
    assert year[FLIGHTS].height == 336_776
    assert year[FLIGHTS]["late"].null_count() == 9_430
    assert year[FLIGHTS]["cancelled"].sum() == 8_255
    late = year[FLIGHTS].group_by("period").agg(pl.col("late").mean()).sort("period")["late"].to_list()
    assert late == pytest.approx((*LATE_SHARE, 0.315, 0.238, 0.132, 0.168, 0.174, 0.326), abs=0.0006)
    view = next(view for view in VIEWS if view.path == WEATHER_OBSERVED)
    observed = weather_observed(inputs({WEATHER: year[WEATHER]}))
    asked = year[FLIGHTS].select("origin", "predict_at")
    joined = point_in_time_join(asked, [FeatureTable(view=view, rows=observed)], time="predict_at").collect()
    # The observations end on 30 December.
    matched = joined.select(pl.any_horizontal(pl.col(list(view.outputs.values())).is_not_null()).mean()).item()
    assert matched == pytest.approx(0.9977, abs=0.0002)
