"""What moved in service is a failed check, a column of the page and a number: once, only the report's JSON said it."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain._in_service import IN_SERVICE, in_service
from assets._chain._performance import REPORT_FILE, performance_asset
from assets._chain._performance_history import SETTLED
from assets._chain._performance_page import PAGE_FILE
from headwater.product import Product, Verdict
from headwater.testing.frames import audit_of, verdicts
from tests.assets.test_loop import DAY, PRODUCT, RULES, START, answers, released, truth
from tests.assets.test_windows_settle import Reports, both_versions

CHECKS = ("no_served_column_shifted", "served_scores_did_not_shift", "calibration_holds")


def moved(rows: pl.DataFrame, *, until: int = 99, since: int = 0) -> pl.DataFrame:
    """Everybody has the plan basic, and scores are half of what they were, on some days."""
    is_then = pl.col("at").is_between(START + since * DAY, START + until * DAY, closed="left")
    features = pl.col("features").str.replace("gold", "basic")
    return rows.with_columns(
        pl.when(is_then).then(features).otherwise("features").alias("features"),
        pl.when(is_then).then(pl.col("score") / 2).otherwise("score").alias("score"),
    )


def told(reports: Reports) -> dict[str, Verdict]:
    """The verdicts of the newest report's checks about the window in service."""
    asset = performance_asset(reports.product)
    found = verdicts(asset, audit_of(asset, pl.DataFrame(), facts=reports.facts))
    return {name: found[name] for name in CHECKS}


def passed(reports: Reports) -> list[bool]:
    return [verdict.passed for verdict in told(reports).values()]


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    made = Reports(tmp_path / "reports")
    made.live = released(tmp_path / "live")
    return made


def test_what_moved_in_the_newest_window_in_service_is_a_failed_check(reports: Reports) -> None:
    labels = truth(16)
    found = reports.made(labels, moved(answers(labels)))
    assert passed(reports) == [False, False, False]
    said = {name: verdict.description for name, verdict in told(reports).items()}
    assert said["no_served_column_shifted"].startswith("Of 2 columns 1 shifted in the window of 2013-01-14")
    assert "plan (" in said["no_served_column_shifted"]
    assert said["served_scores_did_not_shift"].startswith("The scores in the window of 2013-01-14 shifted by ")
    assert said["calibration_holds"].startswith("The calibration is lost in the window of 2013-01-14 (error ")
    assert "surely beyond the limit" in said["calibration_holds"]
    calibration = found[1]["calibration"]
    changes = reports.facts[IN_SERVICE]["calibration"]["changes"]
    for name, change in changes.items():
        wanted = [calibration[name][end] - calibration["reference"][name] for end in ("low", "value", "high")]
        assert [change["low"], change["value"], change["high"]] == pytest.approx(wanted, abs=1e-5)
        assert wanted == sorted(wanted)
    page = (reports.folder / "report-1" / PAGE_FILE).read_text()
    assert "<th>calibration beside the evaluation" in page
    bias = changes["bias"]
    assert f", bias {bias['value']:+.3f} [{bias['low']:+.3f}, {bias['high']:+.3f}], lost" in page


def test_a_window_like_the_training_holds_all_claims(reports: Reports) -> None:
    labels = truth(16)
    reports.made(labels, answers(labels))
    assert passed(reports) == [True, True, True]
    assert not any(verdict.description for verdict in told(reports).values()), "all were compared"
    assert "lost" not in (reports.folder / "report-1" / PAGE_FILE).read_text()


@pytest.mark.parametrize(("since", "until"), [(0, 7), (14, 99)], ids=["a window before", "one that goes on"])
def test_the_newest_window_that_is_over_counts(reports: Reports, since: int, until: int) -> None:
    labels = truth(16)
    reports.made(labels, moved(answers(labels), since=since, until=until))
    assert passed(reports) == [True, True, True]


def test_calibration_waits_for_labels_and_drift_does_not(reports: Reports) -> None:
    labels = truth(16)
    known = labels.filter(pl.col("at") < START + 9 * DAY)
    asked = moved(answers(labels), since=7)
    reports.made(known, asked, started=START + 16 * DAY)
    assert passed(reports) == [False, False, True]
    found = reports.facts[IN_SERVICE]
    assert [found[name]["window"][:10] for name in ("features", "scores", "calibration")] == [
        "2013-01-14", "2013-01-14", "2013-01-07",
    ]  # fmt: skip


def test_before_the_first_release_nothing_was_compared_and_that_is_said(tmp_path: Path) -> None:
    reports, labels = Reports(tmp_path), truth(16)
    reports.made(labels, moved(answers(labels)))
    assert passed(reports) == [True, True, True]
    said = [verdict.description for verdict in told(reports).values()]
    assert said[:2] == ["Nothing was compared: no version is live, or its bundle is not there."] * 2
    assert said[2] == "Nothing was compared: no window that the live version answered alone has its labels."


def test_what_another_version_answered_is_no_loss_of_the_live_one(reports: Reports) -> None:
    labels = truth(16)
    reports.made(labels, moved(both_versions(labels, START + 14 * DAY)))
    found = told(reports)
    assert [found[name].passed for name in CHECKS[1:]] == [True, True]
    assert all(found[name].description.startswith("Nothing was compared: ") for name in CHECKS[1:])


def test_what_was_compared_with_the_version_before_says_nothing_of_the_live_one(reports: Reports) -> None:
    labels = truth(16)
    windows = reports.made(labels, moved(answers(labels)))
    found = in_service(windows, now=START + 16 * DAY, version="2.0.0")
    assert [found[name]["window"] for name in ("features", "scores", "calibration")] == [None] * 3


def test_how_much_calibration_may_change_is_declared(tmp_path: Path) -> None:
    lenient = replace(PRODUCT, performance=replace(RULES, calibration_rise=0.9))
    reports, labels = Reports(tmp_path / "reports", lenient), truth(16)
    reports.live = released(tmp_path / "live")
    reports.made(labels, moved(answers(labels)))
    assert passed(reports) == [False, False, True]


def rewritten(reports: Reports, number: int) -> None:
    """A report as the Headwater before wrote it: no limit of calibration, and nothing of the newest window."""
    file = reports.folder / f"report-{number}" / REPORT_FILE
    document: dict[str, Any] = json.loads(file.read_text())
    del document["declaration"]["rules"]["calibration_rise"], document[IN_SERVICE]
    for window in document["windows"]:
        del window["score_shifted"]
        if window["calibration"] is not None:
            del window["calibration"]["compared_with"]
    file.write_text(json.dumps(document))


@pytest.mark.parametrize("rise", [0.02, 0.5])
def test_a_report_of_before_the_limit_could_be_declared_stands_where_that_is_the_usual_one(
    tmp_path: Path, rise: float
) -> None:
    """An upgrade made all windows anew, those too whose predictions were dropped."""
    labels, days = truth(60), int(SETTLED / DAY)
    old = Reports(tmp_path / "reports", PRODUCT)
    old.live = released(tmp_path / "live")
    old.made(labels.filter(pl.col("at") < START + (9 + days) * DAY), answers(labels.head(10 * (8 + days))))
    rewritten(old, 1)
    product: Product = replace(PRODUCT, performance=replace(RULES, calibration_rise=rise))
    new, kept = Reports(tmp_path / "reports", product), answers(labels).filter(pl.col("at") >= START + 7 * DAY)
    new.live, new._made = old.live, 1
    found = new.made(labels, kept, started=START + 62 * DAY)
    is_kept = found[0]["start"] == START.isoformat()
    assert is_kept is (rise == 0.02)
    assert new.facts[IN_SERVICE]["scores"]["window"] is not None
    if is_kept:
        windows = [window for window in found if window["start"] == START.isoformat()]
        seen = in_service(windows, now=START + timedelta(days=7), version="1.0.0")
        assert [seen[name]["window"] for name in ("scores", "calibration")] == [None, START.isoformat()]
