"""What reached the lake without a Dagster run, told when somebody looks again."""

from datetime import timedelta
from pathlib import Path

import polars as pl

from headwater.lake import EmbeddedLake, Retention
from headwater.materialize import Run, materialize
from headwater.product import Inputs, Partitions, table
from sensors.outside import outside, since, still_standing


@table("toy/numbers")
def numbers(inputs: Inputs) -> pl.DataFrame:
    """Numbers."""
    return pl.DataFrame({"x": [1]})


@table("toy/months", partitions=Partitions.months("2013-01", "2013-02"))
def months(inputs: Inputs, key: str) -> pl.DataFrame:
    """By month."""
    return pl.DataFrame({"x": [key]})


def told(lake: EmbeddedLake, cursor: str) -> set[tuple[str, str | None]]:
    """Paths and partitions that the sensor would report."""
    head = lake.resolve("main").id
    known = frozenset({"toy/numbers", "toy/months"})
    return {
        (item.path, item.partition) for item in still_standing(lake, head, outside(since(lake, head, cursor)), known)
    }


def test_what_was_put_there_while_nobody_looked_is_told_after_a_collection(tmp_path: Path) -> None:
    """A daemon that was away for longer than the retention never went on: each look asked for a commit that was collected."""
    lake = EmbeddedLake.open(tmp_path / "lake")
    cursor = lake.resolve("main").id
    built = [(numbers, None), (months, "2013-01"), (months, "2013-02")]
    for asset, partition in built:
        materialize(lake, asset, run=Run(actor="user:ada"), partition=partition)
    before = told(lake, cursor)
    assert before == {(asset.path, partition) for asset, partition in built}
    for number in (1, 2):
        with lake.transaction() as tx:
            tx.write_table("toy/other", pl.DataFrame({"x": [number]}))
            tx.publish(message="Other", provenance=None)
    lake.gc(grace=timedelta(0), retention=Retention(keep_commits=1))
    assert told(lake, cursor) == before
