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
from serving.http._v2 import ACCEPTED, OUTPUTS, tensors_of

_TYPES: Final[Mapping[FieldType, dict[str, Any]]] = {
    FieldType.INT64: {"type": ["integer", "null"]},
    FieldType.FLOAT64: {"type": ["number", "null"]},
    FieldType.STRING: {"type": ["string", "null"]},
    FieldType.BOOLEAN: {"type": ["boolean", "null"]},
    FieldType.TIME: {"type": ["string", "null"], "format": "date-time"},
    FieldType.DATE: {"type": ["string", "null"], "format": "date"},
}
_ERRORS: Final[Mapping[str, str]] = {
    "400": "The body cannot be read, or its tensors are not what the metadata says.",
    "401": "An API key is needed, or nobody knows the one given.",
    "403": "The API key is not good for this; without keys, the host is not loopback, or another site's page asks.",
    "404": "No such product or version is served here.",
    "410": "The version is retired.",
    "405": "The path takes another method; `Allow` says which.",
    "409": "The id was used for another request.",
    "413": "The body or the number of instances is too large.",
    "415": "The body is of another content type than JSON.",
    "422": "A field, the time or the id has a value that it cannot have; `fields` says which, of several instances as `instances[2].x`.",
    "429": "Too many requests wait. `Retry-After` says when to ask again.",
    "503": "It cannot be answered now: nothing is live, the log is full, or the online features are away.",
    "504": "It was not answered in time.",
}
_SENT: Final[Mapping[str, tuple[str, str]]] = {
    "401": ("WWW-Authenticate", "string"),
    "405": ("Allow", "string"),
    "429": ("Retry-After", "integer"),
}
_REFUSALS: Final = ("400", "401", "403", "404", "405", "409", "410", "413", "415", "422", "429", "503", "504")
_TOLD: Final[Mapping[str, Any]] = {
    "Deprecation": {
        "description": "There when a version that answered is deprecated: `@` and since when, in seconds since 1970 (RFC 9745).",
        "schema": {"type": "string"},
    },
    "Headwater-Logged": {
        "description": "There when the log was full: the answer, or one of a batch, does not stand in it.",
        "schema": {"const": "false"},
    },
}
"""Headers of an answer that has something to say beside it."""
_ID: Final[Mapping[str, Any]] = {
    "type": "string",
    "maxLength": LONGEST_ID,
    "not": {"pattern": "#[0-9]+$|^replay-[0-9]{1,9}/"},
    "description": "Names the request: asked again with the same one, the service gives the same answer. Printable.",
}
_HEADERS: Final = [
    {"name": "X-Request-Id", "in": "header", "schema": {"type": "string", "maxLength": LONGEST_ID}},
    {
        "name": "X-Request-Timeout-Ms",
        "in": "header",
        "description": "Milliseconds that the caller waits.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 3_600_000},
    },
    {"name": "traceparent", "in": "header", "schema": {"type": "string"}, "description": "W3C trace context."},
]
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
        paths[f"/v1/{product}:predict"] = {"post": _predict(product, "", engine.live)}
        paths |= _model(product, "", engine.live)
        for version, model in sorted(engine.models.items()):
            paths[f"/v1/{product}/versions/{version}:predict"] = {"post": _predict(product, version, model)}
            paths |= _model(product, version, model)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headwater predictions",
            "version": installed("headwater"),
            "description": "Features are looked up and computed here; every answer is recorded before it is sent.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
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
    ready = {
        "type": "object",
        "required": ["ready"],
        "properties": {
            "ready": {"type": "boolean"},
            "troubles": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    health = _simple(
        "Whether every product can be answered that was asked for by name; else each but those in `troubles`.",
        "ready",
        ready,
        "405",
    )
    health["responses"]["503"] = {"description": "Not yet, or no more.", "content": _json(ready)}
    return {
        "/v2/health/live": {"get": _simple("Whether the process runs.", "live", _object("live"), "405")},
        "/v2/health/ready": {"get": health},
        "/v2": {"get": _simple("Name and version of the server.", "server", _object("name", "version", "extensions"))},
        "/v1/products": {
            "get": _simple(
                "What is live of each product, under which policy, since which commit.", "products", _object("products")
            )
        },
    }


def _model(product: str, version: str, model: LoadedModel) -> dict[str, Any]:
    """The Open Inference Protocol's paths of a model, or of one version of it."""
    path = f"/v2/models/{product}{f'/versions/{version}' if version else ''}"
    name = _name(product, version)
    metadata = _object("name", "versions", "platform", "inputs", "outputs")
    return {
        path: {"get": _simple("Inputs, outputs and versions of the model.", f"metadata_{name}", metadata)},
        f"{path}/ready": {"get": _simple("Whether the model can answer.", f"ready_{name}", _object("name", "ready"))},
        f"{path}/infer": {"post": _infer(product, version, model)},
    }


def _name(product: str, version: str) -> str:
    return f"{product}_{version.replace('.', '_')}" if version else product


def _object(*names: str) -> dict[str, Any]:
    return {"type": "object", "required": list(names)}


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _simple(said: str, name: str, schema: Mapping[str, Any], *codes: str) -> dict[str, Any]:
    answers = {"200": {"description": said, "content": _json(schema)}}
    others = _errors(*(codes or ("401", "403", "404", "405", "503")))
    return {"summary": said, "operationId": name, "responses": answers | others}


def _errors(*codes: str) -> dict[str, Any]:
    schema = _json({"$ref": "#/components/schemas/Error"})
    found: dict[str, Any] = {code: {"description": _ERRORS[code], "content": schema} for code in codes}
    for code, (name, kind) in _SENT.items():
        if code in found:
            found[code]["headers"] = {name: {"schema": {"type": kind}}}
    return found


def _body(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": _json(schema)}


def _predict(product: str, version: str, model: LoadedModel) -> dict[str, Any]:
    entity = {
        "type": "object",
        "properties": {field.name: _field(field) for field in model.schema.fields},
        "required": [field.name for field in model.schema.fields if field.required],
        "additionalProperties": False,
    }
    time = _TYPES[FieldType.TIME] | {"description": "The prediction time; without it, now."}
    common = {"id": _ID, "explain": {"type": "boolean"}}
    instance = _exactly({"entity": entity, "time": time}, "entity")
    many = {"type": "array", "items": instance, "minItems": 1}
    answer = _answer()
    batch = {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array", "items": answer, "minItems": 1}},
    }
    said = {"description": "The prediction.", "headers": _TOLD, "content": _json({"anyOf": [answer, batch]})}
    bodies = [
        _exactly({"entity": entity, "time": time, **common}, "entity"),
        _exactly({"instances": many, **common}, "instances"),
    ]
    return {
        "summary": f"Predictions of {product}{f', version {version}' if version else ''}",
        "operationId": f"predict_{_name(product, version)}",
        "parameters": _HEADERS,
        "requestBody": _body({"oneOf": bodies}),
        "responses": {"200": said} | _errors(*_REFUSALS),
    }


def _exactly(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _answer() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["id", "product", "version", "score", "decision", "threshold", "time"],
        "additionalProperties": False,
        "properties": {
            "id": {"type": "string"}, "product": {"type": "string"}, "version": {"type": "string"},
            "score": {"type": "number", "minimum": 0, "maximum": 1}, "decision": {"type": "boolean"},
            "threshold": {"type": "number"}, "time": {"type": "string", "format": "date-time"},
            "defaulted": {
                "type": "object", "additionalProperties": {"enum": ["unknown", "stale", "missing"]},
                "description": "By view, why its features read as their defaults: all of them, because nothing is known of the entity "
                "(unknown) or it is too old (stale), or those that are null in what is known (missing).",
            },
            "logged": {"const": False, "description": "There when the log was full: the answer does not stand in it."},
            "explanation": _exactly(
                {
                    "unit": {"type": "string"}, "base": {"type": "number"},
                    "contributions": {"type": "object", "additionalProperties": {"type": "number"}},
                },
                "unit", "base", "contributions",
            ),
        },
    }  # fmt: skip


def _infer(product: str, version: str, model: LoadedModel) -> dict[str, Any]:
    tensors = [
        _exactly(
            {
                "name": {"const": item["name"]},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2},
                "datatype": {"enum": sorted(ACCEPTED[item["datatype"]])},
                "data": {"type": "array", "minItems": 1},
                "parameters": {"type": "object"},
            },
            "name", "shape", "datatype", "data",
        )
        for item in tensors_of(model)
    ]  # fmt: skip
    outputs = {"type": "object", "required": ["name"], "properties": {"name": {"enum": [name for name, _ in OUTPUTS]}}}
    request = _exactly(
        {
            "id": _ID,
            "inputs": {"type": "array", "items": {"anyOf": tensors}, "minItems": 1},
            "outputs": {"type": ["array", "null"], "items": outputs},
            "parameters": {"type": "object", "properties": {"explain": {"type": "boolean"}}},
        },
        "inputs",
    )
    tensor = _exactly(
        {"name": {"type": "string"}, "datatype": {"type": "string"}, "shape": {"type": "array"}, "data": {"type": "array"}},
        "name", "datatype", "shape", "data",
    )  # fmt: skip
    answer = _exactly(
        {
            "model_name": {"type": "string"}, "model_version": {"type": "string"}, "id": {"type": "string"},
            "outputs": {"type": "array", "items": tensor, "minItems": 1}, "parameters": {"type": "object"},
        },
        "model_name", "model_version", "id", "outputs",
    )  # fmt: skip
    said = {"description": "Tensors of scores, decisions and versions.", "headers": _TOLD, "content": _json(answer)}
    return {
        "summary": f"Predictions of {product}{f', version {version}' if version else ''} as tensors (Open Inference Protocol)",
        "operationId": f"infer_{_name(product, version)}",
        "parameters": _HEADERS,
        "requestBody": _body(request),
        "responses": {"200": said} | _errors(*_REFUSALS),
    }


def _field(field: RequestField) -> dict[str, Any]:
    found = dict(_TYPES[field.dtype])
    if field.within is not None:
        found["minimum"], found["maximum"] = field.within
    return found
