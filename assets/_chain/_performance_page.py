"""The performance report as people see it: a plot and a table."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from assets._chain._in_service import calibration_changes, shown_changes
from headwater.models.evaluation_plots import drawn
from headwater.pages import heading, paragraph, table
from headwater.pages import write_page as write

PAGE_FILE: Final = "performance.html"
PLOT_FILE: Final = "performance.svg"
NO_REFERENCE: Final = "no reference"
DRAWN_BY: Final = "drawn_by"
"""In a window's numbers: what their intervals draw; absent in a report of an older Headwater."""
_METRICS: Final = ("auc", "log_loss", "calibration_error", "accuracy", "cost")


def write_page(
    folder: Path, question: str, windows: Sequence[Mapping[str, Any]], changes: Mapping[str, Any] | None = None
) -> None:
    """Writes the page, and the plot when a window is judged.

    Args:
        folder: Where.
        question: What the product answers.
        windows: Of the report.
        changes: Labels that changed after they were known, of the report; None shows none.
    """
    judged = [window for window in windows if window["overall"]["judged"]]
    if judged:
        (folder / PLOT_FILE).write_text(_drawing(judged), encoding="utf-8")
    shown = [name for name in _METRICS if any(metric_of(window, name) is not None for window in judged)]
    said = (name.replace("_", " ") for name in shown)
    names = (
        "window",
        "predictions",
        "labels known",
        *said,
        "calibration beside the evaluation's",
        "drift (PSI above chance)",
        "score drift (PSI above chance)",
        "not judged",
    )
    picture = f'<img src="{PLOT_FILE}" alt="AUC by window">' if judged else paragraph("No window is judged yet.")
    rows = table(names, (_row(window, shown) for window in windows), numbers=True)
    parts = [paragraph(question), picture, *_spoken(judged), *_lacking(windows), rows]
    parts += _changes(changes or {"events": 0})
    write(folder / PAGE_FILE, "Performance in service", parts)


def _changes(changes: Mapping[str, Any]) -> list[str]:
    """Labels that are no more what windows were judged on."""
    if not changes["events"]:
        return []
    said = (
        f"Of {changes['events']:,} events the label changed after it was known. A window that was settled then keeps its numbers. "
        "The newest changes; all of them are in the outcomes."
    )
    rows = table(
        ("event", "predicted for", "was", "is", "change", "seen as of", "commit"), map(_change, changes["newest"])
    )
    return [heading("Labels that changed"), paragraph(said), rows]


def _change(one: Mapping[str, Any]) -> list[str]:
    event = ", ".join(f"{name} {value}" for name, value in one["event"].items())
    values = ("none" if value is None else str(value) for value in (one["before"], one["now"]))
    return [event, one["at"][:16], *values, one["change"], one["seen"][:16], one["commit"][:12]]


def metric_of(window: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """A metric of a window's record, None when it is undefined."""
    found = next((item for item in window["overall"]["metrics"] if item["name"] == name), None)
    return found if found is not None and found["value"] is not None else None


def _row(window: Mapping[str, Any], shown: Sequence[str]) -> list[str]:
    overall = window["overall"]
    coverage = "" if overall["coverage"] is None else f"{overall['coverage']:.1%}"
    return [
        window["start"][:10],
        f"{overall['rows']:,}",
        coverage,
        *(_cell(metric_of(window, name)) for name in shown),
        _calibration(window),
        _drift(window),
        _score_drift(window),
        overall["reason"],
    ]


def _calibration(window: Mapping[str, Any]) -> str:
    """How calibration error and bias moved; of a window that was answered by other versions, too, nothing to compare with is there."""
    found = window.get("calibration")
    if found is None:
        return ""
    return (shown_changes(calibration_changes(found)) or NO_REFERENCE) + (", lost" if found["lost"] else "")


def _drift(window: Mapping[str, Any]) -> str:
    """The feature that moved most; what was compared with nothing did not stay where it was."""
    if "features" in window.get("no_reference", {}):
        return NO_REFERENCE
    effects = window.get("drift") or {}
    most = max(effects, key=lambda name: effects[name], default=None)
    return "" if most is None else f"{most} {effects[most]:.3f}"


def _score_drift(window: Mapping[str, Any]) -> str:
    if "scores" in window.get("no_reference", {}):
        return NO_REFERENCE
    value = window.get("score_drift")
    return "" if value is None else f"{value:.3f}"


def _spoken(judged: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the intervals of the newest judged window speak of; a report of an older Headwater does not say it."""
    from headwater.monitoring import LOCAL_DAY, ROWS

    drawn = judged[-1]["overall"].get(DRAWN_BY) if judged else None
    if not drawn:
        return []
    if drawn == ROWS:
        said = "Intervals take rows as independent: each says how sure the numbers of its own days are, and nothing of other days."
        return [paragraph(said)]
    what = "days" if drawn == LOCAL_DAY else f"groups of one {drawn}"
    said = f"Intervals draw whole {what}: they hold for others like those of the window, and not for these alone. Of fewer than three there is none."
    older = any(not window["overall"].get(DRAWN_BY) for window in judged)
    kept = " Windows that were settled before Headwater drew them so keep the intervals that they had." if older else ""
    return [paragraph(said + kept)]


def _lacking(windows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why drift is not measured in the newest window."""
    lacking = windows[-1].get("no_reference", {}) if windows else {}
    return [paragraph(f"No reference for the drift of {what}: {why}.") for what, why in sorted(lacking.items())]


def _cell(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return ""
    between = "" if metric["low"] is None else f" [{metric['low']:.3f}, {metric['high']:.3f}]"
    return f"{metric['value']:.3f}{between}"


def _drawing(judged: Sequence[Mapping[str, Any]]) -> str:
    found = [
        (datetime.fromisoformat(window["start"]), metric) for window in judged if (metric := metric_of(window, "auc"))
    ]

    def draw(axes: Any) -> None:
        times = [start for start, _ in found]
        values = [metric["value"] for _, metric in found]
        low = [metric["value"] if metric["low"] is None else metric["low"] for _, metric in found]
        high = [metric["value"] if metric["high"] is None else metric["high"] for _, metric in found]
        axes.fill_between(times, low, high, alpha=0.2, linewidth=0)
        axes.plot(times, values, marker="o", markersize=3)
        axes.set_ylabel("AUC")
        axes.set_xlabel("window")

    return drawn(draw, size=(9.0, 3.2))
