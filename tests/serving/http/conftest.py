"""The real service in a process of its own, over a lake with a released toy product."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from serving.prediction_log import PredictionRecord, decode_record, read_frames, segments
from tests.serving.conftest import PRODUCT, Released

ROOT = Path(__file__).parents[3]
ENTITY = {"who": "ann", "x": 3, "kind": "a", "order": 5}
TIME = "2013-03-10T07:00:00Z"
PREDICT = f"/v1/{PRODUCT}:predict"


class Reply(NamedTuple):
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Service:
    """A running service."""

    def __init__(self, state: Path, *options: str, wait: bool = True, program: Sequence[str] = ()) -> None:
        self.state = state
        environment = {**os.environ, "HEADWATER_STATE": str(state), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        program = program or [sys.executable, "-m", "headwater.cli"]
        command = [*program, "serve", "--port", "0", "--follow", "0.1", *options]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        self.port = int(self.first_line.split(":")[2].split()[0]) if "http" in self.first_line else 0
        if wait:
            self.until(lambda: self.get("/v2/health/ready").status == 200)

    def until(self, holds: Callable[[], bool], seconds: float = 60) -> None:
        """Waits until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            assert self.process.poll() is None, self.stop()
            assert time.monotonic() < end, "it never held"
            time.sleep(0.02)

    def connect(self) -> http.client.HTTPConnection:
        """A connection of the caller's own."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """One request on a connection of its own."""
        connection = self.connect()
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            kind = {"content-type": "application/json"} if data is not None else {}
            connection.request(method, path, body=data, headers={**kind, **(headers or {})})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        """GET."""
        return self.ask("GET", path, headers=headers)

    def predict(self, entity: Mapping[str, Any] | None = None, **more: Any) -> Reply:
        """A prediction for the usual entity, some of it changed."""
        return self.ask("POST", PREDICT, {"entity": {**ENTITY, **(entity or {})}, "time": TIME, **more})

    def logged(self, product: str = PRODUCT) -> list[PredictionRecord]:
        """What the log of a product holds."""
        return logged(self.state, product)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Ends it; its exit code and what it wrote."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def logged(state: Path, product: str = PRODUCT) -> list[PredictionRecord]:
    """What the prediction log of a product holds."""
    folder = state / "serving" / "log" / product
    frames = (frame for segment in segments(folder) for frame in read_frames(segment))
    return [decode_record(record) for frame in frames for record in frame.records]


@pytest.fixture(scope="module")
def shared_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("state")
    made = Released(state)
    made.model("1.0.0", slope=1)
    made.model("1.1.0", slope=7)
    made.online(10)
    made.release("all-at-once", "1.0.0")
    return state


@pytest.fixture(scope="module")
def service(shared_state: Path) -> Iterator[Service]:
    """One service for all tests that leave it as it was."""
    found = Service(shared_state)
    yield found
    found.stop()


@pytest.fixture
def start(released: Released) -> Iterator[Callable[..., Service]]:
    """Starts services over a lake of the test's own."""
    started: list[Service] = []

    def begin(*options: str, wait: bool = True, program: Sequence[str] = ()) -> Service:
        started.append(Service(released.folder, *options, wait=wait, program=program))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        if one.process.stdout is not None and not one.process.stdout.closed:
            one.process.communicate(timeout=60)


def versions(replies: Sequence[Reply]) -> set[str]:
    """Which versions answered."""
    return {reply.json["version"] for reply in replies}


def is_refused(port: int) -> bool:
    """Whether nobody takes new connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except ConnectionError:
        return True
    return False
