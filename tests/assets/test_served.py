"""What versions did not find in the last 24 hours, in the service report, each beside the training in its own bundle."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain._failures import SCHEMA
from assets._chain._performance import REPORT_FILE as PERFORMANCE_FILE
from assets._chain._service_page import PAGE_FILE
from assets._chain._service_report import REPORT_FILE, service_report_asset
from headwater.materialize import RecordingInputs
from headwater.models.bundle import REQUEST_FILE
from tests.assets.test_loop import answers, truth
from tests.release_scene import Scene
from tests.serving.conftest import bundle

VIEW = "calls_of"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """0.9.0 learned from rows of which half had nothing of the view; 1.0.0 is live, and learned from rows of which a tenth had nothing."""
    made = Scene(tmp_path / "scene")
    for version, share in (("0.9.0", 0.5), ("1.0.0", 0.1)):
        folder = bundle(tmp_path / version, slope=1 + share)
        request = json.loads((folder / REQUEST_FILE).read_text())
        (folder / REQUEST_FILE).write_text(json.dumps({**request, "defaulted": {VIEW: share}}))
        made.version(version, bundle=folder)
    return made


def reported(scene: Scene, rows: pl.DataFrame, folder: Path) -> tuple[dict[str, Any], list[str], str]:
    """The report on some answers, what speaks against `features_are_served`, and the page."""
    folder.mkdir()
    none = {PERFORMANCE_FILE: json.dumps({"windows": []})}
    for name, frame in (("predictions", rows), ("service_failures", pl.DataFrame(schema=SCHEMA))):
        scene._publish(name, lambda tx, path, frame=frame: tx.write_table(path, frame), {})
    held = folder / "performance"
    held.mkdir()
    (held / PERFORMANCE_FILE).write_text(none[PERFORMANCE_FILE])
    scene._publish("performance_report", lambda tx, path: tx.write_folder(path, held), {})
    asset = service_report_asset(scene.product)
    inputs = RecordingInputs(lake=scene.lake, snapshot=scene.lake.at("main"), asset=asset)
    made = folder / "service"
    made.mkdir()
    result = asset(inputs, made)
    document = json.loads((made / REPORT_FILE).read_text())
    return document, result.facts["problems"]["features_are_served"], (made / PAGE_FILE).read_text()


def asked(version: pl.Expr, defaulted: pl.Expr) -> pl.DataFrame:
    """Answers of sixteen days, of which the last 24 hours count; before them everything read defaults."""
    rows = answers(truth(16, per_day=400))
    newest = rows["received"].max()
    is_old = pl.col("received") <= newest - timedelta(days=1)
    said = pl.lit(json.dumps({VIEW: "stale"}))
    return rows.with_columns(version=version, reasons=pl.when(is_old | defaulted).then(said).otherwise(pl.lit("{}")))


def test_a_version_is_held_to_the_training_in_its_own_bundle(scene: Scene, tmp_path: Path) -> None:
    by = pl.when(pl.col("customer") % 2 == 0).then(pl.lit("1.0.0")).otherwise(pl.lit("0.9.0"))
    document, problems, page = reported(scene, asked(by, pl.col("customer") % 10 < 4), tmp_path / "report")
    told = {one["version"]: one for one in document["served"]}
    assert {version: (one["trained"], one["share"]) for version, one in told.items()} == {
        "0.9.0": (0.5, pytest.approx(0.4)), "1.0.0": (0.1, pytest.approx(0.4)),
    }  # fmt: skip
    assert problems == [f"1.0.0, {VIEW}: {told['1.0.0']['problem']}."]
    assert "more than in training" in page


def test_what_was_before_the_last_24_hours_is_over(scene: Scene, tmp_path: Path) -> None:
    document, problems, _ = reported(scene, asked(pl.lit("1.0.0"), pl.lit(False)), tmp_path / "report")
    assert [(one["share"], one["reasons"]) for one in document["served"]] == [(0.0, {})]
    assert problems == []


def test_a_version_that_nobody_published_is_told_and_not_judged(scene: Scene, tmp_path: Path) -> None:
    document, problems, page = reported(scene, asked(pl.lit("ensemble"), pl.lit(True)), tmp_path / "report")
    assert [(one["version"], one["trained"], one["share"]) for one in document["served"]] == [("ensemble", None, 1.0)]
    assert problems == []
    assert "not known" in page
