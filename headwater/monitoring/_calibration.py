"""Whether scores still are probabilities: logistic recalibration with intervals, calibration error and bias beside a reference.

Intervals are Wald's, by the information of the fit, or robust to groups of alike rows (Liang and Zeger 1986) and as wide as so few
groups ask for.
"""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from headwater.models import Bootstrap, Evaluation, Metric, MetricName
from headwater.models.evaluation_bootstrap import (
    FEW_GROUPS,
    FEWEST_GROUPS,
    NO_DRAWS,
    interval,
    resample,
    student_quantile,
)
from headwater.models.evaluation_metrics import RESAMPLED, Sample, calibration_line
from headwater.monitoring._intervals import mean_interval, quantile_of_normal
from headwater.monitoring._json import Recorded
from headwater.monitoring.errors import BadValuesError, MonitoringRuleError

BIAS: Final = "bias"
EMPTY: Final = "undefined: no labelled rows"
_FRAME: Final = "labelled rows"
_ERROR = RESAMPLED.index(MetricName.CALIBRATION_ERROR)


@dataclass(frozen=True, kw_only=True)
class CalibrationLimits:
    """When calibration counts as lost: the error rose, or the bias moved, by much, *and* chance does not explain it.

    Attributes:
        rise: Rise of the calibration error above its reference and above what chance gives, and move of the bias away from
            its reference, that are much; > 0.
        p_value: Of the test that slope is 1 and intercept 0, at or below which chance is ruled out; that the error rose asks for its
            whole interval above the reference besides, or a model that never was perfect would lose by any bad week.
        min_rows: Labelled rows below which nothing is judged.
        bootstrap: Level of all intervals, and how that of the calibration error is made.
    """

    rise: float = 0.02
    p_value: float = 0.01
    min_rows: int = 500
    bootstrap: Bootstrap = field(default_factory=Bootstrap)

    def __post_init__(self) -> None:
        if not self.rise > 0:
            raise MonitoringRuleError(rule="CalibrationLimits(...): rise", value=self.rise, wanted="above 0")
        if not 0 < self.p_value < 1:
            raise MonitoringRuleError(
                rule="CalibrationLimits(...): p_value", value=self.p_value, wanted="between 0 and 1"
            )
        if self.min_rows < 1:
            raise MonitoringRuleError(rule="CalibrationLimits(...): min_rows", value=self.min_rows, wanted="1 or more")


@dataclass(frozen=True, kw_only=True)
class CalibrationReference:
    """How well a model was calibrated on the rows that it was judged on before its release.

    Attributes:
        error: Its calibration error.
        bias: Its mean score less the share of positives.
    """

    error: float
    bias: float

    @classmethod
    def of(cls, evaluation: Evaluation) -> "CalibrationReference | None":
        """The reference that an evaluation holds; None when it lacks one of the numbers."""
        numbers = evaluation.numbers()
        names = (MetricName.CALIBRATION_ERROR, MetricName.MEAN_SCORE, MetricName.BASE_RATE)
        if any(name not in numbers for name in names):
            return None
        error, score, rate = (numbers[name] for name in names)
        return cls(error=error, bias=score - rate)


@dataclass(frozen=True, kw_only=True)
class CalibrationDrift(Recorded):
    """How far scores are from probabilities, and whether that is new.

    Attributes:
        rows: Labelled rows.
        slope: Of the logistic regression of the label on the score's logit (Cox 1958); 1 is perfect, below 1 scores are too
            extreme.
        intercept: Of the same; 0 is perfect, below 0 scores are too high where the slope is 1.
        p_value: That a perfectly calibrated model gives such a line (Wald, 2 degrees of freedom; of groups Hotelling's); None where
            undefined, as of fewer than three groups.
        error: Expected calibration error over ten bins of about equal counts.
        error_noise: The mean error that a perfectly calibrated model would show on as many rows with these scores; None
            without rows.
        bias: Mean score less the share of positives, with Student's interval or that of whole groups. The error has no sign:
            scores that were too low and are too high now have the same.
        reference: What it was before; None without one.
        lost: Whether calibration is lost, by the limits.
        reason: Why, in one sentence.
    """

    rows: int
    slope: Metric
    intercept: Metric
    p_value: float | None
    error: Metric
    error_noise: float | None
    bias: Metric
    reference: CalibrationReference | None
    lost: bool
    reason: str


def calibration_drift(
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    reference: CalibrationReference | None = None,
    clusters: np.ndarray | None = None,
    limits: CalibrationLimits | None = None,
) -> CalibrationDrift:
    """The calibration of labelled scores beside that of the model's evaluation.

    Args:
        labels: 0 or 1, `[rows]`.
        scores: In [0, 1], `[rows]`.
        reference: `CalibrationReference.of` the evaluation of the version that answered; None expects perfect scores.
        clusters: A group for each row, such as its day; None takes rows as independent.
        limits: When calibration counts as lost.

    Raises:
        BadValuesError: Lengths differ, a label is neither 0 nor 1, or a score is NaN or outside [0, 1].
    """
    limits = limits or CalibrationLimits()
    label, score, group = _checked(labels, scores, clusters)
    if not len(label):
        return _nothing(reference)
    plan = limits.bootstrap
    sample = Sample.of(label, score, threshold=0.5)
    drawn = resample([sample], plan, clusters=group)[0][_ERROR]
    error = interval(MetricName.CALIBRATION_ERROR, float(sample.measure()[_ERROR]), drawn, sample, plan)
    line = calibration_line(label, score)
    spread = _spread(line, label, score, group) if math.isfinite(line[0]) else None
    slope, intercept = _coefficients(line, spread, sample, plan)
    p_value = None if spread is None else _p_value(line, spread)
    noise = _noise(sample, plan)
    bias = _bias(score - label, group, plan)
    lost, reason = _judge(error, noise, bias, reference, p_value, limits)
    return CalibrationDrift(
        rows=len(label), slope=slope, intercept=intercept, p_value=p_value, error=error, error_noise=noise, bias=bias,
        reference=reference, lost=lost, reason=reason,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Spread:
    """Covariance of slope and intercept.

    Attributes:
        by_row: With rows taken as independent.
        by_group: Robust to alike rows of a group; None without groups.
        groups: How many.
    """

    by_row: np.ndarray
    by_group: np.ndarray | None = None
    groups: int = 0

    def half(self, at: int, level: float) -> float:
        """Half the width of an interval."""
        by_row = quantile_of_normal(0.5 + level / 2) * math.sqrt(self.by_row[at, at])
        if self.by_group is None:
            return by_row
        half = student_quantile(self.groups, level) * math.sqrt(self.by_group[at, at])
        return max(half, by_row) if self.groups < FEW_GROUPS else half


def _coefficients(
    line: tuple[float, float], spread: _Spread | None, sample: Sample, plan: Bootstrap
) -> tuple[Metric, Metric]:
    found = []
    for at, name in enumerate((MetricName.CALIBRATION_SLOPE, MetricName.CALIBRATION_INTERCEPT)):
        if spread is None:
            found.append(interval(name, line[at], NO_DRAWS, sample, plan))
            continue
        half = spread.half(at, plan.level)
        found.append(
            Metric(name=name.value, value=line[at], low=line[at] - half, high=line[at] + half, n=len(sample.labels))
        )
    return found[0], found[1]


def _spread(
    line: tuple[float, float], label: np.ndarray, score: np.ndarray, group: np.ndarray | None
) -> _Spread | None:
    """Covariance of slope and intercept, None where it has none."""
    clipped = np.clip(score, 1e-9, 1.0 - 1e-9)
    logit = np.log(clipped) - np.log1p(-clipped)
    fitted = 1.0 / (1.0 + np.exp(-np.clip(line[1] + line[0] * logit, -500, 500)))
    weight = fitted * (1.0 - fitted)
    a, b, c = (weight * logit**2).sum(), (weight * logit).sum(), weight.sum()
    determinant = a * c - b * b
    if not determinant > 0:
        return None
    bread = np.array([[c, -b], [-b, a]]) / determinant
    if group is None:
        return _Spread(by_row=bread)
    units = int(group.max()) + 1
    if units < FEWEST_GROUPS:
        return None
    rest = label - fitted
    off = np.stack([np.bincount(group, rest * logit, units), np.bincount(group, rest, units)])
    # The small-sample factor for groups, as statsmodels and Stata have it for maximum likelihood.
    return _Spread(by_row=bread, by_group=units / (units - 1) * (bread @ (off @ off.T) @ bread), groups=units)


def _p_value(line: tuple[float, float], spread: _Spread) -> float | None:
    """Of Wald's test; of groups that of Hotelling (1931, Annals of Mathematical Statistics 2, 360-378), no smaller for few than by rows."""
    from scipy.special import chdtrc, fdtrc

    off = np.array([line[0] - 1.0, line[1]])

    def wald(covariance: np.ndarray) -> float | None:
        return float(off @ np.linalg.solve(covariance, off)) if np.linalg.det(covariance) > 0 else None

    by_row = wald(spread.by_row)
    chance = None if by_row is None else float(chdtrc(2, by_row))
    if spread.by_group is None or chance is None:
        return chance
    free, by_group = spread.groups - 2, wald(spread.by_group)
    if by_group is None:
        return None
    found = float(fdtrc(2, free, by_group * free / (2 * (spread.groups - 1))))
    return max(found, chance) if spread.groups < FEW_GROUPS else found


def _noise(sample: Sample, plan: Bootstrap) -> float:
    """Mean calibration error of labels drawn by the scores themselves."""
    draw = np.random.Generator(np.random.PCG64(plan.seed))
    total = 0.0
    for _ in range(plan.resamples):
        happened = draw.random(len(sample.scores)) < sample.scores
        total += float(np.abs(np.add.reduceat(happened - sample.scores, sample.bin_starts)).sum())
    return total / plan.resamples / len(sample.scores)


def _bias(off: np.ndarray, group: np.ndarray | None, plan: Bootstrap) -> Metric:
    around = mean_interval(off, plan, clusters=group)
    low, high = (around.low, around.high) if around else (None, None)
    return Metric(name=BIAS, value=float(off.mean()), low=low, high=high, n=len(off))


def _judge(
    error: Metric,
    noise: float,
    bias: Metric,
    reference: CalibrationReference | None,
    p_value: float | None,
    limits: CalibrationLimits,
) -> tuple[bool, str]:
    if error.n < limits.min_rows:
        return False, f"{error.n} labelled rows, {limits.min_rows} are needed."
    before = reference or CalibrationReference(error=0.0, bias=0.0)
    assert error.value is not None  # there are rows
    assert bias.value is not None
    base = max(noise, before.error)
    rise = error.value - base
    is_above = error.low is not None and error.low > before.error
    sure = p_value is not None and p_value <= limits.p_value and is_above
    low, high = (bias.low, bias.high) if bias.low is not None and bias.high is not None else (-math.inf, math.inf)
    moved = low > before.bias + limits.rise or high < before.bias - limits.rise
    chance = "whether by chance cannot be said" if p_value is None else f"p {p_value:.2g}"
    chance += "" if is_above or error.low is None else ", and its interval reaches the reference"
    reason = (
        f"The calibration error is {error.value:.4f}, {rise:+.4f} from {base:.4f} ({chance}); the bias is {bias.value:+.4f}, "
        f"{bias.value - before.bias:+.4f} from {before.bias:+.4f}{', surely beyond the limit' if moved else ''}; the limit is "
        f"{limits.rise:g}."
    )
    return (rise > limits.rise and sure) or moved, reason


def _nothing(reference: CalibrationReference | None) -> CalibrationDrift:
    names = (MetricName.CALIBRATION_SLOPE, MetricName.CALIBRATION_INTERCEPT, MetricName.CALIBRATION_ERROR, BIAS)
    slope, intercept, error, bias = (Metric(name=str(name), value=None, n=0, undefined_reason=EMPTY) for name in names)
    return CalibrationDrift(
        rows=0, slope=slope, intercept=intercept, p_value=None, error=error, error_noise=None, bias=bias, reference=reference,
        lost=False, reason="There are no labelled rows.",
    )  # fmt: skip


def _checked(
    labels: np.ndarray, scores: np.ndarray, clusters: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Arrays in an order that depends on their values alone, so that the order of the rows changes no bit."""
    label, score = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if len(score) != len(label) or (clusters is not None and len(clusters) != len(label)):
        problem = f"has {len(score)} values for {len(label)} labels"
        raise BadValuesError(frame=_FRAME, column="score", rows=abs(len(score) - len(label)), problem=problem)
    if bad := int((~np.isin(label, (0.0, 1.0))).sum()):
        raise BadValuesError(frame=_FRAME, column="label", rows=bad, problem="is neither 0 nor 1")
    if bad := int((~((score >= 0.0) & (score <= 1.0))).sum()):
        raise BadValuesError(frame=_FRAME, column="score", rows=bad, problem="is NaN or outside [0, 1]")
    if clusters is None or not len(label):
        order = np.lexsort([label, score])
        return label[order], score[order], None
    group = np.unique(np.asarray(clusters), return_inverse=True)[1]
    order = np.lexsort([label, score, group])
    return label[order], score[order], group[order]
