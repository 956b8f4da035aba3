"""The service report: promises by day, budgets, accuracy, age of features; what speaks against each claim is told by its check."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets._chain._failures import SCHEMA
from assets._chain._performance import REPORT_FILE as PERFORMANCE_FILE
from assets._chain._service_page import PAGE_FILE
from assets._chain._service_report import REPORT_FILE, service_report_asset
from headwater.features import FeatureView
from headwater.monitoring import BurnRule, ServiceLevels
from headwater.names import NO_VERSION
from headwater.product import Product, Serving
from headwater.testing.frames import HeldInputs, HeldSnapshot
from tests.assets.test_loop import DAY, PATHS, PRODUCT, START, UNWATCHED, answers, outcomes, released, report, truth

BUSY = replace(PRODUCT, service_levels=ServiceLevels(min_requests=5, freshness=2 * DAY))
NONE = pl.DataFrame(schema=SCHEMA)
HOUR = timedelta(hours=1)


def failed(day: int, count: int, *, version: str = "1.0.0", code: str = "deadline") -> pl.DataFrame:
    row = {"received": START + day * DAY, "version": version, "code": code, "count": count, "commit": "c"}
    return pl.DataFrame([row], schema=SCHEMA)


def made(
    folder: Path,
    rows: pl.DataFrame,
    failures: pl.DataFrame = NONE,
    product: Product = BUSY,
    started: datetime | None = None,
    is_judged: bool = True,
    **past: HeldSnapshot,
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The report, and what speaks against each claim."""
    folder.mkdir(exist_ok=True)
    held = folder / "performance"
    found = report(folder / "found", outcomes(truth(16), rows).data, rows) if is_judged else {"windows": []}
    held.mkdir()
    (held / PERFORMANCE_FILE).write_text(json.dumps(found))
    (folder / "service").mkdir()
    inputs = HeldInputs(
        {PATHS.predictions: rows, PATHS.service_failures: failures, PATHS.performance_report: held},
        previous={**released(folder / "live"), **past},
        started=started,
    )
    result = service_report_asset(product)(inputs, folder / "service")
    document: dict[str, Any] = json.loads((folder / "service" / REPORT_FILE).read_text())
    return document, dict(result.facts["problems"])


def test_a_service_that_keeps_its_promises_has_nothing_against_it(tmp_path: Path) -> None:
    document, problems = made(tmp_path, answers(truth(16)))
    assert not any(problems.values())
    assert len(document["windows"]) == 16
    assert all(window["judged"] and not window["broken"] for window in document["windows"])
    assert [(one["version"], one["value"]) for one in document["accuracy"]["versions"]] == [("1.0.0", 1.0)]
    page = (tmp_path / "service" / PAGE_FILE).read_text()
    assert "2013-01-22" in page
    assert "It holds." in page


def test_slow_answers_and_failures_break_the_promises_of_their_day_and_burn_the_budget(tmp_path: Path) -> None:
    rows = answers(truth(16)).with_columns(
        latency_us=pl.when(pl.col("at") >= START + 14 * DAY).then(200_000).otherwise("latency_us")
    )
    document, problems = made(tmp_path, rows, pl.concat([failed(14, 3), failed(15, 3)]))
    assert "took up to 200 ms, 100 are promised" in problems["promises_were_kept"][0]
    assert "3 of 13 requests failed" in problems["promises_were_kept"][1]
    assert {one["budget"] for one in document["burning"]} == {"latency", "errors"}
    assert len(problems["no_budget_burns"]) == len(document["burning"])


def test_the_time_of_the_log_counts_and_rows_of_before_have_none(tmp_path: Path) -> None:
    """All waited 150 ms for a disk, and the report told of half a millisecond."""
    rows = answers(truth(16))
    waited = rows.with_columns(log_us=pl.lit(150_000, pl.Int64))
    document, problems = made(tmp_path / "waited", waited)
    assert document["windows"][-1]["latency"] == 0.1505
    assert "took up to 150.5 ms, 100 are promised" in problems["promises_were_kept"][0]
    assert {one["budget"] for one in document["burning"]} == {"latency"}
    document, problems = made(tmp_path / "before", rows.drop("log_us"))
    assert document["windows"][-1]["latency"] == 0.0005
    assert not any(problems.values())


def test_wrong_answers_and_old_features_are_told(tmp_path: Path) -> None:
    rows = answers(truth(16)).with_columns(decision=~pl.col("decision"))
    view = FeatureView(name="calls", path="shop/features/calls", entity=("customer",), features=("calls",))
    past = HeldSnapshot({view.path: pl.DataFrame({"known_at": [START + 10 * DAY]})})
    document, problems = made(tmp_path, rows, product=replace(BUSY, features=(view,)), **{view.path: past})
    assert "certainly more than 5% below 1.0000" in problems["accuracy_holds"][0]
    assert problems["features_are_fresh"] == ["calls: 5 days, 0:09:00 old."]
    assert document["views"][0]["stale"]


@pytest.mark.parametrize(("days", "is_stale"), [(4, True), (6, False), (None, False)])
def test_without_a_declared_freshness_a_view_is_stale_when_its_rows_are_too_old_to_be_used(
    tmp_path: Path, days: int | None, is_stale: bool
) -> None:
    """Nothing declared a freshness, so that the claim could not fail, whatever had stopped."""
    ttl = None if days is None else days * DAY
    view = FeatureView(name="calls", path="shop/features/calls", entity=("customer",), features=("calls",), ttl=ttl)
    past = HeldSnapshot({view.path: pl.DataFrame({"known_at": [START + 10 * DAY]})})
    product = replace(PRODUCT, features=(view,))
    document, problems = made(tmp_path, answers(truth(16)), product=product, **{view.path: past})
    assert document["views"][0]["stale"] is is_stale
    assert problems["features_are_fresh"] == (["calls: 5 days, 0:09:00 old."] if is_stale else [])


def test_days_that_are_long_over_stay_as_they_were_reported(tmp_path: Path) -> None:
    first, _ = made(tmp_path / "first", answers(truth(16)))
    later = answers(truth(60)).filter(pl.col("at") >= START + 50 * DAY)
    second, _ = made(
        tmp_path / "second",
        later,
        **{PATHS.service_report: HeldSnapshot({PATHS.service_report: tmp_path / "first" / "service"})},
    )
    assert second["windows"][:16] == first["windows"]
    assert len(second["windows"]) == 26
    other = replace(BUSY, service_levels=ServiceLevels(min_requests=6, latency=timedelta(milliseconds=1)))
    third, _ = made(
        tmp_path / "third", later, product=other,
        **{PATHS.service_report: HeldSnapshot({PATHS.service_report: tmp_path / "first" / "service"})},
    )  # fmt: skip
    assert len(third["windows"]) == 10


@pytest.mark.parametrize("product", [BUSY, PRODUCT])
def test_before_the_first_answer_there_is_a_report_of_nothing(tmp_path: Path, product: Product) -> None:
    document, problems = made(tmp_path, answers(truth(0)), product=product)
    assert document["windows"] == document["burning"] == []
    assert not any(problems.values())
    assert "Nothing was answered yet" in (tmp_path / "service" / PAGE_FILE).read_text()


def told(*given: Any, **more: Any) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The same where no window was judged."""
    return made(*given, is_judged=False, **more)


@pytest.mark.parametrize(
    ("version", "code"),
    [("1.0.0", "deadline"), (NO_VERSION, "log_full"), (NO_VERSION, "online_features_away"), (NO_VERSION, "not_ready")],
)
def test_an_outage_in_which_nothing_is_answered_breaks_the_promises_of_its_days(
    tmp_path: Path, version: str, code: str
) -> None:
    """Now was the newest answer, so that of days on which every request failed nobody was told."""
    outage = pl.concat([failed(day, 500, version=version, code=code) for day in (16, 17, 18)])
    document, problems = told(tmp_path, answers(truth(16)), outage)
    assert problems["promises_were_kept"] == ["2013-01-24: 500 of 500 requests failed, 1.00% may."]
    assert [(one["budget"], one["rule"]) for one in document["burning"]] == [
        ("errors", name) for name in ("page", "page_slow", "ticket")
    ]


def test_a_product_that_never_answered_anything_keeps_no_promise(tmp_path: Path) -> None:
    _, problems = told(tmp_path, answers(truth(0)), pl.concat([failed(day, 500) for day in range(3)]))
    assert problems["promises_were_kept"] == ["2013-01-08: 500 of 500 requests failed, 1.00% may."]
    assert problems["no_budget_burns"]


def test_a_clock_that_is_ahead_hides_nothing(tmp_path: Path) -> None:
    """One answer that came in ten years later, by its clock, made all others too old to be told, until then."""
    rows = answers(truth(16)).with_columns(pl.lit(200_000, pl.Int64).alias("latency_us"))
    odd = rows.head(1).with_columns(request_id=pl.lit("odd"), received=rows["received"][0] + 3_650 * DAY)
    folder, started = tmp_path / "ahead", START + 17 * DAY
    document, problems = told(folder, pl.concat([rows, odd]), started=started)
    plain, others = told(tmp_path / "plain", rows, started=started)
    assert (document.pop("ahead"), plain.pop("ahead")) == (1, 0)
    assert (document, problems) == (plain, others)
    assert problems["promises_were_kept"]
    assert "a service&#x27;s clock was ahead: 1 records" in (folder / "service" / PAGE_FILE).read_text()


def test_a_question_about_a_time_ahead_makes_no_feature_old_and_a_row_of_the_future_none_fresh(tmp_path: Path) -> None:
    """One caller who asked about next month made every view stale; one row of the year 9999 made its view fresh for ever."""
    rows = answers(truth(16))
    ahead = rows.head(1).with_columns(request_id=pl.lit("ahead"), at=rows["at"].max() + 30 * DAY, received=rows["received"].max())  # type: ignore[operator]  # fmt: skip
    clock = rows.head(1).with_columns(
        pl.lit(rows["at"].max() + 3_650 * DAY).alias(name)
        for name in ("at", "received")  # type: ignore[operator]
    )
    asked, started = pl.concat([rows, ahead, clock.with_columns(request_id=pl.lit("odd"))]), START + 17 * DAY
    view = FeatureView(name="calls", path="shop/features/calls", entity=("customer",), features=("calls",), ttl=6 * DAY)
    known = [START + 10 * DAY, datetime(9999, 1, 1, tzinfo=START.tzinfo)]
    for ttl, said in ((6, []), (4, ["calls: 5 days, 0:09:00 old."])):
        past = HeldSnapshot({view.path: pl.DataFrame({"known_at": known})})
        product = replace(PRODUCT, features=(replace(view, ttl=ttl * DAY),))
        _, problems = told(tmp_path / str(ttl), asked, product=product, started=started, **{view.path: past})
        assert problems["features_are_fresh"] == said


def test_a_day_is_told_whole_or_as_it_was_reported_whenever_a_report_is_made(tmp_path: Path) -> None:
    """Thirty days ago to the minute cut through a day: it shrank with each report, until nothing was broken on it."""
    every = [START + 4 * HOUR * n for n in range(45 * 6)]
    base = pl.concat([answers(truth(1)).head(1)] * len(every))
    slow = [200_000 if START + 10 * DAY <= at < START + 11 * DAY else 500 for at in every]
    rows = base.with_columns(
        request_id=pl.Series([f"r{n}" for n in range(len(every))]), at=pl.Series(every), received=pl.Series(every),
        latency_us=pl.Series(slow),
    )  # fmt: skip
    past: dict[str, HeldSnapshot] = {}
    for hours in (0, 6, 12, 18, 23, 90):
        folder = tmp_path / str(hours)
        known = rows.filter(pl.col("received") <= START + 40 * DAY + hours * HOUR)
        document, _ = told(folder, known, **past)
        (day,) = [window for window in document["windows"] if window["start"].startswith("2013-01-17")] or [None]
        if hours == 0:
            assert document["windows"][0]["start"].startswith("2013-01-17")
        assert day is not None
        assert (day["answered"], day["judged"], len(day["broken"])) == (6, True, 1)
        past = {PATHS.service_report: HeldSnapshot({PATHS.service_report: folder / "service"})}


def test_the_first_report_begins_with_a_whole_day(tmp_path: Path) -> None:
    document, _ = told(tmp_path, answers(truth(40, per_day=1)).with_columns(pl.col("received") + 12 * HOUR))
    assert document["windows"][0]["start"] == "2013-01-17T00:00:00+00:00"


def test_days_between_two_reports_that_lie_far_apart_are_told(tmp_path: Path) -> None:
    """And what was left of the day on which the first was made: it stayed half a day for ever."""
    first = tmp_path / "first"
    told(first, answers(truth(16)).filter(pl.col("received") < START + 15 * DAY + timedelta(minutes=4)))
    past = {PATHS.service_report: HeldSnapshot({PATHS.service_report: first / "service"})}
    document, _ = told(tmp_path / "second", answers(truth(60)), **past)
    assert [window["answered"] for window in document["windows"]] == [10] * 60


def test_a_day_of_which_retention_took_rows_stays_as_it_was_reported(tmp_path: Path) -> None:
    first = tmp_path / "first"
    product = replace(BUSY, serving=Serving(keep=5 * DAY), rollout=UNWATCHED, retraining=None)
    told(first, answers(truth(16)), product=product, started=START + 16 * DAY)
    past = {PATHS.service_report: HeldSnapshot({PATHS.service_report: first / "service"})}
    left = answers(truth(20)).filter(pl.col("received") >= START + 14 * DAY + timedelta(minutes=5))
    document, _ = told(tmp_path / "second", left, product=product, started=START + 20 * DAY, **past)
    assert [window["answered"] for window in document["windows"][-6:]] == [10] * 6


def test_days_stay_when_retention_took_every_row(tmp_path: Path) -> None:
    """Nobody asked for longer than rows are kept, and the report forgot all that it had told."""
    before, _ = told(tmp_path / "first", answers(truth(16)))
    past = {PATHS.service_report: HeldSnapshot({PATHS.service_report: tmp_path / "first" / "service"})}
    after, _ = told(tmp_path / "second", answers(truth(0)), **past)
    assert after["windows"] == before["windows"]


def test_a_rule_that_looks_further_back_than_the_days_are_told_is_measured_over_all_its_time(tmp_path: Path) -> None:
    rule = BurnRule(name="season", long=60 * DAY, short=60 * DAY, burn=1.0)
    product = replace(PRODUCT, service_levels=ServiceLevels(min_requests=5, rules=(rule,)))
    failures = pl.concat([failed(day, 10) for day in range(30)])
    document, _ = told(tmp_path, answers(truth(60)), failures, product=product)
    (found,) = document["burning"]
    assert found["long"] == pytest.approx(100 * 300 / 900)


@pytest.mark.parametrize("rows", [[], [None]])
def test_a_feature_view_without_a_row_is_stale(tmp_path: Path, rows: list[None]) -> None:
    """An emptied view stood nowhere in the report, and nothing was against it."""
    view = FeatureView(name="calls", path="shop/features/calls", entity=("customer",), features=("calls",), ttl=4 * DAY)
    empty = pl.DataFrame({"known_at": pl.Series(rows, dtype=pl.Datetime("us", "UTC"))})
    product = replace(PRODUCT, features=(view,))
    document, problems = told(
        tmp_path / "emptied", answers(truth(16)), product=product, **{view.path: HeldSnapshot({view.path: empty})}
    )
    assert problems["features_are_fresh"] == ["calls: no row at all."]
    assert (document["views"][0]["newest"], document["views"][0]["stale"]) == (None, True)
    never, problems = told(tmp_path / "never", answers(truth(16)), product=product)
    assert (never["views"], problems["features_are_fresh"]) == ([], [])


def test_a_slow_batch_breaks_no_promise_and_as_many_slow_requests_do(tmp_path: Path) -> None:
    """A hundred instances, each with the time of all, were a hundred slow answers: a day's promise broke by one request."""
    rows = answers(truth(16))
    many = pl.concat([rows.tail(1)] * 100).with_columns(latency_us=pl.lit(200_000, pl.Int64))
    numbers = pl.int_range(100).cast(pl.String)
    batch = many.with_columns(request_id=pl.lit("night#") + numbers)
    document, problems = told(tmp_path / "batch", pl.concat([rows, batch]))
    day = document["windows"][-1]
    assert (day["answered"], day["slow"]["requests"], day["slow"]["bad"], day["latency"]) == (11, 10, 0, 0.0005)
    assert not any(problems.values())
    assert "<td>11</td><td>1</td>" in (tmp_path / "batch" / "service" / PAGE_FILE).read_text().replace(' class="n"', "")
    single = many.with_columns(request_id=pl.lit("r") + numbers + pl.lit("#0"))
    document, problems = told(tmp_path / "single", pl.concat([rows, single]))
    assert document["windows"][-1]["slow"]["bad"] == 100
    assert document["burning"]


def test_a_day_of_batches_alone_is_judged_by_what_failed(tmp_path: Path) -> None:
    rows = pl.concat([answers(truth(2))] * 3).with_columns(latency_us=pl.lit(200_000, pl.Int64))
    batches = rows.with_columns(
        request_id=pl.lit("b")
        + (pl.int_range(60) % 20).cast(pl.String)
        + "#"
        + (pl.int_range(60) // 20).cast(pl.String)
    )
    document, problems = told(tmp_path, batches, failed(1, 1))
    assert [(day["answered"], day["failed"], day["latency"], day["judged"]) for day in document["windows"]] == [
        (10, 0, None, True), (10, 1, None, True),
    ]  # fmt: skip
    assert {one["budget"] for one in document["burning"]} == {"errors"}
    assert not problems["promises_were_kept"], "that took 200 ms, which was promised of no batch"
    assert "Only batches were answered yet" in (tmp_path / "service" / PAGE_FILE).read_text()
