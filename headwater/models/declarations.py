"""What a user declares to be trained. Plain values: importing this loads no training library."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Final

from headwater.models.errors import ModelDeclarationError, RecordError
from headwater.models.thresholds import ThresholdKind, ThresholdRule

# LightGBM writes names into its text and refuses these characters there.
_NAME = re.compile(r'^[^\s",:\[\]{}]+$')

OWNED_PARAMETERS: Final = frozenset(
    """
    objective objective_type app application loss metric metrics metric_types
    num_threads num_thread nthread nthreads n_jobs device device_type
    seed random_seed random_state data_random_seed data_seed bagging_seed bagging_fraction_seed feature_fraction_seed
    extra_seed objective_seed drop_seed deterministic force_row_wise force_col_wise verbose verbosity
    num_iterations num_iteration n_iter num_tree num_trees num_round num_rounds nrounds num_boost_round n_estimators max_iter
    early_stopping_round early_stopping_rounds early_stopping n_iter_no_change
    categorical_feature cat_feature categorical_column cat_column categorical_features
    """.split()  # noqa: SIM905
)
"""LightGBM parameters that the adapter sets itself, so that equal data gives equal bytes."""


@dataclass(frozen=True, kw_only=True)
class ModelDeclaration:
    """What every binary classifier declares.

    Attributes:
        features: Columns in matrix order.
        categorical: Those of `features` that are categories.
        label: 0/1 or boolean column.
        not_null: Those of `features` in which a null is an error.
        rare_below: Categories with fewer training rows count as unknown.
        threshold: How the decision threshold is chosen.
        seed: Of everything random.
    """

    kind: ClassVar[str] = ""

    features: tuple[str, ...]
    label: str
    categorical: tuple[str, ...] = ()
    not_null: tuple[str, ...] = ()
    rare_below: int = 1
    threshold: ThresholdRule = field(default_factory=ThresholdRule)
    seed: int = 20130101

    def __post_init__(self) -> None:
        if not self.features:
            self._refuse("it has no features.", "Name at least one column.")
        if twice := sorted({name for name in self.features if self.features.count(name) > 1}):
            self._refuse(f"features {twice} appear twice.", "Name each column once.")
        for group in ("categorical", "not_null"):
            if strange := [name for name in getattr(self, group) if name not in self.features]:
                self._refuse(f"{group} names {strange}, which are no features.", "Add them to `features` or drop them.")
        if self.label in self.features:
            self._refuse(f"the label '{self.label}' is a feature.", "Take it out of `features`: it is the answer.")
        if bad := [name for name in self.features if not _NAME.fullmatch(name)]:
            self._refuse(f'features {bad} have a space or one of ",:[]{{}}.', "Rename them upstream.")

    def _refuse(self, problem: str, remedy: str) -> None:
        raise ModelDeclarationError(what=type(self).__name__, problem=problem, remedy=remedy)

    def to_json(self) -> dict[str, Any]:
        """JSON values that `declaration_from_json` reads back."""
        return {"kind": self.kind, **asdict(self)}

    def to_params(self) -> dict[str, str]:
        """The declaration as flat texts by dotted name, as MLflow and tables take them; columns are joined by a comma."""
        flat: dict[str, str] = {}
        for name, value in self.to_json().items():
            if isinstance(value, Mapping):
                flat |= {f"{name}.{key}": str(item) for key, item in value.items()}
            else:
                flat[name] = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        return dict(sorted(flat.items()))


@dataclass(frozen=True, kw_only=True)
class LightGBMModel(ModelDeclaration):
    """Gradient-boosted trees.

    Attributes:
        parameters: LightGBM parameters, without those in `OWNED_PARAMETERS`.
        num_boost_round: Trees at most.
        early_stopping_rounds: Stop when validation log loss has not improved for so many trees; None grows all trees.
    """

    kind: ClassVar[str] = "lightgbm"

    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    num_boost_round: int = 300
    early_stopping_rounds: int | None = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        if owned := sorted(OWNED_PARAMETERS & set(self.parameters)):
            self._refuse(
                f"parameters {owned} are set by the adapter.", "Use the declaration's own fields, or drop them."
            )
        if self.num_boost_round < 1 or (self.early_stopping_rounds is not None and self.early_stopping_rounds < 1):
            self._refuse("num_boost_round or early_stopping_rounds is below 1.", "Give whole numbers from 1 on.")


@dataclass(frozen=True, kw_only=True)
class LogisticBaseline(ModelDeclaration):
    """Logistic regression: standardised numbers with a missing flag, one weight for each category.

    Attributes:
        inverse_penalty: Inverse strength of the L2 penalty, > 0.
        max_iterations: Of the solver (L-BFGS).
    """

    kind: ClassVar[str] = "logistic"

    inverse_penalty: float = 1.0
    max_iterations: int = 500


@dataclass(frozen=True, kw_only=True)
class TorchTabularModel(ModelDeclaration):
    """A small multi-layer perceptron: category embeddings and standardised numbers with a missing flag.

    Attributes:
        hidden: Width of each hidden layer.
        embedding: Width of each category's embedding.
        epochs: Passes over the training rows at most; the one with the best validation log loss is kept.
        batch_rows: Rows a step.
        learning_rate: Of Adam.
    """

    kind: ClassVar[str] = "torch_tabular"

    hidden: tuple[int, ...] = (32, 16)
    embedding: int = 4
    epochs: int = 5
    batch_rows: int = 512
    learning_rate: float = 1e-3


DECLARATIONS: Final[Mapping[str, type[ModelDeclaration]]] = {
    declared.kind: declared for declared in (LightGBMModel, LogisticBaseline, TorchTabularModel)
}


def declaration_from_json(raw: Mapping[str, Any]) -> ModelDeclaration:
    """The declaration that `to_json` wrote.

    Raises:
        RecordError: The kind is unknown or a field is absent or unknown.
    """
    declared = DECLARATIONS.get(str(raw.get("kind")))
    if declared is None:
        raise RecordError(record="declaration", reason=f"kind {raw.get('kind')!r} is none of {sorted(DECLARATIONS)}")
    try:
        values: dict[str, Any] = {name: _tupled(value) for name, value in raw.items() if name != "kind"}
        rule = raw["threshold"]
        values["threshold"] = ThresholdRule(kind=ThresholdKind(rule["kind"]), value=rule["value"])
        if unknown := sorted(set(values) - {item.name for item in fields(declared)}):
            raise RecordError(record="declaration", reason=f"fields {unknown} are unknown to kind '{declared.kind}'")
        return declared(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(record="declaration", reason=f"{type(error).__name__}: {error}") from error


def _tupled(value: Any) -> Any:
    """JSON has lists where declarations have tuples."""
    return tuple(value) if isinstance(value, list) else value
