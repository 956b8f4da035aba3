"""What makes the outcomes anew where no label comes in: the day of the newest prediction."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain._causes import causes_asset
from assets._chain._performance import REPORT_FILE, performance_asset
from assets._chain._prediction_day import SCHEMA, prediction_day_asset
from assets._chain._retraining import retraining_assets
from assets._chain._service_report import service_report_asset
from assets._plan import Stale, stale_assets, waves
from assets.flights.product import PRODUCT as FLIGHTS
from headwater.decisions import Retraining, Rollout
from headwater.materialize import Run, Status, materialize
from headwater.monitoring import PerformanceRules, Windowing
from headwater.product import Asset, Product
from headwater.testing.frames import HeldInputs
from tests.rollout_scene import AT, DAY, LABELS, NAME, RULES, TOY, RolloutScene
from tests.serving.conftest import bundle

NOON = AT + timedelta(hours=5)
"""Of the day of the scene's first requests."""


class Weeks(RolloutScene):
    """A product whose reports and decisions are built of what is stale, as a build and the sensors do."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Rollout(rules=RULES), replace(TOY, retraining=Retraining()))
        *made, stops, refusals = retraining_assets(self.product)
        self.chain = (
            *self.fed, *self.decided, performance_asset(self.product), causes_asset(self.product),
            service_report_asset(self.product), stops, refusals, *made,
        )  # fmt: skip
        self.warned: dict[str, dict[str, bool]] = {}
        self.asked = 0
        self.truths: list[tuple[int, datetime, int | None, datetime]] = []

    def day(self, number: int, *, labels: bool, at: timedelta = timedelta(0)) -> None:
        """Sixty requests of a day, half of them with a truth; with `labels` those come in at once."""
        moment = AT + number * DAY + at
        orders = range(self.asked, self.asked + 60)
        self.asked += 60
        self.answers(orders, "1.0.0", at=moment, features={"x": 5.0})
        if labels:
            self.truths += [(order, moment, order % 2, moment + timedelta(hours=5)) for order in orders]
            self.label(self.truths)

    def built(self) -> Counter[str]:
        """Takes the logs in, and builds what is stale when its turn comes until nothing is; how often each path was published."""
        found: Counter[str] = Counter()
        for asset in self.fed:
            self._build(asset, found)
        while stale := self._stale(self.chain):
            assert found.total() < 30, stale
            for _, paths in waves(stale, self.chain):
                for asset in self.chain:
                    if asset.path in paths and self._stale([asset]):
                        self._build(asset, found)
        return found

    def _stale(self, assets: Sequence[Asset]) -> tuple[Stale, ...]:
        return stale_assets(self.lake, assets, branch="main", landing=self.state / "landing")

    def _build(self, asset: Asset, found: Counter[str]) -> None:
        outcome = materialize(self.lake, asset, run=Run(actor="automation"), state=self.state)
        self.warned[asset.path] = {check.name: check.passed for check in outcome.checks}
        found[asset.path.removeprefix(f"{NAME}/")] += outcome.status is Status.PUBLISHED

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            (self.lake.at("main").folder(f"{NAME}/performance_report") / REPORT_FILE).read_text()
        )
        return found


@pytest.fixture
def weeks(tmp_path: Path) -> Weeks:
    made = Weeks(tmp_path)
    made.version("1.0.0", bundle=bundle(tmp_path / "bundle", slope=1))
    made.settle()
    made.day(0, labels=True)
    made.built()
    return made


WATCHED = ("outcomes", "performance_report", "retraining", "service_report")


def test_a_new_day_of_predictions_is_reported_though_no_label_comes_in(weeks: Weeks) -> None:
    """Labels that came monthly, or stopped, froze reports, drift and decisions, and every check stayed green."""
    for week in range(1, 4):
        weeks.day(7 * week, labels=False)
        built = weeks.built()
        assert {name: built[name] for name in WATCHED} == dict.fromkeys(WATCHED, 1), week
    report = weeks.report()
    assert report["now"] == (AT + 21 * DAY).isoformat()
    assert [window["overall"]["rows"] for window in report["windows"]] == [60] * 4
    assert all("0 of 60 labels are known" in window["overall"]["reason"] for window in report["windows"][1:3])


def test_fifteen_days_without_labels_fail_the_check_that_they_come_in(weeks: Weeks) -> None:
    passed = {}
    for number in (1, 8, 21, 22):
        weeks.day(number, labels=False)
        weeks.built()
        passed[number] = weeks.warned[f"{NAME}/performance_report"]["labels_come_in"]
    # The week of the first labels ends before day 1, the next one, of which none comes in, before day 8.
    assert passed == {1: True, 8: True, 21: True, 22: False}


def test_predictions_of_the_same_day_make_no_outcomes(weeks: Weeks) -> None:
    """Each minute's compaction would make all anew that looks at labels."""
    for minute in range(1, 4):
        weeks.day(0, labels=False, at=timedelta(minutes=minute))
        built = weeks.built()
        assert (built["predictions"], built["service_report"]) == (1, 1)
        assert not {name: built[name] for name in (*WATCHED[:3], "prediction_day") if built[name]}


def test_where_labels_come_daily_each_day_is_built_once(weeks: Weeks) -> None:
    for number in range(1, 5):
        weeks.day(number, labels=True)
        built = weeks.built()
        assert {name: built[name] for name in ("prediction_day", *WATCHED)} == dict.fromkeys(
            ("prediction_day", *WATCHED), 1
        ), number


def day_of(moments: Sequence[tuple[datetime, datetime]], product: Product = TOY, **more: Any) -> list[tuple[Any, ...]]:
    """The day of requests that are about one instant and came in at another."""
    schema = {"request_id": pl.String(), "at": SCHEMA["start"], "received": SCHEMA["start"]}
    rows = pl.DataFrame([(f"r{place}", *both) for place, both in enumerate(moments)], schema=schema, orient="row")
    asset = prediction_day_asset(product)
    found = asset(HeldInputs({f"{product.name}/predictions": rows}, **more))
    assert found.schema == pl.Schema(SCHEMA)
    return found.rows()


def test_a_day_is_that_of_the_zone_in_which_windows_are_cut() -> None:
    late = datetime(2013, 7, 2, 3, tzinfo=UTC)
    assert day_of([(late, NOON + 365 * DAY)]) == [(datetime(2013, 7, 2, tzinfo=UTC), datetime(2013, 7, 3, tzinfo=UTC))]
    begin = datetime(2013, 7, 1, 4, tzinfo=UTC)
    assert day_of([(late, NOON + 365 * DAY)], FLIGHTS) == [(begin, begin + DAY)], "midnight in New York"


def test_windows_that_are_shorter_than_a_day_each_count() -> None:
    often = replace(TOY, performance=PerformanceRules(windowing=Windowing(length=timedelta(hours=6))))
    begin = NOON.replace(hour=12)
    assert day_of([(NOON, NOON)], often) == [(begin, begin + timedelta(hours=6))]


def test_a_question_about_a_time_to_come_is_of_the_day_it_came_in_on() -> None:
    (today,) = day_of([(NOON, NOON)])
    assert day_of([(NOON, NOON), (NOON + 30 * DAY, NOON)]) == [today]


def test_a_clock_that_is_ahead_counts_up_to_the_build() -> None:
    (today,) = day_of([(NOON, NOON)])
    assert day_of([(NOON + 900 * DAY, NOON + 900 * DAY)], started=NOON) == [today]


def test_before_the_first_prediction_there_is_no_day_and_before_1900_no_calendar() -> None:
    assert day_of([]) == []
    begin = datetime(1900, 1, 1, tzinfo=UTC)
    assert day_of([(datetime(1, 1, 1, tzinfo=UTC), NOON)]) == [(begin, begin + DAY)]


def test_another_play_of_the_past_goes_back_to_its_own_day() -> None:
    rows = pl.DataFrame(
        {
            "request_id": ["replay-1/a", "replay-1/b", "replay-2/a"],
            "at": [NOON, NOON + 9 * DAY, NOON],
            "received": [NOON + 900 * DAY] * 3,
        }
    )
    found = prediction_day_asset(FLIGHTS)(HeldInputs({"flights/predictions": rows}))
    assert found["end"].item() - NOON < DAY


def test_labels_alone_make_no_new_day(weeks: Weeks) -> None:
    weeks.truths = weeks.truths[:30]
    weeks.label(weeks.truths)
    built = weeks.built()
    assert (built["outcomes"], built["prediction_day"]) == (1, 0)
    assert weeks.lake.at("main").has(LABELS)
