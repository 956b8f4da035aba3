"""From predictions and labels to outcomes, to a report, to a recorded decision, to an order that a training follows."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain._causes import CAUSES_FILE, causes_asset, first_judged
from assets._chain._causes_page import PAGE_FILE as CAUSES_PAGE
from assets._chain._evaluation import EVALUATION_FILE
from assets._chain._label_changes import CHANGE_COLUMNS, label_changes
from assets._chain._models import model_chain
from assets._chain._outcomes import outcomes_asset
from assets._chain._paths import ChainPaths
from assets._chain._performance import NEWEST_FACT, REPORT_FILE, performance_asset
from assets._chain._performance_history import SETTLED
from assets._chain._performance_page import PAGE_FILE, PLOT_FILE
from assets._chain._prediction_rows import COLUMNS
from assets._chain._reference import FEATURES_FILE, SCORES_FILE, kept_months, kept_profile
from assets._chain._release import RELEASE_FILE, RUN_FILE
from assets._chain._retraining import DECISION_FILE, ORDER_FILE, retraining_assets
from assets._chain._training_set import training_set_asset
from headwater.decisions import Retraining, Rollout, RolloutRules
from headwater.materialize import RecordingInputs
from headwater.models import evaluate
from headwater.models.bundle import PREPROCESSING_FILE
from headwater.models.evaluation_bootstrap import Bootstrap
from headwater.models.preprocessing import Preprocessing
from headwater.monitoring import DecisionCosts, PerformanceRules, Windowing
from headwater.names import DECISION_FACT
from headwater.product import DriftWatch, Labels, Model, Product, Serving, Split
from headwater.testing.frames import NO_COMMIT, HeldInputs, HeldSnapshot, audit_of, verdicts
from tests.release_scene import Scene

START = datetime(2013, 1, 7, tzinfo=UTC)  # a Monday
DAY = timedelta(days=1)
PATHS = ChainPaths(product="shop")
LABELS = "shop/datasets/labels"
NEW_DAY = {PATHS.prediction_day: pl.DataFrame()}
"""What makes the outcomes anew, beside labels: only that it changed counts."""
UNWATCHED = Rollout(rules=RolloutRules(watch=timedelta(0)))
"""For answers that are kept shorter than a watch looks back."""
RULES = PerformanceRules(
    windowing=Windowing(length=7 * DAY), slices=("version", "plan"), min_rows=10, costs=DecisionCosts(false_alarm=1, miss=5),
    bootstrap=Bootstrap(resamples=20),
)  # fmt: skip
PRODUCT = Product(
    name="shop", question="Will they leave?", owners=("team:shop",),
    labels=Labels(path=LABELS, key=("customer",), time="at", label="left", columns=("plan",), known_at="known"),
    model=Model(features=("plan", "calls"), categorical=("plan",)), split=Split(validation_months=1, test_months=1),
    drift=DriftWatch(psi_limit=0.25, min_rows=50), performance=RULES, retraining=Retraining(windows=2, needed=2, min_rows=10, every=28 * DAY, cool_down=DAY),
)  # fmt: skip


def truth(days: int, *, per_day: int = 10, lag: timedelta = DAY) -> pl.DataFrame:
    """Ten customers a day; every third leaves, which is known a day later."""
    numbers = range(days * per_day)
    at = [START + number // per_day * DAY + timedelta(minutes=number % per_day) for number in numbers]
    return pl.DataFrame(
        {
            "customer": list(numbers), "at": at, "left": [int(number % 3 == 0) for number in numbers],
            "known": [moment + lag for moment in at], "plan": ["basic" if number % 2 else "gold" for number in numbers],
        },
        schema_overrides={"left": pl.Int8},
    )  # fmt: skip


def answers(labels: pl.DataFrame, *, skill: float = 0.4) -> pl.DataFrame:
    """A prediction for each label, better than chance by `skill`."""
    rows = [
        {
            "request_id": f"r{row['customer']}", "at": row["at"], "received": row["at"], "latency_us": 500, "log_us": 0,
            "version": "1.0.0", "variant": "1.0.0", "propensity": 1.0, "score": 0.3 + skill * row["left"] + 0.001 * (row["customer"] % 7),
            "decision": row["left"] == 1, "shadows": "{}", "request": "{}", "reasons": "{}", "online": "c", "commit": "c",
            "features": json.dumps({"plan": row["plan"], "calls": float(row["customer"] % 5)}), "caller": "", "trace": "",
            "customer": row["customer"],
        }
        for row in labels.iter_rows(named=True)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema={**COLUMNS, "customer": pl.Int64})


def outcomes(labels: pl.DataFrame, predictions: pl.DataFrame | None, product: Product = PRODUCT) -> Any:
    past = {PATHS.predictions: HeldSnapshot({PATHS.predictions: predictions})} if predictions is not None else {}
    return outcomes_asset(product)(HeldInputs({LABELS: labels, **NEW_DAY}, previous=past))


def learned() -> pl.DataFrame:
    return truth(30).select(
        "plan", pl.col("customer").mod(5).cast(pl.Float64).alias("calls"), pl.lit("train").alias("split")
    )


def released(folder: Path, *, is_old: bool = False) -> dict[str, HeldSnapshot]:
    """What is live, with what was kept with it; an older Headwater kept no profiles."""
    train, labels = learned(), truth(30)
    for name in ("release", "model", "evaluation"):
        (folder / name).mkdir(parents=True)
    (folder / "release" / RELEASE_FILE).write_text('{"version": "1.0.0"}')
    (folder / "release" / RUN_FILE).write_text('{"model_commit": "m", "evaluation_commit": "e"}')
    fitted = Preprocessing.fit(train, features=("plan", "calls"), categorical=("plan",))
    (folder / "model" / PREPROCESSING_FILE).write_text(json.dumps(fitted.to_json()))
    scores = answers(labels)["score"]
    made = evaluate(
        labels=labels["left"].to_numpy(), scores=scores.to_numpy(), threshold=0.5, baseline=None, champion=None,
        bootstrap=RULES.bootstrap,
    )  # fmt: skip
    (folder / "evaluation" / EVALUATION_FILE).write_text(json.dumps({"evaluation": made.to_json()}))
    if not is_old:
        (folder / "model" / FEATURES_FILE).write_bytes(kept_profile(train.drop("split"), categorical=("plan",)))
        (folder / "evaluation" / SCORES_FILE).write_bytes(kept_profile(scores.to_frame()))
    found = {PATHS.release: "release", PATHS.model: "model", PATHS.evaluation: "evaluation"}
    return {path: HeldSnapshot({path: folder / name}) for path, name in found.items()}


def with_months(live: dict[str, HeldSnapshot]) -> dict[str, HeldSnapshot]:
    """The live version's bundle with profiles by month: who came in winter had gold, who comes in summer has basic."""
    model = live[PATHS.model].folder(PATHS.model)
    train = learned().drop("split")
    moments = pl.Series([datetime(2012, 1 if plan == "basic" else 7, 5, tzinfo=UTC) for plan in train["plan"]])
    for name, content in kept_months(train, moments, zone="UTC", categorical=("plan",)).items():
        (model / name).write_bytes(content)
    return live


def report(
    folder: Path,
    rows: pl.DataFrame,
    predictions: pl.DataFrame,
    before: Path | None = None,
    live: dict[str, HeldSnapshot] | None = None,
    product: Product = PRODUCT,
) -> dict[str, Any]:
    folder.mkdir()
    past = {
        PATHS.predictions: HeldSnapshot({PATHS.predictions: predictions}),
        PATHS.training_set: HeldSnapshot({PATHS.training_set: learned()}),
        **({PATHS.performance_report: HeldSnapshot({PATHS.performance_report: before})} if before else {}),
        **(live or {}),
    }
    performance_asset(product)(HeldInputs({PATHS.outcomes: rows}, previous=past), folder)
    found: dict[str, Any] = json.loads((folder / REPORT_FILE).read_text())
    return found


def test_a_prediction_meets_its_label_once_that_is_known() -> None:
    labels = truth(3, lag=2 * DAY)
    late = labels.filter(pl.col("customer") < 25).with_columns(
        pl.when(pl.col("customer") == 4).then(None).otherwise("left").alias("left")
    )
    found = outcomes(late, answers(labels))
    assert found.data.height == 30
    counts = dict(found.data.group_by("truth").len().iter_rows())
    # The newest label came in at day four, minute four; of customer 4 there will never be one.
    assert counts == {"known": 24, "none": 1, "pending": 5}
    assert found.data["plan"].to_list()[:2] == ["gold", "basic"]
    assert found.facts["unpredicted"] == 0


def test_without_any_prediction_there_are_outcomes_without_rows() -> None:
    for predictions in (None, answers(truth(0))):
        found = outcomes(truth(3), predictions)
        assert found.data.height == 0
        assert {"request_id", "customer", "plan", "label", "truth"} <= set(found.data.columns)


def test_a_column_that_only_the_model_read_can_be_sliced_by() -> None:
    product = replace(PRODUCT, performance=replace(RULES, slices=("calls",)))
    found = outcomes(truth(2), answers(truth(2)), product)
    assert found.data["calls"].to_list()[:3] == ["0.0", "1.0", "2.0"]


def test_predictions_that_name_no_event_are_told() -> None:
    asset = outcomes_asset(PRODUCT)
    found = outcomes(truth(2), answers(truth(2)).with_columns(pl.lit(None, pl.Int64).alias("customer")))
    verdict = verdicts(asset, audit_of(asset, found.data, facts=found.facts))["predictions_name_an_event"]
    assert not verdict.passed
    assert "20 of 20" in verdict.description


def corrected(labels: pl.DataFrame) -> pl.DataFrame:
    """Customer 3 left after all, of customer 6 nobody knows any more, and customer 9 was a mistake."""
    left = pl.when(pl.col("customer") == 3).then(0).when(pl.col("customer") == 6).then(None).otherwise("left")
    return labels.with_columns(left.cast(pl.Int8).alias("left")).filter(pl.col("customer") != 9)


def test_a_label_that_changes_after_it_was_known_is_told_and_stays_on_record(tmp_path: Path) -> None:
    """A correction of a settled window showed nowhere: its numbers stay, and nothing said that they were wrong."""
    labels, asset = truth(16), outcomes_asset(PRODUCT)
    rows = answers(labels)

    def built(truths: pl.DataFrame, before: pl.DataFrame | None) -> Any:
        past = {PATHS.predictions: HeldSnapshot({PATHS.predictions: rows})}
        past |= {} if before is None else {PATHS.outcomes: HeldSnapshot({PATHS.outcomes: before})}
        return asset(HeldInputs({LABELS: truths, **NEW_DAY}, previous=past))

    def final(found: Any) -> Any:
        return verdicts(asset, audit_of(asset, found.data, facts=found.facts))["labels_are_final"]

    first = built(labels, None)
    again = built(labels, first.data)
    assert final(first).passed
    assert final(again).passed
    assert again.data.equals(first.data)
    found = built(corrected(labels), again.data)
    changed = found.data.filter(pl.col("label_change").is_not_null())
    assert changed.select("customer", "label_before", "label", "label_change").rows() == [
        (3, 1, 0, "flipped"), (6, 1, None, "emptied"), (9, 1, None, "vanished"),
    ]  # fmt: skip
    assert changed["label_changed_in"].unique().to_list() == [NO_COMMIT]
    verdict = final(found)
    assert not verdict.passed
    assert "3 labels changed" in verdict.description
    assert "customer 3 was 1 and is 0" in verdict.description
    # The next build sees nothing new, and the warning stays for four weeks of the data's own time.
    later = built(corrected(labels), found.data)
    assert later.data.equals(found.data)
    assert not final(later).passed
    old = found.data.with_columns(pl.col("label_changed_at") - timedelta(days=29))
    assert final(built(corrected(labels), old)).passed
    shown = report(tmp_path / "report", later.data, rows)
    assert [one["event"]["customer"] for one in shown["label_changes"]["newest"]] == [3, 6, 9]
    assert "Labels that changed" in (tmp_path / "report" / PAGE_FILE).read_text()


def test_a_changed_label_is_found_where_the_prediction_time_is_part_of_the_key() -> None:
    product = replace(PRODUCT, labels=replace(PRODUCT.labels, key=("customer", "at")))
    labels, asset = truth(16), outcomes_asset(product)
    past = {PATHS.predictions: HeldSnapshot({PATHS.predictions: answers(labels)})}
    first = asset(HeldInputs({LABELS: labels, **NEW_DAY}, previous=past))
    stood = {**past, PATHS.outcomes: HeldSnapshot({PATHS.outcomes: first.data})}
    found = asset(HeldInputs({LABELS: corrected(labels), **NEW_DAY}, previous=stood))
    assert found.facts["label_changes"]["kinds"] == {"emptied": 1, "flipped": 1, "vanished": 1}
    # Outcomes under another key, or one of another type, say nothing of these events.
    for strange in (first.data.drop("customer"), first.data.cast({"customer": pl.String})):
        stood = {**past, PATHS.outcomes: HeldSnapshot({PATHS.outcomes: strange})}
        found = asset(HeldInputs({LABELS: corrected(labels), **NEW_DAY}, previous=stood))
        assert found.facts["label_changes"]["events"] == 0


def test_of_a_time_with_nothing_before_it_no_change_is_told() -> None:
    """The only answer of a product may be about the year 1."""
    columns = {"customer": pl.Int64, "judged": pl.Boolean, **CHANGE_COLUMNS}
    found = label_changes(pl.DataFrame(schema=columns), key=("customer",), now=datetime(1, 1, 2, tzinfo=UTC))
    assert (found["events"], found["recent"]) == (0, 0)


def test_a_label_that_comes_in_late_has_not_changed() -> None:
    labels = truth(4)
    rows = answers(labels)
    past = {PATHS.predictions: HeldSnapshot({PATHS.predictions: rows})}
    for product in (PRODUCT, replace(PRODUCT, labels=replace(PRODUCT.labels, known_at=None))):
        asset = outcomes_asset(product)
        # Without a known-at time, a null is how a label looks before it arrives.
        early = labels.with_columns(pl.when(pl.col("customer") < 20).then("left").cast(pl.Int8).alias("left"))
        early = early if product.labels.known_at is None else early.filter(pl.col("customer") < 20)
        first = asset(HeldInputs({LABELS: early, **NEW_DAY}, previous=past))
        stood = {**past, PATHS.outcomes: HeldSnapshot({PATHS.outcomes: first.data.drop(CHANGE_COLUMNS)})}
        found = asset(HeldInputs({LABELS: labels, **NEW_DAY}, previous=stood))
        assert found.facts["label_changes"]["events"] == 0
        assert found.data["label"].null_count() == 0


def test_a_week_is_judged_when_it_is_over_and_its_labels_are_in(tmp_path: Path) -> None:
    labels = truth(16)
    found = report(tmp_path / "report", outcomes(labels, answers(labels)).data, answers(labels))
    judged = [(window["start"][:10], window["overall"]["judged"]) for window in found["windows"]]
    assert judged == [("2013-01-07", True), ("2013-01-14", True), ("2013-01-21", False)]
    first = found["windows"][0]
    metrics = {metric["name"]: metric["value"] for metric in first["overall"]["metrics"]}
    assert metrics["auc"] == 1.0
    assert {(part["column"], part["value"]) for part in first["slices"]} == {
        ("version", "1.0.0"), ("plan", "basic"), ("plan", "gold"),
    }  # fmt: skip
    assert set(first["drift"]) <= {"plan", "calls"}
    page = (tmp_path / "report" / PAGE_FILE).read_text()
    assert "2013-01-14" in page
    assert "<th>calibration error</th>" in page
    assert (tmp_path / "report" / PLOT_FILE).read_text().startswith("<?xml")


def test_what_came_in_is_compared_with_what_is_kept_with_the_live_version(tmp_path: Path) -> None:
    labels = truth(16)
    moved = answers(labels).with_columns(pl.col("features").str.replace("gold", "basic"), pl.col("score") * 0.5)
    rows = outcomes(labels, moved).data
    new, old = released(tmp_path / "new"), released(tmp_path / "old", is_old=True)
    found = report(tmp_path / "report", rows, moved, live=new)["windows"][0]
    assert found["compared_with"] == "1.0.0"
    assert found["drift"]["plan"] > 1 > 0.2 > found["drift"]["calls"]
    assert found["shifted"] == ["plan"]
    assert found["score_drift"] > 1
    calibration = found["calibration"]
    assert calibration["lost"]
    assert calibration["reference"]["bias"] == pytest.approx(0.3 + 0.4 / 3 + 0.003 - 1 / 3, abs=0.01)
    assert "calibration" in calibration["reason"] or "bias" in calibration["reason"]
    before = report(tmp_path / "before", rows, moved, live=old)["windows"][0]
    assert before["drift"] == pytest.approx(found["drift"], abs=1e-6)
    assert before["score_drift"] is None
    alone = report(tmp_path / "alone", rows, moved)["windows"][0]
    assert (alone["compared_with"], alone["drift"], alone["shifted"], alone["score_drift"]) == (None, {}, [], None)


def test_a_window_is_compared_with_its_season_where_enough_of_it_is_known(tmp_path: Path) -> None:
    labels = truth(16)
    moved = answers(labels).with_columns(pl.col("features").str.replace("gold", "basic"))
    rows = outcomes(labels, moved).data
    live = with_months(released(tmp_path / "live"))
    found = report(tmp_path / "season", rows, moved, live=live)["windows"][0]
    assert (found["season"], found["shifted"]) == ([1], [])
    off, few = (
        replace(PRODUCT, drift=replace(PRODUCT.drift, **one))
        for one in ({"by_season": False}, {"min_rows": 151, "psi_limit": 0.2})
    )
    whole = report(tmp_path / "whole", rows, moved, live=live, product=off)["windows"][0]
    assert (whole["season"], whole["shifted"]) == ([], ["plan"])
    # 150 rows of January are too few there, and so are the window's own to say that anything moved.
    assert report(tmp_path / "few", rows, moved, live=live, product=few)["windows"][0]["season"] == []
    past = {PATHS.predictions: HeldSnapshot({PATHS.predictions: moved}), **live}
    judged = report(tmp_path / "judged", rows, moved, live=live)
    told = {one["column"]: one for one in causes(tmp_path / "causes", judged, rows, past)["moved"]}
    assert told["plan"]["against_training"]["effect"] < 0.1
    assert "learned from in January." in (tmp_path / "causes" / "causes" / CAUSES_PAGE).read_text()


def test_a_window_without_anything_to_compare_with_says_no_reference(tmp_path: Path) -> None:
    """Its drift was an empty mapping, which reads as: nothing moved."""
    labels = truth(16)
    rows = answers(labels)
    judged = outcomes(labels, rows).data
    live = released(tmp_path / "live")
    whole = report(tmp_path / "whole", judged, rows, live=live)
    assert [window["no_reference"] for window in whole["windows"]] == [{}, {}, {}]
    assert "no reference" not in (tmp_path / "whole" / PAGE_FILE).read_text().lower()
    alone = report(tmp_path / "alone", judged, rows)["windows"][0]
    assert set(alone["no_reference"]) == {"features", "scores"}
    assert "no version is live" in alone["no_reference"]["features"]
    (tmp_path / "live" / "model" / FEATURES_FILE).unlink()
    (tmp_path / "live" / "evaluation" / SCORES_FILE).unlink()
    past = {PATHS.predictions: HeldSnapshot({PATHS.predictions: rows}), **live}
    (tmp_path / "bare").mkdir()
    performance_asset(PRODUCT)(HeldInputs({PATHS.outcomes: judged}, previous=past), tmp_path / "bare")
    bare = json.loads((tmp_path / "bare" / REPORT_FILE).read_text())["windows"][0]
    assert (bare["compared_with"], bare["drift"], bare["score_drift"]) == ("1.0.0", {}, None)
    assert f"1.0.0 has no {FEATURES_FILE}" in bare["no_reference"]["features"]
    assert SCORES_FILE in bare["no_reference"]["scores"]
    page = (tmp_path / "bare" / PAGE_FILE).read_text()
    assert "<td>no reference</td>" in page
    assert "No reference for the drift of features: the bundle of 1.0.0" in page


def test_an_answer_about_a_time_long_past_is_no_reason_for_no_report(tmp_path: Path) -> None:
    labels = truth(16)
    strange = (
        answers(truth(1))
        .head(3)
        .with_columns(
            pl.lit(datetime(1, 1, 1, tzinfo=UTC)).alias("at"),
            pl.col("customer") + 10_000,
            pl.lit("old").alias("request_id") + pl.col("request_id"),
        )
    )
    rows = pl.concat([answers(labels), strange])
    found = report(tmp_path / "report", outcomes(labels, rows).data, rows, live=released(tmp_path / "live"))
    usual = report(
        tmp_path / "usual", outcomes(labels, answers(labels)).data, answers(labels), live=released(tmp_path / "same")
    )
    assert found == usual


def test_what_is_declared_and_the_live_version_does_not_read_yet_is_not_compared(tmp_path: Path) -> None:
    """A feature was declared, and no report came until a version with it was live."""
    labels = truth(22)
    rows, live = answers(labels), released(tmp_path / "live")
    model = replace(PRODUCT.model, features=("plan", "calls", "seats"), categorical=("plan", "calls"))
    product = replace(PRODUCT, model=model)
    judged = outcomes(labels, rows).data
    found = report(tmp_path / "report", judged, rows, live=live, product=product)
    assert set(found["windows"][0]["drift"]) == {"plan", "calls"}
    old = report(tmp_path / "old", judged, rows, live=released(tmp_path / "older", is_old=True), product=product)
    assert set(old["windows"][0]["drift"]) == {"plan", "calls"}
    past = {PATHS.predictions: HeldSnapshot({PATHS.predictions: rows}), **live}
    told = causes(tmp_path / "causes", found, judged, past, product)
    assert {one["column"] for one in told["moved"]} == {"plan", "calls"}


def test_what_the_log_must_not_hold_is_not_compared(tmp_path: Path) -> None:
    """A redacted feature was missing everywhere, so that it had moved as far as can be, every week."""
    labels = truth(16)
    rows = answers(labels).with_columns(pl.col("features").str.replace('"plan": "[a-z]+", ', ""))
    product = replace(PRODUCT, serving=Serving(redacted=("plan",)))
    live = released(tmp_path / "live")
    found = report(tmp_path / "report", outcomes(labels, rows).data, rows, live=live, product=product)
    assert set(found["windows"][0]["drift"]) == {"calls"}


def causes(
    folder: Path, found: dict[str, Any], rows: pl.DataFrame, past: dict[str, HeldSnapshot], product: Product = PRODUCT
) -> dict[str, Any]:
    held = folder / "held"
    held.mkdir(parents=True)
    (held / REPORT_FILE).write_text(json.dumps(found))
    (folder / "causes").mkdir()
    asset = causes_asset(product)
    asset(HeldInputs({PATHS.performance_report: held, PATHS.outcomes: rows}, previous=past), folder / "causes")
    document: dict[str, Any] = json.loads((folder / "causes" / CAUSES_FILE).read_text())
    return document


def test_the_cause_of_a_bad_week_is_the_feature_and_the_slice_in_which_it_was_planted(tmp_path: Path) -> None:
    labels, bad = truth(31), START + 21 * DAY
    rows = answers(labels).with_columns(
        pl.when((pl.col("at") >= bad) & pl.col("features").str.contains("gold"))
        .then(1 - pl.col("score")).otherwise("score").alias("score"),
        pl.when(pl.col("at") >= bad)
        .then(pl.col("features").str.replace(r'"calls": \d', '"calls": 9')).otherwise("features").alias("features"),
    )  # fmt: skip
    judged, live = outcomes(labels, rows).data, released(tmp_path / "live")
    found = report(tmp_path / "report", judged, rows, live=live)
    past = {PATHS.predictions: HeldSnapshot({PATHS.predictions: rows}), **live}
    told = causes(tmp_path / "causes", found, judged, past)
    assert told["window"]["start"].startswith("2013-01-28")
    assert len(told["before"]) == 3
    assert told["moved"][0]["column"] == "calls"
    assert told["moved"][0]["against_before"]["effect"] > 1 > told["moved"][1]["against_before"]["effect"]
    by_plan = next(shift for shift in told["shifts"] if shift["column"] == "plan")
    assert by_plan["slices"][0]["value"] == "gold"
    assert by_plan["slices"][0]["within_change"] == pytest.approx(by_plan["change"], rel=0.05)
    page = (tmp_path / "causes" / "causes" / CAUSES_PAGE).read_text()
    assert page.index("<td>calls</td>") < page.index("<td>plan</td>")
    assert "class='worse'" in page


def test_what_changed_upstream_is_looked_for_since_the_window_before_was_judged_under_this_declaration(
    tmp_path: Path,
) -> None:
    """By days more windows had been judged than by weeks: what was published months ago seemed to have changed this week."""
    scene = Scene(tmp_path, replace(PRODUCT, retraining=None))
    reports = [
        "2013-01-01",
        "2013-01-02",
        "2013-01-03",
        "2013-01-04",
        "2013-01-07",
        "2013-01-07",
        "2013-01-14",
        "2013-01-14",
    ]
    written = []
    for number, newest in enumerate(reports):
        facts = {"judged": number % 4 + 1, NEWEST_FACT: newest}
        scene.write("performance_report", {"number": number}, facts)
        written.append(scene.lake.last_write("main", PATHS.performance_report).created)
    inputs = RecordingInputs(lake=scene.lake, snapshot=scene.lake.at("main"), asset=causes_asset(PRODUCT))
    assert first_judged(inputs, PATHS, "2013-01-14", "2013-01-07") == (written[4], written[6])
    assert first_judged(inputs, PATHS, "2013-01-14", "2013-01-04") is None, (
        "the one before was judged by another declaration"
    )
    scene.write("performance_report", {"number": -1}, {"judged": 9})
    inputs = RecordingInputs(lake=scene.lake, snapshot=scene.lake.at("main"), asset=causes_asset(PRODUCT))
    assert first_judged(inputs, PATHS, "2013-01-14", "2013-01-07") is None, "an older Headwater does not say"


@pytest.mark.parametrize(
    ("days", "said"), [(3, "No window is judged yet."), (8, "There is no judged window before it.")]
)
def test_without_anything_to_compare_the_causes_say_so(tmp_path: Path, days: int, said: str) -> None:
    labels = truth(days)
    judged = outcomes(labels, answers(labels)).data
    found = report(tmp_path / "report", judged, answers(labels))
    told = causes(tmp_path / "causes", found, judged, {})
    assert told["reason"] == said
    assert said in (tmp_path / "causes" / "causes" / CAUSES_PAGE).read_text()


def test_a_report_of_nothing_says_that_nothing_is_judged(tmp_path: Path) -> None:
    nothing = answers(truth(0))
    found = report(tmp_path / "report", outcomes(truth(3), nothing).data, nothing)
    assert found["windows"] == []
    assert "No window is judged yet" in (tmp_path / "report" / PAGE_FILE).read_text()


def test_a_settled_week_stays_as_it_was_reported(tmp_path: Path) -> None:
    days = 7 * 7
    labels = truth(days)
    rows = outcomes(labels, answers(labels)).data
    first = report(tmp_path / "first", rows, answers(labels))
    worse = outcomes(labels, answers(labels, skill=-0.2)).data
    second = report(tmp_path / "second", worse, answers(labels), before=tmp_path / "first")
    now = datetime.fromisoformat(second["now"])
    for old, new in zip(first["windows"], second["windows"], strict=True):
        is_settled = datetime.fromisoformat(old["end"]) + SETTLED <= now
        assert (old["overall"] == new["overall"]) is (is_settled or not old["overall"]["judged"])


def decided(
    folder: Path,
    found: dict[str, Any],
    labels: pl.DataFrame,
    orders: tuple[str, ...] | list[str] = (),
    live: dict[str, HeldSnapshot] | None = None,
) -> dict[str, Any]:
    decision, _, _, _ = retraining_assets(PRODUCT)
    held = folder / "report"
    held.mkdir(parents=True)
    (held / REPORT_FILE).write_text(json.dumps(found))
    past = dict(live or {})
    if orders:
        (folder / "order").mkdir()
        (folder / "order" / ORDER_FILE).write_text(
            json.dumps({"orders": [{"as_of": one, "reason": ""} for one in orders]})
        )
        past[PATHS.training_order] = HeldSnapshot({PATHS.training_order: folder / "order"})
    (folder / "decision").mkdir()
    result = decision(HeldInputs({PATHS.performance_report: held, LABELS: labels}, previous=past), folder / "decision")
    document: dict[str, Any] = json.loads((folder / "decision" / DECISION_FILE).read_text())
    told = result.facts[DECISION_FACT]
    for name in ("action", "rule", "reason", "reasons", "held_by", "unseen", "now"):
        assert told[name] == document[name], "its commit tells what `headwater decisions` shows"
    assert told["evidence"]["new_rows"] == document["evidence"]["new_rows"]
    return document


def test_every_decision_is_kept_with_its_evidence_refusals_too(tmp_path: Path) -> None:
    labels = truth(16)
    found = report(tmp_path / "report", outcomes(labels, answers(labels)).data, answers(labels))
    young = decided(tmp_path / "young", found, labels, [(START + DAY).isoformat()])
    assert (young["action"], young["rule"]) == ("hold", "nothing")
    assert young["reason"].startswith(
        "Nothing speaks for it. Not looked at: drift in 2 of the last 2 windows, for want of"
    )
    assert len(young["unseen"]) == 2  # nothing is live here: neither drift nor the metric has a reference
    assert [window["rows"] for window in young["evidence"]["windows"]] == [70, 70], "not the one that goes on"
    assert young["evidence"]["new_rows"] == labels.filter(pl.col("known") > START + DAY).height
    old = decided(tmp_path / "old", found, labels, [(START - 60 * DAY).isoformat()])
    assert (old["action"], old["rule"], old["held_by"]) == ("retrain", "schedule", [])
    assert "28 days" in old["reason"]
    fresh = decided(tmp_path / "fresh", found, labels, [(START - 60 * DAY).isoformat(), old["now"]])
    assert (fresh["action"], fresh["rule"]) == ("hold", "nothing"), "the order was given"


@pytest.mark.parametrize(
    ("bad", "good", "slices", "rule", "counted"),
    [
        ("1.0.0", "1.0.0", ("version",), "performance", ("1.0.0", 70)),
        ("0.9.0", "0.9.0", ("version",), "nothing", ("0.9.0", 70)),
        ("1.0.0", "0.9.0", ("version",), "performance", ("1.0.0", 35)),
        ("0.9.0", "1.0.0", ("version",), "nothing", ("1.0.0", 35)),
        ("1.0.0", "0.9.0", ("plan",), "nothing", ("", 70)),
        ("1.0.0", "1.0.0", ("plan",), "performance", ("1.0.0", 70)),
    ],
    ids=["live", "replaced", "both, live one bad", "both, live one good", "both, not told apart", "live, no slices"],
)
def test_bad_weeks_count_against_the_live_version_by_its_own_answers(
    tmp_path: Path, bad: str, good: str, slices: tuple[str, ...], rule: str, counted: tuple[str, int]
) -> None:
    """Whichever version had answered, two bad weeks were held against the one that is live now. Here every second customer has a bad answer,
    and all have where the same version gives both."""
    labels, is_odd = truth(14), pl.col("customer") % 2 == 1
    worse = answers(labels, skill=-0.2).with_columns(pl.lit(bad).alias("version"))
    better = answers(labels, skill=-0.2 if bad == good else 0.4).with_columns(pl.lit(good).alias("version"))
    rows = pl.concat([worse.filter(is_odd), better.filter(~is_odd)])
    product = replace(PRODUCT, performance=replace(RULES, slices=slices))
    live = released(tmp_path / "live")
    found = report(tmp_path / "report", outcomes(labels, rows, product).data, rows, live=live, product=product)
    told = decided(tmp_path / "decided", found, labels, [(START + 13 * DAY).isoformat()], live)
    assert told["rule"] == rule, told["reason"]
    windows = told["evidence"]["windows"]
    assert [(window["version"], window["labelled"]) for window in windows] == [counted, counted]
    assert windows[0]["answered"] == ({bad: 70} if bad == good else {bad: 35, good: 35})
    assert ("1.0.0 did not answer alone" in told["reason"]) is (counted[0] != "1.0.0")
    assert told["evidence"]["version"] == "1.0.0"


def test_a_report_of_an_older_headwater_says_in_its_slices_who_answered(tmp_path: Path) -> None:
    labels, live = truth(14), released(tmp_path / "live")
    rows = answers(labels, skill=-0.2)
    found = report(tmp_path / "report", outcomes(labels, rows).data, rows, live=live)
    for window in found["windows"]:
        del window["answered"]
    told = decided(tmp_path / "decided", found, labels, [(START + 13 * DAY).isoformat()], live)
    assert (told["rule"], told["evidence"]["windows"][0]["answered"]) == ("performance", {"1.0.0": 70})
    for window in found["windows"]:
        window["slices"] = []
    assert decided(tmp_path / "blind", found, labels, [(START + 13 * DAY).isoformat()], live)["rule"] == "nothing"


def ordered(folder: Path, decision: dict[str, Any], labels: pl.DataFrame, before: Path | None) -> Path:
    _, order, _, _ = retraining_assets(PRODUCT)
    held, made = folder / "decision", folder / "order"
    held.mkdir(parents=True)
    made.mkdir()
    (held / DECISION_FILE).write_text(json.dumps(decision))
    past = {PATHS.training_order: HeldSnapshot({PATHS.training_order: before})} if before else {}
    order(HeldInputs({PATHS.retraining: held, LABELS: labels}, previous=past), made)
    return made


def test_only_a_decision_to_train_again_moves_the_order_on(tmp_path: Path) -> None:
    labels = truth(10)
    hold = {"action": "hold", "now": (START + 20 * DAY).isoformat(), "reason": "Nothing speaks for it."}
    first = ordered(tmp_path / "first", hold, labels, None)
    known = labels["known"].max()
    assert [one["as_of"] for one in json.loads((first / ORDER_FILE).read_text())["orders"]] == [known.isoformat()]  # type: ignore[union-attr]
    held = ordered(tmp_path / "held", hold, truth(20), first)
    assert (held / ORDER_FILE).read_text() == (first / ORDER_FILE).read_text()
    evidence = {"trainings": [known.isoformat()]}  # type: ignore[union-attr]
    again = {"action": "retrain", "now": (START + 30 * DAY).isoformat(), "reason": "28 days", "evidence": evidence}
    moved = ordered(tmp_path / "moved", again, truth(30), held)
    orders = json.loads((moved / ORDER_FILE).read_text())["orders"]
    assert [one["as_of"] for one in orders] == [known.isoformat(), again["now"]]  # type: ignore[union-attr]
    once = ordered(tmp_path / "once", again, truth(31), moved)
    assert (once / ORDER_FILE).read_text() == (moved / ORDER_FILE).read_text()


def test_a_training_set_knows_what_its_order_allows_and_no_more(tmp_path: Path) -> None:
    hold = {"action": "hold", "now": START.isoformat(), "reason": ""}
    order = ordered(tmp_path, hold, truth(100), None)
    asset = training_set_asset(PRODUCT)
    then = asset(HeldInputs({LABELS: truth(100), PATHS.training_order: order})).data
    later = asset(HeldInputs({LABELS: truth(160), PATHS.training_order: order})).data
    assert then.sort("customer").equals(later.sort("customer"))
    free = training_set_asset(replace(PRODUCT, retraining=None))
    assert free(HeldInputs({LABELS: truth(160)})).data.height > then.height


def test_times_of_labels_without_a_zone_or_of_another_one_decide_the_same(tmp_path: Path) -> None:
    labels = truth(16)
    found = report(tmp_path / "report", outcomes(labels, answers(labels)).data, answers(labels))
    told = []
    for name, turn in (
        ("utc", pl.col("at", "known")),
        ("naive", pl.col("at", "known").dt.replace_time_zone(None)),
        ("zoned", pl.col("at", "known").dt.convert_time_zone("America/New_York")),
    ):
        rows = labels.with_columns(turn)
        decision = decided(tmp_path / name / "decided", found, rows, [(START - 60 * DAY).isoformat()])
        order = ordered(tmp_path / name / "ordered", decision, rows, None)
        newest = json.loads((order / ORDER_FILE).read_text())["orders"][-1]
        times = [datetime.fromisoformat(newest[key]) for key in ("as_of", "newest_event")]
        told.append((decision["action"], decision["evidence"]["new_rows"], *times))
    assert told[0] == told[1] == told[2]


def test_the_first_labels_of_the_next_month_wait_for_the_next_order(tmp_path: Path) -> None:
    """A flight of July that arrived before the last one of June had: seven of them were a test month of their own."""
    hold = {"action": "hold", "now": START.isoformat(), "reason": ""}
    order = ordered(tmp_path, hold, truth(100), None)
    asset = training_set_asset(PRODUCT)
    then = asset(HeldInputs({LABELS: truth(100), PATHS.training_order: order})).data
    last = truth(100)["known"].max()
    early = truth(160).with_columns(pl.min_horizontal("known", pl.lit(last)).alias("known"))
    assert early.filter(pl.col("known") <= last).height > then.height
    later = asset(
        HeldInputs({LABELS: pl.concat([truth(100), early.tail(-truth(100).height)]), PATHS.training_order: order})
    )
    assert then.sort("customer").equals(later.data.sort("customer"))


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_product_is_ordered_to_train_only_when_it_says_when(is_declared: bool) -> None:
    product = PRODUCT if is_declared else replace(PRODUCT, retraining=None)
    paths = {asset.path for asset in model_chain(product)}
    assert (PATHS.training_order in paths) is (PATHS.retraining in paths) is is_declared
    assert {PATHS.outcomes, PATHS.performance_report} <= paths
