"""Side-by-side measurement: every contender in turn, many times over, medians, and the facts of the machine."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one contender took.

    Attributes:
        name: Of the contender.
        wall: Median seconds on the clock.
        cpu: Median seconds of processor time of this process, all threads.
        best: Least seconds on the clock.
        repetitions: How often it ran.
    """

    name: str
    wall: float
    cpu: float
    best: float
    repetitions: int


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A promise and what was measured.

    Attributes:
        what: The promise in words.
        limit: The number promised.
        measured: The number found.
        at_least: Whether `measured` must reach `limit` (else: stay below it).
    """

    what: str
    limit: float
    measured: float
    at_least: bool = True

    @property
    def held(self) -> bool:
        """Whether the promise is kept."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A plot of figures as they were measured; both axes are logarithmic.

    Attributes:
        title: Of the plot.
        x: What runs along, with its unit.
        y: What was measured, with its unit.
        lines: Series name to its points.
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, kw_only=True)
class Report:
    """One benchmark's result.

    Attributes:
        name: Of the benchmark and its file below `results/`.
        rows: Lines of the table.
        bars: Promises.
        growth: Series name to seconds at 1, 2, 4 and 8 times the size.
        notes: What a reader must know.
        curves: Plots of its own, beside the common one of growth.
    """

    name: str
    rows: Sequence[Mapping[str, Any]]
    bars: Sequence[Bar] = ()
    growth: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    curves: Sequence[Curves] = ()

    def write(self) -> Path:
        """Writes `results/<name>.json` and returns its path."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}.json"
        bars = [asdict(bar) | {"held": bar.held} for bar in self.bars]
        path.write_text(json.dumps(asdict(self) | {"bars": bars, "machine": machine()}, indent=2) + "\n")
        return path

    def finish(self) -> None:
        """Prints and writes it."""
        self.show()
        self.write()

    def show(self) -> None:
        """Prints the table, the bars and the notes."""
        for row in self.rows:
            print("  ".join(f"{key}={_short(value)}" for key, value in row.items()))
        for bar in self.bars:
            sign = ">=" if bar.at_least else "<="
            print(f"{'held' if bar.held else 'MISSED'}: {bar.what}: {bar.measured:.2f} {sign} {bar.limit:g}")
        for name, series in self.growth.items():
            print(f"growth of {name}: " + ", ".join(f"{factor}x {taken:.3f} s" for factor, taken in series.items()))
        for note in self.notes:
            print(f"note: {note}")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def side_by_side(contenders: Mapping[str, Callable[[], object]], *, repetitions: int) -> dict[str, Timing]:
    """The time of each contender, run in turn so that a noisy neighbour slows all of them.

    Args:
        contenders: Name to a call that does the whole job. Each runs once unmeasured first.
        repetitions: Rounds.
    """
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(repetitions + 1):
        for name, call in contenders.items():
            clock, used = time.perf_counter(), time.process_time()
            call()
            if round_number:
                wall[name].append(time.perf_counter() - clock)
                cpu[name].append(time.process_time() - used)
    return {
        name: Timing(
            name=name,
            wall=statistics.median(wall[name]),
            cpu=statistics.median(cpu[name]),
            best=min(wall[name]),
            repetitions=repetitions,
        )
        for name in contenders
    }


def machine() -> dict[str, Any]:
    """What ran it: processor, cores, load, versions. No host name, no path."""
    packages = ("polars", "numpy", "pyarrow", "deltalake", "duckdb")
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
