"""One request's trace: what the clock said on its way, made into spans when it is answered."""

from collections.abc import Mapping, Sequence
from time import perf_counter_ns
from typing import Any, Final

from headwater.tracing import Span, Tracer, new_trace, request_of, span_of
from serving.engine import Answer, Engine, Step
from serving.http._v1 import Caller

_ERRORS: Final = 500
_SAMPLED: Final = 1


def is_wanted(caller: Caller, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request is traced: unless its caller is in a trace that nobody records (W3C Trace Context, flag `sampled`)."""
    return not caller.trace or bool(int(headers[b"traceparent"].split(b"-")[3][:2], 16) & _SAMPLED)


class RequestTrace:
    """What is remembered of a request until it ends.

    Attributes:
        steps: What was done for it, filled on the way.
    """

    __slots__ = ("_caller", "_facts", "_parent", "_request", "_tracer", "steps")

    def __init__(self, tracer: Tracer, caller: Caller, headers: Mapping[bytes, bytes]) -> None:
        """Begins it: in the caller's trace, or in a new one, which the record of the answer names."""
        self._tracer, self._caller, self._request = tracer, caller, ""
        self._parent = headers[b"traceparent"].decode("latin-1").split("-") if caller.trace else []
        self._facts: dict[str, Any] = {}
        self.steps: list[Step] = []
        if not caller.trace:
            caller.trace = new_trace()

    def answered(self, engine: Engine, answers: Sequence[Answer]) -> None:
        """Who answered, and what."""
        deployment = engine.deployment
        self._request = request_of(answers[0].id)
        self._facts = {
            "headwater.commit": deployment.commit,
            "headwater.online_features": deployment.online,
            "headwater.request_id": self._request,
            "headwater.instances": len(answers),
            "headwater.logged": all(answer.logged for answer in answers),
        }

    def end(self, name: str, *, product: str, version: str, status: int) -> None:
        """Sends it."""
        caller = self._caller
        shift = caller.received * 1_000 - caller.started  # from the clock that measures to that of the world
        root = Span(
            name=name,
            start=caller.received * 1_000,
            end=perf_counter_ns() + shift,
            trace=caller.trace,
            parent=self._parent[2] if self._parent else "",
            id=span_of(product, self._request) if self._request else "",
            is_server=True,
            attributes={
                "headwater.product": product,
                "headwater.version": version or None,
                "http.response.status_code": status,
                **self._facts,
            },
            children=tuple(
                Span(name=step.name, start=step.start + shift, end=step.end + shift, attributes=step.facts)
                for step in self.steps
            ),
            error=f"status {status}" if status >= _ERRORS else "",
        )
        self._tracer.record(root)
