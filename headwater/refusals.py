"""Tables of what was refused: of a release orders that were heard and versions whose gates failed; of trainings decisions that no order followed.

An order that is refused is none of the table of orders, the branch that a failed gate leaves is deleted one day, and an order of trainings that
stays as it is publishes nothing: here all of it stays.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from headwater.lake import Lake, Snapshot
from headwater.names import INTRODUCED_FACT, METRICS_FACT, REFUSED_FACT, RELEASED_FACT
from headwater.product import Asset
from headwater.provenance import Provenance
from headwater.written_rows import WrittenRow, write_row

REFUSAL: Final = "refusal"
"""The action in the provenance of a refusal's commit."""
ORDER: Final = "order"
GATES: Final = "gates"
DECISION: Final = "decision"
SCHEMA: Final[Mapping[str, Any]] = {
    "id": pl.String(),
    "time": pl.Datetime("us", "UTC"),
    "what": pl.String(),
    "version": pl.String(),
    "order": pl.String(),
    "rule": pl.String(),
    "reason": pl.String(),
    "evidence": pl.String(),
    "actor": pl.String(),
    "commit": pl.String(),
}


class _KeptError(Exception):
    """A refusal stands in the table already."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What was refused, and why.

    Attributes:
        id: Its name; of a build the transaction's id, of a decision its data version and the rule.
        time: When, UTC.
        what: `order`, `gates` or `decision`.
        version: Which version it was about, None for none.
        order: The order as JSON values, None for a build.
        rule: What stood against it, in a word; of gates their names.
        reason: Why, as it was said then.
        evidence: What was looked at, as JSON values.
        actor: Who ordered it, or asked for the build.
        commit: The commit at which an order was heard or a decision was not followed, or that holds the refused build as long as its branch is there.
    """

    id: str
    time: datetime
    what: str
    version: str | None
    order: Mapping[str, Any] | None = None
    rule: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    actor: str
    commit: str

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**vars(self), "time": self.time.astimezone(UTC).isoformat()}


def read_refusals(rows: pl.LazyFrame) -> tuple[Refusal, ...]:
    """The refusals of a table, oldest first."""
    found = rows.select(list(SCHEMA)).sort("time", "id").collect().to_dicts()
    return tuple(
        Refusal(
            **{
                **row,
                "order": json.loads(row["order"]) if row["order"] is not None else None,
                "evidence": json.loads(row["evidence"]),
            }
        )
        for row in found
    )


def write_refusal(
    lake: Lake, asset: Asset, make: Callable[[Snapshot, str], Refusal], *, into: str, now: Callable[[], datetime]
) -> Refusal:
    """Adds one refusal to the table, in one commit.

    Args:
        lake: The lake.
        asset: The declared table of refusals.
        make: From the lake as it is and a fresh id the refusal.
        into: The branch.
        now: The clock, UTC.

    Raises:
        MergeConflictError: Others were quicker every time.
    """
    written: list[Refusal] = []

    def made(snapshot: Snapshot, id: str) -> WrittenRow:
        refusal = make(snapshot, id)
        written.append(refusal)
        about = f" {refusal.version}" if refusal.version else ""
        return WrittenRow(
            rows=_row(refusal),
            action=REFUSAL,
            actor=refusal.actor,
            message=f"Refuse{about} of {asset.product} ({refusal.what}): {refusal.reason}",
            facts={"refusal": refusal.id},
        )

    write_row(lake, asset, made, into=into, now=now)
    return written[-1]


def keep_refused_build(lake: Lake, asset: Asset, path: str, provenance: Provenance, commit: str, *, into: str) -> None:
    """Keeps a refused build of a release in the table of refusals, once.

    Args:
        lake: The lake.
        asset: The declared table of refusals.
        path: The release.
        provenance: The refused build's record.
        commit: The commit that holds it.
        into: The branch it was built for.

    Raises:
        MergeConflictError: Others were quicker every time.
    """
    _keep(lake, asset, refused_build(provenance, path, commit, datetime.now(UTC)), into=into)


def keep_unfollowed(lake: Lake, asset: Asset, path: str, provenance: Provenance, commit: str, *, into: str) -> None:
    """Keeps what a build that ended well did not follow in its table of refusals, once; nothing where it followed all.

    Args:
        lake: The lake.
        asset: The declared table of refusals.
        path: What was built.
        provenance: The build's record.
        commit: The commit at which it stands.
        into: The branch it was built for.

    Raises:
        MergeConflictError: Others were quicker every time.
    """
    output = provenance.output(path)
    told: Mapping[str, Any] | None = output.facts.get(REFUSED_FACT) if output is not None else None
    if told is None:
        return
    refusal = Refusal(
        id=told["id"],
        time=datetime.now(UTC),
        what=DECISION,
        version=None,
        rule=told["rule"],
        reason=told["reason"],
        evidence={**told["evidence"], "inputs": {pin.path: pin.data_version for pin in provenance.inputs}},
        actor=provenance.actor,
        commit=commit,
    )
    _keep(lake, asset, refusal, into=into)


def _keep(lake: Lake, asset: Asset, refusal: Refusal, *, into: str) -> None:
    def made(snapshot: Snapshot, _: str) -> Refusal:
        if _is_kept(snapshot, asset.path, refusal.id):
            raise _KeptError
        return refusal

    if not _is_kept(lake.at(into), asset.path, refusal.id):
        with suppress(_KeptError):  # by who was quicker
            write_refusal(lake, asset, made, into=into, now=lambda: datetime.now(UTC))


def _is_kept(there: Snapshot, path: str, id: str) -> bool:
    return there.has(path) and any(one.id == id for one in read_refusals(there.table(path)))


def refused_build(provenance: Provenance, path: str, commit: str, time: datetime) -> Refusal:
    """What a refused build of a release says."""
    output = provenance.output(path)
    facts: Mapping[str, Any] = output.facts if output is not None else {}
    failed = [check for check in provenance.checks if check.blocking and not check.passed]
    names = ", ".join(check.name for check in failed)
    introduced = facts.get(INTRODUCED_FACT) or [one for one in [facts.get(RELEASED_FACT)] if one]
    return Refusal(
        id=provenance.transaction,
        time=time,
        what=GATES,
        version=", ".join(introduced) or None,
        rule=names,
        reason=f"These gates failed: {names}.",
        evidence={
            "checks": {check.name: dict(check.facts) for check in failed},
            "metrics": facts.get(METRICS_FACT, {}),
            "input_commit": provenance.input_commit,
            "inputs": {pin.path: pin.data_version for pin in provenance.inputs},
        },
        actor=provenance.actor,
        commit=commit,
    )


def _row(refusal: Refusal) -> pl.DataFrame:
    row = {
        **vars(refusal),
        "time": refusal.time.astimezone(UTC),
        "order": None if refusal.order is None else json.dumps(refusal.order, sort_keys=True),
        "evidence": json.dumps(refusal.evidence, sort_keys=True),
    }
    return pl.DataFrame([row], schema=dict(SCHEMA))
