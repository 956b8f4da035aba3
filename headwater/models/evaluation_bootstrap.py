"""Bootstrap intervals: counts of rows (or of whole groups) drawn with replacement, applied to sorted samples.

What an interval of groups needs is decided here, for evaluations and for monitoring.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from headwater.models.errors import ModelDeclarationError
from headwater.models.evaluation import Metric
from headwater.models.evaluation_metrics import RESAMPLED, MetricName, Sample

FEWEST_GROUPS: Final = 3
"""Groups below which there is no interval: two say next to nothing of how much groups differ."""
FEW_GROUPS: Final = 10
"""Groups below which an interval is no narrower than that of rows: so few may be alike by chance."""
ONE_CLASS: Final = "undefined: one class only"
_DEFINED_SHARE: Final = 0.9
_UNBOUNDED: Final = frozenset({MetricName.LOG_LOSS, MetricName.TOP_DECILE_LIFT})


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How intervals are made (percentile bootstrap, Efron and Tibshirani 1993; of whole groups see `ends_by_group`).

    Attributes:
        resamples: How many, >= 20.
        level: Coverage of the interval, in (0, 1).
        seed: Of the draws.
    """

    resamples: int = 200
    level: float = 0.95
    seed: int = 7

    def __post_init__(self) -> None:
        if self.resamples < 20 or not 0.0 < self.level < 1.0:
            raise ModelDeclarationError(
                what="Bootstrap",
                problem=f"resamples is {self.resamples} and level {self.level}.",
                remedy="Give at least 20 resamples and a level between 0 and 1.",
            )


@dataclass(frozen=True, kw_only=True)
class Draws:
    """One number on each resample.

    Attributes:
        values: `[resamples]`, NaN where undefined; empty where nothing was drawn.
        groups: How many groups they were drawn from; None where rows were.
        by_row: The same drawn row by row, where groups are few; None otherwise.
    """

    values: np.ndarray
    groups: int | None = None
    by_row: np.ndarray | None = None

    def less(self, other: "Draws") -> "Draws":
        """The difference on each resample, of draws of the same rows."""
        by_row = None if self.by_row is None or other.by_row is None else self.by_row - other.by_row
        return Draws(values=self.values - other.values, groups=self.groups, by_row=by_row)


NO_DRAWS: Final = Draws(values=np.empty(0))


def resample(
    samples: Sequence[Sample], plan: Bootstrap, *, clusters: np.ndarray | None = None, stream: int = 0
) -> tuple[tuple[Draws, ...], ...]:
    """Measures every sample on the same resamples of their common rows.

    Args:
        samples: Of the same rows in the same order.
        plan: How many, and the seed.
        clusters: Group number of each row (0, 1, ...), drawn whole; None draws rows.
        stream: Separates independent uses of one seed.

    Returns:
        For each sample the draws of each of `RESAMPLED`.
    """
    rows = len(samples[0].labels)
    if clusters is None:
        values = _drawn(samples, plan, np.arange(rows), (plan.seed, stream))
        return tuple(tuple(Draws(values=column) for column in sample.T) for sample in values)
    groups = int(clusters.max()) + 1
    if groups < FEWEST_GROUPS:
        return tuple((Draws(values=np.empty(0), groups=groups),) * len(RESAMPLED) for _ in samples)
    values = _drawn(samples, plan, clusters, (plan.seed, stream))
    singly = _drawn(samples, plan, np.arange(rows), (plan.seed, stream, 1)) if groups < FEW_GROUPS else None
    return tuple(
        tuple(
            Draws(values=column, groups=groups, by_row=None if singly is None else singly[at, :, metric])
            for metric, column in enumerate(sample.T)
        )
        for at, sample in enumerate(values)
    )


def _drawn(samples: Sequence[Sample], plan: Bootstrap, units: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """Values `[samples, resamples, len(RESAMPLED)]`, whole units (numbers from 0 on) drawn."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(seed))))
    count = int(units.max()) + 1
    values = np.empty((len(samples), plan.resamples, len(RESAMPLED)))
    for index in range(plan.resamples):
        weights = np.bincount(generator.integers(0, count, count), minlength=count)[units].astype(np.float64)
        for position, sample in enumerate(samples):
            values[position, index] = sample.measure(weights)
    return values


def interval(
    name: MetricName, value: float, draws: Draws, sample: Sample, plan: Bootstrap, *, is_difference: bool = False
) -> Metric:
    """A metric with its interval, or the reason why it is undefined.

    The interval is left out when more than a tenth of the resamples are undefined, and where groups are fewer than `FEWEST_GROUPS`.

    Args:
        name: Which metric.
        value: On all rows, NaN where undefined.
        draws: Of the metric.
        sample: The rows.
        plan: How they were drawn.
        is_difference: Whether it is a difference of two values, which may be negative.
    """
    rows = len(sample.labels)
    if not math.isfinite(value):
        return Metric(name=name.value, value=None, n=rows, undefined_reason=_reason(name, sample))
    found = _ends(draws, plan)
    if found is None:
        return Metric(name=name.value, value=float(value), n=rows)
    if not is_difference:
        found = max(found[0], 0.0), found[1] if name in _UNBOUNDED else min(found[1], 1.0)
    return Metric(name=name.value, value=float(value), low=found[0], high=found[1], n=rows)


def _ends(draws: Draws, plan: Bootstrap) -> tuple[float, float] | None:
    if draws.groups is None:
        return _percentiles(draws.values, plan)
    by_row = None if draws.by_row is None else _percentiles(draws.by_row, plan)
    return ends_by_group(draws.values, draws.groups, plan, by_row=by_row)


def ends_by_group(
    drawn: np.ndarray, groups: int, plan: Bootstrap, *, by_row: tuple[float, float] | None
) -> tuple[float, float] | None:
    """The ends of an interval whose resamples drew whole groups; None where there are too few groups or values.

    Percentiles, stretched around the median as Student's interval of as many groups is wider than the normal one with the variance
    of the sample as it stands, which is what they come to: from 7 groups alone they cover 88% instead of 95%.

    Args:
        drawn: The number on each resample, NaN where undefined.
        groups: How many groups there are.
        plan: Coverage.
        by_row: The ends with rows taken as independent. Of few groups the interval reaches as far at least.
    """
    found = _percentiles(drawn, plan) if groups >= FEWEST_GROUPS else None
    if found is None:
        return None
    middle, wider = float(np.nanmedian(drawn)), _stretch(groups, plan.level)
    low, high = middle - wider * (middle - found[0]), middle + wider * (found[1] - middle)
    if groups < FEW_GROUPS and by_row is not None:
        low, high = min(low, by_row[0]), max(high, by_row[1])
    return low, high


def student_quantile(groups: int, level: float) -> float:
    """Half the width of Student's interval of the mean of some groups, in standard errors."""
    from scipy.special import stdtrit

    return float(stdtrit(groups - 1, 0.5 + level / 2))


@lru_cache(maxsize=256)
def _stretch(groups: int, level: float) -> float:
    from scipy.special import ndtri

    return student_quantile(groups, level) / float(ndtri(0.5 + level / 2)) * math.sqrt(groups / (groups - 1))


def _percentiles(drawn: np.ndarray, plan: Bootstrap) -> tuple[float, float] | None:
    finite = drawn[np.isfinite(drawn)]
    if not len(finite) or len(finite) < _DEFINED_SHARE * len(drawn):
        return None
    tail = (1.0 - plan.level) / 2.0
    low, high = np.quantile(finite, (tail, 1.0 - tail))
    return float(low), float(high)


def _reason(name: MetricName, sample: Sample) -> str:
    if not 0.0 < sample.labels.mean() < 1.0:
        return ONE_CLASS
    if name is MetricName.PRECISION:
        return "undefined: no row is decided positive"
    return "undefined: the scores do not vary, or separate the classes wholly"
