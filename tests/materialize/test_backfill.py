"""A changed feature over its history: partition by partition, each a commit; killed, it goes on with what is left."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl

from headwater.lake import EmbeddedLake

ROOT = Path(__file__).resolve().parents[2]
MONTHS = [f"2013-{month:02d}" for month in range(1, 13)]
FEATURE, DAYS = "toy/features/load", "toy/datasets/days"
PROGRAM = '''
import sys
from pathlib import Path

import polars as pl

from assets._plan import stale_assets
from headwater.lake import EmbeddedLake
from headwater.materialize import Run, materialize
from headwater.product import Inputs, Partitions, table

MONTHS = Partitions.months("2013-01", "2013-12")


@table("toy/datasets/days", partitions=MONTHS)
def days(inputs: Inputs, period: str) -> pl.DataFrame:
    """Two days of a month."""
    return pl.DataFrame({"day": [1, 2], "load": [10, 20]})


@table("toy/features/load", inputs=["toy/datasets/days"], partitions=MONTHS)
def load(inputs: Inputs, period: str) -> pl.DataFrame:
    """The load of each day of a month."""
    rows = inputs.table("toy/datasets/days").filter(pl.col("period") == period)
    return rows.select("period", "day", load=pl.col("load") * FACTOR).collect()


lake, state = EmbeddedLake.open(Path(sys.argv[1]) / "lake"), Path(sys.argv[1])
(state / "tmp").mkdir(exist_ok=True)
for asset in (days, load):
    if asset is days:
        todo = [key for key in MONTHS.keys if not (lake.at("main").has(days.path) and key in lake.at("main").entry(days.path).partitions)]
    else:
        todo = [one.partition for one in stale_assets(lake, [days, load], branch="main", landing=state / "landing") if one.path == load.path]
    for key in todo:
        done = materialize(lake, asset, partition=key, run=Run(actor="user:ada"), scratch=state / "tmp", state=state)
        if asset is load:
            print(key, done.status.value, flush=True)
            sys.stdin.readline()
'''


def program(folder: Path, factor: int) -> list[str]:
    file = folder / "program.py"
    file.write_text(PROGRAM.replace("FACTOR", str(factor)))
    return [sys.executable, str(file), str(folder)]


def run(command: list[str], *, until: int | None = None) -> list[str]:
    """The partitions that it built; killed for real after so many, with the next one under way."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line.split()[0])
            process.stdin.write("\n")  # it waits for this
            process.stdin.flush()
            if len(said) == until:
                process.send_signal(signal.SIGKILL)
                break
        said += [line.split()[0] for line in process.stdout]
    assert until is not None or process.returncode == 0
    return said


def loads(folder: Path) -> dict[str, int]:
    rows = EmbeddedLake.open(folder / "lake").at("main").table(FEATURE).collect()
    return dict(rows.group_by("period").agg(pl.col("load").sum()).iter_rows())


def test_a_killed_backfill_goes_on_with_the_months_that_are_left(tmp_path: Path) -> None:
    assert run(program(tmp_path, 1)) == MONTHS
    assert run(program(tmp_path, 1)) == []
    changed = program(tmp_path, 3)
    first = run(changed, until=4)
    standing = loads(tmp_path)
    new = [month for month in MONTHS if standing[month] == 90]
    assert first in (MONTHS[:4], MONTHS[:5])
    assert new in (first, MONTHS[:5])  # one may have been published and not told
    assert {standing[month] for month in MONTHS if month not in new} == {30}
    assert run(changed) == MONTHS[len(new) :]
    assert loads(tmp_path) == dict.fromkeys(MONTHS, 90)
    assert run(changed) == []
