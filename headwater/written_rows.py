"""Tables that people write a row at a time: each row a commit by its actor, none lost, each judged on what the others left."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl

from headwater.code_version import code_version, compute_version
from headwater.lake import Entry, Lake, Snapshot
from headwater.lake.errors import MergeConflictError
from headwater.materialize import INPUTS_USABLE, definition_of
from headwater.product import Asset
from headwater.provenance import CheckRecord, Output, Provenance

TRIES: Final = 20
"""Of one row while others are written: each round leaves one fewer."""


@dataclass(frozen=True, kw_only=True)
class WrittenRow:
    """One row, and what its commit says of it.

    Attributes:
        rows: The row, in the table's schema.
        action: The action in the commit's provenance.
        actor: Who writes it.
        message: The commit's message.
        facts: Small JSON values kept in the provenance.
    """

    rows: pl.DataFrame
    action: str
    actor: str
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def write_row(
    lake: Lake,
    asset: Asset,
    make: Callable[[Snapshot, str], WrittenRow],
    *,
    into: str,
    now: Callable[[], datetime],
    tries: int = TRIES,
) -> None:
    """Adds one row to a table, in one commit. Who is overtaken tries again: no row is lost, and each sees those before it.

    The table is written whole. Two blind appends would be replayed by a merge, and each would be judged on what stood before both.

    Args:
        lake: The lake.
        asset: The declared table.
        make: From the lake as it is and the row's id the row; called again when somebody else was quicker. What it raises is
            raised, and nothing is written.
        into: The branch.
        now: The clock, UTC.
        tries: How often.

    Raises:
        MergeConflictError: Others were quicker every time.
    """
    for left in reversed(range(tries)):
        id, started = secrets.token_hex(16), now().isoformat()
        with lake.transaction(into=into, id=id, hint=asset.path) as tx:
            made = make(tx.base, id)
            there = tx.base.has(asset.path)
            rows = pl.concat([tx.base.table(asset.path).collect(), made.rows]) if there else made.rows
            entry = tx.write_table(asset.path, rows)
            record = Provenance(
                transaction=id,
                action=made.action,
                outputs=(_output(lake, tx.base, asset, entry, made.facts),),
                input_commit=tx.base.commit.id,
                checks=(CheckRecord(name=INPUTS_USABLE, passed=True),),
                started=started,
                actor=made.actor,
            )
            try:
                tx.publish(message=made.message, provenance=record)
            except MergeConflictError:
                if not left:
                    raise
                continue
            return
    raise AssertionError("the last try returns or raises")


def _output(lake: Lake, base: Snapshot, asset: Asset, entry: Entry, facts: Mapping[str, Any]) -> Output:
    """What a build of the table would record, so that the table with one row more is fresh."""
    return Output(
        path=asset.path,
        kind=asset.kind,
        data_version=entry.data_version,
        code_version=code_version(asset),
        definition=definition_of(lake, base, compute_version(asset), asset.inputs),
        rows=entry.rows,
        bytes=entry.bytes,
        facts=facts,
    )
