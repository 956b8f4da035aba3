"""The same metrics by the values of a column, with a floor of rows below which nothing is claimed."""

import zlib
from typing import Final

import numpy as np
import polars as pl

from headwater.models.evaluation import Metric, Slice
from headwater.models.evaluation_bootstrap import Bootstrap, interval, resample
from headwater.models.evaluation_metrics import RESAMPLED, MetricName, Sample

SLICE_METRICS: Final = (
    MetricName.AUC,
    MetricName.BRIER,
    MetricName.LOG_LOSS,
    MetricName.CALIBRATION_ERROR,
    MetricName.PRECISION,
    MetricName.RECALL,
    MetricName.POSITIVE_RATE,
    MetricName.BASE_RATE,
    MetricName.MEAN_SCORE,
)


def slice_metrics(
    frame: pl.DataFrame,
    labels: np.ndarray,
    scores: np.ndarray,
    clusters: np.ndarray | None,
    *,
    threshold: float,
    floor: int,
    plan: Bootstrap,
) -> tuple[Slice, ...]:
    """One slice for each value of each column of `frame`, columns in order, values sorted, nulls last.

    Args:
        frame: Slicing columns, `[rows]`.
        labels: 0.0 or 1.0, `[rows]`.
        scores: In [0, 1], `[rows]`.
        clusters: Group of each row, or None. A slice of fewer than three groups has no intervals.
        threshold: Of the decision.
        floor: Rows below which a slice only says how many it has.
        plan: How intervals are made.
    """
    slices = []
    for column in frame.columns:
        values = frame[column]
        for value in values.unique().sort(nulls_last=True):
            rows = np.flatnonzero((values == value).to_numpy() if value is not None else values.is_null().to_numpy())
            shown = None if value is None else str(value)
            judged = len(rows) >= floor
            if judged:
                group = None if clusters is None else np.unique(clusters[rows], return_inverse=True)[1]
                stream = zlib.crc32(f"{column}={shown}".encode())
                metrics = _judge(Sample.of(labels[rows], scores[rows], threshold=threshold), group, stream, plan)
            else:
                reason = f"undefined: {len(rows)} rows, the floor is {floor}"
                metrics = tuple(
                    Metric(name=name.value, value=None, n=len(rows), undefined_reason=reason) for name in SLICE_METRICS
                )
            slices.append(Slice(column=column, value=shown, n=len(rows), judged=judged, metrics=metrics))
    return tuple(slices)


def _judge(sample: Sample, clusters: np.ndarray | None, stream: int, plan: Bootstrap) -> tuple[Metric, ...]:
    values = sample.measure()
    drawn = resample([sample], plan, clusters=clusters, stream=stream)[0]
    return tuple(
        interval(name, values[index], drawn[index], sample, plan)
        for name, index in ((name, RESAMPLED.index(name)) for name in SLICE_METRICS)
    )
