"""Scores LightGBM models with LightGBM's own C library and nothing else of the package.

Importing `lightgbm` takes seconds where scikit-learn is installed, and its `predict` a multiple of what the library takes for a
row. The functions used are LightGBM's documented C API (https://lightgbm.readthedocs.io/en/stable/C-API.html).
"""

import ctypes
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from headwater.models.errors import MissingPackageError, RecordError
from headwater.models.lightgbm_adapter import FILE

_FLOAT64, _ROW_MAJOR = 1, 1
_SCORE, _CONTRIBUTIONS = 0, 3
_ALL_ROUNDS: Final = (0, -1)
_PARAMETERS: Final = b"num_threads=1"


class NativeLightGBMScorer:
    """A LightGBM model for a service: the very numbers of `lightgbm.Booster.predict`. Not for several threads at once."""

    def __init__(self, text: bytes) -> None:
        """Loads LightGBM's model text.

        Raises:
            RecordError: It is none.
            MissingPackageError: LightGBM is not installed.
        """
        self._text, self._library = text, _library()
        handle, rounds, columns = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int()
        self._call("LGBM_BoosterLoadModelFromString", text, ctypes.byref(rounds), ctypes.byref(handle))
        self._handle = handle
        self._call("LGBM_BoosterGetNumFeature", handle, ctypes.byref(columns))
        self._columns = columns.value
        self._one = ctypes.c_void_p()
        self._call(
            "LGBM_BoosterPredictForMatSingleRowFastInit", handle, _SCORE, *_ALL_ROUNDS, _FLOAT64, columns, _PARAMETERS,
            ctypes.byref(self._one),
        )  # fmt: skip
        self._result, self._length = ctypes.c_double(), ctypes.c_int64()
        self._result_at, self._length_at = ctypes.byref(self._result), ctypes.byref(self._length)

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """Probabilities of the positive class, float64 `[rows]`, for a float64 matrix `[rows, features]`."""
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        if len(matrix) != 1:
            return self._predict(matrix, _SCORE, 1)[:, 0]
        self._check(matrix)
        failed = self._library.LGBM_BoosterPredictForMatSingleRowFast(
            self._one, matrix.ctypes.data, self._length_at, self._result_at
        )
        if failed:
            raise RecordError(record="LightGBM model", reason=self._problem())
        return np.array([self._result.value])

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """What each feature adds to the log odds (SHAP values of the trees), float64 `[rows, features + 1]`; the base last."""
        return self._predict(np.ascontiguousarray(matrix, dtype=np.float64), _CONTRIBUTIONS, self._columns + 1)

    def files(self) -> Mapping[str, bytes]:
        """The model text."""
        return {FILE: self._text}

    def importance(self) -> Mapping[str, float]:
        """None: a service has no use for it."""
        return {}

    def _predict(self, matrix: np.ndarray, kind: int, width: int) -> np.ndarray:
        self._check(matrix)
        found = np.empty((len(matrix), width), dtype=np.float64)
        if len(matrix):
            self._call(
                "LGBM_BoosterPredictForMat", self._handle, ctypes.c_void_p(matrix.ctypes.data), _FLOAT64, len(matrix),
                self._columns, _ROW_MAJOR, kind, *_ALL_ROUNDS, _PARAMETERS, ctypes.byref(self._length),
                ctypes.c_void_p(found.ctypes.data),
            )  # fmt: skip
        return found

    def _check(self, matrix: np.ndarray) -> None:
        """The library reads as many columns as the model has, whether they are there or not."""
        if matrix.ndim != 2 or matrix.shape[1] != self._columns:
            raise RecordError(
                record="LightGBM model",
                reason=f"it reads {self._columns} columns, not a matrix of shape {matrix.shape}",
            )

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments):
            raise RecordError(record="LightGBM model", reason=self._problem())

    def _problem(self) -> str:
        said: bytes = self._library.LGBM_GetLastError()
        return said.decode(errors="replace")

    def __del__(self) -> None:
        """Gives the library's memory back."""
        if one := getattr(self, "_one", None):
            self._library.LGBM_FastConfigFree(one)
        if handle := getattr(self, "_handle", None):
            self._library.LGBM_BoosterFree(handle)


@cache
def _library() -> ctypes.CDLL:
    found = importlib.util.find_spec("lightgbm")
    folders = [Path(place) for place in found.submodule_search_locations or ()] if found is not None else []
    files = [file for folder in folders for file in sorted(folder.glob("lib/lib_lightgbm.*"))]
    if not files:
        raise MissingPackageError(package="lightgbm", extra="serve", purpose="a LightGBM model")
    library = ctypes.CDLL(str(files[0]))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    library.LGBM_BoosterPredictForMatSingleRowFast.argtypes = [ctypes.c_void_p] * 4
    return library
