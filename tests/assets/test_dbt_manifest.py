"""What is read out of a dbt manifest: inputs, checks, and names that cannot be told apart."""

from typing import Any

import pytest

from assets._chain._dbt import dbt_assets_of, read_paths
from assets._dbt_tests import dbt_tests, verdicts
from headwater.product import DbtModels, DeclarationError, Product
from headwater.provenance import verdicts_on
from resources.dbt_resource import DbtBuild

SOURCE = "source.headwater.toy_lake.events"
PRODUCT = Product(
    name="toy",
    question="?",
    owners=("team:toy",),
    dbt=DbtModels(models={"daily": "toy/daily", "weekly": "toy/weekly"}, sources={"events": "toy/events"}),
)


def node(kind: str, name: str, *above: str, id: str = "", **more: Any) -> dict[str, Any]:
    unique = id or f"{kind}.headwater.{name}"
    body = {"name": name, "resource_type": kind, "unique_id": unique, "package_name": "headwater", "config": {}}
    text = {"raw_code": "select 1", "description": "", "columns": {}}
    return {**body, **text, "depends_on": {"nodes": list(above), "macros": []}, **more}


def manifest(*more: dict[str, Any]) -> dict[str, Any]:
    """Events are counted by day, in a model that nobody declared by hour, and that by week."""
    nodes = [
        node("model", "daily", SOURCE),
        node("model", "hourly", "model.headwater.daily"),
        node("model", "weekly", "model.headwater.hourly", SOURCE),
        *more,
    ]
    return {
        "metadata": {"project_name": "headwater"},
        "nodes": {item["unique_id"]: item for item in nodes},
        "sources": {SOURCE: {"name": "events", "unique_id": SOURCE}},
        "macros": {},
    }


def found(status: str, id: str, message: str | None = None, **more: Any) -> dict[str, Any]:
    return {"unique_id": id, "status": status, "message": message, **more}


def test_a_model_depends_on_the_nearest_that_is_declared_and_is_pinned_to_its_sources() -> None:
    """Dagster's lineage once had a layered model hang from the source alone."""
    assert read_paths(PRODUCT, manifest(), "daily") == ("toy/events",)
    assert read_paths(PRODUCT, manifest(), "weekly") == ("toy/daily", "toy/events")
    assert [asset.inputs for asset in dbt_assets_of(PRODUCT, manifest())] == [("toy/events",), ("toy/events",)]


def test_several_models_of_one_name_are_refused_with_their_ids() -> None:
    again = node("model", "daily", id="model.headwater.daily.v2")
    with pytest.raises(DeclarationError, match=r"model\.headwater\.daily\.v2"):
        dbt_assets_of(PRODUCT, manifest(again))


def test_a_test_judges_the_model_that_it_reads_or_hangs_from_or_names() -> None:
    daily, weekly = "model.headwater.daily", "model.headwater.weekly"
    named = {"meta": {"dagster": {"ref": {"name": "weekly"}}}, "severity": "WARN"}
    tests = dbt_tests(
        manifest(
            node("test", "one", daily),
            node("test", "hangs", daily, weekly, attached_node=weekly),
            node("test", "names", daily, weekly, config=named),
            node("test", "both", daily, weekly),
            node("test", "of_the_source", SOURCE),
            node("test", "elsewhere", "model.headwater.hourly"),
        ),
        PRODUCT.dbt.models if PRODUCT.dbt else {},
    )
    assert {test.name: (test.path, test.blocking) for test in tests.values()} == {
        "one": ("toy/daily", True),
        "hangs": ("toy/weekly", True),
        "names": ("toy/weekly", False),
        "both": (None, True),
    }


def test_two_tests_of_one_model_with_one_name_are_refused() -> None:
    """dbt allows it; the definitions once did not load, for all products, with a message of Dagster's."""
    tests = [node("test", "filled", "model.headwater.daily", id=f"test.headwater.filled.{n}") for n in range(2)]
    with pytest.raises(DeclarationError, match="toy/daily"):
        dbt_tests(manifest(*tests), {"daily": "toy/daily"})


def test_every_verdict_is_recorded_under_its_own_name_and_asset() -> None:
    """One name on two models; a unit test goes by its own name, not by its model's; a skipped one has no verdict."""
    daily, weekly = "model.headwater.daily", "model.headwater.weekly"
    tests = dbt_tests(
        manifest(
            node("test", "filled", daily, id="test.headwater.filled.1", config={"severity": "warn"}),
            node("test", "filled", weekly, id="test.headwater.filled.2", config={"severity": "warn"}),
        ),
        {"daily": "toy/daily", "weekly": "toy/weekly"},
    )
    results = [
        found("success", daily),
        found("warn", "test.headwater.filled.1", "Got 3 results", failures=3),
        found("pass", "test.headwater.filled.2"),
        found("pass", "unit_test.headwater.daily.counts"),
        found("skipped", "unit_test.headwater.weekly.counts"),
    ]
    records = verdicts(DbtBuild(results=results, error=None), tests)
    assert [(r.name, r.passed, r.severity, r.blocking) for r in records] == [
        ("filled", False, "WARN", False),
        ("filled", True, "WARN", False),
        ("daily.counts", True, "ERROR", True),
    ]
    assert records[0].facts == {"asset": "toy/daily", "description": "Got 3 results", "failed_rows": 3}
    assert [r.passed for r in verdicts_on(records, "toy/weekly") if r.name == "filled"] == [True]
