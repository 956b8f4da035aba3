"""What people order of a release: one row an order, written once, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from headwater.errors import HeadwaterError


class OrderError(HeadwaterError):
    """An order that cannot be given."""

    def __init__(self, *, order: str, problem: str, remedy: str) -> None:
        self.order, self.problem = order, problem
        super().__init__(f"Order {order!r}: {problem}. {remedy}")


class OrderKind(StrEnum):
    """What can be ordered."""

    PROMOTE = "promote"
    HOLD = "hold"
    RESUME = "resume"
    ROLLBACK = "rollback"
    DEPRECATE = "deprecate"
    RETIRE = "retire"


_WITHOUT_VERSION: Final = (OrderKind.HOLD, OrderKind.RESUME)


@dataclass(frozen=True, kw_only=True)
class Order:
    """One order about a product's release.

    Attributes:
        id: Its name; a release says by it which orders it has heard.
        time: When it was given, UTC.
        order: What is ordered.
        version: Which version it is about; always the very one, so that two who roll back at once roll back once. None for
            hold and resume.
        policy: JSON of the traffic policy to promote under; None is all at once.
        reason: Why, not empty.
        actor: Who, such as `user:ada`.
    """

    id: str
    time: datetime
    order: OrderKind
    version: str | None = None
    policy: Mapping[str, Any] | None = None
    reason: str
    actor: str

    def __post_init__(self) -> None:
        if not self.reason.strip():
            self._refuse("it has no reason", "Say why: whoever looks at the history will ask.")
        if self.time.tzinfo is None:
            self._refuse(f"its time {self.time} has no zone", "Give it in UTC.")
        if (self.version is None) != (self.order in _WITHOUT_VERSION):
            said = "it names no version" if self.version is None else f"it names the version {self.version}"
            self._refuse(said, "Hold and resume are about the product, all others about one version.")
        if self.policy is not None and self.order is not OrderKind.PROMOTE:
            self._refuse("it has a traffic policy", "Only `promote` takes one.")

    def _refuse(self, problem: str, remedy: str) -> None:
        raise OrderError(order=str(self.order), problem=problem, remedy=remedy)

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        return {
            "id": self.id,
            "time": self.time.astimezone(UTC).isoformat(),
            "order": self.order.value,
            "version": self.version,
            "policy": dict(self.policy) if self.policy is not None else None,
            "reason": self.reason,
            "actor": self.actor,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Order":
        """The order that `to_json` wrote."""
        return cls(**{**raw, "time": datetime.fromisoformat(raw["time"]), "order": OrderKind(raw["order"])})
