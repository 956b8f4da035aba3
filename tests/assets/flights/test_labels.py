"""The labelled events: what a request knows, and nothing of what happened after it."""

from datetime import UTC, datetime

import polars as pl
import pytest

from assets._declared import declared
from assets.flights._paths import (
    AIRLINES,
    AIRPORTS,
    FLIGHTS,
    LANDED_AIRLINES,
    LANDED_AIRPORTS,
    LANDED_FLIGHTS,
    LANDED_PLANES,
    PLANES,
)
from assets.flights._views import FEATURES, VIEWS
from assets.flights.datasets import airlines, airports, flights, planes
from assets.flights.labels import LABEL, LABEL_KNOWN_AT, PREDICT_AT, labels
from assets.flights.product import PRODUCT
from headwater.testing.frames import audit_of, inputs, verdicts
from headwater.testing.product_checks import check_product
from tests.scenario import AIRLINES_TEXT, AIRPORTS_TEXT, AWKWARD_FLIGHTS, PLANES_TEXT, flight, landed_flights


def lake(*rows: dict[str, str]) -> dict[str, pl.DataFrame]:
    held = {
        LANDED_FLIGHTS: landed_flights(rows),
        AIRPORTS: airports(inputs({LANDED_AIRPORTS: AIRPORTS_TEXT})),
        AIRLINES: airlines(inputs({LANDED_AIRLINES: AIRLINES_TEXT})),
    }
    typed = flights(inputs(held), "2013-01").data.with_columns(pl.lit("2013-01").alias("period"))
    return {FLIGHTS: typed, PLANES: planes(inputs({LANDED_PLANES: PLANES_TEXT}))}


def labelled(*rows: dict[str, str]) -> pl.DataFrame:
    return labels(inputs(lake(*rows))).data.collect()


def test_a_label_row_has_what_a_request_knows() -> None:
    row = labelled(flight()).row(0, named=True)
    assert row[PREDICT_AT] == datetime(2013, 1, 10, 13, 30, tzinfo=UTC)
    assert (row["month"], row["distance"], row["tailnum"]) == (1, 1400, "N1")
    assert row["scheduled_departure"] == datetime(2013, 1, 10, 15, 30, tzinfo=UTC)
    assert row["scheduled_arrival"] == datetime(2013, 1, 10, 19, 30, tzinfo=UTC)
    assert row[LABEL] == 0


def test_each_flight_has_one_row_whatever_became_of_it() -> None:
    rows = labelled(*AWKWARD_FLIGHTS.values())
    assert rows.height == len(AWKWARD_FLIGHTS)
    assert rows.filter(pl.col(LABEL).is_null())["flight"].sort().to_list() == [104, 105]


@pytest.mark.parametrize("delay", ["-40", "0", "15", "16", "900"])
def test_a_request_does_not_change_with_what_happens_to_its_flight(delay: str) -> None:
    hindsight = [LABEL, LABEL_KNOWN_AT]
    usual = labelled(flight()).drop(hindsight)
    changed = labelled(flight(arr_delay=delay, dep_delay=delay, dep_time="1", arr_time="2", air_time="90"))
    assert changed.drop(hindsight).equals(usual)


def test_no_feature_of_the_model_is_known_after_the_prediction() -> None:
    told_later = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "departure", "arrival", LABEL}
    told_later |= {LABEL_KNOWN_AT, "cancelled", "diverted"}
    assert not told_later & set(FEATURES)
    assert not told_later - {LABEL} & set(PRODUCT.labels.columns if PRODUCT.labels else ())


def test_a_label_known_before_its_prediction_breaks_the_contract() -> None:
    held = lake(*AWKWARD_FLIGHTS.values())
    rows = labels(inputs(held)).data.collect()
    good = verdicts(labels, audit_of(labels, rows, base=held))
    assert good["known_after_event"].passed
    early = rows.with_columns(pl.col(PREDICT_AT).dt.offset_by("-1h").alias(LABEL_KNOWN_AT))
    assert not verdicts(labels, audit_of(labels, early, base=held))["known_after_event"].passed


def test_the_product_obeys_the_rules_and_its_views_have_names_of_their_own() -> None:
    """The command knew the derived assets too, and told flights to give its order of a training a check: nobody could."""
    assert check_product(PRODUCT) == ()
    assert check_product(PRODUCT, declared(PRODUCT)) == (), "as `headwater product check` asks"
    outputs = [name for view in VIEWS for name in view.outputs.values()]
    assert len(set(outputs)) == len(outputs)
    assert PRODUCT.model is not None
    assert len(set(PRODUCT.model.features)) == len(PRODUCT.model.features)
