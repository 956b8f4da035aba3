"""Bootstrap intervals: counts of rows (or of whole groups) drawn with replacement, applied to sorted samples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from headwater.models.errors import ModelDeclarationError
from headwater.models.evaluation import Metric
from headwater.models.evaluation_metrics import RESAMPLED, MetricName, Sample

_DEFINED_SHARE: Final = 0.9
ONE_CLASS: Final = "undefined: one class only"


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How intervals are made (percentile bootstrap, Efron and Tibshirani 1993).

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


def resample(
    samples: Sequence[Sample], plan: Bootstrap, *, clusters: np.ndarray | None = None, stream: int = 0
) -> np.ndarray:
    """Measures every sample on the same resamples of their common rows.

    Args:
        samples: Of the same rows in the same order.
        plan: How many, and the seed.
        clusters: Group number of each row (0, 1, ...), drawn whole; None draws rows.
        stream: Separates independent uses of one seed.

    Returns:
        Values `[samples, resamples, len(RESAMPLED)]`, NaN where undefined.
    """
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([plan.seed, stream])))
    rows = len(samples[0].labels)
    units = rows if clusters is None else int(clusters.max()) + 1
    values = np.empty((len(samples), plan.resamples, len(RESAMPLED)))
    for index in range(plan.resamples):
        counts = np.bincount(generator.integers(0, units, units), minlength=units)
        weights = (counts if clusters is None else counts[clusters]).astype(np.float64)
        for position, sample in enumerate(samples):
            values[position, index] = sample.measure(weights)
    return values


def interval(name: MetricName, value: float, drawn: np.ndarray, sample: Sample, plan: Bootstrap) -> Metric:
    """A metric with its percentile interval, or the reason why it is undefined.

    The interval is left out when more than a tenth of the resamples are undefined.
    """
    rows = len(sample.labels)
    if not math.isfinite(value):
        return Metric(name=name.value, value=None, n=rows, undefined_reason=_reason(name, sample))
    finite = drawn[np.isfinite(drawn)]
    if not len(finite) or len(finite) < _DEFINED_SHARE * len(drawn):
        return Metric(name=name.value, value=float(value), n=rows)
    tail = (1.0 - plan.level) / 2.0
    low, high = np.quantile(finite, (tail, 1.0 - tail))
    return Metric(name=name.value, value=float(value), low=float(low), high=float(high), n=rows)


def _reason(name: MetricName, sample: Sample) -> str:
    if not 0.0 < sample.labels.mean() < 1.0:
        return ONE_CLASS
    if name is MetricName.PRECISION:
        return "undefined: no row is decided positive"
    return "undefined: the scores do not vary, or separate the classes wholly"
