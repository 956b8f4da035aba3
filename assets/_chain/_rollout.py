"""Whether a rollout goes on, goes back or waits, decided and recorded; and the step that a release takes. See docs/adr/0014."""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from assets._chain._declare import declared_values
from assets._chain._experiment import DECISION_FILE as EXPERIMENT_FILE
from assets._chain._experiment import decision_before
from assets._chain._paths import ChainPaths
from assets._chain._release import STEP_FILE, read_step
from assets._chain._rollout_evidence import rollout_evidence
from assets._chain._rollout_page import PAGE_FILE, write_page
from headwater.decisions import (
    RolloutAction,
    RolloutDecision,
    RolloutEvidence,
    RolloutRule,
    RolloutStep,
    StepAction,
    decide_rollout,
)
from headwater.lake import Kind
from headwater.names import DECISION_FACT
from headwater.product import Asset, Audit, Check, Inputs, Product, Result, Severity, Verdict

DECISION_FILE: Final = "decision.json"


def rollout_assets(product: Product) -> tuple[Asset, Asset]:
    """The decision and the step of a product with a model."""
    paths = ChainPaths(product=product.name)
    decision = Asset(
        path=paths.rollout,
        kind=Kind.FOLDER,
        compute=partial(_decide, product=product),
        inputs=(paths.predictions, paths.outcomes, paths.service_failures),
        previous=(paths.rollout, paths.release, paths.evaluation, paths.predictions),
        identity=(DECISION_FILE,),
        checks=(
            Check(
                name="rollout_is_not_overdue",
                judge=_is_not_overdue,
                blocking=False,
                severity=Severity.WARN,
                description="No stage waits for evidence that does not come: then a person has to decide.",
            ),
        ),
        description="Whether the version that came in last goes on, goes back, or waits: each decision with its evidence and reason.",
        urgent=True,
        kinds=("json",),
        declaration=declared_values(
            rollout=product.rollout.to_json(), levels=product.service_levels, performance=product.performance
        ),
    )
    step = Asset(
        path=paths.rollout_step,
        kind=Kind.FOLDER,
        compute=partial(_step, product=product),
        inputs=(paths.rollout, paths.experiment),
        previous=(paths.rollout_step,),
        checks=(
            Check(
                name="step_can_be_taken",
                judge=_can_be_taken,
                description="A step names a version, what becomes of it, and why.",
            ),
        ),
        description="The newest step that a release takes: changed by a decision to go on, back or to learn, and by nothing else.",
        urgent=True,
        kinds=("json",),
    )
    return decision, step


def _decide(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    paths, rules = ChainPaths(product=product.name), product.rollout.rules
    for path in (paths.predictions, paths.outcomes, paths.service_failures):
        inputs.entry(path)
    before = decision_before(inputs, paths.rollout)
    evidence = rollout_evidence(inputs, product, before)
    decision = decide_rollout(rules, evidence)
    document = _document(product, evidence, decision)
    if before is not None and _says_the_same(before, document, rules.recorded_every.total_seconds()):
        document = before
    (folder / DECISION_FILE).write_text(json.dumps(document, indent=1, sort_keys=True, allow_nan=False))
    write_page(folder / PAGE_FILE, product.question, document)
    told = ("action", "rule", "reason", "now", "candidate", "share")
    return Result(facts={DECISION_FACT: {name: document[name] for name in told if document[name] is not None}})


def _document(product: Product, evidence: RolloutEvidence, decision: RolloutDecision) -> dict[str, Any]:
    standing = evidence.standing
    step = decision.step(standing) if standing is not None else None
    return {
        "kind": "rollout",
        **decision.to_json(),
        "now": evidence.now.isoformat() if standing is not None and evidence.now is not None else None,
        "candidate": standing.candidate if standing is not None else None,
        "share": standing.share if standing is not None else None,
        "where": standing.where if standing is not None else None,
        "step": step.to_json() if step is not None else None,
        "rules": product.rollout.rules.to_json(),
        "evidence": evidence.to_json(),
    }


def _says_the_same(before: Mapping[str, Any], now: Mapping[str, Any], seconds: float) -> bool:
    """Whether it waits for the same as a short while ago, or for a step that a hold keeps from being taken.

    That is on record, and is not put there with every request.
    """
    if before["action"] != now["action"]:
        return False
    if now["action"] != RolloutAction.WAIT.value and before["step"]["id"] != now["step"]["id"]:
        return False
    same = ("rule", "candidate", "share", "rules")
    if any(before[name] != now[name] for name in same) or before["now"] is None or now["now"] is None:
        return False
    if before["evidence"]["standing"]["since_commit"] != now["evidence"]["standing"]["since_commit"]:
        return False
    gone = datetime.fromisoformat(now["now"]) - datetime.fromisoformat(before["now"])
    return 0 <= gone.total_seconds() < seconds


def _step(inputs: Inputs, folder: Path, *, product: Product) -> Result:
    """The decided step; while a decision waits, the one that stands, unless it is an advance that this very stage still waits for.

    A release is in a rollout or in an experiment, so that one of the two decides at most.
    """
    paths = ChainPaths(product=product.name)
    document = json.loads((inputs.folder(paths.experiment) / EXPERIMENT_FILE).read_text())
    rollout = json.loads((inputs.folder(paths.rollout) / DECISION_FILE).read_text())
    if document["evidence"]["standing"] is None:
        document = rollout
    decided, standing = document["step"], document["evidence"]["standing"]
    step = RolloutStep.from_json(decided) if decided is not None else _standing_step(inputs, paths)
    if decided is None and standing is not None and step is not None and _is_overtaken(step, standing):
        step = None
    raw = step.to_json() if step is not None else None
    (folder / STEP_FILE).write_text(json.dumps({"step": raw}, indent=1, sort_keys=True))
    return Result(facts={"step": raw})


def _is_overtaken(step: RolloutStep, standing: Mapping[str, Any]) -> bool:
    """Whether a stage was to go on, a hold kept it, and what is known now says that it waits."""
    at_once = step.id.endswith(standing["since_commit"][:16]) and step.candidate == standing["candidate"]
    return step.action is StepAction.ADVANCE and step.share == standing.get("share", step.share) and at_once


def _standing_step(inputs: Inputs, paths: ChainPaths) -> RolloutStep | None:
    past = inputs.previous(paths.rollout_step)
    return read_step(past.folder(paths.rollout_step)) if past is not None else None


def _can_be_taken(audit: Audit) -> Verdict:
    step = read_step(audit.staged.folder(audit.path))
    is_whole = step is None or bool(step.id and step.candidate and step.reason)
    return Verdict(passed=is_whole, facts={"step": step.id if step is not None else None})


def _is_not_overdue(audit: Audit) -> Verdict:
    decision = dict(audit.facts.get(DECISION_FACT, {}))
    is_overdue = decision.get("rule") == RolloutRule.OVERDUE.value
    return Verdict(passed=not is_overdue, facts=decision, description=decision["reason"] if is_overdue else "")
