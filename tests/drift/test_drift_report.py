"""The table of a report, and Evidently's page."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headwater.drift import REPORT_SCHEMA, EmptySampleError, drift_statistics, evidently_html, report_frame


def rows(count: int, shift: float) -> pl.DataFrame:
    rng = np.random.default_rng(int(shift * 10))
    return pl.DataFrame(
        {
            "x": rng.normal(shift, size=count),
            # Infinities, NaN and a column without values break Evidently when passed as they are.
            "wild": np.where(rng.random(count) < 0.02, np.inf, np.where(rng.random(count) < 0.02, np.nan, 1.0)),
            "kind": rng.choice(["<script>alert(1)</script>", "b"], count),
            "void": pl.Series([None] * count, dtype=pl.Float64),
            "when": pl.Series([0] * count).cast(pl.Datetime("us")),
        }
    )


def test_the_table_has_one_schema_whatever_was_compared() -> None:
    full = report_frame(drift_statistics(rows(600, 0), rows(600, 3)))
    none = report_frame(drift_statistics(rows(600, 0), rows(600, 3), columns=[]))
    assert full.schema == none.schema == pl.Schema(REPORT_SCHEMA)
    assert full["column"].to_list() == ["x", "wild", "kind", "void", "when"]
    assert none.height == 0


def test_the_table_says_what_the_records_say() -> None:
    report = drift_statistics(rows(600, 0), rows(700, 3))
    row = report_frame(report).row(0, named=True)
    record = report.column("x")
    assert record.ks is not None
    assert row["verdict"] == "shifted"
    assert row["reason"] == record.reason
    assert (row["psi"], row["ks"], row["ks_q_value"]) == (record.psi.value, record.ks.statistic, record.ks.q_value)
    assert (row["reference_rows"], row["current_rows"]) == (600, 700)
    assert report_frame(report).row(2, named=True)["ks"] is None
    assert report_frame(report).row(3, named=True)["reference_missing"] == 1.0
    assert report.shifted == ("x",)
    with pytest.raises(KeyError):
        report.column("absent")


def test_evidently_writes_one_page_that_says_what_it_was_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    sides = rows(3_000, 0), rows(900, 3)
    measured = report_frame(drift_statistics(*sides))
    evidently_html(*sides, tmp_path / "drift.html", row_limit=1_000, measured=measured)
    page = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert "The reference data are a fixed random sample of 1000 of 3000 rows." in page
    assert "The current data are all 900 rows." in page
    assert "Left out, because a side has no value that Evidently can draw: void." in page
    assert "NaN and infinite values are shown as missing" in page
    assert len(page) > 1_000_000
    assert "Headwater's statistics, which decide: 1 of 5 columns have shifted" in page
    assert f"<td>{measured['wasserstein_effect'][0]:.4g}</td>" in page
    assert "<script>alert(1)" not in page
    assert "‹script›alert(1)" in page or "\\u2039script\\u203aalert(1)" in page
    assert "DO_NOT_TRACK" not in os.environ


def test_a_page_of_columns_that_evidently_cannot_draw_says_so(tmp_path: Path) -> None:
    """The one watched column went null: the page ended in a ZeroDivisionError, when it was wanted most."""
    sides = (
        pl.DataFrame({"calls": [1.0, 2.0] * 100}),
        pl.DataFrame({"calls": [None] * 200}, schema={"calls": pl.Float64}),
    )
    measured = report_frame(drift_statistics(*sides))
    evidently_html(*sides, tmp_path / "drift.html", measured=measured)
    page = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert "Left out, because a side has no value that Evidently can draw: calls." in page
    assert "Headwater's statistics, which decide: " in page


def test_evidently_of_no_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EmptySampleError, match="current"):
        evidently_html(rows(10, 0), rows(10, 0).head(0), tmp_path / "drift.html")
    assert not (tmp_path / "drift.html").exists()
