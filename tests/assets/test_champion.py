"""A released model that cannot score today's rows says why, never taken for no champion at all; and what an evaluation draws."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from assets._chain._evaluation import _groups, rival_on
from headwater.models import LogisticBaseline, read_bundle, train_model, write_bundle

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
