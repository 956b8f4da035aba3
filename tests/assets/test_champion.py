"""A released model that cannot score today's rows says why; it is never taken for no champion at all."""

from pathlib import Path

import polars as pl

from assets._chain._evaluation import rival_on
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
