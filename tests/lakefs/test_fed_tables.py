"""A fed table on lakeFS: rows and positions in one commit, and two builds that took the same records."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from headwater.lake.lakefs import LakeFSLake
from headwater.materialize import Run, materialize, read_positions
from tests.compaction.scene import PATH, Scene, record


def test_two_compactors_at_once_take_each_record_once(lake: LakeFSLake, tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.lake = lake
    scene.label()
    scene.compact()
    scene.answer(record(f"a:{number}") for number in range(3))
    rivals, compute = [1], scene.asset.compute

    def meanwhile(inputs: Any) -> Any:
        found = compute(inputs)
        if rivals:
            rivals.pop()
            scene.compact()
        return found

    rival = replace(scene.asset, compute=meanwhile)
    assert materialize(lake, rival, run=Run(), state=tmp_path).facts["appended"] == 0
    assert scene.ids() == ["a:0", "a:1", "a:2"]
    assert read_positions(lake.at("main"), PATH)["segments"]
    assert scene.segments() == []
