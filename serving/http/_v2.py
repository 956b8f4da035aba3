"""The Open Inference Protocol, version 2 (https://github.com/kserve/open-inference-protocol): tensors of request fields in, of
scores and decisions out.

The tensors are the request's fields and the time, one element an instance, not the model's features: these are looked up and
computed here, as for `/v1`. A null element stands for an unknown value.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed
from typing import Any, Final

from headwater.models import FieldType
from serving.engine import Answer, Engine, LoadedModel
from serving.http._v1 import write_explanation
from serving.http._wire import Problem, listed

PLATFORM: Final = "headwater"
TIME: Final = "time"
_DATATYPES: Final[Mapping[FieldType, str]] = {
    FieldType.INT64: "INT64",
    FieldType.FLOAT64: "FP64",
    FieldType.STRING: "BYTES",
    FieldType.BOOLEAN: "BOOL",
    FieldType.TIME: "BYTES",
    FieldType.DATE: "BYTES",
}
ACCEPTED: Final[Mapping[str, frozenset[str]]] = {
    "INT64": frozenset(("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")),
    "FP64": frozenset(
        ("FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
    ),
    "BYTES": frozenset(("BYTES",)),
    "BOOL": frozenset(("BOOL",)),
}
_PARTS: Final = frozenset(("name", "shape", "datatype", "parameters", "data"))
_KNOWN: Final = frozenset(("id", "parameters", "inputs", "outputs"))
OUTPUTS: Final = (("score", "FP64"), ("decision", "BOOL"), ("version", "BYTES"))


def server_metadata() -> dict[str, Any]:
    """Who answers."""
    return {"name": PLATFORM, "version": installed("headwater"), "extensions": []}


def tensors_of(model: LoadedModel) -> list[dict[str, Any]]:
    """The inputs of a model: its request fields and the time."""
    fields = [(field.name, _DATATYPES[field.dtype]) for field in model.schema.fields]
    return [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in (*fields, (TIME, "BYTES"))]


def model_metadata(engine: Engine, model: LoadedModel) -> dict[str, Any]:
    """What a model takes and gives."""
    return {
        "name": engine.product,
        "versions": sorted(engine.models),
        "platform": f"{PLATFORM}_{model.bundle.declaration.kind}",
        "inputs": tensors_of(model),
        "outputs": [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in OUTPUTS],
    }


def read_instances(body: Mapping[str, Any], model: LoadedModel, most: int) -> dict[str, Any]:
    """A body of `/v1` that asks the same.

    Raises:
        Problem: The tensors are not what the metadata says.
    """
    if strange := [name for name in body if name not in _KNOWN]:
        raise _wrong(listed(strange), f"is unknown; a request has {', '.join(sorted(_KNOWN))}")
    raw = body.get("inputs")
    if type(raw) is not list or not raw:
        raise _wrong("inputs", "is no list of tensors")
    wanted = {tensor["name"]: tensor["datatype"] for tensor in tensors_of(model)}
    columns: dict[str, list[Any]] = {}
    for place, tensor in enumerate(raw):
        name, values = _tensor(tensor, place, wanted, most)
        if name in columns:
            raise _wrong(name, "is there twice")
        columns[name] = values
    rows = len(next(iter(columns.values())))
    if uneven := [name for name, values in columns.items() if len(values) != rows]:
        raise _wrong(uneven[0], f"has {len(columns[uneven[0]])} elements where {next(iter(columns))!r} has {rows}")
    times = columns.pop(TIME, [None] * rows)
    instances = [
        {"entity": {name: values[row] for name, values in columns.items()}, "time": times[row]} for row in range(rows)
    ]
    found: dict[str, Any] = {"instances": instances}
    if "id" in body:
        found["id"] = body["id"]
    parameters = body.get("parameters", {})
    if type(parameters) is not dict:
        raise _wrong("parameters", "is no object")
    if "explain" in parameters:
        found["explain"] = parameters["explain"]
    return found


def write_response(answers: Sequence[Answer], engine: Engine, version: str, wanted: frozenset[str]) -> dict[str, Any]:
    """Answers as tensors.

    Args:
        answers: To one request.
        engine: Who answered.
        version: The version that was asked for, empty for none.
        wanted: Names of the outputs to give.
    """
    columns: dict[str, list[Any]] = {
        "score": [answer.score for answer in answers],
        "decision": [answer.decision for answer in answers],
        "version": [answer.version for answer in answers],
    }
    outputs = [
        {"name": name, "datatype": datatype, "shape": [len(answers)], "data": columns[name]}
        for name, datatype in OUTPUTS
        if name in wanted
    ]
    named = {answer.version for answer in answers}
    found: dict[str, Any] = {
        "model_name": engine.product,
        "model_version": version or (named.pop() if len(named) == 1 else ""),
        "id": answers[0].id.rpartition("#")[0],
        "outputs": outputs,
    }
    parameters = {
        "defaulted": {str(place): answer.reasons for place, answer in enumerate(answers) if answer.reasons},
        "explanations": {
            str(place): write_explanation(answer.explanation)
            for place, answer in enumerate(answers)
            if answer.explanation is not None
        },
    }
    said: dict[str, Any] = {name: value for name, value in parameters.items() if value}
    if not all(answer.logged for answer in answers):
        said["logged"] = False
    if said:
        found["parameters"] = said
    return found


def _tensor(raw: Any, place: int, wanted: Mapping[str, str], most: int) -> tuple[str, list[Any]]:
    if type(raw) is not dict:
        raise _wrong(f"inputs[{place}]", "is no object")
    if strange := [part for part in raw if part not in _PARTS]:
        raise _wrong(f"inputs[{place}]", f"has {listed(strange)}; a tensor has {', '.join(sorted(_PARTS))}")
    name, shape, datatype, data = (raw.get(part) for part in ("name", "shape", "datatype", "data"))
    if type(name) is not str or name not in wanted:
        raise _wrong(f"inputs[{place}].name", f"is {str(name)[:60]!r}; inputs are {', '.join(wanted)}")
    if type(datatype) is not str or datatype not in ACCEPTED[wanted[name]]:
        raise _wrong(name, f"has datatype {str(datatype)[:20]!r}, not {wanted[name]}")
    if type(shape) is not list or not shape or any(type(size) is not int or size < 0 for size in shape):
        raise _wrong(name, "has no shape, a list of sizes")
    if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
        raise _wrong(name, f"has shape {shape[:4]}, not [n] or [n, 1]")
    if shape[0] == 0:
        raise _wrong(name, "is empty")
    if shape[0] > most:
        raise Problem(413, "too_many_instances", f"There are {shape[0]} instances; {most} are taken at once.")
    if type(data) is not list:
        raise _wrong(name, "has no data, a list of values")
    flat = [item[0] if type(item) is list and len(item) == 1 else item for item in data]
    if len(flat) != shape[0]:
        raise _wrong(name, f"has {len(flat)} elements and shape {shape}")
    return name, flat


def wanted_outputs(body: Mapping[str, Any]) -> frozenset[str]:
    """Names of the outputs that a request asks for; all when it names none. Raises Problem."""
    raw, known = body.get("outputs"), frozenset(name for name, _ in OUTPUTS)
    if raw is None:
        return known
    if type(raw) is not list:
        raise _wrong("outputs", "is no list")
    names = frozenset(item["name"] for item in raw if type(item) is dict and type(item.get("name")) is str)
    if not names <= known or not all(type(item) is dict and type(item.get("name")) is str for item in raw):
        raise _wrong("outputs", f"names something else than {', '.join(sorted(known))}")
    return names or known


def _wrong(field: str, problem: str) -> Problem:
    return Problem(400, "invalid", f"{field} {problem}.", fields={field: problem})
