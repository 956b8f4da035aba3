"""Between the messages of gRPC and the bodies of `/v2`, which are checked and answered in one place."""

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from serving.engine import Answer, Engine, LoadedModel
from serving.grpc._proto.open_inference_pb2 import InferTensorContents, ModelInferRequest, ModelInferResponse
from serving.http._v2 import OUTPUTS, Columns, columns_of, has_several, outputs_of, parameters_of, version_of
from serving.http._wire import Problem, encode_json

_FIELDS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_RAW: Final[Mapping[str, str]] = {
    "BOOL": "?", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4",
    "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
_LENGTH, _FP64 = struct.Struct("<I"), struct.Struct("<d")
_EXPLAIN: Final = "explain"
NULLS: Final = "null"
"""A tensor's parameter: true where all its elements are null, or their places as a text such as `0,3`. Messages have no null."""


def read_instances(request: ModelInferRequest, model: LoadedModel, most: int) -> dict[str, Any]:
    """A body of `/v1` that asks the same.

    Args:
        request: The message.
        model: Whose inputs its tensors are.
        most: Instances of a request.

    Raises:
        Problem: The message's tensors contradict themselves, or are not what the metadata says.
    """
    raw, inputs = request.raw_input_contents, request.inputs
    if raw and len(raw) != len(inputs):
        raise _wrong("raw_input_contents", f"has {len(raw)} tensors where there are {len(inputs)} inputs")
    if not inputs:
        raise _wrong("inputs", "is no list of tensors")
    columns, rest = Columns(model, most), iter(raw)
    for tensor in inputs:
        datatype = tensor.datatype
        data = _raw(tensor, datatype, next(rest)) if raw else _typed(tensor, datatype)
        columns.add(tensor.name, datatype, tensor.shape[:], _with_nulls(tensor, data))
    found = columns.instances()
    if request.id:
        found["id"] = request.id
    if _EXPLAIN in request.parameters:
        found[_EXPLAIN] = _parameter(request.parameters[_EXPLAIN])
    return found


def is_batch(request: ModelInferRequest) -> bool:
    """Whether a message asks about several instances, as its first tensor says."""
    return bool(request.inputs) and has_several(request.inputs[0].shape)


def wanted_outputs(request: ModelInferRequest) -> frozenset[str]:
    """Names of the outputs that a request asks for; all when it names none. Raises Problem."""
    return outputs_of(output.name for output in request.outputs)


def write_message(answers: Sequence[Answer], engine: Engine, version: str, wanted: frozenset[str], raw: bool) -> bytes:
    """Answers as the bytes of a message.

    Args:
        answers: To one request.
        engine: Who answered.
        version: The version that was asked for, empty for none.
        wanted: Names of the outputs to give.
        raw: Whether to give them as raw contents, as they were asked.
    """
    said, first = parameters_of(answers), answers[0]
    name, of, id = engine.product, version_of(answers, version), first.id.rpartition("#")[0]
    if len(answers) == 1 and not raw and not said:
        return _one(name, of, id, first, wanted)
    columns = columns_of(answers)
    found = ModelInferResponse(model_name=name, model_version=of, id=id)
    for name, datatype in OUTPUTS:
        if name in wanted:
            tensor = found.outputs.add(name=name, datatype=datatype, shape=(len(answers),))
            if raw:
                found.raw_output_contents.append(_to_raw(datatype, columns[name]))
            else:
                _fill(tensor.contents, datatype, columns[name])
    for name, value in said.items():
        if isinstance(value, bool):
            found.parameters[name].bool_param = value
        else:
            found.parameters[name].string_param = encode_json(value).decode()
    return found.SerializeToString()


def _one(product: str, version: str, id: str, answer: Answer, wanted: frozenset[str]) -> bytes:
    """The message of most requests: one answer, nothing said beside it. Most of its bytes are those of the answer before.

    Bytes of messages that stand one behind the other are one message (https://protobuf.dev/programming-guides/encoding/#last-one-wins).
    """
    head, score, rest = _parts(product, version, answer.version, answer.decision, wanted)
    said = ModelInferResponse(id=id).SerializeToString()
    return b"".join((head, said, score, _FP64.pack(answer.score), rest)) if score else head + said + rest


@lru_cache(maxsize=256)
def _parts(
    product: str, version: str, answered: str, decision: bool, wanted: frozenset[str]
) -> tuple[bytes, bytes, bytes]:
    """Of a message for one answer: its head, the score's tensor but for the eight bytes of the score, and the other tensors."""
    parts = [ModelInferResponse(model_name=product, model_version=version), *(ModelInferResponse() for _ in range(2))]
    for (name, datatype), value in zip(OUTPUTS, (0.0, decision, answered), strict=True):
        if name in wanted:
            part = parts[1 if datatype == "FP64" else 2]
            _fill(part.outputs.add(name=name, datatype=datatype, shape=(1,)).contents, datatype, [value])
    head, score, rest = [part.SerializeToString() for part in parts]
    return head, score.removesuffix(_FP64.pack(0.0)), rest


def _typed(tensor: ModelInferRequest.InferInputTensor, datatype: str) -> list[Any]:
    there = tensor.contents.ListFields()
    if not there:
        return []
    field = _FIELDS.get(datatype)
    of, values = there[-1] if there[0][0].name == field else there[0]
    if of.name != field:
        raise _wrong(tensor.name, f"of datatype {datatype[:20]!r} has {of.name}, not {field or 'raw contents'}")
    return _texts(tensor, values) if datatype == "BYTES" else list(values)


def _raw(tensor: ModelInferRequest.InferInputTensor, datatype: str, raw: bytes) -> list[Any]:
    if tensor.HasField("contents") and tensor.contents.ListFields():
        raise _wrong(tensor.name, "has contents, and the request has raw contents")
    if datatype == "BYTES":
        return _texts(tensor, _pieces(tensor.name, raw))
    dtype = _RAW.get(datatype)
    if dtype is None:
        return []  # the datatype is refused by name where all are
    if len(raw) % np.dtype(dtype).itemsize:
        raise _wrong(tensor.name, f"has {len(raw)} raw bytes, which are no whole number of {datatype}")
    values: list[Any] = np.frombuffer(raw, dtype=dtype).tolist()
    return values


def _pieces(name: str, raw: bytes) -> list[bytes]:
    """Elements of raw bytes, each behind its length."""
    found, place = [], 0
    while place < len(raw):
        start = place + _LENGTH.size
        if start > len(raw) or start + (size := _LENGTH.unpack_from(raw, place)[0]) > len(raw):
            raise _wrong(name, "has raw bytes that end within an element")
        found.append(raw[start : start + size])
        place = start + size
    return found


def _with_nulls(tensor: ModelInferRequest.InferInputTensor, values: list[Any]) -> list[Any]:
    if NULLS not in tensor.parameters:
        return values
    said = _parameter(tensor.parameters[NULLS])
    if isinstance(said, bool):
        return [None] * len(values) if said else values
    places = said.split(",") if isinstance(said, str) else [""]
    if not all(place.isascii() and place.isdigit() and len(place) < 8 for place in places):
        raise _wrong(tensor.name, f"has a parameter {NULLS!r} that is neither true nor places such as '0,3'")
    nulls = {int(place) for place in places}
    if (last := max(nulls)) >= len(values):
        raise _wrong(tensor.name, f"has a parameter {NULLS!r} that names place {last} of {len(values)} elements")
    return [None if place in nulls else value for place, value in enumerate(values)]


def _texts(tensor: ModelInferRequest.InferInputTensor, values: Sequence[bytes]) -> list[Any]:
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise _wrong(tensor.name, "has bytes that are no UTF-8") from error


def _parameter(value: Any) -> Any:
    choice = value.WhichOneof("parameter_choice")
    return getattr(value, choice) if choice is not None else None


def _to_raw(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype != "BYTES":
        return np.asarray(values, dtype=_RAW[datatype]).tobytes()
    texts = [value.encode() for value in values]
    return b"".join(_LENGTH.pack(len(text)) + text for text in texts)


def _fill(contents: InferTensorContents, datatype: str, values: Sequence[Any]) -> None:
    given = [value.encode() for value in values] if datatype == "BYTES" else values
    getattr(contents, _FIELDS[datatype]).extend(given)


def _wrong(field: str, problem: str) -> Problem:
    return Problem(400, "invalid", f"{field[:60]} {problem}.", fields={field[:60]: problem})
