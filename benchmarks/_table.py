"""The page of results: bars, times, growth, from `results/*.json`."""

import json
from pathlib import Path
from typing import Any, Final

from benchmarks._measure import RESULTS

PAGE: Final = Path(__file__).parent / "README.md"
PLOT: Final = Path(__file__).parent / "growth.svg"
ORDER: Final = ("build", "startup", "lake", "digest", "point_in_time", "drift", "concept_drift")
_HEAD: Final = """# Benchmarks

`make bench` measures and writes this page; `make bench PEERS=--peers` installs and runs the peers too, each in an
environment of its own. Contenders run in turn on one machine; the figures are medians. Ratios carry over to other
machines better than seconds do. Each file's first lines say what is compared and how.
"""


def write_page(*, keep: bool = False) -> str:
    """Writes `README.md` and `growth.svg` from the last results; with `keep`, only returns the page."""
    found = [json.loads((RESULTS / f"{name}.json").read_text()) for name in ORDER if (RESULTS / f"{name}.json").is_file()]  # fmt: skip
    page = "\n".join([_HEAD, *_bars(found), *(line for report in found for line in _section(report))]).rstrip() + "\n"
    if not keep and found:
        _plot(found)
        PAGE.write_text(page)
    return page


def _bars(reports: list[dict[str, Any]]) -> list[str]:
    lines = ["| what | bar | measured | |", "|---|---|---|---|"]
    for report in reports:
        for bar in report["bars"]:
            sign = "at least" if bar["at_least"] else "at most"
            limit, measured = _number(bar["limit"]), _number(bar["measured"])
            held = "held" if bar["held"] else "**missed**"
            lines.append(f"| {report['name']}: {bar['what']} | {sign} {limit} | {measured} | {held} |")
    return [*lines, "", "![Growth with the size](growth.svg)", ""]


def _section(report: dict[str, Any]) -> list[str]:
    machine = report["machine"]
    columns = list(dict.fromkeys(name for row in report["rows"] for name in row))
    lines = [f"## {report['name']}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(_number(row.get(name, '')) for name in columns)} |" for row in report["rows"]]
    lines += ["", *report["notes"]]
    where = f"{machine['processor']}, {machine['cores']} cores, load {machine['load']:.1f}, Python {machine['python']}"
    return [*lines, f"Measured {machine['measured'][:10]} on {where}.", ""]


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def _plot(reports: list[dict[str, Any]]) -> None:
    """Each series over its time at size 1, so that a straight line through (8, 8) means linear."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "headwater"  # the same figures give the same file
    import matplotlib.pyplot as plt

    grown = [report for report in reports if report["growth"]]
    figure, places = plt.subplots(1, len(grown), figsize=(4.2 * len(grown), 4.4), squeeze=False)
    for place, report in zip(places[0], grown, strict=True):
        for name, series in report["growth"].items():
            sizes = sorted(map(int, series))
            first = series[str(sizes[0])]
            place.plot(sizes, [series[str(size)] / first for size in sizes], marker="o", label=name)
        place.plot([1, 8], [1, 8], color="grey", linestyle=":", label="linear")
        place.set(title=report["name"], xlabel="times the size", ylabel="times the time", xscale="log", yscale="log")
        place.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
        place.set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
        place.minorticks_off()
        place.legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})
    plt.close(figure)
