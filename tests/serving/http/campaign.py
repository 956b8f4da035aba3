"""Load for campaigns: callers over kept connections who remember what they were told, and services with a disk of their own kind."""

import http.client
import json
import sys
import textwrap
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Service

BROKEN = """
    from serving.engine import Engine
    def answer(self, asked, steps=None, log=0):
        raise ZeroDivisionError("planted")
    Engine.answer = answer
"""
"""A fault of the engine's own, for `with_disk`."""
FULL = """
    import errno, os, pathlib
    write, flag = os.pwrite, pathlib.Path({flag!r})

    def pwrite(file, data, offset):
        if flag.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data, offset)

    os.pwrite = pwrite
"""
"""A disk without room while a file is there."""
SLOW = """
    import os, time
    sync = os.fdatasync
    os.fdatasync = lambda file: (time.sleep({seconds}), sync(file))[1]
"""
"""A disk that takes some seconds for each sync."""
HANGS = """
    import os, pathlib, time
    sync, flag = os.fdatasync, pathlib.Path({flag!r})

    def fdatasync(file):
        while flag.exists():
            time.sleep(0.01)
        sync(file)

    os.fdatasync = fdatasync
"""
"""A disk that hangs while a file is there."""


@dataclass
class Callers:
    """Threads that ask until they are told to end, or until the service is gone.

    Attributes:
        answered: What was answered with 200, by the id asked with.
        refused: Other answers: status, code, and whether it said when to ask again.
        broken: Connections that ended without an answer.
    """

    service: Service
    name: str
    count: int = 4
    answered: dict[str, Any] = field(default_factory=dict)
    refused: list[tuple[int, str, bool]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> "Callers":
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.count)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def _ask(self, caller: int) -> None:
        connection, number = self.service.connect(), 0
        try:
            while not self.ended.is_set():
                number += 1
                self._one(connection, f"{self.name}-{caller}-{number}", number)
        except (OSError, http.client.HTTPException) as error:
            self.broken.append(f"{type(error).__name__}: {error}")
        finally:
            connection.close()

    def _one(self, connection: http.client.HTTPConnection, id: str, number: int) -> None:
        entity = {**ENTITY, "x": number % 50, "order": number}
        body: dict[str, Any] = {"entity": entity, "time": TIME, "id": id}
        if number % 10 == 0:
            body = {"instances": [{"entity": {**entity, "x": x}, "time": TIME} for x in range(3)], "id": id}
        connection.request("POST", PREDICT, json.dumps(body), {"content-type": "application/json", **self.headers})
        reply = connection.getresponse()
        found = json.loads(reply.read())
        if reply.status == 200:
            for one in found.get("predictions", [found]):
                self.answered[one["id"]] = one
        else:
            self.refused.append((reply.status, found["code"], reply.getheader("retry-after") is not None))


def check_log(service: Service, answered: dict[str, Any]) -> None:
    """Everything that was answered stands in the log as it was answered, and nothing stands there twice."""
    records = service.logged()
    by_id = {record.request_id: record for record in records}
    assert len(by_id) == len(records), "an answer stands in the log twice"
    missing = [id for id in answered if id not in by_id]
    assert not missing, f"{len(missing)} of {len(answered)} answers are not in the log, first {missing[:3]}"
    for id, one in answered.items():
        record = by_id[id]
        assert (record.score, record.version, record.decision) == (one["score"], one["version"], one["decision"])


def with_disk(folder: Path, patch: str) -> list[str]:
    """A command that runs the service with another disk: `patch` is Python that is run first."""
    script = folder / "serve_with_disk.py"
    script.write_text(textwrap.dedent(patch) + "\nfrom headwater.cli import main\nmain()\n")
    return [sys.executable, str(script)]
