"""Drift statistics beside what others offer, on the same Parquet files, each run in a process of its own.

    python -m benchmarks.drift                    # ours, reading, SciPy, Evidently: 1M x 50, and growth
    python -m benchmarks.drift --peers            # and alibi-detect and NannyML, in environments under benchmarks/.envs/
    python -m benchmarks.drift --rows 100000 --repeats 5

Every run reads its columns from Parquet files that lie in memory, so reading counts for all. Time is wall time without imports, memory the peak
resident size of the process. Ours measure every statistic (KS, Wasserstein, PSI, Jensen-Shannon, chi-squared, q-values)
and make the report as it is published, a table. Runs alternate, the table shows medians. Each library uses as many threads as it takes by
itself, unless its name says one thread.
Contestants that need minutes run once at the full size (`--slow-repeats`).
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._measure import Bar, Report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = HERE / ".work" / "drift"
ENVIRONMENTS = HERE / ".envs"
PEERS = {
    "alibi-detect": ("alibi-detect==0.13.0", "pyarrow==21.0.0"),
    "nannyml": ("nannyml==0.13.1", "pyarrow==21.0.0", "pandas<3", "numpy<2.3", "statsmodels"),
}
NORMAL, RAIN, COUNT, CATEGORY = 30, 5, 5, 10
SLOW = ("evidently",)
OURS, ONE_THREAD = "headwater, both sides", "headwater, both sides, 1 thread"
KEPT_SMALL = "headwater, kept profile of 10,000 points"
READ_BOTH, READ_ONE = "reading both Parquet files", "reading the current Parquet file"


def names() -> tuple[list[str], list[str]]:
    """Numeric and categorical columns: 50 in all."""
    numeric = [f"normal_{n}" for n in range(NORMAL)]
    numeric += [f"rain_{n}" for n in range(RAIN)] + [f"count_{n}" for n in range(COUNT)]
    return numeric, [f"category_{n}" for n in range(CATEGORY)]


def generate(rows: int) -> None:
    """Writes reference and current of `rows` rows; every fifth column shifts a little."""
    import numpy as np
    import polars as pl

    WORK.mkdir(parents=True, exist_ok=True)
    for side, seed in (("reference", 1), ("current", 2)):
        file = data(side, rows)
        if file.exists():
            continue
        rng = np.random.default_rng(seed)
        columns: dict[str, Any] = {}
        for n in range(NORMAL):
            columns[f"normal_{n}"] = rng.normal(0.1 * (seed - 1) * (n % 5 == 0), 1, rows)
        for n in range(RAIN):
            columns[f"rain_{n}"] = rng.gamma(1.0, 1.0, rows) * (rng.random(rows) < 0.07 + 0.02 * (seed - 1))
        for n in range(COUNT):
            columns[f"count_{n}"] = rng.poisson(3 + 20 * n, rows)
        for n in range(CATEGORY):
            labels = np.array([f"level {k}" for k in range(5 + 20 * n)])
            columns[f"category_{n}"] = labels[(rng.random(rows) ** (1 + 0.1 * (seed - 1)) * len(labels)).astype(int)]
        pl.DataFrame(columns).write_parquet(file, statistics=False)


def data(side: str, rows: int) -> Path:
    """The Parquet file of one side."""
    return WORK / f"{side}-{rows}.parquet"


def ours(rows: int, threads: int | None = None) -> Callable[[], Any]:
    """Every statistic of both sides, exactly, and their report."""
    import polars as pl
    import scipy.special  # noqa: F401

    from headwater.drift import drift_statistics, report_frame

    def run() -> Any:
        sides = [pl.scan_parquet(data(side, rows)) for side in ("reference", "current")]
        return report_frame(drift_statistics(*sides, threads=threads)).height

    return run


def ours_one_thread(rows: int) -> Callable[[], Any]:
    """The same, in one thread."""
    return ours(rows, threads=1)


def ours_kept(rows: int) -> Callable[[], Any]:
    """Current data against a profile of the reference that was kept in a file, exactly."""
    return _kept(rows, None)


def ours_kept_small(rows: int) -> Callable[[], Any]:
    """The same with 10,000 values a column kept: KS off by 0.0001 at most."""
    return _kept(rows, 10_000)


def _kept(rows: int, points: int | None) -> Callable[[], Any]:
    import polars as pl
    import scipy.special  # noqa: F401

    from headwater.drift import drift_statistics, read_profile, report_frame

    def run() -> Any:
        current = pl.scan_parquet(data("current", rows))
        return report_frame(drift_statistics(read_profile(kept_file(rows, points)), current)).height

    return run


def kept_file(rows: int, points: int | None) -> Path:
    """The kept profile of the reference, which `keep` makes before the runs."""
    return WORK / f"profile-{points or 'exact'}-{rows}.parquet"


def keep(rows: int) -> None:
    """Profiles the reference, exactly and compressed."""
    import polars as pl

    from headwater.drift import profile, write_profile

    if all(kept_file(rows, points).exists() for points in (None, 10_000)):
        return
    whole = profile(pl.scan_parquet(data("reference", rows)))
    write_profile(whole, kept_file(rows, None))
    write_profile(whole.compress(10_000), kept_file(rows, 10_000))


def reading(rows: int) -> Callable[[], Any]:
    """Reading both sides, and nothing else."""
    return _reading(rows, "reference", "current")


def reading_one(rows: int) -> Callable[[], Any]:
    """Reading the current side: all that must be read beside a kept profile."""
    return _reading(rows, "current")


def _reading(rows: int, *sides: str) -> Callable[[], Any]:
    import polars as pl

    def run() -> Any:
        return sum(pl.read_parquet(data(side, rows)).height for side in sides)

    return run


def scipy(rows: int) -> Callable[[], Any]:
    """`ks_2samp` and `chi2_contingency`, column by column, read by Polars."""
    import numpy as np
    import polars as pl
    from scipy import stats

    numeric, categorical = names()

    def run() -> Any:
        sides = [pl.read_parquet(data(side, rows)) for side in ("reference", "current")]
        found = [stats.ks_2samp(*(side[name].to_numpy() for side in sides), method="asymp") for name in numeric]
        for name in categorical:
            counts = [dict(side[name].value_counts().iter_rows()) for side in sides]
            table = np.array([[count.get(k, 0) for k in {*counts[0], *counts[1]}] for count in counts])
            found.append(stats.chi2_contingency(table))
        return len(found)

    return run


def evidently(rows: int) -> Callable[[], Any]:
    """`DataDriftPreset` with KS and chi-squared, without rendering."""
    import warnings

    warnings.simplefilter("ignore")
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    numeric, categorical = names()
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)

    def run() -> Any:
        sides = [pd.read_parquet(data(side, rows)) for side in ("current", "reference")]
        current, reference = (Dataset.from_pandas(side, data_definition=definition) for side in sides)
        report = Report([DataDriftPreset(num_method="ks", cat_method="chisquare")])
        return len(report.run(current_data=current, reference_data=reference).dict()["metrics"])

    return run


def alibi_detect(rows: int) -> Callable[[], Any]:
    """`TabularDrift`: KS and chi-squared."""
    import warnings

    warnings.simplefilter("ignore")
    import numpy as np
    import pandas as pd
    from alibi_detect.cd import TabularDrift

    numeric, categorical = names()

    def run() -> Any:
        sides = [pd.read_parquet(data(side, rows)) for side in ("reference", "current")]
        codes = {
            name: {v: k for k, v in enumerate(pd.concat([s[name] for s in sides]).unique())} for name in categorical
        }
        arrays = []
        for side in sides:
            coded = [side[name].map(codes[name]).to_numpy(np.float64) for name in categorical]
            arrays.append(np.column_stack([side[numeric].to_numpy(np.float64), *coded]))
        levels = {len(numeric) + n: len(codes[name]) for n, name in enumerate(categorical)}
        found = TabularDrift(arrays[0], p_val=0.05, categories_per_feature=levels).predict(arrays[1])
        return len(found["data"]["p_val"])

    return run


def nannyml(rows: int) -> Callable[[], Any]:
    """`UnivariateDriftCalculator`: KS and chi-squared, one chunk."""
    import warnings

    warnings.simplefilter("ignore")
    import nannyml as nml
    import pandas as pd

    numeric, categorical = names()

    def run() -> Any:
        reference, current = (pd.read_parquet(data(side, rows)) for side in ("reference", "current"))
        calculator = nml.UnivariateDriftCalculator(
            column_names=numeric + categorical, treat_as_categorical=categorical, chunk_number=1,
            continuous_methods=["kolmogorov_smirnov"], categorical_methods=["chi2"],
        )  # fmt: skip
        return calculator.fit(reference).calculate(current).to_df().shape[1]

    return run


CONTESTANTS: dict[str, tuple[Callable[[int], Callable[[], Any]], str | None]] = {
    OURS: (ours, None),
    ONE_THREAD: (ours_one_thread, None),
    "headwater, kept profile": (ours_kept, None),
    KEPT_SMALL: (ours_kept_small, None),
    READ_BOTH: (reading, None),
    READ_ONE: (reading_one, None),
    "scipy": (scipy, None),
    "evidently": (evidently, None),
    "alibi-detect": (alibi_detect, "alibi-detect"),
    "nannyml": (nannyml, "nannyml"),
}


def child(name: str, rows: int) -> None:
    """One run, reported as a line of JSON."""
    run = CONTESTANTS[name][0](rows)
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    results = run()
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    record = {"wall": wall, "cpu": cpu, "megabytes": peak_megabytes(), "results": results}
    print(json.dumps(record))


def peak_megabytes() -> float:
    """Peak resident size of this process; `ru_maxrss` would count the parent's before the exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def warm(rows: int) -> None:
    """Brings the files into memory: who comes after a run of minutes would read them from the disk, and who comes next would not."""
    for file in WORK.glob(f"*-{rows}.parquet"):
        with file.open("rb") as opened:
            while opened.read(2**24):
                pass


def measure(name: str, rows: int) -> dict[str, float] | None:
    """One run in a process of its own; None when it failed, with its last line of error printed."""
    environment = CONTESTANTS[name][1]
    python = sys.executable if environment is None else str(ENVIRONMENTS / environment / "bin" / "python")
    pools = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    threads = dict.fromkeys(pools, "1") if name == ONE_THREAD else {}
    paths = {"PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}
    command = [python, str(Path(__file__).resolve()), "--one", name, "--rows", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **threads, **paths})
    if done.returncode:
        print(f"  {name} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}", file=sys.stderr)
        return None
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def install_peers() -> None:
    """Environments of their own for peers that do not go with ours."""
    for folder, requirements in PEERS.items():
        python = ENVIRONMENTS / folder / "bin" / "python"
        if python.exists():
            continue
        subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *requirements], check=True)


def tournament(contestants: list[str], rows: int, repeats: int, slow_repeats: int) -> dict[str, dict[str, float]]:
    """Medians by contestant, runs alternating."""
    generate(rows)
    keep(rows)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    for turn in range(repeats):
        for name in contestants:
            if name in SLOW and turn >= slow_repeats:
                continue
            warm(rows)
            found = measure(name, rows)
            if found is not None:
                runs[name].append(found)
    keys = ("wall", "cpu", "megabytes")
    return {
        name: {key: statistics.median(run[key] for run in found) for key in keys} | {"runs": len(found)}
        for name, found in runs.items()
        if found
    }


def table(found: dict[str, dict[str, float]]) -> str:
    """The medians as Markdown, beside ours."""
    unit = found[OURS]
    lines = [
        "| what | s | CPU s | peak MB | times our time | times our memory | runs |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        ratio, size = row["wall"] / unit["wall"], row["megabytes"] / unit["megabytes"]
        cells = f"{row['wall']:.2f} | {row['cpu']:.2f} | {row['megabytes']:.0f} | {ratio:.2f} | {size:.2f} | {row['runs']:.0f}"
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Runs the tournament and prints its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--slow-repeats", type=int, default=1)
    parser.add_argument("--peers", action="store_true", help="also alibi-detect and NannyML")
    parser.add_argument("--no-growth", action="store_true")
    parser.add_argument("--skip", action="append", default=[], help="a contestant to leave out, such as evidently")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        child(options.one, options.rows)
        return
    if options.peers:
        install_peers()
    chosen = [
        name for name, (_, env) in CONTESTANTS.items() if (env is None or options.peers) and name not in options.skip
    ]
    found: dict[str, Any] = {
        "rows": options.rows,
        "medians": tournament(chosen, options.rows, options.repeats, options.slow_repeats),
    }
    print(f"{options.rows:,} rows x {sum(map(len, names()))} columns\n\n{table(found['medians'])}\n")
    if not options.no_growth:
        sizes = [options.rows // 8 * factor for factor in (1, 2, 4, 8)]
        ours_only = [name for name in chosen if name.startswith(("headwater", "reading"))]
        found["growth"] = {size: tournament(ours_only, size, options.repeats, 1) for size in sizes}
        for size, medians in found["growth"].items():
            row = ", ".join(
                f"{name} {medians[name]['wall']:.2f} s {medians[name]['megabytes']:.0f} MB" for name in medians
            )
            print(f"{size:>9,}: {row}")
    report(found).finish()


def report(found: dict[str, Any]) -> Report:
    """The tournament as rows, bars and growth."""
    medians = found["medians"]
    unit, single = medians[OURS], medians[ONE_THREAD]
    bars = [
        Bar(
            what=f"{name}, times {read}",
            limit=2.0,
            measured=medians[name]["wall"] / medians[read]["wall"],
            at_least=False,
        )
        for name, read in ((OURS, READ_BOTH), (KEPT_SMALL, READ_ONE))
        if name in medians and read in medians
    ]
    for name, times in (("evidently", 50.0), ("alibi-detect", 1.0), ("nannyml", 1.0)):
        if name in medians:
            wall = medians[name]["wall"]
            bars.append(Bar(what=f"{name}, times our time", limit=times, measured=wall / unit["wall"]))
            share = unit["megabytes"] / medians[name]["megabytes"]
            bars.append(Bar(what=f"our memory as a share of {name}'s", limit=0.5, measured=share, at_least=False))
    growth: dict[str, dict[int, float]] = {}
    for factor, at in zip((1, 2, 4, 8), found.get("growth", {}).values(), strict=False):
        for name, row in at.items():
            growth.setdefault(name, {})[factor] = row["wall"]
    rows = [
        {"contender": name}
        | {f"{key}_s" if key != "megabytes" else "peak_MB": row[key] for key in ("wall", "cpu", "megabytes")}
        for name, row in medians.items()
    ]
    slow = "".join(
        f", {name} {medians[name]['wall'] / single['wall']:.1f}" for name in ("evidently", *PEERS) if name in medians
    )
    notes = [
        f"{found['rows']:,} rows x {sum(map(len, names()))} columns, from Parquet. Each uses as many threads as it takes "
        "by itself; the CPU column shows it.",
        f"Beside ours in one thread, the times are{slow[1:] or ' not measured'}.",
    ]
    return Report(name="drift", rows=rows, bars=bars, growth=growth, notes=notes)


if __name__ == "__main__":
    main()
