"""The root-cause view as people see it."""

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from assets._chain._performance_page import metric_of

PAGE_FILE: Final = "causes.html"
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}td,th{padding:.25rem .6rem;text-align:left;"
    "border-bottom:1px solid #d8dee4}td.number{text-align:right}td.worse{background:#fbe4e0}td.better{background:#e2f2e5}"
)
_METRICS: Final = ("auc", "log_loss", "calibration_error", "accuracy", "cost")
_SHOWN: Final = 12
_SLICES: Final = 6
_FAR: Final = 2.0
"""Standard errors beyond which a change within a slice is marked."""


def write_page(folder: Path, question: str, document: Mapping[str, Any]) -> None:
    """Writes the page."""
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Causes</title><style>{_STYLE}</style>",
        f"<h1>Why did it do as it did?</h1><p>{html.escape(question)}</p>",
    ]
    if document["reason"]:
        parts.append(f"<p>{html.escape(document['reason'])}</p>")
    if document["window"] is not None:
        parts += _sections(document)
    (folder / PAGE_FILE).write_text("".join([*parts, "</html>"]), encoding="utf-8")


def _sections(document: Mapping[str, Any]) -> Iterable[str]:
    newest, before = document["window"], document["before"]
    yield f"<h2>Window from {html.escape(newest['start'][:10])}</h2>"
    yield _table(
        ("window", "rows", *(name.replace("_", " ") for name in _METRICS), "score drift (PSI)", "calibration"),
        [_window(window) for window in (*before, newest)],
    )
    yield f"<h2>Features that moved</h2><p>Against the windows before, and against what {html.escape(str(document['compared_with']))} learned from.</p>"
    yield _table(
        ("feature", "PSI against before", "against training", "missing, change"),
        [_feature(one) for one in document["moved"][:_SHOWN]],
    )
    for shift in document["shifts"]:
        yield f"<h2>Change of the mean log loss, by {html.escape(shift['column'])}</h2>{_shift(shift)}"
    if before:
        yield "<h2>What changed upstream</h2><p>Between the report that first judged the window before and the one that first judged this one.</p>"
        yield _table(
            ("asset", "changed", "commits", "by", "rows before", "after", "columns", "checks that warned"),
            [_change(one) for one in document["upstream"]],
        )


def _window(window: Mapping[str, Any]) -> list[str]:
    values = [metric_of(window, name) for name in _METRICS]
    calibration = window.get("calibration")
    return [
        window["start"][:10],
        f"{window['overall']['rows']:,}",
        *(_number(metric["value"] if metric else None) for metric in values),
        _number(window.get("score_drift")),
        calibration["reason"] if calibration else "",
    ]


def _feature(one: Mapping[str, Any]) -> list[str]:
    lately, since = one["against_before"], one["against_training"]
    return [
        one["column"],
        _number(lately["effect"] if lately else None),
        _number(since["effect"] if since else None),
        _number((lately or since or {}).get("missing")),
    ]


def _shift(shift: Mapping[str, Any]) -> str:
    if shift["reason"]:
        return f"<p>Undefined: {html.escape(shift['reason'])}.</p>"
    said = f"<p>From {shift['reference']:.4f} to {shift['current']:.4f}: {shift['change']:+.4f}.</p>"
    rows = [
        [
            str(one["value"]),
            f"{one['reference_rows']:,}",
            f"{one['current_rows']:,}",
            _number(one["reference_loss"]),
            _number(one["current_loss"]),
            f"{one['share_change']:+.4f}",
            f"{one['within_change']:+.4f}" + (f" ± {one['within_error']:.4f}" if one["within_error"] else ""),
        ]
        for one in shift["slices"][:_SLICES]
    ]
    marks = [_mark(one) for one in shift["slices"][:_SLICES]]
    names = ("value", "rows before", "rows", "loss before", "loss", "by its share", "within")
    return said + _table(names, rows, marks=marks)


def _mark(one: Mapping[str, Any]) -> str:
    error = one["within_error"]
    if not error or abs(one["within_change"]) < _FAR * error:
        return ""
    return "worse" if one["within_change"] > 0 else "better"


def _change(one: Mapping[str, Any]) -> list[str]:
    commits = [commit[:8] for commit in one["commits"]]
    shown = ", ".join(commits[:3]) + (f" and {len(commits) - 3} more" if len(commits) > 3 else "")
    rows = [f"{count:,}" if count is not None else "" for count in one["rows"]]
    return [
        one["path"],
        ", ".join(one["kinds"]),
        shown,
        ", ".join(one["actors"]),
        *rows,
        ", ".join(one["columns"]),
        ", ".join(one["failed"]),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], *, marks: Sequence[str] = ()) -> str:
    if not rows:
        return "<p>None.</p>"
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(_cell(cell, marks[at] if marks and place == len(row) - 1 else '') for place, cell in enumerate(row))}</tr>"
        for at, row in enumerate(rows)
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(text: str, mark: str) -> str:
    kind = f" class='{mark}'" if mark else ""
    return f"<td{kind}>{html.escape(text)}</td>"
