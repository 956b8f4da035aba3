"""A file system that is really full under the prediction log: what is refused, what is answered, and that nothing is silent."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Reply, Service
from tests.small_disk import small_disk

BATCH = 500
SEGMENT = 16 * 2**20


@pytest.fixture
def small(released: Released) -> Iterator[Path]:
    """The log's folder on a file system of its own, with room for one segment and a half."""
    with small_disk(released.folder / "serving" / "log" / PRODUCT, "24m") as folder:
        yield folder


class Asker:
    """Asks in batches, and remembers which answers it was told stand in the log, and which it was told do not."""

    def __init__(self, service: Service) -> None:
        self.service, self.number = service, 0
        self.logged: set[str] = set()
        self.unlogged: set[str] = set()

    def ask(self) -> Reply:
        self.number += 1
        body = {"instances": [{"entity": ENTITY, "time": TIME}] * BATCH, "id": f"b{self.number}"}
        reply = self.service.ask("POST", PREDICT, body)
        for one in reply.json.get("predictions", ()):
            (self.logged if one.get("logged", True) else self.unlogged).add(one["id"])
        return reply

    def until(self, holds: Callable[[Reply], bool]) -> Reply:
        for _ in range(400):
            if holds(reply := self.ask()):
                return reply
        raise AssertionError(f"not in {self.number} requests")


def metric(service: Service, name: str) -> float:
    said = service.get("/metrics").body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in said.splitlines() if line.startswith(f"{name}{{"))


def room(folder: Path, *, full: bool) -> None:
    """Takes all room that is left, or gives it back."""
    filler = folder / "filler"
    if not full:
        filler.unlink()
        return
    with filler.open("wb") as file:
        try:
            while True:
                os.write(file.fileno(), b"\0" * 2**20)
        except OSError:
            return


def test_a_full_disk_refuses_and_no_answer_goes_unlogged(
    released: Released, small: Path, start: Callable[..., Service]
) -> None:
    service = start()
    asker = Asker(service)
    room(small, full=True)
    refused = asker.until(lambda reply: reply.status != 200)
    assert (refused.status, refused.json["code"]) == (503, "log_full")
    assert {asker.ask().status for _ in range(5)} == {503}
    assert metric(service, "headwater_log_full") == 1
    assert metric(service, "headwater_unlogged_answers_total") == 0
    subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
    service.until(lambda: metric(service, "headwater_log_full") == 0)  # though nobody asks
    assert asker.unlogged == set()
    assert asker.ask().status == 200
    service.stop()
    assert {record.request_id for record in service.logged()} == asker.logged


def test_a_product_that_declares_so_is_answered_with_a_flag_and_counted(
    released: Released, small: Path, start: Callable[..., Service]
) -> None:
    released.release("all-at-once", "1.0.0", log_full="answer")
    service = start()
    asker = Asker(service)
    room(small, full=True)
    reply = asker.until(lambda reply: not reply.json["predictions"][0].get("logged", True))
    assert (reply.status, reply.headers["headwater-logged"]) == (200, "false")
    assert service.get("/v2/health/ready").status == 200
    named = service.predict(id="again")
    assert (named.json["logged"], service.predict(id="again").json["logged"]) == (False, False)
    tensors = [
        {"name": name, "shape": [1], "datatype": kind, "data": [value]}
        for name, kind, value in (
            ("who", "BYTES", "ann"),
            ("x", "INT64", 3),
            ("kind", "BYTES", "a"),
            ("order", "INT64", 5),
        )
    ]
    infer = service.ask("POST", f"/v2/models/{PRODUCT}/infer", {"inputs": tensors})
    assert (infer.status, infer.json["parameters"]["logged"]) == (200, False)
    assert metric(service, "headwater_log_full") == 1
    assert metric(service, "headwater_unlogged_answers_total") == len(asker.unlogged) + 2
    room(small, full=False)
    service.until(lambda: "logged" not in service.predict().json)
    assert metric(service, "headwater_log_full") == 0
    service.stop()
    assert {record.request_id for record in service.logged()} >= asker.logged
    assert not {record.request_id for record in service.logged()} & asker.unlogged


def test_a_disk_that_is_full_before_the_first_answer(
    released: Released, small: Path, start: Callable[..., Service]
) -> None:
    room(small, full=True)
    service = start(wait=False)
    service.until(lambda: PRODUCT in service.get("/v2/health/ready").json.get("troubles", {}))
    assert service.predict().json["code"] == "log_full"
    released.release("all-at-once", "1.0.0", log_full="answer")
    service.until(lambda: service.get("/v2/health/ready").status == 200)
    service.until(lambda: metric(service, "headwater_log_full") == 1)  # before anybody was answered unlogged
    assert metric(service, "headwater_unlogged_answers_total") == 0
    assert service.predict().json["logged"] is False
    released.release("all-at-once", "1.0.0", log_full="refuse")
    service.until(lambda: service.predict().status == 503)


@pytest.mark.parametrize("said", ["sometimes", 3, None])
def test_a_release_that_says_something_else_is_not_served(
    released: Released, start: Callable[..., Service], said: Any
) -> None:
    released.release("all-at-once", "1.0.0", log_full=said)
    service = start(wait=False)
    service.until(lambda: PRODUCT in service.get("/v2/health/ready").json.get("troubles", {}))
    assert service.predict().status == 503
