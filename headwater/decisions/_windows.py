"""What windows say of two versions: days are bad together, so that requests are no independent evidence of a version, and days are.

A storm makes every decision of a day worse. Where nothing answers the same requests, the windows of one version are compared with those
of the other by Student's two-sample t with a common variance: what a window differs by anyway is in it. On the same requests the
difference has a weather of its own, because two versions that are equal over a month are not on each of its days: its windows are judged
by Student's t.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

LEAST_WINDOWS: Final = 3
"""Windows below which nobody knows by how much windows differ anyway: of the version before, or on the same requests."""
SHORTEST_WINDOW: Final = timedelta(days=1)
"""Hours of a day are bad together too: a shorter window counts with its day."""


@dataclass(frozen=True, kw_only=True)
class WindowEffect:
    """By how much a candidate has more of an outcome, each window one value.

    Attributes:
        windows: How many.
        estimate: The mean of their differences, 0 without one.
        low: Lower end, -1 where there are too few windows.
        high: Upper end, 1 where there are too few.
    """

    windows: int
    estimate: float
    low: float
    high: float


def effect_by_window(differences: Sequence[float], *, alpha: float) -> WindowEffect:
    """The mean difference of windows; the chance that a given end ever misses the truth is at most about `alpha`, over all looks.

    Each look, one window more each time, has its part of that chance: `alpha / k` at `k` windows. Looks are alike, so that these parts
    do not add up: of 40,000 sequences of 200 normal windows, however wide, the lower end missed in 5.1% at 0.05 (3.4% in the first 7,
    4.1% in the first 14).

    Args:
        differences: Of each window the mean outcome of the candidate less that of the other version, -1 to 1.
        alpha: That chance of each end, between 0 and 1.
    """
    from scipy.special import stdtrit

    count, estimate = len(differences), statistics.fmean(differences) if differences else 0.0
    if count < LEAST_WINDOWS:
        return WindowEffect(windows=count, estimate=estimate, low=-1.0, high=1.0)
    squares = math.fsum((one - estimate) ** 2 for one in differences)
    half = float(stdtrit(count - 1, 1 - alpha / count)) * math.sqrt(squares / (count - 1) / count)
    return WindowEffect(
        windows=count, estimate=estimate, low=max(estimate - half, -1.0), high=min(estimate + half, 1.0)
    )


def allowed_share(before: Sequence[float], *, drop: float) -> float:
    """The share of wrong decisions at which the accuracy lies a declared share below that of the windows before."""
    return 1 - (1 - statistics.fmean(before)) * (1 - drop)


def wrong_more_often(
    now: Sequence[float], before: Sequence[float], *, drop: float, looks: int, alpha: float
) -> float | None:
    """By how much the share of wrong decisions lies above what is allowed, when it certainly does; None when it does not.

    Args:
        now: Share of wrong decisions in each window of a version, 0 to 1.
        before: The same of the version before it; fewer than `LEAST_WINDOWS` show nothing.
        drop: Drop of the accuracy, relative to that of `before`, that is allowed.
        looks: How often it is looked at, one window more each time; they share the chance of a false alarm.
        alpha: That chance, between 0 and 1.
    """
    from scipy.special import stdtrit

    if not now or len(before) < LEAST_WINDOWS:
        return None
    over = statistics.fmean(now) - allowed_share(before, drop=drop)
    freedom = len(now) + len(before) - 2
    squares = sum((len(part) - 1) * statistics.variance(part) for part in (now, before) if len(part) > 1)
    error = math.sqrt(squares / freedom * (1 / len(now) + 1 / len(before)))
    limit = float(stdtrit(freedom, 1 - alpha / max(looks, 1)))
    return over if over > limit * error else None
