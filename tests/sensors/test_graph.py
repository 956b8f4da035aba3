"""Every asset of the real graph is owned, described and followed: the policy leaves none out."""

import dagster as dg
import pytest

from headwater.definitions import defs
from sensors.heartbeat import SENSORS_KEY

pytestmark = pytest.mark.filterwarnings("ignore:AssetExecutionContext.op is deprecated")


@pytest.fixture(scope="module")
def specs() -> list[dg.AssetSpec]:
    found = [
        spec for spec in defs.resolve_all_asset_specs() if spec.key != SENSORS_KEY
    ]  # stands in no lake, and no code makes it
    assert len(found) > 20
    return found


def test_every_asset_says_whose_it_is_what_it_is_and_of_which_code(specs: list[dg.AssetSpec]) -> None:
    for spec in specs:
        assert spec.owners, spec.key
        assert spec.group_name == spec.key.path[0], spec.key
        assert spec.kinds, spec.key
        assert (spec.description or "").strip(), spec.key
        assert spec.code_version, spec.key


def test_every_asset_that_reads_others_has_a_condition_and_landing_assets_have_none(
    specs: list[dg.AssetSpec],
) -> None:
    for spec in specs:
        is_made_of_code = spec.key.path[-1] in (
            "release_orders",
            "release_refusals",
            "retraining_orders",
            "training_refusals",
            "review_answers",
        )  # commands write it; a build makes it empty
        assert bool(spec.automation_condition) == (bool(list(spec.deps)) or is_made_of_code), spec.key
        is_fed_alone = spec.key.path[-1] == "service_failures"  # its log starts it; reconciliation makes it empty
        assert bool(spec.deps) == ("landing" not in spec.key.path and not is_made_of_code and not is_fed_alone), (
            spec.key
        )


def test_every_asset_has_blocking_checks(specs: list[dg.AssetSpec]) -> None:
    graph = defs.resolve_asset_graph()
    for spec in specs:
        checks = [graph.get_check_spec(key) for key in graph.get_check_keys_for_assets({spec.key})]
        assert any(check.blocking for check in checks), spec.key


def test_what_one_body_builds_together_has_a_sensor_and_so_a_run_of_its_own() -> None:
    """A run that Dagster requests for assets whose body can be split and others at once leaves the former's checks out."""
    graph = defs.resolve_asset_graph()
    shared = {key for item in graph.assets_defs if len(item.keys) > 1 for key in item.keys}
    targets = {
        sensor.name: sensor.asset_selection.resolve(graph)
        for sensor in defs.sensors or ()
        if isinstance(sensor, dg.AutomationConditionSensorDefinition) and sensor.asset_selection
    }
    assert shared == targets.pop("automation_conditions_flights_together")
    urgent = targets.pop("automation_conditions_urgent")
    rest = {key for key in graph.materializable_asset_keys if key not in shared | urgent}
    assert rest == targets.pop("automation_conditions")
    assert not targets


def test_what_takes_a_version_back_is_asked_for_apart_and_goes_first() -> None:
    """In one run with a training it would come after it, and behind two of them in the queue."""
    (sensor,) = (one for one in defs.sensors or () if one.name == "automation_conditions_urgent")
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.asset_selection is not None
    found = {"/".join(key.path) for key in sensor.asset_selection.resolve(defs.resolve_asset_graph())}
    assert found == {f"flights/{name}" for name in ("rollout", "experiment", "rollout_step", "release")}
    assert sensor.run_tags["dagster/priority"] == "2", "before compactions, which are 1"


def test_every_sensor_runs_by_default() -> None:
    sensors = {sensor.name: sensor for sensor in defs.sensors or ()}
    assert set(sensors) == {
        "heartbeat",
        "automation_conditions",
        "automation_conditions_flights_together",
        "automation_conditions_urgent",
        "compaction",
        "landed_data",
        "outside_commits",
        "reconciliation",
        "mlflow_mirror",
    }
    assert {sensor.default_status for sensor in sensors.values()} == {dg.DefaultSensorStatus.RUNNING}


def test_every_sensor_has_a_check_that_says_whether_it_ticks() -> None:
    names = {key.name for key in defs.resolve_asset_graph().get_check_keys_for_assets({SENSORS_KEY})}
    assert names == {f"{sensor.name}_ticks" for sensor in defs.sensors or ()}
