"""Two builds of `flights` on real data: the share that the lake takes, and what the second one costs.

The share is read from the commits: what each transaction took beyond the asset's function (pin, audit, publish). What
Dagster takes between them is shown beside it: the build's wall time less all transactions.

    python -m benchmarks.build [--repetitions 3]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks._measure import Bar, Report
from headwater.lake import Commit, EmbeddedLake

WORK: Final = Path(__file__).resolve().parent / ".work" / "build"


def headwater(*words: str) -> tuple[float, str]:
    """Seconds and standard output of one command on the benchmark's own state folder."""
    env = {**os.environ, "HEADWATER_STATE": str(WORK), "DAGSTER_HOME": str(WORK / "dagster")}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "headwater.cli", *words], env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"headwater {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start, done.stdout


def history() -> tuple[Commit, ...]:
    """The lake's commits, newest first."""
    return tuple(EmbeddedLake.open(WORK / "lake", create=False).log())


def one() -> dict[str, float]:
    """A build from nothing and a second one."""
    shutil.rmtree(WORK, ignore_errors=True)
    first, _ = headwater("build", "flights")
    commits = history()
    costs = [commit.provenance.cost for commit in commits if commit.provenance]
    second, _ = headwater("build", "flights")
    transactions, lake = sum(cost.wall_seconds for cost in costs), sum(cost.lake_seconds for cost in costs)
    return {
        "first": first,
        "second": second,
        "transactions": transactions,
        "lake": lake,
        "published": float(len(history()) - len(commits)),
    }


def main() -> None:
    """Measures and writes `results/build.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    asked = parser.parse_args()
    runs = [one() for _ in range(asked.repetitions)]
    shutil.rmtree(WORK, ignore_errors=True)
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    rows = [
        {"contender": "first build", "wall_s": median["first"]},
        {"contender": "  in transactions", "wall_s": median["transactions"]},
        {"contender": "  of it pin, audit, publish", "wall_s": median["lake"]},
        {"contender": "second build", "wall_s": median["second"]},
    ]
    share = statistics.median(run["lake"] / run["first"] for run in runs)
    again = statistics.median(run["second"] / run["first"] for run in runs)
    bars = [
        Bar(what="share of a build in pin, audit, publish", limit=0.10, measured=share, at_least=False),
        Bar(what="commits of a second build", limit=0, measured=max(run["published"] for run in runs), at_least=False),
        Bar(what="second build as a share of the first", limit=0.10, measured=again, at_least=False),
    ]
    notes = [f"Medians of {asked.repetitions} builds of `flights`, January to June 2013, from landed files to release."]
    Report(name="build", rows=rows, bars=bars, notes=notes).finish()


if __name__ == "__main__":
    main()
