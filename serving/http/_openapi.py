"""The service's description (OpenAPI 3.1), made from what is live, and a page that shows it."""

import importlib.util
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

from headwater.models import FieldType, RequestField
from serving.engine import Engine, LoadedModel
from serving.http._v1 import LONGEST_ID
from serving.http._v2 import tensors_of

_TYPES: Final[Mapping[FieldType, dict[str, Any]]] = {
    FieldType.INT64: {"type": ["integer", "null"], "minimum": -(2**63), "maximum": 2**63 - 1},
    FieldType.FLOAT64: {"type": ["number", "null"]},
    FieldType.STRING: {"type": ["string", "null"]},
    FieldType.BOOLEAN: {"type": ["boolean", "null"]},
    FieldType.TIME: {"type": ["string", "null"], "format": "date-time"},
    FieldType.DATE: {"type": ["string", "null"], "format": "date"},
}
_ERRORS: Final[Mapping[str, str]] = {
    "400": "The body cannot be read, or its tensors are not what the metadata says.",
    "401": "An API key is needed, or nobody knows the one given.",
    "403": "The API key is not good for this.",
    "404": "No such product or version is served here.",
    "413": "The body or the number of instances is too large.",
    "415": "The body is of another content type than JSON.",
    "422": "A field, the time or the id has a value that it cannot have; `fields` says which.",
    "429": "Too many requests wait. `Retry-After` says when to ask again.",
    "503": "It cannot be answered now: nothing is live, the log is full, or the online features are away.",
    "504": "It was not answered in time.",
}
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Headwater predictions</title>
<link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="page"></div><script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script></body></html>
"""
_START: Final = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#page", deepLinking: true});\n'
_KINDS: Final[Mapping[str, bytes]] = {".css": b"text/css", ".js": b"text/javascript"}


def describe(engines: Mapping[str, Engine]) -> dict[str, Any]:
    """The description of a service that these engines are live in."""
    paths: dict[str, Any] = dict(_common())
    for product, engine in sorted(engines.items()):
        model = engine.live
        paths[f"/v1/{product}:predict"] = {"post": _predict(product, model)}
        paths[f"/v2/models/{product}"] = {
            "get": _simple("Inputs, outputs and versions of the model.", f"metadata_{product}")
        }
        paths[f"/v2/models/{product}/ready"] = {"get": _simple("Whether the model can answer.", f"ready_{product}")}
        paths[f"/v2/models/{product}/infer"] = {"post": _infer(product, model)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headwater predictions",
            "version": installed("headwater"),
            "description": "Features are looked up and computed here; every answer is recorded before it is sent.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR}, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def page() -> bytes:
    """The page that shows the description."""
    return _PAGE.encode()


def page_file(name: str) -> tuple[bytes, bytes] | None:
    """A file of the page with its content type, None for no file of it."""
    if name == "start.js":
        return _START.encode(), _KINDS[".js"]
    return _packaged(name) if name in ("swagger-ui.css", "swagger-ui-bundle.js") else None


@cache
def _packaged(name: str) -> tuple[bytes, bytes] | None:
    found = importlib.util.find_spec("swagger_ui")
    folders = found.submodule_search_locations if found is not None else None
    for file in sorted(Path(folders[0]).rglob(name)) if folders else ():
        return file.read_bytes(), _KINDS[file.suffix]
    return None


_ERROR: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["error", "code"],
    "properties": {
        "error": {"type": "string", "description": "What is wrong, and what to do."},
        "code": {"type": "string", "description": "The same as one word, for programs."},
        "fields": {"type": "object", "additionalProperties": {"type": "string"}},
        "id": {"type": "string"},
    },
}


def _common() -> dict[str, Any]:
    return {
        "/v2/health/live": {"get": _simple("Whether the process runs.", "live")},
        "/v2/health/ready": {"get": _simple("Whether every product can be answered.", "ready")},
        "/v2": {"get": _simple("Name and version of the server.", "server")},
        "/v1/products": {
            "get": _simple("What is live of each product, under which policy, since which commit.", "products")
        },
    }


def _simple(said: str, name: str) -> dict[str, Any]:
    answers = {"200": {"description": said, "content": {"application/json": {"schema": {"type": "object"}}}}}
    return {"summary": said, "operationId": name, "responses": answers | _errors("401", "403", "404", "503")}


def _errors(*codes: str) -> dict[str, Any]:
    schema = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {code: {"description": _ERRORS[code], "content": schema} for code in codes}


def _body(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _predict(product: str, model: LoadedModel) -> dict[str, Any]:
    entity = {
        "type": "object",
        "properties": {field.name: _field(field) for field in model.schema.fields},
        "required": [field.name for field in model.schema.fields if field.required],
        "additionalProperties": False,
    }
    time = _TYPES[FieldType.TIME] | {"description": "The prediction time; without it, now."}
    common = {"id": {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}, "explain": {"type": "boolean"}}
    one = {"entity": entity, "time": time}
    instance = {"type": "object", "properties": one, "required": ["entity"]}
    single = {"type": "object", "properties": {**one, **common}, "required": ["entity"], "additionalProperties": False}
    many = {
        "type": "object",
        "properties": {"instances": {"type": "array", "items": instance, "minItems": 1}, **common},
        "required": ["instances"],
        "additionalProperties": False,
    }
    answer = {
        "type": "object",
        "properties": {
            "id": {"type": "string"}, "product": {"type": "string"}, "version": {"type": "string"},
            "score": {"type": "number", "minimum": 0, "maximum": 1}, "decision": {"type": "boolean"},
            "threshold": {"type": "number"}, "time": {"type": "string"},
            "defaulted": {"type": "object", "additionalProperties": {"enum": ["unknown", "stale"]}},
            "explanation": {"type": "object"},
        },
    }  # fmt: skip
    batch = {"type": "object", "properties": {"predictions": {"type": "array", "items": answer}}}
    said = {"description": "The prediction.", "content": {"application/json": {"schema": {"anyOf": [answer, batch]}}}}
    return {
        "summary": f"Predictions of {product}",
        "operationId": f"predict_{product}",
        "requestBody": _body({"oneOf": [single, many]}),
        "responses": {"200": said} | _errors("400", "401", "403", "404", "413", "415", "422", "429", "503", "504"),
    }


def _infer(product: str, model: LoadedModel) -> dict[str, Any]:
    tensor = {
        "type": "object",
        "properties": {
            "name": {"enum": [item["name"] for item in tensors_of(model)]},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": sorted({item["datatype"] for item in tensors_of(model)})},
            "data": {"type": "array"},
        },
        "required": ["name", "shape", "datatype", "data"],
    }
    request = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "items": tensor},
            "parameters": {"type": "object"},
        },
        "required": ["inputs"],
    }
    answers = {
        "200": {
            "description": "Tensors of scores and decisions.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    }
    return {
        "summary": f"Predictions of {product} as tensors (Open Inference Protocol)",
        "operationId": f"infer_{product}",
        "requestBody": _body(request),
        "responses": answers | _errors("400", "401", "403", "404", "413", "415", "422", "429", "503", "504"),
    }


def _field(field: RequestField) -> dict[str, Any]:
    return dict(_TYPES[field.dtype])
