"""What a comparison found, one typed record a column, and the table that is kept of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import polars as pl

from headwater.errors import HeadwaterError


class LimitError(HeadwaterError):
    """A declared drift limit that no statistic could ever meet or break."""

    def __init__(self, *, name: str, value: float, rule: str) -> None:
        self.name, self.value = name, value
        super().__init__(f"Drift limit '{name}' is {value}, which is out of range. {rule}")


class DriftVerdict(StrEnum):
    """What a column's statistics say."""

    STABLE = "stable"
    SHIFTED = "shifted"
    TOO_FEW_ROWS = "too_few_rows"


@dataclass(frozen=True, kw_only=True)
class DriftLimits:
    """When a column counts as shifted: the effect is large *and* chance does not explain it.

    Attributes:
        psi: PSI above which a shift is large. 0.1 is slight, 0.25 is a shift by convention (Siddiqi 2006).
        ks: KS statistic above which a shift of a numeric column is large; 0.2 is a normal's mean moved by half a
            standard deviation. None judges by PSI alone.
        false_discovery: Expected share of false alarms among the columns called shifted (Benjamini-Hochberg), over all
            tests of the report.
        min_rows: Rows that both sides need before anything is judged.
        bins: Quantile bins of numeric columns.
    """

    psi: float = 0.25
    ks: float | None = 0.2
    false_discovery: float = 0.01
    min_rows: int = 500
    bins: int = 10

    def __post_init__(self) -> None:
        if not self.psi > 0:
            raise LimitError(name="psi", value=self.psi, rule="Use a number above 0, such as 0.25.")
        if self.ks is not None and not 0 < self.ks < 1:
            raise LimitError(name="ks", value=self.ks, rule="Use a number between 0 and 1, or None.")
        if not 0 < self.false_discovery < 1:
            raise LimitError(name="false_discovery", value=self.false_discovery, rule="Use a number between 0 and 1.")
        if self.min_rows < 1:
            raise LimitError(name="min_rows", value=self.min_rows, rule="Use 1 or more.")
        if self.bins < 2:
            raise LimitError(name="bins", value=self.bins, rule="Use 2 or more.")


@dataclass(frozen=True, kw_only=True)
class KolmogorovSmirnov:
    """The two-sample test of a numeric column. Null and NaN take no part.

    Attributes:
        statistic: Largest gap between the distribution functions, 0 to 1.
        p_value: Asymptotic (Smirnov 1948), conservative with ties.
        q_value: Adjusted over all tests of the report (Benjamini-Hochberg).
        error: How far the statistic may be off: 0 for exact profiles.
    """

    statistic: float
    p_value: float
    q_value: float
    error: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Psi:
    """A column's population stability index over its cells.

    Attributes:
        value: In nats, 0 or more.
        noise: What sampling alone gives on average when nothing shifted.
        cells: Cells with rows on either side: categories (rare ones share cells) or quantile bins and atoms, NaN, null.
    """

    value: float
    noise: float
    cells: int


@dataclass(frozen=True, kw_only=True)
class Wasserstein:
    """How far the rows of a numeric column moved. Null and NaN take no part. An effect size without a test.

    Attributes:
        distance: Wasserstein-1, in the column's unit; in seconds for points in time and durations.
        effect: The distance over the reference's standard deviation; None when that is 0 and the distance is not.
        error: How far the distance may be off: 0 for exact profiles.
    """

    distance: float
    effect: float | None
    error: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ChiSquared:
    """Pearson's test over the same cells as PSI.

    Attributes:
        statistic: Without Yates' correction.
        dof: Degrees of freedom.
        p_value: Of the statistic. Rare categories share cells, because it would be too small where cells have few rows (Cochran 1954).
        q_value: Adjusted over all tests of the report (Benjamini-Hochberg).
        cramers_v: Effect size, 0 to 1.
    """

    statistic: float
    dof: int
    p_value: float
    q_value: float
    cramers_v: float


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a column.

    Attributes:
        rows: All rows.
        nulls: Rows without a value.
        nans: Rows that hold NaN.
        median: Lower median of numbers, None otherwise.
    """

    rows: int
    nulls: int
    nans: int
    median: float | None


@dataclass(frozen=True, kw_only=True)
class ColumnDrift:
    """How one column's distribution differs between reference and current data.

    Attributes:
        column: Its name.
        kind: How its values were compared: a `ValueKind`, such as `double` or `category`.
        reference: Rows of the reference.
        current: Rows of the current data.
        psi: Population stability index.
        chi_squared: Test over the PSI's cells.
        jensen_shannon: Jensen-Shannon distance of the shares of the PSI's cells, base 2, 0 to 1.
        ks: Kolmogorov-Smirnov test; None for categories and when one side has no value at all.
        wasserstein: Wasserstein distance; None likewise, and when a value is infinite.
        new_categories: Categories that only the current data have, most rows first, 20 at most.
        vanished_categories: Categories that only the reference has, most rows first, 20 at most.
        new_count: How many are new.
        vanished_count: How many vanished.
        verdict: Judged by the limits.
        reason: Why, in one sentence.
    """

    column: str
    kind: str
    reference: Side
    current: Side
    psi: Psi
    chi_squared: ChiSquared
    jensen_shannon: float
    ks: KolmogorovSmirnov | None
    wasserstein: Wasserstein | None
    new_categories: tuple[str, ...] = ()
    vanished_categories: tuple[str, ...] = ()
    new_count: int = 0
    vanished_count: int = 0
    verdict: DriftVerdict
    reason: str


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """The comparison of two samples.

    Attributes:
        columns: One record a column, in the order asked for.
        reference_rows: Rows of the reference.
        current_rows: Rows of the current data.
        limits: What the verdicts rest on.
    """

    columns: tuple[ColumnDrift, ...]
    reference_rows: int
    current_rows: int
    limits: DriftLimits = field(default_factory=DriftLimits)

    @property
    def shifted(self) -> tuple[str, ...]:
        """Names of the shifted columns, in order."""
        return tuple(record.column for record in self.columns if record.verdict is DriftVerdict.SHIFTED)

    def column(self, name: str) -> ColumnDrift:
        """The record of one column. Raises KeyError."""
        for record in self.columns:
            if record.column == name:
                return record
        raise KeyError(name)


REPORT_SCHEMA: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "column": pl.String, "kind": pl.String, "verdict": pl.String, "reason": pl.String,
    "reference_rows": pl.Int64, "current_rows": pl.Int64,
    "reference_missing": pl.Float64, "current_missing": pl.Float64,
    "reference_median": pl.Float64, "current_median": pl.Float64,
    "psi": pl.Float64, "psi_noise": pl.Float64, "cells": pl.Int64,
    "ks": pl.Float64, "ks_error": pl.Float64, "ks_p_value": pl.Float64, "ks_q_value": pl.Float64,
    "chi2": pl.Float64, "chi2_dof": pl.Int64, "chi2_p_value": pl.Float64, "chi2_q_value": pl.Float64,
    "cramers_v": pl.Float64, "jensen_shannon": pl.Float64,
    "wasserstein": pl.Float64, "wasserstein_effect": pl.Float64, "wasserstein_error": pl.Float64,
    "new_count": pl.Int64, "vanished_count": pl.Int64,
    "new_categories": pl.List(pl.String),
    "vanished_categories": pl.List(pl.String),
}  # fmt: skip
"""Columns of the drift table, in order."""


def report_frame(report: DriftReport) -> pl.DataFrame:
    """The report as a table: one row a column in the report's order, always with `REPORT_SCHEMA`.

    Missing shares count null and NaN. What is undefined (KS and Wasserstein of categories) is null.
    """
    return pl.DataFrame([_row(record) for record in report.columns], schema=REPORT_SCHEMA, orient="row")


def _row(record: ColumnDrift) -> dict[str, Any]:
    reference, current, ks, chi = record.reference, record.current, record.ks, record.chi_squared
    moved = record.wasserstein
    return {
        "column": record.column, "kind": record.kind, "verdict": record.verdict.value, "reason": record.reason,
        "reference_rows": reference.rows, "current_rows": current.rows,
        "reference_missing": (reference.nulls + reference.nans) / reference.rows,
        "current_missing": (current.nulls + current.nans) / current.rows,
        "reference_median": reference.median, "current_median": current.median,
        "psi": record.psi.value, "psi_noise": record.psi.noise, "cells": record.psi.cells,
        "ks": ks.statistic if ks else None, "ks_error": ks.error if ks else None,
        "ks_p_value": ks.p_value if ks else None, "ks_q_value": ks.q_value if ks else None,
        "chi2": chi.statistic, "chi2_dof": chi.dof, "chi2_p_value": chi.p_value, "chi2_q_value": chi.q_value,
        "cramers_v": chi.cramers_v, "jensen_shannon": record.jensen_shannon,
        "wasserstein": moved.distance if moved else None, "wasserstein_effect": moved.effect if moved else None,
        "wasserstein_error": moved.error if moved else None, "new_count": record.new_count, "vanished_count": record.vanished_count,
        "new_categories": list(record.new_categories), "vanished_categories": list(record.vanished_categories),
    }  # fmt: skip
