"""Model versions, read from the lake's history alone: no Dagster, no MLflow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from headwater.errors import HeadwaterError
from headwater.lake import Commit, Lake
from headwater.names import (
    INTRODUCED_FACT,
    MAIN,
    METRICS_FACT,
    RELEASED_FACT,
    SIGNATURE_FACT,
    STATEMENT_FACT,
    VERSION_FACT,
)
from headwater.provenance import Output, Pin, Provenance


class ModelState(StrEnum):
    """Where a model version stands."""

    CANDIDATE = "candidate"
    LIVE = "live"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    BARRED = "barred"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


class ModelNotFoundError(HeadwaterError):
    """No such model version."""

    def __init__(self, *, name: str, known: tuple[str, ...]) -> None:
        self.name, self.known = name, known
        shown = ", ".join(known[-5:]) or "none"
        super().__init__(f"No model version is called {name!r}. The newest are: {shown}. See `headwater model list`.")


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One published model version.

    Attributes:
        product: Its product.
        version: Semantic version.
        data_version: Digest of the bundle's content.
        commit: Lake commit that published it.
        created: When, UTC.
        path: Lake path of the bundle.
        state: Candidate, live, superseded, refused; or what was decided about it: barred, deprecated, retired.
        metrics: Of its newest evaluation: name to value, low, high and n.
        training: Facts of the training.
        signature: Digest of its inputs and outputs.
        provenance: The record of its commit.
    """

    product: str
    version: str
    data_version: str
    commit: str
    created: datetime
    path: str
    state: ModelState
    metrics: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    signature: str = ""
    provenance: Provenance

    @property
    def name(self) -> str:
        """`product@version`."""
        return f"{self.product}@{self.version}"

    @property
    def output(self) -> Output:
        """The record's part about the bundle."""
        found = self.provenance.output(self.path)
        assert found is not None
        return found

    @property
    def inputs(self) -> tuple[Pin, ...]:
        """What it was trained on."""
        return self.provenance.inputs


def model_versions(lake: Lake, product: str, *, ref: str = MAIN) -> tuple[ModelVersion, ...]:
    """Every model version that a product published, oldest first.

    Args:
        lake: The lake.
        product: Product name.
        ref: Whose history.
    """
    path = f"{product}/model"
    evaluated = _evaluations(lake, product, ref)
    states = _states(lake, product, ref)
    found = []
    for commit in lake.log(ref, path=path):
        record = commit.provenance
        output = record.output(path) if record else None
        if record is None or output is None or VERSION_FACT not in output.facts:
            continue
        version = output.facts[VERSION_FACT]
        found.append(
            ModelVersion(
                product=product,
                version=version,
                data_version=output.data_version,
                commit=commit.id,
                created=commit.created,
                path=path,
                state=states.get(version, ModelState.CANDIDATE),
                metrics=evaluated.get(version, {}),
                training=output.facts.get(METRICS_FACT, {}),
                signature=output.facts.get(SIGNATURE_FACT, ""),
                provenance=record,
            )
        )
    return tuple(reversed(found))


def model_version(lake: Lake, name: str, *, ref: str = MAIN) -> ModelVersion:
    """The version called `product@version`.

    Raises:
        ModelNotFoundError: The name is not of that form, or there is no such version.
    """
    product, _, version = name.partition("@")
    known = model_versions(lake, product, ref=ref) if product and version else ()
    for found in known:
        if found.version == version:
            return found
    raise ModelNotFoundError(name=name, known=tuple(item.name for item in known))


def released_versions(lake: Lake, product: str, *, ref: str = MAIN) -> frozenset[str]:
    """Every version that a release of a product ever gave requests to: those whose names callers may know."""
    found = set()
    for facts in _facts(lake, f"{product}/release", ref):
        found |= {str(facts.get(RELEASED_FACT, "")), *facts.get(STATEMENT_FACT, {}).get("traffic", {})}
    return frozenset(found - {""})


def live_version(lake: Lake, product: str, *, ref: str = MAIN) -> str | None:
    """The version that the product's release names, None before the first release."""
    statement = release_statement(lake, product, ref=ref)
    return str(statement["version"]) if statement else None


def release_statement(lake: Lake, product: str, *, ref: str = MAIN) -> Mapping[str, Any]:
    """What a product's release says, empty before the first one."""
    snapshot, path = lake.at(ref), f"{product}/release"
    if not snapshot.has(path):
        return {}
    found: dict[str, Any] = json.loads((snapshot.folder(path) / "release.json").read_text())
    return found


def rollout_decision(lake: Lake, product: str, *, ref: str = MAIN) -> Mapping[str, Any]:
    """The newest recorded decision about a product's rollout, empty before the first one."""
    return _decision(lake, f"{product}/rollout", ref)


def experiment_decision(lake: Lake, product: str, *, ref: str = MAIN) -> Mapping[str, Any]:
    """The newest recorded decision about a product's experiment, empty before the first one."""
    return _decision(lake, f"{product}/experiment", ref)


def _decision(lake: Lake, path: str, ref: str) -> Mapping[str, Any]:
    snapshot = lake.at(ref)
    if not snapshot.has(path):
        return {}
    found: dict[str, Any] = json.loads((snapshot.folder(path) / "decision.json").read_text())
    return found


def _evaluations(lake: Lake, product: str, ref: str) -> dict[str, Mapping[str, Any]]:
    """The newest evaluation's metrics of each version."""
    found: dict[str, Mapping[str, Any]] = {}
    for facts in _facts(lake, f"{product}/evaluation", ref):
        found.setdefault(str(facts.get(VERSION_FACT, "")), facts.get(METRICS_FACT, {}))
    return found


def _states(lake: Lake, product: str, ref: str) -> dict[str, ModelState]:
    from headwater.refusals import GATES, read_refusals  # a service, which asks for no states, starts without it

    path = f"{product}/release"
    states: dict[str, ModelState] = {}
    for branch in lake.branches():
        if branch.name.startswith("tx-"):
            refused = _refused_release(lake.resolve(branch.commit), path)
            states |= dict.fromkeys(refused, ModelState.REFUSED)
    if (there := lake.at(ref)).has(kept := f"{product}/release_refusals"):
        gates = (one for one in read_refusals(there.table(kept)) if one.what == GATES)
        states |= dict.fromkeys((name for one in gates for name in (one.version or "").split(", ")), ModelState.REFUSED)
    for facts in _facts(lake, path, ref):
        states[str(facts.get(RELEASED_FACT, ""))] = ModelState.SUPERSEDED
    statement = release_statement(lake, product, ref=ref)
    for state in (ModelState.BARRED, ModelState.DEPRECATED, ModelState.RETIRED):
        states |= dict.fromkeys(statement.get(state.value, ()), state)
    if statement:
        states[str(statement["version"])] = ModelState.LIVE
    return states


def _refused_release(commit: Commit, path: str) -> list[str]:
    """The versions that a refused release would have let in."""
    record = commit.provenance
    output = record.output(path) if record and record.action == "refuse" else None
    if output is None or RELEASED_FACT not in output.facts:
        return []
    return list(output.facts.get(INTRODUCED_FACT, [output.facts[RELEASED_FACT]]))


def _facts(lake: Lake, path: str, ref: str) -> list[Mapping[str, Any]]:
    """Facts that each publication of `path` reported, newest first."""
    found = []
    for commit in lake.log(ref, path=path):
        record = commit.provenance
        output = record.output(path) if record else None
        if output is not None:
            found.append(output.facts)
    return found
