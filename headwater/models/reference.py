"""Profile of the training features: what the model saw, small enough to travel in its bundle."""

from typing import Any, Final

import numpy as np
import polars as pl

from headwater.models.preprocessing import FeatureKind, Preprocessing

QUANTILES: Final = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


def profile(frame: pl.DataFrame, preprocessing: Preprocessing) -> dict[str, Any]:
    """JSON profile of each feature of `frame`: counts, and quantiles (numbers) or counts by value (the others).

    Args:
        frame: Training rows.
        preprocessing: Which columns are features and of which kind.

    Returns:
        `{"rows": n, "features": {name: {"kind", "nulls", "quantiles", "mean", "std", "zeros"} or {"kind", "nulls",
        "counts"}}}`. Quantiles are order statistics (value at rank floor(q (n - 1))) of the finite values.
    """
    columns = {}
    for feature in preprocessing.features:
        column = frame[feature.name]
        facts: dict[str, Any] = {"kind": feature.kind.value, "nulls": column.null_count()}
        columns[feature.name] = facts | (_numbers(column) if feature.kind is FeatureKind.NUMERIC else _counts(column))
    return {"rows": frame.height, "features": columns}


def _numbers(column: pl.Series) -> dict[str, Any]:
    values = np.sort(column.cast(pl.Float64).drop_nulls().to_numpy())
    values = values[np.isfinite(values)]
    if not len(values):
        return {"quantiles": {}, "mean": None, "std": None, "zeros": 0}
    return {
        "quantiles": {str(share): float(values[int(share * (len(values) - 1))]) for share in QUANTILES},
        "mean": float(values.mean()),
        "std": float(values.std()),
        "zeros": int((values == 0.0).sum()),
    }


def _counts(column: pl.Series) -> dict[str, Any]:
    counts = column.cast(pl.String).drop_nulls().to_frame("value").group_by("value").agg(pl.len().alias("rows"))
    return {"counts": dict(sorted(counts.rows()))}
