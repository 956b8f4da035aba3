"""What a dbt build said of its models and tests, read from its run results as well as from its events.

dagster-dbt has no asset check for a test of several models, nor for a unit test: those are heard here.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dagster as dg

from headwater.provenance import CheckRecord

RUN_RESULTS: Final = "run_results.json"
_TESTS: Final = ("test.", "unit_test.")
_BROKEN: Final = ("error", "runtime error")
_SKIPPED: Final = "skipped"


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """The audit of one dbt build.

    Attributes:
        shown: Verdicts that are asset checks in Dagster.
        records: All verdicts, those of tests without an asset check too.
    """

    shown: tuple[dg.AssetCheckEvaluation, ...]
    records: tuple[CheckRecord, ...]


def verdicts(
    events: Iterable[object], folder: Path, manifest: Mapping[str, Any], models: Iterable[str], *, error: object
) -> Verdicts:
    """The verdicts of a build that came to its end, whether its tests passed or not.

    Args:
        events: What dagster-dbt made of the build.
        folder: Where dbt wrote its run results.
        manifest: dbt's manifest.
        models: Names of the models that were to be built.
        error: dbt's own error when the build was no success, else None.

    Raises:
        dagster.Failure: dbt could not build a model, did not run a test of one, or failed without a failing test.
    """
    shown = tuple(event for event in events if isinstance(event, dg.AssetCheckEvaluation))
    if not (folder / RUN_RESULTS).is_file():
        raise dg.Failure(f"dbt build ended without results: {error}", allow_retries=False)
    results = json.loads((folder / RUN_RESULTS).read_text())["results"]
    _check_models(results)
    _check_all_ran(results, manifest, frozenset(models))
    heard = {check.metadata["unique_id"].value for check in shown}
    unheard = [found for found in results if found["unique_id"].startswith(_TESTS) and found["unique_id"] not in heard]
    records = (*map(_record, shown), *(_unattached(found) for found in unheard if found["status"] != _SKIPPED))
    if error is not None and not any(record.blocking and not record.passed for record in records):
        raise dg.Failure(f"dbt build failed, though no test of it did: {error}", allow_retries=False)
    return Verdicts(shown=shown, records=records)


def _check_models(results: Sequence[Mapping[str, Any]]) -> None:
    broken = [
        found for found in results if found["status"] in _BROKEN and not str(found["unique_id"]).startswith(_TESTS)
    ]
    if broken:
        said = "; ".join(f"{_name(found)}: {str(found['message']).strip()}" for found in broken)
        raise dg.Failure(f"dbt could not build {said}. Nothing was published.", allow_retries=False)


def _check_all_ran(results: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any], models: frozenset[str]) -> None:
    nodes = manifest["nodes"]
    ours = {id for id, node in nodes.items() if node["resource_type"] == "model" and node["name"] in models}
    of_ours = {
        id for id, node in nodes.items() if node["resource_type"] == "test" and ours & set(node["depends_on"]["nodes"])
    }
    missing = sorted(nodes[id]["name"] for id in of_ours - {found["unique_id"] for found in results})
    if missing:
        raise dg.Failure(
            f"dbt did not run {len(missing)} tests of the models it built: {', '.join(missing[:5])}. Nothing was published. "
            "Look for DBT_INDIRECT_SELECTION in the environment: it must not be set.",
            allow_retries=False,
        )


def _record(check: dg.AssetCheckEvaluation) -> CheckRecord:
    return CheckRecord(
        name=check.check_name,
        passed=check.passed,
        severity=check.severity.value,
        blocking=check.severity is dg.AssetCheckSeverity.ERROR,
        facts={"asset": "/".join(check.asset_key.path)},
    )


def _unattached(found: Mapping[str, Any]) -> CheckRecord:
    severity = dg.AssetCheckSeverity.WARN if found["status"] == "warn" else dg.AssetCheckSeverity.ERROR
    passed = found["status"] == "pass"
    return CheckRecord(
        name=_name(found),
        passed=passed,
        severity=severity.value,
        blocking=severity is dg.AssetCheckSeverity.ERROR,
        facts={} if passed else {"description": str(found["message"])},
    )


def _name(found: Mapping[str, Any]) -> str:
    return str(found["unique_id"]).split(".")[2]
