"""One prediction over HTTP: the service beside MLflow, BentoML, MLServer, LitServe, Ray Serve and plain FastAPI.

All answer from the same LightGBM model, one row a request, one worker each, and get the same load from the same generator
(`_load.py`), which looks at every score that comes back. Ours is asked with an entity and a time, looks the features up and
logs durably before it answers; the others get the finished row of numbers and log nothing. With a built lake that has online
features the model is the released one of `flights`; without, a made-up one, and ours has nothing to answer from.

    python -m benchmarks.serving --peers                    # all, 1 to 64 connections: about 25 minutes
    python -m benchmarks.serving                            # ours alone
    python -m benchmarks.serving --peers --contender LitServe --contender headwater --rounds 2
    python -m benchmarks.serving --peers --state DIR        # the lake of another state folder

Each round starts each server anew, one at a time, in another order; figures are medians over the rounds. One wrong answer
makes a contender void. As root all of it runs in a network of its own; otherwise Ray Serve is left out, which listens
everywhere.
"""

import argparse
import os
import shutil
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks._contenders import (
    BARE,
    BENTOML,
    LITSERVE,
    MLFLOW,
    MLSERVER,
    OURS,
    PEERS,
    PLAIN,
    RAY,
    UNSYNCED,
    Contender,
    NotRunnableError,
    contender,
)  # fmt: skip
from benchmarks._environments import NotInstalledError
from benchmarks._isolation import loopback_only
from benchmarks._load import Load, apart
from benchmarks._measure import Bar, Curves, Report
from benchmarks._server import NotReadyError, serving
from benchmarks._subject import Subject, made_up, subject

HERE: Final = Path(__file__).resolve().parent
WORK: Final = HERE / ".work" / "serving"
CONNECTIONS: Final = (1, 2, 4, 8, 16, 32, 64)
FEW, MANY = 1, 16
MLFLOW_LATENCY, MLFLOW_RATE = 8.0, 15.0


@dataclass(kw_only=True)
class Found:
    """What was measured of each contender, and who has dropped out.

    Attributes:
        loads: By contender and connections, one a round.
        cpu: Milliseconds of the server's processor time a request with `MANY` connections, one a round.
        start: Seconds to the first right answer, one a round.
        out: Contender to why it is not in the table.
    """

    loads: dict[tuple[str, int], list[Load]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    start: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    out: dict[str, str] = field(default_factory=dict)

    def median(self, name: str, connections: int, figure: str) -> float:
        """Of one figure over the rounds."""
        return statistics.median(getattr(load, figure) for load in self.loads[name, connections])

    @property
    def names(self) -> list[str]:
        """Who was measured."""
        return [name for name in dict.fromkeys(name for name, _ in self.loads) if name not in self.out]


def gather(names: Sequence[str], what: Subject, state: Path, found: Found) -> list[Contender]:
    """The contenders that can run, installed; why the others cannot is put into `found`."""
    able = []
    for name in names:
        try:
            able.append(contender(name, what, state))
        except (NotRunnableError, NotInstalledError) as error:
            found.out[name] = str(error)
    if loopback_only():
        return able
    for item in able:
        if item.everywhere:
            found.out[item.name] = "it listens on every interface, and only root can give it a network of its own"
    return [item for item in able if not item.everywhere]


def measure(contenders: Sequence[Contender], found: Found, *, rounds: int, seconds: float, warm_up: float) -> None:
    """Adds rounds over all contenders that have not dropped out."""
    for number in range(rounds):
        turn = number % max(1, len(contenders))
        for item in (*contenders[turn:], *contenders[:turn]):
            if item.name not in found.out:
                try:
                    _one(item, found, seconds=seconds, warm_up=warm_up)
                except NotReadyError as error:
                    found.out[item.name] = str(error)


def _one(item: Contender, found: Found, *, seconds: float, warm_up: float) -> None:
    with serving(item, WORK) as server:
        found.start[item.name].append(server.start)
        for connections in CONNECTIONS:
            before = server.cpu()
            load = apart(server.job(connections=connections, seconds=seconds, warm_up=warm_up))
            if load.failures:
                found.out[item.name] = (
                    f"void: {load.failures} of {load.answers} answers were wrong, first {load.failure}"
                )
                return
            if connections == MANY:
                found.cpu[item.name].append(1_000 * (server.cpu() - before) / load.answers)
            found.loads[item.name, connections].append(load)
    few, many = (found.loads[item.name, connections][-1] for connections in (FEW, MANY))
    print(f"{item.name}: p50 {few.p50:.3f} ms alone, {many.per_second:,.0f} a second at {MANY}", flush=True)


def table(found: Found) -> list[dict[str, Any]]:
    """A line for each contender, fastest first."""
    lines = []
    for name in sorted(found.names, key=lambda name: found.median(name, FEW, "p50")):
        line: dict[str, Any] = {
            "contender": name,
            "p50_ms": found.median(name, FEW, "p50"),
            "p95_ms": found.median(name, FEW, "p95"),
            f"p95_ms_at_{MANY}": found.median(name, MANY, "p95"),
            f"per_second_at_{MANY}": found.median(name, MANY, "per_second"),
            "cpu_ms": statistics.median(found.cpu[name]),
            "start_s": statistics.median(found.start[name]),
        }
        if OURS in found.names:
            line["p50_times_ours"] = line["p50_ms"] / found.median(OURS, FEW, "p50")
            line["per_second_times_ours"] = line[f"per_second_at_{MANY}"] / found.median(OURS, MANY, "per_second")
        lines.append(line)
    return lines


def bars(found: Found) -> list[Bar]:
    """The promises about those that were measured; none without ours."""
    if OURS not in found.names:
        return []
    p50, rate = found.median(OURS, FEW, "p50"), found.median(OURS, MANY, "per_second")
    promised = []
    for name, limit in ((MLFLOW, MLFLOW_LATENCY), (PLAIN, 1.0)):
        if name in found.names:
            ratio = found.median(name, FEW, "p50") / p50
            promised.append(Bar(what=f"{name}, p50 of one connection, times ours", limit=limit, measured=ratio))
    for name, limit in ((MLFLOW, MLFLOW_RATE), (BENTOML, 1.0), (MLSERVER, 1.0), (LITSERVE, 1.0), (RAY, 1.0)):
        if name in found.names:
            ratio = rate / found.median(name, MANY, "per_second")
            promised.append(Bar(what=f"our requests a second at {MANY} connections, times {name}", limit=limit, measured=ratio))  # fmt: skip
    return promised


def curves(found: Found) -> list[Curves]:
    """Latency and rate against connections."""

    def lines(figure: str) -> Mapping[str, Mapping[int, float]]:
        return {name: {n: found.median(name, n, figure) for n in CONNECTIONS} for name in found.names}

    return [
        Curves(title="Latency against connections", x="connections", y="p50, ms", lines=lines("p50")),
        Curves(title="Requests a second against connections", x="connections", y="a second", lines=lines("per_second")),
    ]


def notes(what: Subject, found: Found, *, rounds: int, seconds: float) -> list[str]:
    """What a reader must know."""
    said = [
        f"{what.what}; p50_ms and p95_ms with {FEW} connection. Medians of {rounds} rounds of {seconds:g} s, each server started anew, one at a time.",
        "Ours looks features up and logs durably before it answers; the others get the finished row and do neither.",
        f"cpu_ms is the processor time of all of a server's processes for a request at {MANY} connections.",
    ]
    if UNSYNCED in found.names:
        said.append(
            f"`{UNSYNCED}` loses answers in a power cut, and differs in nothing else: what lies between is the disk's."
        )
    if MLFLOW in found.names:
        said.append(f"{MLFLOW} is asked with named columns and checks nothing: the middle one of three ways, and the one of the bars.")  # fmt: skip
    if BARE in found.names:
        own = found.median(BARE, MANY, "cpu")
        said.append(f"The load generator takes {own:.0f} µs of processor time a request, so it can send {1e6 / own:,.0f} a second.")  # fmt: skip
    return [*said, *(f"Not measured: {name}: {why}" for name, why in found.out.items())]


def main() -> None:
    """Measures and writes `results/serving.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--contender", action="append", choices=(OURS, UNSYNCED, *PEERS), default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--warm-up", type=float, default=0.7)
    parser.add_argument("--state", type=Path, default=os.environ.get("HEADWATER_STATE") or HERE.parent / ".headwater")
    parser.add_argument("--made-up", action="store_true", help="take the made-up model even if a lake has another")
    asked = parser.parse_args()
    shutil.rmtree(WORK, ignore_errors=True)
    what = made_up() if asked.made_up else subject(Path(asked.state))
    what.write(WORK)
    found = Found()
    names = [
        name
        for name in (OURS, UNSYNCED, *(PEERS if asked.peers else ()))
        if not asked.contender or name in asked.contender
    ]
    able = gather(names, what, Path(asked.state), found)
    measure(able, found, rounds=asked.rounds, seconds=asked.seconds, warm_up=asked.warm_up)
    report = Report(
        name="serving", rows=table(found), bars=bars(found), curves=curves(found),
        notes=notes(what, found, rounds=asked.rounds, seconds=asked.seconds),
    )  # fmt: skip
    if report.rows:
        report.finish()
    else:
        report.show()
    shutil.rmtree(WORK, ignore_errors=True)


if __name__ == "__main__":
    main()
