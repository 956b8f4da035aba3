"""The business metric: what decisions cost, by a declared price of each way to be right or wrong."""

import math
from dataclasses import dataclass

import numpy as np

from headwater.monitoring.errors import MonitoringRuleError


@dataclass(frozen=True, kw_only=True)
class DecisionCosts:
    """What one decision costs. A gain is a negative cost.

    Attributes:
        false_alarm: A hint, and nothing happened.
        miss: No hint, and it happened.
        right_hint: A hint, and it happened.
        right_silence: No hint, and nothing happened.
        unit: What the numbers are, such as `EUR` or `minutes`.
    """

    false_alarm: float
    miss: float
    right_hint: float = 0.0
    right_silence: float = 0.0
    unit: str = ""

    def __post_init__(self) -> None:
        for name in ("false_alarm", "miss", "right_hint", "right_silence"):
            if not math.isfinite(getattr(self, name)):
                raise MonitoringRuleError(
                    rule=f"DecisionCosts(...): {name}", value=getattr(self, name), wanted="a finite number"
                )

    def of(self, labels: np.ndarray, decisions: np.ndarray) -> np.ndarray:
        """The cost of each decision.

        Args:
            labels: 0 or 1, `[rows]`.
            decisions: True where a hint was given, `[rows]`.
        """
        happened, hinted = np.asarray(labels) == 1, np.asarray(decisions, dtype=bool)
        return np.where(
            hinted,
            np.where(happened, self.right_hint, self.false_alarm),
            np.where(happened, self.miss, self.right_silence),
        ).astype(np.float64)
