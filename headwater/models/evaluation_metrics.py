"""Metrics of a binary classifier from labels, scores and row weights. A value that is undefined is NaN, never a guess.

Weights are how often a row counts. A bootstrap resample is a vector of counts, so one sorted sample serves them all.
Sums are NumPy's own, not BLAS products, so that the number of threads changes no bit of a record.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

CALIBRATION_BINS: Final = 10
_EPSILON: Final = float(np.finfo(np.float64).eps)


class MetricName(StrEnum):
    """Every metric that an evaluation has."""

    AUC = "auc"
    BRIER = "brier"
    LOG_LOSS = "log_loss"
    CALIBRATION_ERROR = "calibration_error"
    CALIBRATION_SLOPE = "calibration_slope"
    CALIBRATION_INTERCEPT = "calibration_intercept"
    TOP_DECILE_LIFT = "top_decile_lift"
    ACCURACY = "accuracy"
    PRECISION = "precision"
    RECALL = "recall"
    SPECIFICITY = "specificity"
    F1 = "f1"
    POSITIVE_RATE = "positive_rate"
    BASE_RATE = "base_rate"
    MEAN_SCORE = "mean_score"


LOWER_IS_BETTER: Final = frozenset({MetricName.BRIER, MetricName.LOG_LOSS, MetricName.CALIBRATION_ERROR})
RESAMPLED: Final = tuple(
    name for name in MetricName if name not in (MetricName.CALIBRATION_SLOPE, MetricName.CALIBRATION_INTERCEPT)
)
"""Metrics cheap enough to be measured on every resample, in the order of `Sample.measure`."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Labels and scores sorted by score, with what every weighting of them shares.

    Attributes:
        order: Positions of the sorted rows in the arrays given.
        labels: 0.0 or 1.0, sorted by score.
        scores: In [0, 1], ascending.
        tie_start, tie_end: For each row, where its group of equal scores begins and ends.
        bin_starts: Where each calibration bin begins (equal counts, ties kept together).
        sums: `[6, rows]`: label, score, squared error, log loss, decision, decision and label.
    """

    order: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    tie_start: np.ndarray
    tie_end: np.ndarray
    bin_starts: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, scores: np.ndarray, *, threshold: float) -> "Sample":
        """Sorts once.

        Args:
            labels: 0.0 or 1.0, `[rows]`, at least one row.
            scores: In [0, 1], `[rows]`.
            threshold: Scores at or above it decide positive.
        """
        order = np.argsort(scores, kind="stable")
        label, score = labels[order].astype(np.float64), scores[order].astype(np.float64)
        first = np.flatnonzero(np.append(True, score[1:] != score[:-1]))
        sizes = np.diff(np.append(first, len(score)))
        decided = (score >= threshold).astype(np.float64)
        wanted = first[
            np.searchsorted(first, np.arange(CALIBRATION_BINS) * len(score) // CALIBRATION_BINS, side="right") - 1
        ]
        columns = (label, score, (score - label) ** 2, _log_losses(label, score), decided, decided * label)
        return cls(
            order=order,
            labels=label,
            scores=score,
            tie_start=np.repeat(first, sizes),
            tie_end=np.repeat(first + sizes, sizes),
            bin_starts=np.unique(wanted),
            sums=np.stack(columns),
        )

    def measure(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Values of `RESAMPLED` under row weights (in the order of the arrays given); NaN where undefined."""
        weight = np.ones(len(self.labels)) if weights is None else weights[self.order].astype(np.float64)
        total = weight.sum()
        positive, score, error, loss, decided, hit = (self.sums * weight).sum(axis=1)
        negative = total - positive
        with np.errstate(divide="ignore", invalid="ignore"):
            values = {
                MetricName.AUC: self._auc(weight, positive, negative),
                MetricName.BRIER: error / total,
                MetricName.LOG_LOSS: loss / total,
                MetricName.CALIBRATION_ERROR: self._calibration_error(weight, total),
                MetricName.TOP_DECILE_LIFT: self._lift(weight, total, positive),
                MetricName.ACCURACY: (hit + negative - (decided - hit)) / total,
                MetricName.PRECISION: np.divide(hit, decided),
                MetricName.RECALL: np.divide(hit, positive),
                MetricName.SPECIFICITY: np.divide(negative - (decided - hit), negative),
                MetricName.F1: np.divide(2 * hit, decided + positive),
                MetricName.POSITIVE_RATE: decided / total,
                MetricName.BASE_RATE: positive / total,
                MetricName.MEAN_SCORE: score / total,
            }
        return np.array([values[name] for name in RESAMPLED])

    def _auc(self, weight: np.ndarray, positive: float, negative: float) -> float:
        if positive <= 0 or negative <= 0:
            return float("nan")
        below = np.concatenate(([0.0], np.cumsum(weight * (1.0 - self.labels))))
        beaten = below[self.tie_start] + below[self.tie_end]
        return float((weight * self.labels * beaten).sum() / (2.0 * positive * negative))

    def _calibration_error(self, weight: np.ndarray, total: float) -> float:
        gap = np.add.reduceat(weight * (self.labels - self.scores), self.bin_starts)
        return float(np.abs(gap).sum() / total)

    def _lift(self, weight: np.ndarray, total: float, positive: float) -> float:
        """Positives among the top tenth of the weight, over the base rate; ties at the cut share it equally."""
        if positive <= 0:
            return float("nan")
        above = np.cumsum(weight[::-1])
        cut = min(int(np.searchsorted(above, total / 10)), len(above) - 1)
        position = len(above) - 1 - cut
        start, end = self.tie_start[position], self.tie_end[position]
        over = weight[end:].sum()
        tie = weight[start:end].sum()
        share = (total / 10 - over) / tie if tie > 0 else 0.0
        hit = weight * self.labels
        hits = hit[end:].sum() + share * hit[start:end].sum()
        return float(hits / (total / 10) / (positive / total))


def _log_losses(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    clipped = np.clip(score, _EPSILON, 1.0 - _EPSILON)
    return -(label * np.log(clipped) + (1.0 - label) * np.log1p(-clipped))


def area_under_curve(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve (Mann-Whitney, ties count half); NaN when one class only."""
    return measure_all(labels, scores, threshold=0.5)[MetricName.AUC]


def brier_score(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean squared error of the scores (Brier 1950), in [0, 1]."""
    return float(np.mean((np.asarray(scores) - np.asarray(labels)) ** 2))


def log_loss(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean negative log likelihood in nats, scores kept the float64 epsilon away from 0 and 1."""
    return float(np.mean(_log_losses(np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64))))


def measure_all(labels: np.ndarray, scores: np.ndarray, *, threshold: float) -> Mapping[MetricName, float]:
    """Every metric once, unweighted; NaN where undefined."""
    sample = Sample.of(labels, scores, threshold=threshold)
    slope, intercept = calibration_line(sample.labels, sample.scores)
    values = dict(zip(RESAMPLED, map(float, sample.measure()), strict=True))
    return values | {MetricName.CALIBRATION_SLOPE: slope, MetricName.CALIBRATION_INTERCEPT: intercept}


def calibration_line(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of a logistic regression of the label on the score's logit (Cox 1958); (1, 0) is perfect.

    NaN for both when one class only, when all scores are equal, or when the classes are separable.
    """
    clipped = np.clip(scores, 1e-9, 1.0 - 1e-9)
    logit = np.log(clipped) - np.log1p(-clipped)
    nothing = (float("nan"), float("nan"))
    if not 0.0 < labels.mean() < 1.0 or np.ptp(logit) == 0.0:
        return nothing
    slope, intercept = 1.0, 0.0
    for _ in range(50):
        fitted = 1.0 / (1.0 + np.exp(-np.clip(intercept + slope * logit, -500, 500)))
        weight, rest = fitted * (1.0 - fitted), labels - fitted
        a, b, c = weight.sum(), (weight * logit).sum(), (weight * logit**2).sum()
        determinant = a * c - b * b
        if not determinant > 1e-12 * a * c:
            return nothing
        up, right = rest.sum(), (rest * logit).sum()
        step = (c * up - b * right) / determinant, (a * right - b * up) / determinant
        intercept, slope = intercept + step[0], slope + step[1]
        if abs(slope) > 1e4 or abs(intercept) > 1e4:
            return nothing
        if max(abs(step[0]), abs(step[1])) < 1e-10:
            return float(slope), float(intercept)
    return nothing
