"""Two machines that feed one lake, each from its own state folder and with its own compactor, as over lakeFS."""

from pathlib import Path
from typing import Any

import pytest

from assets._chain._failures import failures_asset
from headwater.lake import EmbeddedLake
from headwater.materialize import Run, Status, materialize, read_positions
from serving.prediction_log import (
    FailureRecord,
    LogWriter,
    backlog,
    damaged_segments,
    encode_failure,
    encode_record,
    segments,
)
from tests.compaction.scene import PATH, START, Scene, microseconds, product, record, verdicts

FAILURES = "toy/service_failures"


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Scene, Scene]:
    lake = EmbeddedLake.open(tmp_path / "lake")
    found = Scene(tmp_path / "a"), Scene(tmp_path / "b")
    for scene in found:
        scene.lake = lake
    found[0].label()
    return found


def test_each_answer_and_each_rejected_record_is_taken_once(machines: tuple[Scene, Scene]) -> None:
    writers = [LogWriter(scene.log) for scene in machines]
    writers[0].append([encode_record(record("x:0", product="other"))])
    for turn in range(3):
        for name, scene, writer in zip("ab", machines, writers, strict=True):
            writer.append([encode_record(record(f"{name}:{turn}"))])
            outcome = scene.compact()
            assert (outcome.facts["appended"], outcome.facts["repeated"]) == (1, 0)
    for scene in machines:
        assert scene.compact().status is Status.UNCHANGED
        assert backlog(scene.log, scene.positions(), 9).records == 0
    assert machines[0].ids() == ["a:0", "a:1", "a:2", "b:0", "b:1", "b:2"]
    assert machines[0].rejected().height == 1


def test_each_failure_is_counted_once(machines: tuple[Scene, Scene]) -> None:
    """Versions are sent back by these counts, which grew with every build."""
    lake, asset = machines[0].lake, failures_asset(product())
    assert asset.feed is not None
    folders = [scene.state / asset.feed.folder for scene in machines]
    writers = [LogWriter(folder) for folder in folders]
    told: dict[str, Any] = {"failed_product": "toy", "version": "1.0.0", "code": "failed", "at": microseconds(START)}
    for turn in range(3):
        for place, (scene, writer) in enumerate(zip(machines, writers, strict=True)):
            writer.append([encode_failure(FailureRecord(count=10**turn * (1 + place), **told))])
            materialize(lake, asset, run=Run(actor="test"), state=scene.state)
    assert sorted(lake.at("main").table(FAILURES).collect()["count"]) == [1, 2, 10, 20, 100, 200]
    positions = read_positions(lake.at("main"), FAILURES)
    assert [backlog(folder, positions, 9).records for folder in folders] == [0, 0]


def test_positions_and_marks_do_not_grow_with_what_was_taken(machines: tuple[Scene, Scene]) -> None:
    for turn in range(5):
        for name, scene in zip("ab", machines, strict=True):
            scene.answer((record(f"{name}:{turn}:{part}") for part in range(3)), segment_bytes=100)
            scene.compact()
            assert scene.segments() == []
            assert len(list(scene.log.iterdir())) == 3
    assert len(machines[0].positions()["segments"]) == 6
    assert machines[0].rows().height == 30


def test_each_machine_tells_of_damage_in_its_own_log(machines: tuple[Scene, Scene]) -> None:
    one, other = machines
    one.answer([record("a:0"), record("a:1"), record("a:2")])
    (segment,) = segments(one.log)
    data = bytearray(segment.path.read_bytes())
    data[data.index(b"a:1")] ^= 1
    segment.path.write_bytes(bytes(data))
    assert not verdicts(one.compact())["log_is_whole"]
    other.answer([record("b:0")])
    assert verdicts(other.compact())["log_is_whole"]
    assert damaged_segments(one.log) == (segment.name,)
    assert not verdicts(one.compact())["log_is_whole"]


def test_what_an_older_headwater_left_in_the_positions_is_in_nobodys_way(machines: tuple[Scene, Scene]) -> None:
    """It made no marks: names of segments that it deleted stay, one of a damaged one that somebody has looked at too."""
    scene = machines[0]
    writer = LogWriter(scene.log)
    writer.append([encode_record(record("a:0"))])
    scene.compact()
    writer.append([encode_record(record("a:1"))])
    gone = "000000000009-0011223344556677"
    positions = {"segments": {**scene.positions()["segments"], gone: 500}, "damaged": [gone]}
    publish_positions(scene, positions)
    outcome = scene.compact()
    assert (outcome.facts["appended"], verdicts(outcome)["log_is_whole"]) == (1, True)
    assert scene.ids() == ["a:0", "a:1"]


def publish_positions(scene: Scene, positions: Any) -> None:
    from headwater.materialize._append import _write_positions

    with scene.lake.transaction() as tx:
        _write_positions(tx, PATH, positions, None)
        tx.publish(message="Positions of an older Headwater", provenance=None)
