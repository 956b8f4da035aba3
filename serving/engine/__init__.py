"""From requests to answers: fields checked, features looked up and computed, models scored, without HTTP around it."""

from serving.engine._answers import Answer, Asked, Explanation, Step
from serving.engine._engine import Engine
from serving.engine._fields import RequestFields, shown
from serving.engine._loaded import LoadedModel, load_model
from serving.engine.errors import (
    ExplanationError,
    FunctionChangedError,
    NotServableError,
    RefusedLookupError,
    RefusedValuesError,
    RequestError,
    RequestTimeError,
    UnfitModelError,
    UnknownFieldsError,
    VersionFaultError,
    VersionNotServedError,
    VersionRetiredError,
)

__all__ = [
    "Answer",
    "Asked",
    "Engine",
    "Explanation",
    "ExplanationError",
    "FunctionChangedError",
    "LoadedModel",
    "NotServableError",
    "RefusedLookupError",
    "RefusedValuesError",
    "RequestError",
    "RequestFields",
    "RequestTimeError",
    "Step",
    "UnfitModelError",
    "UnknownFieldsError",
    "VersionFaultError",
    "VersionNotServedError",
    "VersionRetiredError",
    "load_model",
    "shown",
]
