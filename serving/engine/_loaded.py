"""A model ready to score requests: its bundle, what has to be looked up, and the functions that compute from a request."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from operator import itemgetter
from typing import Any, Final

import numpy as np

from headwater.code_version import function_digest
from headwater.features._on_demand import computed, fitted, single
from headwater.features.errors import OnDemandValueError
from headwater.features.online import Answer as Found
from headwater.features.online import OnlineRow, OnlineVersion
from headwater.models import Bundle
from headwater.models.errors import ModelError
from headwater.models.request_schema import FunctionUse, RequestSchema, ViewUse
from headwater.models.row_encoder import RowEncoder
from serving.engine._answers import MISSING, Explanation
from serving.engine._fields import RequestFields
from serving.engine.errors import (
    ExplanationError,
    FieldsError,
    FunctionChangedError,
    NotServableError,
    RefusedValuesError,
    RequestError,
    UnfitModelError,
)
from serving.errors import name_of
from serving.fitting import misfit, views_of

_Function = Callable[..., tuple[Any, ...]]
Take = Callable[[Any], tuple[Any, ...]]
_FOUND: Final = Found.FOUND


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where each value of a request stands while its inputs are put together: fields, time, looked up, computed.

    Attributes:
        fields: Names of the fields, first in the list of values; behind them stands the prediction time.
        needs_time: Whether anything reads that.
        singles: Places of fields that training had with 32 bits.
        defaults: Of looked-up features that are read and have a default: place, default and view.
        functions: Functions with what takes their inputs; what they give goes behind all else.
        inputs: Takes the inputs of the model.
    """

    fields: tuple[str, ...]
    needs_time: bool
    singles: tuple[int, ...]
    defaults: tuple[tuple[int, Any, str], ...]
    functions: tuple[tuple[FunctionUse, _Function, Take], ...]
    inputs: Take

    @classmethod
    def of(
        cls, schema: RequestSchema, functions: Sequence[tuple[FunctionUse, _Function]], names: Sequence[str]
    ) -> "Plan":
        """The plan of a model that reads `names`."""
        fields = tuple(field.name for field in schema.fields)
        order = [*fields, schema.time, *(name for view in schema.views for name in view.features)]
        places = {name: place for place, name in enumerate(order)}
        steps = []
        for use, function in functions:
            steps.append((use, function, taking([places[name] for name in use.inputs])))
            places.update({name: len(places) + place for place, name in enumerate(use.outputs)})
        read = {*names, *(name for use, _ in functions for name in use.inputs)}
        view_of = {name: view.name for view in schema.views for name in view.features}
        return cls(
            fields=fields,
            needs_time=schema.time in read,
            singles=tuple(places[name] for name in schema.singles),
            defaults=tuple(
                (places[name], value, view_of[name]) for name, value in schema.defaults.items() if name in read
            ),
            functions=tuple(steps),
            inputs=taking([places[name] for name in names]),
        )


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
        plan: How inputs are put together.
        reads: What is looked up, each view with what takes the model's features out of its row; None where the row is just these.
    """

    product: str
    version: str
    bundle: Bundle
    schema: RequestSchema
    fields: RequestFields
    encoder: RowEncoder
    plan: Plan
    reads: tuple[tuple[ViewUse, Take | None], ...]

    @property
    def views(self) -> tuple[ViewUse, ...]:
        """What is looked up."""
        return self.schema.views

    def inputs(
        self, fields: Mapping[str, Any], at: int, found: Mapping[str, OnlineRow]
    ) -> tuple[tuple[Any, ...], dict[str, str]]:
        """A request's inputs of the model in the order of its names, and by view why they read as defaults.

        Args:
            fields: The request's fields.
            at: The prediction time, in microseconds since 1970.
            found: What was looked up, by view.

        Raises:
            RefusedValuesError: A function cannot use the values, or a number has no value of 32 bits.
            FieldsError: Another version read the request, and a field of this one's is missing.
            OnDemandFaultError: A function failed, whatever the values.
        """
        plan = self.plan
        reasons: dict[str, str] = {}
        try:
            values = [fields[name] for name in plan.fields]
        except KeyError as error:
            raise self._lacks(str(error.args[0])) from error
        for place in plan.singles:
            if (value := values[place]) is not None:
                values[place] = found_single = single(value)
                if not isfinite(found_single):
                    raise self._too_large(plan.fields[place], value)
        values.append(self.fields.moment(at) if plan.needs_time else None)
        for view, take in self.reads:
            row = found.get(view.name)
            if row is None:
                raise self._lacks(", ".join(view.keys))
            values += row.values if take is None else take(row.values)
            if row.answer is not _FOUND:
                reasons[view.name] = row.answer.value
        for place, default, name in plan.defaults:
            if values[place] is None:
                values[place] = default
                reasons.setdefault(name, MISSING)
        for use, function, taken in plan.functions:
            given = taken(values)
            try:
                made = computed(use.name, function, use.outputs, given, use.inputs)
                values += fitted(use.name, made, use.outputs, use.dtypes) if use.dtypes else made
            except OnDemandValueError as error:
                raise RefusedValuesError(str(error)) from error
        return plan.inputs(values), reasons

    def _too_large(self, field: str, value: float) -> RequestError:
        """Of a field that another version, or a bundle that does not say its column's dtype, read."""
        said = f"is {value}, more than {self.product}@{self.version} has bits for"
        return RefusedValuesError(f"A request to {self.product!r}: {field!r} {said}.", fields={field: said})

    def _lacks(self, field: str) -> RequestError:
        said = f"is missing, which {self.product}@{self.version} needs"
        return FieldsError(product=self.product, fields={field: said})

    def matrix(self, rows: Sequence[Sequence[Any]]) -> np.ndarray:
        """The matrix of some rows of inputs. Raises RequestError."""
        try:
            return self.encoder.encode(rows)
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


def taking(keys: Sequence[Any]) -> Take:
    """What takes the values at some places of a list, or under some names of a mapping, as a tuple however many they are."""
    if len(keys) == 1:
        (key,) = keys
        return lambda values: (values[key],)
    return itemgetter(*keys) if keys else lambda values: ()


def load_model(product: str, version: str, bundle: Bundle) -> LoadedModel:
    """A model ready to score.

    Raises:
        NotServableError: The bundle says not what a request holds.
        FunctionChangedError: A function is not the one of the training, or not here.
    """
    schema = bundle.request
    if schema is None:
        raise NotServableError(product=product, version=version)
    encoder = RowEncoder(bundle.preprocessing)
    functions = [(use, _function(product, version, use)) for use in schema.functions]
    return LoadedModel(
        product=product,
        version=version,
        bundle=bundle,
        schema=schema,
        fields=RequestFields(product, schema),
        encoder=encoder,
        plan=Plan.of(schema, functions, encoder.names),
        reads=tuple((use, None) for use in schema.views),
    )


def fitted_to(model: LoadedModel, online: OnlineVersion | None) -> LoadedModel:
    """The model as it reads rows of these online features, whose views may have more than it looks up. Raises UnfitModelError."""
    there = online.views if online is not None else {}
    if problem := misfit(model.views, views_of(there.values())):
        raise UnfitModelError(product=model.product, version=model.version, problem=problem)
    return replace(model, reads=tuple((use, _taken_of(there[use.name].features, use)) for use in model.views))


def _taken_of(features: Sequence[str], use: ViewUse) -> Take | None:
    return None if tuple(features) == use.features else taking([features.index(name) for name in use.features])


def _function(product: str, version: str, use: FunctionUse) -> _Function:
    module, _, name = use.function.partition(":")
    said = {"product": product, "version": version, "function": use.function}
    try:
        function: _Function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise FunctionChangedError(**said, problem=f"which is not here ({error})") from error
    except (Exception, SystemExit) as error:
        raise FunctionChangedError(
            **said, problem=f"whose module raises {name_of(error)} when it is imported here"
        ) from error
    if (found := function_digest(function)) != use.digest:
        raise FunctionChangedError(
            **said, problem=f"whose code is {found[:12]} here and was {use.digest[:12]} in the training"
        )
    return function
