"""The service under load while things go wrong: kills, swaps, a full disk, a slow one, and time."""

import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.campaign import FULL, SLOW, Callers, check_log, with_disk
from tests.serving.http.conftest import Service

Start = Callable[..., Service]
Told = Callable[[str, object], None]


def many(sample: int, whole: int) -> list[object]:
    """Seeds: a sample for every run, the rest for campaigns."""
    return [pytest.param(seed, marks=[pytest.mark.heavy] if seed >= sample else []) for seed in range(whole)]


@pytest.mark.parametrize("seed", many(2, 20))
def test_a_killed_service_has_logged_what_it_answered_and_nothing_twice(
    released: Released, start: Start, seed: int, record_property: Told
) -> None:
    draw = random.Random(seed)
    answered = {}
    for life in range(2):
        service = start("--grpc-port", "0") if life else start()
        with Callers(service, f"life-{life}", count=6) as callers:
            service.until(lambda: len(callers.answered) > 20)
            time.sleep(draw.uniform(0, 0.5))
            service.process.send_signal(signal.SIGKILL)
            service.process.communicate()
        answered.update(callers.answered)
        assert callers.refused == []
    assert len(answered) > 40
    check_log(service, answered)
    record_property("answered", len(answered))


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.heavy)])
@pytest.mark.parametrize("swaps", [3, pytest.param(60, marks=pytest.mark.heavy)])
def test_swaps_and_roll_backs_fail_nobody_and_the_old_version_answers_nobody_after(
    released: Released, start: Start, swaps: int, workers: str, record_property: Told
) -> None:
    service = start("--workers", workers)
    with Callers(service, "swap") as callers:
        for number in range(swaps):
            version = ("1.1.0", "1.0.0")[number % 2]
            if number % 3 == 0:
                released.online(20 + number)
            commit = released.release("all-at-once", version)
            if workers == "1":
                service.until(lambda: service.get("/v1/products").json["products"][0]["commit"] == commit)  # noqa: B023
            else:  # each worker follows by itself
                service.until(lambda: all(service.predict().json["version"] == version for _ in range(20)))  # noqa: B023
                time.sleep(0.5)
            after = [service.predict({"order": place}) for place in range(10)]
            assert {(reply.status, reply.json["version"]) for reply in after} == {(200, version)}
    assert (callers.refused, callers.broken) == ([], [])
    service.stop()
    check_log(service, callers.answered)
    record_property("answered", len(callers.answered))


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.heavy)])
def test_a_full_disk_refuses_answers_nothing_unlogged_and_goes_on_when_there_is_room(
    released: Released, start: Start, tmp_path: Path, times: int
) -> None:
    flag = tmp_path / "full"
    service = start(program=with_disk(tmp_path, FULL.format(flag=str(flag))))
    answered = {}
    for number in range(times):
        with Callers(service, f"full-{number}") as callers:
            service.until(lambda: len(callers.answered) > 50)
            flag.touch()
            service.until(lambda: len(callers.refused) > 10)
            before = len(callers.answered)
            assert service.get("/v2/health/live").status == 200
            flag.unlink()
            service.until(lambda: len(callers.answered) > before + 50)  # noqa: B023
        assert set(callers.refused) == {(503, "log_full", True)}
        assert callers.broken == []
        answered.update(callers.answered)
    service.stop()
    check_log(service, answered)


LIMITED = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
"""


def test_a_log_that_the_system_lets_nobody_write_is_a_refusal(released: Released, start: Start, tmp_path: Path) -> None:
    """The kernel itself refuses here: a segment is larger than a file may be. The service said that it was ready."""
    service = start(program=with_disk(tmp_path, LIMITED), wait=False)
    service.until(lambda: PRODUCT in service.get("/v2/health/ready").json.get("troubles", {}))
    reply = service.predict()
    assert (reply.status, reply.json["code"]) == (503, "log_failed")
    assert service.get("/v2/health/ready").status == 503
    psutil.Process(service.process.pid).rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    service.until(lambda: service.get("/v2/health/ready").status == 200)
    assert service.predict().status == 200


def test_on_a_slow_disk_health_answers_and_deadlines_and_limits_hold(
    released: Released, start: Start, tmp_path: Path
) -> None:
    service = start("--waiting", "6", program=with_disk(tmp_path, SLOW.format(seconds=0.5)))
    service.predict()
    with (
        Callers(service, "patient") as patient,
        Callers(service, "hasty", headers={"x-request-timeout-ms": "100"}) as hasty,
    ):
        service.until(lambda: {status for status, _, _ in (*hasty.refused, *patient.refused)} == {429, 504})
        taken = []
        for _ in range(20):
            begun = time.perf_counter()
            assert service.get("/v2/health/live").status == service.get("/v2/health/ready").status == 200
            taken.append(time.perf_counter() - begun)
        service.until(lambda: len(patient.answered) > 4)
    assert min(taken) < 0.4  # not one of them waited for the disk
    assert {code for _, code, _ in (*patient.refused, *hasty.refused)} <= {"too_many_requests", "deadline"}
    assert all(says_when for _, _, says_when in (*patient.refused, *hasty.refused))
    service.stop()
    check_log(service, {**patient.answered, **hasty.answered})


def test_what_was_too_late_and_written_is_told_to_who_asks_again(
    released: Released, start: Start, tmp_path: Path
) -> None:
    service = start(program=with_disk(tmp_path, SLOW.format(seconds=0.4)))
    for number in range(3):
        hasty = {"x-request-timeout-ms": "50"}
        body = {"entity": {"who": "ann", "x": 3, "kind": "a"}, "time": "2013-03-10T07:00:00Z", "id": f"late-{number}"}
        replies = [service.ask("POST", "/v1/toy:predict", body, hasty).status]
        service.until(lambda: service.ask("POST", "/v1/toy:predict", body).status == 200)  # noqa: B023
        assert replies in ([504], [200])  # the first one finds a quick disk, as it may seem
    service.stop()
    ids = [record.request_id for record in service.logged()]
    assert sorted(ids) == [f"late-{number}" for number in range(3)]


@pytest.mark.heavy
@pytest.mark.timeout(4_200)
def test_a_soak_leaves_memory_and_latency_flat(released: Released, start: Start, record_property: Told) -> None:
    """`HEADWATER_SOAK_SECONDS` says how long, 60 without. Memory and p99 of the last quarter against those of the second."""
    seconds = float(os.environ.get("HEADWATER_SOAK_SECONDS", "60"))
    service = start()
    process = psutil.Process(service.process.pid)
    memory: list[int] = []
    taken: list[float] = []
    with Callers(service, "soak", count=3) as callers:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.perf_counter()
            assert service.predict().status == 200
            taken.append(time.perf_counter() - begun)
            memory.append(process.memory_info().rss)
            callers.answered.clear() if len(callers.answered) > 100_000 else None
            time.sleep(0.02)
    assert (callers.refused, callers.broken) == ([], [])
    quarter = len(taken) // 4
    second, last = slice(quarter, 2 * quarter), slice(3 * quarter, None)
    grown = statistics.median(memory[last]) - statistics.median(memory[second])
    slow = [statistics.quantiles(taken[part], n=100)[98] for part in (second, last)]
    found = {"seconds": seconds, "looks": len(taken), "grown_mib": grown / 2**20, "p99_ms": slow[0] * 1e3, "last_p99_ms": slow[1] * 1e3}  # fmt: skip
    for name, value in found.items():
        record_property(name, value)
    assert grown < 16 * 2**20
    assert slow[1] < 2 * slow[0] + 0.005
