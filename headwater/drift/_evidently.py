"""Evidently's interactive page for the same comparison. The statistics that decide are Headwater's own."""

import html
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from headwater.drift._columns import Frame, Reader, ValueKind, kind_of, to_kind
from headwater.drift.errors import EmptySampleError
from headwater.drift.profile import CURRENT, REFERENCE
from headwater.drift.report import DriftVerdict

if TYPE_CHECKING:
    import pandas as pd

ROW_LIMIT = 100_000
_DO_NOT_TRACK = "DO_NOT_TRACK"
_FINEST_BINS = 100
_SEED = 20_131_231
_STYLE = "font:14px sans-serif;margin:12px 24px;color:#444"
_NOTHING = "<!doctype html><html><head><meta charset='utf-8'><title>Drift</title></head><body></body></html>"
"""Evidently fails where it is given no column."""
_SHOWN = {
    "column": "column", "verdict": "verdict", "psi": "PSI", "jensen_shannon": "Jensen-Shannon", "cramers_v": "Cramer's V",
    "ks": "KS", "wasserstein_effect": "Wasserstein, in standard deviations", "wasserstein": "Wasserstein",
}  # fmt: skip
"""Columns of a drift report that its page shows, and what people call them."""


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """Both sides as Evidently takes them, and what had to be left out or changed."""

    reference: pl.DataFrame
    current: pl.DataFrame
    numeric: list[str]
    categorical: list[str]
    notes: list[str]


def evidently_html(
    reference: Frame,
    current: Frame,
    destination: Path,
    *,
    columns: Sequence[str] | None = None,
    categorical: Sequence[str] = (),
    row_limit: int = ROW_LIMIT,
    measured: pl.DataFrame | None = None,
) -> None:
    """Writes Evidently's data drift page as one HTML file, with a line on top that says what it was made of.

    Where no column is left that Evidently can draw, the page has that line, and the table, alone.

    Evidently draws random identifiers, so two pages of the same data differ in bytes.

    Args:
        reference: Rows compared with.
        current: Rows compared.
        destination: The file; replaced when it exists.
        columns: Columns to show; None takes all of the reference.
        categorical: Columns whose integers are codes.
        row_limit: Rows a side beyond which a fixed random sample of that size is shown instead.
        measured: Table of the drift report (`report_frame`), to stand on top: what decides, of all rows.

    Raises:
        EmptySampleError: One side has no rows.
        MissingColumnError: A column is absent on one side.
        UnsupportedColumnError: A column is nested, binary or an object.
    """
    left, right = Reader(reference, side=REFERENCE), Reader(current, side=CURRENT)
    names = left.names if columns is None else tuple(columns)
    for reader in (left, right):
        reader.check([*names, *categorical])
    prepared = _prepare(left, right, names, categorical, row_limit)
    with _untracked(), warnings.catch_warnings():
        # Evidently 0.7.23 uses deprecated parts of NumPy and Litestar, and NumPy warns on columns without spread.
        warnings.simplefilter("ignore")
        page = _render(prepared) if prepared.numeric or prepared.categorical else _NOTHING
    table = "" if measured is None else _table(measured)
    destination.write_text(_with_notes(page, prepared.notes, table), encoding="utf-8")


def _prepare(left: Reader, right: Reader, names: Sequence[str], codes: Sequence[str], row_limit: int) -> _Prepared:
    notes: list[str] = []
    sides = []
    for side, reader in ((REFERENCE, left), (CURRENT, right)):
        data = pl.DataFrame([_value(series, series.name in codes) for series in reader.columns(names)])
        if data.height == 0:
            raise EmptySampleError(column=names[0] if names else "(none)", side=side)
        if data.height > row_limit:
            notes.append(f"The {side} data are a fixed random sample of {row_limit} of {data.height} rows.")
            rows = np.sort(np.random.default_rng(_SEED).choice(data.height, row_limit, replace=False))
            data = data[rows]
        else:
            notes.append(f"The {side} data are all {data.height} rows.")
        sides.append(data)
    usable = [name for name in names if all(_drawable(side.get_column(name)) for side in sides)]
    if left_out := [name for name in names if name not in usable]:
        notes.append(f"Left out, because a side has no value that Evidently can draw: {', '.join(left_out)}.")
    texts = [name for name in usable if any(side.get_column(name).dtype == pl.String for side in sides)]
    return _Prepared(
        reference=_inert(sides[0].select(usable), texts),
        current=_inert(sides[1].select(usable), texts),
        numeric=[_inert_text(name) for name in usable if name not in texts],
        categorical=[_inert_text(name) for name in texts],
        notes=[*notes, "NaN and infinite values are shown as missing, angle brackets in texts as quotation marks."],
    )


def _value(series: pl.Series, categorical: bool) -> pl.Series:
    kind = kind_of(series.name, series.dtype, categorical=categorical)
    values = to_kind(series, kind)
    if kind is ValueKind.CATEGORY:
        return values
    # Evidently's histograms fail on infinities.
    values = values.cast(pl.Float64)
    return values.to_frame().select(pl.when(pl.col(series.name).is_finite()).then(pl.col(series.name))).to_series()


def _inert(data: pl.DataFrame, texts: Sequence[str]) -> pl.DataFrame:
    # Evidently writes names and categories into a <script> element as they are, where "</script>" would end it.
    data = data.with_columns(pl.col(texts).cast(pl.String).str.replace_all("<", "‹", literal=True))
    return data.with_columns(pl.col(texts).str.replace_all(">", "›", literal=True)).rename(_inert_text)


def _inert_text(text: str) -> str:
    return text.replace("<", "‹").replace(">", "›")


def _drawable(values: pl.Series) -> bool:
    """Whether there is a value, and a number's range can be cut into bins (points in time in microseconds often not)."""
    present = values.drop_nulls()
    if present.is_empty() or present.dtype == pl.String:
        return not present.is_empty()
    numbers = present.to_numpy()
    low, high = numbers.min(), numbers.max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    return bool((np.diff(np.linspace(low, high, _FINEST_BINS + 1)) > 0).all())


@contextmanager
def _untracked() -> Iterator[None]:
    """Evidently reports nothing home while this holds."""
    before = os.environ.get(_DO_NOT_TRACK)
    os.environ[_DO_NOT_TRACK] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_DO_NOT_TRACK]
        else:
            os.environ[_DO_NOT_TRACK] = before


def _render(prepared: _Prepared) -> str:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=prepared.numeric, categorical_columns=prepared.categorical)

    def dataset(data: pl.DataFrame) -> Any:
        return Dataset.from_pandas(_to_pandas(data), data_definition=definition)

    snapshot = Report([DataDriftPreset()]).run(
        current_data=dataset(prepared.current), reference_data=dataset(prepared.reference)
    )
    return str(snapshot.get_html_str(as_iframe=False))


def _to_pandas(data: pl.DataFrame) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame({name: data.get_column(name).to_numpy() for name in data.columns})


def _with_notes(page: str, notes: Sequence[str], table: str) -> str:
    """The page with a line of text, and a table, at the top of its body."""
    text = " ".join(html.escape(note) for note in notes)
    line = f'<p style="{_STYLE}">{text}</p>{table}'
    head, body, rest = page.partition("<body")
    opening, bracket, inside = rest.partition(">")
    return f"{head}{body}{opening}{bracket}{line}{inside}"


def _table(measured: pl.DataFrame) -> str:
    """The drift report's own statistics, to fold away."""
    shifted = measured.filter(pl.col("verdict") == DriftVerdict.SHIFTED.value).height
    head = "".join(f'<th align="left" style="padding-right:1em">{html.escape(name)}</th>' for name in _SHOWN.values())
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in measured.select(*_SHOWN).iter_rows())
    title = f"Headwater's statistics, which decide: {shifted} of {measured.height} columns have shifted"
    return f'<details style="{_STYLE}"><summary>{title}</summary><table>{head}{rows}</table></details>'


def _cell(value: object) -> str:
    return f"<td>{f'{value:.4g}' if isinstance(value, float) else html.escape(str(value)) if value is not None else ''}</td>"
