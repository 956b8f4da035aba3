"""How long `import headwater.definitions` takes in a new process, and which heavy libraries it pulls in.

python -m benchmarks.startup [--repetitions 7]
"""

import argparse
import os
import statistics
import subprocess
import sys
from typing import Final

from benchmarks._measure import Bar, Report

HEAVY: Final = ("torch", "mlflow", "evidently", "transformers", "lightgbm", "sklearn", "matplotlib", "pandas")
FORBIDDEN: Final = ("torch", "mlflow", "evidently", "transformers")
_TIMED: Final = """
import sys, time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start, *[name for name in {heavy!r} if name in sys.modules])
"""


def imported(module: str) -> tuple[float, tuple[str, ...]]:
    """Seconds of one import in a new process, and the heavy libraries that came along."""
    code = _TIMED.format(module=module, heavy=HEAVY)
    # Where this is set, nothing that Python compiles is kept, and every import compiles anew: no user's machine is like that.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env)
    taken, *along = done.stdout.strip().splitlines()[-1].split()
    return float(taken), tuple(along)


def main() -> None:
    """Measures and writes `results/startup.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    asked = parser.parse_args()
    rows, taken = [], {}
    along: dict[str, tuple[str, ...]] = {}
    for module in ("dagster", "headwater.definitions", "headwater.cli"):
        imported(module)  # the first one compiles
        runs = [imported(module) for _ in range(asked.repetitions)]
        taken[module], along[module] = statistics.median(run[0] for run in runs), runs[0][1]
        rows.append({"contender": f"import {module}", "wall_s": taken[module], "along": ", ".join(along[module])})
    forbidden = len(set(along["headwater.definitions"]) & set(FORBIDDEN))
    Report(
        name="startup",
        rows=rows,
        bars=[
            Bar(what="s for `import headwater.definitions`", limit=3, measured=taken["headwater.definitions"], at_least=False),
            Bar(what=f"of {', '.join(FORBIDDEN)} imported by it", limit=0, measured=forbidden, at_least=False),
        ],
        notes=["Each in a new process, bytecode compiled."],
    ).finish()  # fmt: skip


if __name__ == "__main__":
    main()
