"""Which slices carry a change of the mean loss: what comes of other shares of rows, and what of other losses within a slice."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np
import polars as pl

from headwater.models.evaluation_metrics import Sample
from headwater.monitoring._costs import DecisionCosts
from headwater.monitoring._frames import (
    DECISION,
    JUDGED,
    LABEL,
    OUTCOMES,
    SCORE,
    TRUTH,
    check_columns,
    check_label_values,
    check_scores,
    shown,
)
from headwater.monitoring._json import Recorded
from headwater.monitoring._outcomes import Truth
from headwater.monitoring.errors import MonitoringRuleError

_SQUARED, _LOG = 2, 3
"""Rows of `Sample.sums` that hold the losses."""


class Loss(StrEnum):
    """What is summed up."""

    LOG = "log_loss"
    SQUARED = "brier"
    COST = "cost"


@dataclass(frozen=True, kw_only=True)
class SliceShift(Recorded):
    """What one slice contributes to the change of the mean loss.

    Attributes:
        value: The column's value, None for null.
        reference_rows: Labelled rows in the reference window.
        current_rows: Labelled rows in the current window.
        reference_loss: Mean loss there; None without rows.
        current_loss: Mean loss here; None without rows.
        share_change: Part of the change because the slice has another share of all rows. A slice of average loss that grows
            contributes nothing.
        within_change: Part of the change because its rows have another loss.
        within_error: Standard error of `within_change`, rows taken as independent; None unless both windows have two rows.
    """

    derived: ClassVar[tuple[str, ...]] = ("change",)

    value: str | None
    reference_rows: int
    current_rows: int
    reference_loss: float | None
    current_loss: float | None
    share_change: float
    within_change: float
    within_error: float | None

    @property
    def change(self) -> float:
        """Its whole contribution."""
        return self.share_change + self.within_change


@dataclass(frozen=True, kw_only=True)
class LossShift(Recorded):
    """The change of the mean loss between two windows by the slices of one column.

    Attributes:
        column: The column.
        loss: Which loss, a `Loss`.
        reference: Mean loss in the reference window; None when undefined.
        current: Mean loss in the current window; None when undefined.
        slices: The largest contribution first; together they are the change, up to rounding. Empty when undefined.
        reason: Why it is undefined; empty otherwise.
    """

    derived: ClassVar[tuple[str, ...]] = ("change",)

    column: str
    loss: Loss
    reference: float | None
    current: float | None
    slices: tuple[SliceShift, ...]
    reason: str = ""

    @property
    def change(self) -> float | None:
        """Current less reference; None when undefined."""
        return None if self.current is None or self.reference is None else self.current - self.reference


def loss_shifts(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    *,
    columns: Sequence[str],
    loss: Loss = Loss.LOG,
    costs: DecisionCosts | None = None,
) -> tuple[LossShift, ...]:
    """For each column, the change of the mean loss between two windows, slice by slice.

    With shares w and mean losses l in the windows 0 and 1, and m the mean of both windows' losses, a slice contributes
    (w1 - w0) ((l0 + l1) / 2 - m) by its share and (w0 + w1) / 2 (l1 - l0) within (Kitagawa 1955, JASA 50, 1168-1194; m is taken
    off, which changes no sum because shares add up to 1 twice). A slice that one window lacks changes by its share alone.

    Args:
        reference: Outcomes of the reference window.
        current: Outcomes of the current window.
        columns: Columns to slice by; each gives a whole decomposition of its own.
        loss: Which loss.
        costs: What decisions cost, for `Loss.COST`.

    Raises:
        MissingColumnsError, ColumnTypeError, BadValuesError: A frame is none of outcomes, or lacks a column.
        MonitoringRuleError: `Loss.COST` without costs.
    """
    if loss is Loss.COST and costs is None:
        raise MonitoringRuleError(rule="loss_shifts(...): costs", value=None, wanted="given for Loss.COST")
    sides = [_losses(frame, columns, loss, costs) for frame in (reference, current)]
    return tuple(_shift(column, loss, *sides) for column in columns)


def _losses(frame: pl.DataFrame, columns: Sequence[str], loss: Loss, costs: DecisionCosts | None) -> pl.DataFrame:
    """The slicing columns and `loss` of the labelled rows."""
    check_columns(frame, OUTCOMES, [SCORE, DECISION, LABEL, TRUTH, JUDGED, *columns])
    known = frame.filter(pl.col(JUDGED) & (pl.col(TRUTH) == Truth.KNOWN.value))
    check_scores(known, OUTCOMES)
    check_label_values(known, OUTCOMES, LABEL)
    values = row_losses(known, loss, costs) if known.height else np.empty(0)
    return known.select([pl.col(column).cast(pl.String).alias(f"by {column}") for column in columns]).with_columns(
        pl.Series("loss", values, dtype=pl.Float64)
    )


def row_losses(known: pl.DataFrame, loss: Loss, costs: DecisionCosts | None) -> np.ndarray:
    """The loss of each labelled row, `[rows]`, at least one."""
    labels = known[LABEL].to_numpy().astype(np.float64)
    if loss is Loss.COST:
        assert costs is not None  # checked by the caller
        return costs.of(labels, known[DECISION].to_numpy())
    sample = Sample.of(labels, known[SCORE].to_numpy(), threshold=0.5)
    values = np.empty(len(labels))
    values[sample.order] = sample.sums[_LOG if loss is Loss.LOG else _SQUARED]
    return values


def _shift(column: str, loss: Loss, reference: pl.DataFrame, current: pl.DataFrame) -> LossShift:
    means = [float(side["loss"].mean()) if side.height else None for side in (reference, current)]  # type: ignore[arg-type]
    if means[0] is None or means[1] is None:
        empty = "reference" if means[0] is None else "current"
        reason = f"the {empty} window has no labelled rows"
        return LossShift(column=column, loss=loss, reference=means[0], current=means[1], slices=(), reason=reason)
    groups = [_groups(side, f"by {column}") for side in (reference, current)]
    middle = (means[0] + means[1]) / 2
    rows = (reference.height, current.height)
    values = sorted({*groups[0], *groups[1]}, key=lambda value: (value is None, value or ""))
    slices = [_slice(value, groups[0].get(value), groups[1].get(value), rows, middle) for value in values]
    slices.sort(key=lambda one: -abs(one.change))
    return LossShift(column=column, loss=loss, reference=means[0], current=means[1], slices=tuple(slices))


_Group = tuple[int, float, float | None]
"""Rows, mean loss and its variance."""


def _groups(side: pl.DataFrame, column: str) -> Mapping[str | None, _Group]:
    loss = pl.col("loss")
    found = side.group_by(column).agg(pl.len(), loss.mean().alias("mean"), loss.var().alias("variance"))
    return {shown(value): (rows, mean, variance) for value, rows, mean, variance in found.iter_rows()}


def _slice(
    value: str | None, old: _Group | None, new: _Group | None, rows: tuple[int, int], middle: float
) -> SliceShift:
    before, after = old or new, new or old
    assert before is not None
    assert after is not None
    shares = ((old[0] if old else 0) / rows[0], (new[0] if new else 0) / rows[1])
    weight = (shares[0] + shares[1]) / 2
    error = None
    if old and new and old[2] is not None and new[2] is not None:
        error = weight * math.sqrt(old[2] / old[0] + new[2] / new[0])
    return SliceShift(
        value=value,
        reference_rows=old[0] if old else 0,
        current_rows=new[0] if new else 0,
        reference_loss=old[1] if old else None,
        current_loss=new[1] if new else None,
        share_change=(shares[1] - shares[0]) * ((before[1] + after[1]) / 2 - middle),
        within_change=weight * (after[1] - before[1]),
        within_error=error,
    )
