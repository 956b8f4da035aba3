"""The real service of a replay: a process of its own, asked over HTTP."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headwater.cli._guarded import guarded, named_to
from headwater.replay import ReplayDay, ReplayError

if TYPE_CHECKING:
    from resources.settings import Settings

_CONNECTIONS: Final = 8
_PATIENCE: Final = 120.0
_HEADERS: Final = {"content-type": "application/json"}


class ServiceLostError(ReplayError):
    """The service of a replay ended, or answers otherwise than it should."""


class Service:
    """The real service in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, product: str) -> None:
        self._process, self._port, self._product = process, port, product

    def ask(self, day: ReplayDay) -> list[float]:
        """Asks what is asked on a day over several connections; seconds of each answer. Raises ServiceLostError.

        The first request comes in alone: it says when a stage of a rollout began, in each play of that day the same.
        """
        taken: list[float] = []
        problems: list[str] = []
        self._ask(day.requests[:1], taken, problems)
        rest = day.requests[1:]
        askers = [
            threading.Thread(target=self._ask, args=(rest[place::_CONNECTIONS], taken, problems))
            for place in range(_CONNECTIONS)
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        if problems:
            raise ServiceLostError(
                f"{len(problems)} of {len(day.requests)} requests of {day.day} were not answered. The first: {problems[0]}"
            )
        return taken

    def _ask(self, requests: Sequence[Any], taken: list[float], problems: list[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            for request in requests:
                body = {"entity": request.entity, "time": request.at.isoformat(), "id": request.id}
                begun = time.perf_counter()
                connection.request("POST", f"/v1/{self._product}:predict", json.dumps(body), _HEADERS)
                answer = connection.getresponse()
                said = answer.read()
                taken.append(time.perf_counter() - begun)
                if answer.status != 200:
                    problems.append(f"{request.id}: {answer.status} {said[:300].decode(errors='replace')}")
        except (OSError, http.client.HTTPException) as error:
            problems.append(f"{type(error).__name__}: {error}")
        finally:
            connection.close()

    def follow(self, commit: str) -> None:
        """Waits until the service has looked at a commit. Raises ServiceLostError."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            found = self._products()
            if found.get("seen") == commit:
                if troubles := found.get("troubles"):
                    raise ServiceLostError(f"The service cannot serve the newest release: {troubles}")
                return
            time.sleep(0.05)
        raise ServiceLostError(f"The service did not look at commit {commit[:12]} within {_PATIENCE:.0f} s.")

    def _products(self) -> Mapping[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", "/v1/products")
            found: Mapping[str, Any] = json.loads(connection.getresponse().read())
            return found
        except OSError as error:
            raise ServiceLostError(f"The service ended: {error}.") from error
        finally:
            connection.close()


@contextmanager
def service_of(settings: "Settings", product: str) -> Iterator[Service]:
    logs = settings.state / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    options = ["--port", "0", "--product", product, "--follow", "0.2", "--plays"]
    command = [sys.executable, "-m", "headwater.cli", "serve", *options]
    environment = {**os.environ, "HEADWATER_STATE": str(settings.state), "PYTHONUNBUFFERED": "1"}
    with guarded() as guard, (logs / "replay-service.log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True,
            process_group=0, preexec_fn=named_to(guard),
        )  # fmt: skip
        try:
            yield Service(process, _port(process, logs / "replay-service.log"), product)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _port(process: "subprocess.Popen[str]", log: Path) -> int:
    """The port that the service says, once it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if "http://" not in line:
        raise ServiceLostError(f"The service did not start. Its log is {log}.")
    port, end = int(line.split(":")[2].split()[0]), time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return port
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise ServiceLostError(f"The service was not ready within {_PATIENCE:.0f} s. Its log is {log}.")
