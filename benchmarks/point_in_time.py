"""The point-in-time join: 1M labels and 3 tables of 1M rows, from Parquet files to a frame.

Contenders: ours; Polars by hand (as-of on known-at, no care for late rows, labels left in the order of time); DuckDB's
ASOF join (the same); with --peers Feast's DuckDB and dask offline stores in an environment of their own. Late rows are
where they differ: the number of labels that a plain as-of join answers with an older event is in the notes.

    python -m benchmarks.point_in_time [--rows 1000000] [--repetitions 5] [--peers] [--dask-labels 200000]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import polars as pl

from benchmarks._measure import Bar, Report, side_by_side
from headwater.features import FeatureTable, FeatureView, point_in_time_join

TABLES: Final = range(3)
TTL: Final = timedelta(days=30)
TIME: Final = pl.Datetime("us", "UTC")
YEAR: Final = 365 * 86_400 * 1_000_000
HOUR: Final = 3_600 * 1_000_000
EVENTS: Final = 100
FEAST: Final = "feast[duckdb]==0.67.0"
ENVIRONMENT: Final = Path(__file__).resolve().parent / ".envs" / "feast"
OURS, BY_HAND, DUCKDB = "ours", "Polars by hand", "DuckDB ASOF"


def write_files(folder: Path, rows: int, *, longest_lag: int, events: int = EVENTS) -> None:
    """Labels and three feature tables; an event is known up to `longest_lag` microseconds later, `events` an entity."""
    draw = np.random.default_rng(11)
    who = max(1, rows // events)
    labels = pl.DataFrame(
        {"id": np.arange(rows), "who": draw.integers(0, who, rows), "at": draw.integers(0, YEAR, rows)}
    )
    labels.with_columns(pl.col("at").cast(TIME)).write_parquet(folder / "labels.parquet")
    for number in TABLES:
        event = np.sort(draw.integers(0, YEAR, rows))
        lag = draw.integers(0, longest_lag, rows) if longest_lag > HOUR else np.full(rows, longest_lag)
        table = pl.DataFrame(
            {
                "who": draw.integers(0, who, rows),
                "event_time": event,
                "known_at": event + lag,
                f"a{number}": draw.normal(size=rows),
                f"b{number}": draw.normal(size=rows),
            }
        )
        table.with_columns(pl.col("event_time", "known_at").cast(TIME)).write_parquet(folder / f"table{number}.parquet")


def ours(folder: Path) -> pl.DataFrame:
    """Headwater's join, labels in their own order."""
    tables = [
        FeatureTable(
            view=FeatureView(
                name=f"table{n}", path=f"bench/table{n}", entity=("who",), features=(f"a{n}", f"b{n}"), ttl=TTL
            ),
            rows=pl.scan_parquet(folder / f"table{n}.parquet"),
        )
        for n in TABLES
    ]
    return point_in_time_join(pl.scan_parquet(folder / "labels.parquet"), tables, time="at").collect()


def by_hand(folder: Path) -> pl.DataFrame:
    """What one writes without thinking of late rows."""
    joined = pl.scan_parquet(folder / "labels.parquet").sort("at")
    for n in TABLES:
        table = pl.scan_parquet(folder / f"table{n}.parquet").sort("known_at")
        joined = joined.join_asof(
            table, left_on="at", right_on="known_at", by="who", strategy="backward", check_sortedness=False
        )
        fresh = pl.col("at") - pl.col("event_time") <= TTL
        joined = joined.with_columns(pl.when(fresh).then(pl.col(f"{name}{n}")).alias(f"{name}{n}") for name in "ab")
        joined = joined.drop("event_time", "known_at")
    return joined.collect()


def by_duckdb(folder: Path) -> Any:
    """DuckDB's ASOF join on known-at."""
    features = ", ".join(
        f"case when l.at - t{n}.event_time <= interval 30 days then t{n}.{name}{n} end as {name}{n}"
        for n in TABLES
        for name in "ab"
    )
    joins = " ".join(
        f"asof left join '{folder}/table{n}.parquet' t{n} on l.who = t{n}.who and l.at >= t{n}.known_at" for n in TABLES
    )
    return duckdb.sql(f"select l.*, {features} from '{folder}/labels.parquet' l {joins}").to_arrow_table()


def feast(folder: Path, store: str, labels: int, rounds: int) -> dict[str, Any]:
    """Seconds of each round of a Feast offline store, in its own environment."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", FEAST], check=True)
    script = Path(__file__).with_name("_feast_peer.py")
    command = [str(python), str(script), str(folder), store, str(labels), str(rounds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1_800)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def displaced(folder: Path) -> int:
    """Labels to which a plain as-of join gives an older event than was known."""
    mine, theirs = ours(folder).sort("id"), by_hand(folder).sort("id")
    differs = pl.any_horizontal(pl.col(f"a{n}").ne_missing(pl.col(f"a{n}_other")) for n in TABLES)
    return mine.join(theirs, on="id", suffix="_other").filter(differs).height


def peer_lines(folder: Path, rows: int, dask_labels: int, our_cpu: float) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Feast's stores: the DuckDB one at full size, the dask one on fewer labels, compared with ours on all of them."""
    lines, bars = [], []
    for store, labels, factor in (("duckdb", rows, 4.0), ("dask", min(rows, dask_labels), 40.0)):
        found = feast(folder, store, labels, 3 if store == "duckdb" else 1)
        wall, cpu = statistics.median(found["wall"]), statistics.median(found["cpu"])
        lines.append(
            {
                "data": "late",
                "contender": f"Feast {store}, {labels} labels",
                "wall_s": wall,
                "cpu_s": cpu,
                "rows": found["rows"],
            }
        )
        bars.append(
            Bar(what=f"Feast's {store} store, {labels} labels, times ours (cpu)", limit=factor, measured=cpu / our_cpu)
        )
    return lines, bars


def main() -> None:
    """Measures and writes `results/point_in_time.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--dask-labels", type=int, default=200_000)
    asked = parser.parse_args()
    lines: list[dict[str, Any]] = []
    bars: list[Bar] = []
    notes = ["From Parquet files to a frame in memory. Ours keeps the labels' order; the others do not."]
    growth: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as place:
        for data, lag in (("in order", HOUR), ("late", 48 * HOUR)):
            folder = Path(place) / data.replace(" ", "_")
            folder.mkdir()
            write_files(folder, asked.rows, longest_lag=lag)
            contenders = {OURS: ours, BY_HAND: by_hand, DUCKDB: by_duckdb}
            timings = side_by_side(
                {name: lambda call=call, at=folder: call(at) for name, call in contenders.items()},  # type: ignore[misc]
                repetitions=asked.repetitions,
            )
            lines += [{"data": data, "contender": t.name, "wall_s": t.wall, "cpu_s": t.cpu} for t in timings.values()]
            for measure in ("wall", "cpu"):
                ratio = getattr(timings[OURS], measure) / getattr(timings[BY_HAND], measure)
                what = f"times Polars by hand ({data}, {measure})"
                bars.append(Bar(what=what, limit=1.3, measured=ratio, at_least=False))
            notes.append(f"Plain as-of joins answer {displaced(folder)} of {asked.rows} labels otherwise ({data}).")
        if asked.peers:
            more, promised = peer_lines(folder, asked.rows, asked.dask_labels, timings[OURS].cpu)
            lines, bars = lines + more, bars + promised
            notes.append(
                f"Feast's dask store joined {asked.dask_labels} labels, ours all {asked.rows}: no scaling is assumed."
            )
        for factor in (1, 2, 4, 8):
            small = Path(place) / f"x{factor}"
            small.mkdir()
            write_files(small, asked.rows * factor // 8, longest_lag=48 * HOUR)
            growth[factor] = side_by_side({OURS: lambda at=small: ours(at)}, repetitions=3)[OURS].cpu  # type: ignore[misc]
    report = Report(
        name="point_in_time", rows=lines, bars=bars, notes=notes,
        growth={f"ours, {asked.rows // 8} to {asked.rows} rows each, late (cpu)": growth},
    )  # fmt: skip
    report.finish()


if __name__ == "__main__":
    main()
