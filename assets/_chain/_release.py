"""The release: which version is live, on which evidence. Its gates are blocking checks."""

import json
from functools import partial
from pathlib import Path
from typing import Any, Final

from assets._chain._declare import declared_values
from assets._chain._paths import ChainPaths
from headwater.lake import Kind
from headwater.models import Evaluation, Gate, judge
from headwater.names import GATES_FACT, METRICS_FACT, RELEASED_FACT, VERSION_FACT
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Verdict

RELEASE_FILE: Final = "release.json"
RUN_FILE: Final = "run.json"
POLICY_ALL_AT_ONCE: Final = "all-at-once"


def release_asset(product: Product) -> Asset:
    """The release of a product with a model: refused when a declared gate fails, and the live version stays."""
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.release,
        kind=Kind.FOLDER,
        compute=partial(_release, product=product),
        inputs=(paths.model, paths.evaluation, paths.model_card, paths.drift_report),
        identity=(RELEASE_FILE,),
        checks=tuple(
            Check(
                name=gate.name,
                judge=partial(_gate_holds, gate=gate, evaluation=paths.evaluation),
                description="A gate that the product declares; what is undefined fails.",
            )
            for gate in product.gates
        ),
        description="Which version is live, under which policy, on which evidence.",
        kinds=("json",),
        declaration=declared_values(risk=product.risk, gates=product.gates, serving=_serving(product)),
    )


def _release(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    paths = ChainPaths(product=product.name)
    model = inputs.provenance(paths.model).output(paths.model)
    evaluation = inputs.provenance(paths.evaluation).output(paths.evaluation)
    version = model.facts[VERSION_FACT] if model else ""
    verdicts = [verdict_facts(gate, inputs.folder(paths.evaluation)) for gate in product.gates]
    statement = {
        "product": product.name,
        "version": version,
        "data_version": inputs.entry(paths.model).data_version,
        "policy": POLICY_ALL_AT_ONCE,
        "traffic": {version: 1.0},
        "risk": str(product.risk),
        "evidence": {
            path: inputs.entry(path).data_version for path in (paths.evaluation, paths.model_card, paths.drift_report)
        },
        "gates": verdicts,
        "serving": _serving(product),
    }
    run = {"model_commit": inputs.written_in(paths.model), "evaluation_commit": inputs.written_in(paths.evaluation)}
    (folder / RELEASE_FILE).write_text(json.dumps(statement, indent=1, sort_keys=True))
    (folder / RUN_FILE).write_text(json.dumps(run, indent=1, sort_keys=True))
    metrics = dict(evaluation.facts.get(METRICS_FACT, {})) if evaluation else {}
    return Result(facts={RELEASED_FACT: version, GATES_FACT: verdicts, METRICS_FACT: metrics})


def _serving(product: Product) -> dict[str, Any]:
    """How the service treats requests."""
    rules = product.serving
    assign_by = rules.assign_by or (product.labels.key if product.labels else ())
    return {
        "assign_by": list(assign_by),
        "redacted": list(rules.redacted),
        "ahead_seconds": rules.ahead.total_seconds(),
    }


def verdict_facts(gate: Gate, evaluation: Path) -> dict[str, Any]:
    """One gate's verdict on the evaluation in a folder, as JSON values."""
    from assets._chain._evaluation import EVALUATION_FILE

    document = json.loads((evaluation / EVALUATION_FILE).read_text())
    verdict = judge([gate], Evaluation.from_json(document["evaluation"]))[0]
    return {"gate": gate.name, "passed": verdict.passed, **verdict.facts()}


def _gate_holds(audit: Audit, *, gate: Gate, evaluation: str) -> Verdict:
    facts = verdict_facts(gate, audit.base.folder(evaluation))
    return Verdict(passed=facts["passed"], facts=facts, description=facts["reason"])
