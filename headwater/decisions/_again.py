"""Decisions made again from what is kept with them: rules and evidence, and nothing else."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from headwater.decisions._advance import RolloutDecision, decide_rollout
from headwater.decisions._advance_evidence import RolloutEvidence
from headwater.decisions._experiment import ExperimentDecision, decide_experiment
from headwater.decisions._experiment_evidence import ExperimentEvidence
from headwater.decisions._retraining import Decision, Retraining, decide_retraining
from headwater.decisions._retraining_evidence import Evidence
from headwater.decisions._rollout import RolloutRules
from headwater.errors import HeadwaterError

_Record = TypeVar("_Record")


class UnknownDecisionError(HeadwaterError):
    """A kept decision of a kind that nobody makes again here."""

    def __init__(self, *, kind: object) -> None:
        self.kind = kind
        super().__init__(
            f"A decision of kind {kind!r} cannot be made again. Give the decision.json of a retraining, a rollout or an experiment; that of a "
            "release is the input of `next_release` (`ReleaseInput.from_json`)."
        )


def decide_again(document: Mapping[str, Any]) -> Decision | RolloutDecision | ExperimentDecision:
    """The decision that follows from the rules and the evidence that are kept with one: the same, as long as the code decides the same.

    Args:
        document: The `decision.json` of `<product>/retraining`, `<product>/rollout` or `<product>/experiment`; what an older Headwater
            did not write is as usual.

    Raises:
        UnknownDecisionError: It is of another kind.
    """
    kind, rules, evidence = document.get("kind"), document["rules"], document["evidence"]
    if kind == "retraining":
        return decide_retraining(Retraining.from_json(rules), read_evidence(Evidence, evidence))
    if kind == "rollout":
        return decide_rollout(RolloutRules.from_json(rules), read_evidence(RolloutEvidence, evidence))
    if kind == "experiment":
        return decide_experiment(RolloutRules.from_json(rules), read_evidence(ExperimentEvidence, evidence))
    raise UnknownDecisionError(kind=kind)


def read_evidence(evidence: type[_Record], raw: Mapping[str, Any]) -> _Record:
    """The evidence whose `to_json` wrote some JSON values; what they do not say is as usual, and what they tell beside it is left out.

    Args:
        evidence: Its class, or that of a part of it.
        raw: The JSON values.
    """
    kinds = get_type_hints(evidence)
    named = [one.name for one in fields(evidence) if one.name in raw]  # type: ignore[arg-type]
    return evidence(**{name: _read(kinds[name], raw[name]) for name in named})


def _read(kind: Any, value: Any) -> Any:
    """A value as a field of a kind holds it."""
    if value is None:
        return None
    if get_origin(kind) is UnionType:
        (kind,) = (one for one in get_args(kind) if one is not NoneType)
    if get_origin(kind) is tuple:
        return tuple(_read(get_args(kind)[0], item) for item in value)
    if kind is datetime:
        return datetime.fromisoformat(value)
    if kind is timedelta:
        return timedelta(seconds=value)
    return read_evidence(kind, value) if hasattr(kind, "__dataclass_fields__") else value
