"""Facts that are computed for cards: columns of a table, rows of a drift report; and the public names."""

import datetime as dt
import subprocess
import sys

import numpy as np
import polars as pl

import governance.cards
from governance.cards import ColumnFacts, dataset_card, describe_columns, drift_facts
from governance.cards.facts import DatasetFacts
from headwater.drift import drift_statistics, report_frame


def test_the_public_names_are_these() -> None:
    assert governance.cards.__all__ == [
        "IDENTITY",
        "Card",
        "CardError",
        "ColumnFacts",
        "DatasetFacts",
        "DriftFacts",
        "FeatureFacts",
        "ModelFacts",
        "PartFacts",
        "PartitionFacts",
        "RunFacts",
        "SourceFileFacts",
        "UnstatableFactError",
        "dataset_card",
        "describe_columns",
        "drift_facts",
        "model_card",
        "write_card",
    ]


def test_importing_cards_loads_no_heavy_library() -> None:
    heavy = "{'matplotlib', 'pandas', 'sklearn', 'lightgbm', 'torch', 'mlflow', 'dagster'}"
    code = f"import sys, governance.cards; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_columns_are_described_as_they_are() -> None:
    frame = pl.DataFrame(
        {
            "real": [1.5, float("nan"), None, -2.0],
            "endless": [float("inf"), 0.0, 0.0, 0.0],
            "count": [3, 3, None, 9],
            "name": ["b", "a", "a", None],
            "flag": [True, None, False, True],
            "day": [dt.date(2013, 1, 1), dt.date(2013, 6, 30), None, None],
            "level": pl.Series(["low", "high", "low", None], dtype=pl.Enum(["low", "high"])),
            "list": [[1], None, [], [2]],
            "void": pl.Series([None] * 4),
            "price": pl.Series(["1.10", "2.20", None, None]).cast(pl.Decimal(10, 2)),
        }
    )
    found = {item.name: item for item in describe_columns(frame.lazy(), descriptions={"count": "How many."})}
    assert found["real"] == ColumnFacts(name="real", dtype="Float64", nulls=1, distinct=3, minimum=-2.0, maximum=1.5)
    assert (found["endless"].minimum, found["endless"].maximum) == (0.0, "inf")
    assert found["count"] == ColumnFacts(
        name="count", dtype="Int64", description="How many.", nulls=1, distinct=2, minimum=3, maximum=9
    )
    assert (found["name"].minimum, found["name"].maximum, found["name"].distinct) == ("a", "b", 2)
    assert (found["flag"].minimum, found["flag"].distinct) == (None, 2)
    assert (found["day"].minimum, found["day"].maximum) == ("2013-01-01", "2013-06-30")
    assert (found["level"].minimum, found["level"].maximum) == ("high", "low")
    assert (found["list"].nulls, found["list"].distinct, found["list"].minimum) == (1, None, None)
    assert (found["void"].nulls, found["void"].distinct) == (4, None)
    assert (found["price"].minimum, found["price"].maximum) == (1.1, 2.2)
    # And a card can state all of it.
    assert "inf" in dataset_card(DatasetFacts(product="p", path="p/d", columns=tuple(found.values()))).markdown


def test_an_empty_table_is_described_without_ranges() -> None:
    (found,) = describe_columns(pl.DataFrame(schema={"x": pl.Float64}), descriptions={})
    assert found == ColumnFacts(name="x", dtype="Float64", nulls=0, distinct=0)


def test_drift_facts_are_the_rows_of_the_drift_table() -> None:
    rng = np.random.default_rng(1)
    reference = pl.DataFrame({"x": rng.normal(size=900), "c": rng.choice(["a", "b"], 900)})
    current = pl.DataFrame({"x": rng.normal(3, size=900), "c": rng.choice(["a", "b"], 900)})
    report = drift_statistics(reference, current)
    x, c = drift_facts(report_frame(report))
    assert (x.column, x.verdict, x.psi) == ("x", "shifted", report.column("x").psi.value)
    assert (c.verdict, c.ks) == ("stable", None)
