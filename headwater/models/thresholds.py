"""Where a score becomes a decision: the rule is declared, the number is learned on validation rows."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from headwater.models.errors import ModelDeclarationError


class ThresholdKind(StrEnum):
    """How the threshold is chosen."""

    FIXED = "fixed"
    POSITIVE_RATE = "positive_rate"
    F1 = "f1"
    COST = "cost"


@dataclass(frozen=True, kw_only=True)
class ThresholdRule:
    """A rule that gives one threshold; a score at or above it decides positive.

    Attributes:
        kind: `fixed`: `value` itself, in [0, 1]. `positive_rate`: marks the share `value` of the validation rows.
            `f1`: best F1 on validation. `cost`: least cost on validation when a missed positive costs `value` times a
            false alarm; where marking nobody costs less than any mark, nobody is.
        value: See `kind`; unused by `f1`.
    """

    kind: ThresholdKind = ThresholdKind.F1
    value: float = 0.0

    def __post_init__(self) -> None:
        share = self.kind in (ThresholdKind.FIXED, ThresholdKind.POSITIVE_RATE)
        if share and not 0.0 <= self.value <= 1.0:
            raise ModelDeclarationError(
                what=f"ThresholdRule '{self.kind}'",
                problem=f"value is {self.value}.",
                remedy="Give a number in [0, 1].",
            )
        if self.kind is ThresholdKind.COST and not self.value > 0.0:
            raise ModelDeclarationError(
                what="ThresholdRule 'cost'", problem=f"value is {self.value}.", remedy="Give a ratio of costs above 0."
            )

    def choose(self, labels: np.ndarray, scores: np.ndarray) -> float:
        """The threshold for validation rows.

        Args:
            labels: 0.0 or 1.0, `[rows]`, both present.
            scores: In [0, 1], `[rows]`.
        """
        if self.kind is ThresholdKind.FIXED:
            return float(self.value)
        order = np.argsort(-scores, kind="stable")
        ranked, hits = scores[order], labels[order]
        if self.kind is ThresholdKind.POSITIVE_RATE:
            marked = round(self.value * len(ranked))
            return float(ranked[marked - 1]) if marked else float(np.nextafter(ranked[0], np.inf))
        last_of_tie = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        true = np.cumsum(hits)[last_of_tie]
        false = last_of_tie + 1 - true
        missed = hits.sum() - true
        if self.kind is ThresholdKind.F1:
            return float(ranked[last_of_tie[int(np.argmax(2 * true / (2 * true + false + missed)))]])
        costs = false + self.value * missed
        best = int(np.argmin(costs))
        if self.value * hits.sum() < costs[best]:
            return float(np.nextafter(ranked[0], np.inf))
        return float(ranked[last_of_tie[best]])
