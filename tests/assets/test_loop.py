"""From predictions and labels to outcomes, to a report, to a recorded decision, to an order that a training follows."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain._models import model_chain
from assets._chain._outcomes import outcomes_asset
from assets._chain._paths import ChainPaths
from assets._chain._performance import REPORT_FILE, SETTLED, performance_asset
from assets._chain._performance_page import PAGE_FILE, PLOT_FILE
from assets._chain._prediction_rows import COLUMNS
from assets._chain._retraining import DECISION_FILE, ORDER_FILE, retraining_assets
from assets._chain._training_set import training_set_asset
from headwater.decisions import Retraining
from headwater.models.evaluation_bootstrap import Bootstrap
from headwater.monitoring import DecisionCosts, PerformanceRules, Windowing
from headwater.names import DECISION_FACT
from headwater.product import Labels, Model, Product, Split
from headwater.testing.frames import HeldInputs, HeldSnapshot, audit_of, verdicts

START = datetime(2013, 1, 7, tzinfo=UTC)  # a Monday
DAY = timedelta(days=1)
PATHS = ChainPaths(product="shop")
LABELS = "shop/datasets/labels"
RULES = PerformanceRules(
    windowing=Windowing(length=7 * DAY), slices=("version", "plan"), min_rows=10, costs=DecisionCosts(false_alarm=1, miss=5),
    bootstrap=Bootstrap(resamples=20),
)  # fmt: skip
PRODUCT = Product(
    name="shop", question="Will they leave?", owners=("team:shop",),
    labels=Labels(path=LABELS, key=("customer",), time="at", label="left", columns=("plan",), known_at="known"),
    model=Model(features=("plan", "calls"), categorical=("plan",)), split=Split(validation_months=1, test_months=1),
    performance=RULES, retraining=Retraining(windows=2, needed=2, min_rows=10, every=28 * DAY, cool_down=DAY),
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
            "request_id": f"r{row['customer']}", "at": row["at"], "received": row["at"], "latency_us": 500, "version": "1.0.0",
            "variant": "1.0.0", "propensity": 1.0, "score": 0.3 + skill * row["left"] + 0.001 * (row["customer"] % 7),
            "decision": row["left"] == 1, "shadows": "{}", "request": "{}", "reasons": "{}", "online": "c", "commit": "c",
            "features": json.dumps({"plan": row["plan"], "calls": float(row["customer"] % 5)}), "caller": "", "trace": "",
            "customer": row["customer"],
        }
        for row in labels.iter_rows(named=True)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema={**COLUMNS, "customer": pl.Int64})


def outcomes(labels: pl.DataFrame, predictions: pl.DataFrame | None, product: Product = PRODUCT) -> Any:
    past = {PATHS.predictions: HeldSnapshot({PATHS.predictions: predictions})} if predictions is not None else {}
    return outcomes_asset(product)(HeldInputs({LABELS: labels}, previous=past))


def report(folder: Path, rows: pl.DataFrame, predictions: pl.DataFrame, before: Path | None = None) -> dict[str, Any]:
    folder.mkdir()
    training = truth(30).select(
        "plan", pl.col("customer").mod(5).cast(pl.Float64).alias("calls"), pl.lit("train").alias("split")
    )
    past = {
        PATHS.predictions: HeldSnapshot({PATHS.predictions: predictions}),
        PATHS.training_set: HeldSnapshot({PATHS.training_set: training}),
        **({PATHS.performance_report: HeldSnapshot({PATHS.performance_report: before})} if before else {}),
    }
    performance_asset(PRODUCT)(HeldInputs({PATHS.outcomes: rows}, previous=past), folder)
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
    assert (tmp_path / "report" / PLOT_FILE).read_text().startswith("<?xml")


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


def decided(folder: Path, found: dict[str, Any], labels: pl.DataFrame, orders: list[str] = ()) -> dict[str, Any]:  # type: ignore[assignment]
    decision, _ = retraining_assets(PRODUCT)
    held = folder / "report"
    held.mkdir(parents=True)
    (held / REPORT_FILE).write_text(json.dumps(found))
    past = {}
    if orders:
        (folder / "order").mkdir()
        (folder / "order" / ORDER_FILE).write_text(
            json.dumps({"orders": [{"as_of": one, "reason": ""} for one in orders]})
        )
        past = {PATHS.training_order: HeldSnapshot({PATHS.training_order: folder / "order"})}
    (folder / "decision").mkdir()
    result = decision(HeldInputs({PATHS.performance_report: held, LABELS: labels}, previous=past), folder / "decision")
    document: dict[str, Any] = json.loads((folder / "decision" / DECISION_FILE).read_text())
    assert result.facts[DECISION_FACT]["action"] == document["action"]
    return document


def test_every_decision_is_kept_with_its_evidence_refusals_too(tmp_path: Path) -> None:
    labels = truth(16)
    found = report(tmp_path / "report", outcomes(labels, answers(labels)).data, answers(labels))
    young = decided(tmp_path / "young", found, labels, [(START + DAY).isoformat()])
    assert (young["action"], young["reason"]) == ("hold", "Nothing speaks for it.")
    assert [window["rows"] for window in young["evidence"]["windows"]] == [70, 20]
    assert young["evidence"]["new_rows"] == labels.filter(pl.col("known") > START + DAY).height
    old = decided(tmp_path / "old", found, labels, [(START - 60 * DAY).isoformat()])
    assert old["action"] == "retrain"
    assert "28 days" in old["reason"]


def ordered(folder: Path, decision: dict[str, Any], labels: pl.DataFrame, before: Path | None) -> Path:
    _, order = retraining_assets(PRODUCT)
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
    again = {"action": "retrain", "now": (START + 30 * DAY).isoformat(), "reason": "28 days"}
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
