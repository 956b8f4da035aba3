"""Where a version is drawn for a customer, customers are what is compared: a hundred requests of one of them are one draw."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from assets._chain._rollout_evidence import plain_test
from headwater.product import Model, Product, Serving
from tests.rollout_scene import AT, TOY

LIVE, NEW = "1.0.0", "1.1.0"
UTC_TIME = pl.Datetime("us", "UTC")
BY_CUSTOMER: Product = replace(
    TOY, model=Model(features=("x", "customer")), serving=Serving(assign_by=("customer",)), performance=None
)


def frames(customers: np.ndarray, versions: np.ndarray, wrong: np.ndarray, at: list[datetime]) -> tuple[Any, Any]:
    """Answers and outcomes, one row each: both versions say no, and `wrong` is where that was wrong."""
    ids = [f"r{n}" for n in range(len(wrong))]
    common = {"request_id": ids, "at": at, "variant": versions, "decision": [False] * len(ids)}
    answers = pl.DataFrame(
        {**common, "order": range(len(ids)), "latency_us": [900] * len(ids), "shadows": ["{}"] * len(ids),
         "request": [f'{{"customer": "c{one}"}}' for one in customers]},
        schema_overrides={"at": UTC_TIME, "latency_us": pl.Int64},
    )  # fmt: skip
    outcomes = pl.DataFrame(
        {**common, "order": range(len(ids)), "received": at, "label": wrong.astype("int8"),
         "truth": ["known"] * len(ids), "judged": [True] * len(ids)},
        schema_overrides={"at": UTC_TIME, "received": UTC_TIME},
    )  # fmt: skip
    return answers, outcomes


def test_the_plain_test_counts_customers() -> None:
    """By events, 60 customers who ask 50 times each made a fair split look broken in two of three tests."""
    draw, runs, broken, sure = np.random.default_rng(0), 60, 0, 0
    customers = np.repeat(np.arange(60), 50)
    for _ in range(runs):
        versions = np.where(draw.random(60) < 0.5, NEW, LIVE)[customers]
        wrong = draw.random(len(customers)) < draw.beta(2, 8, 60)[customers]
        given = frames(customers, versions, wrong, [AT] * len(customers))
        report = plain_test(BY_CUSTOMER, *given, shares={LIVE: 0.5, NEW: 0.5}, control=LIVE)
        assert report is not None
        assert sum(report["ratio"]["observed"].values()) == 60
        broken += report["ratio"]["mismatch"]
        (found,) = report["differences"]
        sure += found["correct"]["low"] > 0 or found["correct"]["high"] < 0
    assert broken == 0
    assert sure <= stats.binom.isf(0.001, runs, 0.07)
