"""A version that fails on a request fails that request alone: not others of its turn, other products, other versions."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headwater.names import NO_VERSION
from serving.policies import Canary, Shadow
from tests.serving.conftest import OTHER, PRODUCT, Released
from tests.serving.http.campaign import SLOW, with_disk
from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Reply, Service
from tests.serving.http.test_failures import counted
from tests.serving.toy import TOUCHY

POISON = 1_313
"""A value of `x` at which the function of `TOUCHY` asserts."""


def body(x: int, id: str) -> dict[str, Any]:
    return {"entity": {**ENTITY, "x": x}, "time": TIME, "id": id}


def together(service: Service, *asks: tuple[str, dict[str, Any]]) -> list[Reply]:
    """Answers to requests that wait for the same turn: they come while the log is busy with another one."""
    replies: dict[int, Reply] = {}

    def ask(place: int, path: str, said: dict[str, Any]) -> None:
        replies[place] = service.ask("POST", path, said)

    threads = [threading.Thread(target=ask, args=(place, *one)) for place, one in enumerate(asks)]
    first = threading.Thread(target=service.predict)
    first.start()
    for thread in threads:
        thread.start()
    for thread in (first, *threads):
        thread.join()
    return [replies[place] for place in range(len(asks))]


def faults_told(said: str) -> list[dict[str, Any]]:
    """Lines of the service's log that tell of a version's fault."""
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == "a version fails on requests by a fault of its own"]


def test_an_assertion_in_one_products_function_fails_that_request_and_nobody_else(
    released: Released, beside: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    """All who waited for the same turn got 500, those of another product too, and its version was sent back for it."""
    released.model("2.0.0", slope=7, on_demand=(TOUCHY,))
    released.release("all-at-once", "2.0.0")
    service = start(program=with_disk(tmp_path, SLOW.format(seconds=0.5)))
    ours, theirs = PREDICT, f"/v1/{OTHER}:predict"
    replies = together(
        service,
        (ours, body(3, "good")),
        (ours, body(POISON, "poison")),
        (theirs, body(3, "other")),
        (ours, {"instances": [{"entity": ENTITY, "time": TIME}], "id": "batch"}),
        (ours, body(-1, "refused")),
    )
    assert [reply.status for reply in replies] == [200, 500, 200, 200, 422]
    assert (replies[1].json["code"], "AssertionError" in replies[1].json["error"]) == ("failed", True)
    assert "1313" not in replies[1].json["error"], "what the function says is for the service's log"
    pair = [{"entity": {**ENTITY, "x": x}, "time": TIME} for x in (3, POISON, -1)]
    assert service.ask("POST", PREDICT, {"instances": pair}).status == 500
    _, said = service.stop()
    assert counted(service) == {("2.0.0", "failed"): 2}, "one request, and one instance of another"
    assert counted(service, OTHER) == {}
    (told,) = faults_told(said)
    assert (told["product"], told["version"], "nobody thought of 1313" in told["exception"]) == (PRODUCT, "2.0.0", True)
    assert {one.request_id for one in service.logged()} >= {"good", "batch#0"}


def test_a_shadow_that_asserts_fails_no_request_and_is_told_once(
    released: Released, start: Callable[..., Service]
) -> None:
    released.model("2.0.0", slope=7, on_demand=(TOUCHY,))
    released.release(Shadow(live="1.0.0", shadows=("2.0.0",)), "1.0.0")
    service = start()
    assert [service.predict({"x": x}, id=f"x{x}").status for x in (3, POISON, POISON + 1)] == [200] * 3
    _, said = service.stop()
    assert {one.request_id: set(one.shadows) for one in service.logged()} == {
        "x3": {"2.0.0"}, f"x{POISON}": set(), f"x{POISON + 1}": set(),
    }  # fmt: skip
    assert [told["version"] for told in faults_told(said)] == ["2.0.0"]
    assert counted(service) == {}


def test_a_fault_counts_for_the_version_that_has_it(released: Released, start: Callable[..., Service]) -> None:
    released.model("2.0.0", slope=7, on_demand=(TOUCHY,))
    released.release(Canary(live="1.0.0", candidate="2.0.0", share=0.5), "1.0.0", assign_by=["order"])
    service = start()
    statuses = Counter(service.predict({"x": POISON, "order": order}).status for order in range(20))
    assert set(statuses) == {200, 500}
    service.stop()
    assert counted(service) == {("2.0.0", "failed"): statuses[500]}


UNDRAWN = """
    from serving.engine import _engine
    plain = _engine.assign
    def assign(policy, key):
        if policy.kind == "canary":
            raise TypeError("planted")
        return plain(policy, key)
    _engine.assign = assign
"""
"""A draw that fails, whoever is drawn for."""


def test_a_draw_that_fails_is_answered_as_json_and_counted_for_no_version(
    released: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    """Counting drew again, and failed again: callers got a bare 500 of the server's own, and nothing was counted."""
    released.release(Canary(live="1.0.0", candidate="1.1.0", share=0.5), "1.0.0")
    service = start(program=with_disk(tmp_path, UNDRAWN))
    replies = [
        service.predict(id="one"),
        service.ask("POST", PREDICT, {"instances": [{"entity": ENTITY, "time": TIME}] * 2}),
    ]
    assert [(reply.status, reply.json["code"]) for reply in replies] == [(500, "failed")] * 2
    named = service.ask("POST", f"/v1/{PRODUCT}/versions/1.1.0:predict", {"entity": ENTITY, "time": TIME})
    assert named.status == 200, "nobody is drawn for who names a version"
    service.stop()
    assert counted(service) == {(NO_VERSION, "failed"): 2}


UNWRITTEN = """
    from serving.prediction_log import LogWriter
    plain = LogWriter.append
    def append(self, records):
        if self._folder.name == "toy" and self._folder.parent.name == "log":
            raise ZeroDivisionError("planted")
        plain(self, records)
    LogWriter.append = append
"""
"""A fault of the log's own that nobody foresaw, at one product."""


def test_a_fault_where_answers_are_recorded_is_no_versions_and_no_other_products(
    released: Released, beside: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start(program=with_disk(tmp_path, UNWRITTEN))
    replies = together(service, (PREDICT, body(3, "ours")), (f"/v1/{OTHER}:predict", body(3, "theirs")))
    assert [reply.status for reply in replies] == [500, 200]
    service.stop()
    assert set(counted(service)) == {(NO_VERSION, "failed")}
    assert counted(service, OTHER) == {}
