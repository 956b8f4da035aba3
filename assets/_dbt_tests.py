"""dbt's tests: which model each one judges, read from the manifest, and what a build said of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from headwater.names import ASSET_FACT
from headwater.product import DeclarationError
from headwater.provenance import CheckRecord
from resources.dbt_resource import DbtBuild

_TESTS: Final = ("test.", "unit_test.")
_BROKEN: Final = ("error", "runtime error")
_SKIPPED: Final = "skipped"
_WARN: Final = "warn"


@dataclass(frozen=True, kw_only=True)
class DbtTest:
    """One data test of the declared models.

    Attributes:
        name: As dbt calls it.
        path: Lake path of the model it judges, None where it judges several: then it is no asset check in Dagster.
        blocking: Whether dbt fails when it does.
        description: What it claims, where the project says so.
    """

    name: str
    path: str | None
    blocking: bool
    description: str | None


def dbt_tests(manifest: Mapping[str, Any], models: Mapping[str, str]) -> Mapping[str, DbtTest]:
    """The data tests of declared models, by dbt's unique id.

    A test judges the one model that it reads; of several the one that it is attached to, or that `meta.dagster.ref` names
    (dagster-dbt's rules).

    Args:
        manifest: dbt's manifest.
        models: Model name to lake path.

    Raises:
        DeclarationError: Two tests of one model have one name.
    """
    nodes = manifest["nodes"].items()
    paths = {id: models[n["name"]] for id, n in nodes if n["resource_type"] == "model" and n["name"] in models}
    found = {
        id: DbtTest(
            name=node["name"],
            path=paths.get(_judged(node, manifest)),
            blocking=str(node["config"].get("severity") or "error").lower() != _WARN,
            description=(node.get("meta") or {}).get("description") or node.get("description") or None,
        )
        for id, node in nodes
        if node["resource_type"] == "test" and not paths.keys().isdisjoint(node["depends_on"]["nodes"])
    }
    _check_names(found.values())
    return found


def _check_names(tests: Iterable[DbtTest]) -> None:
    names = Counter((test.path, test.name) for test in tests if test.path is not None)
    for (path, name), count in names.items():
        if count > 1:
            raise DeclarationError(
                what="dbt test",
                name=name,
                problem=f"{count} tests of {path!r} are called so, and Dagster tells checks apart by their names.",
                remedy="Give each a `name` of its own.",
            )


def verdicts(build: DbtBuild, tests: Mapping[str, DbtTest]) -> tuple[CheckRecord, ...]:
    """The audit of a build that came to its end, whether its tests passed or not; unit tests are in it.

    Args:
        build: How it ended.
        tests: The data tests of the models, by dbt's unique id.

    Raises:
        dagster.Failure: dbt could not build a model, did not run a test of one, or failed without a failing test.
    """
    if build.results is None:
        raise _failure(f"dbt build ended without results: {build.error}")
    _check_models(build.results)
    ran = {found["unique_id"] for found in build.results}
    if missing := sorted(test.name for id, test in tests.items() if id not in ran):
        raise _failure(
            f"dbt did not run {len(missing)} tests of the models it built: {', '.join(missing[:5])}. Nothing was published. "
            "Look for DBT_INDIRECT_SELECTION in the environment: it must not be set."
        )
    judged = [found for found in build.results if _is_test(found) and found["status"] != _SKIPPED]
    records = tuple(_record(found, tests.get(found["unique_id"])) for found in judged)
    if build.error is not None and not any(record.blocking and not record.passed for record in records):
        raise _failure(f"dbt build failed, though no test of it did: {build.error}")
    return records


def _judged(node: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    above = sorted(set(node["depends_on"]["nodes"]))
    meta = node["config"].get("meta") or node.get("meta") or {}
    if ref := meta.get("dagster", {}).get("ref"):
        wanted = (ref["name"], ref.get("package") or manifest["metadata"]["project_name"], ref.get("version"))
        nodes = manifest["nodes"].items()
        return next((id for id, n in nodes if (n["name"], n["package_name"], n.get("version")) == wanted), "")
    return above[0] if len(above) == 1 else str(node.get("attached_node") or "")


def _check_models(results: Sequence[Mapping[str, Any]]) -> None:
    broken = [found for found in results if found["status"] in _BROKEN and not _is_test(found)]
    if broken:
        said = "; ".join(f"{_name(found)}: {str(found['message']).strip()}" for found in broken)
        raise _failure(f"dbt could not build {said}. Nothing was published.")


def _record(found: Mapping[str, Any], test: DbtTest | None) -> CheckRecord:
    passed = found["status"] == "pass"
    blocking = found["status"] != _WARN and not (passed and test is not None and not test.blocking)
    facts: dict[str, Any] = {} if test is None or test.path is None else {ASSET_FACT: test.path}
    if not passed:
        facts |= {"description": str(found["message"])}
        facts |= {} if found.get("failures") is None else {"failed_rows": found["failures"]}
    return CheckRecord(
        name=test.name if test else _name(found),
        passed=passed,
        severity="ERROR" if blocking else "WARN",
        blocking=blocking,
        facts=facts,
    )


def _is_test(found: Mapping[str, Any]) -> bool:
    return str(found["unique_id"]).startswith(_TESTS)


def _name(found: Mapping[str, Any]) -> str:
    """Of `model.<project>.<name>`, `test.<project>.<name>.<hash>` and `unit_test.<project>.<model>.<name>`."""
    kind, _, *names = str(found["unique_id"]).split(".")
    return ".".join(names) if kind == "unit_test" else names[0]


def _failure(text: str) -> dg.Failure:
    return dg.Failure(text, allow_retries=False)
