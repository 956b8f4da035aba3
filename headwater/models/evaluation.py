"""The record of an evaluation: every number with its interval and its count, or the reason why there is none."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from headwater.models.errors import RecordError

BASELINE: Final = "baseline"
CHAMPION: Final = "champion"
GAIN: Final = "gain"
PERMUTATION: Final = "permutation"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number, or why it is undefined. It is never NaN.

    Attributes:
        name: Which metric, a `MetricName`.
        value: On all rows; None when undefined.
        low, high: Bootstrap interval; None when there is none.
        n: Rows behind it.
        undefined_reason: Why `value` is None, such as `undefined: one class only`.
    """

    name: str
    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    undefined_reason: str | None = None

    def __post_init__(self) -> None:
        for number in (self.value, self.low, self.high):
            if number is not None and not math.isfinite(number):
                raise RecordError(record="metric", reason=f"'{self.name}' holds {number}; say it is undefined, and why")
        if (self.value is None) != (self.undefined_reason is not None):
            raise RecordError(
                record="metric", reason=f"'{self.name}' needs either a value or a reason why there is none"
            )


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The metrics of the rows in which `column` has one value (None: null)."""

    column: str
    value: str | None
    n: int
    judged: bool
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Rows of neighbouring scores: the mean score beside the share of positives."""

    low: float
    high: float
    n: int
    mean_score: float
    observed: float


@dataclass(frozen=True, kw_only=True)
class LiftRow:
    """The best-scored `share` of rows: its positives, their rate over the base rate, and their share of all positives.

    `positives` is a fraction where equal scores tie at the cut; `lift` and `gain` are None without any positives.
    """

    share: float
    n: int
    positives: float
    lift: float | None
    gain: float | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """This model minus another on the same rows, resampled in pairs.

    Attributes:
        metric: The metric and its difference with interval.
        better_share: Share of resamples in which this model is better.
    """

    metric: Metric
    better_share: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """This model beside another.

    Attributes:
        against: `baseline` or `champion`.
        version: Which one.
        metrics: The other's metrics.
        differences: This model minus the other.
    """

    against: str
    version: str
    metrics: tuple[Metric, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much a feature matters.

    Attributes:
        feature: Column.
        method: `gain` (the algorithm's own) or `permutation` (loss of AUC when the column is shuffled).
        value: >= 0 for gain; may be negative for permutation.
        spread: Standard deviation over the shuffles; None for gain.
    """

    feature: str
    method: str
    value: float
    spread: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is known about one model on one set of rows.

    Attributes:
        rows: Rows judged.
        positives: Rows whose label is 1.
        threshold: The decision threshold used.
        resamples, level, seed, clustered: How intervals were made.
        slice_floor: Rows below which a slice is not judged.
        metrics: Over all rows.
        slices: By declared column and value.
        calibration: Bins by score.
        lift: Cumulative by tenths.
        roc: Points (false positive rate, true positive rate), at most 101; empty when one class only.
        baseline, champion: Paired comparisons; None when there is no such model.
        importances: By feature and method.
        champion_gap: Why a released champion could not judge these rows; empty when it did or when there is none.
    """

    rows: int
    positives: int
    threshold: float
    resamples: int
    level: float
    seed: int
    clustered: bool
    slice_floor: int
    metrics: tuple[Metric, ...]
    slices: tuple[Slice, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    lift: tuple[LiftRow, ...] = ()
    roc: tuple[tuple[float, float], ...] = ()
    baseline: Comparison | None = None
    champion: Comparison | None = None
    importances: tuple[Importance, ...] = field(default=())
    champion_gap: str = ""

    def metric(self, name: str) -> Metric | None:
        """The metric of this name over all rows, None when the evaluation lacks it."""
        return next((metric for metric in self.metrics if metric.name == name), None)

    def numbers(self) -> dict[str, float]:
        """The defined metrics over all rows by name, as MLflow and tables take them."""
        return {metric.name: metric.value for metric in self.metrics if metric.value is not None}

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back; undefined numbers are null beside their reason."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Evaluation":
        """The record that `to_json` wrote.

        Raises:
            RecordError: A field is absent, unknown or holds NaN.
        """
        try:
            return cls(
                **{
                    **raw,
                    "metrics": _metrics(raw["metrics"]),
                    "slices": tuple(Slice(**{**item, "metrics": _metrics(item["metrics"])}) for item in raw["slices"]),
                    "calibration": tuple(CalibrationBin(**item) for item in raw["calibration"]),
                    "lift": tuple(LiftRow(**item) for item in raw["lift"]),
                    "roc": tuple((float(x), float(y)) for x, y in raw["roc"]),
                    "baseline": _comparison(raw["baseline"]),
                    "champion": _comparison(raw["champion"]),
                    "importances": tuple(Importance(**item) for item in raw["importances"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(record="evaluation", reason=f"{type(error).__name__}: {error}") from error


def _metrics(raw: Any) -> tuple[Metric, ...]:
    return tuple(Metric(**item) for item in raw)


def _comparison(raw: Mapping[str, Any] | None) -> Comparison | None:
    if raw is None:
        return None
    differences = tuple(
        Difference(metric=Metric(**item["metric"]), better_share=item["better_share"]) for item in raw["differences"]
    )
    return Comparison(
        against=raw["against"], version=raw["version"], metrics=_metrics(raw["metrics"]), differences=differences
    )
