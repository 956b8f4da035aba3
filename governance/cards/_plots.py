"""An evaluation's plots as inline SVG that follows the page's colours: equal facts give equal bytes."""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any, Final

from governance.cards._document import Figure
from headwater.models import Evaluation
from headwater.models.errors import MissingPackageError
from headwater.models.evaluation import PERMUTATION

_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "headwater", "svg.fonttype": "none", "font.size": 9.0, "font.family": "sans-serif",
    "text.parse_math": False, "axes.titlesize": 10.0, "axes.unicode_minus": False,
}  # fmt: skip
# Drawn in these, then replaced by the page's own colours, so that one drawing serves light and dark.
_INK, _QUIET, _MAIN, _SECOND = "#010203", "#040506", "#070809", "#0a0b0c"
_COLOURS: Final = {
    _INK: "var(--ink)", _QUIET: "var(--quiet)", _MAIN: "var(--accent)", _SECOND: "var(--accent-soft)",
}  # fmt: skip
_SHOWN_FEATURES: Final = 20
_SHOWN_SLICES: Final = 30
_LONGEST_LABEL: Final = 26
_WIDTH: Final = 4.6
_NARROW: Final = (3.3, 2.8)


def score_figures(found: Evaluation) -> tuple[Figure, ...]:
    """Calibration with the scores' histogram, ROC, lift: those that have something to show."""
    figures: list[Figure] = []
    if found.calibration:
        caption = "Calibration: observed rate against mean score, with the density of scores below."
        figures.append(
            _figure("calibration", caption, _NARROW[1], lambda axes: _calibration(axes, found), width=_NARROW[0])
        )
    if found.roc:
        figures.append(
            _figure(
                "roc",
                "ROC: true against false positive rate.",
                _NARROW[1],
                lambda axes: _roc(axes, found),
                width=_NARROW[0],
            )
        )
    if any(row.lift is not None for row in found.lift):
        caption = "Lift: positives among the best-scored rows, times the base rate."
        figures.append(_figure("lift", caption, _NARROW[1], lambda axes: _lift(axes, found), width=_NARROW[0]))
    return tuple(figures)


def slice_figures(found: Evaluation) -> tuple[Figure, ...]:
    """AUC with its interval by value, one drawing a slicing column; slices with too few rows are left out."""
    figures: list[Figure] = []
    for column in dict.fromkeys(item.column for item in found.slices):
        rows = _judged(found, column)
        if len(rows) > 1:
            height = 0.9 + 0.19 * len(rows)
            draw = _slicing(rows, found)
            figures.append(_figure(f"slices-{len(figures)}", f"AUC by {column}, with intervals.", height, draw))
    return tuple(figures)


def importance_figure(found: Evaluation) -> Figure | None:
    """The largest importances, by permutation when measured."""
    permuted = [item for item in found.importances if item.method == PERMUTATION]
    chosen = sorted(permuted or found.importances, key=lambda item: -item.value)[:_SHOWN_FEATURES][::-1]
    if not chosen:
        return None

    def draw(axes: Any) -> None:
        places = range(len(chosen))
        spreads = [item.spread or 0.0 for item in chosen]
        axes.barh(places, [item.value for item in chosen], xerr=spreads, color=_MAIN, ecolor=_QUIET, height=0.65)
        axes.set_yticks(places, [_short(item.feature) for item in chosen])
        axes.set_xlabel("loss of AUC when shuffled" if permuted else "share of gain")

    return _figure("importances", "Importance of features, largest first.", 0.9 + 0.21 * len(chosen), draw, width=7.2)


def _calibration(axes: Any, found: Evaluation) -> None:
    bins = found.calibration
    top = max(max(item.mean_score, item.observed) for item in bins)
    limit = min(1.0, 1.1 * top + 0.01)
    # Bins hold about equal counts: the density shows where the scores lie.
    widths = [max(item.high - item.low, 1e-9) for item in bins]
    density = [item.n / width for item, width in zip(bins, widths, strict=True)]
    heights = [0.22 * limit * value / max(density) for value in density]
    axes.bar([item.low for item in bins], heights, widths, align="edge", color=_SECOND, linewidth=0)
    axes.plot([0, limit], [0, limit], color=_QUIET, linewidth=1, linestyle="--")
    axes.plot([b.mean_score for b in bins], [b.observed for b in bins], "o-", color=_MAIN, markersize=4, linewidth=1.6)
    axes.set(xlabel="mean score", ylabel="observed rate", xlim=(0, limit), ylim=(0, limit))


def _roc(axes: Any, found: Evaluation) -> None:
    axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=1, linestyle="--")
    axes.fill_between([x for x, _ in found.roc], [y for _, y in found.roc], color=_SECOND, linewidth=0)
    axes.plot([x for x, _ in found.roc], [y for _, y in found.roc], color=_MAIN, linewidth=1.6)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.02))


def _lift(axes: Any, found: Evaluation) -> None:
    rows = [row for row in found.lift if row.lift is not None]
    axes.bar([row.share * 100 for row in rows], [row.lift or 0.0 for row in rows], width=7, color=_MAIN)
    axes.axhline(1.0, color=_QUIET, linewidth=1, linestyle="--")
    axes.set(xlabel="best-scored rows, %", ylabel="times the base rate")


def _judged(found: Evaluation, column: str) -> list[tuple[str, float, float, float]]:
    """Value, AUC and interval of the judged slices, most rows first, then in the evaluation's order."""
    rows = []
    for item in found.slices:
        auc = next((metric for metric in item.metrics if metric.name == "auc"), None)
        if item.column != column or not item.judged or auc is None or auc.value is None:
            continue
        low, high = (auc.value if end is None else end for end in (auc.low, auc.high))
        rows.append((item.n, str(item.value if item.value is not None else "(null)"), auc.value, low, high))
    largest = sorted(rows, key=lambda row: -row[0])[:_SHOWN_SLICES]
    return [row[1:] for row in rows if row in largest]


def _slicing(rows: list[tuple[str, float, float, float]], found: Evaluation) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        places = range(len(rows) - 1, -1, -1)
        whole = found.metric("auc")
        if whole is not None and whole.value is not None:
            axes.axvline(whole.value, color=_QUIET, linewidth=1, linestyle="--")
        axes.hlines(places, [row[2] for row in rows], [row[3] for row in rows], color=_MAIN, linewidth=1.4)
        axes.plot([row[1] for row in rows], list(places), "o", color=_MAIN, markersize=4)
        axes.set_yticks(list(places), [_short(row[0]) for row in rows])
        axes.set(xlabel="AUC", ylim=(-0.7, len(rows) - 0.3))

    return draw


def _short(label: str) -> str:
    """A label that leaves room for the drawing."""
    flat = " ".join(label.split())
    return flat if len(flat) <= _LONGEST_LABEL else f"{flat[: _LONGEST_LABEL - 1]}…"


def _figure(name: str, caption: str, height: float, draw: Callable[[Any], None], *, width: float = _WIDTH) -> Figure:
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure as Canvas
    except ModuleNotFoundError as error:
        raise MissingPackageError(package="matplotlib", extra="train", purpose="drawing a card") from error

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The page's font draws the text: matplotlib's own only measures it, and may lack a glyph.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Canvas(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_QUIET)
        draw(axes)
        axes.tick_params(color=_QUIET, labelcolor=_INK, labelsize=8)
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Figure(name=name, caption=caption, svg=_inline(text.getvalue(), name, caption))


def _inline(text: str, name: str, caption: str) -> str:
    """An SVG document as an element of the page: own ids, the page's colours, no reference to anything outside."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = re.sub(r'(id="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text).replace("xlink:href", "href")
    for drawn, shown in _COLOURS.items():
        text = text.replace(drawn, shown)
    # Text follows the page's face; matplotlib measured with its own, which is a little wider.
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    from markupsafe import escape

    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
