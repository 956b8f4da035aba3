"""Several plays of one past in one lake: whose answers count."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets._chain._causes import _there
from assets._chain._models import model_chain
from headwater.cli import _replay_play
from headwater.cli._replay_play import asked
from headwater.decisions import Rollout
from headwater.replay import (
    ReplayDay,
    ReplayProgress,
    ReplayRequest,
    asked_in,
    is_in_play,
    newest_play,
    own_id,
    play_of,
    standing_answers,
    write_progress,
)
from headwater.testing.frames import HeldInputs, HeldSnapshot
from resources.settings import load_settings
from serving.http._v1 import LONGEST_ID
from tests.assets.test_loop import DAY, PATHS, PRODUCT, START, answers, outcomes, truth
from tests.assets.test_windows_settle import Reports
from tests.compaction.scene import Scene as Log
from tests.compaction.scene import record
from tests.release_scene import Scene
from tests.rollout_scene import AT, RULES, TOY, RolloutScene

FIRST, LAST = date(2013, 7, 1), date(2013, 7, 2)


def never_played(snapshot: Any, packaged: Any) -> Any:
    """A declared past; nobody asks for it here."""
    raise AssertionError


PLAYED = replace(PRODUCT, replay=never_played)


def in_play(play: int, rows: pl.DataFrame, **columns: Any) -> pl.DataFrame:
    """Predictions as a play gives them, a year of the service's clock for each."""
    ids = [asked_in(play, id) for id in rows["request_id"]]
    later = pl.col("received") + play * timedelta(days=365)
    return rows.with_columns(
        later, *(pl.lit(value).alias(name) for name, value in columns.items()), request_id=pl.Series(ids)
    )


def test_the_id_of_a_play_is_another_one_in_each_and_the_same_in_each_try() -> None:
    """A digit of another script was taken for one, and no table with it could be read."""
    others = ["replay-x/r", "my replay-1/r", "replay-\u0663/r", "replay-1234567890/r"]
    ids = ["r", asked_in(1, "r"), asked_in(12, "r"), asked_in(0, "r"), *others]
    rows = pl.DataFrame({"request_id": ids})
    assert len(set(ids)) == len(ids) - 1
    assert rows.select(play_of())["request_id"].to_list() == [0, 1, 12, *[0] * 5]
    assert rows.select(own_id())["request_id"].to_list() == ["r"] * 4 + others
    assert [is_in_play(id) for id in ids] == [False, True, True, *[False] * 5]
    assert newest_play(rows.lazy()) == 12
    assert newest_play(rows.lazy().clear()) == 0


def test_a_days_requests_are_asked_under_the_plays_ids() -> None:
    request = ReplayRequest(id="2013-07-01T10:00:00Z-UA-1545", at=AT, entity={"flight": 1545})
    day = ReplayDay(day=FIRST, begin=AT, end=AT + DAY, requests=(request,), files={})
    (found,) = asked(day, 2).requests
    assert (found.id, found.at, found.entity) == ("replay-2/2013-07-01T10:00:00Z-UA-1545", AT, {"flight": 1545})
    assert len(found.id) <= LONGEST_ID
    assert asked(day, 0) == day, "what began before plays had numbers goes on under its ids"


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20)), max_size=30))
def test_an_answer_stands_unless_a_later_play_asked_about_that_time_or_an_earlier_one(
    made: list[tuple[int, int]],
) -> None:
    rows = pl.DataFrame(
        {
            "request_id": [asked_in(play, f"r{place}") for place, (play, _) in enumerate(made)],
            "at": [START + day * DAY for _, day in made],
        },
        schema={"request_id": pl.String, "at": pl.Datetime("us", "UTC")},
    )  # fmt: skip
    expected = [
        place
        for place, (play, day) in enumerate(made)
        if not play or not any(other > play and begun <= day for other, begun in made)
    ]
    found = standing_answers(rows.lazy()).select(own_id()).collect()["request_id"].to_list()
    assert found == [f"r{place}" for place in expected]


def test_no_answer_of_a_second_play_is_set_aside(tmp_path: Path) -> None:
    """The same week, the same flights, another model: 999 answers said something else than the first ones, and were rejected."""
    log = Log(tmp_path)
    log.label()
    for play, score in ((1, 0.25), (2, 0.75), (2, 0.75)):  # the second one is killed and asks again
        log.answer([record(asked_in(play, "ann:1"), score=score)])
        log.compact()
    assert log.rows().select("request_id", "score").sort("score").rows() == [(asked_in(1, "ann:1"), 0.25), (asked_in(2, "ann:1"), 0.75)]  # fmt: skip
    assert not log.lake.at("main").has("toy/predictions.rejected")


def windows(found: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    return {window["start"][:10]: dict(window["answered"]) for window in found}


def test_reports_of_a_second_play_speak_of_it_alone_from_where_it_began(tmp_path: Path) -> None:
    """Ten weeks were played; the second play, by another version, began in the third week and was in its second."""
    labels, reports = truth(70), Reports(tmp_path, PLAYED)
    first = in_play(1, answers(labels), version="1.0.0")
    began, reached = START + 14 * DAY, START + 24 * DAY
    there = labels.filter(pl.col("at").is_between(began, reached, closed="left"))
    second = in_play(2, answers(there), version="2.0.0")
    before = reports.made(labels, first)
    assert [window["overall"]["judged"] for window in before] == [True] * 10
    # The second play lands anew what was known by then.
    known = labels.filter(pl.col("known") <= reached)
    found = reports.made(known, pl.concat([first, second]))
    assert windows(found) == {
        "2013-01-07": {"1.0.0": 70}, "2013-01-14": {"1.0.0": 70}, "2013-01-21": {"2.0.0": 70}, "2013-01-28": {"2.0.0": 30},
    }  # fmt: skip
    assert found[:2] == before[:2], "what was played before its first day stays"
    # Ten weeks later its own windows are settled: they stay, too.
    whole = in_play(2, answers(labels.filter(pl.col("at") >= began)), version="2.0.0")
    ended = reports.made(labels, pl.concat([first, whole]))
    again = reports.made(labels, pl.concat([first, whole]))
    assert windows(again) == windows(ended)
    assert list(windows(ended).values())[2:] == [{"2.0.0": 70}] * 8


def test_outcomes_are_of_the_newest_play_and_of_what_no_play_asked() -> None:
    labels = truth(3)
    live = answers(labels.filter(pl.col("at") < START + DAY)).with_columns(pl.lit("live").alias("request_id"))[:1]
    rows = pl.concat([in_play(1, answers(labels)), in_play(2, answers(labels[:15])), live])
    told = outcomes(labels, rows, PLAYED).data
    assert told.group_by(play_of().alias("play")).len().sort("play").rows() == [(0, 1), (2, 15)]
    assert outcomes(labels, rows).data.height == 46, "a product without a replay has no plays"


def test_causes_look_for_a_windows_rows_among_those_that_count() -> None:
    labels = truth(3)
    rows = pl.concat([in_play(1, answers(labels)), in_play(2, answers(labels[:15]))])
    held = HeldInputs({}, previous={PATHS.predictions: HeldSnapshot({PATHS.predictions: rows})})
    assert _there(held, PLAYED).height == 15


def test_a_stage_of_a_second_play_is_timed_by_its_own_requests(tmp_path: Path) -> None:
    """An earlier play had come four days further: the watch of the second one began there as soon as that went past it."""
    scene = RolloutScene(tmp_path, Rollout(rules=RULES), replace(TOY, replay=never_played))
    scene.version("1.0.0")
    scene.answers([1, 2], "1.0.0", at=AT + 4 * DAY, request_id=lambda order: asked_in(1, f"r{order}"))
    scene.settle()
    scene.version("1.1.0")
    for order, days in ((3, 0), (4, 6), (5, 7)):
        scene.answers([order], "1.1.0", at=AT + days * DAY, request_id=lambda order: asked_in(2, f"r{order}"))
        scene.settle()
        found = scene.decision()
        assert (found["action"], found["rule"]) == ("wait" if days < 7 else "advance", "watch"), days


def test_who_reads_predictions_for_reports_reads_those_that_count() -> None:
    """One more asset that looks at predictions has to say which: those of all plays are for what goes by the service's clock."""
    reading = {asset.path for asset in model_chain(PLAYED) if PATHS.predictions in (*asset.inputs, *asset.previous)}
    assert {path.removeprefix("shop/") for path in reading} == {
        "predictions", "outcomes", "performance_report", "performance_causes", "service_report", "rollout", "experiment", "release",
        "prediction_day",
    }  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    monkeypatch.setenv("HEADWATER_BRANCH", "main")
    monkeypatch.delenv("HEADWATER_LAKE", raising=False)
    made = Scene(tmp_path)
    made.version("1.0.0")
    return made


def begun(scene: Scene, *, restart: bool = False, first: date = FIRST) -> ReplayProgress:
    """What a replay begins with or goes on with, kept as it keeps it."""
    folder = scene.state / "replay" / scene.product.name
    found = _replay_play.begun(scene.product, scene.lake, load_settings(), folder, first, LAST, restart=restart)
    write_progress(found, folder)
    return found


def test_a_play_keeps_its_number_over_a_kill_and_a_restart_is_the_next(scene: Scene) -> None:
    killed = begun(scene)
    scene.table("other", pl.DataFrame({"a": [1]}))
    again = begun(scene)
    assert (again.play, killed.play, again.commit) == (1, 1, scene.lake.resolve("main").id), "nothing is there of it"
    scene.table("predictions", pl.DataFrame({"request_id": [asked_in(1, "a")], "at": [START]}))
    assert begun(scene) == again, "killed in its first day, it began before what that built"
    restarted = begun(scene, restart=True)
    assert (restarted.play, restarted.lands_over) == (2, True)
    assert begun(scene) == restarted
    scene.version("1.1.0")
    other = begun(scene)
    assert (other.play, other.version, other.lands_over) == (3, "1.1.0", True), "no day ended by 1.0.0"
    assert begun(scene, first=LAST).play == 4, "what ended no day hinders no other time"


def test_the_lake_knows_its_plays_when_the_folder_of_replays_was_removed(scene: Scene) -> None:
    rows = {"request_id": [asked_in(4, "a"), asked_in(2, "b"), "c"], "at": [START] * 3}
    scene.table("predictions", pl.DataFrame(rows))
    assert begun(scene).play == 5
    file = scene.state / "replay" / scene.product.name / "replay.json"
    file.write_text("{")
    assert begun(scene, restart=True).play == 5
    days: dict[str, dict[str, str]] = {"2013-07-01": {}}
    old = {**json.loads(file.read_text()), "days": days}
    del old["play"]
    file.write_text(json.dumps(old))
    assert begun(scene).play == 0, "a replay of an older Headwater goes on under its bare ids"


def test_two_plays_from_copies_of_one_state_ask_under_the_same_ids(scene: Scene, tmp_path: Path) -> None:
    """What is drawn by request id is drawn alike, so that two runs of one past can be compared."""
    other = Scene(tmp_path / "copy")
    other.version("1.0.0")
    assert begun(scene).play == begun(other).play == 1
