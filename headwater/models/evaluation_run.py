"""From labels and scores to an `Evaluation`. The order of the rows changes nothing; the seed decides every resample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from headwater.models.errors import EmptyPartError, SampleShapeError
from headwater.models.evaluation import (
    BASELINE,
    CHAMPION,
    Comparison,
    Difference,
    Evaluation,
    Importance,
    Metric,
    Slice,
)
from headwater.models.evaluation_bootstrap import NO_DRAWS, Bootstrap, Draws, interval, resample
from headwater.models.evaluation_curves import calibration_bins, lift_table, roc_points
from headwater.models.evaluation_metrics import (
    LOWER_IS_BETTER,
    RESAMPLED,
    MetricName,
    Sample,
    calibration_line,
)
from headwater.models.evaluation_slices import slice_metrics

_OURS = "scores"


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another model's scores on the same rows.

    Attributes:
        version: Which model, such as `1.2.0` or `schedule-only logistic`.
        scores: In [0, 1], `[rows]`, in the order of the labels.
        threshold: Its decision threshold.
    """

    version: str
    scores: np.ndarray
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Slicing:
    """By which columns an evaluation is sliced.

    Attributes:
        frame: One column a slicing, one row a judged row, in the order of the labels.
        floor: Rows below which a slice says so instead of giving metrics.
    """

    frame: pl.DataFrame
    floor: int = 200


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """One model's sample, its point values and what was drawn of each of `RESAMPLED`."""

    sample: Sample
    values: np.ndarray
    drawn: tuple[Draws, ...] = field(repr=False)


def evaluate(
    *,
    labels: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    baseline: Rival | None,
    champion: Rival | None,
    slicing: Slicing | None = None,
    clusters: np.ndarray | None = None,
    bootstrap: Bootstrap | None = None,
    importances: Sequence[Importance] = (),
) -> Evaluation:
    """Judges one model, and beside it the baseline and the champion on the same rows and the same resamples.

    Args:
        labels: 0 or 1, `[rows]`. One class only is not an error here: what it leaves undefined says so.
        scores: In [0, 1], `[rows]`.
        threshold: Scores at or above it decide positive.
        baseline: The simple model that must be beaten, None when none is declared.
        champion: The released model, None when there is none.
        slicing: Columns to slice by.
        clusters: A group for each row, such as its day, drawn whole: rows of one group are not independent, and
            drawing them one by one makes intervals too narrow. Of fewer than three groups there is no interval, of few a
            wide one. None draws rows.
        bootstrap: How intervals are made.
        importances: What `gain_importance` and `permutation_importance` gave.

    Raises:
        EmptyPartError: There are no rows.
        SampleShapeError: Lengths differ, a label is not 0 or 1, or a score is not in [0, 1].
    """
    plan = bootstrap or Bootstrap()
    rivals = {name: rival for name, rival in ((BASELINE, baseline), (CHAMPION, champion)) if rival is not None}
    rows = _Rows.of(labels, {_OURS: scores} | {name: rival.scores for name, rival in rivals.items()}, clusters)
    judged = rows.judge({_OURS: threshold} | {name: rival.threshold for name, rival in rivals.items()}, plan)
    ours = judged[_OURS]
    compared = {name: _compare(name, rival.version, ours, judged[name], plan) for name, rival in rivals.items()}
    return Evaluation(
        rows=len(rows.labels),
        positives=int(rows.labels.sum()),
        threshold=float(threshold),
        resamples=plan.resamples,
        level=plan.level,
        seed=plan.seed,
        clustered=clusters is not None,
        slice_floor=slicing.floor if slicing else 0,
        metrics=_metrics(ours, plan),
        slices=rows.sliced(slicing, threshold, plan) if slicing else (),
        calibration=calibration_bins(ours.sample),
        lift=lift_table(ours.sample),
        roc=roc_points(ours.sample),
        baseline=compared.get(BASELINE),
        champion=compared.get(CHAMPION),
        importances=tuple(importances),
    )


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Checked arrays in an order that depends on their values alone; `order` brings other columns into it."""

    order: np.ndarray
    labels: np.ndarray
    scores: Mapping[str, np.ndarray]
    groups: np.ndarray | None

    @classmethod
    def of(cls, labels: np.ndarray, scores: Mapping[str, np.ndarray], clusters: np.ndarray | None) -> "_Rows":
        label = _checked_labels(labels)
        columns = {name: _checked(values, name, label) for name, values in scores.items()}
        groups = None
        if clusters is not None:
            _check_rows(len(clusters), "clusters", label)
            groups = np.unique(np.asarray(clusters), return_inverse=True)[1]
        order = np.lexsort([*columns.values(), *([] if groups is None else [groups]), label])
        return cls(
            order=order,
            labels=label[order],
            scores={name: values[order] for name, values in columns.items()},
            groups=None if groups is None else groups[order],
        )

    def judge(self, thresholds: Mapping[str, float], plan: Bootstrap) -> dict[str, _Judged]:
        samples = {
            name: Sample.of(self.labels, values, threshold=thresholds[name]) for name, values in self.scores.items()
        }
        drawn = resample(list(samples.values()), plan, clusters=self.groups)
        return {
            name: _Judged(sample=sample, values=sample.measure(), drawn=drawn[index])
            for index, (name, sample) in enumerate(samples.items())
        }

    def sliced(self, slicing: Slicing, threshold: float, plan: Bootstrap) -> tuple[Slice, ...]:
        _check_rows(slicing.frame.height, "slicing", self.labels)
        return slice_metrics(
            slicing.frame[self.order],
            self.labels,
            self.scores[_OURS],
            self.groups,
            threshold=threshold,
            floor=slicing.floor,
            plan=plan,
        )


def _metrics(judged: _Judged, plan: Bootstrap) -> tuple[Metric, ...]:
    sample = judged.sample
    found = {
        name: interval(name, judged.values[index], judged.drawn[index], sample, plan)
        for index, name in enumerate(RESAMPLED)
    }
    line = calibration_line(sample.labels, sample.scores)
    for name, value in zip((MetricName.CALIBRATION_SLOPE, MetricName.CALIBRATION_INTERCEPT), line, strict=True):
        found[name] = interval(name, value, NO_DRAWS, sample, plan)
    return tuple(found[name] for name in MetricName)


def _compare(name: str, version: str, ours: _Judged, theirs: _Judged, plan: Bootstrap) -> Comparison:
    differences = []
    for index, metric in enumerate(RESAMPLED):
        if metric is MetricName.BASE_RATE:
            continue
        drawn, gap = ours.drawn[index].less(theirs.drawn[index]), ours.values[index] - theirs.values[index]
        value = interval(metric, gap, drawn, ours.sample, plan, is_difference=True)
        finite = drawn.values[np.isfinite(drawn.values)]
        better = finite < 0 if metric in LOWER_IS_BETTER else finite > 0
        differences.append(Difference(metric=value, better_share=float(better.mean()) if len(finite) else None))
    return Comparison(against=name, version=version, metrics=_metrics(theirs, plan), differences=tuple(differences))


def _checked_labels(labels: np.ndarray) -> np.ndarray:
    label = np.asarray(labels, dtype=np.float64)
    if label.ndim != 1:
        raise SampleShapeError(name="labels", problem=f"has {label.ndim} dimensions")
    if not len(label):
        raise EmptyPartError(part="judged", detail="", remedy="Check the split and the filter, or land more data.")
    if not np.isin(label, (0.0, 1.0)).all():
        raise SampleShapeError(name="labels", problem="holds values other than 0 and 1")
    return label


def _checked(scores: np.ndarray, name: str, label: np.ndarray) -> np.ndarray:
    values = np.asarray(scores, dtype=np.float64)
    _check_rows(len(values), name, label)
    if not (np.isfinite(values) & (values >= 0.0) & (values <= 1.0)).all():
        raise SampleShapeError(name=name, problem="holds values that are NaN or outside [0, 1]")
    return values


def _check_rows(found: int, name: str, label: np.ndarray) -> None:
    if found != len(label):
        raise SampleShapeError(name=name, problem=f"has {found} values for {len(label)} labels")
