"""An evaluation's plots as SVG text: the same evaluation gives the same bytes."""

import io
from collections.abc import Callable
from typing import Any, Final

from headwater.models.errors import MissingPackageError
from headwater.models.evaluation import PERMUTATION, Evaluation

_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "headwater",
    "svg.fonttype": "none",
    "font.size": 9.0,
    "font.family": "sans-serif",
}
_MAIN: Final = "#1f5f8b"
_QUIET: Final = "#9aa5b1"
_SHOWN_FEATURES: Final = 20


def plots(evaluation: Evaluation) -> dict[str, str]:
    """SVG text by name: `calibration`, `lift`, `roc`, `importances`; one that has nothing to show is left out.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    drawings: dict[str, tuple[bool, Callable[[Any, Evaluation], None]]] = {
        "calibration": (bool(evaluation.calibration), _calibration),
        "lift": (any(row.lift is not None for row in evaluation.lift), _lift),
        "roc": (bool(evaluation.roc), _roc),
        "importances": (bool(evaluation.importances), _importances),
    }
    return {name: _drawn(draw, evaluation) for name, (shown, draw) in drawings.items() if shown}


def _drawn(draw: Callable[[Any, Evaluation], None], evaluation: Evaluation) -> str:
    return drawn(lambda axes: draw(axes, evaluation))


def drawn(draw: Callable[[Any], None], *, size: tuple[float, float] = (4.8, 3.6)) -> str:
    """A plot as SVG text: the same drawing gives the same bytes.

    Args:
        draw: Draws on the axes.
        size: Width and height in inches.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingPackageError(package="matplotlib", extra="train", purpose="drawing a plot") from error
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _calibration(axes: Any, evaluation: Evaluation) -> None:
    bins = evaluation.calibration
    axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=1, linestyle="--", label="perfect")
    axes.plot([item.mean_score for item in bins], [item.observed for item in bins], "o-", color=_MAIN, label="model")
    limit = min(1.0, 1.1 * max(max(item.mean_score, item.observed) for item in bins) + 0.01)
    axes.set(xlabel="mean score", ylabel="share of positives", title="Calibration", xlim=(0, limit), ylim=(0, limit))
    axes.legend(frameon=False)


def _lift(axes: Any, evaluation: Evaluation) -> None:
    rows = [row for row in evaluation.lift if row.lift is not None]
    axes.bar([row.share * 100 for row in rows], [row.lift or 0.0 for row in rows], width=7, color=_MAIN)
    axes.axhline(1.0, color=_QUIET, linewidth=1, linestyle="--")
    axes.set(xlabel="best-scored rows, %", ylabel="positives, times the base rate", title="Cumulative lift")


def _roc(axes: Any, evaluation: Evaluation) -> None:
    area = evaluation.metric("auc")
    shown = f"AUC {area.value:.3f}" if area and area.value is not None else "model"
    axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=1, linestyle="--")
    axes.plot([x for x, _ in evaluation.roc], [y for _, y in evaluation.roc], color=_MAIN, label=shown)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    axes.legend(frameon=False, loc="lower right")


def _importances(axes: Any, evaluation: Evaluation) -> None:
    permuted = [item for item in evaluation.importances if item.method == PERMUTATION]
    chosen = (permuted or list(evaluation.importances))[:_SHOWN_FEATURES][::-1]
    spreads = [item.spread or 0.0 for item in chosen]
    axes.barh(
        [item.feature for item in chosen], [item.value for item in chosen], xerr=spreads, color=_MAIN, ecolor=_QUIET
    )
    axes.set(xlabel="loss of AUC when shuffled" if permuted else "share of gain", title="Feature importance")
    axes.tick_params(axis="y", labelsize=7)
