"""The numbers of some labelled rows, each with its interval."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from headwater.models import Bootstrap, Metric, MetricName
from headwater.models.evaluation_bootstrap import interval, resample
from headwater.models.evaluation_metrics import RESAMPLED, Sample
from headwater.monitoring._costs import DecisionCosts
from headwater.monitoring._frames import DECISION, LABEL, SCORE
from headwater.monitoring._intervals import mean_interval, wilson

COST: Final = "cost"
PERFORMANCE_METRICS: Final = (
    MetricName.AUC,
    MetricName.LOG_LOSS,
    MetricName.BRIER,
    MetricName.CALIBRATION_ERROR,
    MetricName.ACCURACY,
    MetricName.PRECISION,
    MetricName.RECALL,
    MetricName.POSITIVE_RATE,
    MetricName.BASE_RATE,
    MetricName.MEAN_SCORE,
)
_DECIDED, _HIT = 4, 5
"""Rows of `Sample.sums` that a threshold decides."""


def undefined(rows: int, reason: str, *, costs: bool) -> tuple[Metric, ...]:
    """Every metric, without a value.

    Args:
        rows: Labelled rows.
        reason: Why they are not judged.
        costs: Whether the cost is among them.
    """
    names = [*map(str, PERFORMANCE_METRICS), *([COST] if costs else [])]
    return tuple(Metric(name=name, value=None, n=rows, undefined_reason=f"not judged: {reason}") for name in names)


def measured(
    known: pl.DataFrame, groups: pl.Series | None, *, costs: DecisionCosts | None, plan: Bootstrap, stream: str
) -> tuple[Metric, ...]:
    """Every metric of labelled rows.

    Args:
        known: Their `label`, `score` and `decision`, at least two rows.
        groups: Whose equal values are drawn together (null is a group too), without intervals where there are fewer than three; None
            takes rows as independent.
        costs: The business metric.
        plan: How intervals are made.
        stream: A name of these rows, so that draws for others are independent.
    """
    labels, decisions = known[LABEL].to_numpy().astype(np.float64), known[DECISION].to_numpy().astype(bool)
    clusters = None
    if groups is not None:
        clusters = np.unique(groups.rank("dense").fill_null(0).to_numpy(), return_inverse=True)[1]
    sample = logged_sample(labels, known[SCORE].to_numpy(), decisions)
    values = sample.measure()
    drawn = resample([sample], plan, clusters=clusters, stream=zlib.crc32(stream.encode()))[0]
    found = []
    for name in PERFORMANCE_METRICS:
        at = RESAMPLED.index(name)
        metric = interval(name, values[at], drawn[at], sample, plan)
        counts = _counts(name, labels, decisions) if clusters is None else None
        if counts is not None and (exact := wilson(*counts, level=plan.level)) is not None:
            metric = replace(metric, low=exact.low, high=exact.high)
        found.append(metric)
    if costs is not None:
        found.append(_cost(costs.of(labels, decisions), plan, clusters))
    return tuple(found)


def _cost(values: np.ndarray, plan: Bootstrap, clusters: np.ndarray | None) -> Metric:
    around = mean_interval(values, plan, clusters=clusters)
    low, high = (around.low, around.high) if around else (None, None)
    return Metric(name=COST, value=float(values.mean()), low=low, high=high, n=len(values))


def _counts(metric: MetricName, labels: np.ndarray, decisions: np.ndarray) -> tuple[int, int] | None:
    """How often of how many, for metrics that are proportions of independent rows."""
    positive = labels == 1
    hits = int((positive & decisions).sum())
    counts: Mapping[MetricName, Sequence[int]] = {
        MetricName.ACCURACY: (int((positive == decisions).sum()), len(labels)),
        MetricName.PRECISION: (hits, int(decisions.sum())),
        MetricName.RECALL: (hits, int(positive.sum())),
        MetricName.POSITIVE_RATE: (int(decisions.sum()), len(labels)),
        MetricName.BASE_RATE: (int(positive.sum()), len(labels)),
    }
    if metric not in counts:
        return None
    found, of = counts[metric]
    return found, of


def logged_sample(labels: np.ndarray, scores: np.ndarray, decisions: np.ndarray) -> Sample:
    """A sample that decides as was decided: versions in one window may have had different thresholds.

    Args:
        labels: 0 or 1, `[rows]`.
        scores: In [0, 1], `[rows]`.
        decisions: What was decided, `[rows]`.
    """
    sample = Sample.of(labels, scores, threshold=0.5)
    decided = decisions[sample.order].astype(np.float64)
    sums = sample.sums.copy()
    sums[_DECIDED], sums[_HIT] = decided, decided * sample.labels
    return replace(sample, sums=sums)
