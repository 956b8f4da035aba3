"""What each call of the protocol does. Predictions go the way of REST: the same front, desk and log."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError

from serving.engine import Answer, Asked, Engine
from serving.errors import ServingError
from serving.grpc import _tensors
from serving.grpc._messages import CallError, Metadata, Status
from serving.grpc._proto import open_inference_pb2 as pb
from serving.grpc._protocol import Call, Method, Reply
from serving.http._front import Answered, Front, problem_of
from serving.http._keys import Keys, Role
from serving.http._memory import digest_of
from serving.http._trace import RequestTrace
from serving.http._v1 import caller_of, read_request
from serving.http._v2 import model_metadata, server_metadata
from serving.http._wire import Problem

_NAME: Final = "inference.GRPCInferenceService"
_CODES: Final[Mapping[int, Status]] = {
    400: Status.INVALID_ARGUMENT,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.NOT_FOUND,
    410: Status.NOT_FOUND,
    409: Status.ALREADY_EXISTS,
    413: Status.INVALID_ARGUMENT,
    422: Status.INVALID_ARGUMENT,
    429: Status.RESOURCE_EXHAUSTED,
    503: Status.UNAVAILABLE,
    504: Status.DEADLINE_EXCEEDED,
}


class InferenceService:
    """The calls of `inference.GRPCInferenceService`."""

    def __init__(self, *, front: Front, keys: Keys, most_instances: int, is_ready: Callable[[], bool]) -> None:
        """Prepares.

        Args:
            front: Where requests come in.
            keys: Who may ask.
            most_instances: Instances of a request.
            is_ready: Whether the service is ready, as REST says it.
        """
        self._front, self._keys, self._most, self._is_ready = front, keys, most_instances, is_ready

    def methods(self) -> dict[bytes, Method]:
        """The calls by path, for a server."""
        calls: dict[str, tuple[Callable[[Any, Call], Awaitable[Any]], Any]] = {
            "ServerLive": (self._live, pb.ServerLiveRequest),
            "ServerReady": (self._ready, pb.ServerReadyRequest),
            "ModelReady": (self._model_ready, pb.ModelReadyRequest),
            "ServerMetadata": (self._metadata, pb.ServerMetadataRequest),
            "ModelMetadata": (self._model_metadata, pb.ModelMetadataRequest),
        }
        methods = {_path(name): _typed(call, kind) for name, (call, kind) in calls.items()}
        # The message is read in the call, which tells requests apart by their bytes and counts a broken one.
        methods[_path("ModelInfer")] = self._infer
        return methods

    async def _live(self, request: pb.ServerLiveRequest, call: Call) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, request: pb.ServerReadyRequest, call: Call) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._is_ready())

    async def _metadata(self, request: pb.ServerMetadataRequest, call: Call) -> pb.ServerMetadataResponse:
        self._allowed(call, None)
        return pb.ServerMetadataResponse(**server_metadata())

    async def _model_ready(self, request: pb.ModelReadyRequest, call: Call) -> pb.ModelReadyResponse:
        self._engine(call, request.name, request.version)
        return pb.ModelReadyResponse(ready=True)

    async def _model_metadata(self, request: pb.ModelMetadataRequest, call: Call) -> pb.ModelMetadataResponse:
        engine = self._engine(call, request.name, request.version)
        return pb.ModelMetadataResponse(
            **model_metadata(engine, engine.model(request.version) if request.version else engine.live)
        )

    async def _infer(self, call: Call) -> Reply:
        """One request for predictions, counted however it ends."""
        begun = time.perf_counter()
        product, version, status, is_batch = "", "", 500, False
        traces: list[RequestTrace] = []
        try:
            request = _message(call.message)
            product, is_batch = request.model_name, _tensors.is_batch(request)
            answered = await self._answer(request, call, traces)
            version, status = answered.version, 200
            return Reply(answered.body, _said(answered))
        except (Problem, ServingError) as error:
            problem = _problem(error)
            status = problem.status
            raise _failed(self._keys.told(problem, call.headers)) from error
        except asyncio.CancelledError:  # by the caller, or by the caller's deadline
            status = 504
            raise
        finally:
            self._front.counted(product, version, status, begun, is_batch=is_batch)
            for trace in traces:
                trace.end(f"{_NAME}/ModelInfer", product=product, version=version, status=status)

    async def _answer(
        self,
        request: pb.ModelInferRequest,
        call: Call,
        traces: list[RequestTrace],
    ) -> Answered:
        product, version = request.model_name, request.model_version
        headers = call.headers
        name = self._keys.caller(headers, Role.PREDICT, product)
        caller = caller_of(headers, name)
        trace = self._front.begin(caller, headers)
        traces += [] if trace is None else [trace]
        wanted: frozenset[str] = frozenset()

        def read(engine: Engine) -> Sequence[Asked]:
            nonlocal wanted
            wanted = _tensors.wanted_outputs(request)
            model = engine.model(version) if version else engine.live
            instances = _tensors.read_instances(request, model, self._most)
            return read_request(instances, engine, caller, version, self._most)

        def write(answers: Sequence[Answer], engine: Engine) -> bytes:
            return _tensors.write_message(answers, engine, version, wanted, bool(request.raw_input_contents))

        id = request.id or caller.id
        digest = digest_of("grpc", call.message) if id else b""
        try:
            return await self._front.answer(product, id, digest, call.remaining, read=read, write=write, trace=trace)
        except (Problem, ServingError) as error:
            self._front.note_gone(error, name)
            self._front.told(product, id, caller.trace, _problem(error))
            raise

    def _engine(self, call: Call, product: str, version: str) -> Engine:
        """What is live of a product. Raises CallError."""
        self._allowed(call, product)
        try:
            return self._front.engine(product, version)
        except Problem as problem:
            raise _failed(self._keys.told(problem, call.headers)) from problem

    def _allowed(self, call: Call, product: str | None) -> None:
        """Raises CallError."""
        try:
            self._keys.caller(call.headers, Role.PREDICT, product)
        except Problem as problem:
            raise _failed(problem) from problem


def _message(raw: bytes) -> pb.ModelInferRequest:
    try:
        return pb.ModelInferRequest.FromString(raw)
    except DecodeError as error:
        raise Problem(400, "malformed_message", f"The message is no ModelInferRequest: {error}.") from error


def _problem(error: Problem | ServingError) -> Problem:
    return error if isinstance(error, Problem) else problem_of(error)


def _path(name: str) -> bytes:
    return f"/{_NAME}/{name}".encode()


def _typed(call: Callable[[Any, Call], Awaitable[Any]], kind: Any) -> Method:
    """A call that reads its message and writes its answer."""

    async def answer(given: Call) -> Reply:
        try:
            request = kind.FromString(given.message)
        except DecodeError as error:
            raise CallError(Status.INVALID_ARGUMENT, f"The message is no {kind.DESCRIPTOR.name}: {error}.") from error
        return Reply((await call(request, given)).SerializeToString())

    return answer


def _said(answered: Answered) -> Metadata:
    """What is told beside an answer; nothing of most."""
    if answered.is_logged and not answered.deprecation:
        return ()
    found = [("deprecation", answered.deprecation)] if answered.deprecation else []
    return found + ([] if answered.is_logged else [("headwater-logged", "false")])


def _failed(problem: Problem) -> CallError:
    """The end of a call with a status, the problem's code and when to ask again beside it."""
    said = [("headwater-code", problem.code)]
    if problem.retry_after is not None:
        said.append(("retry-after", str(problem.retry_after)))
    return CallError(_CODES.get(problem.status, Status.INTERNAL), problem.message, said)
