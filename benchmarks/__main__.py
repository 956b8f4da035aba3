"""Runs every benchmark in a process of its own, then writes the table and the plots: `make bench`.

    python -m benchmarks [--peers] [--quick] [--only lake] [--table]

`--peers` installs and runs DVC, Feast, alibi-detect, NannyML and the servers of models in environments of their own under
`.envs/`. `--quick` takes small sizes, to see that everything runs. `--table` only writes the table again from the last
results.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks._table import write_page

QUICK: Final[Mapping[str, Sequence[str]]] = {
    "lake": ("--files", "800", "--repeats", "2"),
    "digest": ("--rows", "80000", "--repetitions", "2"),
    "point_in_time": ("--rows", "80000", "--repetitions", "2", "--dask-labels", "2000"),
    "drift": ("--rows", "80000", "--repeats", "1"),
    "concept_drift": ("--streams", "10"),
    "rollout": ("--rollouts", "20"),
    "startup": ("--repetitions", "2"),
    "landing": ("--landings", "2"),
    "rollback": ("--rollouts", "1"),
    "build": ("--repetitions", "1"),
    "online": ("--entities", "5000", "--rounds", "1"),
    "serving": ("--rounds", "1", "--seconds", "0.3", "--warm-up", "0.2"),
    "service_growth": ("--requests", "200"),
    "grpc": ("--rounds", "1", "--seconds", "0.3"),
    "replay": ("--to", "2013-07-02"),
    "campaigns": ("--sample", "--soak", "5"),
}
WITH_PEERS: Final = ("lake", "point_in_time", "drift", "online", "serving")


def main() -> None:
    """Runs what was asked for; a benchmark that fails is named, and the others still run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=sorted(QUICK), default=[])
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    failed = []
    for name in () if asked.table else asked.only or QUICK:
        words = [*(QUICK[name] if asked.quick else ()), *(["--peers"] if asked.peers and name in WITH_PEERS else [])]
        print(f"\n{name} {' '.join(words)}", flush=True)
        start = time.perf_counter()
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *words], check=False).returncode:
            failed.append(name)
        print(f"({time.perf_counter() - start:.0f} s)", flush=True)
    print(f"\n{write_page(keep=asked.quick)}")
    if failed:
        raise SystemExit(f"Failed: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
