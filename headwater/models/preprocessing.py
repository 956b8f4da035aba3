"""Preprocessing as data: what turns named columns into the matrix that a model reads. JSON, no code, no pickle."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import polars as pl

from headwater.models.errors import MissingColumnsError, NullInputError, RecordError, WrongDtypeError

UNKNOWN_CODE: Final = 0
"""Code of a null category and of one that training never saw. Known categories are 1, 2, ..."""


_ROWS: Final = "__rows"


class FeatureKind(StrEnum):
    """How a column becomes numbers."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"


class InputType(StrEnum):
    """Dtypes that callers see, one name for each family (Int16 and UInt32 are both `Int64`)."""

    INT64 = "Int64"
    FLOAT64 = "Float64"
    STRING = "String"
    BOOLEAN = "Boolean"

    @property
    def polars(self) -> pl.DataType:
        """The widest dtype of the family."""
        return _WIDEST[self]


_WIDEST: Final[Mapping[InputType, pl.DataType]] = {
    InputType.INT64: pl.Int64(),
    InputType.FLOAT64: pl.Float64(),
    InputType.STRING: pl.String(),
    InputType.BOOLEAN: pl.Boolean(),
}


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column's way into the matrix.

    Attributes:
        name: Column.
        kind: Numeric, categorical or boolean.
        dtype: Family of dtypes that the column has.
        nullable: Whether nulls are accepted.
        vocabulary: Known categories in code order (categorical), else empty.
    """

    name: str
    kind: FeatureKind
    dtype: InputType
    nullable: bool = True
    vocabulary: tuple[str, ...] = ()

    def check(self, dtype: pl.DataType, *, frame: str) -> None:
        """Raises `WrongDtypeError` when a column of `dtype` cannot be this feature."""
        found = _input_type(dtype)
        numeric = self.kind is FeatureKind.NUMERIC and found in (InputType.INT64, InputType.FLOAT64)
        untyped = dtype == pl.Null and self.nullable
        if found is not self.dtype and not numeric and not untyped:
            raise WrongDtypeError(column=self.name, frame=frame, found=str(dtype), expected=self.dtype.value)

    def expression(self) -> pl.Expr:
        """Polars expression of the encoded column, Float64. Null, NaN and infinite numbers become NaN."""
        column = pl.col(self.name)
        if self.kind is FeatureKind.NUMERIC:
            number = column.cast(pl.Float64)
            return pl.when(number.is_finite()).then(number).otherwise(float("nan")).alias(self.name)
        if self.kind is FeatureKind.BOOLEAN:
            return column.cast(pl.Float64).fill_null(float("nan"))
        if not self.vocabulary:
            return pl.repeat(float(UNKNOWN_CODE), pl.len(), dtype=pl.Float64).alias(self.name)
        codes = [float(UNKNOWN_CODE + 1 + index) for index in range(len(self.vocabulary))]
        text = column.cast(pl.String)
        return text.replace_strict(list(self.vocabulary), codes, default=float(UNKNOWN_CODE), return_dtype=pl.Float64)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Fitted on the training rows, applied the same everywhere.

    Attributes:
        features: In matrix order.
    """

    features: tuple[Feature, ...]

    @classmethod
    def fit(
        cls,
        train: pl.DataFrame,
        *,
        features: Sequence[str],
        categorical: Sequence[str] = (),
        not_null: Sequence[str] = (),
        rare_below: int = 1,
    ) -> "Preprocessing":
        """Learns dtypes and vocabularies.

        Args:
            train: Training rows.
            features: Columns in matrix order.
            categorical: Those of `features` that are categories (strings or whole numbers).
            not_null: Columns in which a null is an error rather than an unknown.
            rare_below: Categories with fewer training rows are treated as unknown, so that the reserved code is learned.

        Raises:
            MissingColumnsError: A column is absent.
            WrongDtypeError: A column is a datetime, a list or something else that is no feature.
        """
        require_columns(train, features, frame="training")
        fitted = []
        for name in features:
            column = train[name]
            kind, dtype = _kind_of(column, categorical=name in categorical)
            fitted.append(
                Feature(
                    name=name,
                    kind=kind,
                    dtype=dtype,
                    nullable=name not in not_null,
                    vocabulary=_vocabulary(column, rare_below) if kind is FeatureKind.CATEGORICAL else (),
                )
            )
        return cls(features=tuple(fitted))

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in matrix order."""
        return tuple(feature.name for feature in self.features)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column names with the widest dtype of each, in matrix order."""
        return {feature.name: feature.dtype.polars for feature in self.features}

    def recorded(self, features: pl.Series) -> pl.DataFrame:
        """Model inputs as rows, from what a prediction log says of each: a JSON object by name, in `schema`'s dtypes.

        What another version read under the same name as another type is null where it is no value of this one.
        """
        try:
            return features.str.json_decode(pl.Struct(self.schema)).struct.unnest()
        except pl.exceptions.ComputeError:
            texts = features.str.json_decode(pl.Struct(dict.fromkeys(self.schema, pl.String()))).struct.unnest()
            return texts.select(_from_text(pl.col(name), dtype).alias(name) for name, dtype in self.schema.items())

    def said(self, features: pl.Series) -> pl.DataFrame:
        """Whether each JSON object of `recorded` names each input: what a version did not read is no null of it."""
        keys = {name: (json.dumps(name, ensure_ascii=False), json.dumps(name)) for name in self.names}
        patterns = {name: "|".join(map(re.escape, dict.fromkeys(both))) for name, both in keys.items()}
        # A quote within a text has a backslash before it, so that only a key ends in a quote before a colon.
        return features.to_frame("f").select(
            pl.col("f").str.contains(f"(?:{pattern})\\s*:").fill_null(False).alias(name)
            for name, pattern in patterns.items()
        )

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the categorical columns, in matrix order."""
        return tuple(feature.name for feature in self.features if feature.kind is FeatureKind.CATEGORICAL)

    def transform(self, frame: pl.DataFrame, *, rows: str = "prediction") -> np.ndarray:
        """The matrix of `frame`: float64, `[rows, features]`, row-major. Further columns are ignored.

        Args:
            frame: Rows with at least the columns of `names`.
            rows: What the rows are, for errors.

        Raises:
            MissingColumnsError: A column is absent.
            WrongDtypeError: A column has another dtype than in training.
            NullInputError: A column declared never null has nulls.
        """
        require_columns(frame, self.names, frame=rows)
        for feature in self.features:
            feature.check(frame.schema[feature.name], frame=rows)
            if not feature.nullable and (count := frame[feature.name].null_count()):
                raise NullInputError(column=feature.name, frame=rows, count=count)
        encoded = frame.select(feature.expression() for feature in self.features)
        return np.ascontiguousarray(encoded.to_numpy(), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        return {
            "unknown_code": UNKNOWN_CODE,
            "features": [
                {
                    "name": feature.name,
                    "kind": feature.kind.value,
                    "dtype": feature.dtype.value,
                    "nullable": feature.nullable,
                    "vocabulary": list(feature.vocabulary),
                }
                for feature in self.features
            ],
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Preprocessing":
        """The record that `to_json` wrote.

        Raises:
            RecordError: A field is absent or has an unknown value.
        """
        try:
            if raw["unknown_code"] != UNKNOWN_CODE:
                raise RecordError(record="preprocessing", reason=f"its unknown code is {raw['unknown_code']}")
            return cls(
                features=tuple(
                    Feature(
                        name=item["name"],
                        kind=FeatureKind(item["kind"]),
                        dtype=InputType(item["dtype"]),
                        nullable=bool(item["nullable"]),
                        vocabulary=tuple(item["vocabulary"]),
                    )
                    for item in raw["features"]
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(record="preprocessing", reason=f"{type(error).__name__}: {error}") from error


def require_columns(table: pl.DataFrame, names: Sequence[str], *, frame: str) -> None:
    """Raises `MissingColumnsError` naming every one of `names` that `table` lacks; `frame` says which rows they are."""
    present = set(table.columns)
    if missing := [name for name in names if name not in present]:
        raise MissingColumnsError(columns=missing, frame=frame, found=table.columns)


def _from_text(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A JSON scalar's text as a value; null where it is none of the dtype."""
    if dtype == pl.Boolean():
        return pl.when(text == "true").then(True).when(text == "false").then(False)
    return text.cast(dtype, strict=False)


def _input_type(dtype: pl.DataType) -> InputType | None:
    if dtype.is_integer():
        return InputType.INT64
    if dtype.is_float() or dtype.is_decimal():
        return InputType.FLOAT64
    if dtype == pl.Boolean:
        return InputType.BOOLEAN
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return InputType.STRING
    return None


def _kind_of(column: pl.Series, *, categorical: bool) -> tuple[FeatureKind, InputType]:
    dtype = _input_type(column.dtype)
    if categorical and dtype in (InputType.STRING, InputType.INT64):
        return FeatureKind.CATEGORICAL, dtype
    if not categorical and dtype in (InputType.INT64, InputType.FLOAT64):
        return FeatureKind.NUMERIC, dtype
    if dtype is InputType.BOOLEAN:
        return FeatureKind.BOOLEAN, dtype
    expected = "a string or whole number to be categorical" if categorical else "a number or boolean"
    if dtype is InputType.STRING:
        expected = "a number or boolean (or list it under `categorical`)"
    raise WrongDtypeError(column=column.name, frame="training", found=str(column.dtype), expected=expected)


def _vocabulary(column: pl.Series, rare_below: int) -> tuple[str, ...]:
    counts = column.cast(pl.String).drop_nulls().value_counts(name=_ROWS)
    return tuple(sorted(counts.filter(pl.col(_ROWS) >= rare_below).drop(_ROWS).to_series().to_list()))
