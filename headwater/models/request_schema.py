"""What a request for a prediction holds, and how the model's inputs come from it: all that a service needs beside the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

import polars as pl

from headwater.code_version import function_digest
from headwater.features import FeatureView, OnDemandFeatures
from headwater.features._on_demand import default_as
from headwater.models._json import digest
from headwater.models.errors import RecordError, RequestSchemaError
from headwater.request_names import TIME_NAME, functions_read, given_names

FORMAT: Final = 1
_SINGLE: Final = (2 - 2**-23) * 2.0**127
"""The largest number of 32 bits."""
_WHOLE: Final = (-(2**63), 2**63 - 1)
"""Whole numbers that a request may hold, whatever their column does."""
_NARROWER: Final[Mapping[str, tuple[float, float]]] = {
    **{f"Int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32)},
    **{f"UInt{bits}": (0, 2**bits - 1) for bits in (8, 16, 32)},
    "UInt64": (0, _WHOLE[1]),
    "Float32": (-_SINGLE, _SINGLE),
}


class FieldType(StrEnum):
    """Dtypes of a request's fields, one name for each family."""

    INT64 = "Int64"
    FLOAT64 = "Float64"
    STRING = "String"
    BOOLEAN = "Boolean"
    TIME = "Time"
    DATE = "Date"


@dataclass(frozen=True, kw_only=True)
class RequestField:
    """One field.

    Attributes:
        name: Its name.
        dtype: Its dtype. `Time` is an instant; its zone is `zone`.
        required: Whether a request must have it. What only names the labelled event need not be there; without it nobody
            will know whether the prediction was right.
        zone: For `Time`: the zone that its plain values have in training, None for times without a zone.
        column: The dtype of its column in the training set, as Polars writes it; empty in bundles of before it was kept.
    """

    name: str
    dtype: FieldType
    required: bool = True
    zone: str | None = None
    column: str = ""

    @property
    def within(self) -> tuple[float, float] | None:
        """The smallest and the largest number that it can have; None where it has no such."""
        return _NARROWER.get(self.column, _WHOLE if self.dtype is FieldType.INT64 else None)


@dataclass(frozen=True, kw_only=True)
class ViewUse:
    """A feature view that is looked up for a request.

    Attributes:
        name: The view.
        keys: Request fields that hold its entity, in order.
        features: What it gives, in order, under the training set's names.
        dtypes: The dtypes of that in the training set; empty where they are not known, as in bundles of before they were kept.
        entity: The dtypes of `keys`, likewise.
    """

    name: str
    keys: tuple[str, ...]
    features: tuple[str, ...]
    dtypes: tuple[str, ...] = ()
    entity: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FunctionUse:
    """A function that computes features from a request.

    Attributes:
        name: Name of the on-demand features.
        function: Where it is, `module:name`.
        digest: Digest of its code as it was in the training.
        inputs: Its inputs, by position.
        outputs: What it gives, in order.
        dtypes: The dtypes of that, as Polars writes them; empty in bundles of before they were kept.
    """

    name: str
    function: str
    digest: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dtypes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RequestSchema:
    """From a request to a model's inputs.

    Attributes:
        time: Name of the prediction time among the training set's columns.
        zone: Its zone there, None for times without one.
        key: Fields that name the labelled event.
        fields: What a request holds beside the time.
        views: What is looked up.
        functions: What is computed, in order.
        defaults: What a looked-up feature reads as where it is null, as its column of the training set holds it.
        singles: Fields that were Float32 in training: the service rounds what a request holds.
        defaulted: By view the share of the training's rows that read nothing but defaults of it, 0 to 1; empty in bundles of
            before it was kept.
    """

    time: str
    zone: str | None
    key: tuple[str, ...]
    fields: tuple[RequestField, ...]
    views: tuple[ViewUse, ...] = ()
    functions: tuple[FunctionUse, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    singles: tuple[str, ...] = ()
    defaulted: Mapping[str, float] = field(default_factory=dict)

    def digest(self) -> str:
        """Sha256 that changes exactly when a caller has to send something else: of dtypes, when a field's family does."""
        return digest({"fields": [_without_column(item) for item in self.fields]})

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "RequestSchema":
        """The record that `to_json` wrote. Raises RecordError."""
        try:
            if raw["format"] != FORMAT:
                raise RecordError(
                    record="request schema", reason=f"its format is {raw['format']}, this Headwater reads {FORMAT}"
                )
            return cls(
                time=raw["time"],
                zone=raw["zone"],
                key=tuple(raw["key"]),
                fields=tuple(RequestField(**{**item, "dtype": FieldType(item["dtype"])}) for item in raw["fields"]),
                views=tuple(ViewUse(**_tuples(item)) for item in raw["views"]),
                functions=tuple(FunctionUse(**_tuples(item)) for item in raw["functions"]),
                defaults=dict(raw["defaults"]),
                singles=tuple(raw.get("singles", ())),
                defaulted={name: float(share) for name, share in raw.get("defaulted", {}).items()},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(record="request schema", reason=f"{type(error).__name__}: {error}") from error


def request_schema(
    schema: Mapping[str, pl.DataType],
    *,
    features: Sequence[str],
    time: str,
    key: Sequence[str] = (),
    views: Sequence[FeatureView] = (),
    on_demand: Sequence[OnDemandFeatures] = (),
    trained: pl.DataFrame | None = None,
) -> RequestSchema:
    """The request schema of a model.

    A view is looked up when the model or a function reads one of its features; what no view and no function gives is a field.

    Args:
        schema: Dtypes of the training set.
        features: What the model reads.
        time: Column with the prediction time.
        key: Columns that name a labelled event.
        views: Feature views of the product.
        on_demand: On-demand features of the product.
        trained: The rows that the model was trained with, for what of them read defaults.

    Raises:
        RequestSchemaError: A field is no column of the training set, or of a dtype that no request can hold.
        FeatureViewError: A default is no value of its feature's dtype.
    """
    read, needed = functions_read(on_demand, features)
    used = [view for view in views if needed & set(view.outputs.values())]
    given = given_names(views, on_demand)
    asked = [*(name for name in schema if name in needed - given), *(key for view in used for key in view.keys)]
    if lacking := sorted(needed - given - set(schema)):
        raise RequestSchemaError(columns=lacking, problem="are no columns of the training set")
    required = [name for name in dict.fromkeys(asked) if name != time]
    optional = [name for name in key if name not in required and name != time]
    if TIME_NAME in {*required, *optional}:
        said = "would be a field of requests, which call their prediction time so. Rename it"
        raise RequestSchemaError(columns=[TIME_NAME], problem=said)
    defaults = {
        name: default_as(view, name, value, schema[name]) if name in schema else value
        for view in used
        for name, value in view.output_defaults.items()
    }
    return RequestSchema(
        time=time,
        zone=_zone(schema[time]),
        key=tuple(key),
        fields=(
            *(_field(name, schema[name], required=True) for name in required),
            *(_field(name, schema[name], required=False) for name in optional),
        ),
        views=tuple(_looked_up(view, schema) for view in used),
        functions=tuple(_use(one) for one in read),
        defaults=defaults,
        singles=tuple(name for name in (*required, *optional) if schema[name] == pl.Float32),
        defaulted={} if trained is None or trained.is_empty() else _defaulted(trained, used, defaults),
    )


def _defaulted(trained: pl.DataFrame, views: Sequence[FeatureView], defaults: Mapping[str, Any]) -> dict[str, float]:
    """By view the share of rows that have no value of it but defaults. A row that was found and holds just these counts too."""
    found = {}
    for view in views:
        names = [name for name in view.outputs.values() if name in trained.columns]
        if names:
            is_default = [
                pl.col(name).is_null()
                if (value := defaults.get(name)) is None
                else pl.col(name).eq_missing(pl.lit(value, dtype=trained.schema[name]))
                for name in names
            ]
            found[view.name] = float(trained.select(pl.all_horizontal(is_default).mean()).item())
    return found


def _looked_up(view: FeatureView, schema: Mapping[str, pl.DataType]) -> ViewUse:
    features = tuple(view.outputs.values())
    dtypes = {name: str(schema[name].base_type()) for name in (*view.keys, *features) if name in schema}
    return ViewUse(
        name=view.name,
        keys=view.keys,
        features=features,
        dtypes=tuple(dtypes.get(name, "") for name in features),
        entity=tuple(dtypes.get(name, "") for name in view.keys),
    )


def _use(one: OnDemandFeatures) -> FunctionUse:
    return FunctionUse(
        name=one.name,
        function=one.path,
        digest=function_digest(one.function),
        inputs=one.inputs,
        outputs=tuple(one.outputs),
        dtypes=tuple(str(dtype) for dtype in one.outputs.values()),
    )


def _field(name: str, dtype: pl.DataType, *, required: bool) -> RequestField:
    family, column = _field_type(name, dtype), str(dtype.base_type())
    return RequestField(name=name, dtype=family, required=required, zone=_zone(dtype), column=column)


def _without_column(field: RequestField) -> dict[str, Any]:
    return {name: value for name, value in asdict(field).items() if name != "column"}


def _field_type(name: str, dtype: pl.DataType) -> FieldType:
    if dtype.is_integer():
        return FieldType.INT64
    if dtype.is_float() or dtype.is_decimal():
        return FieldType.FLOAT64
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return FieldType.STRING
    found = {pl.Boolean: FieldType.BOOLEAN, pl.Date: FieldType.DATE, pl.Datetime: FieldType.TIME}.get(dtype.base_type())
    if found is None:
        raise RequestSchemaError(columns=[name], problem=f"have dtype {dtype}, which no request can hold")
    return found


def _zone(dtype: pl.DataType) -> str | None:
    return dtype.time_zone if isinstance(dtype, pl.Datetime) else None


def _tuples(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}
