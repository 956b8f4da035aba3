"""Logistic regression fitted by scikit-learn and kept as a table of weights: scoring needs NumPy alone."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from headwater.models._json import from_text, to_text
from headwater.models.declarations import LogisticBaseline
from headwater.models.errors import MissingPackageError, RecordError
from headwater.models.preprocessing import FeatureKind, Preprocessing
from headwater.models.training import Matrices

FILE: Final = "model.logistic.json"
_ROWS: Final = 1_024
"""Scored at once: several matrices of their size are in memory meanwhile."""


@dataclass(frozen=True, kw_only=True)
class LogisticScorer:
    """An intercept and each feature's weights.

    Attributes:
        intercept: Log odds at the reference.
        features: In matrix order. Numbers: `{name, mean, scale, weight, missing}`, where `missing` is added to the log
            odds when the value is null. Categories: `{name, codes}`, one weight a code, the unknown's first.
    """

    intercept: float
    features: tuple[Mapping[str, Any], ...]

    @np.errstate(over="ignore", invalid="ignore")
    def score(self, matrix: np.ndarray) -> np.ndarray:
        """Probabilities of the positive class, float64 `[rows]`; NaN where numbers are too large to be added up."""
        odds = np.empty(len(matrix))
        for start in range(0, len(matrix), _ROWS):
            parts = self._parts(matrix[start : start + _ROWS])
            # Added up from left to right: a row's score is the same to the last bit whatever rows are scored with it.
            summed = np.column_stack([np.full(len(parts), self.intercept), parts]).cumsum(axis=1)
            odds[start : start + _ROWS] = summed[:, -1]
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -500, 500))))

    @np.errstate(over="ignore", invalid="ignore")
    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """What each feature adds to the log odds, float64 `[rows, features + 1]`; the intercept last."""
        return np.column_stack([self._parts(matrix), np.full(len(matrix), self.intercept)])

    def files(self) -> Mapping[str, bytes]:
        """The weights as JSON."""
        return {
            FILE: to_text({"intercept": self.intercept, "features": [dict(item) for item in self.features]}).encode()
        }

    def importance(self) -> Mapping[str, float]:
        """Largest change of the log odds: one standard deviation of a number, or the range over the categories."""
        return {
            item["name"]: max(item["codes"]) - min(item["codes"]) if "codes" in item else abs(item["weight"])
            for item in self.features
        }

    def _parts(self, matrix: np.ndarray) -> np.ndarray:
        """What each feature adds to the log odds, float64 `[rows, features]`."""
        means, scales, weights, nulls = self._numbers
        is_null = np.isnan(matrix)
        parts = (np.where(is_null, means, matrix) - means) / scales * weights + is_null * nulls
        for index, codes in self._codes:
            parts[:, index] = codes[matrix[:, index].astype(np.int64)]
        return np.asarray(parts)

    @cached_property
    def _numbers(self) -> np.ndarray:
        """Means, scales, weights and what a null adds, float64 `[4, features]`; for categories what adds nothing."""
        rows = [
            (0.0, 1.0, 0.0, 0.0) if "codes" in item else (item["mean"], item["scale"], item["weight"], item["missing"])
            for item in self.features
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 4).T

    @cached_property
    def _codes(self) -> tuple[tuple[int, np.ndarray], ...]:
        """Of each categorical feature its place and the weights of its codes."""
        return tuple(
            (index, np.asarray(item["codes"], dtype=np.float64))
            for index, item in enumerate(self.features)
            if "codes" in item
        )


def train(matrices: Matrices, declaration: LogisticBaseline) -> tuple[LogisticScorer, dict[str, float | int | bool]]:
    """Fits by L-BFGS on one thread; validation rows are not used."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise MissingPackageError(package="scikit-learn", extra="train", purpose="the logistic baseline") from error

    columns, design = _design(matrices.train, matrices.preprocessing)
    solver = LogisticRegression(C=declaration.inverse_penalty, max_iter=declaration.max_iterations)
    with threadpool_limits(1), warnings.catch_warnings():
        # Not converging is reported as a fact of the training instead.
        warnings.simplefilter("ignore", ConvergenceWarning)
        solver.fit(design, matrices.train_label)
    scorer = LogisticScorer(
        intercept=float(solver.intercept_[0]), features=_weights(columns, [float(value) for value in solver.coef_[0]])
    )
    iterations = int(solver.n_iter_[0])
    return scorer, {"iterations": iterations, "converged": iterations < declaration.max_iterations}


def load(files: Mapping[str, bytes]) -> LogisticScorer:
    """The scorer that `files` came from.

    Raises:
        RecordError: It is not such a table of weights.
    """
    raw = from_text(files[FILE].decode(), record="logistic model")
    try:
        return LogisticScorer(intercept=float(raw["intercept"]), features=tuple(raw["features"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(record="logistic model", reason=f"{type(error).__name__}: {error}") from error


def _design(matrix: np.ndarray, preprocessing: Preprocessing) -> tuple[list[dict[str, Any]], Any]:
    """The sparse design matrix, and for each feature how its columns were made."""
    from scipy import sparse

    described: list[dict[str, Any]] = []
    blocks = []
    for index, feature in enumerate(preprocessing.features):
        column = matrix[:, index]
        if feature.kind is FeatureKind.CATEGORICAL:
            size = len(feature.vocabulary) + 1
            rows = np.arange(len(column))
            ones = np.ones(len(column))
            blocks.append(sparse.csr_matrix((ones, (rows, column.astype(np.int64))), shape=(len(column), size)))
            described.append({"name": feature.name, "size": size})
            continue
        missing = np.isnan(column)
        known = column[~missing]
        mean = float(known.mean()) if len(known) else 0.0
        scale = float(known.std()) if len(known) else 0.0
        scale = scale if scale > 0.0 else 1.0
        blocks.append(sparse.csr_matrix(((np.where(missing, mean, column) - mean) / scale).reshape(-1, 1)))
        blocks.append(sparse.csr_matrix(missing.astype(np.float64).reshape(-1, 1)))
        described.append({"name": feature.name, "mean": mean, "scale": scale})
    return described, sparse.hstack(blocks, format="csr")


def _weights(columns: list[dict[str, Any]], weights: list[float]) -> tuple[dict[str, Any], ...]:
    features = []
    position = 0
    for column in columns:
        if "size" in column:
            features.append({"name": column["name"], "codes": weights[position : position + column["size"]]})
            position += column["size"]
        else:
            features.append({**column, "weight": weights[position], "missing": weights[position + 1]})
            position += 2
    return tuple(features)
