"""What a replay builds every day, and what waits until somebody trains."""

from dataclasses import replace

from assets._declared import declared
from assets._products import product
from headwater.cli._replay_plan import watched_assets
from headwater.features import StreamedView
from headwater.product import Product

FLIGHTS = product("flights")


def watched(found: Product) -> frozenset[str]:
    return watched_assets(found, declared(found))


def test_what_decisions_rest_on_is_built_every_day() -> None:
    names = {path.removeprefix("flights/") for path in watched(FLIGHTS)}
    decided = {"retraining", "training_order", "rollout", "rollout_step", "performance_report", "performance_causes"}
    assert (
        decided | {"outcomes", "predictions", "prediction_day", "service_report", "datasets/labels", "landing/flights"}
        <= names
    )


def test_what_only_a_training_reads_waits() -> None:
    names = {path.removeprefix("flights/") for path in watched(FLIGHTS)}
    assert not {"training_set", "model", "release", "dataset_cards", "online_features"} & names
    assert not [name for name in names if name.startswith("features/")]


def test_without_streams_the_online_features_are_built_every_day() -> None:
    names = watched(replace(FLIGHTS, streams=(), events=()))
    assert {"flights/online_features", "flights/features/tail_history", "flights/features/weather_observed"} <= names


def test_one_view_that_no_stream_carries_on_is_enough() -> None:
    weather: tuple[StreamedView, ...] = tuple(each for each in FLIGHTS.streams if each.view != "tail_history")
    assert "flights/online_features" in watched(replace(FLIGHTS, streams=weather))


def test_without_a_rule_of_retraining_the_release_is_built_every_day() -> None:
    names = watched(replace(FLIGHTS, retraining=None))
    assert {"flights/release", "flights/model", "flights/training_set", "flights/features/origin_history"} <= names
