"""What a bundle keeps of its train part by calendar month."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assets._chain._model import model_asset
from assets._chain._reference import FEATURES_FILE, MONTH_FILE, kept_months
from headwater.drift import read_profile
from headwater.models import read_bundle
from headwater.testing.frames import HeldInputs
from tests.assets.test_loop import PATHS, PRODUCT


def training_set(rows: int = 900) -> pl.DataFrame:
    """Three hundred rows of each of December, January and February; the newest validate."""
    draw = np.random.default_rng(1)
    begin = datetime(2012, 12, 3, tzinfo=UTC)
    calls = draw.normal(size=rows)
    return pl.DataFrame(
        {
            "customer": range(rows),
            "at": [begin + timedelta(days=31 * (number // 300), minutes=number) for number in range(rows)],
            "left": (calls + draw.normal(size=rows) > 0).astype(np.int8),
            "plan": draw.choice(["gold", "basic"], rows),
            "calls": calls,
            "split": ["validation" if number % 4 == 0 else "train" for number in range(rows)],
        }
    )


def trained(folder: Path, *, by_season: bool) -> list[str]:
    product = replace(PRODUCT, drift=replace(PRODUCT.drift, by_season=by_season))
    model_asset(product)(HeldInputs({PATHS.training_set: training_set()}), folder)
    return sorted(file.name for file in folder.glob("drift_reference*"))


def test_a_bundle_keeps_a_profile_of_each_month_it_learned_from(tmp_path: Path) -> None:
    names = [MONTH_FILE.format(month) for month in (1, 2, 12)]
    assert trained(tmp_path / "bundle", by_season=True) == sorted([FEATURES_FILE, *names])
    months = [read_profile(tmp_path / "bundle" / name) for name in names]
    assert [month.rows for month in months] == [225, 225, 225]
    merged = months[0].merge(months[1]).merge(months[2])
    # Here a month has fewer values than are kept of it, so nothing was rounded away.
    assert merged.equals(read_profile(tmp_path / "bundle" / FEATURES_FILE))
    assert set(names) < set(read_bundle(tmp_path / "bundle").digests)


def test_a_product_that_wants_no_seasons_keeps_none(tmp_path: Path) -> None:
    assert trained(tmp_path / "bundle", by_season=False) == [FEATURES_FILE]


@pytest.mark.parametrize(
    ("zone", "month"), [("UTC", 7), ("America/New_York", 6), ("Asia/Tokyo", 7)], ids=["UTC", "New York", "Tokyo"]
)
def test_the_month_of_a_row_is_that_of_the_zone(zone: str, month: int) -> None:
    rows, moment = pl.DataFrame({"x": [1.0]}), datetime(2013, 7, 1, 2)
    assert list(kept_months(rows, pl.Series([moment.replace(tzinfo=UTC)]), zone=zone)) == [MONTH_FILE.format(month)]
    assert list(kept_months(rows, pl.Series([moment]), zone=zone)) == [MONTH_FILE.format(7)]
    assert list(kept_months(rows, pl.Series([moment.date()]), zone=zone)) == [MONTH_FILE.format(7)]
