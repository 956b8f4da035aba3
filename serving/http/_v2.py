"""The Open Inference Protocol, version 2 (https://github.com/kserve/open-inference-protocol): tensors of request fields in, of
scores and decisions out.

The tensors are the request's fields and the time, one element an instance, not the model's features: these are looked up and
computed here, as for `/v1`. A null element stands for an unknown value.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version as installed
from typing import Any, Final

from headwater.models import FieldType
from headwater.request_names import TIME_NAME
from serving.engine import Answer, Engine, LoadedModel, shown
from serving.http._v1 import write_explanation
from serving.http._wire import Problem, listed

PLATFORM: Final = "headwater"
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
_HELD: Final[Mapping[str, tuple[int, int]]] = {
    **{f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32)},
    **{f"UINT{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
"""Smallest and largest elements of datatypes; those of INT64 are refused where the fields are read."""
_PARTS: Final = frozenset(("name", "shape", "datatype", "parameters", "data"))
_NUMBERS: Final = frozenset((int, float))
_KNOWN: Final = frozenset(("id", "parameters", "inputs", "outputs"))
OUTPUTS: Final = (("score", "FP64"), ("decision", "BOOL"), ("version", "BYTES"))
_OUTPUTS: Final = frozenset(name for name, _ in OUTPUTS)


def server_metadata() -> dict[str, Any]:
    """Who answers."""
    return {"name": PLATFORM, "version": installed("headwater"), "extensions": []}


def tensors_of(model: LoadedModel) -> list[dict[str, Any]]:
    """The inputs of a model: its request fields and the time."""
    fields = [(field.name, _DATATYPES[field.dtype]) for field in model.schema.fields]
    return [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in (*fields, (TIME_NAME, "BYTES"))]


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
    columns = Columns(model, most)
    for tensor in raw:
        columns.add(*_tensor(tensor, columns.count))
    found = columns.instances()
    if "id" in body:
        found["id"] = body["id"]
    parameters = body.get("parameters", {})
    if type(parameters) is not dict:
        raise _wrong("parameters", "is no object")
    if "explain" in parameters:
        found["explain"] = parameters["explain"]
    return found


def is_batch(body: Mapping[str, Any]) -> bool:
    """Whether a body asks about several instances, as its first tensor says; one that cannot be read does not."""
    inputs = body.get("inputs")
    first = inputs[0] if type(inputs) is list and inputs else None
    shape = first.get("shape") if type(first) is dict else None
    return has_several(shape if type(shape) is list else ())


def has_several(shape: Sequence[Any]) -> bool:
    """Whether a tensor of this shape has several elements."""
    return bool(shape) and type(shape[0]) is int and shape[0] > 1


class Columns:
    """A request's tensors, checked one by one, whatever they came in.

    Attributes:
        count: How many there are.
    """

    def __init__(self, model: LoadedModel, most: int) -> None:
        """Prepares.

        Args:
            model: Whose inputs they are.
            most: Instances of a request.
        """
        self._wanted = {field.name: _DATATYPES[field.dtype] for field in model.schema.fields}
        self._wanted[TIME_NAME] = "BYTES"
        self._most, self._columns = most, dict[str, list[Any]]()
        self.count = 0

    def add(self, name: Any, datatype: Any, shape: Any, data: Any) -> None:
        """Takes a tensor. Raises Problem: it is not what the metadata says."""
        place, wanted = self.count, self._wanted
        self.count += 1
        if type(name) is not str or name not in wanted:
            raise _wrong(f"inputs[{place}].name", f"is {str(name)[:60]!r}; inputs are {', '.join(wanted)}")
        if type(datatype) is not str or datatype not in ACCEPTED[wanted[name]]:
            raise _wrong(name, f"has datatype {str(datatype)[:20]!r}, not {wanted[name]}")
        size = _size(name, shape)
        if size > self._most:
            raise Problem(413, "too_many_instances", f"There are {size} instances; {self._most} are taken at once.")
        if type(data) is not list:
            raise _wrong(name, "has no data, a list of values")
        flat = [item[0] if type(item) is list and len(item) == 1 else item for item in data]
        if len(flat) != size:
            raise _wrong(name, f"has {len(flat)} elements and shape {shape}")
        if (held := _HELD.get(datatype)) is not None:
            _check_held(name, datatype, flat, *held)
        if name in self._columns:
            raise _wrong(name, "is there twice")
        self._columns[name] = flat

    def instances(self) -> dict[str, Any]:
        """A body of `/v1` with them, one element an instance. Raises Problem."""
        columns = self._columns
        first = next(iter(columns))
        rows = len(columns[first])
        for name, values in columns.items():
            if len(values) != rows:
                raise _wrong(name, f"has {len(values)} elements where {first!r} has {rows}")
        times = columns.pop(TIME_NAME, None) or [None] * rows
        names = tuple(columns)
        if not names:
            return {"instances": [{"entity": {}, "time": time} for time in times]}
        return {
            "instances": [
                {"entity": dict(zip(names, values, strict=True)), "time": time}
                for time, *values in zip(times, *columns.values(), strict=True)
            ]
        }


def write_response(answers: Sequence[Answer], engine: Engine, version: str, wanted: frozenset[str]) -> dict[str, Any]:
    """Answers as tensors.

    Args:
        answers: To one request.
        engine: Who answered.
        version: The version that was asked for, empty for none.
        wanted: Names of the outputs to give.
    """
    columns = columns_of(answers)
    outputs = [
        {"name": name, "datatype": datatype, "shape": [len(answers)], "data": columns[name]}
        for name, datatype in OUTPUTS
        if name in wanted
    ]
    found: dict[str, Any] = {
        "model_name": engine.product,
        "model_version": version_of(answers, version),
        "id": answers[0].id.rpartition("#")[0],
        "outputs": outputs,
    }
    if said := parameters_of(answers):
        found["parameters"] = said
    return found


def columns_of(answers: Sequence[Answer]) -> dict[str, list[Any]]:
    """The outputs by name."""
    return {
        "score": [answer.score for answer in answers],
        "decision": [answer.decision for answer in answers],
        "version": [answer.version for answer in answers],
    }


def version_of(answers: Sequence[Answer], version: str) -> str:
    """The version that was asked for, or the one that gave all answers; empty when several did."""
    if version:
        return version
    first = answers[0].version
    return first if all(answer.version == first for answer in answers) else ""


def parameters_of(answers: Sequence[Answer]) -> dict[str, Any]:
    """What is said beside the outputs, by name; nothing of most answers."""
    found: dict[str, Any] = {}
    if defaulted := {str(place): answer.reasons for place, answer in enumerate(answers) if answer.reasons}:
        found["defaulted"] = defaulted
    if explained := {
        str(place): write_explanation(answer.explanation)
        for place, answer in enumerate(answers)
        if answer.explanation is not None
    }:
        found["explanations"] = explained
    if not all(answer.logged for answer in answers):
        found["logged"] = False
    return found


def _tensor(raw: Any, place: int) -> tuple[Any, Any, Any, Any]:
    """Name, datatype, shape and data. Raises Problem."""
    if type(raw) is not dict:
        raise _wrong(f"inputs[{place}]", "is no object")
    if not raw.keys() <= _PARTS:
        strange = [part for part in raw if part not in _PARTS]
        raise _wrong(f"inputs[{place}]", f"has {listed(strange)}; a tensor has {', '.join(sorted(_PARTS))}")
    return raw.get("name"), raw.get("datatype"), raw.get("shape"), raw.get("data")


def _size(name: str, shape: Any) -> int:
    """Elements of a shape, more than 0. Raises Problem."""
    if type(shape) is list and len(shape) == 1 and type(shape[0]) is int and shape[0] > 0:
        return shape[0]  # nearly all
    if type(shape) is not list or not shape or any(type(size) is not int or size < 0 for size in shape):
        raise _wrong(name, "has no shape, a list of sizes")
    if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
        raise _wrong(name, f"has shape {shape[:4]}, not [n] or [n, 1]")
    size: int = shape[0]
    if size == 0:
        raise _wrong(name, "is empty")
    return size


def _check_held(name: str, datatype: str, elements: Sequence[Any], low: int, high: int) -> None:
    for place, value in enumerate(elements):
        if type(value) in _NUMBERS and not low <= value <= high:
            raise _wrong(name, f"has element {place}, {shown(value)}, which is no {datatype}")


def wanted_outputs(body: Mapping[str, Any]) -> frozenset[str]:
    """Names of the outputs that a request asks for; all when it names none. Raises Problem."""
    raw = body.get("outputs")
    if raw is None:
        return _OUTPUTS
    if type(raw) is not list:
        raise _wrong("outputs", "is no list")
    if not all(type(item) is dict and type(item.get("name")) is str for item in raw):
        raise _unknown_outputs()
    return outputs_of(item["name"] for item in raw)


def outputs_of(names: Iterable[str]) -> frozenset[str]:
    """The outputs of some names; all of none. Raises Problem."""
    found = frozenset(names)
    if not found <= _OUTPUTS:
        raise _unknown_outputs()
    return found or _OUTPUTS


def _unknown_outputs() -> Problem:
    return _wrong("outputs", f"names something else than {', '.join(sorted(_OUTPUTS))}")


def _wrong(field: str, problem: str) -> Problem:
    return Problem(400, "invalid", f"{field} {problem}.", fields={field: problem})
