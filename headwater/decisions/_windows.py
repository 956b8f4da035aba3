"""Whether a version is wrong more often than the one before it was, where nothing answers the same requests.

Days are bad together: a storm makes every decision of a day worse, so that requests are no independent evidence and days are. The
windows of one version are compared with those of the other by Student's two-sample t with a common variance: what a window differs by
anyway is in it.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Final

LEAST_WINDOWS: Final = 3
"""Windows of the version before, below which nobody knows by how much windows differ anyway."""


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
