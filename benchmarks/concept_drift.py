"""Detectors of concept drift on streams of errors whose truth is known: how late, how often at all, how often in vain.

    python -m benchmarks.concept_drift                # 200 streams of 10,000 errors and successes for each kind of drift
    python -m benchmarks.concept_drift --streams 20

An error rate of 0.20 rises to 0.30 (or, where it says small, to 0.25). Sudden: at row 4,000. Gradual: in a straight line from
row 4,000 to 7,000. Recurring: at rows 2,000 and 6,000, back after 2,000 rows each. A rise counts as found when an alarm comes
before the rate falls again or the stream ends. Every alarm while the rate is the low one is false, but those within 500 rows
after a fall are counted as none: the detector cannot know yet. None, stormy: nothing changes, but each day of 800 rows has a rate of
its own, 0.20 with a standard deviation of 0.06, as days of bad weather make it. The streams are the same for all detectors, seeds fixed.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks._measure import Bar, Report
from headwater.monitoring import Adwin, Ddm, PageHinkley, concept_alarms
from headwater.monitoring._intervals import wilson

ROWS: Final = 10_000
LOW: Final = 0.20
FORGIVEN: Final = 500
WINDOW: Final = 1_000
DAY: Final = 800
STORM: Final = 0.06


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Errors, and where their rate rose.

    Attributes:
        errors: 0 or 1, `[rows]`.
        rises: First row of each rise, and the row at which it ends.
        quiet: Rows at which an alarm is false, `[rows]`.
    """

    errors: np.ndarray
    rises: tuple[tuple[int, int], ...]
    quiet: np.ndarray


def _steps(*rises: tuple[int, int], high: float = 0.30) -> np.ndarray:
    rate = np.full(ROWS, LOW)
    for start, end in rises:
        rate[start:end] = high
    return rate


def _ramp() -> np.ndarray:
    return np.interp(np.arange(ROWS), [4_000, 7_000], [LOW, 0.30])


STORMY: Final = "none, stormy"
KINDS: Final[Mapping[str, tuple[np.ndarray, tuple[tuple[int, int], ...]]]] = {
    "none": (_steps(), ()),
    STORMY: (_steps(), ()),
    "sudden": (_steps((4_000, ROWS)), ((4_000, ROWS),)),
    "sudden, small": (_steps((4_000, ROWS), high=0.25), ((4_000, ROWS),)),
    "gradual": (_ramp(), ((4_000, ROWS),)),
    "recurring": (_steps((2_000, 4_000), (6_000, 8_000)), ((2_000, 4_000), (6_000, 8_000))),
}


def stream(kind: str, seed: int) -> Stream:
    """One stream of a kind of drift; the same seed gives the same stream."""
    rate, rises = KINDS[kind]
    draw = np.random.default_rng([seed, list(KINDS).index(kind)])
    if kind == STORMY:
        days = -(-ROWS // DAY)
        # A Beta distribution with this mean and deviation.
        size = LOW * (1 - LOW) / STORM**2 - 1
        rate = np.repeat(draw.beta(LOW * size, (1 - LOW) * size, days), DAY)[:ROWS]
    quiet = np.ones(ROWS, dtype=bool)
    for start, end in rises:
        quiet[start : end + FORGIVEN] = False
    return Stream(errors=(draw.random(ROWS) < rate).astype(np.int8), rises=rises, quiet=quiet)


def windows(errors: np.ndarray) -> list[int]:
    """Two of the last three windows of 1,000 rows surely more than 5% below the accuracy of the first two, as retraining asks."""
    reference = 1 - errors[: 2 * WINDOW].mean()
    worse: list[bool] = []
    found: list[int] = []
    for start in range(2 * WINDOW, ROWS, WINDOW):
        right = WINDOW - int(errors[start : start + WINDOW].sum())
        around = wilson(right, WINDOW)
        assert around is not None
        worse.append(around.high < reference * 0.95)
        if sum(worse[-3:]) >= 2:
            found.append(start + WINDOW - 1)
            worse = []
    return found


def _of(detector: Any) -> Callable[[np.ndarray], Sequence[int]]:
    return lambda errors: [alarm.at for alarm in concept_alarms(errors, detector=detector).alarms]


CONTENDERS: Final[Mapping[str, Callable[[np.ndarray], Sequence[int]]]] = {
    "ADWIN": _of(Adwin()),
    "Page-Hinkley": _of(PageHinkley()),
    "Page-Hinkley, River's defaults": _of(PageHinkley(tolerated=0.005, threshold=50)),
    "DDM": _of(Ddm()),
    "DDM, as published": _of(Ddm(warm_up=30, deviations=3)),
    "2 of 3 windows of 1,000": windows,
}


def judge(one: Stream, alarms: Sequence[int]) -> tuple[list[int | None], int]:
    """The delay of each rise in rows, None where it was not found, and how many alarms were false."""
    delays: list[int | None] = []
    for start, end in one.rises:
        inside = [at for at in alarms if start <= at < end]
        delays.append(inside[0] - start if inside else None)
    return delays, sum(bool(one.quiet[at]) for at in alarms)


def measure(name: str, kind: str, streams: int) -> dict[str, Any]:
    """One line of the table."""
    delays: list[int | None] = []
    false = quiet = 0
    for seed in range(streams):
        one = stream(kind, seed)
        found, wrong = judge(one, CONTENDERS[name](one.errors))
        delays += found
        false += wrong
        quiet += int(one.quiet.sum())
    hits = sorted(delay for delay in delays if delay is not None)
    return {
        "drift": kind,
        "detector": name,
        "found": len(hits) / len(delays) if delays else "",
        "median_delay": statistics.median(hits) if hits else "",
        "p90_delay": hits[int(0.9 * (len(hits) - 1))] if hits else "",
        "false_per_100k": 100_000 * false / quiet,
    }


def main() -> None:
    """Measures every detector on every kind of drift."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    streams = parser.parse_args().streams
    rows = [measure(name, kind, streams) for kind in KINDS for name in CONTENDERS]
    by_name = {(row["drift"], row["detector"]): row for row in rows}
    adwin, none = by_name["sudden", "ADWIN"], by_name["none", "ADWIN"]
    Report(
        name="concept_drift",
        rows=rows,
        bars=[
            Bar(what="share of sudden rises that ADWIN finds", limit=0.95, measured=adwin["found"]),
            Bar(
                what="ADWIN's median delay after a sudden rise, rows",
                limit=1_000,
                measured=adwin["median_delay"],
                at_least=False,
            ),
            Bar(what="ADWIN's false alarms in 100,000 rows", limit=2, measured=none["false_per_100k"], at_least=False),
        ],
        notes=[
            f"{streams} streams of {ROWS:,} rows for each kind of drift; an error rate of 0.20 rises to 0.30, or, where small, to 0.25. "
            "Delays are rows after the rise began, of the rises that were found.",
            "An early alarm in a quiet stretch is false also where a rise follows; it sets the detector back to its start.",
        ],
    ).finish()


if __name__ == "__main__":
    main()
