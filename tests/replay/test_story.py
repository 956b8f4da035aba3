"""What a replay keeps and tells."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headwater.cli._replay_story import _costs, _outcomes, _retrained, _weeks, _worth_telling
from headwater.replay import (
    ReplayError,
    ReplayProgress,
    Story,
    Week,
    asked_in,
    auc_interval,
    conclusion,
    mean_interval,
    read_progress,
    write_progress,
    write_story,
)
from resources.settings import load_settings
from tests.release_scene import Scene

START = datetime(2013, 7, 1, tzinfo=UTC)
PROGRESS = ReplayProgress(
    product="shop", first=date(2013, 7, 1), last=date(2013, 7, 31), commit="c" * 64, version="1.0.0",
    days={"2013-07-01": {"asked": 10, "live": "1.0.0"}},
)  # fmt: skip


def week(
    number: int, champion: float | None, never: float | None, weekly: float | None, rows: int = 100, **more: Any
) -> Week:
    return Week(
        start=START + number * timedelta(days=7), rows=rows, champion=champion, never=never, weekly=weekly, **more
    )


def story(*weeks: Week, actions: tuple[str, ...] = ()) -> Story:
    decisions = tuple(
        {
            "decided": START.isoformat(),
            "kind": "retraining",
            "action": action,
            "version": None,
            "reason": "28 days & <more>",
        }
        for action in actions
    )
    costs = {"shop/model": {"builds": 2.0, "cpu_seconds": 12.5, "wall_seconds": 20.0}}
    return Story(title="shop", weeks=weeks, decisions=decisions, costs=costs, facts={"days": 31}, unit="minutes")


def test_what_was_kept_reads_back(tmp_path: Path) -> None:
    assert read_progress(tmp_path / "none") is None
    write_progress(PROGRESS, tmp_path / "some")
    assert read_progress(tmp_path / "some") == PROGRESS


@pytest.mark.parametrize("text", ["", "{}", '{"first": "2013"}', "[]"])
def test_what_cannot_be_read_says_how_to_begin_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "replay.json").write_text(text)
    with pytest.raises(ReplayError, match="begin the replay anew"):
        read_progress(tmp_path)


def test_the_gain_weighs_weeks_by_their_rows_and_passes_over_what_is_undefined() -> None:
    found = story(week(0, 0.7, 0.6, None, rows=300), week(1, 0.6, 0.7, 0.8), week(2, None, 0.5, 0.5))
    assert found.gain == pytest.approx((300 * 0.1 - 100 * 0.1) / 400)
    assert found.gain_of_weekly == pytest.approx((100 * 0.1) / 200)


@pytest.mark.parametrize(("champion", "said"), [(0.71, "paid"), (0.7001, "did not pay"), (0.69, "did not pay")])
def test_the_conclusion_is_honest_about_whether_it_paid(champion: float, said: str) -> None:
    found = conclusion(story(week(0, champion, 0.7, 0.7, retrained=9), actions=("retrain", "hold")))
    assert f"Retraining {said} over" in found
    assert "retrained every week" in found
    assert found.startswith("1 training was ordered, 0 CPU seconds with its evaluation.")
    more = conclusion(story(week(0, champion, 0.7, 0.7, retrained=9), actions=("retrain", "retrain")))
    assert more.startswith("2 trainings were ordered, 0 CPU seconds with their evaluations.")


def test_a_time_in_which_the_same_model_answered_says_nothing_of_retraining() -> None:
    """It read +0.0000 [+0.0000, +0.0000], and that chance explains it."""
    alike = replace(story(week(0, 0.7, 0.7, 0.72), week(1, 0.6, 0.6, 0.61)), intervals={"gain": (0.0, 0.0)})
    found = conclusion(alike)
    assert found.startswith("No training was ordered. What was live ranked as the model that was never retrained;")
    assert found.endswith("No retrained model answered enough to tell whether retraining paid over this time.")
    assert "[" not in found
    dearer = week(0, 0.7, 0.7, 0.7, cost=(5.0, 4.0, None))
    assert "ranked +0.0000" in conclusion(story(dearer))
    unknown = week(2, None, None, None, retrained=100)
    assert "No retrained model answered enough" in conclusion(replace(alike, weeks=(*alike.weeks, unknown)))


def test_a_retrained_model_that_ranks_as_the_one_before_answered_all_the_same() -> None:
    """As every model of one feature does: the page said that no retrained model had answered."""
    times = [START + number * timedelta(days=4) for number in range(4)]
    rows = pl.DataFrame(
        {"at": times, "week": [START, START, START + timedelta(days=7), START + timedelta(days=7)], "label": [0, 1, 0, 1],
         "variant": ["1.0.0", "1.0.0", "1.0.0", "1.0.1"], "score": [0.2, 0.8, 0.2, 0.9], "never": [0.2, 0.8, 0.2, 0.8]}
    ).with_columns(weekly=pl.lit(None, pl.Float64))  # fmt: skip
    found = tuple(_weeks(rows, frozenset({"1.0.1"})))
    assert [one.retrained for one in found] == [0, 1]
    said = conclusion(replace(story(*found, actions=("retrain",)), intervals={"gain": (0.0, 0.0)}))
    assert "What was live ranked +0.0000 [+0.0000, +0.0000] AUC" in said
    assert said.endswith("Retraining made no difference that chance does not explain over this time.")


@pytest.mark.parametrize("variant", ["0.9.0", "ensemble", None])
def test_what_no_training_made_is_no_retrained_model(variant: str | None) -> None:
    """A version from before the replay, to which a person went back, counted as one: retraining made no difference, it said of none."""
    rows = pl.DataFrame(
        {"at": [START] * 4, "week": [START] * 4, "label": [0, 1, 0, 1], "variant": ["1.0.0", "1.0.0", variant, variant],
         "score": [0.2, 0.8, 0.3, 0.9], "never": [0.2, 0.8, 0.2, 0.8]}
    ).with_columns(weekly=pl.lit(None, pl.Float64))  # fmt: skip
    (found,) = _weeks(rows, frozenset({"1.0.1"}))
    assert found.retrained == 0
    said = conclusion(replace(story(found), intervals={"gain": (0.0, 0.0)}))
    assert said.startswith("No training was ordered. What was live ranked as the model that was never retrained.")
    assert said.endswith("No retrained model answered enough to tell whether retraining paid over this time.")


def test_retrained_is_what_was_published_since_the_replay_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    monkeypatch.setenv("HEADWATER_BRANCH", "main")
    monkeypatch.delenv("HEADWATER_LAKE", raising=False)
    scene, settings = Scene(tmp_path), load_settings()
    scene.version("0.9.0")
    scene.version("1.0.0")
    progress = replace(PROGRESS, product="flights", commit=scene.lake.resolve("main").id)
    assert _retrained(scene.lake, settings, progress) == frozenset()
    scene.version("1.0.1")
    scene.version("1.1.0", build=False)
    assert _retrained(scene.lake, settings, progress) == {"1.0.1", "1.1.0"}


def test_what_an_older_version_ranked_says_nothing_of_retraining() -> None:
    """After a roll-back in a time without any training the page said that retraining ranked worse."""
    found = conclusion(replace(story(week(0, 0.69, 0.7, 0.72)), intervals={"gain": (-0.02, -0.001)}))
    assert found.startswith("No training was ordered. What was live ranked -0.0100 [-0.0200, -0.0010] AUC against")
    assert found.endswith("No retrained model answered enough to tell whether retraining paid over this time.")


@pytest.mark.parametrize(
    ("interval", "said"),
    [((0.001, 0.02), "better"), ((-0.02, -0.001), "worse"), ((-0.001, 0.02), "made no difference")],
)
def test_with_an_interval_chance_is_ruled_out_or_not(interval: tuple[float, float], said: str) -> None:
    found = conclusion(
        replace(story(week(0, 0.71, 0.7, 0.7, retrained=9), actions=("retrain",)), intervals={"gain": interval})
    )
    assert f"Retraining {'ranked ' if said != 'made no difference' else ''}{said}" in found
    assert f"[{interval[0]:+.4f}, {interval[1]:+.4f}] AUC" in found


def test_an_interval_covers_the_gain_that_was_planted_and_nothing_where_none_was() -> None:
    draw = np.random.default_rng(1)
    days = np.repeat(np.arange(28), 200)
    label = draw.integers(0, 2, len(days))
    never = draw.normal(size=len(days)) + 0.5 * label
    frame = {
        "day": days,
        "week": days // 7,
        "label": label,
        "never": never,
        "same": never + draw.normal(size=len(days)) * 0.01,
    }
    rows = pl.DataFrame({**frame, "better": never + 0.3 * label})
    squeezed = rows.with_columns(
        pl.col("never", "same", "better").map_batches(lambda v: 1 / (1 + np.exp(-v.to_numpy())))
    )
    low, high = auc_interval(squeezed, ours="better", other="never") or (0, 0)
    assert 0.04 < low < high < 0.12
    low, high = auc_interval(squeezed, ours="same", other="never") or (1, 1)
    assert low < 0.002
    assert high > -0.002
    assert mean_interval(rows.with_columns(cost=pl.col("never") + 1), ours="cost", other="never") == pytest.approx(
        (1, 1)
    )
    assert auc_interval(rows.filter(pl.col("day") < 9), ours="same", other="never") is None


def test_without_labels_there_is_no_conclusion() -> None:
    assert "No week has the labels" in conclusion(story(week(0, None, None, None)))


def test_the_page_shows_weeks_decisions_and_costs(tmp_path: Path) -> None:
    priced = week(0, 0.71234, 0.7, 0.69, cost=(6.5, 6.75, 7.0))
    page = write_story(story(priced, actions=("retrain",)), tmp_path / "page").read_text()
    for said in ("0.7123", "6.5000", "28 days &amp; &lt;more&gt;", "shop/model", "12.5", "auc.svg"):
        assert said in page
    assert (tmp_path / "page" / "auc.svg").read_text().startswith("<?xml")
    assert "<details>" not in page
    quiet = ({"day": "2013-07-02", "kind": "retraining", "action": "hold", "reason": "Nothing speaks for it."},)
    page = write_story(replace(story(priced), quiet=quiet), tmp_path / "page").read_text()
    assert "<summary>The other 1, by which nothing changed</summary>" in page
    assert "2013-07-02</td><td>retraining</td><td>hold</td><td></td><td>Nothing speaks for it." in page


def test_the_page_of_nothing_is_a_page(tmp_path: Path) -> None:
    assert "No week has the labels" in write_story(story(), tmp_path / "page").read_text()


def test_a_training_that_was_held_back_is_told_once_for_days_alike() -> None:
    def row(kind: str, action: str, rule: str | None) -> dict[str, Any]:
        return {"kind": kind, "action": action, "rule": rule}

    held = row("retraining", "hold", "in_flight")
    quiet, trained, cooled = row("retraining", "hold", "nothing"), row("retraining", "retrain", "schedule"), row("retraining", "hold", "cool_down")  # fmt: skip
    waits, refused = row("rollout", "wait", "labels"), row("release", "refuse", "gates")
    days = [
        quiet,
        trained,
        waits,
        held,
        held,
        waits,
        held,
        cooled,
        refused,
        quiet,
        held,
        row("retraining", "hold", None),
    ]
    assert list(_worth_telling(days)) == [trained, held, cooled, refused, held]


def test_a_hold_of_the_release_is_told() -> None:
    ordered = {"kind": "release", "action": "hold"}
    assert list(_worth_telling([ordered])) == [ordered]


def test_a_story_ends_with_its_last_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others built and asked after a replay was counted in, the next time that its story was told."""
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path))
    monkeypatch.setenv("HEADWATER_BRANCH", "main")
    monkeypatch.delenv("HEADWATER_LAKE", raising=False)
    scene, settings = Scene(tmp_path), load_settings()
    begun = scene.lake.resolve("main")
    scene.version("1.0.0")
    ended = scene.lake.resolve("main").created
    at = [START + timedelta(hours=hours) for hours in (-30, 5, 30, 80)]
    ids = [asked_in(2, f"r{number}") for number in range(4)]
    rows = pl.DataFrame({"request_id": ids, "at": at, "judged": [True] * 4, "truth": ["known"] * 4})
    scene.table("outcomes", rows)
    days = {"2013-07-01": {"ended": ended.isoformat()}}
    progress = replace(PROGRESS, product="flights", commit=begun.id, days=days, play=2)
    scene.version("1.1.0")
    assert _costs(scene.lake, progress, settings)["flights/model"]["builds"] == 1
    assert "flights/outcomes" not in _costs(scene.lake, progress, settings)
    told = _outcomes(scene.product, scene.lake, settings, progress)
    assert told is not None
    assert told["at"].to_list() == at[1:3]
    assert _outcomes(scene.product, scene.lake, settings, replace(progress, play=1)) is None, "another play's answers"
