"""The service report as people see it."""

import html
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from headwater.models.evaluation_plots import drawn

PAGE_FILE: Final = "service.html"
PLOT_FILE: Final = "service.svg"
_SHOWN: Final = 60
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{padding:.25rem .6rem;text-align:right;"
    "border-bottom:1px solid #d8dee4}th:first-child,td:first-child,td:last-child,th:last-child{text-align:left}img{max-width:100%}"
)


def write_page(folder: Path, question: str, document: Mapping[str, Any]) -> None:
    """Writes the page, and the plot when there is a day to show."""
    windows = document["windows"][-_SHOWN:]
    answered = [window for window in windows if window["latency"] is not None]
    if answered:
        (folder / PLOT_FILE).write_text(_drawing(answered), encoding="utf-8")
    picture = f'<img src="{PLOT_FILE}" alt="Latency by day">' if answered else "<p>Nothing was answered yet.</p>"
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Service</title><style>{_STYLE}</style>",
        f"<h1>The service's promises</h1><p>{html.escape(question)}</p>{picture}",
        _table(("day", "answered", "failed", "latency, ms", "latency budget used", "error budget used", "broken"), map(_day, reversed(windows))),
        "<h2>Budgets that burn</h2>",
        _table(("budget", "rule", "over the long time", "lately"), map(_burn, document["burning"])),
        "<h2>Accuracy</h2>", _accuracy(document["accuracy"]), "<h2>Features at the newest prediction</h2>",
        _table(("view", "newest", "age", "stale"), map(_view, document["views"])), "</html>",
    ]  # fmt: skip
    (folder / PAGE_FILE).write_text("".join(parts), encoding="utf-8")


def _day(window: Mapping[str, Any]) -> list[str]:
    latency = window["latency"]
    return [
        window["start"][:10],
        f"{window['answered']:,}",
        f"{window['failed']:,}",
        "" if latency is None else f"{1_000 * latency:.2f}",
        *(_used(window[name]["burn"]) for name in ("slow", "errors")),
        "; ".join(window["broken"]) or ("" if window["judged"] else "too few requests to judge"),
    ]


def _burn(one: Mapping[str, Any]) -> list[str]:
    return [one["budget"], one["rule"], f"{one['long']:.1f}", f"{one['short']:.1f}"]


def _view(view: Mapping[str, Any]) -> list[str]:
    age = "" if view["age"] is None else str(timedelta(seconds=round(view["age"])))
    return [view["name"], (view["newest"] or "")[:19], age, "stale" if view["stale"] else ""]


def _accuracy(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "<p>No window is judged yet.</p>"
    said = found["problem"] or "It holds."
    return f"<p>{found['value']:.4f} in the window from {found['window'][:10]}, {found['reference']:.4f} when it was judged. {html.escape(said)}</p>"


def _used(burn: float | None) -> str:
    return "" if burn is None else f"{burn:.0%}"


def _table(names: Sequence[str], rows: Any) -> str:
    cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    if not cells:
        return "<p>None.</p>"
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _drawing(windows: Sequence[Mapping[str, Any]]) -> str:
    def draw(axes: Any) -> None:
        days = [datetime.fromisoformat(window["start"]) for window in windows]
        axes.plot(days, [1_000 * window["latency"] for window in windows], marker="o", markersize=3)
        axes.set_ylabel("promised quantile of latency, ms")
        axes.set_ylim(bottom=0)

    return drawn(draw, size=(9.0, 3.0))
