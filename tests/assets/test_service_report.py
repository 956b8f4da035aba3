"""The service report: promises by day, budgets, accuracy, age of features; what speaks against each claim is told by its check."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain._failures import SCHEMA
from assets._chain._performance import REPORT_FILE as PERFORMANCE_FILE
from assets._chain._service_page import PAGE_FILE
from assets._chain._service_report import REPORT_FILE, service_report_asset
from headwater.features import FeatureView
from headwater.monitoring import ServiceLevels
from headwater.product import Product
from headwater.testing.frames import HeldInputs, HeldSnapshot
from tests.assets.test_loop import DAY, PATHS, PRODUCT, START, answers, outcomes, released, report, truth

BUSY = replace(PRODUCT, service_levels=ServiceLevels(min_requests=5, freshness=2 * DAY))
NONE = pl.DataFrame(schema=SCHEMA)


def failed(day: int, count: int) -> pl.DataFrame:
    row = {"received": START + day * DAY, "version": "1.0.0", "code": "deadline", "count": count, "commit": "c"}
    return pl.DataFrame([row], schema=SCHEMA)


def made(
    folder: Path, rows: pl.DataFrame, failures: pl.DataFrame = NONE, product: Product = BUSY, **past: HeldSnapshot
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The report, and what speaks against each claim."""
    folder.mkdir(exist_ok=True)
    held = folder / "performance"
    found = report(folder / "found", outcomes(truth(16), rows).data, rows)
    held.mkdir()
    (held / PERFORMANCE_FILE).write_text(json.dumps(found))
    (folder / "service").mkdir()
    inputs = HeldInputs(
        {PATHS.predictions: rows, PATHS.service_failures: failures, PATHS.performance_report: held},
        previous={**released(folder / "live"), **past},
    )
    result = service_report_asset(product)(inputs, folder / "service")
    document: dict[str, Any] = json.loads((folder / "service" / REPORT_FILE).read_text())
    return document, dict(result.facts["problems"])


def test_a_service_that_keeps_its_promises_has_nothing_against_it(tmp_path: Path) -> None:
    document, problems = made(tmp_path, answers(truth(16)))
    assert not any(problems.values())
    assert len(document["windows"]) == 16
    assert all(window["judged"] and not window["broken"] for window in document["windows"])
    assert document["accuracy"]["value"] == 1.0
    page = (tmp_path / "service" / PAGE_FILE).read_text()
    assert "2013-01-22" in page
    assert "It holds." in page


def test_slow_answers_and_failures_break_the_promises_of_their_day_and_burn_the_budget(tmp_path: Path) -> None:
    rows = answers(truth(16)).with_columns(
        latency_us=pl.when(pl.col("at") >= START + 14 * DAY).then(200_000).otherwise("latency_us")
    )
    document, problems = made(tmp_path, rows, pl.concat([failed(14, 3), failed(15, 3)]))
    assert "took up to 200 ms, 100 are promised" in problems["promises_were_kept"][0]
    assert "3 of 13 requests failed" in problems["promises_were_kept"][1]
    assert {one["budget"] for one in document["burning"]} == {"latency", "errors"}
    assert len(problems["no_budget_burns"]) == len(document["burning"])


def test_wrong_answers_and_old_features_are_told(tmp_path: Path) -> None:
    rows = answers(truth(16)).with_columns(decision=~pl.col("decision"))
    view = FeatureView(name="calls", path="shop/features/calls", entity=("customer",), features=("calls",))
    past = HeldSnapshot({view.path: pl.DataFrame({"known_at": [START + 10 * DAY]})})
    document, problems = made(tmp_path, rows, product=replace(BUSY, features=(view,)), **{view.path: past})
    assert "certainly more than 5% below 1.0000" in problems["accuracy_holds"][0]
    assert problems["features_are_fresh"] == ["calls: 5 days, 0:09:00 old."]
    assert document["views"][0]["stale"]


@pytest.mark.parametrize(("days", "is_stale"), [(4, True), (6, False), (None, False)])
def test_without_a_declared_freshness_a_view_is_stale_when_its_rows_are_too_old_to_be_used(
    tmp_path: Path, days: int | None, is_stale: bool
) -> None:
    """Nothing declared a freshness, so that the claim could not fail, whatever had stopped."""
    ttl = None if days is None else days * DAY
    view = FeatureView(name="calls", path="shop/features/calls", entity=("customer",), features=("calls",), ttl=ttl)
    past = HeldSnapshot({view.path: pl.DataFrame({"known_at": [START + 10 * DAY]})})
    product = replace(PRODUCT, features=(view,))
    document, problems = made(tmp_path, answers(truth(16)), product=product, **{view.path: past})
    assert document["views"][0]["stale"] is is_stale
    assert problems["features_are_fresh"] == (["calls: 5 days, 0:09:00 old."] if is_stale else [])


def test_days_that_are_long_over_stay_as_they_were_reported(tmp_path: Path) -> None:
    first, _ = made(tmp_path / "first", answers(truth(16)))
    later = answers(truth(60)).filter(pl.col("at") >= START + 50 * DAY)
    second, _ = made(
        tmp_path / "second",
        later,
        **{PATHS.service_report: HeldSnapshot({PATHS.service_report: tmp_path / "first" / "service"})},
    )
    assert second["windows"][:16] == first["windows"]
    assert len(second["windows"]) == 26
    other = replace(BUSY, service_levels=ServiceLevels(min_requests=6, latency=timedelta(milliseconds=1)))
    third, _ = made(
        tmp_path / "third", later, product=other,
        **{PATHS.service_report: HeldSnapshot({PATHS.service_report: tmp_path / "first" / "service"})},
    )  # fmt: skip
    assert len(third["windows"]) == 10


@pytest.mark.parametrize("product", [BUSY, PRODUCT])
def test_before_the_first_answer_there_is_a_report_of_nothing(tmp_path: Path, product: Product) -> None:
    document, problems = made(tmp_path, answers(truth(0)), product=product)
    assert document["windows"] == document["burning"] == []
    assert not any(problems.values())
    assert "Nothing was answered yet" in (tmp_path / "service" / PAGE_FILE).read_text()
