"""When a window of the performance report is settled, and what becomes of it when labels, requests or retention say otherwise."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain._causes import _upstream, causes_asset
from assets._chain._causes_page import PAGE_FILE as CAUSES_PAGE
from assets._chain._performance import NEWEST_FACT, REPORT_FILE, performance_asset
from assets._chain._performance_page import PAGE_FILE
from headwater.lake import Kind
from headwater.materialize import RecordingInputs, Run, materialize
from headwater.monitoring import LOCAL_DAY, Windowing
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Serving, Verdict
from headwater.testing.frames import HeldInputs, HeldSnapshot, audit_of, verdicts
from tests.assets.test_loop import (
    DAY,
    LABELS,
    NEW_DAY,
    PATHS,
    PRODUCT,
    RULES,
    START,
    UNWATCHED,
    answers,
    causes,
    decided,
    learned,
    outcomes,
    outcomes_asset,
    released,
    report,
    truth,
)
from tests.release_scene import Scene


class Reports:
    """Reports one after the other, each knowing the one before."""

    def __init__(self, folder: Path, product: Product = PRODUCT) -> None:
        self.folder, self.product, self.facts = folder, product, dict[str, Any]()
        self.asset = performance_asset(product)
        self.live: dict[str, HeldSnapshot] = {}
        self._made = 0

    def made(
        self, labels: pl.DataFrame, predictions: pl.DataFrame, *, started: datetime | None = None
    ) -> list[dict[str, Any]]:
        """The windows of one more report."""
        held = HeldInputs(
            {LABELS: labels, **NEW_DAY},
            previous={PATHS.predictions: HeldSnapshot({PATHS.predictions: predictions})},
            started=started,
        )
        rows = outcomes_asset(self.product)(held).data
        past = {
            PATHS.predictions: HeldSnapshot({PATHS.predictions: predictions}),
            PATHS.training_set: HeldSnapshot({PATHS.training_set: learned()}),
            **self.live,
        }
        if self._made:
            past[PATHS.performance_report] = HeldSnapshot(
                {PATHS.performance_report: self.folder / f"report-{self._made}"}
            )
        self._made += 1
        folder = self.folder / f"report-{self._made}"
        folder.mkdir(parents=True)
        self.facts = self.asset(HeldInputs({PATHS.outcomes: rows}, previous=past, started=started), folder).facts
        found: list[dict[str, Any]] = json.loads((folder / REPORT_FILE).read_text())["windows"]
        return found


def by(day: int, labels: pl.DataFrame, *, delivered: Iterable[int] | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Labels known and requests asked by a day, at least one label."""
    newest = day if delivered is None else max((one for one in delivered if one <= day), default=0)
    there = labels.filter(pl.col("known") <= START + newest * DAY)
    asked = answers(labels).filter(pl.col("received") <= START + day * DAY)
    return (there if there.height else labels.head(1).clear()), asked


def judged(windows: Sequence[dict[str, Any]]) -> list[bool]:
    return [window["overall"]["judged"] for window in windows]


def rows(windows: Sequence[dict[str, Any]]) -> list[int]:
    return [window["overall"]["rows"] for window in windows]


def test_labels_that_take_five_weeks_still_have_their_windows_judged(tmp_path: Path) -> None:
    """A window counted as settled four weeks after its end, judged or not: none ever was."""
    labels, reports = truth(70, lag=35 * DAY), Reports(tmp_path / "often")
    for day in range(2, 71, 4):
        found = reports.made(*by(day, labels))
    assert judged(found) == [True] * 5 + [False] * 5
    once = Reports(tmp_path / "once").made(*by(70, labels))
    assert [window["overall"] for window in found] == [window["overall"] for window in once]


def test_labels_that_come_in_once_a_month_have_every_window_judged(tmp_path: Path) -> None:
    labels, reports = truth(70, lag=5 * DAY), Reports(tmp_path)
    for day in (31, 62, 69):
        found = reports.made(*by(day, labels, delivered=(31, 62, 69)))
    assert judged(found) == [True] * 9 + [False]
    assert not reports.facts["without_labels"]


def test_a_window_that_was_reported_while_it_went_on_is_looked_at_again_six_weeks_later(tmp_path: Path) -> None:
    labels, reports = truth(56), Reports(tmp_path)
    assert rows(reports.made(*by(10, labels))) == [70, 31]
    found = reports.made(*by(56, labels))
    assert (rows(found)[1], judged(found)[1]) == (70, True)


def test_a_window_is_settled_by_the_report_that_judged_it_long_after_its_end(tmp_path: Path) -> None:
    """And stays so, whatever the labels say later; one that was judged shortly after its end takes what came in since."""
    labels, reports = truth(42), Reports(tmp_path)
    turned = labels.with_columns((1 - pl.col("left")).cast(pl.Int8).alias("left"))
    early = reports.made(*by(10, labels))
    late = reports.made(by(41, turned)[0], by(41, labels)[1])
    assert judged(early)[0]
    assert late[0]["overall"]["metrics"] != early[0]["overall"]["metrics"]
    again = reports.made(*by(42, labels))
    assert again[0] == late[0], "five weeks after its end"
    assert again[1]["overall"]["metrics"] != late[1]["overall"]["metrics"], "27 days after its end"


def test_a_window_that_is_never_judged_holds_up_none_that_come_after(tmp_path: Path) -> None:
    """What is judged beside it stays settled, and the list of windows has no gap."""
    labels, reports = truth(63), Reports(tmp_path)
    # Of the second week's customers nobody ever says anything, and in the fourth nobody asks.
    silent = labels.filter(~pl.col("at").is_between(START + 7 * DAY, START + 14 * DAY, closed="left"))

    def asked(day: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        there = by(day, silent)[0]
        every = answers(labels).filter(pl.col("received") <= START + day * DAY)
        quiet = pl.col("at").is_between(START + 21 * DAY, START + 28 * DAY, closed="left")
        return there, every.filter(~quiet)

    first = reports.made(*asked(50))
    second = reports.made(*asked(62))
    assert judged(first) == [True, False, True, False, True, True, True, False]
    assert judged(second) == [True, False, True, False, True, True, True, True, False]
    assert second[0] == first[0]
    assert [window["start"] for window in second] == [(START + week * 7 * DAY).isoformat() for week in range(9)]
    assert second[3]["overall"]["reason"] == "nothing was predicted"
    assert [start[:10] for start in reports.facts["without_labels"]] == ["2013-01-14"]


def kept_for_two_weeks(
    folder: Path, labels: pl.DataFrame, *, until: int
) -> tuple[Reports, list[dict[str, Any]], pl.DataFrame, pl.DataFrame]:
    """A report every other day; the reports, the last one's windows, its labels, and the predictions that are still kept."""
    reports = Reports(folder, replace(PRODUCT, serving=Serving(keep=14 * DAY), rollout=UNWATCHED))
    for day in range(5, until, 2):
        there, asked = by(day, labels)
        kept = asked.filter(pl.col("received") >= START + (day - 14) * DAY)
        found = reports.made(there, kept, started=START + day * DAY)
    return reports, found, there, kept


def test_what_retention_takes_from_the_predictions_it_does_not_take_from_their_windows(tmp_path: Path) -> None:
    """Fourteen days of predictions were kept, and of every older window a few rows, or none, were judged in place of all."""
    labels = truth(40)
    _, found, _, _ = kept_for_two_weeks(tmp_path, labels, until=40)
    assert rows(found) == [70, 70, 70, 70, 70, 41]
    assert judged(found) == [True] * 5 + [False]


def test_a_window_whose_predictions_are_gone_before_its_labels_came_says_so(tmp_path: Path) -> None:
    labels = truth(50, lag=20 * DAY)
    reports, found, _, _ = kept_for_two_weeks(tmp_path, labels, until=50)
    assert rows(found)[:4] == [70, 70, 70, 70]
    assert not any(judged(found))
    assert found[0]["overall"]["reason"].endswith("and its predictions are no longer kept (Serving.keep)")
    assert found[0]["dropped"] is True
    asset = reports.asset
    warned = verdicts(asset, audit_of(asset, pl.DataFrame(), facts=reports.facts))["labels_come_in"]
    assert "2013-01-07" in warned.description


def test_the_causes_leave_out_windows_whose_predictions_are_no_longer_kept(tmp_path: Path) -> None:
    """Of the weeks before a few rows were left, and the newest one was compared with those as if they were all."""
    labels = truth(40)
    _, found, there, kept = kept_for_two_weeks(tmp_path, labels, until=40)
    held = {PATHS.predictions: HeldSnapshot({PATHS.predictions: kept})}
    rows = outcomes_asset(PRODUCT)(HeldInputs({LABELS: there, **NEW_DAY}, previous=held)).data
    told = causes(tmp_path / "causes", {"windows": found}, rows, held)
    assert [window["start"][:10] for window in (*told["before"], told["window"])] == ["2013-02-04"]
    assert told["reason"] == "There is no judged window before it whose predictions are kept."
    gone = kept.filter(pl.col("received") >= START + 35 * DAY)
    told = causes(
        tmp_path / "later", {"windows": found}, rows, {PATHS.predictions: HeldSnapshot({PATHS.predictions: gone})}
    )
    assert (told["window"], told["reason"][-41:]) == (None, "2013-02-04, are no longer kept (Serving.keep)."[-41:])


def test_a_past_that_is_played_again_is_not_taken_for_one_that_retention_dropped(tmp_path: Path) -> None:
    """Its requests came in years after what they are about: all of them are there."""
    labels = truth(30)
    reports = Reports(tmp_path, replace(PRODUCT, serving=Serving(keep=30 * DAY), rollout=UNWATCHED))
    played = START + timedelta(days=4_000)
    for day in (5, 12, 29):
        there, _ = by(day, labels)
        asked = answers(labels).filter(pl.col("at") <= START + day * DAY).with_columns(received=pl.lit(played))
        found = reports.made(there, asked, started=played + DAY)
    assert judged(found) == [True, True, True, True, False]


def test_a_question_about_a_time_far_ahead_is_no_reason_for_no_report(tmp_path: Path) -> None:
    """By a service's clock that is wrong by a century, say."""
    labels, reports = truth(16), Reports(tmp_path)
    asked = answers(labels)
    far = asked.head(1).with_columns(
        at=START + timedelta(days=36_500), request_id=pl.lit("far"), customer=pl.lit(10_000, pl.Int64)
    )
    found = reports.made(labels, pl.concat([asked, far.select(asked.columns)], how="vertical_relaxed"))
    assert judged(found) == [True, True, False]
    assert (reports.facts["too_far"], reports.facts["too_old"]) == (1, 0)


@pytest.mark.parametrize("weeks", [1, 8])
def test_the_drift_of_a_window_that_waits_for_labels_stays_four_weeks_after_its_end(tmp_path: Path, weeks: int) -> None:
    """Else each report would read all features since the oldest window without labels, and compare them with whatever is live by then."""
    labels, reports = truth(63, lag=60 * DAY), Reports(tmp_path)
    reports.live = released(tmp_path / "live")
    before = reports.made(*by(7 * weeks, labels))
    there, asked = by(62, labels)
    moved = asked.with_columns(pl.col("features").str.replace("gold", "basic"))
    after = reports.made(there, moved)
    assert (after[0]["drift"] == before[0]["drift"]) is (weeks == 8)


def slow_leavers() -> tuple[pl.DataFrame, pl.DataFrame]:
    """All customers of nine days, and those whose label has come in: who stays is known after a day, who leaves after a week."""
    labels = truth(9, per_day=40)
    known = pl.when(pl.col("left") == 0).then(pl.col("at") + DAY).otherwise(pl.col("at") + 7 * DAY)
    labels = labels.with_columns(known.alias("known"))
    return labels, labels.filter(pl.col("known") <= START + 9 * DAY)


def sliced(windows: Sequence[dict[str, Any]], column: str) -> dict[str | None, dict[str, Any]]:
    return {part["value"]: part["performance"] for part in windows[0]["slices"] if part["column"] == column}


def test_a_slice_holds_the_events_that_await_their_label_too(tmp_path: Path) -> None:
    """Its column was taken from the label's row alone: of each slice all labels were known, and they were the first ones."""
    labels, there = slow_leavers()
    found = Reports(tmp_path).made(there, answers(labels))
    plans = sliced(found, "plan")
    assert set(plans) == {"basic", "gold"}
    assert [(plan["rows"], plan["judged"]) for plan in plans.values()] == [(140, False), (140, False)]
    assert all(plan["coverage"] == pytest.approx(0.76, abs=0.01) for plan in plans.values())


def test_where_only_the_label_says_the_slice_none_is_judged_before_its_window(tmp_path: Path) -> None:
    labels, there = slow_leavers()
    silent = answers(labels).with_columns(pl.col("features").str.replace('"plan": "[a-z]+", ', ""))
    plans = sliced(Reports(tmp_path / "early").made(there, silent), "plan")
    assert set(plans) == {"basic", "gold", None}
    assert not any(plan["judged"] for plan in plans.values())
    assert plans["gold"]["reason"] == "67 events that await a label have no plan yet"
    late = sliced(Reports(tmp_path / "late").made(labels, silent), "plan")
    assert [plan["judged"] for plan in late.values()] == [True, True]


@pytest.mark.parametrize("name", ["calls", "calls.night", "calls night", "calls-night", "Anrufe_Ü"])
@pytest.mark.parametrize("column", ["features", "request"])
def test_a_slice_has_the_name_that_the_model_or_the_request_gives_it(name: str, column: str) -> None:
    labels = truth(2)
    said = [json.dumps({name: float(customer % 5)}, ensure_ascii=False) for customer in labels["customer"]]
    asked = answers(labels).with_columns(pl.lit("{}").alias("features")).with_columns(pl.Series(column, said))
    product = replace(PRODUCT, performance=replace(RULES, slices=(name,)))
    held = {PATHS.predictions: HeldSnapshot({PATHS.predictions: asked})}
    found = outcomes_asset(product)(HeldInputs({LABELS: labels, **NEW_DAY}, previous=held)).data
    assert found[name].to_list()[:3] == ["0.0", "1.0", "2.0"]


def test_a_number_is_in_one_slice_whether_the_label_says_it_or_the_model() -> None:
    labels = truth(4).with_columns(pl.col("customer").mod(5).alias("calls"))
    product = replace(PRODUCT, performance=replace(RULES, slices=("calls",)))
    held = {PATHS.predictions: HeldSnapshot({PATHS.predictions: answers(labels)})}
    found = outcomes_asset(product)(HeldInputs({LABELS: labels.head(20), **NEW_DAY}, previous=held)).data
    assert found["calls"].unique().sort().to_list() == ["0", "1", "2", "3", "4"]


def test_labels_that_say_when_they_will_be_known_are_not_known_before(tmp_path: Path) -> None:
    """Who stays is known after 90 days: until then its label is null, and it counted as one that will never have any."""
    labels = truth(21)
    stays = pl.when(pl.col("left") == 0)
    ahead = labels.with_columns(
        stays.then(pl.col("at") + 90 * DAY).otherwise("known").alias("known"),
        stays.then(None).otherwise("left").alias("left"),
    )
    reports = Reports(tmp_path)
    found = reports.made(ahead, answers(labels))
    assert not any(judged(found))
    assert found[0]["overall"]["without_truth"] == 0
    assert reports.facts["now"] < (START + 22 * DAY).isoformat()


def test_no_label_and_no_request_knows_more_than_the_build_that_reads_it(tmp_path: Path) -> None:
    """One label of 2099, and a service whose clock was a century ahead, each told all windows that their time was over."""
    labels, started = truth(16), START + 17 * DAY
    far = labels.with_columns(
        pl.when(pl.col("customer") == 5).then(datetime(2099, 1, 1, tzinfo=UTC)).otherwise("known").alias("known")
    )
    reports = Reports(tmp_path)
    found = reports.made(far, answers(labels), started=started)
    assert reports.facts["now"] <= started.isoformat()
    assert judged(found) == [True, True, False]
    wrong = answers(labels).with_columns(
        pl.when(pl.col("customer") == 5).then(pl.col("received") + 36_500 * DAY).otherwise("received").alias("received")
    )
    reports.made(labels, wrong, started=started)
    assert reports.facts["now"] <= started.isoformat()


def test_a_request_about_a_time_to_come_knows_when_it_came_in(tmp_path: Path) -> None:
    labels, reports = truth(50), Reports(tmp_path)
    asked = answers(labels).with_columns(pl.col("at") - 40 * DAY).select(answers(labels).columns)
    ahead = answers(labels).with_columns(asked["at"].alias("received")).filter(pl.col("received") <= START + 8 * DAY)
    reports.made(labels.filter(pl.col("known") <= START + 8 * DAY), ahead)
    assert reports.facts["now"] == (START + 8 * DAY).isoformat()


def both_versions(labels: pl.DataFrame, since: datetime) -> pl.DataFrame:
    """0.9.0 answered until then, and read no calls; 1.0.0 is live since."""
    is_old = pl.col("at") < since
    version = pl.when(is_old).then(pl.lit("0.9.0")).otherwise("version").alias("version")
    without = pl.col("features").str.replace(r', "calls": [0-9.]+', "")
    return answers(labels).with_columns(version, pl.when(is_old).then(without).otherwise("features").alias("features"))


def test_what_a_version_did_not_read_has_not_moved(tmp_path: Path) -> None:
    """A field that is in no record was read as null: it had moved as far as can be."""
    labels, reports = truth(30, per_day=40), Reports(tmp_path)
    reports.live = released(tmp_path / "live")
    found = reports.made(labels, both_versions(labels, START + 10 * DAY))
    assert [set(window["drift"]) for window in found[:3]] == [{"plan"}, {"plan", "calls"}, {"plan", "calls"}]
    assert not any(window["shifted"] for window in found)
    assert [window["unsaid"] for window in found[:3]] == [{"calls": 280}, {"calls": 120}, {}]


def test_scores_of_one_version_are_not_held_against_another(tmp_path: Path) -> None:
    """The first minute of a new version judged all weeks of the one before by what the new one had promised."""
    labels, reports = truth(22), Reports(tmp_path)
    reports.live = released(tmp_path / "live")
    asked = both_versions(labels, START + 10 * DAY)
    is_old = pl.col("version") == "0.9.0"
    asked = asked.with_columns(pl.when(is_old).then(pl.col("score") / 2).otherwise("score").alias("score"))
    found = reports.made(labels, asked)
    old, both, own = (window["calibration"] for window in found[:3])
    assert (old["lost"], old["reference"]) == (False, None)
    assert old["reason"] == "Not compared: 0.9.0 answered, and the reference is of 1.0.0."
    assert both["reason"] == "Not compared: 0.9.0, 1.0.0 answered, and the reference is of 1.0.0."
    assert own["reference"] is not None
    assert [found[0]["score_drift"], found[1]["score_drift"]] == [None, None], "28 answers of 1.0.0, 50 are needed"
    assert found[2]["score_drift"] < 0.25


def test_a_feature_that_one_version_did_not_read_is_no_cause(tmp_path: Path) -> None:
    labels = truth(22, per_day=40)
    asked, live = both_versions(labels, START + 14 * DAY), released(tmp_path / "live")
    reports = Reports(tmp_path / "reports")
    reports.live = live
    windows = reports.made(labels, asked)
    held = {PATHS.predictions: HeldSnapshot({PATHS.predictions: asked})}
    rows = outcomes_asset(PRODUCT)(HeldInputs({LABELS: labels, **NEW_DAY}, previous=held)).data
    told = causes(tmp_path / "causes", {"windows": windows}, rows, {**held, **live})
    moved = {one["column"]: one for one in told["moved"]}
    assert moved["calls"]["against_before"] is None
    assert moved["calls"]["against_training"]["effect"] < 0.1
    assert moved["plan"]["against_before"]["effect"] < 0.1


def test_request_ids_that_are_used_again_are_predictions_of_their_own(tmp_path: Path) -> None:
    """A caller counted from 0 every day: ten of 160 answers were in the outcomes, and both checks passed."""
    labels = truth(16)
    asked = answers(labels).with_columns(pl.format("r{}", pl.col("customer") % 10).alias("request_id"))
    product = replace(PRODUCT, serving=Serving(unique_for=DAY / 2))
    held = {PATHS.predictions: HeldSnapshot({PATHS.predictions: asked})}
    asset = outcomes_asset(product)
    found = asset(HeldInputs({LABELS: labels, **NEW_DAY}, previous=held))
    assert (found.data.height, found.facts["repeated"], found.facts["reused"]) == (160, 0, 150)
    told = verdicts(asset, audit_of(asset, found.data, facts=found.facts))["request_ids_are_used_once"]
    assert "150 predictions have the id of one" in told.description
    again = asset(
        HeldInputs(
            {LABELS: labels, **NEW_DAY}, previous={**held, PATHS.outcomes: HeldSnapshot({PATHS.outcomes: found.data})}
        )
    )
    assert (again.data.equals(found.data), again.facts["label_changes"]["events"]) == (True, 0)
    assert judged(Reports(tmp_path, product).made(labels, asked)) == [True, True, False]
    once = outcomes_asset(PRODUCT)(HeldInputs({LABELS: labels, **NEW_DAY}, previous=held))
    assert (once.data.height, once.facts["repeated"]) == (10, 150), "a day apart they repeat each other"
    verdict = verdicts(asset, audit_of(asset, once.data, facts=once.facts))["request_ids_are_used_once"]
    assert "150 predictions repeat one" in verdict.description


@pytest.mark.parametrize("clusters", ["plan", "day", "at", "calls"])
def test_intervals_by_a_column_with_nulls_or_that_nothing_is_sliced_by(tmp_path: Path, clusters: str) -> None:
    """A null was no number to sort by, and a column that is no slice was not in the outcomes."""
    labels = truth(16).with_columns(
        pl.when(pl.col("customer") % 7 == 0).then(None).otherwise("plan").alias("plan"),
        pl.col("at").dt.date().alias("day"),
    )
    product = replace(PRODUCT, performance=replace(RULES, slices=("version",), clusters=clusters))
    found = Reports(tmp_path, product).made(labels, answers(labels))
    assert judged(found) == [True, True, False]
    assert found[0]["calibration"]["bias"]["low"] is not None


def as_before_days_were_drawn(folder: Path, clusters: str | None = None) -> list[dict[str, Any]]:
    """Rewrites a report as the Headwater before wrote it."""
    document = json.loads((folder / REPORT_FILE).read_text())
    document["format"] = 2
    document["declaration"]["rules"]["clusters"] = clusters
    for window in document["windows"]:
        for part in (window["overall"], *(one["performance"] for one in window["slices"])):
            del part["drawn_by"]
    (folder / REPORT_FILE).write_text(json.dumps(document))
    windows: list[dict[str, Any]] = document["windows"]
    return windows


def test_windows_that_an_older_headwater_settled_stay_as_they_are(tmp_path: Path) -> None:
    """Their predictions may be gone: judged anew for a new default, their history would be lost."""
    labels, reports = truth(49), Reports(tmp_path)
    reports.made(*by(41, labels))
    before = as_before_days_were_drawn(tmp_path / "report-1")
    found = reports.made(*by(48, labels))
    assert found[0] == before[0]
    assert found[1]["overall"]["drawn_by"] == LOCAL_DAY
    page = (tmp_path / "report-2" / PAGE_FILE).read_text()
    assert "Intervals draw whole days" in page
    assert "settled before Headwater drew them so keep the intervals that they had" in page
    third = reports.made(*by(49, labels))
    assert third[0] == before[0]


def test_a_report_by_rules_that_really_differ_is_made_anew(tmp_path: Path) -> None:
    labels = truth(42)
    for clusters, is_kept in ((None, True), ("plan", False)):
        reports = Reports(tmp_path / str(clusters))
        reports.made(*by(41, labels))
        before = as_before_days_were_drawn(reports.folder / "report-1", clusters)
        assert (reports.made(*by(42, labels))[0] == before[0]) is is_kept
    declared = Reports(tmp_path / "declared", replace(PRODUCT, performance=replace(RULES, clusters=None)))
    declared.made(*by(41, labels))
    before = as_before_days_were_drawn(declared.folder / "report-1")
    assert declared.made(*by(42, labels))[0] == before[0]


@pytest.mark.parametrize(
    ("length", "clusters", "said"),
    [
        (7, LOCAL_DAY, "Intervals draw whole days"),
        (1, LOCAL_DAY, "Intervals take rows as independent"),
        (7, None, "Intervals take rows as independent"),
        (7, "plan", "Intervals draw whole groups of one plan"),
    ],
)
def test_the_page_says_what_its_intervals_speak_of(
    tmp_path: Path, length: int, clusters: str | None, said: str
) -> None:
    rules = replace(RULES, clusters=clusters, windowing=Windowing(length=length * DAY))
    reports = Reports(tmp_path, replace(PRODUCT, performance=rules))
    assert any(judged(reports.made(*by(16, truth(16)))))
    assert said in (tmp_path / "report-1" / PAGE_FILE).read_text()


def test_windows_that_wait_for_labels_hide_no_fall_of_those_before_them(tmp_path: Path) -> None:
    """Labels that take three weeks: the newest windows of the report, all that was looked at, were never judged."""
    labels, live = truth(49, lag=21 * DAY), released(tmp_path / "live")
    worse = answers(labels, skill=-0.2)
    there = labels.filter(pl.col("known") <= START + 49 * DAY)
    rows = outcomes(there, worse).data
    found = report(tmp_path / "report", rows, worse, live=live)
    assert judged(found["windows"]) == [True] * 4 + [False] * 3
    told = decided(tmp_path / "decided", found, there, [(START + 48 * DAY).isoformat()], live)
    assert told["rule"] == "performance", told["reason"]
    assert "the metric in 2 of the last 2 windows, whose labels are not known" in told["unseen"]
    assert [window["start"][:10] for window in told["evidence"]["windows"]] == [
        "2013-01-21", "2013-01-28", "2013-02-11", "2013-02-18"
    ]  # fmt: skip


def written(folder: Path, reports: Sequence[tuple[int, str | None]]) -> tuple[Scene, RecordingInputs]:
    """A lake in which a training set was written twice between the last two reports."""
    scene = Scene(folder, replace(PRODUCT, retraining=None))
    for number, newest in reports[:-1]:
        scene.write("performance_report", {"number": number}, {"judged": number, NEWEST_FACT: newest})
    for number in (1, 2):
        scene.write("training_set", {"number": number}, {})
    number, newest = reports[-1]
    scene.write("performance_report", {"number": number}, {"judged": number, NEWEST_FACT: newest})
    return scene, RecordingInputs(lake=scene.lake, snapshot=scene.lake.at("main"), asset=causes_asset(PRODUCT))


def test_what_changed_is_looked_for_where_one_report_was_the_first_to_judge_both_windows(tmp_path: Path) -> None:
    """Labels came in for two weeks at once, a training set changed in between, and the page said: None."""
    weeks = [(START + week * 7 * DAY).isoformat() for week in range(3)]
    _, inputs = written(tmp_path / "both", [(1, weeks[0]), (3, weeks[2])])
    found = _upstream(inputs, replace(PRODUCT, retraining=None), {"start": weeks[2]}, {"start": weeks[1]})
    assert [change["path"] for change in found["upstream"]] == [PATHS.training_set]
    assert found["upstream_unknown"] == ""


def training_set(columns: Sequence[str], *, passes: bool) -> Asset:
    """A training set with these columns, and a check that warns or does not."""
    check = Check(name="has_plans", judge=partial(_as_said, passes=passes), blocking=False)
    made = partial(_three_rows, columns=columns)
    said = {"columns": list(columns)}
    return Asset(path=PATHS.training_set, kind=Kind.TABLE, compute=made, checks=(check,), declaration=said)


def _as_said(audit: Audit, *, passes: bool) -> Verdict:
    return Verdict(passed=passes)


def _three_rows(inputs: Inputs, *, columns: Sequence[str]) -> Result:
    return Result(data=pl.DataFrame({name: [1.0, 2.0, 3.0] for name in columns}))


def test_what_changed_upstream_is_told_with_its_code_its_columns_its_commits_and_its_warnings(tmp_path: Path) -> None:
    """Everything that is told of a commit but its data version could have been empty."""
    scene = Scene(tmp_path, replace(PRODUCT, retraining=None))
    weeks = [(START + week * 7 * DAY).isoformat() for week in range(2)]
    made = []
    for number, (columns, passes) in enumerate([(("plan",), True), (("plan", "calls"), False)]):
        run = Run(actor=f"user:{number}")
        made.append(materialize(scene.lake, training_set(columns, passes=passes), run=run))
        scene.write("performance_report", {"number": number}, {"judged": number, NEWEST_FACT: weeks[number]})
    inputs = RecordingInputs(lake=scene.lake, snapshot=scene.lake.at("main"), asset=causes_asset(PRODUCT))
    product = replace(PRODUCT, retraining=None)
    (found,) = _upstream(inputs, product, {"start": weeks[1]}, {"start": weeks[0]})["upstream"]
    assert found == {
        "path": PATHS.training_set, "kinds": ["schema", "code", "data"], "commits": [made[1].commit],
        "actors": ["user:1"], "rows": [3, 3], "columns": ["+calls float64"], "failed": ["has_plans"],
    }  # fmt: skip


def test_where_nobody_could_look_for_what_changed_the_page_says_so(tmp_path: Path) -> None:
    labels = truth(24)
    held = {PATHS.predictions: HeldSnapshot({PATHS.predictions: answers(labels)})}
    rows = outcomes_asset(PRODUCT)(HeldInputs({LABELS: labels, **NEW_DAY}, previous=held)).data
    windows = Reports(tmp_path / "reports").made(labels, answers(labels))
    told = causes(tmp_path / "causes", {"windows": windows}, rows, {})
    assert told["upstream_unknown"].startswith("Not looked at")
    page = (tmp_path / "causes" / "causes" / CAUSES_PAGE).read_text().split("What changed upstream")[1]
    assert "Not looked at: the history of the report" in page
    assert "None" not in page


@pytest.mark.parametrize("gone", [[3], range(160)], ids=["one", "all"])
def test_a_label_that_came_back_has_not_changed(gone: Iterable[int]) -> None:
    """One empty delivery, and for four weeks each event was told to be 1 and to have been 1."""
    labels, asset = truth(16), outcomes_asset(PRODUCT)
    asked = HeldSnapshot({PATHS.predictions: answers(labels)})

    def built(there: pl.DataFrame, before: pl.DataFrame | None) -> Any:
        past = {PATHS.predictions: asked} | (
            {} if before is None else {PATHS.outcomes: HeldSnapshot({PATHS.outcomes: before})}
        )
        return asset(HeldInputs({LABELS: there, **NEW_DAY}, previous=past))

    first = built(labels, None)
    vanished = built(labels.filter(~pl.col("customer").is_in(list(gone))), first.data)
    assert vanished.facts["label_changes"]["kinds"] == {"vanished": len(list(gone))}
    back = built(labels, vanished.data)
    assert back.facts["label_changes"]["events"] == 0
    assert back.data.equals(first.data)
