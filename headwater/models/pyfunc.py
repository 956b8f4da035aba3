"""The door for MLflow: `mlflow.pyfunc.load_model(<bundle folder>)` gives the same numbers as `Bundle.predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from headwater.models.bundle import Bundle, read_bundle
from headwater.models.errors import WrongDtypeError
from headwater.models.preprocessing import Feature, InputType, Preprocessing, require_columns

if TYPE_CHECKING:
    import pandas as pd


class BundlePyfunc:
    """What MLflow calls."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> np.ndarray:
        """Scores, float64 `[rows]`.

        Args:
            model_input: pandas or Polars frame with the signature's columns.
            params: Ignored: the model has none.
        """
        if isinstance(model_input, pl.DataFrame):
            return self.bundle.predict(model_input)
        return self.bundle.predict(from_pandas(model_input, self.bundle.preprocessing))


def from_pandas(frame: "pd.DataFrame", preprocessing: Preprocessing) -> pl.DataFrame:
    """The features of a pandas frame as Polars columns, each missing value as null.

    pandas turns whole numbers and booleans with gaps into floats and objects; the declared dtype undoes that.

    Raises:
        MissingColumnsError: A feature is absent.
        WrongDtypeError: A feature's values are not of the declared dtype.
    """
    require_columns(pl.DataFrame(schema=list(map(str, frame.columns))), preprocessing.names, frame="prediction")
    return pl.DataFrame([_series(frame[feature.name], feature) for feature in preprocessing.features])


def _series(column: "pd.Series", feature: Feature) -> pl.Series:
    missing = column.isna().to_numpy()
    values = [None if gone else value for value, gone in zip(column.tolist(), missing, strict=True)]
    try:
        series = pl.Series(feature.name, values)
    except TypeError as error:
        raise WrongDtypeError(
            column=feature.name,
            frame="prediction",
            found=f"mixed values ({column.dtype})",
            expected=feature.dtype.value,
        ) from error
    if feature.dtype is InputType.INT64 and series.dtype.is_float() and (series.drop_nulls() % 1 == 0).all():
        return series.cast(pl.Int64)
    return series


def _load_pyfunc(path: str) -> BundlePyfunc:
    """MLflow's entry point."""
    return BundlePyfunc(read_bundle(Path(path)))
