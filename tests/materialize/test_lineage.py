"""Column lineage from plans, and silence where a plan does not know."""

import polars as pl

from headwater.materialize import column_lineage
from headwater.product import Inputs, Partitions, table
from headwater.testing.frames import inputs

ROWS = pl.DataFrame({"k": ["a"], "x": [1.0], "y": [2.0], "unused": [0]})
OTHER = pl.DataFrame({"k": ["a"], "z": [3.0]})


def test_each_column_names_what_it_is_made_of() -> None:
    @table("toy/out", inputs=["toy/a", "toy/b"])
    def out(given: Inputs) -> pl.LazyFrame:
        """Sums."""
        joined = given.table("toy/a").join(given.table("toy/b"), on="k", how="left")
        return joined.select("k", s=pl.col("x") + pl.col("z"), y2=pl.col("y") * 2)

    found = column_lineage(out, inputs({"toy/a": ROWS, "toy/b": OTHER}))
    assert {"toy/a:x", "toy/b:z"} <= set(found["s"])
    assert "toy/a:y" in found["y2"]
    assert "toy/a:x" not in found["y2"]
    assert not any("unused" in name for names in found.values() for name in names)


def test_a_function_that_collects_for_itself_claims_nothing() -> None:
    @table("toy/out", inputs=["toy/a"])
    def out(given: Inputs) -> pl.LazyFrame:
        """Collects."""
        return given.table("toy/a").collect().lazy()

    assert column_lineage(out, inputs({"toy/a": ROWS})) == {}


def test_a_partitioned_function_is_asked_with_its_partition() -> None:
    @table("toy/out", inputs=["toy/a"], partitions=Partitions.months("2013-01", "2013-01"))
    def out(given: Inputs, month: str) -> pl.LazyFrame:
        """One month."""
        return given.table("toy/a").filter(pl.col("k") == month).select("x")

    assert set(column_lineage(out, inputs({"toy/a": ROWS}), partition="2013-01")["x"]) == {"toy/a:x", "toy/a:k"}
