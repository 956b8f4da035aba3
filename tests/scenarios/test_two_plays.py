"""A past that is played twice in one lake, by two versions: each play's story is its own."""

import json
from typing import Any, Final

import polars as pl
import pytest

from headwater.lake import EmbeddedLake, Snapshot
from headwater.replay import play_of, read_progress
from tests.scenarios.workshop import PRODUCT, Workshop

REPLAY: Final = '''
"""Forty customers of May, asked on two days. May's file lacks a customer on the first one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from headwater.replay import ReplayDay, ReplayRequest


class Past:
    def __init__(self, snapshot, packaged):
        rows = snapshot.table("churn/datasets/labels").collect()
        self.rows = rows.filter(pl.col("at") == rows["at"].max()).sort("customer").head(40).to_dicts()
        sample = pl.read_csv(Path(__file__).with_name("sample.csv"), infer_schema=False, empty_string_is_null=False)
        self.may = sample.filter(pl.col("period") == "2024-05").sort("customer").drop("period")

    def days(self, first, last):
        for offset in range((last - first).days + 1):
            day = first + timedelta(days=offset)
            begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
            requests = tuple(self.request(row) for place, row in enumerate(self.rows) if day.day == 1 + place % 2)
            files = {("customers", "2024-05"): self.may[:-1] if day.day == 1 else self.may}
            yield ReplayDay(day=day, begin=begin, end=begin + timedelta(days=1), requests=requests, files=files)

    def request(self, row):
        entity = {name: row[name] for name in ("customer", "contract", "tenure_months", "charge")}
        return ReplayRequest(id=f"{row['customer']}", at=row["at"], entity=entity)

    def events(self, start, end):
        return {}
'''
DAYS: Final = ("--from", "2024-05-01", "--to", "2024-05-02")
"""May has landed: it is landed over."""


def now(shop: Workshop) -> Snapshot:
    return EmbeddedLake.open(shop.state / "lake").at("main")


def rows(shop: Workshop, name: str) -> pl.DataFrame:
    return now(shop).table(f"{PRODUCT}/{name}").collect()


def weeks(shop: Workshop) -> str:
    """The weeks of the story as its page shows them."""
    page = (shop.state / "replay" / PRODUCT / "index.html").read_text()
    return page.split("Week by week")[1].split("Decisions")[0]


@pytest.mark.heavy
@pytest.mark.timeout(1_200)
def test_a_second_play_by_another_version_is_told_by_its_own_answers(workshop: Workshop) -> None:
    """Its answers had the ids of the first play's: all of them were set aside as contrary, and its story told the first play's."""
    (workshop.product / "replay.py").write_text(REPLAY)
    workshop.edit(
        "product.py",
        "from assets.churn.assets import",
        "from assets.churn.replay import Past\nfrom assets.churn.assets import",
    )
    workshop.edit("product.py", "    drift=", "    replay=Past,\n    drift=")
    workshop.run("build")
    workshop.run("replay", PRODUCT, *DAYS, "--restart")
    first, told = rows(workshop, "predictions"), weeks(workshop)
    assert (first.height, first["version"].unique().to_list()) == (40, ["1.0.0"])
    workshop.edit("product.py", "rounds=20", "rounds=40")
    workshop.run("build")
    assert ("1.1.0", "live") in workshop.models()
    done: dict[str, Any] = workshop.json("replay", PRODUCT, *DAYS, "--restart")
    assert done["days"] == 2

    both = rows(workshop, "predictions")
    counts = both.group_by(play_of().alias("play"), "version").len().sort("play")
    assert counts.rows() == [(1, "1.0.0", 40), (2, "1.1.0", 40)]
    assert not now(workshop).has(f"{PRODUCT}/predictions.rejected")
    told_of = rows(workshop, "outcomes")
    assert (told_of.height, told_of["version"].unique().to_list()) == (40, ["1.1.0"])
    report = json.loads((now(workshop).folder(f"{PRODUCT}/performance_report") / "performance.json").read_text())
    assert [window["answered"] for window in report["windows"]] == [{"1.1.0": 40}]
    assert weeks(workshop) != told, "the scores of the second play are other ones"
    progress = read_progress(workshop.state / "replay" / PRODUCT)
    assert progress is not None
    assert (progress.play, progress.version, len(progress.days)) == (2, "1.1.0", 2)
