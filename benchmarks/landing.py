"""From a landed file to the start of its run: the sensor of landed files beside a sensor of Dagster's alone, each under its own daemon.

python -m benchmarks.landing [--landings 12]

Dagster's alone: a sensor that asks for a tick every second and lists the folder, a queue and a daemon as Dagster sets them up. Ours: the
sensor of landed files and the configuration that `headwater` writes. Both run one small asset; both have real processes: code server,
daemon, a process for each run.
"""

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks._measure import Bar, Report

_ROOT: Final = Path(__file__).resolve().parents[1]
_READY: Final = 25.0
"""Seconds that a daemon gets to start and to tick."""
_PATIENCE: Final = 90.0
_PLAIN: Final = """
from pathlib import Path
import dagster as dg

FOLDER = Path({folder!r})

@dg.asset
def numbers() -> None:
    (FOLDER / "numbers.csv").read_text()

@dg.sensor(asset_selection=[numbers], minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def landed(context):
    file = FOLDER / "numbers.csv"
    mark = str(file.stat().st_mtime_ns) if file.is_file() else ""
    if mark and mark != context.cursor:
        context.update_cursor(mark)
        yield dg.RunRequest(run_key=mark)

defs = dg.Definitions(assets=[numbers], sensors=[landed], executor=dg.in_process_executor)
"""
_OURS: Final = """
import dagster as dg
from assets._bridge import dagster_asset
from assets._chain._landing import landing_asset
from headwater.product import Product, Source
from resources.lake import LakeResource
from sensors import landed_sensor

PRODUCT = Product(name="toy", question="How soon?", owners=("team:toy",))
numbers = landing_asset("toy", Source(name="numbers", columns=("x",), licence="CC0-1.0", description="Numbers."))
defs = dg.Definitions(
    assets=[dagster_asset(numbers, PRODUCT)],
    resources={"lake": LakeResource()},
    sensors=[landed_sensor([numbers])],
    executor=dg.in_process_executor,
)
"""


def measured(name: str, code: str, home: Path, state: Path, landings: int, seed: int) -> list[float]:
    """Seconds from each landed file to the start of its run.

    Args:
        name: Of the contender, for errors.
        code: The code location's file.
        home: Dagster's folder, with its configuration.
        state: State folder; files land in `landing/toy` of it.
        landings: How many.
        seed: Of the moments between two of them.
    """
    import dagster as dg

    location = home / "location.py"
    location.write_text(code)
    folder, draw, found = state / "landing" / "toy", random.Random(seed), []
    folder.mkdir(parents=True)
    with daemon(home, state, location), dg.DagsterInstance.from_config(str(home)) as instance:
        time.sleep(_READY)
        for number in range(landings):
            time.sleep(draw.uniform(0, 6))
            known = {run.run_id for run in instance.get_runs()}
            part = folder / ".numbers.csv.part"
            part.write_text(f"x\n{number}\n")
            landed = time.time()
            part.rename(folder / "numbers.csv")
            found.append(_started(instance, known, name) - landed)
    return found


def _started(instance: "dg.DagsterInstance", known: set[str], name: str) -> float:  # type: ignore[name-defined] # noqa: F821
    """When the next run started, in seconds since 1970; returns after it ended."""
    end, start = time.monotonic() + _PATIENCE, None
    while time.monotonic() < end:
        records = [record for record in instance.get_run_records() if record.dagster_run.run_id not in known]
        if records and records[0].start_time is not None:
            start = records[0].start_time
            if records[0].dagster_run.is_finished:
                return float(start)
        time.sleep(0.1)
    raise TimeoutError(f"{name}: no run within {_PATIENCE:.0f} s of a landed file.")


@contextmanager
def daemon(home: Path, state: Path, location: Path) -> Iterator[None]:
    environment = {
        **os.environ, "DAGSTER_HOME": str(home), "HEADWATER_STATE": str(state), "PYTHONPATH": str(_ROOT),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-f", str(location)]
    with (home / "daemon.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _row(name: str, seconds: Sequence[float]) -> dict[str, object]:
    return {
        "contender": name, "wall_s": statistics.median(seconds), "least_s": min(seconds), "most_s": max(seconds),
        "landings": len(seconds),
    }  # fmt: skip


def main() -> None:
    """Measures and writes `results/landing.json`."""
    from resources.dagster_home import CONFIG
    from resources.opening import open_lake
    from resources.settings import Settings

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--landings", type=int, default=12)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="landing-") as name:
        taken = {}
        for contender, code, config in (
            ("Dagster alone", _PLAIN, "telemetry:\n  enabled: false\n"),
            ("Headwater", _OURS, CONFIG),
        ):
            place = Path(name) / contender.split()[0].lower()
            home, state = place / "home", place / "state"
            home.mkdir(parents=True)
            state.mkdir()
            (home / "dagster.yaml").write_text(config)
            text = code.format(folder=str(state / "landing" / "toy")) if code is _PLAIN else code
            if code is _OURS:
                open_lake(Settings(state=state), create=True)  # as `headwater up` does: sensors make none
            taken[contender] = measured(contender, text, home, state, asked.landings, seed=1)
    ours, alone = (statistics.median(taken[name]) for name in ("Headwater", "Dagster alone"))
    Report(
        name="landing",
        rows=[_row(contender, seconds) for contender, seconds in taken.items()],
        bars=[
            Bar(what="s from a landed file to the start of its run, median", limit=5, measured=ours, at_least=False),
            Bar(what="times as soon as Dagster alone", limit=1, measured=alone / ours),
        ],
        notes=["One small asset each; a run has a process of its own. Files land at random moments, the next one when the run has ended."],
    ).finish()  # fmt: skip


if __name__ == "__main__":
    main()
