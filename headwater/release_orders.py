"""The table of a product's release orders: who ordered what of its release, and why. Only commands write it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl

from headwater.decisions import Order, OrderKind
from headwater.lake import Lake, Snapshot
from headwater.product import Asset
from headwater.registry import release_statement
from headwater.written_rows import TRIES, WrittenRow, write_row

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
_TRIES: Final = TRIES


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


def unheard_orders(lake: Lake, product: str, *, ref: str) -> tuple[Order, ...]:
    """Orders about a product's release that the release which stands does not follow from yet, oldest first."""
    snapshot, path = lake.at(ref), f"{product}/release_orders"
    if not snapshot.has(path):
        return ()
    heard = frozenset(release_statement(lake, product, ref=snapshot.commit.id).get("heard", ()))
    return tuple(order for order in read_orders(snapshot.table(path)) if order.id not in heard)


def _behind_others(snapshot: Snapshot, path: str, order: Order) -> Order:
    """The order at a time behind all that were given before, also where another machine's clock was ahead of this one's."""
    newest: datetime | None = (
        snapshot.table(path).select(pl.col("time").max()).collect().item() if snapshot.has(path) else None
    )
    return order if newest is None or order.time > newest else replace(order, time=newest + timedelta(microseconds=1))


def give_order(
    lake: Lake, asset: Asset, make: Callable[[Snapshot, str], Order], *, into: str, now: Callable[[], datetime]
) -> Order:
    """Adds one order to the table, in one commit, behind all that are there. Who is overtaken by another order tries again: none is lost.

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
    given: list[Order] = []

    def made(snapshot: Snapshot, id: str) -> WrittenRow:
        order = _behind_others(snapshot, asset.path, make(snapshot, id))
        given.append(order)
        about = f" {order.version}" if order.version else ""
        return WrittenRow(
            rows=write_orders(order),
            action=ORDERED,
            actor=order.actor,
            message=f"Order: {order.order.value}{about} of {asset.product}: {order.reason}",
            facts={"order": order.to_json()},
        )

    write_row(lake, asset, made, into=into, now=now, tries=_TRIES)
    return given[-1]
