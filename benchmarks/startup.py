"""How long `import headwater.definitions` takes in a new process, and which heavy libraries it pulls in; and how long the service takes
from the start of its process until it is ready.

    python -m benchmarks.startup [--repetitions 7] [--state DIR]

The service starts over a copy of the lake in the state folder, if that has a release, as it does after a restart: with its copies of
the model and of the online features on disk.
"""

import argparse
import http.client
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks._contenders import copied
from benchmarks._measure import Bar, Report
from benchmarks._subject import PRODUCT
from headwater.lake import EmbeddedLake
from headwater.registry import live_version

HEAVY: Final = ("torch", "mlflow", "evidently", "transformers", "lightgbm", "sklearn", "matplotlib", "pandas")
HERE: Final = Path(__file__).resolve().parent
PATIENCE: Final = 60.0
"""Seconds in which the service has to be ready."""
FORBIDDEN: Final = ("torch", "mlflow", "evidently", "transformers")
_TIMED: Final = """
import sys, time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start, *[name for name in {heavy!r} if name in sys.modules])
"""


def is_released(state: Path) -> bool:
    """Whether a release stands in the lake of a state folder."""
    if not (state / "lake").is_dir():
        return False
    return live_version(EmbeddedLake.open(state / "lake", create=False), PRODUCT) is not None


def imported(module: str) -> tuple[float, tuple[str, ...]]:
    """Seconds of one import in a new process, and the heavy libraries that came along."""
    code = _TIMED.format(module=module, heavy=HEAVY)
    # Where this is set, nothing that Python compiles is kept, and every import compiles anew: no user's machine is like that.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env)
    taken, *along = done.stdout.strip().splitlines()[-1].split()
    return float(taken), tuple(along)


def until_ready(state: Path) -> float:
    """Seconds from the start of a service's process until it says that it is ready.

    Raises:
        RuntimeError: It did not become so.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "headwater.cli", "serve", "--port", "0", "--product", PRODUCT]
    begun = time.perf_counter()
    with subprocess.Popen(
        command, env={**env, "HEADWATER_STATE": str(state), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if "http" not in line:
                raise RuntimeError("the service did not start")
            port = int(line.split(":")[2].split()[0])
            while not _is_ready(port):
                if time.perf_counter() - begun > PATIENCE:
                    raise RuntimeError("the service did not become ready")
                time.sleep(0.002)
            return time.perf_counter() - begun
        finally:
            process.terminate()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def main() -> None:
    """Measures and writes `results/startup.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--state", type=Path, default=os.environ.get("HEADWATER_STATE") or HERE.parent / ".headwater")
    asked = parser.parse_args()
    rows, taken = [], {}
    along: dict[str, tuple[str, ...]] = {}
    for module in ("dagster", "headwater.definitions", "headwater.cli"):
        imported(module)  # the first one compiles
        runs = [imported(module) for _ in range(asked.repetitions)]
        taken[module], along[module] = statistics.median(run[0] for run in runs), runs[0][1]
        rows.append({"contender": f"import {module}", "wall_s": taken[module], "along": ", ".join(along[module])})
    notes = ["Each in a new process, bytecode compiled."]
    if is_released(Path(asked.state)):
        state = copied(Path(asked.state))
        until_ready(state)  # the first one fetches what is served from the lake
        ready = statistics.median(until_ready(state) for _ in range(asked.repetitions))
        rows.append({"contender": "headwater serve until ready", "wall_s": ready, "along": ""})
    else:
        notes.append(f"No release of {PRODUCT} was there, so the start of the service was not measured.")
    forbidden = len(set(along["headwater.definitions"]) & set(FORBIDDEN))
    Report(
        name="startup",
        rows=rows,
        bars=[
            Bar(what="s for `import headwater.definitions`", limit=3, measured=taken["headwater.definitions"], at_least=False),
            Bar(what=f"of {', '.join(FORBIDDEN)} imported by it", limit=0, measured=forbidden, at_least=False),
        ],
        notes=notes,
    ).finish()  # fmt: skip


if __name__ == "__main__":
    main()
