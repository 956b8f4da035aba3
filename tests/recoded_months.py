"""A product of two months whose code changes: what tests of half-done backfills build."""

import polars as pl

from headwater.product import Inputs, Partitions, Product, table

MONTHS = Partitions.months("2013-01", "2013-02")
PRODUCT = Product(name="toy", question="Of which code?", owners=("team:toy",))
DAYS, LOAD, TOTAL = "toy/days", "toy/load", "toy/total"


@table(DAYS, partitions=MONTHS)
def old_days(inputs: Inputs, period: str) -> pl.DataFrame:
    """One day a month."""
    return pl.DataFrame({"x": [1]})


@table(DAYS, partitions=MONTHS)
def new_days(inputs: Inputs, period: str) -> pl.DataFrame:
    """Ten days a month."""
    return pl.DataFrame({"x": [10]})


@table(LOAD, inputs=[DAYS], partitions=MONTHS)
def old_load(inputs: Inputs, period: str) -> pl.DataFrame:
    """As many as days."""
    return inputs.table(DAYS).filter(pl.col("period") == period).select("period", y=pl.col("x")).collect()


@table(LOAD, inputs=[DAYS], partitions=MONTHS)
def new_load(inputs: Inputs, period: str) -> pl.DataFrame:
    """A hundred times as many."""
    return inputs.table(DAYS).filter(pl.col("period") == period).select("period", y=pl.col("x") * 100).collect()


@table(TOTAL, inputs=[LOAD])
def total(inputs: Inputs) -> pl.DataFrame:
    """The sum over all months."""
    return inputs.table(LOAD).select(pl.col("y").sum()).collect()
