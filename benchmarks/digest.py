"""The data-version digest in MB/s a core, against SHA-256 of the same bytes and against reading them from Parquet.

A MB is 10^6 bytes of the frame in memory as Arrow (64-bit string offsets included). Speed is by processor time, so that a
neighbour on the machine does not count; Polars is held to one thread.

    python -m benchmarks.digest [--rows 1000000] [--repetitions 5]
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import hashlib

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks._measure import Bar, Report, side_by_side
from headwater.lake._digest import digest_frame

BAR = 200.0


def frames(rows: int) -> dict[str, pl.DataFrame]:
    """Frames of one kind each, and the mix that the bar is about."""
    draw = np.random.default_rng(7)
    numbers = pl.DataFrame(
        {
            "id": np.arange(rows),
            "amount": draw.normal(size=rows),
            "score": draw.normal(size=rows).astype(np.float32),
            "count": draw.integers(0, 1000, rows).astype(np.int32),
            "late": draw.random(rows) < 0.2,
        }
    ).with_columns(at=pl.col("id").cast(pl.Datetime("us", "UTC")))
    texts = numbers.select(
        code=pl.col("count").cast(pl.String).str.zfill(3),
        name=pl.concat_str(pl.lit("customer-"), pl.col("id").cast(pl.String)),
        note=pl.when(pl.col("late")).then(pl.concat_str(pl.lit("a remark of some length, number "), pl.col("id").cast(pl.String))),
    )  # fmt: skip
    return {"numbers": numbers, "texts": texts, "mixed": pl.concat([numbers, texts], how="horizontal")}


def arrow(frame: pl.DataFrame) -> pa.Table:
    """The frame as Arrow, as the MB are counted."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def sha256(table: pa.Table) -> str:
    """SHA-256 of every buffer: the floor for a digest that knows nothing of rows."""
    digest = hashlib.sha256()
    for column in table.columns:
        for chunk in column.chunks:
            for buffer in chunk.buffers():
                if buffer is not None:
                    digest.update(buffer)
    return digest.hexdigest()


def main() -> None:
    """Measures and writes `results/digest.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=5)
    asked = parser.parse_args()
    lines, mixed_speed = [], 0.0
    for kind, frame in frames(asked.rows).items():
        table, megabytes = arrow(frame), arrow(frame).nbytes / 1e6
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.parquet"
            frame.write_parquet(file)
            contenders: dict[str, Callable[[], object]] = {
                "digest": lambda frame=frame: digest_frame(frame).hex,  # type: ignore[misc]
                "sha256 of the buffers": lambda table=table: sha256(table),  # type: ignore[misc]
                "reading Parquet": lambda file=file: pl.read_parquet(file),  # type: ignore[misc]
            }
            for timing in side_by_side(contenders, repetitions=asked.repetitions).values():
                speed = megabytes / timing.cpu
                lines.append(
                    {"data": kind, "contender": timing.name, "MB": megabytes, "cpu_s": timing.cpu, "wall_s": timing.wall, "MB_per_s": speed}
                )  # fmt: skip
                if (kind, timing.name) == ("mixed", "digest"):
                    mixed_speed = speed
    growth = {}
    for factor in (1, 2, 4, 8):
        frame = frames(asked.rows * factor // 8)["mixed"]
        (timing,) = side_by_side({"digest": lambda frame=frame: digest_frame(frame).hex}, repetitions=3).values()  # type: ignore[misc]
        growth[factor] = timing.cpu
    report = Report(
        name="digest",
        rows=lines,
        bars=[Bar(what="MB/s a core, mixed columns", limit=BAR, measured=mixed_speed)],
        growth={f"digest of {asked.rows // 8} to {asked.rows} mixed rows": growth},
        notes=["MB are Arrow bytes in memory; speed is by processor time of one thread."],
    )
    report.finish()


if __name__ == "__main__":
    main()
