"""What was live of a product when, read from the lake's history alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from headwater.decisions import same_experiment
from headwater.lake import Commit, Lake
from headwater.lake.errors import CollectedCommitError
from headwater.names import MAIN, RELEASED_FACT, STATEMENT_FACT


@dataclass(frozen=True, kw_only=True)
class ReleaseSpan:
    """What one commit made live, and for how long.

    Attributes:
        commit: The commit.
        version: The live version; None when it took the release away, or when its content was collected.
        policy: `all-at-once` or the policy's JSON; None as above.
        traffic: Version to its share of the answers; empty where the policy learns them.
        start: When it was published, UTC.
        end: When the next one was, None while it stands.
        reason: Why: of what went live or got another policy, why that is; else the newest order's that the commit follows, such as
            a hold's.
        actor: By whose word, likewise; of what went live by itself, who built it.
        orders: The orders that it was the first to hear.
    """

    commit: str
    version: str | None
    policy: Any
    traffic: Mapping[str, float] = field(default_factory=dict)
    start: datetime
    end: datetime | None = None
    reason: str = ""
    actor: str = ""
    orders: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values; `from` and `until` in UTC."""
        return {
            "commit": self.commit,
            "version": self.version,
            "policy": self.policy,
            "traffic": dict(self.traffic),
            "from": self.start.isoformat(),
            "until": self.end.isoformat() if self.end is not None else None,
            "reason": self.reason,
            "actor": self.actor,
            "orders": [dict(order) for order in self.orders],
        }


def release_history(lake: Lake, product: str, *, ref: str = MAIN) -> tuple[ReleaseSpan, ...]:
    """Each commit that changed a product's release, oldest first.

    Args:
        lake: The lake.
        product: The product.
        ref: Whose history.
    """
    spans: list[ReleaseSpan] = []
    for commit in reversed(list(lake.log(ref, path=f"{product}/release"))):
        spans.append(_span(lake, commit, f"{product}/release", spans[-1] if spans else None))
    return tuple(_with_ends(spans))


def live_at(history: Sequence[ReleaseSpan], time: datetime) -> ReleaseSpan | None:
    """What was live at an instant, None when nothing was."""
    found = next((span for span in reversed(history) if span.start <= time), None)
    return found if found is not None and found.version is not None else None


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


def _span(lake: Lake, commit: Commit, path: str, before: ReleaseSpan | None) -> ReleaseSpan:
    """A commit's part: what a build told of it in its record, else (a revert, a merge, an older build) the statement itself."""
    record = commit.provenance
    output = record.output(path) if record is not None else None
    told: Mapping[str, Any] = {}
    if output is not None and STATEMENT_FACT in output.facts:
        told = {**output.facts[STATEMENT_FACT], "version": output.facts[RELEASED_FACT]}
    else:
        told = _statement(lake, commit, path)
    actor = record.actor if record is not None else ""
    orders = tuple(told.get("orders", ()))
    said = _word(told, orders, before)
    return ReleaseSpan(
        commit=commit.id,
        version=told.get("version"),
        policy=told.get("policy"),
        traffic=told.get("traffic", {}),
        start=commit.created,
        reason=said.get("reason", "") if output is not None else commit.message,
        actor=(said.get("actor") or actor) if output is not None else actor,
        orders=orders,
    )


def _word(
    told: Mapping[str, Any], orders: Sequence[Mapping[str, Any]], before: ReleaseSpan | None
) -> Mapping[str, Any]:
    """Whose word a commit follows. What was heard and refused is nobody's; a hold that was heard with a roll-back did not roll back."""
    followed = [order for order in orders if order["id"] not in told.get("refused", {})]
    is_other = before is None or (before.version, before.policy) != (told.get("version"), told.get("policy"))
    if is_other:
        return next((order for order in followed if order["id"] == told.get("order")), told)
    return followed[-1] if followed else told


def _statement(lake: Lake, commit: Commit, path: str) -> dict[str, Any]:
    try:
        snapshot = lake.at(commit.id)
    except CollectedCommitError:
        return {}
    if not snapshot.has(path):
        return {}
    found: dict[str, Any] = json.loads((snapshot.folder(path) / "release.json").read_text())
    return found
