"""How a product lets a new version in: at once, or by degrees."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from headwater.errors import HeadwaterError

STEPS: Final = (0.05, 0.10, 0.25, 0.50, 1.0)
"""Shares of a canary unless others are declared."""


class RolloutError(HeadwaterError):
    """A rollout that cannot be."""

    def __init__(self, *, what: str, value: object, wanted: str) -> None:
        self.what, self.value = what, value
        super().__init__(f"Rollout(...): {what} is {value!r}; it must be {wanted}.")


class RolloutKind(StrEnum):
    """How a new version comes in."""

    ALL_AT_ONCE = "all-at-once"
    SHADOW = "shadow"
    CANARY = "canary"


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How a product lets a new version in.

    Attributes:
        kind: All at once; shadow (it only scores before it answers everything); canary (it answers growing shares).
        steps: Shares of a canary: above 0, growing, the last one 1.
        shadow_first: Whether a canary only scores before its first share.
    """

    kind: RolloutKind = RolloutKind.ALL_AT_ONCE
    steps: tuple[float, ...] = STEPS
    shadow_first: bool = False

    def __post_init__(self) -> None:
        if self.kind not in list(RolloutKind):
            raise RolloutError(what="kind", value=self.kind, wanted=f"one of {', '.join(RolloutKind)}")
        grows = all(low < high for low, high in zip((0.0, *self.steps), self.steps, strict=False))
        if not self.steps or not grows or self.steps[-1] != 1:
            raise RolloutError(what="steps", value=self.steps, wanted="shares above 0 that grow up to 1.0")

    @property
    def stages(self) -> tuple[float, ...]:
        """Shares that a new version has one after the other; 0 only watches, 1 is all."""
        if self.kind == RolloutKind.ALL_AT_ONCE:
            return (1.0,)
        if self.kind == RolloutKind.SHADOW:
            return (0.0, 1.0)
        return (0.0, *self.steps) if self.shadow_first else self.steps

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        return {"kind": str(self.kind), "steps": list(self.steps), "shadow_first": self.shadow_first}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Rollout":
        """The rollout that `to_json` wrote. Raises RolloutError."""
        return cls(**{**raw, "kind": RolloutKind(raw["kind"]), "steps": tuple(raw["steps"])})


class StepAction(StrEnum):
    """What shall become of a rollout."""

    ADVANCE = "advance"
    ABORT = "abort"


@dataclass(frozen=True, kw_only=True)
class RolloutStep:
    """A decision about a version in service, from the evidence of its answers.

    Attributes:
        id: Its name: a step is taken once, however often the release is built.
        candidate: The version that it is about.
        action: Advance to the next share; or abort: back to what was live before.
        share: The share at which the evidence was seen: an advance from another one does nothing. Without meaning for abort.
        reason: Why.
    """

    id: str
    candidate: str
    action: StepAction
    share: float = 0.0
    reason: str

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        return {
            "id": self.id,
            "candidate": self.candidate,
            "action": self.action.value,
            "share": self.share,
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "RolloutStep":
        """The step that `to_json` wrote."""
        return cls(**{**raw, "action": StepAction(raw["action"])})
