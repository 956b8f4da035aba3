"""Builds as spans, and the watch's own conduct."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from headwater.cli._watch import Watch, WatchPortError, _lake_part, _listen
from headwater.decisions import OrderKind
from headwater.errors import HeadwaterError
from headwater.names import DECISION_FACT
from headwater.tracing import open_tracer, request_of, span_of
from headwater.watching import ProductReader, Sample, UnknownSampleError, exposition, read_disk
from resources.lake import LakeResource
from resources.settings import Settings
from resources.tracing import SERVICE, traced
from tests.compaction.scene import PATH, Scene, record
from tests.release_scene import Scene as ReleaseScene
from tests.serving.conftest import PRODUCT, Released
from tests.serving.http.test_traces import Collector, facts

ROOT = Path(__file__).resolve().parents[2]


def test_a_compaction_is_a_span_with_its_commit_and_links_to_the_requests_it_took_in(tmp_path: Path) -> None:
    scene, collector = Scene(tmp_path), Collector()
    scene.label()
    settings = Settings(state=tmp_path, traces=collector.address)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    scene.answer([record("no trace id"), record("b#0", trace=trace), record("b#1", trace=trace)])
    outcome = traced(scene.compact, asset=scene.asset, partition=None, run_id="r", lake=scene.lake, settings=settings)
    tracer = open_tracer(collector.address, SERVICE)
    assert tracer is not None
    tracer.close()
    (span,) = collector.named(f"materialize {PATH}")
    told = facts(span)
    assert (told["headwater.commit"], told["headwater.status"], told["headwater.appended"]) == (
        outcome.commit,
        "published",
        3,
    )
    (link,) = span.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (trace, span_of("toy", "b"))
    collector.server.shutdown()
    collector.server.server_close()


def test_a_build_by_dagster_is_a_span_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, collector = Scene(tmp_path), Collector()
    scene.label()
    monkeypatch.setenv("HEADWATER_TRACES", collector.address)
    lake = LakeResource(state=str(tmp_path))
    outcome = lake.build(scene.asset, run_id="a run", tags={}, partition=None)
    tracer = open_tracer(collector.address, SERVICE)
    assert tracer is not None
    tracer.close()
    (span,) = collector.named(f"materialize {PATH}")
    assert (facts(span)["headwater.commit"], facts(span)["dagster.run_id"]) == (outcome.commit, "a run")
    collector.server.shutdown()
    collector.server.server_close()


def test_a_request_id_is_found_in_that_of_its_record() -> None:
    assert [request_of(id) for id in ("a", "a#0", "a#b", "a#1#22")] == ["a", "a", "a#b", "a#1"]


def test_a_part_that_cannot_be_seen_shows_no_numbers_and_says_so() -> None:
    watch, away = Watch(), threading.Event()

    def part() -> list[Sample]:
        if away.is_set():
            raise HeadwaterError("away")
        return [Sample(name="disk_free_bytes", value=5)]

    watch.parts = {"disk": (0.0, part)}
    watch.look()
    assert "headwater_disk_free_bytes 5.0" in exposition(watch.samples()).decode()
    away.set()
    watch.look()
    said = exposition(watch.samples()).decode()
    assert 'headwater_watch_failed{part="disk"} 1.0' in said
    assert "headwater_disk_free_bytes 5.0" not in said
    away.clear()
    watch.look()
    assert 'headwater_watch_failed{part="disk"} 0.0' in exposition(watch.samples()).decode()


@pytest.mark.parametrize(
    "said",
    [
        "[]",
        '{"policy": null, "version": "1.0.0"}',
        '{"policy": "all-at-once", "version": "1.0.0", "barred": [1]}',
        '{"policy": "all-at-once", "version": "1.0.0", "traffic": {"1.0.0": "all"}}',
        '{"policy": "all-at-once", "version": null}',
        '{"policy": "all-at-once", "version": "\\ud800"}',
        "{",
        None,
    ],
)
def test_a_release_that_somebody_published_wrongly_costs_the_watch_its_numbers_and_not_its_life(
    tmp_path: Path, said: str | None
) -> None:
    """None: as a table. What is no text as a label ended each answer of the watch, whatever was asked."""
    source, path = tmp_path / "source", f"{PRODUCT}/release"
    source.mkdir()
    (source / "release.json").write_text(said or "")
    made, table = Released(tmp_path / "state"), pl.DataFrame({"version": ["1.0.0"]})
    made.publish(path, lambda tx: (tx.write_folder(path, source) if said else tx.write_table(path, table)).data_version, {})  # fmt: skip
    reader, watch = ProductReader(made.lake, [PRODUCT], branch="main"), Watch()
    watch.parts = {"lake": (0.0, lambda: list(reader.read())), "disk": (0.0, lambda: list(read_disk(tmp_path)))}
    watch.look()
    shown = exposition(watch.samples()).decode()
    assert f'headwater_watch_failed{{part="{path}"}} 1.0' in shown
    for part in ("lake", "disk"):
        assert f'headwater_watch_failed{{part="{part}"}} 0.0' in shown


@pytest.mark.parametrize("file", ["performance.json", "another.json"])
def test_a_report_that_cannot_be_read_costs_no_other_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, file: str
) -> None:
    """One product's report took the numbers of all products, and a page said that the lake cannot be read."""
    scene = ReleaseScene(tmp_path / "state")
    scene.version("1.0.0")
    good = scene.product.name
    monkeypatch.setattr("assets._products.products", lambda: [SimpleNamespace(name=name) for name in ("other", good)])
    monkeypatch.setattr("resources.opening.open_lake", lambda settings, create: scene.lake)
    source, watch = tmp_path / "source", Watch()
    source.mkdir()
    watch.parts = {"lake": (0.0, _lake_part(Settings(state=tmp_path / "state")))}

    def seen() -> tuple[int, int, set[str]]:
        watch.look()
        numbers = [sum(sample.labels.get("product") == name for sample in watch.samples()) for name in (good, "other")]
        failed = {one.labels["part"] for one in watch.samples() if one.name == "watch_failed" and one.value}
        return numbers[0], numbers[1], failed

    def put(path: str, file: str, content: str) -> None:
        (source / file).write_text(content)
        with scene.lake.transaction() as tx:
            tx.write_folder(path, source)
            tx.publish(message="by hand", provenance=None)
        (source / file).unlink()

    put("other/release", "release.json", '{"policy": "all-at-once", "version": "1.0.0"}')
    before = seen()
    assert before[0] > 0
    assert before[1:] == (before[1], set())
    put("other/performance_report", file, '{"windows": [{}], "now": "2026-01-01T00:00:00+00:00"}')
    for _ in range(2):
        assert seen() == (before[0], before[1], {"other/performance_report"})
    told = [record for record in caplog.records if record.message == "cannot see"]
    assert [vars(record)["part"] for record in told] == ["other/performance_report"], "once, until it changes"
    put("other/performance_report", "performance.json", '{"windows": [], "now": "2026-01-01T00:00:00+00:00"}')
    assert seen() == (before[0], before[1] + 1, set())


def test_a_view_whose_rows_always_held_has_no_newest_time(tmp_path: Path) -> None:
    """Flights' register of planes stands at 1970: a panel of ages showed 56 years."""
    source = tmp_path / "content"
    source.mkdir()
    views = [{"name": "register", "newest": 0}, {"name": "history", "newest": 1_372_680_000_000_000}, {"name": "none", "newest": None}]  # fmt: skip
    (source / "online.json").write_text(json.dumps({"views": views}))
    made = Released(tmp_path / "state")
    path = f"{PRODUCT}/online_features"
    made.publish(path, lambda tx: tx.write_folder(path, source).data_version, {})
    found = [one for one in ProductReader(made.lake, [PRODUCT], branch="main").read() if one.name.startswith("online_")]
    assert [(one.labels["view"], one.value) for one in found] == [("history", 1_372_680_000)]


def test_what_moved_whether_a_release_is_held_and_what_was_decided_last_are_numbers(tmp_path: Path) -> None:
    scene = ReleaseScene(tmp_path)
    scene.version("1.0.0")
    reader = ProductReader(scene.lake, [scene.product.name], branch="main")

    def shown(name: str) -> dict[tuple[str, ...], float]:
        """By the other labels than the product's."""
        found = [one for one in reader.read() if one.name == name]
        assert {one.labels["product"] for one in found} <= {scene.product.name}
        return {tuple(one.labels[label] for label in one.labels if label != "product"): one.value for one in found}

    assert (shown("release_held"), shown("retraining_info"), shown("window_drift_effect")) == ({(): 0}, {}, {})
    scene.give(OrderKind.HOLD)
    scene.build()
    window = {
        "start": "2013-01-07T00:00:00+00:00", "end": "2013-01-14T00:00:00+00:00", "shifted": ["plan"],
        "drift": {"plan": 0.31, "calls": 0.02}, "overall": {"judged": True, "coverage": 0.97, "metrics": []},
    }  # fmt: skip
    report = {"now": "2013-01-15T00:00:00+00:00", "windows": [window]}
    scene._folder("performance_report", report, {}, "performance.json")
    scene.write("retraining", {}, {DECISION_FACT: {"action": "retrain", "now": "2013-07-08T00:00:00+00:00"}})
    assert shown("release_held") == {(): 1}
    assert shown("retraining_info") == {("retrain",): 1}
    assert shown("retraining_timestamp_seconds") == {(): 1_373_241_600}
    assert shown("window_drift_effect") == {("plan",): 0.31, ("calls",): 0.02}
    scene.write("retraining", {"again": 1}, {DECISION_FACT: {"action": "hold", "now": "2013-07-09T00:00:00+00:00"}})
    assert shown("retraining_info") == {("hold",): 1}, "what was decided before is not shown beside it"


def test_a_number_that_no_catalogue_has_cannot_be_made() -> None:
    with pytest.raises(UnknownSampleError, match="'speed'"):
        Sample(name="speed", value=1)
    with pytest.raises(UnknownSampleError, match="stale_assets"):
        Sample(name="stale_assets", value=1)


def test_a_taken_port_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(WatchPortError, match="--port"):
            _listen(taken.getsockname()[1], Watch())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_told_also_where_a_background_shell_ignores_ctrl_c(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        ["sh", "-c", f"trap '' INT; exec {sys.executable} -m headwater.cli watch --port 0"], text=True,
        env={**os.environ, "HEADWATER_STATE": str(tmp_path), "PYTHONUNBUFFERED": "1"}, cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as watch:  # fmt: skip
        try:
            assert watch.stdout is not None
            assert "metrics at http://127.0.0.1:" in watch.stdout.readline()
            watch.send_signal(number)
            assert watch.wait(60) == 0
        finally:
            watch.kill()
