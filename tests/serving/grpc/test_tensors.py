"""The message of most answers is put together from bytes that are kept: it says what the library would say."""

from itertools import combinations, product
from types import SimpleNamespace
from typing import Any

import pytest

from serving.engine import Answer
from serving.grpc._proto.open_inference_pb2 import ModelInferResponse
from serving.grpc._tensors import write_message

NAMES = ("score", "decision", "version")
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
