"""How well the model did in each window and slice, said only where enough of the truth is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ClassVar, Final

import polars as pl

from headwater.decisions import Window
from headwater.models import Bootstrap, Metric, MetricName
from headwater.models.evaluation_bootstrap import FEWEST_GROUPS
from headwater.monitoring._costs import DecisionCosts
from headwater.monitoring._frames import (
    AT,
    DECISION,
    JUDGED,
    LABEL,
    OUTCOMES,
    REQUEST_ID,
    SCORE,
    TRUTH,
    check_columns,
    check_label_values,
    check_no_nulls,
    check_scores,
    shown,
)
from headwater.monitoring._json import Recorded
from headwater.monitoring._metrics import measured, undefined
from headwater.monitoring._outcomes import Truth
from headwater.monitoring._windows import Span, Windowing, split
from headwater.monitoring.errors import MonitoringRuleError

LOCAL_DAY: Final = "local day"
"""As `PerformanceRules.clusters`: the calendar day of the prediction time, in the zone of the windows."""
ROWS: Final = "rows"
"""As `Performance.drawn_by`: rows count as independent."""
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class PerformanceRules:
    """What is measured, and when it may be.

    Attributes:
        windowing: How time is cut.
        slices: Columns of the outcomes to slice by, such as `version` or a feature.
        min_rows: Labelled rows below which a window or slice is not judged, >= 2.
        min_coverage: Share of the events that will have a label whose label is known, below which nothing is judged: the
            first labels to come in are of other events than the rest (a late flight's comes later).
        costs: The business metric; None without one.
        clusters: Whose equal values are drawn together for intervals: `LOCAL_DAY`, or a column of the outcomes. Rows of a day are alike,
            and an interval that takes them as independent is far too narrow for what the version will do on another day. Windows
            shorter than three days have too few of them: rows count as independent there, and an interval speaks of the window's own
            days alone. None takes rows as independent in every window.
        calibration_rise: Rise of the calibration error, and move of the bias, from the live version's evaluation, above which calibration
            counts as lost where chance is ruled out (`CalibrationLimits.rise`), above 0 and below 1.
        bootstrap: How intervals are made.
    """

    windowing: Windowing = field(default_factory=Windowing)
    slices: tuple[str, ...] = ()
    min_rows: int = 200
    min_coverage: float = 0.95
    costs: DecisionCosts | None = None
    clusters: str | None = LOCAL_DAY
    calibration_rise: float = 0.02
    bootstrap: Bootstrap = field(default_factory=Bootstrap)

    def __post_init__(self) -> None:
        if self.min_rows < 2:
            raise MonitoringRuleError(rule="PerformanceRules(...): min_rows", value=self.min_rows, wanted="2 or more")
        if not 0 <= self.min_coverage <= 1:
            raise MonitoringRuleError(
                rule="PerformanceRules(...): min_coverage", value=self.min_coverage, wanted="from 0 to 1"
            )
        if not 0 < self.calibration_rise < 1:
            raise MonitoringRuleError(
                rule="PerformanceRules(...): calibration_rise",
                value=self.calibration_rise,
                wanted="above 0 and below 1",
            )

    @property
    def drawn_by(self) -> str:
        """What intervals draw: `LOCAL_DAY`, a column, or `ROWS`."""
        is_short = self.clusters == LOCAL_DAY and self.windowing.length < FEWEST_GROUPS * _DAY
        return ROWS if self.clusters is None or is_short else self.clusters

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the outcomes that it reads beside what all have, each once."""
        return tuple(dict.fromkeys((*self.slices, *([] if self.drawn_by in (ROWS, LOCAL_DAY) else [self.drawn_by]))))

    def groups(self, events: pl.DataFrame) -> pl.Series | None:
        """What of some events is drawn together: equal values are; None where rows count as independent."""
        if self.drawn_by == ROWS:
            return None
        if self.drawn_by == LOCAL_DAY:
            return events[AT].dt.convert_time_zone(self.windowing.zone).dt.date()
        return events[self.drawn_by]


@dataclass(frozen=True, kw_only=True)
class Performance(Recorded):
    """What is known of some predicted events.

    Attributes:
        rows: Predicted events, each by its newest prediction.
        labelled: Of them with a known label.
        without_truth: Of them that will never have one.
        judged: Whether enough is known.
        reason: Why not; empty when judged.
        metrics: Each of `PERFORMANCE_METRICS`, and `cost` (mean of a decision) where costs are declared. Undefined unless
            judged. AUC, log loss, Brier and calibration error have bootstrap intervals; proportions Wilson's, and the mean
            cost Student's, unless rows come in clusters.
        drawn_by: What the intervals draw, as `PerformanceRules.drawn_by`; empty unless judged.
    """

    derived: ClassVar[tuple[str, ...]] = ("coverage",)

    rows: int
    labelled: int
    without_truth: int
    judged: bool
    reason: str
    metrics: tuple[Metric, ...]
    drawn_by: str = ""

    @property
    def coverage(self) -> float | None:
        """Share of the events that will have a label whose label is known; None when there are none."""
        awaited = self.rows - self.without_truth
        return self.labelled / awaited if awaited else None

    def metric(self, name: str) -> Metric:
        """The metric of this name. Raises KeyError."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)


@dataclass(frozen=True, kw_only=True)
class SlicePerformance(Recorded):
    """The events in which `column` has one value (None: null)."""

    column: str
    value: str | None
    performance: Performance


@dataclass(frozen=True, kw_only=True)
class WindowPerformance(Recorded):
    """One window.

    Attributes:
        start: Its first instant (UTC), by prediction time.
        end: The first one after it.
        overall: All its events.
        slices: By declared column and value.
    """

    start: datetime
    end: datetime
    overall: Performance
    slices: tuple[SlicePerformance, ...] = ()

    def evidence(self, *, metric: str = MetricName.AUC, effects: Mapping[str, float] | None = None) -> Window:
        """What a decision on retraining looks at.

        Events that will never have a label are no rows here: with them, a day of many cancellations would never be judged.

        Args:
            metric: Which metric, one of which more is better.
            effects: Effect size of each watched column's drift.
        """
        found = self.overall.metric(metric)
        return Window(
            start=self.start,
            end=self.end,
            rows=self.overall.rows - self.overall.without_truth,
            labelled=self.overall.labelled,
            effects=dict(effects or {}),
            metric=found.value,
            metric_high=found.high,
            by_rows=self.overall.drawn_by == ROWS,
        )


def performance_windows(
    outcomes: pl.DataFrame, *, rules: PerformanceRules, now: datetime, span: Span | None = None
) -> tuple[WindowPerformance, ...]:
    """The performance of each window of prediction time, oldest first, empty windows too.

    A window is judged when it is over, enough of its labels are known, and they are enough rows; a slice likewise. Where a window is
    not judged and events that await a label have no value in a column, its slices by that column are not either: which of them the
    events belong to shows with their labels, so that of each slice too much seems known.

    Args:
        outcomes: The frame of `join_outcomes`, with the columns to slice by.
        rules: What is measured, and when.
        now: As of when.
        span: Windows that overlap it are given; None covers the rows.

    Raises:
        MissingColumnsError, ColumnTypeError, BadValuesError: The frame is none of outcomes, or lacks a declared column.
        TooManyWindowsError: Windows are far too short for the time covered.
    """
    check_columns(outcomes, OUTCOMES, [REQUEST_ID, AT, SCORE, DECISION, LABEL, TRUTH, JUDGED, *rules.columns])
    events = outcomes.filter(JUDGED).sort(AT, REQUEST_ID)
    check_no_nulls(events, OUTCOMES, [AT, DECISION])
    check_scores(events, OUTCOMES)
    check_label_values(events, OUTCOMES, LABEL)
    found = []
    for window, rows in split(events, AT, rules.windowing, span=span):
        over = "" if window.end <= now else "the window is not over"
        name = window.start.isoformat()
        overall = _performance(rows, rules, name, over)
        slices = _slices(rows, rules, name, over, is_judged=overall.judged)
        found.append(WindowPerformance(start=window.start, end=window.end, overall=overall, slices=slices))
    return tuple(found)


def _slices(
    rows: pl.DataFrame, rules: PerformanceRules, name: str, open_: str, *, is_judged: bool
) -> tuple[SlicePerformance, ...]:
    """Each value of each column. Where events that await a label have no value, nobody knows how much of a slice is known."""
    awaited = rows.filter(pl.col(TRUTH).is_in([Truth.PENDING.value, Truth.REVIEWED.value]))
    slices: list[SlicePerformance] = []
    for column in rules.slices:
        lacking = 0 if is_judged else awaited[column].null_count()
        if lacking and not open_:
            said = f"{lacking} events that await a label have no {column} yet"
            slices += _slices(rows, replace(rules, slices=(column,)), name, said, is_judged=True)
            continue
        for value in rows[column].unique().sort(nulls_last=True):
            part = rows.filter(pl.col(column).eq_missing(value))
            performance = _performance(part, rules, f"{name} {column}={value}", open_)
            slices.append(SlicePerformance(column=column, value=shown(value), performance=performance))
    return tuple(slices)


def _performance(rows: pl.DataFrame, rules: PerformanceRules, name: str, open_: str) -> Performance:
    known = rows.filter(pl.col(TRUTH) == Truth.KNOWN.value)
    without = rows.filter(pl.col(TRUTH) == Truth.NONE.value).height
    reason = open_ or _why_not(rows.height, known.height, without, rules)
    return Performance(
        rows=rows.height,
        labelled=known.height,
        without_truth=without,
        judged=not reason,
        reason=reason,
        metrics=undefined(known.height, reason, costs=rules.costs is not None)
        if reason
        else measured(known, rules.groups(known), costs=rules.costs, plan=rules.bootstrap, stream=name),
        drawn_by="" if reason else rules.drawn_by,
    )


def _why_not(rows: int, labelled: int, without: int, rules: PerformanceRules) -> str:
    if not rows:
        return "nothing was predicted"
    awaited = rows - without
    if not awaited:
        return f"none of {rows} events will have a label"
    if labelled < rules.min_coverage * awaited:
        return (
            f"{labelled} of {awaited} labels are known ({labelled / awaited:.1%}), {rules.min_coverage:.1%} are needed"
        )
    if labelled < rules.min_rows:
        return f"{labelled} labelled rows, {rules.min_rows} are needed"
    return ""
