"""Messages of gRPC: nulls stand where the tensor has elements, and most answers are put together from bytes that are kept."""

from itertools import combinations, product
from types import SimpleNamespace
from typing import Any

import pytest

from headwater.models import FieldType, RequestField
from serving.engine import Answer
from serving.grpc._proto.open_inference_pb2 import ModelInferResponse
from serving.grpc._tensors import read_instances, write_message
from serving.http._wire import Problem
from tests.serving.grpc_client import request

NAMES = ("score", "decision", "version")
FIELDS = [RequestField(name="kind", dtype=FieldType.STRING), RequestField(name="order", dtype=FieldType.INT64)]
MODEL: Any = SimpleNamespace(schema=SimpleNamespace(fields=FIELDS))
ENGINE: Any = SimpleNamespace(product="flüge")
ONE = Answer(
    id="", version="1.2.0", variant="1.2.0", score=0.5, decision=True, threshold=0.5, at=0, reasons={}, explanation=None, record=b""
)  # fmt: skip


def said(answers: list[Answer], version: str, wanted: frozenset[str]) -> ModelInferResponse:
    return ModelInferResponse.FromString(write_message(answers, ENGINE, version, wanted, False))


@pytest.mark.parametrize("wanted", [frozenset(some) for count in (1, 2, 3) for some in combinations(NAMES, count)])
@pytest.mark.parametrize("version", ["", "1.0.0"])
def test_one_answer_is_said_as_the_library_says_it(wanted: frozenset[str], version: str) -> None:
    for score, decision, id in product((0.0, 0.25, 1e-300, 1.0), (True, False), ("", "abc#0", "é" * 200 + "#0")):
        one = ONE._replace(score=score, decision=decision, id=id)
        found = said([one], version, wanted)
        whole = said([one._replace(logged=False)], version, wanted)  # what says more goes the long way
        assert whole.parameters.pop("logged").bool_param is False
        assert found == whole
        assert found.id == id.removesuffix("#0")
        assert [tensor.name for tensor in found.outputs] == [name for name in NAMES if name in wanted]
        if "score" in wanted:
            assert found.outputs[0].contents.fp64_contents == [score]


def kinds(raw: bool, **null: Any) -> list[Any]:
    """What a tensor of two elements holds with a parameter for its nulls."""
    asked = request("toy", {"kind": ("BYTES", ["a", ""])}, raw=raw)
    for choice, value in null.items():
        setattr(asked.inputs[0].parameters["null"], choice, value)
    return [one["entity"]["kind"] for one in read_instances(asked, MODEL, 10)["instances"]]


@pytest.mark.parametrize("raw", [False, True])
def test_nulls_stand_where_they_are_said_to(raw: bool) -> None:
    assert kinds(raw, string_param="1") == ["a", None]
    assert kinds(raw, string_param="0,1") == kinds(raw, bool_param=True) == [None, None]
    assert kinds(raw, bool_param=False) == ["a", ""]


@pytest.mark.parametrize("said", ["2", "0,7", "9999999"])
@pytest.mark.parametrize("raw", [False, True])
def test_a_null_at_a_place_that_the_tensor_lacks_is_refused(raw: bool, said: str) -> None:
    """It was passed over, and the filler in the null's place was scored and logged."""
    with pytest.raises(Problem, match=f"names place {said.split(',')[-1]} of 2 elements"):
        kinds(raw, string_param=said)


@pytest.mark.parametrize("null", [{"int64_param": 1}, {"string_param": ""}, {"string_param": "-1"}], ids=str)
def test_a_null_that_is_no_place_is_refused(null: dict[str, Any]) -> None:
    with pytest.raises(Problem, match="neither true nor places"):
        kinds(False, **null)


@pytest.mark.parametrize(
    ("datatype", "contents", "value"), [("INT8", "int_contents", 300), ("UINT16", "uint_contents", 70_000)]
)
def test_an_element_that_its_datatype_cannot_have_is_refused(datatype: str, contents: str, value: int) -> None:
    asked = request("toy", {"order": ("INT64", [3])})
    asked.inputs[0].datatype = datatype
    asked.inputs[0].ClearField("contents")
    getattr(asked.inputs[0].contents, contents).append(value)
    with pytest.raises(Problem, match=f"has element 0, {value}, which is no {datatype}"):
        read_instances(asked, MODEL, 10)
