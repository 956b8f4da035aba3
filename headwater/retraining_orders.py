"""The table of a product's retraining orders: who stopped its trainings or lets them begin again, and why. Only commands write it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import polars as pl

from headwater.errors import HeadwaterError
from headwater.lake import Lake, Snapshot
from headwater.product import Asset
from headwater.written_rows import WrittenRow, write_row

ORDERED: Final = "order"
"""The action in the provenance of an order's commit."""
SCHEMA: Final[Mapping[str, Any]] = {
    "id": pl.String(),
    "number": pl.Int64(),
    "time": pl.Datetime("us", "UTC"),
    "order": pl.String(),
    "reason": pl.String(),
    "actor": pl.String(),
}


class RetrainingOrderError(HeadwaterError):
    """An order about retraining that cannot be given."""

    def __init__(self, *, product: str, problem: str, remedy: str) -> None:
        self.product, self.problem = product, problem
        super().__init__(f"Retraining of {product!r}: {problem}. {remedy}")


class RetrainingOrderKind(StrEnum):
    """What can be ordered."""

    STOP = "stop"
    RESUME = "resume"


@dataclass(frozen=True, kw_only=True)
class RetrainingOrder:
    """One order about a product's retraining.

    Attributes:
        id: Its name.
        number: Its place among the orders, from 1: each was judged on those before it, whatever a clock said.
        time: When it was given, UTC.
        order: What is ordered.
        reason: Why, not empty.
        actor: Who, such as `user:ada`.
    """

    id: str
    number: int
    time: datetime
    order: RetrainingOrderKind
    reason: str
    actor: str

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**vars(self), "time": self.time.astimezone(UTC).isoformat(), "order": self.order.value}


def read_retraining_orders(rows: pl.LazyFrame) -> tuple[RetrainingOrder, ...]:
    """The orders of a table, oldest first."""
    found = rows.select(list(SCHEMA)).sort("number").collect().to_dicts()
    return tuple(RetrainingOrder(**{**row, "order": RetrainingOrderKind(row["order"])}) for row in found)


def stopped_by(orders: tuple[RetrainingOrder, ...]) -> RetrainingOrder | None:
    """The order that keeps trainings from beginning; None when none does."""
    newest = orders[-1] if orders else None
    return newest if newest is not None and newest.order is RetrainingOrderKind.STOP else None


def order_retraining(
    lake: Lake,
    asset: Asset,
    kind: RetrainingOrderKind,
    *,
    reason: str,
    actor: str,
    into: str,
    now: Callable[[], datetime],
) -> RetrainingOrder:
    """Adds one order to the table, in one commit. Of two at once the second is judged on what the first left.

    Args:
        lake: The lake.
        asset: The declared table of orders.
        kind: What is ordered.
        reason: Why.
        actor: Who.
        into: The branch.
        now: The clock, UTC.

    Raises:
        RetrainingOrderError: It has no reason, or is so already.
        MergeConflictError: Others were quicker every time.
    """
    if not reason.strip():
        raise RetrainingOrderError(
            product=asset.product, problem="the order has no reason", remedy="Say why: whoever looks later will ask."
        )
    given: list[RetrainingOrder] = []

    def made(snapshot: Snapshot, id: str) -> WrittenRow:
        there = read_retraining_orders(snapshot.table(asset.path)) if snapshot.has(asset.path) else ()
        if (stopped_by(there) is not None) is (kind is RetrainingOrderKind.STOP):
            problem = "it is stopped already" if kind is RetrainingOrderKind.STOP else "nothing stopped it"
            raise RetrainingOrderError(
                product=asset.product,
                problem=problem,
                remedy="Nothing needs to be done; a release that is held holds trainings too (`headwater release resume`).",
            )
        order = RetrainingOrder(id=id, number=len(there) + 1, time=now(), order=kind, reason=reason, actor=actor)
        given.append(order)
        return WrittenRow(
            rows=pl.DataFrame([{**vars(order), "order": kind.value}], schema=dict(SCHEMA)),
            action=ORDERED,
            actor=actor,
            message=f"Order: {kind.value} retraining of {asset.product}: {reason}",
            facts={"order": order.to_json()},
        )

    write_row(lake, asset, made, into=into, now=now)
    return given[-1]
