"""Repeated request ids: which answer counts, which one repeats it, and when an id stands for another request."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.materialize import Status
from serving.prediction_log import PredictionRecord
from tests.compaction.scene import PATH, START, Scene, microseconds, record, verdicts


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    found = Scene(tmp_path)
    found.label()
    return found


def test_a_repeated_answer_is_kept_out_and_one_that_says_something_else_is_shown(scene: Scene) -> None:
    scene.answer(
        [record("a:0"), record("a:1"), record("a:0", received=microseconds(START) + 5, latency=1, log=1, trace="t")]
    )
    first = scene.compact()
    assert (first.facts["appended"], first.facts["repeated"], first.facts["contrary"]) == (2, 1, 0)
    assert verdicts(first)["repeated_ids_agree"]
    scene.answer([record("a:1"), record("a:0", score=0.9), record("a:2"), record("a:2", decision=True)])
    second = scene.compact()
    assert (second.facts["appended"], second.facts["repeated"], second.facts["contrary"]) == (1, 1, 2)
    assert not verdicts(second)["repeated_ids_agree"]
    assert second.facts["contrary_ids"] == ["a:0", "a:2"]
    assert scene.ids() == ["a:0", "a:1", "a:2"]
    assert scene.rows().filter(pl.col("request_id") == "a:0")["score"].to_list() == [0.25]
    assert scene.rejected()["problem"].unique().to_list() == ["Another record with its request id says something else."]


def test_repetitions_alone_move_the_positions_and_not_the_data_version(scene: Scene) -> None:
    scene.answer([record("a:0")])
    scene.compact()
    version = scene.lake.at("main").entry(PATH).data_version
    scene.answer([record("a:0")])
    assert scene.compact().status is Status.UNCHANGED
    assert scene.lake.at("main").entry(PATH).data_version == version
    assert scene.segments() == []


def test_an_id_is_free_again_when_its_answer_is_older_than_declared(tmp_path: Path) -> None:
    scene = Scene(tmp_path, unique_for=timedelta(hours=1))
    scene.label()
    for hours in (0, 0.9, 3):
        scene.answer([record("a:0", received=microseconds(START + timedelta(hours=hours)))])
        scene.compact()
    assert scene.ids() == ["a:0", "a:0"]


def reused(days: float, **told: Any) -> PredictionRecord:
    """An answer to the id `a:0`, so long after the start."""
    return record("a:0", received=microseconds(START + timedelta(days=days)), **told)


@pytest.mark.parametrize(
    "batches",
    [
        [[reused(0)], [reused(30, score=0.7)]],
        [[reused(0)], [record("b:0", received=0), reused(30, score=0.7)]],
        [[reused(0), reused(30, score=0.7)]],
        [[reused(30, score=0.7)], [reused(0)]],
        [[reused(0), reused(5)], [reused(10, score=0.7)]],
        [[reused(0), reused(5), reused(10, score=0.7)]],
        [[record("b:0", received=microseconds(datetime(1, 1, 1, tzinfo=UTC)))], [reused(0), reused(30, score=0.7)]],
        [[reused(0)], [record("b:0", received=microseconds(datetime(9999, 12, 31, tzinfo=UTC))), reused(30, score=0.7)]],
    ],
    ids=["alone", "beside 1970", "in one batch", "a backlog", "repeated", "repeated in one batch", "year 1", "year 9999"],
)  # fmt: skip
def test_an_id_that_was_rightly_used_again_is_an_answer_whatever_it_is_taken_with(
    scene: Scene, batches: list[list[PredictionRecord]]
) -> None:
    """A record by a clock that stood at 1970, or a long backlog, had the second use of an id set aside as contrary."""
    contrary = []
    for batch in batches:
        scene.answer(batch)
        contrary.append(scene.compact().facts["contrary"])
    assert sum(contrary) == 0
    assert sorted(scene.rows().filter(pl.col("request_id") == "a:0")["score"]) == [0.25, 0.7]


def test_an_answer_is_compared_with_the_use_of_its_id_that_it_repeats(scene: Scene) -> None:
    scene.answer([reused(0), reused(30, score=0.7)])
    scene.compact()
    scene.answer([reused(1), reused(1, score=0.7), reused(29, score=0.7), reused(31)])
    outcome = scene.compact()
    assert (outcome.facts["appended"], outcome.facts["repeated"], outcome.facts["contrary"]) == (0, 2, 2)
    assert scene.rejected()["received"].to_list() == [START + timedelta(days=days) for days in (1, 31)]
