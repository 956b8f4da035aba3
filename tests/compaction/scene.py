"""A toy product with a lake, labels and a prediction log; and the processes that tests kill, as a program.

`python -m tests.compaction.scene write STATE NAME` answers for ever and prints each answer's id once it is durable.
`python -m tests.compaction.scene compact STATE [STEP]` compacts for ever, or dies at a step.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from assets._chain._predictions import predictions_asset
from headwater.decisions import Rollout, RolloutRules
from headwater.lake import EmbeddedLake, Lake
from headwater.lake import _steps as steps
from headwater.materialize import Outcome, Run, materialize, read_positions
from headwater.product import Labels, Model, Product, Serving
from serving.prediction_log import LogWriter, PredictionRecord, encode_record

LABELS: Final = "toy/labels"
PATH: Final = "toy/predictions"
SMALL: Final = 20_000
"""Bytes of a segment: a writer fills several a second."""
START: Final = datetime(2026, 5, 1, tzinfo=UTC)
LABEL_ROWS: Final = pl.DataFrame(
    {"who": ["ann"], "hour": [START], "number": [1], "y": [0]},
    schema={"who": pl.String, "hour": pl.Datetime("us", "UTC"), "number": pl.Int32, "y": pl.Int8},
)


def product(**serving: Any) -> Product:
    return Product(
        name="toy",
        question="Does it hold?",
        owners=("team:toy",),
        labels=Labels(path=LABELS, key=("who", "hour", "number"), time="hour", label="y"),
        model=Model(features=("x",)),
        serving=Serving(**serving),
        rollout=Rollout(rules=RolloutRules(watch=timedelta(0))),  # what is watched has to be kept for longer
    )


def microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def record(id: str, **changes: Any) -> PredictionRecord:
    usual: dict[str, Any] = {
        "request_id": id, "product": "toy", "at": microseconds(START), "received": microseconds(START), "latency": 900,
        "version": "1.0.0", "variant": "1.0.0", "score": 0.25, "decision": False, "propensity": 1.0,
        "request": {"who": id.partition(":")[0], "hour": microseconds(START), "number": 7},
        "features": {"x": 1.5, "c": None}, "commit": "abc", "trace": id,
    }  # fmt: skip
    return PredictionRecord(**{**usual, **changes})


def verdicts(outcome: Outcome) -> dict[str, bool]:
    return {check.name: check.passed for check in outcome.checks}


class Scene:
    """A state folder with a lake that holds labels, and a prediction log."""

    def __init__(self, state: Path, **serving: Any) -> None:
        self.state, self.log = state, state / "serving" / "log" / "toy"
        self.asset = predictions_asset(product(**serving))
        self.lake: Lake = EmbeddedLake.open(state / "lake")

    def label(self, rows: pl.DataFrame = LABEL_ROWS) -> None:
        with self.lake.transaction() as tx:
            tx.write_table(LABELS, rows)
            tx.publish(message="Labels", provenance=None)

    def answer(self, records: Iterable[PredictionRecord | bytes], **how: Any) -> None:
        """One writer with one segment, each record a frame of its own."""
        log = LogWriter(self.log, **how)
        for item in records:
            log.append([item if isinstance(item, bytes) else encode_record(item)])
        log.close()

    def compact(self, **more: Any) -> Outcome:
        return materialize(self.lake, self.asset, run=Run(actor="test"), state=self.state, **more)

    def rows(self) -> pl.DataFrame:
        return self.lake.at("main").table(PATH).collect()

    def ids(self) -> list[str]:
        return sorted(self.rows()["request_id"])

    def rejected(self) -> pl.DataFrame:
        return self.lake.at("main").table(f"{PATH}.rejected").collect()

    def positions(self) -> Any:
        return read_positions(self.lake.at("main"), PATH)

    def commits(self) -> int:
        return len(list(self.lake.log("main")))

    def segments(self) -> list[str]:
        """The files of the log, but for the marks of segments that went."""
        return sorted(file.name for file in self.log.glob("*") if file.suffix != ".taken")


def write(state: Path, name: str) -> None:
    """Answers for ever: an id is printed once its record is durable."""
    log, number = LogWriter(Scene(state).log, segment_bytes=SMALL), 0
    while True:
        ids = [f"{name}:{number + k}" for k in range(1 + number % 5)]
        log.append([encode_record(record(id)) for id in ids])
        number += len(ids)
        print("\n".join(ids), flush=True)


def compact(state: Path, step: str = "") -> None:
    """Compacts for ever, or until a step is reached."""
    scene = Scene(state)
    print("ready", flush=True)
    if step == "before_settling":
        die_before(scene)
    elif step:
        steps.hook = lambda reached: os.kill(os.getpid(), signal.SIGKILL) if reached == step else None
    while True:
        scene.compact()


def die_before(scene: Scene) -> None:
    """Dies when a feed is about to forget what a commit holds that was just made."""
    feed: Any = scene.asset.feed

    def settle(folder: Path, positions: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    object.__setattr__(feed, "settle", settle)


if __name__ == "__main__":
    known: dict[str, Callable[..., None]] = {"write": write, "compact": compact}
    known[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
