"""Each rule of a product, broken once: the sentence names the culprit and what to do."""

import os
import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import polars as pl
import pytest

from headwater.checks import not_empty
from headwater.features import FeatureView
from headwater.models import Gate
from headwater.product import Inputs, Labels, Model, Partitions, Product, Source, Split, table
from headwater.testing.product_checks import check_product


@table("toy/rows", inputs=["toy/landing/rows"], checks=[not_empty()])
def rows(inputs: Inputs) -> pl.LazyFrame:
    """Rows as they landed."""
    return inputs.table("toy/landing/rows")


SOURCE = Source(name="rows", columns=("key", "x"), licence="internal")
TOY = Product(
    name="toy",
    question="Does it hold?",
    owners=("team:toy", "ada@example.org"),
    sources=(SOURCE,),
    assets=(rows,),
    features=(FeatureView(name="x", path="toy/rows", entity=("key",), features=("x",)),),
    labels=Labels(path="toy/rows", key=("key",), time="at", label="y", columns=()),
    split=Split(),
    model=Model(features=("x",), baseline=("x",)),
    gates=(Gate(metric="auc", minimum=0.5),),
    intended_use="A test.",
    limitations="All.",
)


@table("toy/rows", inputs=["toy/landing/nothing"], checks=[not_empty()])
def of_nothing(inputs: Inputs) -> pl.LazyFrame:
    """Rows of nobody."""
    return inputs.table("toy/landing/nothing")


@table("toy/rows", checks=[not_empty()])
def by_the_clock(inputs: Inputs) -> pl.DataFrame:
    """Rows that depend on when."""
    return pl.DataFrame({"x": [time.time()]})


@table("toy/rows", checks=[not_empty()])
def by_the_date(inputs: Inputs) -> pl.DataFrame:
    """Rows that depend on the day."""
    return pl.DataFrame({"x": [datetime.now()]})


@table("toy/rows", checks=[not_empty()])
def by_the_environment(inputs: Inputs) -> pl.DataFrame:
    """Rows that depend on the machine."""
    return pl.DataFrame({"x": [os.environ.get("X")]})


def test_a_product_that_obeys_breaks_nothing() -> None:
    assert check_product(TOY) == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"owners": ("toy",)}, "Owner 'toy' is neither"),
        ({"question": "It holds."}, "The question is no question"),
        ({"sources": (replace(SOURCE, licence=""),)}, "Source 'rows' has no licence"),
        (
            {"sources": (replace(SOURCE, partitions=Partitions(column="key", keys=("a",))),)},
            "has a column 'key' like its partitions",
        ),
        ({"assets": (replace(rows, description=""),)}, "toy/rows has no description"),
        ({"assets": (replace(rows, checks=()),)}, "toy/rows has no check"),
        ({"assets": (replace(rows, kinds=()),)}, "toy/rows has no kinds"),
        ({"assets": (replace(rows, kinds=tuple("abcdefghijk")),)}, "has 11 kinds"),
        ({"assets": (of_nothing,)}, "reads toy/landing/nothing, which nothing makes"),
        ({"features": (FeatureView(name="x", path="toy/y", entity=("key",), features=("x",)),)}, "Feature view 'x' reads toy/y"),
        ({"labels": Labels(path="toy/y", key=("key",), time="at", label="y", columns=())}, "Labels read toy/y"),
        ({"gates": ()}, "The model has no gate"),
        ({"model": Model(features=("x",))}, "The model has no baseline"),
        ({"intended_use": ""}, "says nothing of its intended_use"),
        ({"limitations": ""}, "says nothing of its limitations"),
        ({"assets": (by_the_clock,)}, "reads the clock (time.time)"),
        ({"assets": (by_the_date,)}, "reads the clock (datetime.now)"),
        ({"assets": (by_the_environment,)}, "reads the environment (os.environ)"),
    ],
)  # fmt: skip
def test_each_broken_rule_is_one_sentence(change: dict[str, Any], sentence: str) -> None:
    (problem,) = check_product(replace(TOY, **change))
    assert sentence in problem
    assert problem.endswith((".", "ten.", "it."))
