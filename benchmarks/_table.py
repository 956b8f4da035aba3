"""The page of results: bars, times, growth, from `results/*.json`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks._measure import RESULTS

PAGE: Final = Path(__file__).parent / "README.md"
PLOT: Final = Path(__file__).parent / "growth.svg"
ORDER: Final = (
    "build",
    "startup",
    "lake",
    "digest",
    "point_in_time",
    "drift",
    "concept_drift",
    "rollout",
    "landing",
    "rollback",
    "online",
    "serving",
    "service_growth",
    "grpc",
    "replay",
    "campaigns",
)
_HEAD: Final = """# Benchmarks

`make bench` measures and writes this page; `make bench PEERS=--peers` installs and runs the peers too, each in an
environment of its own. Contenders run in turn on one machine; the figures are medians. Ratios carry over to other
machines better than seconds do. Each file's first lines say what is compared and how.

| benchmark | what it measures | how to run it alone |
|---|---|---|
| build | two builds of `flights` on real data: the share of pin, audit and publish, and what a second build costs | `python -m benchmarks.build` |
| startup | importing the definitions in a new process | `python -m benchmarks.startup` |
| lake | branch and commit beside a full copy and DVC, appends beside a bare Delta write | `python -m benchmarks.lake --peers` |
| digest | MB a second of the data version, beside sha256 and reading Parquet | `python -m benchmarks.digest` |
| point_in_time | the join of labels and feature tables beside Polars by hand, DuckDB and Feast | `python -m benchmarks.point_in_time --peers` |
| drift | drift statistics of two Parquet files beside Evidently, alibi-detect and NannyML | `python -m benchmarks.drift --peers` |
| rollout | rollouts of versions that are as good, worse, failing, slow: what share got everything, what share was sent back | `python -m benchmarks.rollout` |
| landing | from a landed file to the start of its run, beside Dagster alone | `python -m benchmarks.landing` |
| rollback | from the first request that a version fails to a service without it, by the daemon | `python -m benchmarks.rollback` |
| online | looking up 1, 10 and 100 entities, LMDB and Redis, beside Feast's SQLite and Redis stores | `python -m benchmarks.online --peers` |
| service_growth | what a prediction costs by the number of inputs and of versions | `python -m benchmarks.service_growth` |
| grpc | one prediction over gRPC and over REST, the same service, each with its caller in Python | `python -m benchmarks.grpc` |
| replay | half a year of `flights` played twice: minutes, and whether decisions and answers are the same | `python -m benchmarks.replay` |
| campaigns | kills, swaps, odd requests and an hour of load: how often what must never happen did | `python -m benchmarks.campaigns` |
| serving | one prediction over HTTP, with lookup and durable log, beside MLflow, BentoML, MLServer, LitServe, Ray Serve and plain FastAPI, 1 to 64 connections | `python -m benchmarks.serving --peers` |

`serving` asks for the released model of `flights` when the lake in `HEADWATER_STATE` or `.headwater` has one with online
features, and works on a copy of that lake; otherwise it trains a model on made-up rows and leaves the service out. Every
answer's score is checked, and one wrong answer makes a contender void. Run it as root to have Ray Serve in it: Ray listens
on every interface, so all of it then runs in a network that has only loopback.
"""


def write_page(*, keep: bool = False) -> str:
    """Writes `README.md` and `growth.svg` from the last results; with `keep`, only returns the page.

    What was not measured here stays on the page as it was: results are no part of a checkout. So does the common plot, which is drawn from
    all that grow at once.
    """
    found = {name: json.loads(file.read_text()) for name in ORDER if (file := RESULTS / f"{name}.json").is_file()}
    before = PAGE.read_text() if PAGE.is_file() else ""
    page = merged(before, found)
    if not keep and found:
        if all(name in found for name in ORDER if f"\n## {name}\n" in before):
            _plot(list(found.values()))
        for report in found.values():
            _draw(report)
        PAGE.write_text(page)
    return page


def merged(before: str, found: Mapping[str, dict[str, Any]]) -> str:
    """The page with what was measured in its place, and the rest as it stood.

    Args:
        before: The page as it stands, empty before the first.
        found: Reports by name.
    """
    held = before.splitlines()
    bars = [line for name in ORDER for line in (_bars(found[name]) if name in found else _standing_bars(held, name))]
    sections = [line for name in ORDER for line in (_section(found[name]) if name in found else _standing(held, name))]
    head = [_HEAD, "| what | bar | measured | |", "|---|---|---|---|", *bars, "", "![Growth with the size](growth.svg)"]
    return "\n".join([*head, "", *sections]).rstrip() + "\n"


def _standing_bars(held: Sequence[str], name: str) -> list[str]:
    return [line for line in held if line.startswith(f"| {name}: ")]


def _standing(held: Sequence[str], name: str) -> list[str]:
    """A section of a page, up to the next one; nothing where it has none."""
    if (title := f"## {name}") not in held:
        return []
    start = held.index(title)
    end = next((place for place in range(start + 1, len(held)) if held[place].startswith("## ")), len(held))
    return [*"\n".join(held[start:end]).rstrip().splitlines(), ""]


def _bars(report: dict[str, Any]) -> list[str]:
    lines = []
    for bar in report["bars"]:
        sign = "at least" if bar["at_least"] else "at most"
        limit, measured = _number(bar["limit"]), _number(bar["measured"])
        held = "held" if bar["held"] else "**missed**"
        lines.append(f"| {report['name']}: {bar['what']} | {sign} {limit} | {measured} | {held} |")
    return lines


def _section(report: dict[str, Any]) -> list[str]:
    machine = report["machine"]
    columns = list(dict.fromkeys(name for row in report["rows"] for name in row))
    lines = [f"## {report['name']}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(_number(row.get(name, '')) for name in columns)} |" for row in report["rows"]]
    if report.get("curves"):
        lines += ["", f"![{report['curves'][0]['title']}]({report['name']}.svg)"]
    lines += ["", *report["notes"]]
    where = f"{machine['processor']}, {machine['cores']} cores, load {machine['load']:.1f}, Python {machine['python']}"
    return [*lines, f"Measured {machine['measured'][:10]} on {where}.", ""]


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def _draw(report: dict[str, Any]) -> None:
    """The report's own plots, beside each other in `<name>.svg`."""
    if not (drawn := report.get("curves")):
        return
    plt = _matplotlib()
    figure, places = plt.subplots(1, len(drawn), figsize=(5.2 * len(drawn), 4.4), squeeze=False)
    for place, curves in zip(places[0], drawn, strict=True):
        for name, points in curves["lines"].items():
            along = sorted(map(int, points))
            place.plot(along, [points[str(x)] for x in along], marker="o", label=name)
        place.set(title=curves["title"], xlabel=curves["x"], ylabel=curves["y"], xscale="log", yscale="log")
        place.set_xticks(along, [str(x) for x in along])
        place.minorticks_off()
        place.grid(alpha=0.3)
        place.legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(PAGE.with_name(f"{report['name']}.svg"), metadata={"Date": None})
    plt.close(figure)


def _matplotlib() -> Any:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "headwater"  # the same figures give the same file
    import matplotlib.pyplot as plt

    return plt


def _plot(reports: list[dict[str, Any]]) -> None:
    """Each series over its time at size 1, so that a straight line through (8, 8) means linear."""
    plt = _matplotlib()
    grown = [report for report in reports if report["growth"]]
    if not grown:
        return
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
