"""Builds as spans, and the watch's own conduct."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from headwater.cli._watch import Watch, WatchPortError, _listen
from headwater.errors import HeadwaterError
from headwater.tracing import open_tracer, request_of, span_of
from headwater.watching import ProductReader, Sample, UnknownSampleError, exposition, read_disk
from resources.settings import Settings
from resources.tracing import SERVICE, traced
from tests.compaction.scene import PATH, Scene, record
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
        "{",
    ],
)
def test_a_release_that_somebody_published_wrongly_costs_the_watch_its_numbers_and_not_its_life(
    tmp_path: Path, said: str
) -> None:
    source, path = tmp_path / "source", f"{PRODUCT}/release"
    source.mkdir()
    (source / "release.json").write_text(said)
    made = Released(tmp_path / "state")
    made.publish(path, lambda tx: tx.write_folder(path, source).data_version, {})
    reader, watch = ProductReader(made.lake, [PRODUCT], branch="main"), Watch()
    watch.parts = {"lake": (0.0, lambda: list(reader.read())), "disk": (0.0, lambda: list(read_disk(tmp_path)))}
    watch.look()
    shown = exposition(watch.samples()).decode()
    assert 'headwater_watch_failed{part="lake"} 1.0' in shown
    assert 'headwater_watch_failed{part="disk"} 0.0' in shown


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
