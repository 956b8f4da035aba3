"""The table of a product's release orders: who ordered what of its release, and why. Only commands write it."""

import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from headwater.code_version import code_version, compute_version
from headwater.decisions import Order, OrderKind
from headwater.lake import Entry, Lake, Snapshot
from headwater.lake.errors import MergeConflictError
from headwater.materialize import INPUTS_USABLE, definition_of
from headwater.product import Asset
from headwater.provenance import CheckRecord, Output, Provenance

ORDERED: Final = "order"
"""The action in the provenance of an order's commit."""
SCHEMA: Final[Mapping[str, Any]] = {
    "id": pl.String(),
    "time": pl.Datetime("us", "UTC"),
    "order": pl.String(),
    "version": pl.String(),
    "policy": pl.String(),
    "reason": pl.String(),
    "actor": pl.String(),
}
_TRIES: Final = 20
"""Of one order while others are given: each round leaves one fewer."""


def read_orders(rows: pl.LazyFrame) -> tuple[Order, ...]:
    """The orders of a table, oldest first."""
    found = rows.select(list(SCHEMA)).sort("time", "id").collect()
    return tuple(
        Order(
            **{
                **row,
                "order": OrderKind(row["order"]),
                "policy": json.loads(row["policy"]) if row["policy"] is not None else None,
            }
        )
        for row in found.to_dicts()
    )


def write_orders(*orders: Order) -> pl.DataFrame:
    """The rows of orders."""
    rows = [
        {
            **order.to_json(),
            "time": order.time.astimezone(UTC),
            "policy": None if order.policy is None else json.dumps(order.policy, sort_keys=True),
        }
        for order in orders
    ]
    return pl.DataFrame(rows, schema=dict(SCHEMA))


def give_order(
    lake: Lake, asset: Asset, make: Callable[[Snapshot, str], Order], *, into: str, now: Callable[[], datetime]
) -> Order:
    """Adds one order to the table, in one commit. Who is overtaken by another order tries again: none is lost.

    Args:
        lake: The lake.
        asset: The declared table of orders.
        make: From the lake as it is and the order's id the order; called again when somebody else was quicker. What it raises
            is raised, and nothing is written.
        into: The branch.
        now: The clock, UTC.

    Raises:
        MergeConflictError: Others were quicker every time.
    """
    for left in reversed(range(_TRIES)):
        id, started = secrets.token_hex(16), now().isoformat()
        with lake.transaction(into=into, id=id, hint=asset.path) as tx:
            order = make(tx.base, id)
            added = write_orders(order)
            rows = pl.concat([tx.base.table(asset.path).collect(), added]) if tx.base.has(asset.path) else added
            entry = tx.write_table(asset.path, rows)
            record = Provenance(
                transaction=id,
                action=ORDERED,
                outputs=(_output(lake, tx.base, asset, entry, order),),
                input_commit=tx.base.commit.id,
                checks=(CheckRecord(name=INPUTS_USABLE, passed=True),),
                started=started,
                actor=order.actor,
            )
            about = f" {order.version}" if order.version else ""
            message = f"Order: {order.order.value}{about} of {asset.product}: {order.reason}"
            try:
                tx.publish(message=message, provenance=record)
            except MergeConflictError:
                if not left:
                    raise
                continue
            return order
    raise AssertionError("the last try returns or raises")


def _output(lake: Lake, base: Snapshot, asset: Asset, entry: Entry, order: Order) -> Output:
    """What a build of the table would record, so that the table with one order more is fresh."""
    return Output(
        path=asset.path,
        kind=asset.kind,
        data_version=entry.data_version,
        code_version=code_version(asset),
        definition=definition_of(lake, base, compute_version(asset), asset.inputs),
        rows=entry.rows,
        bytes=entry.bytes,
        facts={"order": order.to_json()},
    )
