"""What could not be answered is counted, for the version that was drawn or for none, and written down once."""

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headwater.names import NO_VERSION
from serving.engine import Asked
from serving.http._failures import Failures
from serving.policies import Canary, Ensemble
from serving.prediction_log import FailureRecord, LogError, LogWriter, decode_failure, read_frames, segments
from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.campaign import BROKEN, FULL, SLOW, with_disk
from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Service


class Drawn:
    """What counting needs of an engine: odd orders go to another version."""

    product = "toy"

    class deployment:  # noqa: N801
        commit = "c"

    def variant(self, one: Asked) -> str:
        return "2.0.0" if one.fields["order"] % 2 else "1.0.0"


def asked(order: int, version: str = "") -> Asked:
    return Asked(id=str(order), fields={"order": order}, at=0, received=0, started=0, version=version)


def written(folder: Path) -> list[FailureRecord]:
    frames = (frame for segment in segments(folder) for frame in read_frames(segment))
    return [decode_failure(data) for frame in frames for data in frame.records]


def note(failures: Failures, *instances: Asked, code: str = "failed") -> None:
    """One request that got no answer."""
    engine: Any = Drawn()
    failures.note(engine, instances, code)


def test_failures_are_counted_by_version_and_kind_and_written_once(tmp_path: Path) -> None:
    failures = Failures(lambda product: LogWriter(tmp_path / product, segment_bytes=2**14))
    failures.prepare(["toy"])
    for order in (1, 2, 3):
        note(failures, asked(order))
    note(failures, asked(5), code="deadline")
    note(failures, asked(7, version="2.0.0"))
    for order in (2, 5):
        note(failures, asked(order), code="log_full")
    failures.write()
    failures.write()
    found = {(one.version, one.code): one.count for one in written(tmp_path / "toy")}
    drawn = {("1.0.0", "failed"): 1, ("2.0.0", "failed"): 2, ("2.0.0", "deadline"): 1}
    assert found == {**drawn, (NO_VERSION, "failed"): 1, (NO_VERSION, "log_full"): 2}, (
        "who names a version is drawn for none, and a full disk is no version's doing"
    )
    note(failures, asked(4))
    failures.close()
    assert sum(one.count for one in written(tmp_path / "toy")) == 8, "what is left is written at the end"


def test_a_batch_that_got_no_answer_is_one_failure_of_each_version_that_was_drawn_for_part_of_it(
    tmp_path: Path,
) -> None:
    """Thirty instances counted as thirty requests that failed each by itself: one batch sent a version back."""
    failures = Failures(lambda product: LogWriter(tmp_path / product, segment_bytes=2**14))
    note(failures, *(asked(order) for order in range(30)))
    note(failures, *(asked(order) for order in range(1, 30, 2)), code="deadline")
    note(failures, *(asked(order) for order in range(30)), code="log_full")
    note(failures, *(asked(order, version="2.0.0") for order in range(30)))
    failures.close()
    found = {(one.version, one.code): one.count for one in written(tmp_path / "toy")}
    drawn = {("1.0.0", "failed"): 1, ("2.0.0", "failed"): 1, ("2.0.0", "deadline"): 1}
    assert found == {**drawn, (NO_VERSION, "log_full"): 1, (NO_VERSION, "failed"): 1}


def test_what_cannot_be_written_now_is_written_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "toy"
    blocked.write_text("in the way")
    failures = Failures(lambda product: LogWriter(tmp_path / product, segment_bytes=2**14))
    note(failures, asked(1))
    for _ in range(3):
        failures.prepare(["toy"])
        failures.write()
    assert caplog.messages.count("failures cannot be written") == 1, "not every second"
    blocked.unlink()
    note(failures, asked(1))
    failures.write()
    assert [one.count for one in written(tmp_path / "toy")] == [2]
    failures.close()


def test_a_full_disk_is_told_and_kept() -> None:
    class Full:
        def append(self, records: Any) -> None:
            raise LogError(path="x", action="written", reason="no room")

        def close(self) -> None:
            raise LogError(path="x", action="written", reason="no room")

    opened: Any = lambda product: Full()  # noqa: E731
    failures = Failures(opened)
    note(failures, asked(1))
    failures.write()
    failures.close()
    assert sum(count for count, _ in failures._counts.values()) == 1


def test_the_end_waits_for_who_opens_a_log_and_no_segment_is_left_open(tmp_path: Path) -> None:
    begun, gate = threading.Event(), threading.Event()

    def opened(product: str) -> LogWriter:
        begun.set()
        assert gate.wait(20)
        return LogWriter(tmp_path / product, segment_bytes=2**14)

    failures = Failures(opened)
    note(failures, asked(1))
    preparing = threading.Thread(target=failures.prepare, args=(["toy", "other"],))
    preparing.start()
    begun.wait(20)
    ending = threading.Thread(target=failures.close)
    ending.start()
    gate.set()
    preparing.join()
    ending.join()
    failures.prepare(["late"])
    assert [one.count for one in written(tmp_path / "toy")] == [1]
    assert [segment.is_final for folder in tmp_path.iterdir() for segment in segments(folder)] == [True]
    assert {folder.name for folder in tmp_path.iterdir()} == {"toy", "other"}


def test_without_a_log_nothing_is_kept() -> None:
    failures = Failures()
    failures.prepare(["toy"])
    note(failures, asked(1))
    failures.write()
    failures.close()


BROKEN_WITH_13 = """
    from serving.engine import LoadedModel, RequestError
    plain = LoadedModel.inputs
    def inputs(self, fields, at, found):
        if fields["x"] == 13:
            raise RequestError("planted")
        return plain(self, fields, at, found)
    LoadedModel.inputs = inputs
"""
FAULTY = """
    from serving.http._app import App
    plain, shown = App._show, []
    def show(self):
        if "1.1.0" in self._live.engines["toy"].models and not shown:
            shown.append(1)
            raise ZeroDivisionError("planted")
        plain(self)
    App._show = show
"""


def test_a_fault_beside_the_requests_is_told_and_neither_following_nor_counting_ends_with_it(
    released: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start(program=with_disk(tmp_path, FAULTY + BROKEN))

    def served() -> list[str]:
        found: list[str] = service.get("/v1/products").json["products"][0]["versions"]
        return found

    released.release("all-at-once", "1.1.0")
    service.until(lambda: served() == ["1.1.0"])
    released.release("all-at-once", "1.0.0")
    service.until(lambda: served() == ["1.0.0"])
    assert service.predict().status == 500
    code, said = service.stop()
    assert (code, said.count("begins again")) == (0, 1)
    (counted,) = written(service.state / "serving" / "failures" / PRODUCT)
    assert (counted.version, counted.code, counted.count) == ("1.0.0", "failed", 1)


def test_a_time_that_no_version_can_be_asked_about_is_no_failure_of_the_one_that_was_drawn(
    released: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    """Three failures in three requests send a fresh version back: anybody who asks could have."""
    service = start(program=with_disk(tmp_path, BROKEN_WITH_13))
    past = {"entity": ENTITY, "time": "1999-01-01T00:00:00Z"}
    present = {"entity": ENTITY, "time": TIME}
    for body in (past, {"instances": [past, present]}, {"instances": [past, past]}):
        assert service.ask("POST", PREDICT, body).status == 422
    unlucky = {"entity": {**ENTITY, "x": 13}, "time": TIME}
    assert service.ask("POST", PREDICT, {"instances": [past, present, unlucky, unlucky]}).status == 422
    service.stop()
    (counted,) = written(service.state / "serving" / "failures" / PRODUCT)
    assert (counted.code, counted.count) == ("invalid", 1), (
        "what the model itself could not take is its own, once a batch"
    )


def counted(service: Service, product: str = PRODUCT) -> Counter[tuple[str, str]]:
    """What a service that has ended wrote down: how often, by version and code."""
    found: Counter[tuple[str, str]] = Counter()
    for one in written(service.state / "serving" / "failures" / product):
        found[one.version, one.code] += one.count
    return found


def test_what_the_disk_did_not_take_is_a_failure_of_no_version_told_once_there_is_room(
    released: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    """It was counted for nobody: a day whose disk was full until the evening kept every promise."""
    flag = tmp_path / "full"
    service = start(program=with_disk(tmp_path, FULL.format(flag=str(flag))))
    flag.touch()
    replies = [service.predict() for _ in range(4)]
    assert {(reply.status, reply.json["code"]) for reply in replies} == {(503, "log_full")}
    flag.unlink()
    assert service.predict().status == 200
    service.stop()
    assert counted(service) == {(NO_VERSION, "log_full"): 4}


def test_values_that_every_version_refuses_are_their_callers_doing(
    released: Released, start: Callable[..., Service]
) -> None:
    """The function of the training is that of every version: three requests sent whichever was drawn back."""
    service = start()
    good, bad = ({"entity": {**ENTITY, "x": x}, "time": TIME} for x in (3, -1))
    for policy in (None, Canary(live="1.0.0", candidate="1.1.0", share=0.5)):
        if policy is not None:
            released.release(policy, "1.0.0")
            service.until(lambda: service.get("/v1/products").json["products"][0]["policy"]["kind"] == "canary")
        for order in range(6):
            assert service.predict({"x": -1, "order": order}).status == 422
        assert service.ask("POST", PREDICT, {"instances": [bad, good, bad]}).status == 422
    service.stop()
    assert counted(service) == {}


def test_values_that_another_version_takes_are_a_failure_of_the_one_that_refuses_them(
    released: Released, start: Callable[..., Service]
) -> None:
    released.model("2.0.0", slope=7, on_demand=())
    released.release(Canary(live="1.0.0", candidate="2.0.0", share=0.5), "1.0.0", assign_by=["order"])
    service = start()
    statuses = Counter(service.predict({"x": -1, "order": order}).status for order in range(40))
    assert set(statuses) == {200, 422}
    one = {"entity": {**ENTITY, "x": -1}, "time": TIME}
    orders = [{**one, "entity": {**one["entity"], "order": order}} for order in range(40)]
    assert service.ask("POST", PREDICT, {"instances": orders}).status == 422
    service.stop()
    assert counted(service) == {("1.0.0", "invalid"): statuses[422] + 1}


def test_an_explanation_that_nobody_gives_is_no_failure(released: Released, start: Callable[..., Service]) -> None:
    """Three such requests ended an ordered ensemble, and barred its members."""
    released.release(Ensemble(weights={"1.0.0": 0.5, "1.1.0": 0.5}), "1.0.0")
    service = start()
    one = {"entity": ENTITY, "time": TIME}
    for body in ({**one, "explain": True}, {"instances": [one, one], "explain": True}):
        assert service.ask("POST", PREDICT, body).status == 422
    assert service.predict().status == 200
    service.stop()
    assert counted(service) == {}


def test_a_deadline_of_the_callers_own_is_no_failure_and_that_of_the_service_is(
    released: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    released.release("all-at-once", "1.0.0", latency_seconds=1)
    service = start("--deadline", "1.5", program=with_disk(tmp_path, SLOW.format(seconds=2.5)))
    body = {"entity": ENTITY, "time": TIME}

    def late(milliseconds: int) -> None:
        headers = {"x-request-timeout-ms": str(milliseconds)}
        service.until(lambda: service.ask("POST", PREDICT, body, headers).status == 504)

    for _ in range(3):
        late(1)
    late(1_200)  # longer than the product promises
    late(60_000)
    body = {"instances": [body, body]}
    late(1_200)  # two would have that long one after the other
    late(60_000)
    service.stop()
    assert counted(service) == {("1.0.0", "deadline"): 3}


def test_what_is_not_taken_on_is_a_failure_of_no_version(
    released: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start("--waiting", "1", program=with_disk(tmp_path, SLOW.format(seconds=0.5)))
    pair = {"instances": [{"entity": ENTITY, "time": TIME}] * 2}
    assert service.ask("POST", PREDICT, pair).json["code"] == "too_many_instances"
    replies: list[Any] = []
    callers = [threading.Thread(target=lambda: replies.append(service.predict())) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    busy = [reply for reply in replies if reply.status == 429]
    assert busy
    assert {reply.status for reply in replies} == {200, 429}
    service.stop()
    assert counted(service) == {(NO_VERSION, "too_many_requests"): len(busy)}


def test_a_product_that_is_not_ready_fails_and_a_name_that_nobody_knows_does_not(
    released: Released, start: Callable[..., Service]
) -> None:
    service = start("--product", PRODUCT, "--product", "awaited", wait=False)
    service.until(lambda: service.predict().status == 200)
    body = {"entity": ENTITY, "time": TIME}
    replies = [service.ask("POST", f"/v1/{name}:predict", body) for name in ("awaited", "awaited", "nobody", "../up")]
    assert [reply.status for reply in replies] == [503, 503, 404, 404]
    assert service.get("/v2/models/awaited/ready").status == 503
    service.stop()
    assert counted(service, "awaited") == {(NO_VERSION, "not_ready"): 2}
    folders = {folder.name for folder in (service.state / "serving" / "failures").iterdir()}
    assert folders == {PRODUCT, "awaited"}


BACKWARDS = """
    import time
    from itertools import count
    began, hours = time.time_ns(), count(1)
    time.time_ns = lambda: began - next(hours) * 3_600 * 10**9
    time.time = lambda: time.time_ns() / 1e9
"""


def test_a_clock_that_goes_backwards_costs_no_answer_no_id_and_no_count(
    released: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    """Each look at the wall clock finds it an hour earlier."""
    service = start(program=with_disk(tmp_path, BACKWARDS + BROKEN_WITH_13))
    replies = [service.predict() for _ in range(20)]
    assert {reply.status for reply in replies} == {200}
    for _ in range(3):
        assert service.predict({"x": 13}).status == 422
    service.stop()
    found = service.logged()
    assert [one.request_id for one in found] == [reply.json["id"] for reply in replies]
    assert len({one.request_id for one in found}) == 20
    assert all(0 <= one.latency < 60_000_000 for one in found), "measured by a clock that only goes on"
    received = [one.received for one in found]
    assert received == sorted(received, reverse=True)
    counted = written(service.state / "serving" / "failures" / PRODUCT)
    assert sum(one.count for one in counted) == 3
