"""How sure the gain of one way to run a model over another is: days are drawn, for the flights of a day are alike. Pure."""

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from headwater.models.evaluation_metrics import area_under_curve

WEEK: Final = "week"
DAY: Final = "day"
LABEL: Final = "label"
_RESAMPLES: Final = 200
_SEED: Final = 0
_FEWEST_DAYS: Final = 10
_TAIL: Final = 0.025
_Measure = Callable[[pl.DataFrame], float]


def auc_interval(rows: pl.DataFrame, *, ours: str, other: str) -> tuple[float, float] | None:
    """95% interval of the mean weekly AUC of one column of scores less that of another, weeks weighted by their rows.

    Args:
        rows: `week`, `day`, `label` (0 or 1) and both columns.
        ours: The one.
        other: The other.

    Returns:
        Percentile interval of a bootstrap that draws whole days within each week (Efron 1979); None below ten days.
    """

    def measure(part: pl.DataFrame) -> float:
        label = part[LABEL].to_numpy().astype(np.float64)
        if not 0 < label.sum() < len(label):
            return 0.0
        one, two = (area_under_curve(label, part[name].to_numpy()) for name in (ours, other))
        return one - two

    return _interval(rows, measure)


def mean_interval(rows: pl.DataFrame, *, ours: str, other: str) -> tuple[float, float] | None:
    """The same of the mean of one column less that of another, such as what decisions cost."""
    return _interval(rows, lambda part: float((part[ours] - part[other]).mean()))  # type: ignore[arg-type]


def _interval(rows: pl.DataFrame, measure: _Measure) -> tuple[float, float] | None:
    if rows.is_empty() or rows[DAY].n_unique() < _FEWEST_DAYS:
        return None
    draw = np.random.default_rng(_SEED)
    weeks = [week.partition_by(DAY, maintain_order=True) for week in rows.partition_by(WEEK, maintain_order=True)]
    found = []
    for _ in range(_RESAMPLES):
        parts = [pl.concat([days[at] for at in draw.integers(len(days), size=len(days))]) for days in weeks]
        total = sum(part.height for part in parts)
        found.append(sum(part.height * measure(part) for part in parts) / total)
    low, high = np.quantile(found, [_TAIL, 1 - _TAIL])
    return float(low), float(high)
