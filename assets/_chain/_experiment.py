"""How the versions of an experiment compare, and whether it ends or has learned, decided and recorded. See docs/adr/0019."""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from assets._chain._declare import declared_values
from assets._chain._experiment_evidence import experiment_evidence
from assets._chain._experiment_page import PAGE_FILE, write_experiment
from assets._chain._paths import ChainPaths
from headwater.decisions import (
    ExperimentAction,
    ExperimentDecision,
    ExperimentEvidence,
    ExperimentRule,
    decide_experiment,
)
from headwater.lake import Kind
from headwater.names import DECISION_FACT
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Severity, Verdict

DECISION_FILE: Final = "decision.json"


def experiment_asset(product: Product) -> Asset:
    """The report and the decision about a policy of several versions, of a product with a model."""
    paths = ChainPaths(product=product.name)
    return Asset(
        path=paths.experiment,
        kind=Kind.FOLDER,
        compute=partial(_decide, product=product),
        inputs=(paths.predictions, paths.outcomes, paths.service_failures),
        previous=(paths.experiment, paths.release, paths.evaluation, paths.predictions),
        identity=(DECISION_FILE,),
        checks=(
            Check(
                name="split_is_as_declared",
                judge=_split_is_as_declared,
                blocking=False,
                severity=Severity.WARN,
                description="Units were split among the versions as the policy says; else no comparison can be trusted.",
            ),
            Check(
                name="experiment_is_not_overdue",
                judge=_is_not_overdue,
                blocking=False,
                severity=Severity.WARN,
                description="No declared test of a new version waits longer than declared for a person.",
            ),
            Check(
                name="experiment_has_all_its_rows",
                judge=_has_all_its_rows,
                blocking=False,
                severity=Severity.WARN,
                description="`Serving.keep` took no request of the test in progress: else it learns nothing more, and does not end by itself.",
            ),
        ),
        description="How the versions of a policy that splits or explores traffic compare; whether it ends, or has learned.",
        urgent=True,
        kinds=("json",),
        declaration=declared_values(
            rollout=product.rollout.to_json(), levels=product.service_levels, performance=product.performance
        ),
    )


def _decide(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    paths, rules = ChainPaths(product=product.name), product.rollout.rules
    for path in (paths.predictions, paths.outcomes, paths.service_failures):
        inputs.entry(path)
    before = decision_before(inputs, paths.experiment)
    evidence = experiment_evidence(inputs, product, before)
    document = _document(product, evidence, decide_experiment(rules, evidence))
    if before is not None and _says_the_same(before, document, rules.recorded_every.total_seconds()):
        document = before
    (folder / DECISION_FILE).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))
    write_experiment(folder / PAGE_FILE, product.question, document)
    told = ("action", "rule", "reason", "now", "candidate", "split_p", "mismatch", "incomplete_since")
    return Result(facts={DECISION_FACT: {name: document[name] for name in told if document[name] is not None}})


def _document(product: Product, evidence: ExperimentEvidence, decision: ExperimentDecision) -> dict[str, Any]:
    standing = evidence.standing
    step = decision.step(standing) if standing is not None else None
    learned = None
    if evidence.learned is not None and evidence.pending is not None:
        learned = {"at": evidence.learned.isoformat(), "policy": dict(evidence.pending)}
    if decision.policy is not None and evidence.now is not None and decision.policy != evidence.pending:
        learned = {"at": evidence.now.isoformat(), "policy": dict(decision.policy)}
    return {
        "kind": "experiment",
        **decision.to_json(),
        "now": evidence.now.isoformat() if evidence.now is not None else None,
        "candidate": step.candidate if step is not None else None,
        "split_p": evidence.split_p,
        "mismatch": evidence.mismatch,
        "incomplete_since": evidence.incomplete_since.isoformat() if evidence.incomplete_since is not None else None,
        "learned": learned,
        "step": step.to_json() if step is not None else None,
        "rules": product.rollout.rules.to_json(),
        "evidence": evidence.to_json(),
    }


def decision_before(inputs: Inputs, path: str) -> dict[str, Any] | None:
    """The document of the decision that stands at a path, None before the first."""
    past = inputs.previous(path)
    if past is None:
        return None
    found: dict[str, Any] = json.loads((past.folder(path) / DECISION_FILE).read_text())
    return found


def _says_the_same(before: Mapping[str, Any], now: Mapping[str, Any], seconds: float) -> bool:
    """Whether it says the same as a short while ago: that is on record, and is not put there with every request."""
    old, new = before["evidence"]["standing"], now["evidence"]["standing"]
    if any(before[name] != now[name] for name in ("action", "rule", "rules")) or old is None or new is None:
        return False
    if before.get("incomplete_since") != now["incomplete_since"]:
        return False
    if now["step"] is not None:
        return bool(before["step"]["id"] == now["step"]["id"])
    if old["since_commit"] != new["since_commit"] or before["now"] is None or now["now"] is None:
        return False
    gone = datetime.fromisoformat(now["now"]) - datetime.fromisoformat(before["now"])
    return now["action"] == ExperimentAction.WAIT.value and 0 <= gone.total_seconds() < seconds


def _split_is_as_declared(audit: Audit) -> Verdict:
    decision = dict(audit.facts.get(DECISION_FACT, {}))
    is_broken = bool(decision.get("mismatch"))
    said = f"The chance of such a split is {decision.get('split_p', 0):.2g}." if is_broken else ""
    return Verdict(passed=not is_broken, facts=decision, description=said)


def _has_all_its_rows(audit: Audit) -> Verdict:
    decision = dict(audit.facts.get(DECISION_FACT, {}))
    since = decision.get("incomplete_since")
    said = (
        f"Since {since} requests of it are no longer kept: end it, or order it anew, and keep longer where it is to last longer "
        "(Serving.keep)."
    )
    return Verdict(passed=since is None, facts=decision, description=said if since is not None else "")


def _is_not_overdue(audit: Audit) -> Verdict:
    decision = dict(audit.facts.get(DECISION_FACT, {}))
    is_overdue = decision.get("rule") == ExperimentRule.OVERDUE.value
    return Verdict(passed=not is_overdue, facts=decision, description=decision["reason"] if is_overdue else "")
