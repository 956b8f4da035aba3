"""Metrics that workers share, where there is no room for them: nobody ends, nothing that is counted is lost."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from serving.http._shared_metrics import SharedMetricsError, forget, shared_folder
from tests.serving.conftest import Released
from tests.serving.http.conftest import ROOT, Service
from tests.serving.http.test_full_disk import metric, room
from tests.serving.http.test_workers import suspended
from tests.small_disk import small_disk

COUNTING = """
import resource, sys
from pathlib import Path
from prometheus_client import CollectorRegistry, Counter, multiprocess
from serving.http._shared_metrics import share

def limit(size):  # a file that would become larger is one on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def shown():
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    (found,) = [*registry.collect(), None][:1]
    return {one.labels["of"]: one.value for one in found.samples} if found else {}

share()
registry = CollectorRegistry()
counter = Counter("things_total", "Things.", ["of"], registry=registry)
names = [f"{number:0300d}" for number in range(300)]  # more than the first bytes of a file
limit(0)
counter.labels("early").inc()
assert shown() == {}, shown()
assert not list(Path(sys.argv[1]).glob("*")), "a file without room stayed"
limit(2**16)
from serving.http import _shared_metrics
_shared_metrics._RETRY = 0.0
import time; time.sleep(1.0)
counter.labels("early").inc()
assert shown() == {"early": 2}, shown()
for name in names:
    counter.labels(name).inc()
assert 100 < len(shown()) < 290, len(shown())
assert {file.stat().st_size for file in Path(sys.argv[1]).glob("*")} == {2**16}
limit(resource.RLIM_INFINITY)
for name in names:
    counter.labels(name).inc()
assert shown() == {"early": 2, **dict.fromkeys(names, 2)}, shown()
(file,) = Path(sys.argv[1]).glob("*.db")
assert file.stat().st_blocks * 512 >= file.stat().st_size, "a file has bytes without room"
"""


def test_what_finds_no_room_is_counted_on_and_shown_once_there_is_some(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", COUNTING, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr.count("no room for shared metrics") == 2  # each time once, not with each count


def test_each_service_has_a_folder_and_what_killed_ones_left_is_removed(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    left = cache / "headwater-metrics-left"
    left.mkdir()
    left.with_name(f"{left.name}.lock").touch()
    with shared_folder(cache) as first, shared_folder(cache) as second:
        assert {file for file in cache.iterdir() if file.is_dir()} == {first, second}
        assert first.stat().st_mode & 0o077 == 0
    assert list(cache.iterdir()) == []


def test_without_any_room_the_error_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(SharedMetricsError, match="Make room there"), shared_folder(tmp_path / "cache"):
        pass


def test_counts_of_a_dead_worker_stay_and_take_little_room(tmp_path: Path) -> None:
    program = (
        "from serving.http._shared_metrics import share; share()\n"
        "from prometheus_client import Counter, CollectorRegistry\n"
        "Counter('things_total', 'Things.', registry=CollectorRegistry()).inc()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as worker:
        assert worker.wait(timeout=60) == 0
    (file,) = tmp_path.glob("counter_*.db")
    forget(tmp_path, worker.pid)
    assert file.stat().st_size < 200
    from prometheus_client import CollectorRegistry, multiprocess

    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=str(tmp_path))
    assert registry.get_sample_value("things_total") == 1


@pytest.fixture
def cache(released: Released) -> Iterator[Path]:
    """The cache on a small file system of its own."""
    with small_disk(released.folder / "serving" / "cache", "6m") as folder:
        yield folder


def test_workers_on_a_full_disk_answer_and_one_that_dies_comes_back(cache: Path, start: Callable[..., Service]) -> None:
    """They died of SIGBUS, one start after the other, and callers' connections ended without an answer."""
    service = start("--workers", "2")
    parent = psutil.Process(service.process.pid)
    lost, kept = parent.children()
    room(cache, full=True)
    assert {service.predict({"order": number}).status for number in range(20)} == {200}
    lost.kill()
    service.until(lambda: len(set(parent.children()) - {lost, kept}) == 1)
    with suspended(kept):  # so that who answers is the new one, all of whose metrics were made on the full disk
        service.until(lambda: service.get("/v2/health/ready").status == 200)
        assert {service.predict({"order": number}).status for number in range(20)} == {200}
        assert service.get("/metrics").status == 200
    room(cache, full=False)
    assert {service.predict({"order": number}).status for number in range(20)} == {200}
    service.until(lambda: bool(service.predict()) and metric(service, "headwater_requests_total") >= 60)
    assert (len(parent.children()), kept in parent.children()) == (2, True)
    code, said = service.stop()
    assert (code, "Bus error" in said, said.count("ended by")) == (0, False, 1)
