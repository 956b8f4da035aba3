"""What was live of a product when, read from the lake's history alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from headwater.decisions import same_experiment
from headwater.lake import Commit, Lake
from headwater.lake.errors import CollectedCommitError
from headwater.materialize import BY_HAND
from headwater.names import MAIN, RELEASE_ASSET, RELEASED_FACT, STATEMENT_FACT

RELEASE: Final = "release"
"""The action of a commit that made another version or policy live by itself."""
RESTATE: Final = "restate"
"""The action of a commit that said anew what stays live, without an order: on newer evidence, or what now waits."""
REVERT: Final = "revert"
"""The action of a commit that a lake revert made."""


@dataclass(frozen=True, kw_only=True)
class ReleaseSpan:
    """What one commit made live, and for how long.

    Attributes:
        commit: The commit.
        version: The live version; None when it took the release away, or when nobody can tell any more (`known`).
        policy: `all-at-once` or the policy's JSON; None as above.
        traffic: Version to its share of the answers; empty where the policy learns them.
        start: When it was published, UTC.
        end: When the next one was, None while it stands.
        action: What happened: an order's kind where it follows one, else `release` where another version or policy went live and
            `restate` where none did; `revert`, `merge` and the like where people changed the branch by hand.
        changed: Whether another version or policy answers than before; what a policy learned makes it no other one.
        reason: Why: of what went live or got another policy, why that is; else the newest order's that the commit follows, such as
            a hold's. Of a revert its message.
        actor: By whose word, likewise; of what went live by itself, who built it; of a revert, who reverted.
        orders: The orders that it was the first to hear.
        order: The one of them that it follows, None without.
        ordered: Id of the order by which what is live stands, whenever that was heard; None where nobody ordered it.
        known: Whether the lake can tell what it made live: not where `gc` removed its content and no record says it.
    """

    commit: str
    version: str | None
    policy: Any
    traffic: Mapping[str, float] = field(default_factory=dict)
    start: datetime
    end: datetime | None = None
    action: str = ""
    changed: bool = True
    reason: str = ""
    actor: str = ""
    orders: tuple[Mapping[str, Any], ...] = ()
    order: Mapping[str, Any] | None = None
    ordered: str | None = None
    known: bool = True

    def to_json(self) -> dict[str, Any]:
        """JSON values; `from` and `until` in UTC."""
        return {
            "commit": self.commit,
            "version": self.version,
            "policy": self.policy,
            "traffic": dict(self.traffic),
            "from": self.start.isoformat(),
            "until": self.end.isoformat() if self.end is not None else None,
            "action": self.action,
            "changed": self.changed,
            "reason": self.reason,
            "actor": self.actor,
            "orders": [dict(order) for order in self.orders],
            "order": dict(self.order) if self.order is not None else None,
            "ordered": self.ordered,
            "known": self.known,
        }


def release_history(lake: Lake, product: str, *, ref: str = MAIN) -> tuple[ReleaseSpan, ...]:
    """Each commit that changed a product's release, oldest first.

    Args:
        lake: The lake.
        product: The product.
        ref: Whose history.
    """
    spans: list[ReleaseSpan] = []
    path, written = f"{product}/{RELEASE_ASSET}", dict[str, Mapping[str, Any]]()
    for commit in reversed(list(lake.log(ref, path=path))):
        told = _told(lake, commit, path, written)
        spans.append(_span(commit, path, told, spans[-1] if spans else None))
    return tuple(_with_ends(spans))


def live_at(history: Sequence[ReleaseSpan], time: datetime) -> ReleaseSpan | None:
    """What was live at an instant, None when nothing was. Where that is not kept any more, a span that is not `known`."""
    found = next((span for span in reversed(history) if span.start <= time), None)
    return None if found is None or (found.known and found.version is None) else found


def live_since(history: Sequence[ReleaseSpan]) -> ReleaseSpan | None:
    """The commit from which on the live version has had its policy, whatever that learned since; None when nothing is live."""
    if not history or history[-1].version is None:
        return None
    found = history[-1]
    for span in reversed(history):
        if span.version != found.version or not same_experiment(span.policy, found.policy):
            break
        found = span
    return found


def _with_ends(spans: Sequence[ReleaseSpan]) -> Iterator[ReleaseSpan]:
    for place, span in enumerate(spans):
        yield replace(span, end=spans[place + 1].start) if place + 1 < len(spans) else span


def _span(commit: Commit, path: str, said_then: Mapping[str, Any] | None, before: ReleaseSpan | None) -> ReleaseSpan:
    """A commit's part, from the statement that stands since; None where nobody can tell it any more."""
    record = commit.provenance
    output = record.output(path) if record is not None else None
    told: Mapping[str, Any] = said_then or {}
    actor = record.actor if record is not None else ""
    orders = tuple(told.get("orders", ()))
    is_other = before is None or (before.version, before.policy) != (told.get("version"), told.get("policy"))
    order = _followed(told, orders, is_other=is_other)
    said = order or told
    changed = is_other and not (before and _goes_on(before, told))
    action = order["order"] if order is not None else RELEASE if changed else RESTATE
    if record is not None and record.action in BY_HAND:
        action = record.action
    is_told = output is not None and action != REVERT  # what stands again gave its reason when it was released
    return ReleaseSpan(
        commit=commit.id,
        version=told.get("version"),
        policy=told.get("policy"),
        traffic=told.get("traffic", {}),
        start=commit.created,
        action=action,
        changed=changed,
        reason=said.get("reason", "") if is_told else commit.message,
        actor=(said.get("actor") or actor) if is_told else actor,
        orders=orders,
        order=order,
        ordered=told.get("order"),
        known=said_then is not None,
    )


def _goes_on(before: ReleaseSpan, told: Mapping[str, Any]) -> bool:
    """Whether the version stays, under a policy that has but learned."""
    policies = before.policy, told.get("policy")
    return None not in policies and before.version == told.get("version") and same_experiment(*policies)


def _followed(
    told: Mapping[str, Any], orders: Sequence[Mapping[str, Any]], *, is_other: bool
) -> Mapping[str, Any] | None:
    """The order whose word a commit follows. What was heard and refused is nobody's; a hold that was heard with a roll-back did not roll back."""
    followed = [order for order in orders if order["id"] not in told.get("refused", {})]
    if is_other:
        return next((order for order in followed if order["id"] == told.get("order")), None)
    return followed[-1] if followed else None


def _told(lake: Lake, commit: Commit, path: str, written: dict[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The statement that stands since a commit: empty where it took the release away, None where nobody can tell any more.

    What a build told stands in its record. What people put back by hand is what an earlier commit wrote, or (a merge, an older build) the
    content itself.

    Args:
        lake: The lake.
        commit: The commit.
        path: Of the release.
        written: Data version to what the build of it told; this commit's is added.
    """
    record = commit.provenance
    output = record.output(path) if record is not None else None
    if output is not None and STATEMENT_FACT in output.facts:
        told = {**output.facts[STATEMENT_FACT], "version": output.facts[RELEASED_FACT]}
        written[output.data_version] = {**told, "orders": ()}  # who puts it back hears no order anew
        return told
    if output is not None and output.data_version in written:
        return written[output.data_version]
    if output is None and record is not None and record.action == REVERT:
        return {}
    try:
        return _statement(lake, commit, path)
    except CollectedCommitError:
        return None


def _statement(lake: Lake, commit: Commit, path: str) -> dict[str, Any]:
    snapshot = lake.at(commit.id)
    if not snapshot.has(path):
        return {}
    found: dict[str, Any] = json.loads((snapshot.folder(path) / "release.json").read_text())
    return found
