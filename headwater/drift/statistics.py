"""Compares two samples column by column and judges each by declared limits."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

import polars as pl

from headwater.drift._cells import categorical_cells, numeric_cells
from headwater.drift._columns import CATEGORY, Frame, Reader, blocks
from headwater.drift._combine import common_kind, convert
from headwater.drift._distances import wasserstein
from headwater.drift._distribution import CategoricalProfile, ColumnProfile, NumericProfile
from headwater.drift._measures import chi_squared, jensen_shannon, ks_p_value, ks_statistic, psi, psi_noise, q_values
from headwater.drift.errors import EmptySampleError, MissingColumnError
from headwater.drift.profile import CURRENT, REFERENCE, ReferenceProfile, Scratch, column_profiles
from headwater.drift.report import (
    ChiSquared,
    ColumnDrift,
    DriftLimits,
    DriftReport,
    DriftVerdict,
    KolmogorovSmirnov,
    Psi,
    Side,
    Wasserstein,
)

_NAMED_CATEGORIES = 20
_MOST_THREADS = 4

Sample: TypeAlias = Frame | ReferenceProfile


def drift_statistics(
    reference: Sample,
    current: Sample,
    *,
    columns: Sequence[str] | None = None,
    categorical: Sequence[str] = (),
    limits: DriftLimits | None = None,
    threads: int | None = None,
) -> DriftReport:
    """How the distribution of each column differs between two samples, exactly.

    Numeric columns (numbers, dates, durations) get KS, Wasserstein, PSI, and chi-squared and Jensen-Shannon over the
    PSI's cells; categorical ones (strings, categories, booleans) PSI, chi-squared and Jensen-Shannon. Null and NaN are cells of their own, infinities are values.
    Sides in different float widths are compared in the coarser one, integers against floats in Float64.

    Args:
        reference: Frame, or a profile kept of it, so that only the current data are read.
        current: Frame or profile.
        columns: Columns to compare; None takes all of the reference.
        categorical: Columns whose integers or dates are codes. A profile fixed this when it was made.
        limits: When a column counts as shifted; None takes the defaults of `DriftLimits`.
        threads: Groups of columns measured at once; each needs memory of its own. None takes the processors there are, four
            at most. The report is the same.

    Raises:
        EmptySampleError: One side has no rows.
        MissingColumnError: A column is absent on one side.
        ColumnKindError: A column holds numbers on one side and categories on the other, say.
        UnsupportedColumnError: A column is nested, binary or an object.
    """
    limits = limits or DriftLimits()
    left, right = _source(reference, REFERENCE, categorical), _source(current, CURRENT, categorical)
    names = left.names if columns is None else tuple(dict.fromkeys(columns))
    for source in (left, right):
        source.check([*names, *categorical])

    own = threading.local()

    def measure(block: Sequence[str]) -> list[ColumnDrift]:
        if not hasattr(own, "scratch"):
            own.scratch = Scratch(), Scratch()
        sides = (source.columns(block, scratch) for source, scratch in zip((left, right), own.scratch, strict=True))
        return [_measure(name, ours, theirs, limits.bins) for name, ours, theirs in zip(block, *sides, strict=True)]

    at_once = min(_MOST_THREADS, _processors()) if threads is None else threads
    if at_once > 1:
        with ThreadPoolExecutor(at_once) as pool:
            measured = [one for found in pool.map(measure, blocks(names)) for one in found]
    else:
        measured = measure(names)
    rows = (measured[0].reference.rows, measured[0].current.rows) if measured else (0, 0)
    return DriftReport(columns=_adjusted(measured, limits), reference_rows=rows[0], current_rows=rows[1], limits=limits)


def joined(reports: Sequence[DriftReport], *, columns: Sequence[str], current_rows: int) -> DriftReport:
    """One report of columns that were compared on different rows: tests adjusted over all of them, and judged anew.

    Args:
        reports: At least one, by the same limits.
        columns: The order of the columns; what no report has is left out.
        current_rows: Rows of the current data.
    """
    records = {record.column: record for report in reports for record in report.columns}
    there = [records[name] for name in columns if name in records]
    return replace(reports[0], columns=_adjusted(there, reports[0].limits), current_rows=current_rows)


def _processors() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Column profiles, made or read when asked for and then forgotten."""

    names: tuple[str, ...]
    side: str
    columns: Callable[[Sequence[str], Scratch], Iterator[ColumnProfile]]

    def check(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.names:
                raise MissingColumnError(column=name, side=self.side, known=self.names)


def _source(sample: Sample, side: str, categorical: Sequence[str]) -> _Source:
    if isinstance(sample, ReferenceProfile):
        return _Source(
            names=tuple(sample.columns), side=side, columns=lambda names, _: (sample.columns[n] for n in names)
        )
    reader = Reader(sample, side=side)
    codes = frozenset(categorical)

    def columns(names: Sequence[str], scratch: Scratch) -> Iterator[ColumnProfile]:
        return column_profiles(reader, names, categorical=codes, scratch=scratch)

    return _Source(names=reader.names, side=side, columns=columns)


def _measure(name: str, reference: ColumnProfile, current: ColumnProfile, bins: int) -> ColumnDrift:
    """One column's statistics, before the tests of all columns are adjusted together and it is judged."""
    for side, sample in ((REFERENCE, reference), (CURRENT, current)):
        if sample.rows == 0:
            raise EmptySampleError(column=name, side=side)
    kind = common_kind(name, reference, current)
    reference, current = convert(reference, kind), convert(current, kind)
    new = vanished = pl.DataFrame(schema={CATEGORY: pl.String})
    ks = moved = None
    if isinstance(reference, CategoricalProfile) and isinstance(current, CategoricalProfile):
        cells, table = categorical_cells(reference, current)
        new = table.filter(pl.col("reference") == 0).sort("current", CATEGORY, descending=[True, False])
        vanished = table.filter(pl.col("current") == 0).sort("reference", CATEGORY, descending=[True, False])
    else:
        assert isinstance(reference, NumericProfile)
        assert isinstance(current, NumericProfile)
        cells = numeric_cells(reference, current, bins=bins)
        ks, moved = _ks(reference, current), _wasserstein(reference, current)
    used = int(((cells.reference > 0) | (cells.current > 0)).sum())
    statistic, dof, p_value, effect = chi_squared(cells)
    return ColumnDrift(
        column=name, kind=kind.value, reference=_side(reference), current=_side(current),
        psi=Psi(value=psi(cells), noise=psi_noise(cells), cells=used),
        chi_squared=ChiSquared(statistic=statistic, dof=dof, p_value=p_value, q_value=p_value, cramers_v=effect),
        jensen_shannon=jensen_shannon(cells), ks=ks, wasserstein=moved, new_categories=_named(new),
        vanished_categories=_named(vanished), new_count=new.height, vanished_count=vanished.height,
        verdict=DriftVerdict.STABLE, reason="",
    )  # fmt: skip


def _ks(reference: NumericProfile, current: NumericProfile) -> KolmogorovSmirnov | None:
    n, m = reference.present, current.present
    if n == 0 or m == 0:
        return None
    statistic = ks_statistic(reference, current)
    p_value, error = ks_p_value(statistic, n, m), max(reference.misplaced / n, current.misplaced / m)
    return KolmogorovSmirnov(statistic=statistic, p_value=p_value, q_value=p_value, error=error)


def _wasserstein(reference: NumericProfile, current: NumericProfile) -> Wasserstein | None:
    found = wasserstein(reference, current)
    return None if found is None else Wasserstein(distance=found[0], effect=found[1], error=found[2])


def _side(sample: ColumnProfile) -> Side:
    if isinstance(sample, CategoricalProfile):
        return Side(rows=sample.rows, nulls=sample.nulls, nans=0, median=None)
    return Side(rows=sample.rows, nulls=sample.nulls, nans=sample.nans, median=sample.median())


def _named(table: pl.DataFrame) -> tuple[str, ...]:
    return tuple(table.get_column(CATEGORY).head(_NAMED_CATEGORIES).to_list())


def _adjusted(records: Sequence[ColumnDrift], limits: DriftLimits) -> tuple[ColumnDrift, ...]:
    """The columns with their tests adjusted over all of them, and with verdicts."""
    tests = [test for one in records for test in (one.chi_squared, one.ks) if test is not None]
    adjusted = iter(q_values([test.p_value for test in tests]))
    return tuple(_judged(one, adjusted, limits) for one in records)


def _judged(record: ColumnDrift, adjusted: Iterator[float], limits: DriftLimits) -> ColumnDrift:
    chi = replace(record.chi_squared, q_value=next(adjusted))
    ks = None if record.ks is None else replace(record.ks, q_value=next(adjusted))
    verdict, reason = judge(record.psi, chi, ks, rows=(record.reference.rows, record.current.rows), limits=limits)
    return replace(record, chi_squared=chi, ks=ks, verdict=verdict, reason=reason)


def _q(value: float) -> str:
    """A q-value for people: below 1e-12 only the bound is worth reading."""
    return f"q {value:.2g}" if value >= 1e-12 else "q below 1e-12"


def judge(
    psi: Psi, chi: ChiSquared, ks: KolmogorovSmirnov | None, *, rows: tuple[int, int], limits: DriftLimits
) -> tuple[DriftVerdict, str]:
    """The verdict on one column and why.

    A column is shifted when its PSI is above the limit and chi-squared over the same cells is significant, or its KS
    statistic (less its error) is above the limit and significant; significant means a q-value of `false_discovery` or
    less. A large effect that chance explains is no shift, nor is a certain but small one.

    Args:
        psi: The column's PSI.
        chi: Its chi-squared test.
        ks: Its KS test, None where there is none.
        rows: Rows of the reference and of the current data.
        limits: The declared limits.
    """
    if min(rows) < limits.min_rows:
        fewer = REFERENCE if rows[0] <= rows[1] else CURRENT
        return DriftVerdict.TOO_FEW_ROWS, f"The {fewer} data have {min(rows)} rows, fewer than {limits.min_rows}."
    tests = [("PSI", psi.value, 0.0, limits.psi, chi.q_value)]
    if ks is not None and limits.ks is not None:
        tests.append(("KS", ks.statistic, ks.error, limits.ks, ks.q_value))
    large = [test for test in tests if test[1] - test[2] > test[3]]
    certain = [test for test in large if test[4] <= limits.false_discovery]
    if certain:
        found = "; ".join(f"{name} {value:.4g} is above {limit:g} ({_q(q)})" for name, value, _, limit, q in certain)
        return DriftVerdict.SHIFTED, f"{found}."
    if large:
        found = "; ".join(f"{name} {value:.4g} is above {limit:g} but {_q(q)}" for name, value, _, limit, q in large)
        return DriftVerdict.STABLE, f"{found} does not rule out chance (limit {limits.false_discovery:g})."
    found = " and ".join(f"{name} {value:.4g} is within {limit:g}" for name, value, _, limit, _ in tests)
    return DriftVerdict.STABLE, f"{found}."
