"""A model ready to score requests: its bundle, what has to be looked up, and the functions that compute from a request."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.code_version import function_digest
from headwater.features._on_demand import computed
from headwater.features.errors import OnDemandValueError
from headwater.features.online import Answer as Found
from headwater.features.online import OnlineRow, OnlineVersion
from headwater.models import Bundle
from headwater.models.errors import ModelError
from headwater.models.request_schema import FunctionUse, RequestSchema, ViewUse
from headwater.models.row_encoder import RowEncoder
from serving.engine._answers import Explanation
from serving.engine._fields import RequestFields
from serving.engine.errors import (
    ExplanationError,
    FunctionChangedError,
    NotServableError,
    RequestError,
    UnfitModelError,
)

_Function = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """One version.

    Attributes:
        product: The product.
        version: Its version.
        bundle: The bundle.
        schema: What a request holds.
        fields: Reads requests.
        encoder: From values to the matrix.
        functions: What is computed, in order.
    """

    product: str
    version: str
    bundle: Bundle
    schema: RequestSchema
    fields: RequestFields
    encoder: RowEncoder
    functions: tuple[tuple[FunctionUse, _Function], ...]

    @property
    def views(self) -> tuple[ViewUse, ...]:
        """What is looked up."""
        return self.schema.views

    def features(
        self, fields: Mapping[str, Any], at: int, found: Mapping[str, OnlineRow]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """A request's inputs of the model by name, and by view why they read as defaults.

        Args:
            fields: The request's fields.
            at: The prediction time, in microseconds since 1970.
            found: What was looked up, by view.

        Raises:
            RequestError: A function cannot use the values.
        """
        values, reasons = dict(fields), {}
        for view in self.schema.views:
            row = found[view.name]
            values.update(zip(view.features, row.values, strict=True))
            if row.answer is not Found.FOUND:
                reasons[view.name] = row.answer.value
        for name, default in self.schema.defaults.items():
            if values[name] is None:
                values[name] = default
        if self.functions:
            values.setdefault(self.schema.time, self.fields.moment(at))
            for use, function in self.functions:
                given = [values[name] for name in use.inputs]
                try:
                    made = computed(use.name, function, use.outputs, given, use.inputs)
                except OnDemandValueError as error:
                    raise RequestError(str(error)) from error
                values.update(zip(use.outputs, made, strict=True))
        return {name: values[name] for name in self.encoder.names}, reasons

    def matrix(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """The matrix of some rows. Raises RequestError."""
        try:
            return self.encoder.matrix(rows)
        except ModelError as error:
            raise RequestError(str(error)) from error

    def explain(self, matrix: np.ndarray) -> list[Explanation]:
        """How much each feature counted, a row each. Raises ExplanationError."""
        contributions = getattr(self.bundle.scorer, "contributions", None)
        if contributions is None:
            raise ExplanationError(product=self.product, version=self.version, kind=self.bundle.declaration.kind)
        names = self.encoder.names
        return [
            Explanation(base=float(row[-1]), contributions=dict(zip(names, map(float, row[:-1]), strict=True)))
            for row in contributions(matrix)
        ]


def load_model(product: str, version: str, bundle: Bundle) -> LoadedModel:
    """A model ready to score.

    Raises:
        NotServableError: The bundle says not what a request holds.
        FunctionChangedError: A function is not the one of the training, or not here.
    """
    schema = bundle.request
    if schema is None:
        raise NotServableError(product=product, version=version)
    return LoadedModel(
        product=product,
        version=version,
        bundle=bundle,
        schema=schema,
        fields=RequestFields(product, schema),
        encoder=RowEncoder(bundle.preprocessing),
        functions=tuple((use, _function(product, version, use)) for use in schema.functions),
    )


def check_fits(model: LoadedModel, online: OnlineVersion | None) -> None:
    """Raises UnfitModelError when online features lack what a model looks up."""
    there = online.views if online is not None else {}
    for use in model.views:
        view = there.get(use.name)
        if view is None:
            problem = f"they have no view {use.name!r}"
        elif (view.keys, view.features) != (use.keys, use.features):
            problem = (
                f"view {use.name!r} gives {view.features} by {view.keys} there, and {use.features} by {use.keys} here"
            )
        else:
            continue
        raise UnfitModelError(product=model.product, version=model.version, problem=problem)


def _function(product: str, version: str, use: FunctionUse) -> _Function:
    module, _, name = use.function.partition(":")
    said = {"product": product, "version": version, "function": use.function}
    try:
        function: _Function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise FunctionChangedError(**said, problem=f"which is not here ({error})") from error
    if (found := function_digest(function)) != use.digest:
        raise FunctionChangedError(
            **said, problem=f"whose code is {found[:12]} here and was {use.digest[:12]} in the training"
        )
    return function
