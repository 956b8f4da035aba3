"""Drift of each window of scores or features against a kept reference, for decisions that look at several windows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Final

import polars as pl

from headwater.drift import (
    ColumnDrift,
    DriftLimits,
    DriftReport,
    DriftVerdict,
    ReferenceProfile,
    drift_statistics,
    joined,
)
from headwater.monitoring._frames import AT, PREDICTIONS, SCORE, check_columns, check_no_nulls, check_scores
from headwater.monitoring._json import Recorded
from headwater.monitoring._seasons import SeasonalReference
from headwater.monitoring._windows import Span, Windowing, split

EMPTY: Final = "nothing was predicted"
UNSAID: Final = "no prediction says a column that is compared"
_SAID: Final = "__said "


@dataclass(frozen=True, kw_only=True)
class WindowDrift(Recorded):
    """The drift of one window.

    Attributes:
        start: Its first instant (UTC), by prediction time.
        end: The first one after it.
        rows: Predictions in it.
        report: One record a column; None when undefined.
        reason: Why it is undefined; empty otherwise.
        season: Calendar months of the reference that it is compared with; empty for the whole reference.
        unsaid: Predictions that do not say a column, by its name: it is compared on the others alone, and not at all without any.
    """

    derived: ClassVar[tuple[str, ...]] = ("effects", "shifted")

    start: datetime
    end: datetime
    rows: int
    report: DriftReport | None
    reason: str = ""
    season: tuple[int, ...] = ()
    unsaid: Mapping[str, int] = field(default_factory=dict)

    @property
    def effects(self) -> dict[str, float]:
        """How far each column moved beyond what sampling gives (`surplus`), as a decision's `Window` takes it.

        0 where the test does not rule chance out; a column with too few rows on either side is left out.
        """
        if self.report is None:
            return {}
        limit = self.report.limits.false_discovery
        enough = (one for one in self.report.columns if one.verdict is not DriftVerdict.TOO_FEW_ROWS)
        return {one.column: surplus(one) if one.chi_squared.q_value <= limit else 0.0 for one in enough}

    @property
    def shifted(self) -> tuple[str, ...]:
        """Names of the columns that lie beyond the limits, in order."""
        return () if self.report is None else self.report.shifted


def drift_windows(
    reference: ReferenceProfile | pl.DataFrame | SeasonalReference,
    predictions: pl.DataFrame,
    *,
    columns: Sequence[str],
    categorical: Sequence[str] = (),
    windowing: Windowing,
    limits: DriftLimits | None = None,
    span: Span | None = None,
    said: pl.DataFrame | None = None,
) -> tuple[WindowDrift, ...]:
    """How each window differs from the reference, oldest first, empty windows too.

    Args:
        reference: Profile kept with the bundle (only the predictions are read then), or rows; or these by the season.
        predictions: `at` and the columns, such as features as the model read them.
        columns: What to compare.
        categorical: Those whose numbers are codes.
        windowing: How time is cut.
        limits: When a column counts as shifted.
        span: Windows that overlap it are given; None covers the rows.
        said: Whether each prediction says each of the columns, Boolean; a column is compared on those that do. None takes all.

    Raises:
        MissingColumnsError, ColumnTypeError, BadValuesError: The predictions lack a column or a time.
        TooManyWindowsError: Windows are far too short for the time covered.
        DriftError: The reference lacks a column, is empty, or holds values of another kind.
    """
    check_columns(predictions, PREDICTIONS, [AT, *columns])
    check_no_nulls(predictions, PREDICTIONS, [AT])
    if not isinstance(reference, SeasonalReference):
        reference = SeasonalReference(whole=reference)
    known: dict[tuple[int, ...], ReferenceProfile | pl.DataFrame] = {}
    found = []
    if said is not None:
        predictions = predictions.hstack(said.select(pl.col(name).alias(_SAID + name) for name in columns))
    for window, rows in split(predictions, AT, windowing, span=span):
        if rows.is_empty():
            found.append(WindowDrift(start=window.start, end=window.end, rows=0, report=None, reason=EMPTY))
            continue
        season = reference.season(window)
        if season not in known:
            known[season] = reference.of(season)
        unsaid = {} if said is None else _unsaid(rows, columns)
        report = _compared(known[season], rows, columns, unsaid, categorical=categorical, limits=limits)
        found.append(
            WindowDrift(
                start=window.start,
                end=window.end,
                rows=rows.height,
                report=report,
                reason="" if report is not None else UNSAID,
                season=season,
                unsaid=unsaid,
            )
        )
    return tuple(found)


def _unsaid(rows: pl.DataFrame, columns: Sequence[str]) -> dict[str, int]:
    counts = {name: rows.height - int(rows[_SAID + name].sum()) for name in columns}
    return {name: count for name, count in counts.items() if count}


def _compared(
    reference: ReferenceProfile | pl.DataFrame,
    rows: pl.DataFrame,
    columns: Sequence[str],
    unsaid: Mapping[str, int],
    *,
    categorical: Sequence[str],
    limits: DriftLimits | None,
) -> DriftReport | None:
    """One report of all columns, each on the rows that say it; None where none of them does."""
    whole = [name for name in columns if name not in unsaid]
    parts = [(whole, rows.select(columns))] if whole or not columns else []
    parts += [([name], rows.filter(_SAID + name).select(columns)) for name in unsaid if unsaid[name] < rows.height]
    reports = [
        drift_statistics(reference, part, columns=names, categorical=categorical, limits=limits, threads=1)
        for names, part in parts
    ]
    if len(reports) < 2:
        return reports[0] if reports else None
    return joined(reports, columns=columns, current_rows=rows.height)


def prediction_drift(
    reference: ReferenceProfile | pl.DataFrame,
    predictions: pl.DataFrame,
    *,
    windowing: Windowing,
    limits: DriftLimits | None = None,
    span: Span | None = None,
) -> tuple[WindowDrift, ...]:
    """How the scores of each window differ from the reference's scores; needs no label. As `drift_windows`.

    Args:
        reference: Profile or rows with the column `score`: the version's scores on the rows it was judged on before its
            release. Scores on its training rows are more extreme than any it will give later.
    """
    check_columns(predictions, PREDICTIONS, [AT, SCORE])
    check_scores(predictions, PREDICTIONS)
    return drift_windows(reference, predictions, columns=[SCORE], windowing=windowing, limits=limits, span=span)


@dataclass(frozen=True, kw_only=True)
class MovedFeature(Recorded):
    """How much one feature moved.

    Attributes:
        column: The feature.
        effect: Its population stability index less what sampling alone gives on average, 0 or more.
        missing: Change of the share of rows without a value (null or NaN).
        drift: All its statistics, with verdict and reason.
    """

    column: str
    effect: float
    missing: float
    drift: ColumnDrift


def surplus(column: ColumnDrift) -> float:
    """A column's population stability index less what sampling alone gives on average, 0 or more."""
    return max(column.psi.value - column.psi.noise, 0.0)


def moved_features(report: DriftReport) -> tuple[MovedFeature, ...]:
    """Every feature of a drift report, the one that moved most first, equal ones by name."""
    found = [
        MovedFeature(
            column=column.column,
            effect=surplus(column),
            missing=_missing(column, current=True) - _missing(column, current=False),
            drift=column,
        )
        for column in report.columns
    ]
    return tuple(sorted(found, key=lambda moved: (-moved.effect, moved.column)))


def _missing(column: ColumnDrift, *, current: bool) -> float:
    side = column.current if current else column.reference
    return (side.nulls + side.nans) / side.rows
