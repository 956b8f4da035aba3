"""What the next version is compared with, the released one: where that cannot score today's rows it says why, and is never taken for no
champion at all; and what an evaluation draws."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from assets._chain._evaluation import _groups, evaluation_asset, read_evaluation, rival_on
from headwater.decisions import Rollout, RolloutKind
from headwater.features import add_on_demand, fill_defaults
from headwater.materialize import Run, Status, materialize
from headwater.models import Evaluation, LogisticBaseline, read_bundle, train_model, write_bundle
from headwater.product import Model
from tests.rollout_scene import RULES, TOY, RolloutScene
from tests.serving.conftest import SERVED, TRAINING
from tests.serving.conftest import bundle as toy_bundle
from tests.serving.toy import TWICE

ROWS = pl.DataFrame(
    {"x": [float(number % 7) for number in range(60)], "k": ["a", "b", "c"] * 20, "y": [0, 1, 1, 0] * 15}
)


def test_a_champion_scores_rows_or_says_why_it_cannot(tmp_path: Path) -> None:
    declaration = LogisticBaseline(features=("x", "k"), categorical=("k",), label="y")
    write_bundle(tmp_path / "bundle", train_model(ROWS[:40], ROWS[40:], declaration))
    bundle = read_bundle(tmp_path / "bundle")
    rival, gap = rival_on(ROWS, bundle, version="1.0.0")
    assert rival is not None
    assert len(rival.scores) == ROWS.height
    assert gap == ""
    for changed, named in ((ROWS.drop("x"), "'x'"), (ROWS.with_columns(k=pl.lit(1.5)), "'k'")):
        rival, gap = rival_on(changed, bundle, version="1.0.0")
        assert rival is None
        assert "1.0.0" in gap
        assert named in gap


def test_few_local_days_are_drawn_and_not_their_rows() -> None:
    """Below ten days an evaluation drew rows, and its interval was a third as wide as an honest one."""
    begin = datetime(2013, 6, 1, 2, tzinfo=UTC)  # 31 May in New York
    june = pl.DataFrame({"at": [begin + timedelta(hours=hour) for hour in range(48)]})
    may = june.with_columns(pl.col("at") - timedelta(days=31))
    days = _groups((may, june), "at", "America/New_York")
    assert days is not None
    assert [int((days == day).sum()) for day in sorted(set(days))] == [2, 24, 22]


def test_of_monthly_extracts_rows_are_drawn() -> None:
    """All rows of a month are of its first day: that is when they were delivered, and nothing that they share."""
    months = [pl.DataFrame({"at": [datetime(2013, month, 1).date()] * 50}) for month in (1, 2, 3)]
    assert _groups(months, "at", "UTC") is None
    daily = pl.DataFrame({"at": [datetime(2013, 2, day).date() for day in range(1, 29)]})
    assert _groups((daily, months[2]), "at", "UTC") is not None


READ = ("x", "kind", "h_value", "twice", "is_known")
CANARY = Rollout(kind=RolloutKind.CANARY, steps=(0.5, 1.0), rules=RULES)


def test_the_released_version_is_the_champion_of_the_next_and_its_rollout_says_how_they_compared(
    tmp_path: Path,
) -> None:
    """With no champion ever, `not_worse_than_champion` passes every version, and nothing was seen to fail."""
    product = replace(TOY, model=Model(features=READ, categorical=("kind",)))
    scene = RolloutScene(tmp_path, CANARY, product)
    rows = add_on_demand(fill_defaults(TRAINING, [SERVED]), [TWICE])
    truth, part = (pl.col("x") * 7 % 60 > 30).cast(pl.Int8), pl.when(pl.col("x") % 2 == 0).then(pl.lit("test"))
    scene.table("training_set", rows.with_columns(late=truth, split=part.otherwise(pl.lit("train"))))

    def evaluated(version: str, slope: float) -> Evaluation:
        scene.version(version, build=False, bundle=toy_bundle(tmp_path / version, slope=slope))
        done = materialize(scene.lake, evaluation_asset(product), run=Run())
        assert done.status is Status.PUBLISHED, done.checks
        found = read_evaluation(scene.lake.at("main").folder("toy/evaluation"))
        scene.build()
        return found

    first = evaluated("1.0.0", 7)
    assert (first.champion, first.champion_gap) == (None, "")
    second = evaluated("1.1.0", 1)
    assert second.champion is not None
    assert (second.champion.version, second.champion_gap, second.rows) == ("1.0.0", "", 30)
    values = {one.name: one.value for one in second.champion.metrics}
    assert values["auc"] == {one.name: one.value for one in first.metrics}["auc"], "scored by its own bundle"
    scene.answers(range(4), {order: f"1.{order % 2}.0" for order in range(4)})
    scene.settle()
    compared = scene.decision()["evidence"]["facts"]["before_rollout"]
    assert (compared["candidate"], compared["against"], compared["rows"]) == ("1.1.0", "1.0.0", 30)
    told = {one["name"]: one["value"] for one in compared["differences"]}
    assert told["auc"] == {one.metric.name: one.metric.value for one in second.champion.differences}["auc"]
