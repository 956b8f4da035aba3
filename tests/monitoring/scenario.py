"""Predictions, labels and outcomes of an invented service, each row as plain as its test allows."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from headwater.product import Labels

START = datetime(2013, 7, 1, tzinfo=UTC)  # a Monday
DECLARED = Labels(path="x/labels", key=("event",), time="predict_at", label="late", known_at="known_at")
UTC_TIME = pl.Datetime("us", "UTC")


def prediction(request_id: str, event: int | None, **changes: Any) -> dict[str, Any]:
    """One answer about an event, an hour after the start unless changed."""
    at = changes.pop("at", START + timedelta(hours=1))
    usual = {
        "request_id": request_id, "at": at, "received": at, "latency_us": 900, "version": "1.0.0", "variant": "1.0.0",
        "propensity": 1.0, "score": 0.25, "decision": False, "event": event,
    }  # fmt: skip
    return {**usual, **changes}


def predictions(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows of `prediction` with the dtypes of the log."""
    schema = {
        "request_id": pl.String, "at": UTC_TIME, "received": UTC_TIME, "latency_us": pl.Int64, "version": pl.String,
        "variant": pl.String, "propensity": pl.Float64, "score": pl.Float64, "decision": pl.Boolean, "event": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def labels(*rows: tuple[int, int | None, datetime | None], at: datetime | None = None) -> pl.DataFrame:
    """Labels of events: number, 0 or 1 or null, and when that was known."""
    columns = {
        "event": [row[0] for row in rows], "predict_at": [at or START + timedelta(hours=1)] * len(rows),
        "late": [row[1] for row in rows], "known_at": [row[2] for row in rows],
    }  # fmt: skip
    return pl.DataFrame(
        columns, schema={"event": pl.Int32, "predict_at": UTC_TIME, "late": pl.Int8, "known_at": UTC_TIME}
    )


def outcomes(
    label: Sequence[int | None],
    score: Sequence[float],
    *,
    decision: Sequence[bool] | None = None,
    at: Sequence[datetime] | None = None,
    truth: Sequence[str] | None = None,
    **columns: Sequence[Any],
) -> pl.DataFrame:
    """A frame as `join_outcomes` gives it: labels that are null are pending unless `truth` says otherwise."""
    rows = len(label)
    times = list(at) if at is not None else [START + timedelta(minutes=n) for n in range(rows)]
    names = [f"r{n:06}" for n in range(rows)]
    return pl.DataFrame(
        {
            "request_id": pl.Series(names, dtype=pl.String),
            "at": pl.Series(times, dtype=UTC_TIME),
            "received": pl.Series(times, dtype=UTC_TIME),
            "latency_us": pl.Series([900] * rows, dtype=pl.Int64),
            "version": pl.Series(["1.0.0"] * rows, dtype=pl.String),
            "score": pl.Series(score, dtype=pl.Float64),
            "decision": pl.Series(
                list(decision) if decision is not None else [s >= 0.5 for s in score], dtype=pl.Boolean
            ),
            "label": pl.Series(list(label), dtype=pl.Int8),
            "truth": pl.Series(
                list(truth) if truth is not None else ["pending" if one is None else "known" for one in label],
                dtype=pl.String,
            ),
            "judged": pl.Series([True] * rows, dtype=pl.Boolean),
        }
        | (
            {"variant": pl.Series(["1.0.0"] * rows, dtype=pl.String)}
            | {name: list(values) for name, values in columns.items()}
        )
    )


def drawn(rows: int, *, seed: int, slope: float = 1.0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores: labels are drawn with log odds `shift + slope * logit(score)`."""
    draw = np.random.default_rng(seed)
    logit = draw.normal(-1.2, 1.1, rows)
    happened = draw.random(rows) < 1 / (1 + np.exp(-(shift + slope * logit)))
    return happened.astype(np.int8), 1 / (1 + np.exp(-logit))
