"""Calibration bins, lift table and ROC points of one sample: what plots and cards show."""

import numpy as np

from headwater.models.evaluation import CalibrationBin, LiftRow
from headwater.models.evaluation_metrics import Sample

_ROC_POINTS = 101


def calibration_bins(sample: Sample) -> tuple[CalibrationBin, ...]:
    """Bins of about equal counts by score, equal scores in one bin."""
    ends = np.append(sample.bin_starts[1:], len(sample.labels))
    return tuple(
        CalibrationBin(
            low=float(sample.scores[start]),
            high=float(sample.scores[end - 1]),
            n=int(end - start),
            mean_score=float(sample.scores[start:end].mean()),
            observed=float(sample.labels[start:end].mean()),
        )
        for start, end in zip(sample.bin_starts, ends, strict=True)
    )


def lift_table(sample: Sample) -> tuple[LiftRow, ...]:
    """The best-scored tenth, two tenths, ... of the rows. Rows that tie at a cut share it equally."""
    rows, positives = len(sample.labels), float(sample.labels.sum())
    above = np.append(np.cumsum(sample.labels[::-1])[::-1], 0.0)
    table = []
    for tenth in range(1, 11):
        count = max(1, rows * tenth // 10)
        start, end = sample.tie_start[rows - count], sample.tie_end[rows - count]
        hits = float(above[end] + (count - (rows - end)) * (above[start] - above[end]) / (end - start))
        table.append(
            LiftRow(
                share=tenth / 10,
                n=count,
                positives=hits,
                lift=hits / count / (positives / rows) if positives else None,
                gain=hits / positives if positives else None,
            )
        )
    return tuple(table)


def roc_points(sample: Sample) -> tuple[tuple[float, float], ...]:
    """False and true positive rates from (0, 0) to (1, 1), at most 101 points; empty when one class only."""
    positives = sample.labels.sum()
    negatives = len(sample.labels) - positives
    if not positives or not negatives:
        return ()
    starts = np.unique(sample.tie_start)[::-1]
    kept = starts[np.unique(np.linspace(0, len(starts) - 1, min(len(starts), _ROC_POINTS - 1)).astype(int))]
    hits = np.concatenate((np.cumsum(sample.labels[::-1])[::-1], [0.0]))
    alarms = np.concatenate((np.cumsum(1.0 - sample.labels[::-1])[::-1], [0.0]))
    points = [(0.0, 0.0)]
    points += [(float(alarms[start] / negatives), float(hits[start] / positives)) for start in kept]
    return tuple(points)
