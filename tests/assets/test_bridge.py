"""The bridge over a real lake and a real Dagster instance: what Dagster shows is what the lake did."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets._bridge import asset_key, dagster_asset
from headwater.lake import EmbeddedLake, Kind
from headwater.product import (
    Asset,
    Audit,
    Check,
    Inputs,
    Partitions,
    Product,
    RejectedInputError,
    Result,
    Verdict,
    folder,
    table,
)
from resources.lake import ONLY_STALE_TAG, LakeResource

PRODUCT = Product(name="toy", question="Does it hold?", owners=("team:toy",))
FRESH = {ONLY_STALE_TAG: "true"}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


class Workshop:
    """Runs declared assets through Dagster into one lake."""

    def __init__(self, state: Path, instance: dg.DagsterInstance) -> None:
        self.state, self.instance = state, instance
        self.lake = EmbeddedLake.open(state / "lake")

    def run(
        self,
        *assets: Asset,
        partition: str | None = None,
        tags: dict[str, str] | None = None,
        run_id: str | None = None,
    ) -> dg.ExecuteInProcessResult:
        job = dg.Definitions(
            assets=[dagster_asset(asset, PRODUCT) for asset in assets],
            resources={"lake": LakeResource(state=str(self.state))},
        ).resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance, partition_key=partition, tags=tags, run_id=run_id, raise_on_error=False
        )

    def messages(self) -> list[str]:
        return [commit.message for commit in self.lake.log()]


@pytest.fixture
def workshop(tmp_path: Path, instance: dg.DagsterInstance) -> Workshop:
    return Workshop(tmp_path, instance)


def rows_of(*values: int) -> Asset:
    @table("toy/numbers", checks=[positive])
    def numbers(inputs: Inputs) -> pl.DataFrame:
        """Numbers."""
        return pl.DataFrame({"x": list(values)}, schema={"x": pl.Int64})

    return numbers


def _all_positive(audit: Audit) -> Verdict:
    bad = audit.rows().filter(pl.col("x") <= 0).collect()
    return Verdict(passed=bad.is_empty(), facts={"bad": bad.height, "examples": bad.head(5).to_dicts()})


positive = Check(name="numbers_are_positive", judge=_all_positive)


@table("toy/doubled", inputs=["toy/numbers"])
def doubled(inputs: Inputs) -> pl.LazyFrame:
    """Twice the numbers."""
    return inputs.table("toy/numbers").with_columns(y=pl.col("x") * 2)


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return {e.check_name: e for e in result.get_asset_check_evaluations()}


def materialized(result: dg.ExecuteInProcessResult, path: str) -> Sequence[dg.AssetMaterialization]:
    found = result.get_asset_materialization_events()
    return [e.materialization for e in found if e.asset_key == asset_key(path)]


def test_a_materialization_carries_the_lakes_data_version_rows_schema_and_uri(workshop: Workshop) -> None:
    result = workshop.run(rows_of(1, 2, 3), doubled)
    assert result.success
    event = materialized(result, "toy/doubled")[0]
    entry = workshop.lake.at("main").entry("toy/doubled")
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == entry.data_version
    assert event.metadata["dagster/row_count"].value == 3
    assert [c.name for c in event.metadata["dagster/column_schema"].value.columns] == ["x", "y"]
    assert workshop.lake.resolve("main").id in str(event.metadata["dagster/uri"].value)


def test_inputs_are_pinned_with_the_versions_that_were_read(workshop: Workshop) -> None:
    workshop.run(rows_of(1), doubled)
    record = workshop.lake.last_write("main", "toy/doubled").provenance
    assert record is not None
    assert [(p.path, p.read) for p in record.inputs] == [("toy/numbers", True)]
    assert record.inputs[0].data_version == workshop.lake.at(record.input_commit).entry("toy/numbers").data_version


def test_a_failed_check_leaves_main_untouched_and_reports_no_materialization(workshop: Workshop) -> None:
    workshop.run(rows_of(1, 2))
    before = workshop.lake.resolve("main").id
    result = workshop.run(rows_of(1, -2))
    assert not result.success
    assert materialized(result, "toy/numbers") == []
    assert evaluations(result)["numbers_are_positive"].passed is False
    assert evaluations(result)["numbers_are_positive"].metadata["bad"].value == 1
    assert workshop.lake.resolve("main").id == before


def test_the_refused_branch_stays_for_a_look(workshop: Workshop) -> None:
    workshop.run(rows_of(1, 2))
    workshop.run(rows_of(1, -2))
    branch = next(ref.name for ref in workshop.lake.branches() if ref.name.startswith("tx-"))
    changed = workshop.lake.diff("main", branch).changes
    assert [change.path for change in changed] == ["toy/numbers"]
    assert workshop.lake.at(branch).table("toy/numbers").collect()["x"].to_list() == [1, -2]


def test_downstream_of_a_refusal_does_not_run(workshop: Workshop) -> None:
    result = workshop.run(rows_of(-1), doubled)
    assert materialized(result, "toy/doubled") == []
    assert not workshop.lake.at("main").has("toy/doubled")


def test_equal_content_publishes_nothing(workshop: Workshop) -> None:
    workshop.run(rows_of(1, 2))
    workshop.run(rows_of(2, 1))
    assert workshop.messages().count("Materialize toy/numbers") == 1


def test_a_retried_run_never_publishes_twice(workshop: Workshop) -> None:
    run_id = dg.DagsterRun(job_name="x").run_id
    workshop.run(rows_of(1), run_id=run_id)
    before = workshop.lake.resolve("main").id
    with dg.DagsterInstance.ephemeral() as forgetful:
        result = Workshop(workshop.state, forgetful).run(rows_of(1), run_id=run_id)
    assert result.success
    assert workshop.lake.resolve("main").id == before


def test_a_run_for_stale_assets_skips_what_is_fresh(workshop: Workshop) -> None:
    workshop.run(rows_of(1), doubled)
    before = workshop.lake.resolve("main").id
    result = workshop.run(rows_of(1), doubled, tags=FRESH)
    assert result.success
    status = materialized(result, "toy/doubled")[0].metadata["headwater/status"].value
    assert (status, workshop.lake.resolve("main").id) == ("fresh", before)


def test_reading_an_undeclared_input_is_an_error_that_names_it(workshop: Workshop) -> None:
    @table("toy/sly")
    def sly(inputs: Inputs) -> pl.LazyFrame:
        """Reads what it does not declare."""
        return inputs.table("toy/numbers")

    workshop.run(rows_of(1))
    result = workshop.run(sly)
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "does not declare" in str(failure.step_failure_data.error)
    assert not workshop.lake.at("main").has("toy/sly")


def test_a_declared_input_that_was_never_read_is_a_warning(workshop: Workshop) -> None:
    @table("toy/lazy", inputs=["toy/numbers"])
    def lazy(inputs: Inputs) -> pl.DataFrame:
        """Ignores its input."""
        return pl.DataFrame({"x": [1]})

    workshop.run(rows_of(1))
    found = evaluations(workshop.run(lazy))["declared_inputs_were_read"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_rejected_rows_are_kept_on_the_refused_branch(workshop: Workshop) -> None:
    @table("toy/picky")
    def picky(inputs: Inputs) -> pl.DataFrame:
        """Refuses."""
        raise RejectedInputError("Row 3 is no number.", rows=pl.DataFrame({"row": [3], "cell": ["x"]}))

    result = workshop.run(picky)
    branch = next(ref.name for ref in workshop.lake.branches() if ref.name.startswith("tx-"))
    assert workshop.lake.at(branch).table("toy/picky.rejected").collect().to_dicts() == [{"row": 3, "cell": "x"}]
    assert evaluations(result)["inputs_are_usable"].passed is False


def test_a_partition_replaces_its_own_rows_alone(workshop: Workshop) -> None:
    values = {"2013-01": [1, 2], "2013-02": [3]}

    @table("toy/months", partitions=Partitions.months("2013-01", "2013-03"))
    def months(inputs: Inputs, month: str) -> pl.DataFrame:
        """By month."""
        return pl.DataFrame({"x": values[month]})

    for month in ("2013-01", "2013-02"):
        assert workshop.run(months, partition=month).success
    values["2013-01"] = [9]
    result = workshop.run(months, partition="2013-01")
    shown = materialized(result, "toy/months")[0].metadata
    assert (shown["dagster/partition_row_count"].value, shown["dagster/row_count"].value) == (1, 2)
    fresh = materialized(workshop.run(months, partition="2013-01", tags=FRESH), "toy/months")[0].metadata
    assert (fresh["headwater/status"].value, fresh["dagster/partition_row_count"].value) == ("fresh", 1)
    rows = workshop.lake.at("main").table("toy/months").sort("x").collect()
    assert rows.select("x", "period").rows() == [(3, "2013-02"), (9, "2013-01")]
    assert sorted(workshop.lake.at("main").entry("toy/months").partitions) == ["2013-01", "2013-02"]


def test_no_fact_of_a_function_or_check_hides_what_the_lake_says(workshop: Workshop) -> None:
    facts = {"commit": "mine", "status": "mine", "description": 5, "rows": [{"x": None}, {"x": 1}], "empty": []}
    told = Check(name="told", judge=lambda audit: Verdict(passed=True, facts=facts))

    @table("toy/loud", checks=[told])
    def loud(inputs: Inputs) -> Result:
        """Says much."""
        return Result(data=pl.DataFrame({"x": [1]}), facts=facts)

    result = workshop.run(loud)
    assert result.success
    metadata = materialized(result, "toy/loud")[0].metadata
    assert metadata["headwater/commit"].value == workshop.lake.resolve("main").id
    assert metadata["headwater/status"].value == "published"
    assert evaluations(result)["told"].passed


def test_plots_of_a_folder_are_shown_and_what_is_too_long_is_left_out(workshop: Workshop) -> None:
    picture = b"<svg xmlns='http://www.w3.org/2000/svg'/>"

    @folder("toy/report", kinds=["matplotlib"])
    def drawn(inputs: Inputs, target: Path) -> None:
        """Draws."""
        (target / "lift.svg").write_bytes(picture)
        (target / "huge.png").write_bytes(b"x" * 300_000)
        (target / "facts.json").write_text("{}")

    for tags in (None, FRESH):
        metadata = materialized(workshop.run(drawn, tags=tags), "toy/report")[0].metadata
        (name,) = (name for name in metadata if name.startswith("headwater/plot_"))
        head, _, data = metadata[name].value.partition("base64,")
        assert (name, head) == ("headwater/plot_lift", "![lift](data:image/svg+xml;")
        assert base64.b64decode(data.removesuffix(")")) == picture


def test_labels_of_one_class_or_none_are_a_refused_build_and_no_crash(workshop: Workshop) -> None:
    from assets._chain._model import trained
    from headwater.models import LightGBMModel

    declaration = LightGBMModel(features=("x",), categorical=(), label="late", parameters={}, num_boost_round=2)
    for labels in ([True] * 40, [None] * 40):
        rows = pl.DataFrame({"x": [float(i) for i in range(40)], "late": labels}, schema_overrides={"late": pl.Boolean})

        def train(inputs: Inputs, folder: Path, rows: pl.DataFrame = rows) -> None:
            trained(rows, rows, declaration)

        result = workshop.run(Asset(path="toy/model", kind=Kind.FOLDER, compute=train))
        assert not result.success
        verdict = evaluations(result)["inputs_are_usable"]
        assert verdict.passed is False
        assert "late" in str(verdict.metadata["problem"].value)
        assert not workshop.lake.at("main").has("toy/model")


def latest(workshop: Workshop, name: str, path: str = "toy/numbers") -> bool | None:
    """Whether Dagster's newest evaluation of a check passed, None when there is none."""
    key = dg.AssetCheckKey(asset_key(path), name)
    record = workshop.instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).get(key)
    return record.event.asset_check_evaluation.passed if record and record.event else None


def test_a_fresh_partition_reports_the_verdicts_on_itself_after_a_revert(workshop: Workshop) -> None:
    values = {"2013-01": [1, 2], "2013-02": [3]}
    few = Check(name="few", judge=lambda audit: Verdict(passed=True, facts={"n": audit.rows().collect().height}))

    @table("toy/months", partitions=Partitions.months("2013-01", "2013-03"), checks=[few])
    def months(inputs: Inputs, month: str) -> pl.DataFrame:
        """By month."""
        return pl.DataFrame({"x": values[month]})

    for month in ("2013-01", "2013-02"):
        assert workshop.run(months, partition=month).success
    values["2013-01"] = [7, 8, 9]
    workshop.run(months, partition="2013-01")
    workshop.lake.revert(workshop.lake.resolve("main").id)
    result = workshop.run(months, partition="2013-01", tags=FRESH)
    assert result.success
    assert materialized(result, "toy/months")[0].metadata["headwater/status"].value == "fresh"
    assert evaluations(result)["few"].metadata["n"].value == 2


def test_a_fresh_run_after_a_revert_reports_the_verdicts_of_the_build_that_made_it(workshop: Workshop) -> None:
    workshop.run(rows_of(1))
    later = rows_of(1, 2)
    workshop.run(later)
    workshop.lake.revert(workshop.lake.resolve("main").id)
    result = workshop.run(later, tags=FRESH)
    assert result.success
    shown = materialized(result, "toy/numbers")[0].metadata
    assert (shown["headwater/status"].value, shown["dagster/row_count"].value) == ("fresh", 1)
    assert {name: found.passed for name, found in evaluations(result).items()} == {
        "inputs_are_usable": True,
        "declared_inputs_were_read": True,
        "numbers_are_positive": True,
    }


def test_what_came_by_an_outside_commit_is_fresh_and_no_check_claims_to_have_judged_it(workshop: Workshop) -> None:
    workshop.run(rows_of(1))
    with workshop.lake.transaction() as tx:
        tx.write_table("toy/numbers", pl.DataFrame({"x": [-5]}))
        tx.publish(message="Put numbers there", provenance=None)
    result = workshop.run(rows_of(1), doubled, tags=FRESH)
    assert result.success
    assert materialized(result, "toy/numbers")[0].metadata["headwater/status"].value == "fresh"
    assert [e for e in result.get_asset_check_evaluations() if e.asset_key == asset_key("toy/numbers")] == []
    assert workshop.lake.at("main").table("toy/doubled").collect()["y"].to_list() == [-10]


def test_a_check_that_a_refused_build_turned_red_turns_green_when_the_asset_is_found_fresh(workshop: Workshop) -> None:
    right = rows_of(1, 2)
    workshop.run(right)
    workshop.run(rows_of(1, -2))
    assert latest(workshop, "numbers_are_positive") is False
    result = workshop.run(right, tags=FRESH)
    assert materialized(result, "toy/numbers")[0].metadata["headwater/status"].value == "fresh"
    assert latest(workshop, "numbers_are_positive") is True


def test_what_a_red_check_held_back_is_asked_for_after_the_fresh_run(workshop: Workshop) -> None:
    right = rows_of(1, 2)
    below = dagster_asset(doubled, PRODUCT).map_asset_specs(
        lambda spec: spec.replace_attributes(
            automation_condition=dg.AutomationCondition.all_deps_blocking_checks_passed()
        )
    )
    defs = dg.Definitions(
        assets=[dagster_asset(right, PRODUCT), below], resources={"lake": LakeResource(state=str(workshop.state))}
    )

    def asked() -> int:
        all_of_it = dg.AssetSelection.assets("toy/numbers", "toy/doubled")
        found = dg.evaluate_automation_conditions(defs, instance=workshop.instance, asset_selection=all_of_it)
        return found.get_num_requested(asset_key("toy/doubled"))

    workshop.run(right)
    workshop.run(rows_of(1, -2))
    assert asked() == 0
    workshop.run(right, tags=FRESH)
    assert asked() == 1


def test_a_verdict_on_equal_content_built_again_is_the_one_reported(workshop: Workshop) -> None:
    @table("toy/numbers")
    def bare(inputs: Inputs) -> pl.DataFrame:
        """Numbers."""
        return pl.DataFrame({"x": [1]}, schema={"x": pl.Int64})

    workshop.run(bare)
    checked = rows_of(1)
    workshop.run(checked)
    assert workshop.messages().count("Materialize toy/numbers") == 1
    result = workshop.run(checked, tags=FRESH)
    assert evaluations(result)["numbers_are_positive"].passed


def test_what_was_taken_back_is_left_so_and_what_is_below_is_skipped(workshop: Workshop) -> None:
    numbers = rows_of(1)
    workshop.run(numbers)
    workshop.lake.revert(workshop.lake.resolve("main").id)
    result = workshop.run(numbers, doubled, tags=FRESH)
    assert result.success
    assert result.get_asset_materialization_events() == []
    assert result.get_asset_check_evaluations() == []
    assert workshop.lake.at("main").paths() == ()
