"""Who serves the model: how each is started, asked and read. Their scripts are below `_peers/`, one each.

Each gets one worker and what its own pages advise for a small model on a processor. Uvicorn comes with its fast parts
(uvloop, httptools) wherever it is used, whether or not the peer asks for them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks._environments import environment
from benchmarks._subject import PRODUCT, Subject

OURS, UNSYNCED = "headwater", "headwater, --no-sync"
PLAIN, BARE = "FastAPI, no log, no lookup", "uvicorn alone, no model"
BARE_MODEL: Final = "uvicorn and the booster, nothing else"
MLFLOW_SIGNED, MLFLOW_TENSOR = "MLflow, signature of the columns", "MLflow, one tensor"
MLFLOW, BENTOML, MLSERVER, LITSERVE, RAY = "MLflow", "BentoML", "MLServer", "LitServe", "Ray Serve"
_PEERS: Final = Path(__file__).resolve().parent / "_peers"
_LIGHTGBM, _UVICORN = "lightgbm==4.7.0", "uvicorn[standard]==0.54.0"
_FASTAPI: Final = ("fastapi==0.163.2", _UVICORN, _LIGHTGBM)
_QUIET: Final = {
    "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}  # fmt: skip


class NotRunnableError(Exception):
    """A contender cannot run here; says why."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One server.

    Attributes:
        name: In the table.
        command: Makes the command line from the folder of the subject and a port.
        path: Of its endpoint.
        bodies: JSON bodies of the subject's rows.
        scores: What must come back for each.
        at: Way to the score in an answer.
        environment: Variables of its process beyond ours.
        everywhere: It listens on every interface, whatever it is told, so it needs a network of its own.
    """

    name: str
    command: Callable[[Path, int], Sequence[str]]
    path: str
    bodies: Sequence[str]
    scores: Sequence[float]
    at: Sequence[str | int]
    environment: Mapping[str, str] = field(default_factory=dict)
    everywhere: bool = False


@dataclass(frozen=True, kw_only=True)
class _Peer:
    script: str
    requirements: tuple[str, ...]
    path: str = "/predict"
    at: tuple[str | int, ...] = ("score",)
    words: tuple[str, ...] = ()
    everywhere: bool = False


def _mlflow(how: str) -> _Peer:
    needs = ("mlflow==3.17.2", _UVICORN, _LIGHTGBM)
    return _Peer(script="mlflow_app", requirements=needs, path="/invocations", at=("predictions", 0), words=(how,))


_KNOWN: Final[Mapping[str, _Peer]] = {
    BARE: _Peer(script="bare_asgi", requirements=_FASTAPI, words=("empty",)),
    BARE_MODEL: _Peer(script="bare_asgi", requirements=_FASTAPI, words=("model",)),
    PLAIN: _Peer(script="fastapi_app", requirements=_FASTAPI),
    MLFLOW: _mlflow("columns"),
    MLFLOW_SIGNED: _mlflow("signed"),
    MLFLOW_TENSOR: _mlflow("tensor"),
    BENTOML: _Peer(script="bento_app", requirements=("bentoml==1.4.39", _UVICORN, _LIGHTGBM)),
    MLSERVER: _Peer(
        script="mlserver_app", requirements=("mlserver==1.7.1", "mlserver-lightgbm==1.7.1", _UVICORN, _LIGHTGBM),
        path="/v2/models/bench/infer", at=("outputs", 0, "data", 0),
    ),
    LITSERVE: _Peer(script="litserve_app", requirements=("litserve==0.2.19", _UVICORN, _LIGHTGBM)),
    RAY: _Peer(script="ray_app", requirements=("ray[serve]==2.60.0", _UVICORN, _LIGHTGBM), everywhere=True),
}  # fmt: skip
PEERS: Final = tuple(_KNOWN)


def contender(name: str, subject: Subject, state: Path) -> Contender:
    """One of `OURS`, `UNSYNCED` and `PEERS`, installed.

    Raises:
        NotRunnableError: Ours lacks a lake or the command.
        NotInstalledError: Pip could not install the peer.
    """
    if name in (OURS, UNSYNCED):
        return ours(subject, state, name=name)
    peer = _KNOWN[name]
    place = "fastapi" if peer.requirements == _FASTAPI else peer.script.partition("_")[0]
    python = environment(place, peer.requirements)
    return Contender(
        name=name,
        command=lambda folder, port: [
            str(python),
            str(_PEERS / f"{peer.script}.py"),
            str(folder),
            str(port),
            *peer.words,
        ],
        path=peer.path,
        bodies=[json.dumps(_body(name, row, subject.names)) for row in subject.rows],
        scores=[0.5] * len(subject.rows) if name == BARE else subject.scores,
        at=peer.at,
        environment=_QUIET,
        everywhere=peer.everywhere,
    )


def _body(name: str, row: Sequence[float | None], names: Sequence[str]) -> dict[str, Any]:
    if name == MLFLOW_TENSOR:
        return {"inputs": [list(row)]}
    if name in (MLFLOW, MLFLOW_SIGNED):
        return {"dataframe_split": {"columns": list(names), "data": [list(row)]}}
    if name == MLSERVER:
        tensor = {"name": "rows", "shape": [1, len(row)], "datatype": "FP64", "data": list(row)}
        return {"inputs": [tensor]}
    return {"features": list(row)}


def ours(subject: Subject, state: Path, *, name: str) -> Contender:
    """The prediction service over a copy of the lake: lookup and durable log, as always. The one place that knows its contract.

    `UNSYNCED` leaves out the sync of the log alone: between the two lies what the disk takes.

    Raises:
        NotRunnableError: The lake has no release with online features, or this Headwater has no service.
    """
    if subject.questions is None:
        raise NotRunnableError(
            f"no release of {PRODUCT} with online features in the lake below {state.name}: build one first"
        )
    start = [sys.executable, "-m", "headwater.cli", "serve"]
    if subprocess.run([*start, "--help"], capture_output=True, check=False).returncode:
        raise NotRunnableError("this Headwater has no command `serve`")
    return Contender(
        name=name,
        command=lambda folder, port: [*start, "--port", str(port), *(["--no-sync"] if name == UNSYNCED else [])],
        path=f"/v1/{PRODUCT}:predict",
        bodies=[json.dumps(question) for question in subject.questions],
        scores=subject.scores,
        at=("score",),
        environment={"HEADWATER_STATE": str(copied(state)), "OMP_NUM_THREADS": "1"},
    )


def copied(state: Path) -> Path:
    """A state folder with the same lake, so that what is measured leaves no predictions in the user's log."""
    copy = Path(__file__).resolve().parent / ".work" / "serving" / "state"
    if not copy.is_dir():
        copy.mkdir(parents=True)
        subprocess.run(["cp", "-a", os.fspath(state / "lake"), os.fspath(copy / "lake")], check=True)
    return copy
