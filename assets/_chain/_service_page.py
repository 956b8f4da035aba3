"""The service report as people see it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from headwater.models.evaluation_plots import drawn
from headwater.pages import heading, paragraph, table
from headwater.pages import write_page as write

PAGE_FILE: Final = "service.html"
PLOT_FILE: Final = "service.svg"
_SHOWN: Final = 60
_WHY: Final = ("unknown", "stale", "missing")


def write_page(folder: Path, question: str, document: Mapping[str, Any]) -> None:
    """Writes the page, and the plot when there is a day to show."""
    windows = document["windows"][-_SHOWN:]
    timed = [window for window in windows if window["latency"] is not None]
    if timed:
        (folder / PLOT_FILE).write_text(_drawing(timed), encoding="utf-8")
    otherwise = "Only batches were answered yet." if any(map(_has_answers, windows)) else "Nothing was answered yet."
    picture = f'<img src="{PLOT_FILE}" alt="Latency by day">' if timed else paragraph(otherwise)
    names = (
        "day", "answered", "of them batches", "failed", "latency, ms", "latency budget used", "error budget used", "broken",
    )  # fmt: skip
    parts = [
        paragraph(question),
        *_ahead(document["ahead"]),
        picture,
        table(names, map(_day, reversed(windows)), numbers=True),
        heading("Budgets that burn"),
        table(("budget", "rule", "over the long time", "lately"), map(_burn, document["burning"])),
        heading("Accuracy"),
        *_accuracy(document["accuracy"]),
        heading("Features read as their defaults, last 24 hours"),
        table(("version", "view", "answers", *_WHY, "share", "in training", ""), map(_read, document["served"])),
        heading("Features at the newest prediction"),
        table(("view", "newest", "age", "stale"), map(_view, document["views"])),
    ]
    write(folder / PAGE_FILE, "The service's promises", parts)


def _ahead(count: int) -> list[str]:
    if not count:
        return []
    return [paragraph(f"Left out, because a service's clock was ahead: {count:,} records of answers and failures.")]


def _has_answers(window: Mapping[str, Any]) -> bool:
    return bool(window["answered"])


def _day(window: Mapping[str, Any]) -> list[str]:
    latency = window["latency"]
    return [
        window["start"][:10],
        f"{window['answered']:,}",
        f"{window['answered'] - window['slow']['requests']:,}",
        f"{window['failed']:,}",
        "" if latency is None else f"{1_000 * latency:.2f}",
        *(_used(window[name]["burn"]) for name in ("slow", "errors")),
        "; ".join(window["broken"]) or ("" if window["judged"] else "too few requests to judge"),
    ]


def _burn(one: Mapping[str, Any]) -> list[str]:
    return [one["budget"], one["rule"], f"{one['long']:.1f}", f"{one['short']:.1f}"]


def _read(one: Mapping[str, Any]) -> list[str]:
    trained = "not known" if one["trained"] is None else f"{one['trained']:.1%}"
    why = (f"{one['reasons'].get(reason, 0):,}" for reason in _WHY)
    said = "more than in training" if one["problem"] else ""
    return [one["version"], one["view"], f"{one['answers']:,}", *why, f"{one['share']:.1%}", trained, said]


def _view(view: Mapping[str, Any]) -> list[str]:
    age = "" if view["age"] is None else str(timedelta(seconds=round(view["age"])))
    return [view["name"], (view["newest"] or "")[:19], age, "stale" if view["stale"] else ""]


def _accuracy(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return [paragraph("No window is judged yet.")]
    said = [f"The newest judged window is that from {found['window'][:10]}."]
    if found["live"] is not None and found["live"] not in [one["version"] for one in found["versions"]]:
        said.append(f"{found['live']} is live and not judged yet.")
    names = ("version", "accuracy", "when it was evaluated", "")
    return [paragraph(" ".join(said)), table(names, map(_version, found["versions"]))]


def _version(one: Mapping[str, Any]) -> list[str]:
    numbers = ("" if one[name] is None else f"{one[name]:.4f}" for name in ("value", "reference"))
    said = one["problem"] or (f"Not compared: {one['reason']}." if one["reason"] else "It holds.")
    return [one["version"], *numbers, said]


def _used(burn: float | None) -> str:
    return "" if burn is None else f"{burn:.0%}"


def _drawing(windows: Sequence[Mapping[str, Any]]) -> str:
    def draw(axes: Any) -> None:
        days = [datetime.fromisoformat(window["start"]) for window in windows]
        axes.plot(days, [1_000 * window["latency"] for window in windows], marker="o", markersize=3)
        axes.set_ylabel("promised quantile of latency, ms")
        axes.set_ylim(bottom=0)

    return drawn(draw, size=(9.0, 3.0))
