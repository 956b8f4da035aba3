"""The half year of flights that a build leaves out, played twice: how long it takes, and whether it comes out the same.

    python -m benchmarks.replay                                       # builds, then plays July to December twice: an hour or more
    python -m benchmarks.replay --to 2013-07-14 --runs 2
    python -m benchmarks.replay --played DIR --played DIR             # looks at state folders where that was done

Runs follow each other, each in a state folder of its own, copied from one build; the first is the one that is timed. Two runs agree on
a decision when kind, action, version, rule and reason are the same, the decisions of each kind in their order (which of two kinds falls
first on a day is the order of a build); on an answer when request, version and score are, to the last bit. Where one was played further
than another, the days that both have are compared.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks._measure import Bar, Report
from headwater.cli._decisions import recorded_decisions
from headwater.lake import EmbeddedLake
from headwater.replay import ReplayProgress, own_id, play_of, read_progress

PRODUCT: Final = "flights"
HALF_YEAR: Final = 184
"""Days."""
MINUTES: Final = 60.0
_ROOT: Final = Path(__file__).resolve().parents[1]
_TOLD: Final = ("kind", "action", "version", "rule", "reason")
_ANSWER: Final = ("request_id", "version", "score", "decision")


@dataclass(frozen=True, kw_only=True)
class Played:
    """One replay.

    Attributes:
        progress: Its days.
        decisions: What was decided, oldest first, with when it was recorded.
        answers: What was answered in it; request ids without the play, so that two plays can be compared.
    """

    progress: ReplayProgress
    decisions: Sequence[dict[str, Any]]
    answers: pl.DataFrame

    @classmethod
    def of(cls, state: Path) -> "Played":
        """What a state folder holds."""
        progress, lake = read_progress(state / "replay" / PRODUCT), EmbeddedLake.open(state / "lake")
        if progress is None:
            raise SystemExit(f"Nothing was played in {state}.")
        table = lake.at("main").table(f"{PRODUCT}/predictions").select(_ANSWER).filter(play_of() == progress.play)
        answers = table.with_columns(own_id()).collect()
        return cls(progress=progress, decisions=recorded_decisions(lake, PRODUCT, "main"), answers=answers)

    @property
    def seconds(self) -> list[float]:
        """What each day took."""
        return [float(day["seconds"]) for day in self.progress.days.values()]

    def until(self, day: str) -> list[tuple[Any, ...]]:
        """What was decided up to a day's end."""
        ended = str(self.progress.days[day]["ended"])
        return [tuple(row.get(name) for name in _TOLD) for row in self.decisions if str(row["recorded"]) <= ended]


def agreement(one: Played, other: Played) -> tuple[str, int, float, float]:
    """The last day that both have; decisions up to it, and what shares of decisions and of answers are the same."""
    day = min(max(one.progress.days), max(other.progress.days))
    ours, theirs = one.until(day), other.until(day)
    # A stable sort: each kind keeps its own order.
    pairs = zip(sorted(ours, key=itemgetter(0)), sorted(theirs, key=itemgetter(0)), strict=False)
    same = sum(a == b for a, b in pairs) / max(len(ours), len(theirs), 1)
    both = one.answers.join(other.answers, on="request_id", suffix="_other")
    alike = both.filter(*(pl.col(name) == pl.col(f"{name}_other") for name in _ANSWER[1:]))
    return day, len(ours), same, alike.height / max(both.height, 1)


def report(played: Sequence[Played]) -> Report:
    """The figures of some replays of the same time."""
    rows: list[dict[str, Any]] = [
        {
            "run": number, "days": len(one.seconds), "minutes": sum(one.seconds) / 60, "median_day_s": statistics.median(one.seconds),
            "answers": one.answers.height, "decisions": len(one.decisions),
        }
        for number, one in enumerate(played, 1)
    ]  # fmt: skip
    day_seconds = sum(played[0].seconds) / len(played[0].seconds)
    bars = [Bar(what="minutes for half a year, by the mean day", limit=MINUTES, measured=day_seconds * HALF_YEAR / 60, at_least=False)]  # fmt: skip
    notes = [f"From {one.progress.first} to {max(one.progress.days)}." for one in played]
    for other in played[1:]:
        day, count, decisions, answers = agreement(played[0], other)
        bars.append(Bar(what=f"share of {count} decisions that are the same, to {day}", limit=1.0, measured=decisions))
        bars.append(Bar(what=f"share of answers that are the same, to {day}", limit=1.0, measured=answers))
    return Report(name="replay", rows=rows, bars=bars, notes=notes)


def main() -> None:
    """Plays, or looks at what was played, and writes `results/replay.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--from", dest="first", default="2013-07")
    parser.add_argument("--to", dest="last", default="2013-12")
    parser.add_argument("--played", type=Path, action="append", default=[])
    asked = parser.parse_args()
    with ExitStack() as stack:
        folders = asked.played or list(_play(stack, asked.runs, asked.first, asked.last))
        report([Played.of(folder) for folder in folders]).finish()


def _play(stack: ExitStack, runs: int, first: str, last: str) -> Sequence[Path]:
    work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="replay-")))
    _run(work / "built", "build", PRODUCT)
    folders = [work / f"run-{number}" for number in range(runs)]
    for folder in folders:
        shutil.copytree(work / "built", folder, symlinks=True)
        _run(folder, "replay", PRODUCT, "--from", first, "--to", last)
    return folders


def _run(state: Path, *words: str) -> None:
    environment = {**os.environ, "HEADWATER_STATE": str(state)}
    subprocess.run([sys.executable, "-m", "headwater.cli", *words], check=True, cwd=_ROOT, env=environment)


if __name__ == "__main__":
    main()
