"""What Dagster does that automation relies on or avoids: when it changes, these say so before users do."""

import dagster as dg
import pytest

from assets._automation import condition_for

# Dagster's own evaluation uses what it calls beta.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `include_sources`")

UP = dg.AssetKey("up")


def definitions(condition: dg.AutomationCondition) -> dg.Definitions:
    """Two assets; `up` reports the data version of its run's tag."""

    @dg.asset(key="up")
    def up(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion(context.run.tags["version"]))

    @dg.asset(key="down", deps=["up"], automation_condition=condition)
    def down() -> None: ...

    return dg.Definitions(assets=[up, down], executor=dg.in_process_executor)


class Ticks:
    """Evaluates conditions tick by tick."""

    def __init__(self, condition: dg.AutomationCondition, instance: dg.DagsterInstance) -> None:
        self._defs, self._instance, self._cursor = definitions(condition), instance, None

    def build(self, name: str, version: str = "") -> None:
        job = self._defs.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(
            instance=self._instance, asset_selection=[dg.AssetKey(name)], tags={"version": version}
        ).success

    def tick(self) -> int:
        found = dg.evaluate_automation_conditions(self._defs, self._instance, cursor=self._cursor)
        self._cursor = found.cursor  # type: ignore[assignment]
        return found.total_requested


def settled(condition: dg.AutomationCondition, instance: dg.DagsterInstance) -> Ticks:
    """Both assets built from version 1, and quiet."""
    ticks = Ticks(condition, instance)
    ticks.build("up", "1")
    ticks.tick()
    ticks.build("down")
    ticks.tick()
    assert ticks.tick() == 0
    return ticks


OURS = condition_for([UP], is_partitioned=False, partitioned=frozenset())


@pytest.mark.parametrize(("condition", "requested"), [(dg.AutomationCondition.eager(), 1), (OURS, 0)])
def test_eager_starts_what_is_below_an_equal_version_and_ours_does_not(
    condition: dg.AutomationCondition, requested: int
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = settled(condition, instance)
        ticks.build("up", "1")
        assert ticks.tick() == requested


@pytest.mark.parametrize(("condition", "requested"), [(dg.AutomationCondition.eager(), 0), (OURS, 1)])
def test_eager_loses_a_change_that_comes_after_the_build_below_in_one_tick_and_ours_does_not(
    condition: dg.AutomationCondition, requested: int
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = settled(condition, instance)
        ticks.build("up", "2")
        assert ticks.tick() == 1
        ticks.build("down")
        ticks.build("up", "3")
        assert ticks.tick() == requested


def test_the_tags_that_reports_carry_are_what_dagster_reads_as_data_version() -> None:
    from sensors._reports import Standing, materialization

    with dg.DagsterInstance.ephemeral() as instance:
        told = materialization(Standing(path="up", partition=None, data_version="abc", commit="c"), actor="test")
        instance.report_runless_asset_event(told)
        record = instance.get_latest_data_version_record(UP)
        assert record is not None
        found = dg.DataVersion("abc")
        from dagster._core.definitions.data_version import extract_data_version_from_entry

        assert extract_data_version_from_entry(record.event_log_entry) == found
