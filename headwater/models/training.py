"""From two frames and a declaration to a trained model, whatever the algorithm."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import polars as pl

from headwater.models.declarations import LightGBMModel, LogisticBaseline, ModelDeclaration, TorchTabularModel
from headwater.models.errors import EmptyPartError, LabelError, ModelDeclarationError, WrongDtypeError
from headwater.models.evaluation_metrics import area_under_curve, brier_score, log_loss
from headwater.models.preprocessing import Preprocessing, require_columns
from headwater.models.reference import profile
from headwater.models.signature import Signature

TRAIN = "training"
VALIDATION = "validation"


class Scorer(Protocol):
    """What an adapter gives: scores of a matrix, and files from which the same scorer can be loaded."""

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """Probabilities of the positive class, float64 `[rows]`, for a float64 matrix `[rows, features]`."""
        ...

    def files(self) -> Mapping[str, bytes]:
        """Weights by file name, in a format that runs no code when read."""
        ...

    def importance(self) -> Mapping[str, float]:
        """The algorithm's own importance of each feature, >= 0; empty when it has none."""
        ...


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Scores rows and decides: what a freshly trained model and a bundle read from disk have in common.

    Attributes:
        declaration: What was declared.
        preprocessing: Columns to matrix.
        scorer: Matrix to scores.
        threshold: Scores at or above it decide positive.
    """

    declaration: ModelDeclaration
    preprocessing: Preprocessing
    scorer: Scorer
    threshold: float

    @property
    def signature(self) -> Signature:
        """Inputs and outputs."""
        return Signature.of(self.preprocessing)

    def predict(self, frame: pl.DataFrame) -> np.ndarray:
        """Scores of `frame`'s rows, float64 in [0, 1].

        Raises:
            MissingColumnsError: A feature is absent.
            WrongDtypeError: A feature has another dtype than in training.
            NullInputError: A feature declared never null has nulls.
        """
        return self.scorer.score(self.preprocessing.transform(frame))

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Decisions, boolean `[rows]`."""
        return np.asarray(scores) >= self.threshold


@dataclass(frozen=True, kw_only=True)
class TrainedModel(Predictor):
    """A model as training left it, before it has a folder or a version.

    Attributes:
        metrics: Facts of the training: rows, positives, rounds kept, validation scores.
        reference: Profile of the training features, JSON values.
    """

    metrics: Mapping[str, float | int | bool]
    reference: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Matrices:
    """Training and validation as an adapter reads them: matrices `[rows, features]`, labels 0.0 or 1.0 `[rows]`."""

    preprocessing: Preprocessing
    train: np.ndarray
    train_label: np.ndarray
    validation: np.ndarray
    validation_label: np.ndarray


class Trainer(Protocol):
    """An adapter: fits a scorer to matrices. Equal matrices and declaration must give equal files."""

    def __call__(self, matrices: Matrices, declaration: Any) -> tuple[Scorer, Mapping[str, float | int | bool]]:
        """The fitted scorer and facts about the fit."""
        ...


def train_model(train: pl.DataFrame, validation: pl.DataFrame, declaration: ModelDeclaration) -> TrainedModel:
    """Trains what is declared.

    The rows are put into one canonical order first: a table read back in another order gives the same model, byte
    for byte.

    Args:
        train: Rows to learn from.
        validation: Later rows, for early stopping and the threshold.
        declaration: What to train.

    Raises:
        MissingColumnsError, WrongDtypeError, NullInputError: A feature or the label is unusable.
        LabelError: The label is null somewhere, has one class only, or values other than 0 and 1.
        EmptyPartError: A part has no rows.
        MissingPackageError: The algorithm's package is not installed.
    """
    learned = canonical(train, declaration, rows=TRAIN)
    held_out = canonical(validation, declaration, rows=VALIDATION)
    preprocessing = Preprocessing.fit(
        learned,
        features=declaration.features,
        categorical=declaration.categorical,
        not_null=declaration.not_null,
        rare_below=declaration.rare_below,
    )
    matrices = Matrices(
        preprocessing=preprocessing,
        train=preprocessing.transform(learned, rows=TRAIN),
        train_label=read_label(learned, declaration.label, rows=TRAIN),
        validation=preprocessing.transform(held_out, rows=VALIDATION),
        validation_label=read_label(held_out, declaration.label, rows=VALIDATION),
    )
    scorer, facts = _trainer(declaration)(matrices, declaration)
    scores = scorer.score(matrices.validation)
    return TrainedModel(
        declaration=declaration,
        preprocessing=preprocessing,
        scorer=scorer,
        threshold=declaration.threshold.choose(matrices.validation_label, scores),
        metrics={**facts, **_facts(matrices, scores)},
        reference=profile(learned, preprocessing),
    )


def train_lightgbm(train: pl.DataFrame, validation: pl.DataFrame, declaration: LightGBMModel) -> TrainedModel:
    """`train_model` for gradient-boosted trees."""
    return train_model(train, validation, declaration)


def train_logistic(train: pl.DataFrame, validation: pl.DataFrame, declaration: LogisticBaseline) -> TrainedModel:
    """`train_model` for the logistic baseline."""
    return train_model(train, validation, declaration)


def canonical(frame: pl.DataFrame, declaration: ModelDeclaration, *, rows: str) -> pl.DataFrame:
    """The features and the label of `frame`, rows in an order that depends on their values alone."""
    names = [*declaration.features, declaration.label]
    require_columns(frame, names, frame=rows)
    if frame.is_empty():
        raise EmptyPartError(part=rows, detail="", remedy="Check the filter and the split, or land more data.")
    chosen = frame.select(
        pl.col(name).cast(pl.String) if isinstance(frame.schema[name], pl.Categorical | pl.Enum) else pl.col(name)
        for name in names
    )
    sortable = [name for name in names if not chosen.schema[name].is_nested()]
    return chosen.sort(sortable, maintain_order=True).rechunk()


def read_label(frame: pl.DataFrame, label: str, *, rows: str) -> np.ndarray:
    """The label as float64 0.0 and 1.0, `[rows]`, both present.

    Raises:
        MissingColumnsError, WrongDtypeError: It is absent, or neither boolean nor a number.
        LabelError: It is null somewhere or everywhere, has one class only, or values other than 0 and 1.
    """
    require_columns(frame, [label], frame=rows)
    column = frame[label]
    nulls = column.null_count()
    if column.len() and nulls == column.len():
        remedy = "Wait for the labels to arrive, or check the join that brings them."
        raise LabelError(label=label, frame=rows, problem=f"is null in all {nulls} rows", remedy=remedy)
    if not (column.dtype == pl.Boolean or column.dtype.is_numeric()):
        raise WrongDtypeError(column=label, frame=rows, found=str(column.dtype), expected="boolean or 0 and 1")
    if nulls:
        remedy = "Decide upstream what a row without a truth means, and drop or fill it there."
        raise LabelError(label=label, frame=rows, problem=f"is null in {nulls} of {column.len()} rows", remedy=remedy)
    values = column.cast(pl.Float64).to_numpy()
    found = np.unique(values)
    if not np.isin(found, (0.0, 1.0)).all():
        shown = ", ".join(str(value) for value in found[:5])
        raise LabelError(label=label, frame=rows, problem=f"has values {shown}", remedy="Give 0 and 1, or a boolean.")
    if len(found) == 1:
        problem = f"has one class only ({int(found[0])}) in {len(values)} rows"
        raise LabelError(label=label, frame=rows, problem=problem, remedy="Widen the time window until both occur.")
    return values


def _trainer(declaration: ModelDeclaration) -> Trainer:
    if isinstance(declaration, LightGBMModel):
        from headwater.models.lightgbm_adapter import train as lightgbm_trainer

        return lightgbm_trainer
    if isinstance(declaration, LogisticBaseline):
        from headwater.models.logistic_adapter import train as logistic_trainer

        return logistic_trainer
    if isinstance(declaration, TorchTabularModel):
        from headwater.models.torch_adapter import train as torch_trainer

        return torch_trainer
    raise ModelDeclarationError(
        what=type(declaration).__name__, problem="no adapter trains it.", remedy="Declare one of headwater.models."
    )


def _facts(matrices: Matrices, scores: np.ndarray) -> dict[str, float | int]:
    label = matrices.validation_label
    return {
        "train_rows": len(matrices.train_label),
        "train_positives": int(matrices.train_label.sum()),
        "validation_rows": len(label),
        "validation_positives": int(label.sum()),
        "validation_auc": area_under_curve(label, scores),
        "validation_brier": brier_score(label, scores),
        "validation_log_loss": log_loss(label, scores),
    }
