"""A version's accuracy is its own: in its part of the newest judged window, beside its own evaluation."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain._rules_of_requests import levels_of
from assets._chain._service_accuracy import accuracy_of
from assets._chain._service_report import service_report_asset
from headwater.materialize import RecordingInputs
from headwater.product import Product
from tests.assets.test_loop import PRODUCT, RULES, answers, outcomes, report, truth
from tests.release_scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """0.9.0 was evaluated at 0.82; 1.0.0, at 0.99, is live."""
    made = Scene(tmp_path / "scene")
    made.version("0.9.0", accuracy=0.82)
    made.version("1.0.0", accuracy=0.99)
    return made


def found(scene: Scene, folder: Path, by: pl.Expr, wrong: pl.Expr, product: Product = PRODUCT) -> dict[str, Any]:
    """What is said of answers by these versions, with these decisions wrong."""
    labels = truth(16, per_day=30)
    rows = answers(labels).with_columns(
        version=by, variant=by, decision=pl.when(wrong).then(~pl.col("decision")).otherwise("decision")
    )
    report(folder, outcomes(labels, rows, product).data, rows, product=product)
    scene._publish("performance_report", lambda tx, path: tx.write_folder(path, folder), {})
    asset = service_report_asset(scene.product)
    inputs = RecordingInputs(lake=scene.lake, snapshot=scene.lake.at("main"), asset=asset)
    told = accuracy_of(inputs, scene.product, levels_of(scene.product))
    assert told is not None
    return {"live": told["live"], **{one["version"]: one for one in told["versions"]}}


def test_a_version_is_not_blamed_for_what_another_one_answered(scene: Scene, tmp_path: Path) -> None:
    """What 0.9.0 had answered was held to the evaluation of 1.0.0, live for a minute: the report said that it lost a fifth."""
    told = found(scene, tmp_path / "report", pl.lit("0.9.0"), pl.col("customer") % 5 == 0)
    assert told.pop("live") == "1.0.0"
    assert set(told) == {"0.9.0"}
    assert (told["0.9.0"]["value"], told["0.9.0"]["reference"]) == (pytest.approx(0.8), 0.82)
    assert told["0.9.0"]["problem"] is None


def test_a_version_that_went_is_held_to_its_own_evaluation(scene: Scene, tmp_path: Path) -> None:
    told = found(scene, tmp_path / "report", pl.lit("0.9.0"), pl.col("customer") % 2 == 0)
    limit = 1 - levels_of(scene.product).accuracy_drop
    assert (told["0.9.0"]["problem"] is not None) == (told["0.9.0"]["high"] < 0.82 * limit)
    assert "below 0.8200" in told["0.9.0"]["problem"]


def test_of_several_versions_each_is_judged_by_its_own_part(scene: Scene, tmp_path: Path) -> None:
    by = pl.when(pl.col("customer") % 2 == 0).then(pl.lit("1.0.0")).otherwise(pl.lit("0.9.0"))
    told = found(scene, tmp_path / "report", by, pl.col("customer") % 2 == 0)
    assert (told["1.0.0"]["value"], told["0.9.0"]["value"]) == (0.0, 1.0)
    assert "below 0.9900" in told["1.0.0"]["problem"]
    assert told["0.9.0"]["problem"] is None


def test_versions_that_the_report_does_not_tell_apart_are_not_compared(scene: Scene, tmp_path: Path) -> None:
    by = pl.when(pl.col("customer") % 2 == 0).then(pl.lit("1.0.0")).otherwise(pl.lit("0.9.0"))
    product = replace(PRODUCT, performance=replace(RULES, slices=("plan",)))
    told = found(scene, tmp_path / "report", by, pl.col("customer") % 2 == 0, product)
    assert told["1.0.0"]["problem"] is None
    assert told["1.0.0"]["reason"] == "several versions answered, and the report is not sliced by `version`"


def test_a_version_without_an_evaluation_is_not_compared(scene: Scene, tmp_path: Path) -> None:
    told = found(scene, tmp_path / "report", pl.lit("0.8.0"), pl.col("customer") % 2 == 0)
    assert (told["0.8.0"]["problem"], told["0.8.0"]["reason"]) == (None, "its evaluation is not there")


def test_a_version_whose_part_has_too_few_days_is_not_said_to_hold(scene: Scene, tmp_path: Path) -> None:
    """It answered on the two last days of the week: no interval, and so no promise that is kept or broken."""
    is_late = pl.col("at").dt.weekday() >= 6
    by = pl.when(is_late).then(pl.lit("1.0.0")).otherwise(pl.lit("0.9.0"))
    told = found(scene, tmp_path / "report", by, is_late)
    assert (told["1.0.0"]["value"], told["1.0.0"]["high"], told["1.0.0"]["problem"]) == (0.0, None, None)
    assert told["1.0.0"]["reason"] == "it has too few days for an interval"
    assert told["0.9.0"]["reason"] == ""
