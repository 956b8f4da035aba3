"""What the lake's history says of a product's model versions, for a release that names older ones too."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assets._chain._paths import ChainPaths
from headwater.decisions import Judged
from headwater.lake import Commit
from headwater.models import Evaluation, Gate, RequestSchema, judge
from headwater.models.bundle import read_request
from headwater.names import METRICS_FACT, VERSION_FACT
from headwater.product import Inputs, Product
from headwater.provenance import Output


def published_folder(inputs: Inputs, path: str, version: str) -> Path | None:
    """The folder at a path as it was last published for a version; None where it never was or is not there any more."""
    found = _written(inputs, path, version)
    past = inputs.previous(path, commit=found[0].id) if found is not None else None
    return past.folder(path) if past is not None else None


def _written(inputs: Inputs, path: str, version: str) -> tuple[Commit, Output] | None:
    """The newest commit that wrote a version's part at a path."""
    for commit in inputs.history(path):
        output = commit.provenance.output(path) if commit.provenance else None
        if output is not None and output.facts.get(VERSION_FACT) == version:
            return commit, output
    return None


class Versions:
    """Model versions as one build of the release sees them: the newest as its inputs, older ones in their history."""

    def __init__(self, inputs: Inputs, product: Product) -> None:
        """Reads nothing yet."""
        self._inputs, self._product = inputs, product
        self._paths = ChainPaths(product=product.name)
        self._newest: Output | None = inputs.provenance(self._paths.model).output(self._paths.model)

    @property
    def newest(self) -> str:
        """The newest version; empty when nobody numbered it."""
        return str(self._newest.facts.get(VERSION_FACT, "")) if self._newest else ""

    def candidate(self) -> Judged | None:
        """The newest version with its verdicts, None while the newest evaluation is of another model."""
        folder = self._inputs.folder(self._paths.evaluation)
        of = read_document(folder).get("model_data_version")
        if of != self._inputs.entry(self._paths.model).data_version or not self.newest:
            return None
        return Judged(version=self.newest, verdicts=self._verdicts(folder))

    def judged(self, version: str) -> Judged | None:
        """A version with the verdicts of its newest evaluation, None when it was never published."""
        if version == self.newest and (found := self.candidate()) is not None:
            return found
        if self._written(self._paths.model, version) is None:
            return None
        folder = self._evaluation(version)
        return Judged(version=version, verdicts=None if folder is None else self._verdicts(folder))

    def newest_details(self) -> dict[str, Any]:
        """What a release says of the newest version: its bundle, its verdicts, its evidence."""
        inputs, paths = self._inputs, self._paths
        evidence = (paths.evaluation, paths.model_card, paths.drift_report)
        return {
            "data_version": inputs.entry(paths.model).data_version,
            "gates": list(self._verdicts(inputs.folder(paths.evaluation))),
            "evidence": {path: inputs.entry(path).data_version for path in evidence},
        }

    def details(self, version: str) -> dict[str, Any]:
        """The same of an older version, as it was published and evaluated."""
        paths, folder = self._paths, self._evaluation(version)
        evidence = {path: self._written(path, version) for path in (paths.evaluation, paths.model_card)}
        model = self._written(paths.model, version)
        assert model is not None  # the release was decided on published versions
        return {
            "data_version": model[1].data_version,
            "gates": [] if folder is None else list(self._verdicts(folder)),
            "evidence": {path: found[1].data_version for path, found in evidence.items() if found is not None},
        }

    def commits(self, version: str) -> dict[str, str]:
        """The commits with a version's bundle and evaluation."""
        paths = {"model_commit": self._paths.model, "evaluation_commit": self._paths.evaluation}
        if version == self.newest:
            return {name: self._inputs.written_in(path) for name, path in paths.items()}
        found = {name: self._written(path, version) for name, path in paths.items()}
        return {name: item[0].id for name, item in found.items() if item is not None}

    def metrics(self, version: str) -> dict[str, Any]:
        """The metrics of a version's newest evaluation."""
        found = self._written(self._paths.evaluation, version)
        return dict(found[1].facts.get(METRICS_FACT, {})) if found else {}

    def asked(self, version: str) -> tuple[RequestSchema | None, tuple[str, ...]]:
        """What requests to a version hold and what it reads; None where its bundle does not say, or is not there."""
        path = self._paths.model
        if version == self.newest:
            return read_request(self._inputs.folder(path))
        folder = published_folder(self._inputs, path, version)
        return read_request(folder) if folder is not None else (None, ())

    def _written(self, path: str, version: str) -> tuple[Commit, Output] | None:
        return _written(self._inputs, path, version)

    def _evaluation(self, version: str) -> Path | None:
        return published_folder(self._inputs, self._paths.evaluation, version)

    def _verdicts(self, folder: Path) -> tuple[Mapping[str, Any], ...]:
        return tuple(verdict_facts(gate, folder) for gate in self._product.gates)


def read_document(folder: Path) -> dict[str, Any]:
    """The document of an evaluation in a folder that the asset wrote."""
    from assets._chain._evaluation import EVALUATION_FILE

    found: dict[str, Any] = json.loads((folder / EVALUATION_FILE).read_text())
    return found


def verdict_facts(gate: Gate, evaluation: Path) -> dict[str, Any]:
    """One gate's verdict on the evaluation in a folder, as JSON values."""
    verdict = judge([gate], Evaluation.from_json(read_document(evaluation)["evaluation"]))[0]
    return {"gate": gate.name, "passed": verdict.passed, **verdict.facts()}
