"""Each alert fires on what is really scraped when its situation is there, and none on a healthy service."""

import os
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any

import polars as pl
import pytest

from assets._chain._service_report import REPORT_FILE
from headwater.cli._watch import Watch, _logs, _pulse
from headwater.decisions import OrderKind
from headwater.errors import HeadwaterError
from headwater.lake import EmbeddedLake
from headwater.names import METRICS_FACT
from headwater.watching import ProductReader, Sample, exposition, read_disk
from resources.settings import Settings
from sensors.heartbeat import heartbeats, watched_sensors
from serving.prediction_log import (
    FailureRecord,
    LogWriter,
    PredictionRecord,
    encode_failure,
    encode_record,
    settle,
    take,
)
from tests.assets.test_loop import answers, outcomes, report, truth
from tests.assets.test_loop import released as live_version
from tests.deploy.prometheus import FOLDER, firing
from tests.release_scene import Scene
from tests.sensors import toy_location
from tests.sensors.daemon import STATE, Daemon, running
from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.campaign import HANGS, with_disk
from tests.serving.http.conftest import ENTITY, PREDICT, TIME, Service
from tests.small_disk import small_disk

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


LENIENT = Sample(name="promised_latency_share", value=0.01, labels={"product": PRODUCT})
"""A promise that a service keeps however busy the machine is: ten slow answers burn the usual one's budget."""


FEW = Sample(name="promised_min_requests", value=1, labels={"product": PRODUCT})
"""A product of which few requests say enough: tests ask few."""


def scrape(service: Service) -> dict[str, str | None]:
    """What a service serves, and the watch of its product's promise."""
    return {**metrics(service), **watched([FEW, LENIENT])}


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


HALF_FREE = (Sample(name="disk_free_bytes", value=5e9), Sample(name="disk_size_bytes", value=1e10))
"""A disk with room: the one that the test runs on may be as full as it likes."""


def test_a_healthy_service_and_lake_alarm_nobody(released: Released, start: Start, tmp_path: Path) -> None:
    released.release("all-at-once", "1.0.0", latency_seconds=60)  # which a slow disk keeps too
    service, lake = start(), Scene(tmp_path / "scene")
    lake.version("1.0.0")
    reader = ProductReader(lake.lake, [lake.product.name], branch="main")
    frames = []
    for _ in range(4):
        ask(service, 10)
        frames.append((10, {**metrics(service), **watched(reader.read(), (*HALF_FREE, FEW, LENIENT))}))
    assert firing(tmp_path, *frames) == set()


@pytest.mark.parametrize(
    ("policy", "alert"), [("refuse", "HeadwaterErrorBudgetBurning"), ("answer", "HeadwaterUnloggedAnswers")]
)
def test_a_full_log(released: Released, start: Start, tmp_path: Path, policy: str, alert: str) -> None:
    with small_disk(released.folder / "serving" / "log" / PRODUCT, "4m") as folder:
        released.release("all-at-once", "1.0.0", log_full=policy)
        fill(folder)
        service = start(wait=False)
        service.until(lambda: any(PRODUCT in one.values() for one in service.get("/v1/products").json["products"]))
        before = {**metrics(service), **watched([FEW])}
        frames = []
        for _ in range(3):
            ask(service, 10)
            frames.append((3, {**metrics(service), **watched([FEW])}))
        expected = {alert, "HeadwaterLogFull"} | ({"HeadwaterNotReady"} if policy == "refuse" else set())
        found = firing(tmp_path, (10, before), *frames)
        assert found >= expected
        assert ("HeadwaterErrorBudgetBurning" in found) is (policy == "refuse")
        service.stop()


def test_slow_answers_and_refused_requests(released: Released, start: Start, tmp_path: Path) -> None:
    service = start("--waiting", "30", program=with_disk(tmp_path, SLOW))
    frames = []
    for _ in range(4):
        for _ in range(6):
            service.predict()  # one by one: nobody promises how long a batch takes
        crowd(service)
        frames.append((3, {**metrics(service), **watched([FEW])}))
    assert firing(tmp_path, *frames) >= {"HeadwaterLatencyBudgetBurning", "HeadwaterOverloaded"}
    declared = watched([FEW, LENIENT])
    lenient = firing(tmp_path, *((minutes, {**found, **declared}) for minutes, found in frames))
    assert "HeadwaterOverloaded" in lenient
    assert "HeadwaterLatencyBudgetBurning" not in lenient, "nobody promised to be quick"


def test_a_disk_that_hung_for_some_seconds(released: Released, start: Start, tmp_path: Path) -> None:
    """Everything waited for one sync, and no alert said afterwards why."""
    released.release("all-at-once", "1.0.0", latency_seconds=60)
    flag = tmp_path / "hangs"
    service = start(program=with_disk(tmp_path, HANGS.format(flag=str(flag))))
    ask(service, 20)
    before = scrape(service)
    assert firing(tmp_path, (10, before)) == set()
    flag.touch()
    hung = threading.Thread(target=ask, args=(service, 1))
    hung.start()
    sleep(3)
    flag.unlink()
    hung.join()
    after = scrape(service)
    assert firing(tmp_path, (10, before), (5, after)) == {"HeadwaterLogStalled"}
    assert firing(tmp_path, (10, before), (30, after)) == set()


def crowd(service: Service) -> None:
    """Four at once, of which the service takes on one."""
    threads = [threading.Thread(target=ask, args=(service, 1)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_lake_that_is_away_a_release_that_cannot_be_served_and_a_service_that_ended(
    released: Released, start: Start, tmp_path: Path
) -> None:
    service = start()
    good = scrape(service)
    released.release("all-at-once", "9.9.9")
    service.until(lambda: PRODUCT in service.get("/v1/products").json.get("troubles", {}))
    service.until(lambda: 'headwater_release_not_served{product="toy"} 1.0' in str(metrics(service)))
    assert firing(tmp_path, (5, good), (5, scrape(service))) == {"HeadwaterReleaseNotServed"}
    service.stop()
    assert firing(tmp_path, (5, good), (5, {SERVE: None})) == {"HeadwaterServiceAway"}
    released.folder.joinpath("lake").rename(released.folder / "away")  # as a disk that was not mounted
    service = start()
    service.until(lambda: "headwater_lake_away 1.0" in str(metrics(service)))
    assert service.predict().status == 200
    assert firing(tmp_path, (5, good), (5, scrape(service))) == {"HeadwaterLakeAway"}


@pytest.mark.parametrize(("stale", "fires"), [(10, True), (5, True), (3, False)])
def test_features_that_are_too_old(start: Start, tmp_path: Path, stale: int, fires: bool) -> None:
    """A third of the training's rows had none either."""
    service = start()
    frames = []
    for _ in range(4):
        for n in range(10):
            time = "2013-09-10T07:00:00Z" if n < stale else TIME
            service.ask("POST", PREDICT, {"entity": ENTITY, "time": time})
        frames.append((3, scrape(service)))
    assert 'headwater_trained_default_share{product="toy",view="history"} 0.333' in str(frames[0][1][SERVE])
    assert firing(tmp_path, *frames) == ({"HeadwaterStaleFeatures"} if fires else set())


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
    again = (40, before), (40, after), (3, before), (5, after)
    assert firing(tmp_path, *again) == {"HeadwaterRolledBack"}, "promoted meanwhile, and back a second time"


def test_drift_and_a_worse_model_in_service(tmp_path: Path) -> None:
    labels, scene = truth(16), Scene(tmp_path / "scene")
    scene.version("1.0.0")
    wrong = answers(labels).with_columns(pl.lit(False).alias("decision"))
    report(tmp_path / "report", outcomes(labels, wrong).data, wrong)
    scene._publish("performance_report", lambda tx, path: tx.write_folder(path, tmp_path / "report"), {})
    unreleased = {METRICS_FACT: {"accuracy": {"value": 0.1}}}
    scene._folder("evaluation", {}, unreleased)
    promise(scene, 0.05)
    facts = {"shifted": [f"column {n}" for n in range(16)], "columns": 59}
    scene._publish("drift_report", lambda tx, path: tx.write_table(path, pl.DataFrame({"column": ["x"]})), facts)
    scraped = watched(ProductReader(scene.lake, [scene.product.name], branch="main").read())
    assert firing(tmp_path, (5, scraped)) == {"HeadwaterDrift", "HeadwaterAccuracyDropped"}
    assert '{metric="auc",product="flights"}' in str(scraped[WATCH])
    assert 'headwater_promised_min_requests{product="flights"} 50.0' in str(scraped[WATCH])
    promise(scene, 0.2)
    lenient = watched(ProductReader(scene.lake, [scene.product.name], branch="main").read())
    assert firing(tmp_path, (5, lenient)) == {"HeadwaterDrift"}, "perhaps no larger a drop than was declared"


def promise(scene: Scene, drop: float) -> None:
    """A service report of a product that declares its limits, one of whose versions is at 0.67 to 0.75 of accuracy and was evaluated at 0.9."""
    levels = {"errors": 0.5, "latency_share": 0.4, "accuracy_drop": drop, "min_requests": 50}
    fell = {"version": "1.0.0", "value": 0.67, "high": 0.75, "reference": 0.9}
    holds = {"version": "0.9.0", "value": 0.6, "high": 0.7, "reference": 0.6}
    unknown = {"version": "0.8.0", "value": 0.1, "high": 0.2, "reference": None}
    document = {"declaration": {"levels": levels}, "accuracy": {"versions": [fell, holds, unknown]}}
    scene._folder("service_report", document, {}, REPORT_FILE)


def test_drift_is_that_of_the_service_once_a_window_of_it_is_over(tmp_path: Path) -> None:
    """The test part of the training set had drifted from the first build on, and its ticket could not clear."""
    labels, scene = truth(16), Scene(tmp_path / "scene")
    scene.version("1.0.0")
    usual = answers(labels)
    live = live_version(tmp_path / "live")
    facts = {"shifted": [f"column {n}" for n in range(16)], "columns": 59}
    scene._publish("drift_report", lambda tx, path: tx.write_table(path, pl.DataFrame({"column": ["x"]})), facts)
    reader = ProductReader(scene.lake, [scene.product.name], branch="main")

    def scraped(name: str, rows: pl.DataFrame) -> dict[str, str | None]:
        report(tmp_path / name, outcomes(labels, rows).data, rows, live=live)
        scene._publish("performance_report", lambda tx, path: tx.write_folder(path, tmp_path / name), {})
        return watched(reader.read())

    before = watched(reader.read())
    young = scraped("young", usual.filter(pl.col("at") < usual["at"].min() + timedelta(days=3)))
    good = scraped("good", usual)
    moved = scraped("moved", usual.with_columns(pl.col("features").str.replace("gold", "basic")))
    named = [set(re.findall(r'columns{data="(\w+)"', str(frame[WATCH]))) for frame in (before, young, good, moved)]
    assert named == [{"test_part"}, {"test_part"}, {"service"}, {"service"}]
    assert 'shifted_columns{data="service",product="flights"} 1.0' in str(moved[WATCH])
    assert firing(tmp_path, (5, before)) == firing(tmp_path, (5, moved)) == {"HeadwaterDrift"}
    assert firing(tmp_path, (5, before), (10, good)) == set()


def test_scores_and_calibration_of_the_newest_window_in_service(tmp_path: Path) -> None:
    """They stood in the report's JSON, and nobody was told."""
    labels, scene = truth(16), Scene(tmp_path / "scene")
    scene.version("1.0.0")
    live, usual = live_version(tmp_path / "live"), answers(labels)
    reader = ProductReader(scene.lake, [scene.product.name], branch="main")

    def scraped(name: str, rows: pl.DataFrame) -> dict[str, str | None]:
        report(tmp_path / name, outcomes(labels, rows).data, rows, live=live)
        scene._publish("performance_report", lambda tx, path: tx.write_folder(path, tmp_path / name), {})
        return watched(reader.read())

    good, worse = scraped("good", usual), scraped("worse", usual.with_columns(pl.col("score") / 2))
    assert 'headwater_window_scores_shifted{product="flights"} 0.0' in str(good[WATCH])
    change, effect = (
        rf'{name}{{product="flights"}} (\S+)' for name in ("calibration_bias_change", "score_drift_effect")
    )
    assert abs(float(re.findall(change, str(good[WATCH]))[0])) < 0.02 < -float(re.findall(change, str(worse[WATCH]))[0])
    assert float(re.findall(effect, str(good[WATCH]))[0]) < 0.25 < float(re.findall(effect, str(worse[WATCH]))[0])
    expected = {"HeadwaterScoresShifted", "HeadwaterCalibrationLost"}
    assert firing(tmp_path, (5, good)) == set()
    assert firing(tmp_path, (5, worse)) == expected
    assert firing(tmp_path, (5, worse), (10, good)) == set()


def test_a_log_that_nobody_takes_and_a_damaged_one(tmp_path: Path) -> None:
    state = tmp_path / "state"
    folder = state / "serving" / "log" / "flights"
    old = datetime.now(UTC) - timedelta(minutes=12)
    writer = LogWriter(folder, segment_bytes=2**16)
    writer.append([encode_record(record(1, received=old))])
    waits = watched(logs(state))
    assert firing(tmp_path, (5, waits)) == {"HeadwaterCompactionLate"}
    writer.append([encode_record(record(2, received=old))])
    writer.close()
    (segment,) = folder.glob("*.log")
    data = bytearray(segment.read_bytes())
    data[len(data) // 4] ^= 255
    segment.write_bytes(bytes(data))
    settle(folder, take(folder, {}, most=10).positions)
    assert firing(tmp_path, (5, watched(logs(state)))) == {"HeadwaterLogDamaged"}


def test_failures_that_nobody_takes(tmp_path: Path) -> None:
    """A version is rolled back by what failed; that these never reached the lake, nobody heard."""
    state = tmp_path / "state"
    old = datetime.now(UTC) - timedelta(minutes=12)
    writer = LogWriter(state / "serving" / "failures" / "flights", segment_bytes=2**16)
    for at in (old, datetime.now(UTC)):
        told = {"failed_product": "flights", "version": "1.0.0", "code": "failed", "count": 1}
        writer.append([encode_failure(FailureRecord(at=int(at.timestamp() * 1e6), **told))])
    found = logs(state)
    ages = {one.labels["log"]: one.value for one in found if one.name == "log_oldest_seconds"}
    assert ages["predictions"] == 0
    assert 710 < ages["service_failures"] < 760
    assert {one.value for one in found if one.name == "log_longest_wait_seconds"} == {60}, "as flights declares"
    assert firing(tmp_path, (5, watched(found))) == {"HeadwaterCompactionLate"}
    writer.close()


def test_a_disk_that_fills(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as folder:
        assert firing(tmp_path, (5, watched(read_disk(folder)))) == set()
        fill(folder)
        assert firing(tmp_path, (5, watched(read_disk(folder)))) == {"HeadwaterDiskFilling"}


@pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys` is deprecated")
def test_a_dead_sensor_and_a_watch_that_sees_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path / STATE))
    sensors = watched_sensors(toy_location.SENSORS)
    with running(tmp_path) as daemon:
        daemon.tick()
        good = held(daemon, sensors, after=timedelta())
        frames = [(1, {WATCH: text}) for text in (held(daemon, sensors, after=timedelta()) for _ in range(8))]
        assert firing(tmp_path, *frames) == set()
        dead = held(daemon, sensors, after=timedelta(minutes=5))
        assert firing(tmp_path, (3, {WATCH: good}), (1, {WATCH: dead})) == set(), "one late tick wakes nobody"
        assert firing(tmp_path, (3, {WATCH: good}), (2, {WATCH: dead})) == {"HeadwaterSensorDown"}
    assert firing(tmp_path, (3, {WATCH: good}), (5, {WATCH: None})) == {"HeadwaterWatchAway"}
    assert firing(tmp_path, (10, {WATCH: good})) == {"HeadwaterWatchAway"}  # it answers, and its look stands still


def test_a_watch_that_never_saw_one_of_its_parts(tmp_path: Path) -> None:
    """It had seen nothing whose age could be too great."""
    watch, frames = Watch(), []

    def fails() -> list[Sample]:
        raise HeadwaterError("The ticks cannot be read.")

    watch.parts = {"sensors": (0.0, fails), "disk": (0.0, list)}
    for _ in range(5):
        watch.look()
        frames.append((1, {WATCH: exposition(watch.samples()).decode()}))
    assert firing(tmp_path, *frames) == {"HeadwaterWatchAway"}


def held(daemon: Daemon, sensors: Any, *, after: timedelta) -> str:
    """What the watch serves after a look, some time after the newest tick."""
    watch = Watch()
    beats = heartbeats(daemon.instance, sensors, now=daemon.now + after)
    watch.parts = {"sensors": (0.0, lambda: [sample for beat in beats for sample in _pulse(beat)])}
    watch.look()
    return exposition(watch.samples()).decode()


def record(number: int, *, received: datetime) -> PredictionRecord:
    """An answer in the log."""
    at = int(received.timestamp() * 1e6)
    return PredictionRecord(
        request_id=f"r{number}", product="flights", at=at, received=at, latency=500, version="1.0.0", variant="1.0.0",
        score=0.5, decision=True,
    )  # fmt: skip


def logs(state: Path) -> list[Sample]:
    """What the watch serves of the logs in a state folder."""
    EmbeddedLake.open(state / "lake")
    return list(_logs(Settings(state=state)))


def test_every_alert_is_shown_to_fire_here() -> None:
    here, alerts = Path(__file__).read_text(), (FOLDER / "alerts.rules.yml").read_text()
    names = set(re.findall(r"alert: (\w+)", alerts))
    # A leak takes days: its rule differs from the burning one in its times alone, which another test compares.
    assert {name for name in names if f'"{name}"' not in here} == {
        f"Headwater{kind}BudgetLeaking" for kind in ("Error", "Latency")
    }
