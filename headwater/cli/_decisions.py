"""`headwater decisions`: what was decided about a product's model, when, why, on which evidence; refusals too."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from headwater.cli._output import json_option, show_rows
from headwater.decisions import ExperimentRule
from headwater.lake import Commit, Lake
from headwater.materialize import BY_HAND
from headwater.names import DECISION_FACT, RELEASED_FACT, STATEMENT_FACT
from headwater.refusals import GATES, Refusal, read_refusals, refused_build
from headwater.release_history import ReleaseSpan, release_history

_ORDER: Final = "order"
"""The rule of what somebody ordered."""


@click.command()
@click.option("--product", "name", required=True, help="The product.")
@click.option("--limit", type=click.IntRange(1), help="Only the newest so many.")
@json_option
def decisions(name: str, limit: int | None, as_json: bool) -> None:
    """Every decision to train again or not, to go on with a rollout or back, about tests of versions, and every change of the release or refusal, oldest first.

    Each names its lake commit: `headwater lake` shows what it read. A change of the release is told as `headwater release history`
    tells it: by the order that it follows, as `release` where another version or policy went live by itself, `restate` where what is
    live stayed, `revert` where somebody undid a commit. Refused are versions whose gates failed, orders that could not be
    followed, and decisions to train again that no training followed: each with the rule that stood against it, and what was looked at.

    The rule of a change of the release is `order` for a person's word, that of the decision whose step it took (`not_worse`, `errors`),
    `gates` for a version that came in as they held, and `revert` and the like for what somebody did to the branch.
    """
    from assets._products import product as find
    from resources.opening import open_lake
    from resources.settings import load_settings

    find(name)
    settings = load_settings()
    lake = open_lake(settings, create=False)
    found = recorded_decisions(lake, name, settings.branch)
    rows = found[-limit:] if limit is not None else found
    shown = [row | {"commit": row["commit"][:12]} for row in rows]
    columns = ("decided", "kind", "action", "version", "reason", "actor", "commit")
    show_rows(rows if as_json else shown, columns, as_json=as_json, empty="Nothing was decided yet.")


def recorded_decisions(lake: Lake, product: str, branch: str) -> list[dict[str, Any]]:
    """Every decision of a product, oldest first."""
    recorded = list(_recorded(lake, product, branch))
    found = [
        *recorded,
        *_released(lake, product, branch, recorded),
        *_refused(lake, product, branch),
        *_not_followed(lake, product, branch),
        *_ordered(lake, product, branch),
    ]
    return sorted(found, key=lambda row: str(row["recorded"]))


def _recorded(lake: Lake, product: str, branch: str) -> Iterator[dict[str, Any]]:
    """Decisions that reached the branch; those that came back by a revert say so."""
    for kind in ("retraining", "rollout", "experiment"):
        path = f"{product}/{kind}"
        if not lake.at(branch).has(path):
            continue
        for commit in lake.log(branch, path=path):
            record = commit.provenance
            output = record.output(path) if record is not None else None
            if record is None or output is None:
                continue
            told = {"action": record.action, "reason": commit.message}
            decision = {**told, **output.facts.get(DECISION_FACT, {})}
            version = output.facts.get(RELEASED_FACT) or decision.get("candidate")
            yield _row(commit, kind, version, decision, actor=record.actor, inputs=record.inputs)


def _released(lake: Lake, product: str, branch: str, recorded: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """What each commit of the release did, in the words of its history, and the orders that it could not follow.

    Args:
        lake: The lake.
        product: The product.
        branch: Whose history.
        recorded: The decisions whose steps the release took: it gives the reason of each as its own.
    """
    stepped = {row["reason"]: row.get("rule") for row in recorded if row["kind"] != "retraining"}
    before: ReleaseSpan | None = None
    for span in release_history(lake, product, ref=branch):
        commit = lake.resolve(span.commit)
        inputs = commit.provenance.inputs if commit.provenance is not None else ()
        decision = {
            "action": span.action,
            "reason": span.reason,
            "rule": _rule(span, before, stepped),
            "policy": span.policy,
            "order": dict(span.order) if span.order is not None else None,
            "changed": span.changed,
        }
        yield _row(commit, "release", span.version, decision, actor=span.actor, inputs=inputs)
        yield from _unfollowed(commit, span, f"{product}/release")
        before = span


def _rule(span: ReleaseSpan, before: ReleaseSpan | None, stepped: Mapping[str, str | None]) -> str | None:
    """By which rule a release says what it says; None where its content was collected and its commit does not tell."""
    if span.action in BY_HAND:
        return span.action
    if span.version is None:
        return None
    is_learned = before is not None and not span.changed and span.policy != before.policy
    if span.order is None and is_learned:
        return ExperimentRule.LEARNED.value
    if span.order is not None or span.ordered is not None:
        return _ORDER
    return stepped.get(span.reason, GATES)


def _ordered(lake: Lake, product: str, branch: str) -> Iterator[dict[str, Any]]:
    """Who stopped trainings, or let them begin again."""
    path = f"{product}/retraining_orders"
    if not lake.at(branch).has(path):
        return
    for commit in lake.log(branch, path=path):
        record = commit.provenance
        output = record.output(path) if record is not None else None
        order = output.facts.get("order") if output is not None else None
        if record is None or order is None:
            continue
        decision = {
            "action": order["order"],
            "reason": order["reason"],
            "rule": _ORDER,
            "evidence": {},
            "order": order,
        }
        yield _row(commit, "retraining", None, decision, actor=order["actor"], inputs=())


def _unfollowed(commit: Commit, span: ReleaseSpan, path: str) -> Iterator[dict[str, Any]]:
    """Orders that were given, and could not be followed when the release heard them."""
    record = commit.provenance
    output = record.output(path) if record is not None else None
    if record is None or output is None:
        return
    orders = {order["id"]: order for order in span.orders}
    for id, why in output.facts.get(STATEMENT_FACT, {}).get("refused", {}).items():
        order = orders[id]
        decision = {"action": "refuse", "reason": why, "rule": _ORDER, "order": order, "evidence": {}}
        yield _row(commit, "release", order["version"], decision, actor=order["actor"], inputs=record.inputs)


def _refused(lake: Lake, product: str, branch: str) -> Iterator[dict[str, Any]]:
    """Orders that were heard and refused, and releases that a gate refused; these also where only the branch that they left says so."""
    kept, path = f"{product}/release_refusals", f"{product}/release"
    there = lake.at(branch)
    found = list(read_refusals(there.table(kept))) if there.has(kept) else []
    known = {one.id for one in found}
    for ref in lake.branches():
        commit = lake.resolve(ref.commit)
        record = commit.provenance if ref.name != branch else None
        if record is None or record.output(path) is None or record.transaction in known:
            continue
        if any(check.blocking and not check.passed for check in record.checks):
            found.append(refused_build(record, path, commit.id, commit.created))
    return (_of_refusal(one, "release") for one in found)


def _not_followed(lake: Lake, product: str, branch: str) -> Iterator[dict[str, Any]]:
    """Decisions to train again that no training followed."""
    there, kept = lake.at(branch), f"{product}/training_refusals"
    found = read_refusals(there.table(kept)) if there.has(kept) else ()
    return (_of_refusal(one, "retraining") for one in found)


def _of_refusal(refusal: Refusal, kind: str) -> dict[str, Any]:
    said = refusal.to_json()
    inputs = said["evidence"].get("inputs", {})
    told = {name: said[name] for name in ("version", "reason", "rule", "actor", "commit", "order", "evidence")}
    time = said["time"]
    return {"kind": kind, "action": "refuse", "decided": time, "recorded": time, "inputs": inputs, **told}


def _row(
    commit: Commit, kind: str, version: Any, decision: dict[str, Any], *, actor: str, inputs: Any
) -> dict[str, Any]:
    return {
        "kind": kind,
        "action": decision["action"],
        "version": version,
        "reason": decision["reason"],
        "decided": decision.get("now", commit.created.isoformat()),
        "recorded": commit.created.isoformat(),
        "actor": actor,
        "commit": commit.id,
        "inputs": {pin.path: pin.data_version for pin in inputs},
        **{name: value for name, value in decision.items() if name not in ("action", "reason", "now")},
    }
