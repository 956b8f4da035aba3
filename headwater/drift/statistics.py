"""Compares two samples column by column and judges each by declared limits."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from headwater.drift._cells import categorical_cells, numeric_cells
from headwater.drift._columns import Frame, Reader, blocks
from headwater.drift._combine import common_kind, convert
from headwater.drift._distances import wasserstein
from headwater.drift._distribution import CATEGORY, CategoricalProfile, ColumnProfile, NumericProfile
from headwater.drift._measures import chi_squared, jensen_shannon, ks_p_value, ks_statistic, psi, psi_noise, q_values
from headwater.drift.errors import EmptySampleError, MissingColumnError
from headwater.drift.profile import CURRENT, REFERENCE, ReferenceProfile, column_profile
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


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """A column's statistics before the tests of all columns are adjusted together."""

    column: str
    kind: str
    reference: Side
    current: Side
    psi: Psi
    chi: tuple[float, int, float, float]
    jensen_shannon: float
    ks: tuple[float, float, float] | None
    wasserstein: Wasserstein | None
    new: tuple[str, ...]
    vanished: tuple[str, ...]
    new_count: int
    vanished_count: int


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

    def measure(block: Sequence[str]) -> list[_Measured]:
        pairs = zip(block, left.columns(block), right.columns(block), strict=True)
        return [_measure(name, ours, theirs, limits.bins) for name, ours, theirs in pairs]

    at_once = min(_MOST_THREADS, _processors()) if threads is None else threads
    if at_once > 1:
        with ThreadPoolExecutor(at_once) as pool:
            measured = [one for found in pool.map(measure, blocks(names)) for one in found]
    else:
        measured = measure(names)
    rows = (measured[0].reference.rows, measured[0].current.rows) if measured else (0, 0)
    return DriftReport(
        columns=tuple(_adjust_and_judge(measured, limits)), reference_rows=rows[0], current_rows=rows[1], limits=limits
    )


def _processors() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Column profiles, made or read when asked for and then forgotten."""

    names: tuple[str, ...]
    side: str
    columns: Callable[[Sequence[str]], Iterator[ColumnProfile]]

    def check(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.names:
                raise MissingColumnError(column=name, side=self.side, known=self.names)


def _source(sample: Sample, side: str, categorical: Sequence[str]) -> _Source:
    if isinstance(sample, ReferenceProfile):
        return _Source(names=tuple(sample.columns), side=side, columns=lambda names: (sample.columns[n] for n in names))
    reader = Reader(sample, side=side)
    codes = frozenset(categorical)

    def columns(names: Sequence[str]) -> Iterator[ColumnProfile]:
        return (column_profile(series, categorical=series.name in codes) for series in reader.columns(names))

    return _Source(names=reader.names, side=side, columns=columns)


def _measure(name: str, reference: ColumnProfile, current: ColumnProfile, bins: int) -> _Measured:
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
    return _Measured(
        column=name, kind=kind.value, reference=_side(reference), current=_side(current),
        psi=Psi(value=psi(cells), noise=psi_noise(cells), cells=used), chi=chi_squared(cells),
        jensen_shannon=jensen_shannon(cells), ks=ks, wasserstein=moved,
        new=_named(new), vanished=_named(vanished), new_count=new.height, vanished_count=vanished.height,
    )  # fmt: skip


def _ks(reference: NumericProfile, current: NumericProfile) -> tuple[float, float, float] | None:
    n, m = reference.present, current.present
    if n == 0 or m == 0:
        return None
    statistic = ks_statistic(reference, current)
    return statistic, ks_p_value(statistic, n, m), max(reference.misplaced / n, current.misplaced / m)


def _wasserstein(reference: NumericProfile, current: NumericProfile) -> Wasserstein | None:
    found = wasserstein(reference, current)
    return None if found is None else Wasserstein(distance=found[0], effect=found[1], error=found[2])


def _side(sample: ColumnProfile) -> Side:
    if isinstance(sample, CategoricalProfile):
        return Side(rows=sample.rows, nulls=sample.nulls, nans=0, median=None)
    return Side(rows=sample.rows, nulls=sample.nulls, nans=sample.nans, median=sample.median())


def _named(table: pl.DataFrame) -> tuple[str, ...]:
    return tuple(table.get_column(CATEGORY).head(_NAMED_CATEGORIES).to_list())


def _adjust_and_judge(measured: Sequence[_Measured], limits: DriftLimits) -> list[ColumnDrift]:
    p_values = [p for m in measured for p in ([m.chi[2]] if m.ks is None else [m.chi[2], m.ks[1]])]
    adjusted = iter(q_values(p_values))
    records = []
    for m in measured:
        statistic, dof, p_value, effect = m.chi
        chi = ChiSquared(statistic=statistic, dof=dof, p_value=p_value, q_value=next(adjusted), cramers_v=effect)
        ks = None
        if m.ks is not None:
            ks = KolmogorovSmirnov(statistic=m.ks[0], p_value=m.ks[1], q_value=next(adjusted), error=m.ks[2])
        verdict, reason = judge(m.psi, chi, ks, rows=(m.reference.rows, m.current.rows), limits=limits)
        records.append(
            ColumnDrift(
                column=m.column,
                kind=m.kind,
                reference=m.reference,
                current=m.current,
                psi=m.psi,
                chi_squared=chi,
                jensen_shannon=m.jensen_shannon,
                ks=ks,
                wasserstein=m.wasserstein,
                new_categories=m.new,
                vanished_categories=m.vanished,
                new_count=m.new_count,
                vanished_count=m.vanished_count,
                verdict=verdict,
                reason=reason,
            )
        )
    return records


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
