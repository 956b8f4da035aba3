"""Each alert fires on what is really scraped when its situation is there, and none on a healthy service."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assets._chain._performance import performance_asset
from headwater.decisions import OrderKind
from headwater.lake import EmbeddedLake
from headwater.watching import ProductReader, Sample, exposition, read_disk
from serving.prediction_log import LogWriter, encode_record, settle, take
from tests.assets.test_loop import PATHS, PRODUCT as SHOP, answers, outcomes, report, truth
from tests.deploy.prometheus import firing
from tests.release_scene import Scene
from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.campaign import with_disk
from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Service

Start = Callable[..., Service]
SERVE, WATCH = "headwater-serve", "headwater-watch"
SLOW = """
    import os, time
    sync = os.fdatasync
    os.fdatasync = lambda file: (time.sleep(0.15), sync(file))[1]
"""


def metrics(service: Service) -> dict[str, str | None]:
    return {SERVE: service.get("/metrics").body.decode()}


def watched(*parts: Any) -> dict[str, str | None]:
    """What the watch would serve."""
    return {WATCH: exposition([sample for part in parts for sample in part]).decode()}


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting a file system needs rights that this user lacks")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Takes all room that is left."""
    with (folder / "filler").open("wb") as file:
        try:
            while True:
                os.write(file.fileno(), b"\0" * 2**18)
        except OSError:
            return


def ask(service: Service, count: int, **more: Any) -> None:
    body = {"instances": [{"entity": ENTITY, "time": TIME, **more}] * 20}
    for _ in range(count):
        service.ask("POST", PREDICT, body)


def test_a_healthy_service_and_lake_alarm_nobody(start: Start, tmp_path: Path) -> None:
    service, lake = start(), Scene(tmp_path / "scene")
    lake.version("1.0.0")
    reader = ProductReader(lake.lake, [lake.product.name], branch="main")
    frames = []
    for _ in range(4):
        ask(service, 10)
        frames.append((10, {**metrics(service), **watched(reader.read(), read_disk(tmp_path))}))
    assert firing(tmp_path, *frames) == set()


@pytest.mark.parametrize(("policy", "alert"), [("refuse", "HeadwaterErrorBudgetBurning"), ("answer", "HeadwaterUnloggedAnswers")])
def test_a_full_log(released: Released, start: Start, tmp_path: Path, policy: str, alert: str) -> None:
    with small_disk(released.folder / "serving" / "log" / PRODUCT, "4m") as folder:
        released.release("all-at-once", "1.0.0", log_full=policy)
        fill(folder)
        service = start(wait=False)
        service.until(lambda: PRODUCT in service.get("/v1/products").json["products"][0].values())
        before = metrics(service)
        frames = []
        for _ in range(3):
            ask(service, 10)
            frames.append((10, metrics(service)))
        expected = {alert, "HeadwaterLogFull"} | ({"HeadwaterNotReady"} if policy == "refuse" else set())
        found = firing(tmp_path, (10, before), *frames)
        assert found >= expected
        assert ("HeadwaterErrorBudgetBurning" in found) is (policy == "refuse")
        service.stop()


def test_slow_answers_and_refused_requests(released: Released, start: Start, tmp_path: Path) -> None:
    service = start("--waiting", "30", program=with_disk(tmp_path, SLOW))
    frames = []
    for _ in range(4):
        ask(service, 6)
        service.ask("POST", PREDICT, {"instances": [{"entity": ENTITY, "time": TIME}] * 20})
        crowd(service)
        frames.append((10, metrics(service)))
    assert firing(tmp_path, *frames) >= {"HeadwaterLatencyBudgetBurning", "HeadwaterOverloaded"}


def crowd(service: Service) -> None:
    """Four at once, of which the service takes on one."""
    import threading

    threads = [threading.Thread(target=ask, args=(service, 1)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_lake_that_is_away_a_release_that_cannot_be_served_and_a_service_that_ended(
    released: Released, start: Start, tmp_path: Path
) -> None:
    service = start()
    good = metrics(service)
    released.release("all-at-once", "9.9.9")
    service.until(lambda: "headwater_release_not_served{" in str(metrics(service)) and PRODUCT in service.get("/v1/products").json.get("troubles", {}))
    assert firing(tmp_path, (5, good), (5, metrics(service))) == {"HeadwaterReleaseNotServed", "HeadwaterNotReady"} - (
        set() if service.get("/v2/health/ready").status == 503 else {"HeadwaterNotReady"}
    )
    released.folder.joinpath("lake").rename(released.folder / "away")
    service.until(lambda: "lake" in service.get("/v1/products").json)
    assert "HeadwaterLakeAway" in firing(tmp_path, (5, good), (5, metrics(service)))
    service.stop()
    assert firing(tmp_path, (5, good), (5, {SERVE: None})) == {"HeadwaterServiceAway"}


def test_features_that_are_too_old(start: Start, tmp_path: Path) -> None:
    service = start()
    frames = []
    for _ in range(4):
        for _ in range(10):
            service.ask("POST", PREDICT, {"entity": ENTITY, "time": "2013-09-10T07:00:00Z"})
        frames.append((10, metrics(service)))
    assert firing(tmp_path, *frames) == {"HeadwaterStaleFeatures"}


def test_a_version_that_was_rolled_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "scene")
    scene.version("1.0.0")
    scene.version("1.1.0", auc=0.8)
    reader = ProductReader(scene.lake, [scene.product.name], branch="main")
    before = watched(reader.read())
    scene.give(OrderKind.ROLLBACK)
    scene.build()
    after = watched(reader.read())
    assert firing(tmp_path, (10, before), (5, after)) == {"HeadwaterRolledBack"}
    assert firing(tmp_path, (10, before), (60, after)) == set()


def test_drift_and_a_worse_model_in_service(tmp_path: Path) -> None:
    labels, scene = truth(16), Scene(tmp_path / "scene")
    scene.version("1.0.0")
    report(tmp_path / "report", outcomes(labels, answers(labels, skill=-0.1)).data, answers(labels, skill=-0.1))
    publish(scene, tmp_path / "report")
    samples = list(ProductReader(scene.lake, [scene.product.name], branch="main").read())
    assert {sample.labels.get("metric") for sample in samples if sample.name == "window_metric"} >= {"auc", "accuracy"}
    drift = [
        Sample(name="evaluation_metric", value=0.9, labels={"product": scene.product.name, "metric": "accuracy"}),
        Sample(name="drift_shifted_columns", value=16, labels={"product": scene.product.name}),
        Sample(name="drift_watched_columns", value=59, labels={"product": scene.product.name}),
    ]
    assert "HeadwaterDrift" in firing(tmp_path, (5, watched(samples, drift)))
