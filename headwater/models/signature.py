"""What a model takes and gives: the promise that a major version breaks."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from headwater.models._json import digest
from headwater.models.errors import RecordError
from headwater.models.preprocessing import InputType, Preprocessing

SCORE: Final = "score"
DECISION: Final = "decision"

_MLFLOW_TYPES: Final = {
    InputType.INT64: "long",
    InputType.FLOAT64: "double",
    InputType.STRING: "string",
    InputType.BOOLEAN: "boolean",
}


@dataclass(frozen=True, kw_only=True)
class SignatureColumn:
    """One input or output: name, dtype family and whether it may be null."""

    name: str
    dtype: InputType
    nullable: bool


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The inputs in order and the outputs of a model."""

    inputs: tuple[SignatureColumn, ...]
    outputs: tuple[SignatureColumn, ...]

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> "Signature":
        """The signature of a binary classifier behind `preprocessing`: a score in [0, 1] and a decision."""
        return cls(
            inputs=tuple(
                SignatureColumn(name=feature.name, dtype=feature.dtype, nullable=feature.nullable)
                for feature in preprocessing.features
            ),
            outputs=(
                SignatureColumn(name=SCORE, dtype=InputType.FLOAT64, nullable=False),
                SignatureColumn(name=DECISION, dtype=InputType.BOOLEAN, nullable=False),
            ),
        )

    def digest(self) -> str:
        """Sha256 that changes exactly when an input or output is added, removed, renamed, retyped or reordered."""
        return digest(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        return {"inputs": [asdict(item) for item in self.inputs], "outputs": [asdict(item) for item in self.outputs]}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Signature":
        """The record that `to_json` wrote.

        Raises:
            RecordError: A field is absent or has an unknown value.
        """
        try:
            return cls(inputs=_columns(raw["inputs"]), outputs=_columns(raw["outputs"]))
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(record="signature", reason=f"{type(error).__name__}: {error}") from error

    def to_mlflow(self) -> dict[str, str | None]:
        """The `signature` section of an `MLmodel` file.

        A nullable whole number has no MLflow type (pandas turns it into float64 as soon as one is missing), so it is
        `any`; the bundle checks it itself.
        """
        inputs = [
            {"name": item.name, "type": _mlflow_type(item), "required": True}
            if item.dtype is not InputType.INT64 or not item.nullable
            else {"name": item.name, "type": "any", "required": False}
            for item in self.inputs
        ]
        outputs = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]
        return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None}


def _mlflow_type(column: SignatureColumn) -> str:
    return _MLFLOW_TYPES[column.dtype]


def _columns(raw: list[Mapping[str, Any]]) -> tuple[SignatureColumn, ...]:
    return tuple(
        SignatureColumn(name=item["name"], dtype=InputType(item["dtype"]), nullable=bool(item["nullable"]))
        for item in raw
    )
