"""A whole dbt build through Dagster into a lake: one commit, dbt's tests as its audit, or nothing at all."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets._bridge import asset_key
from assets._dbt_bridge import dagster_dbt_assets
from assets._declared import built_by_dbt, declared
from assets.flights._paths import CARRIER_HISTORY, FLIGHTS, ROUTE_HISTORY
from assets.flights.product import PRODUCT
from headwater.lake import EmbeddedLake
from headwater.lake._removal import remove_path
from resources.dbt import dbt_folder, ensure_manifest
from resources.dbt_resource import DbtCommand
from resources.lake import ONLY_STALE_TAG, LakeResource
from tests.real_flights import datasets

BOTH = [ROUTE_HISTORY, CARRIER_HISTORY]


class Workshop:
    """Runs the dbt models of flights over the first days of January."""

    def __init__(self, state: Path, instance: dg.DagsterInstance) -> None:
        self.state, self.instance, self.project = state, instance, dbt_folder()
        self.lake = EmbeddedLake.open(state / "lake")
        self.flights = datasets(1)[FLIGHTS].drop("period").sort("scheduled_departure").head(1_500)

    def land(self, rows: pl.DataFrame) -> str:
        """Puts flights where dbt's source points; returns the commit."""
        with self.lake.transaction() as tx:
            tx.write_table(FLIGHTS, rows)
            return tx.publish(message="Put flights there", provenance=None).commit.id

    def run(
        self, select: dg.AssetSelection | None = None, *, run_id: str | None = None, only_stale: bool = False
    ) -> dg.ExecuteInProcessResult:
        manifest = json.loads(ensure_manifest(self.project).read_text())
        dbt = DbtCommand(project=str(self.project))
        models = [asset for asset in declared(PRODUCT) if asset.path in built_by_dbt(PRODUCT)]
        job = dg.Definitions(
            assets=[dagster_dbt_assets(PRODUCT, models, manifest)],
            jobs=[dg.define_asset_job("build", selection=select or dg.AssetSelection.all())],
            resources={"lake": LakeResource(state=str(self.state)), "dbt": dbt},
        ).resolve_job_def("build")
        tags = {ONLY_STALE_TAG: "true"} if only_stale else None
        return job.execute_in_process(instance=self.instance, run_id=run_id, tags=tags, raise_on_error=False)

    def change_project(self, folder: Path) -> None:
        """From now on dbt builds a copy of the project, with a test that only warns and always fails."""
        self.project = folder / "dbt_project"
        shutil.copytree(dbt_folder(), self.project, ignore=shutil.ignore_patterns("target", "logs"))
        schema = self.project / "models" / "flights" / "schema.yml"
        warns = (
            "data_tests:\n          - not_null\n          - accepted_values:\n              name: origin_warns\n"
            "              arguments: {values: ['XXX']}\n              config: {severity: warn}\n"
        )
        schema.write_text(schema.read_text().replace("data_tests: [not_null]\n", warns, 1))

    def failure(self, done: dg.ExecuteInProcessResult) -> str:
        """What the failed step says."""
        (event,) = done.get_step_failure_events()
        return str(event.step_failure_data.error_display_string)


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Workshop(tmp_path, instance)


def verdicts(result: dg.ExecuteInProcessResult) -> dict[dg.AssetCheckKey, bool]:
    return {evaluation.asset_check_key: evaluation.passed for evaluation in result.get_asset_check_evaluations()}


def test_all_models_are_one_commit_pinned_to_what_they_read_and_a_retry_adds_none(workshop: Workshop) -> None:
    landed = workshop.land(workshop.flights)
    done = workshop.run()
    assert done.success
    head = workshop.lake.at("main")
    record = head.commit.provenance
    assert record is not None
    assert sorted(output.path for output in record.outputs) == sorted(BOTH)
    assert record.input_commit == landed
    assert [(pin.path, pin.data_version) for pin in record.inputs] == [(FLIGHTS, head.entry(FLIGHTS).data_version)]
    assert {check.name for check in record.checks} >= {
        "route_history_keys_are_unique",
        "carrier_history_keys_are_unique",
    }
    assert all(check.passed for check in record.checks)
    for path in BOTH:
        (event,) = (e for e in done.get_asset_materialization_events() if e.asset_key == asset_key(path))
        shown = event.materialization.metadata
        assert shown["headwater/commit"].value == head.commit.id
        assert shown["dagster/row_count"].value == head.entry(path).rows > 0
        deps = shown["dagster/column_lineage"].value.deps_by_column["arr_delay_mean_24h"]
        assert {dep.asset_key for dep in deps} == {asset_key(FLIGHTS)}

    with dg.DagsterInstance.ephemeral() as forgetful:  # the lake knows the transaction
        again = Workshop(workshop.state, forgetful).run(run_id=done.run_id)
    assert again.success
    fresh = workshop.run(only_stale=True)
    assert fresh.success
    assert workshop.lake.at("main").commit.id == head.commit.id
    assert verdicts(again) == verdicts(fresh) == verdicts(done)  # what dbt's tests said when it was built
    assert len(verdicts(done)) == len(record.checks)


def test_a_failed_dbt_test_leaves_main_untouched_and_every_model_on_a_branch(workshop: Workshop) -> None:
    broken = workshop.flights.with_columns(late=pl.col("late") * 3)  # a share of three halves
    landed = workshop.land(broken)
    done = workshop.run()
    assert not done.success
    assert done.get_asset_materialization_events() == []
    failed = {e.check_name for e in done.get_asset_check_evaluations() if not e.passed}
    assert "route_history_late_share_24h_in_range" in failed
    assert workshop.lake.at("main").commit.id == landed
    (left,) = (branch for branch in workshop.lake.branches() if branch.name != "main")
    record = workshop.lake.resolve(left.name).provenance
    assert record is not None
    assert record.action == "refuse"
    assert {check.name for check in record.checks if not check.passed} == failed
    assert workshop.lake.at(left.name).has(ROUTE_HISTORY)


def test_one_model_alone_is_built_with_all_that_dbt_builds_and_dagster_hears_of_both(workshop: Workshop) -> None:
    """With dagster-dbt's own selection the other model had no table, and the build was refused."""
    workshop.land(workshop.flights)
    done = workshop.run(dg.AssetSelection.assets(asset_key(ROUTE_HISTORY)))
    assert done.success
    head = workshop.lake.at("main")
    assert head.commit.provenance is not None
    assert sorted(output.path for output in head.commit.provenance.outputs) == sorted(BOTH)
    assert len(head.commit.provenance.checks) == len(verdicts(done)) > 4
    for path in BOTH:
        event = workshop.instance.get_latest_materialization_event(asset_key(path))
        assert event is not None
        assert event.asset_materialization is not None
        assert (event.asset_materialization.tags or {})["dagster/data_version"] == head.entry(path).data_version


def test_models_whose_checks_a_run_leaves_out_are_tested_all_the_same(workshop: Workshop) -> None:
    landed = workshop.land(workshop.flights.with_columns(late=pl.col("late") * 3))
    done = workshop.run(dg.AssetSelection.assets(*map(asset_key, BOTH)).without_checks())
    assert not done.success
    assert done.get_asset_materialization_events() == []
    assert workshop.lake.at("main").commit.id == landed
    assert not verdicts(done)[dg.AssetCheckKey(asset_key(ROUTE_HISTORY), "route_history_late_share_24h_in_range")]


def test_nothing_is_published_when_dbt_ran_none_of_the_tests(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed = workshop.land(workshop.flights)
    monkeypatch.setenv("DBT_INDIRECT_SELECTION", "empty")
    done = workshop.run()
    assert not done.success
    assert "did not run" in workshop.failure(done)
    assert "DBT_INDIRECT_SELECTION" in workshop.failure(done)
    assert workshop.lake.at("main").commit.id == landed
    assert [branch.name for branch in workshop.lake.branches()] == ["main"]


def test_a_failing_test_of_two_models_refuses_both_also_beside_one_that_warns(
    workshop: Workshop, tmp_path: Path
) -> None:
    """Such a test is no asset check in Dagster; a failed warning once hid that dbt had failed."""
    landed = workshop.land(workshop.flights)
    workshop.change_project(tmp_path / "changed")
    singular = workshop.project / "tests" / "rows_of_both_agree.sql"
    singular.write_text("select 1 as bad from {{ ref('route_history') }}, {{ ref('carrier_history') }} limit 1\n")
    done = workshop.run()
    assert not done.success
    assert "rows_of_both_agree" in workshop.failure(done)
    assert workshop.lake.at("main").commit.id == landed
    (left,) = (branch for branch in workshop.lake.branches() if branch.name != "main")
    record = workshop.lake.resolve(left.name).provenance
    assert record is not None
    assert {(check.name, check.blocking) for check in record.checks if not check.passed} == {
        ("rows_of_both_agree", True),
        ("origin_warns", False),
    }
    singular.write_text("select 1 as bad from {{ ref('route_history') }}, {{ ref('carrier_history') }} limit 0\n")
    done = workshop.run()
    assert done.success
    published = workshop.lake.at("main").commit.provenance
    assert published is not None
    assert {check.name for check in published.checks if not check.passed} == {"origin_warns"}


def test_a_model_that_dbt_cannot_build_fails_the_run_with_what_dbt_said(workshop: Workshop, tmp_path: Path) -> None:
    landed = workshop.land(workshop.flights)
    workshop.change_project(tmp_path / "changed")
    model = workshop.project / "models" / "flights" / "carrier_history.sql"
    model.write_text("select error('it broke at noon')::varchar as x\n")
    done = workshop.run()
    assert not done.success
    assert "carrier_history" in workshop.failure(done)
    assert workshop.lake.at("main").commit.id == landed
    assert [branch.name for branch in workshop.lake.branches()] == ["main"]


def test_a_model_that_somebody_removed_stays_away_until_it_is_asked_for(workshop: Workshop) -> None:
    workshop.land(workshop.flights)
    assert workshop.run().success
    remove_path(workshop.lake, CARRIER_HISTORY, into="main")
    assert workshop.run(dg.AssetSelection.assets(asset_key(ROUTE_HISTORY))).success
    assert not workshop.lake.at("main").has(CARRIER_HISTORY)
    assert workshop.run(dg.AssetSelection.assets(asset_key(CARRIER_HISTORY))).success
    assert workshop.lake.at("main").has(CARRIER_HISTORY)


def test_what_was_fresh_before_a_run_is_no_news_in_it(workshop: Workshop) -> None:
    workshop.land(workshop.flights)
    assert workshop.run().success
    done = workshop.run(dg.AssetSelection.assets(asset_key(ROUTE_HISTORY)), only_stale=True)
    assert [event.asset_key for event in done.get_asset_materialization_events()] == [asset_key(ROUTE_HISTORY)]


def test_a_run_of_checks_alone_builds_nothing_and_says_what_was_judged(workshop: Workshop) -> None:
    workshop.land(workshop.flights)
    assert workshop.run().success
    head = workshop.lake.at("main").commit.id
    workshop.land(workshop.flights.with_columns(late=pl.col("late") * 3))
    done = workshop.run(dg.AssetSelection.all_asset_checks())
    assert done.success
    assert done.get_asset_materialization_events() == []
    assert verdicts(done)
    assert all(verdicts(done).values())
    assert workshop.lake.at("main").commit.parents[0] == head
