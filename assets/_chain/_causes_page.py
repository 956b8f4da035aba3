"""The root-cause view as people see it."""

from calendar import month_name
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from assets._chain._performance_page import metric_of
from headwater.pages import heading, paragraph, table
from headwater.pages import write_page as write

PAGE_FILE: Final = "causes.html"
_METRICS: Final = ("auc", "log_loss", "calibration_error", "accuracy", "cost")
_SHOWN: Final = 12
_SLICES: Final = 6
_FAR: Final = 2.0
"""Standard errors beyond which a change within a slice is marked."""


def write_page(folder: Path, question: str, document: Mapping[str, Any]) -> None:
    """Writes the page."""
    parts = [paragraph(question)]
    if document["reason"]:
        parts.append(paragraph(document["reason"]))
    if document["window"] is not None:
        parts += _sections(document)
    write(folder / PAGE_FILE, "Why did it do as it did?", parts)


def _sections(document: Mapping[str, Any]) -> Iterable[str]:
    newest, before = document["window"], document["before"]
    yield heading(f"Window from {newest['start'][:10]}")
    yield table(
        ("window", "rows", *(name.replace("_", " ") for name in _METRICS), "score drift (PSI)", "calibration"),
        [_window(window) for window in (*before, newest)],
    )
    yield heading("Features that moved")
    yield paragraph(
        f"Against the windows before, and against what {document['compared_with']} learned from{_season(newest)}."
    )
    yield table(
        ("feature", "PSI against before", "against training", "missing, change"),
        [_feature(one) for one in document["moved"][:_SHOWN]],
    )
    for shift in document["shifts"]:
        yield heading(f"Change of the mean log loss, by {shift['column']}") + _shift(shift)
    if before:
        yield heading("What changed upstream")
        if document["upstream_unknown"]:
            yield paragraph(document["upstream_unknown"])
            return
        yield paragraph(
            "Between the report that first judged the window before, or the last one that judged neither, and the one that first judged this one."
        )
        yield table(
            ("asset", "changed", "commits", "by", "rows before", "after", "columns", "checks that warned"),
            [_change(one) for one in document["upstream"]],
        )


def _season(window: Mapping[str, Any]) -> str:
    """Which months of it, where not all."""
    names = [month_name[month] for month in window.get("season", ())]
    return f" in {', '.join(names)}" if names else ""


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
        return paragraph(f"Undefined: {shift['reason']}.")
    said = paragraph(f"From {shift['reference']:.4f} to {shift['current']:.4f}: {shift['change']:+.4f}.")
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
    return said + table(names, rows, marks=marks)


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
