"""What the event loop leaves to a thread: making segments, and a disk that has hung."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.serving.conftest import Released
from tests.serving.http.campaign import HANGS, with_disk
from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Service

WITNESS = """
    import os, sys, threading
    told = os.open({file!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hook(event, given):
        if event == "os.truncate" or (event == "open" and str(given[0]).endswith(".part")):
            os.write(told, f"{{event}} {{threading.current_thread().name}}\\n".encode())

    sys.addaudithook(hook)
"""
"""Tells which thread makes segments (they begin as `.part`) and cuts them off."""


def test_the_loop_makes_no_segment_under_load(
    released: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    """All requests waited for 16 MiB of zeros and their sync, again and again."""
    told = tmp_path / "told"
    service = start("--no-sync", program=with_disk(tmp_path, WITNESS.format(file=str(told))))
    body = {"instances": [{"entity": ENTITY, "time": TIME}] * 500}
    folder = service.state / "serving" / "log" / "toy"
    service.until(lambda: service.ask("POST", PREDICT, body).status == 200 and len(list(folder.glob("*.log"))) >= 4)
    lines = told.read_text().splitlines()
    assert "MainThread" not in {line.split()[1] for line in lines}
    assert sum(line.startswith("open") for line in lines) >= 4
    assert any(line.startswith("os.truncate prediction-log") for line in lines)
    service.stop()


def test_while_a_disk_hangs_again_health_is_answered_and_deadlines_hold(
    released: Released, start: Callable[..., Service], tmp_path: Path
) -> None:
    """Between two hangs its syncs were quick, so that the second one held up everything, as the first had."""
    flag = tmp_path / "hangs"
    service = start("--deadline", "1", program=with_disk(tmp_path, HANGS.format(flag=str(flag))))
    for _ in range(20):
        assert service.predict().status == 200
    flag.touch()
    first = threading.Thread(target=service.predict)
    first.start()
    time.sleep(1.5)
    flag.unlink()
    first.join()
    for _ in range(20):
        assert service.predict().status == 200
    flag.touch()
    begun = time.monotonic()
    assert service.predict().json["code"] == "deadline"
    assert service.get("/v2/health/live").status == 200
    assert "headwater_late_total" in service.get("/metrics").body.decode()
    assert time.monotonic() - begun < 5
    flag.unlink()
    service.until(lambda: service.predict().status == 200)
    service.stop()
