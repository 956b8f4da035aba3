"""What each call of the protocol does. Predictions go the way of REST: the same front, desk and log."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError

from serving.engine import Answer, Asked, Engine
from serving.errors import ServingError
from serving.grpc import _tensors
from serving.grpc._proto import open_inference_pb2 as pb
from serving.http._front import Answered, Front, problem_of
from serving.http._keys import Keys, Role
from serving.http._memory import digest_of
from serving.http._trace import RequestTrace
from serving.http._v1 import caller_of, read_request
from serving.http._v2 import model_metadata, read_instances, server_metadata, wanted_outputs
from serving.http._wire import Problem

_NAME: Final = "inference.GRPCInferenceService"
_CODES: Final[Mapping[int, grpc.StatusCode]] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    410: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_Context = Any
"""`grpc.aio.ServicerContext`, which has no types."""


class InferenceService:
    """The calls of `inference.GRPCInferenceService`."""

    def __init__(self, *, front: Front, keys: Keys, most_instances: int, is_ready: Callable[[], bool]) -> None:
        """Prepares.

        Args:
            front: Where requests come in.
            keys: Who may ask.
            most_instances: Instances of a request.
            is_ready: Whether every product can be answered, as REST says it.
        """
        self._front, self._keys, self._most, self._is_ready = front, keys, most_instances, is_ready

    def handler(self) -> Any:
        """The calls by name, for a server."""
        calls: dict[str, tuple[Any, Any]] = {
            "ServerLive": (self._live, pb.ServerLiveRequest),
            "ServerReady": (self._ready, pb.ServerReadyRequest),
            "ModelReady": (self._model_ready, pb.ModelReadyRequest),
            "ServerMetadata": (self._metadata, pb.ServerMetadataRequest),
            "ModelMetadata": (self._model_metadata, pb.ModelMetadataRequest),
        }
        methods = {
            name: grpc.unary_unary_rpc_method_handler(
                call, request_deserializer=kind.FromString, response_serializer=_bytes_of
            )
            for name, (call, kind) in calls.items()
        }
        # The message is read in the call, which tells requests apart by their bytes and answers a broken one itself.
        methods["ModelInfer"] = grpc.unary_unary_rpc_method_handler(self._infer)
        return grpc.method_handlers_generic_handler(_NAME, methods)

    async def _live(self, request: pb.ServerLiveRequest, context: _Context) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, request: pb.ServerReadyRequest, context: _Context) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._is_ready())

    async def _metadata(self, request: pb.ServerMetadataRequest, context: _Context) -> pb.ServerMetadataResponse:
        await self._allowed(context, "")
        return pb.ServerMetadataResponse(**server_metadata())

    async def _model_ready(self, request: pb.ModelReadyRequest, context: _Context) -> pb.ModelReadyResponse:
        await self._engine(context, request.name, request.version)
        return pb.ModelReadyResponse(ready=True)

    async def _model_metadata(self, request: pb.ModelMetadataRequest, context: _Context) -> pb.ModelMetadataResponse:
        engine = await self._engine(context, request.name, request.version)
        return pb.ModelMetadataResponse(
            **model_metadata(engine, engine.model(request.version) if request.version else engine.live)
        )

    async def _infer(self, raw: bytes, context: _Context) -> bytes:
        """One request for predictions, counted however it ends."""
        begun = time.perf_counter()
        product, version, status = "", "", 500
        traces: list[RequestTrace] = []
        try:
            request = _message(raw)
            product = request.model_name
            answered = await self._answer(request, raw, _headers(context), context.time_remaining(), traces)
            version, status = answered.version, 200
            said = [("deprecation", answered.deprecation)] if answered.deprecation else []
            said += [] if answered.is_logged else [("headwater-logged", "false")]
            if said:
                context.set_trailing_metadata(tuple(said))
            return answered.body
        except (Problem, ServingError) as error:
            problem = _problem(error)
            status = problem.status
            await _abort(context, problem)
        except asyncio.CancelledError:  # by the caller, or by the caller's deadline
            status = 504
            raise
        finally:
            self._front.counted(product, version, status, begun)
            for trace in traces:
                trace.end(f"{_NAME}/ModelInfer", product=product, version=version, status=status)

    async def _answer(
        self,
        request: pb.ModelInferRequest,
        raw: bytes,
        headers: Mapping[bytes, bytes],
        remaining: float | None,
        traces: list[RequestTrace],
    ) -> Answered:
        product, version = request.model_name, request.model_version
        name = self._keys.caller(headers, Role.PREDICT, product)
        caller = caller_of(headers, name)
        trace = self._front.begin(caller, headers)
        traces += [] if trace is None else [trace]
        wanted: frozenset[str] = frozenset()

        def read(engine: Engine) -> Sequence[Asked]:
            nonlocal wanted
            body = _tensors.read_body(request)
            wanted = wanted_outputs(body)
            model = engine.model(version) if version else engine.live
            return read_request(read_instances(body, model, self._most), engine, caller, version, self._most)

        def write(answers: Sequence[Answer], engine: Engine) -> bytes:
            return _tensors.write_message(answers, engine, version, wanted, bool(request.raw_input_contents))

        id = request.id or caller.id
        digest = digest_of("grpc", raw) if id else b""
        try:
            return await self._front.answer(product, id, digest, remaining, read=read, write=write, trace=trace)
        except (Problem, ServingError) as error:
            self._front.note_retired(error, name)
            self._front.told(product, id, caller.trace, _problem(error))
            raise

    async def _engine(self, context: _Context, product: str, version: str) -> Engine:
        await self._allowed(context, product)
        try:
            return self._front.engine(product, version)
        except Problem as problem:
            await _abort(context, problem)

    async def _allowed(self, context: _Context, product: str) -> None:
        try:
            self._keys.caller(_headers(context), Role.PREDICT, product)
        except Problem as problem:
            await _abort(context, problem)


def _message(raw: bytes) -> pb.ModelInferRequest:
    try:
        return pb.ModelInferRequest.FromString(raw)
    except DecodeError as error:
        raise Problem(400, "malformed_message", f"The message is no ModelInferRequest: {error}.") from error


def _problem(error: Problem | ServingError) -> Problem:
    return error if isinstance(error, Problem) else problem_of(error)


def _bytes_of(message: Any) -> bytes:
    found: bytes = message.SerializeToString()
    return found


def _headers(context: _Context) -> dict[bytes, bytes]:
    """Metadata as headers; binary ones are nobody's here."""
    return {
        name.encode(): value.encode() if isinstance(value, str) else value
        for name, value in context.invocation_metadata() or ()
    }


async def _abort(context: _Context, problem: Problem) -> NoReturn:
    """Ends a call with a status, the problem's code and when to ask again beside it."""
    trailing = [("headwater-code", problem.code)]
    if problem.retry_after is not None:
        trailing.append(("retry-after", str(problem.retry_after)))
    code = _CODES.get(problem.status, grpc.StatusCode.INTERNAL)
    await context.abort(code, problem.message, tuple(trailing))
    raise AssertionError("abort raises")
