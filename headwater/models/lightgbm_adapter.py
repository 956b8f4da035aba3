"""Gradient-boosted trees with LightGBM: one thread, fixed seed, model kept as LightGBM's own text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from headwater.models.declarations import LightGBMModel
from headwater.models.errors import MissingPackageError, ModelDeclarationError, RecordError
from headwater.models.training import Matrices

FILE: Final = "model.lgb.txt"


@dataclass(frozen=True, kw_only=True)
class LightGBMScorer:
    """A booster as it reads back from its text, so that training and serving score alike.

    Attributes:
        text: LightGBM's model text.
        booster: The `lightgbm.Booster` of that text.
    """

    text: str
    booster: Any

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """Probabilities of the positive class, float64 `[rows]`."""
        if not len(matrix):
            return np.empty(0, dtype=np.float64)
        return np.asarray(self.booster.predict(matrix, num_threads=1), dtype=np.float64)

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """What each feature adds to the log odds (SHAP values of the trees), float64 `[rows, features + 1]`; the base last."""
        return np.asarray(self.booster.predict(matrix, num_threads=1, pred_contrib=True), dtype=np.float64)

    def files(self) -> Mapping[str, bytes]:
        """The model text."""
        return {FILE: self.text.encode()}

    def importance(self) -> Mapping[str, float]:
        """Total gain of each feature's splits."""
        gains = self.booster.feature_importance(importance_type="gain")
        return dict(zip(self.booster.feature_name(), map(float, gains), strict=True))


def train(matrices: Matrices, declaration: LightGBMModel) -> tuple[LightGBMScorer, dict[str, float | int | bool]]:
    """Fits a booster. Equal matrices give an equal text, whatever the process or machine load.

    Raises:
        ModelDeclarationError: LightGBM refuses the parameters.
        MissingPackageError: LightGBM is not installed.
    """
    lightgbm = _lightgbm()
    names = list(matrices.preprocessing.names)
    parameters = {
        **declaration.parameters,
        "objective": "binary",
        "metric": "binary_logloss",
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": declaration.seed,
        "verbosity": -1,
    }
    described = {
        "feature_name": names,
        "categorical_feature": [names.index(name) for name in matrices.preprocessing.categorical],
        "params": parameters,
    }
    learned = lightgbm.Dataset(matrices.train, matrices.train_label, **described)
    held_out = lightgbm.Dataset(matrices.validation, matrices.validation_label, reference=learned, **described)
    stopping = declaration.early_stopping_rounds
    try:
        booster = lightgbm.train(
            parameters,
            learned,
            num_boost_round=declaration.num_boost_round,
            valid_sets=[held_out],
            callbacks=[lightgbm.early_stopping(stopping, verbose=False)] if stopping else [],
        )
    except lightgbm.basic.LightGBMError as error:
        raise ModelDeclarationError(
            what="LightGBMModel", problem=f"LightGBM refused it ({error}).", remedy="Change `parameters`."
        ) from error
    kept = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
    scorer = load({FILE: booster.model_to_string(num_iteration=kept).encode()})
    return scorer, {"rounds": int(kept)}


def load(files: Mapping[str, bytes]) -> LightGBMScorer:
    """The scorer that `files` came from.

    Raises:
        RecordError: The text is no LightGBM model.
        MissingPackageError: LightGBM is not installed.
    """
    lightgbm = _lightgbm()
    text = files[FILE].decode()
    try:
        booster = lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise RecordError(record="LightGBM model", reason=str(error)) from error
    return LightGBMScorer(text=text, booster=booster)


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ModuleNotFoundError as error:
        raise MissingPackageError(package="lightgbm", extra="train", purpose="a LightGBM model") from error
    return lightgbm
