"""From outcomes to the report of a test of versions."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from headwater.monitoring._experiment import (
    Experiment,
    ExperimentReport,
    VariantDifference,
    VariantResult,
)
from headwater.monitoring._frames import (
    DECISION,
    JUDGED,
    LABEL,
    OUTCOMES,
    RECEIVED,
    REQUEST_ID,
    TRUTH,
    VARIANT,
    check_columns,
    check_label_values,
    check_no_nulls,
)
from headwater.monitoring._intervals import (
    Estimate,
    Mean,
    design_effect,
    effective_rows,
    mean_of,
    newcombe,
    power_of_proportions,
    rows_for_proportions,
    student,
    units_of_one_size,
    welch,
    wilson,
)
from headwater.monitoring._outcomes import Truth
from headwater.monitoring._sample_ratio import SampleRatio, sample_ratio

_EXAMPLES: Final = 20
_UNIT: Final = "assigned unit"
_FEW_UNITS: Final = 2
"""Of one size. As many or fewer on a side tell nothing of others."""
_BETWEEN: Final = "\x1f"


@dataclass(frozen=True, kw_only=True)
class _Side:
    result: VariantResult
    rows: float
    """Labelled rows, as many independent ones as they count for."""
    cost: Mean | None
    lacking: str
    """Why there is too little to judge; empty where there is enough."""


def experiment_report(outcomes: pl.DataFrame, *, experiment: Experiment) -> ExperimentReport:
    """What a test of versions shows so far.

    Args:
        outcomes: The frame of `join_outcomes` over the time of the test, with the columns of the unit.
        experiment: What was declared.

    Raises:
        MissingColumnsError, ColumnTypeError, BadValuesError: The frame is none of outcomes, or lacks a column of the unit.
    """
    needed = [REQUEST_ID, RECEIVED, VARIANT, DECISION, LABEL, TRUTH, JUDGED]
    check_columns(outcomes, OUTCOMES, [*needed, *experiment.unit])
    check_no_nulls(outcomes, OUTCOMES, [VARIANT, DECISION, *experiment.unit])
    check_label_values(outcomes, OUTCOMES, LABEL)
    declared = outcomes.filter(pl.col(VARIANT).is_in(list(experiment.shares)))
    unit = pl.concat_str(pl.col(list(experiment.unit)).cast(pl.String), separator=_BETWEEN)
    rows = declared.sort(RECEIVED, REQUEST_ID).with_columns(unit.alias(_UNIT))
    first = rows.unique(_UNIT, keep="first", maintain_order=True)
    units = dict(first.group_by(VARIANT).len().iter_rows())
    crossed = rows.group_by(_UNIT).agg(pl.col(VARIANT).n_unique()).filter(pl.col(VARIANT) > 1)[_UNIT].sort()
    ratio = sample_ratio(units, experiment.shares)
    level = 1 - experiment.alpha / (len(experiment.shares) - 1)
    events = rows.filter(JUDGED)
    sides = {
        name: _side(name, events.filter(pl.col(VARIANT) == name), units.get(name, 0), experiment, level)
        for name in experiment.shares
    }
    control = sides[experiment.control]
    others = [side for name, side in sides.items() if name != experiment.control]
    return ExperimentReport(
        variants=tuple(side.result for side in sides.values()),
        differences=tuple(_difference(side, control, experiment, ratio, level) for side in others),
        ratio=ratio,
        crossed=len(crossed),
        crossed_examples=tuple(name.replace(_BETWEEN, " ") for name in crossed.head(_EXAMPLES)),
        undeclared=outcomes.height - declared.height,
        level=level,
    )


def _side(name: str, events: pl.DataFrame, units: int, experiment: Experiment, level: float) -> _Side:
    known = events.filter(pl.col(TRUTH) == Truth.KNOWN.value)
    awaited = events.height - events.filter(pl.col(TRUTH) == Truth.NONE.value).height
    coverage = known.height / awaited if awaited else None
    covered = coverage is not None and coverage >= experiment.min_coverage and known.height > 0
    labels, decisions = known[LABEL].to_numpy(), known[DECISION].to_numpy().astype(bool)
    right, groups = ((labels == 1) == decisions).astype(np.float64), _groups(known)
    counted, alike = units_of_one_size(groups), design_effect(right, groups)
    count = effective_rows(groups, alike=alike, level=level)
    enough = covered and counted > _FEW_UNITS
    cost = None
    if experiment.costs is not None and enough:
        cost = mean_of(experiment.costs.of(labels, decisions), units=groups)
    result = VariantResult(
        variant=name,
        units=units,
        events=events.height,
        labelled=known.height,
        coverage=coverage,
        decided=_decided(events, level),
        correct=_share(right, count, level) if enough else None,
        cost=student(cost, level=level) if cost else None,
        design_effect=alike,
    )
    return _Side(
        result=result,
        rows=count,
        cost=cost,
        lacking="" if enough else _lacking(name, coverage, experiment) if not covered else _few(name, counted),
    )


def _lacking(name: str, coverage: float | None, experiment: Experiment) -> str:
    known = f"{coverage:.1%}" if coverage is not None else "none"
    return f"{known} of the labels of {name} are known, {experiment.min_coverage:.1%} are needed"


def _few(name: str, counted: float) -> str:
    return f"the labels of {name} count as those of {counted:.1f} units of one size, more than {_FEW_UNITS} are needed"


def _decided(events: pl.DataFrame, level: float) -> Estimate | None:
    values, groups = events[DECISION].to_numpy().astype(np.float64), _groups(events)
    return _share(values, effective_rows(groups, alike=design_effect(values, groups), level=level), level)


def _share(values: np.ndarray, rows: float, level: float) -> Estimate | None:
    return wilson(float(values.mean()) * rows, rows, level=level) if rows else None


def _groups(rows: pl.DataFrame) -> np.ndarray:
    return rows[_UNIT].rank("dense").to_numpy().astype(np.int64) - 1


def _difference(
    side: _Side, control: _Side, experiment: Experiment, ratio: SampleRatio, level: float
) -> VariantDifference:
    ours, theirs = side.result, control.result
    correct = newcombe(ours.correct, theirs.correct) if ours.correct and theirs.correct else None
    cost = welch(side.cost, control.cost, level=level) if side.cost and control.cost else None
    power, needed = _power(side, control, experiment, 1 - level)
    judged, reason = True, ""
    if ratio.mismatch:
        judged, reason = (
            False,
            f"units were not split as declared (p {ratio.p_value:.2g}), so that no difference can be trusted",
        )
    elif correct is None:
        judged, reason = False, side.lacking or control.lacking
    else:
        sure = correct.low > 0 or correct.high < 0
        found = f"right decisions differ by {correct.value:+.4f} [{correct.low:+.4f}, {correct.high:+.4f}]"
        reason = f"{found}: {'a difference' if sure else 'no difference is shown'} at level {level:.4g}"
    return VariantDifference(
        variant=ours.variant, correct=correct, cost=cost, power=power, needed=needed, judged=judged, reason=reason
    )


def _power(
    side: _Side, control: _Side, experiment: Experiment, alpha: float
) -> tuple[float | None, tuple[int, int] | None]:
    base, share = control.result.correct, experiment.shares[side.result.variant]
    if base is None or not 0 < base.value < 1 or not 0 < base.value + experiment.effect < 1 or not share:
        return None, None
    power = power_of_proportions(base.value, experiment.effect, (control.rows, side.rows), alpha=alpha)
    wanted = rows_for_proportions(
        base.value,
        experiment.effect,
        alpha=alpha,
        power=experiment.power,
        ratio=share / experiment.shares[experiment.control],
    )
    alike = max(control.result.design_effect, side.result.design_effect)
    return power, (int(np.ceil(wanted[0] * alike)), int(np.ceil(wanted[1] * alike)))
