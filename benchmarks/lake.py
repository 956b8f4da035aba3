"""The embedded lake beside a full copy, DVC and a bare Delta write, side by side in one run.

    python -m benchmarks.lake                   # ours, a full copy, a bare write: at 10,000 files, and growth
    python -m benchmarks.lake --peers           # and DVC, in an environment of its own under benchmarks/.envs/
    python -m benchmarks.lake --files 1000 --repeats 5

"Branch and commit" means: from a state of N files, branch, change one file, commit it durably. For the copy that is a copy
of the folder; for DVC `git checkout -b`, `dvc add`, `git commit`. "Append" means: 100 rows added to a Delta table, in a
transaction of the lake (durable: synced, one commit) or by `write_deltalake` alone (not synced). Runs alternate, the table
shows medians, each run on a disk that owes nothing.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks._measure import Bar, Report

HERE = Path(__file__).resolve().parent
WORK = HERE / ".work" / "lake"
ENVIRONMENT = HERE / ".envs" / "dvc"
PEER = "dvc==3.67.0"
BRANCH, COPY, DVC = "branch and commit, lake", "branch and commit, full copy", "branch and commit, DVC"
APPEND, BARE = "append 100 rows, lake transaction", "append 100 rows, bare write_deltalake"
ROWS = 400_000
FOLDER_FILES = 100
FILE_BYTES = 2_000


def fill(folder: Path, files: int) -> None:
    """Folders of `FOLDER_FILES` random files each, `files` in all."""
    for number in range(files):
        target = folder / f"asset_{number // FOLDER_FILES}" / str(number % FOLDER_FILES)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(os.urandom(FILE_BYTES))


def lake_branch_and_commit(source: Path, place: Path) -> Callable[[int], None]:
    """Ours: one row for the branch, one transaction for the commit."""
    from headwater.lake import EmbeddedLake

    lake = EmbeddedLake.open(place)
    with lake.transaction() as tx:
        for folder in sorted(source.iterdir()):
            tx.write_folder(f"bench/{folder.name}", folder)
        tx.publish(message="Fill", provenance=None)
    one = place.parent / "one"
    one.mkdir()

    def run(number: int) -> None:
        lake.create_branch(f"branch-{number}")
        (one / "file").write_bytes(os.urandom(FILE_BYTES))
        with lake.transaction(into=f"branch-{number}") as tx:
            tx.write_folder("bench/changed", one)
            tx.publish(message="Change", provenance=None)

    return run


def copy_and_change(source: Path, place: Path) -> Callable[[int], None]:
    """A full copy of the folder, and one file changed in it."""

    def run(number: int) -> None:
        target = place / str(number)
        shutil.copytree(source, target)
        (target / "asset_0" / "0").write_bytes(os.urandom(FILE_BYTES))

    return run


def dvc_branch_and_commit(source: Path, place: Path) -> Callable[[int], None]:
    """DVC over Git; telemetry off."""
    if not (ENVIRONMENT / "bin" / "dvc").exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run([str(ENVIRONMENT / "bin" / "pip"), "install", "-q", PEER], check=True)
    place.mkdir()

    def call(*command: str) -> None:
        subprocess.run(command, cwd=place, check=True, capture_output=True)

    dvc = str(ENVIRONMENT / "bin" / "dvc")
    call("git", "init", "-q")
    call("git", "config", "user.email", "bench@example.com")
    call("git", "config", "user.name", "bench")
    call(dvc, "init", "-q")
    call(dvc, "config", "core.analytics", "false")
    shutil.copytree(source, place / "data")
    call(dvc, "add", "-q", "data")
    call("git", "add", "-A")
    call("git", "commit", "-qm", "Fill")

    def run(number: int) -> None:
        call("git", "checkout", "-q", "-b", f"branch-{number}")
        (place / "data" / "asset_0" / "0").write_bytes(os.urandom(FILE_BYTES))
        call(dvc, "add", "-q", "data")
        call("git", "commit", "-qam", "Change")

    return run


def appends(place: Path, standing: int = 0) -> dict[str, Callable[[int], None]]:
    """100 rows added to a table with `standing` rows, in the lake and bare."""
    import polars as pl
    from deltalake import write_deltalake

    from headwater.lake import EmbeddedLake, WriteMode

    def rows(count: int) -> pl.DataFrame:
        numbers = range(count)
        return pl.DataFrame(
            {"id": numbers, "text": [str(n) for n in numbers], "value": [n / 3 for n in numbers]},
            schema={"id": pl.Int64, "text": pl.String, "value": pl.Float64},
        )

    hundred = rows(100)
    lake = EmbeddedLake.open(place / "lake")
    bare = str(place / "bare")

    def ours(number: int) -> None:
        with lake.transaction() as tx:
            tx.write_table("bench/table", hundred, mode=WriteMode.APPEND)
            tx.publish(message="Append", provenance=None)

    if standing:
        write_deltalake(bare, rows(standing))
        with lake.transaction() as tx:
            tx.write_table("bench/table", rows(standing))
            tx.publish(message="Fill", provenance=None)
    return {APPEND: ours, BARE: lambda number: write_deltalake(bare, hundred, mode="append")}


def medians(contestants: dict[str, Callable[[int], None]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each, runs alternating; the first run of each does not count."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(repeats + 1):
        for name, run in contestants.items():
            os.sync()  # what one left to the disk is not for the next to wait for
            start = time.perf_counter()
            run(number)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: round(statistics.median(values[1:]), 2) for name, values in times.items()}


def measure(files: int, repeats: int, *, peers: bool = False, copies: bool = True) -> dict[str, float]:
    """Median milliseconds of branch and commit at one size."""
    shutil.rmtree(WORK, ignore_errors=True)
    source = WORK / "source"
    fill(source, files)
    contestants = {BRANCH: lake_branch_and_commit(source, WORK / "lake")}
    if copies:
        contestants[COPY] = copy_and_change(source, WORK / "copies")
    if peers:
        contestants[DVC] = dvc_branch_and_commit(source, WORK / "dvc")
    found = medians(contestants, repeats)
    shutil.rmtree(WORK, ignore_errors=True)
    return found


def measure_appends(repeats: int, standing: int = 0) -> dict[str, float]:
    """Median milliseconds of an append to a table with `standing` rows."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    found = medians(appends(WORK, standing), repeats)
    shutil.rmtree(WORK, ignore_errors=True)
    return found


def results(files: int = 10_000, repeats: int = 9, *, peers: bool = False) -> Report:
    """All figures: at `files`, appends, and growth from an eighth."""
    found = measure(files, repeats, peers=peers)
    added = measure_appends(4 * repeats)
    others = [name for name in (COPY, DVC) if name in found]
    bars = [Bar(what=f"{name}, times ours", limit=100, measured=found[name] / found[BRANCH]) for name in others]
    bars.append(Bar(what="times a bare write_deltalake", limit=3, measured=added[APPEND] / added[BARE], at_least=False))
    factors = (1, 2, 4, 8)
    growth = {
        f"{BRANCH}, {files // 8} to {files} files": {
            n: measure(files // 8 * n, repeats, copies=False)[BRANCH] / 1000 for n in factors
        },
        f"{APPEND}, to {ROWS // 8} to {ROWS} rows": {
            n: measure_appends(2 * repeats, ROWS // 8 * n)[APPEND] / 1000 for n in factors
        },
    }
    rows = [{"contender": name, "wall_s": taken / 1000} for name, taken in {**found, **added}.items()]
    notes = [
        f"{files} files of {FILE_BYTES} bytes. Ours is durable: one commit, synced; a copy, DVC and a bare write are not.",
        "Everything written before is synced before each run, so that nobody waits for another's writes.",
    ]
    return Report(name="lake", rows=rows, bars=bars, growth=growth, notes=notes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and writes `results/lake.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--peers", action="store_true")
    given = parser.parse_args(arguments)
    report = results(given.files, given.repeats, peers=given.peers)
    report.finish()


if __name__ == "__main__":
    main()
