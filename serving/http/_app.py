"""The service as an ASGI application: paths to what answers them."""

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

from serving.engine import Answer, Asked, Engine
from serving.errors import ServingError
from serving.http import _v1, _v2
from serving.http._desk import Desk
from serving.http._failures import Failures
from serving.http._front import Front, Write, problem_of
from serving.http._keys import Keys, Role
from serving.http._memory import digest_of
from serving.http._metrics import Metrics, show
from serving.http._openapi import describe, page, page_file
from serving.http._origin import check_page
from serving.http._v1 import LONGEST_ID, Caller, caller_of, read_request, write_answers
from serving.http._v2 import model_metadata, read_instances, server_metadata, wanted_outputs, write_response
from serving.http._wire import (
    JSON,
    Disconnected,
    Headers,
    Problem,
    Receive,
    Scope,
    Send,
    encode_json,
    read_body,
    read_json,
    respond,
)
from serving.live import PATIENCE, LiveProducts
from serving.retired_calls import RetiredCalls

if TYPE_CHECKING:
    from serving.grpc import GrpcServer

_LOG: Final = logging.getLogger("headwater.serving")
_KEEP: Final = 1.0
"""Seconds of counts of refused calls that a kill may lose."""
_TEXT: Final = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
_HTML: Final = [(b"content-type", b"text/html; charset=utf-8")]
_UNLOGGED: Final = (b"headwater-logged", b"false")
_CLOSE: Final = (b"connection", b"close")
_LONGEST: Final = 200
_GONE: Final = 499
"""What is counted of a caller who went before the body was whole, as nginx has it: no promise was made yet, and none is broken."""
_T = TypeVar("_T")
_Products = frozenset[str] | None
"""What a key is good for; None for all."""
_Get = Callable[[_Products], tuple[int, Any]]
_Read = Callable[[Engine, dict[str, Any], Caller], Sequence[Asked]]


class App:
    """One worker's application."""

    def __init__(
        self,
        *,
        live: LiveProducts,
        desk: Desk,
        front: Front,
        failures: Failures,
        metrics: Metrics,
        keys: Keys,
        body_limit: int,
        most_instances: int,
        follow: float,
        exposition: Callable[[], bytes],
        grpc: "GrpcServer | None" = None,
        retired: RetiredCalls | None = None,
    ) -> None:
        """Prepares.

        Args:
            live: What is live.
            desk: Where requests are answered; its logs are closed at the end.
            front: The way to it.
            failures: What could not be answered; written down beside the requests.
            metrics: What is counted.
            keys: Who may ask.
            body_limit: Bytes of a body.
            most_instances: Instances of a request.
            follow: Seconds between two looks at the lake.
            exposition: Metrics as Prometheus reads them.
            grpc: The same over gRPC, started and ended with the rest.
            retired: Calls of retired versions, made durable again and again.
        """
        self._retired = retired
        self._live, self._desk, self._front, self._metrics, self._keys = live, desk, front, metrics, keys
        self._body_limit, self._most, self._follow, self._exposition = body_limit, most_instances, follow, exposition
        self._grpc, self._failures, self._is_open = grpc, failures, keys.are_none
        self._looks: SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Future[bool]]] = SimpleQueue()
        self._looker = threading.Thread()
        self._looking: asyncio.Future[bool] | None = None
        self._holding: asyncio.Future[tuple[str, ...]] | None = None
        self._log_troubles: dict[str, str] = {}
        self._shown: set[tuple[str, ...]] = set()
        self._in_trouble: set[str] = set()
        self._beside: set[asyncio.Task[None]] = set()
        self._is_ending, self._has_looked = False, asyncio.Event()
        self._gets: dict[str, _Get] = {
            "/v2/health/live": lambda _: (200, {"live": True}),
            "/v2/health/ready": lambda _: self._ready(),
            "/v2": lambda _: (200, server_metadata()),
            "/v1/products": lambda shown: (200, self._products(shown)),
            "/openapi.json": lambda shown: (200, describe(_of(self._live.engines, shown))),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        headers = dict(scope["headers"])
        try:
            if self._is_open:
                check_page(scope["method"], headers)
            if path.startswith("/v1/") and path.endswith(":predict"):
                await self._predict(scope, path[4:-8], headers, receive, send)
            elif path.startswith("/v2/models/"):
                await self._model(scope, path[11:].split("/"), headers, receive, send)
            else:
                await self._get(scope, path, headers, send)
        except Problem as problem:
            await respond(send, problem.status, problem.body(""), _headers(problem, headers))
        except Disconnected:
            return

    async def _predict(
        self, scope: Scope, target: str, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        """`/v1/<product>:predict` and `/v1/<product>/versions/<version>:predict`."""
        product, _, version = target.partition("/versions/")
        is_list = False

        def read(engine: Engine, body: dict[str, Any], caller: Caller) -> Sequence[Asked]:
            nonlocal is_list
            is_list = "instances" in body
            return read_request(body, engine, caller, version, self._most)

        def write(answers: Sequence[Answer], engine: Engine) -> bytes:
            return encode_json(write_answers(answers, product, is_list=is_list))

        await self._post(scope, product, headers, receive, send, read, write, _v1.is_batch)

    async def _model(
        self, scope: Scope, parts: list[str], headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        """`/v2/models/<name>[/versions/<version>][/ready|/infer]`."""
        product, rest = parts[0], parts[1:]
        version = ""
        if rest[:1] == ["versions"] and len(rest) > 1:
            version, rest = rest[1], rest[2:]
        if rest == ["infer"]:
            wanted: frozenset[str] = frozenset()

            def read(engine: Engine, body: dict[str, Any], caller: Caller) -> Sequence[Asked]:
                nonlocal wanted
                wanted = wanted_outputs(body)
                model = engine.model(version) if version else engine.live
                instances = read_instances(body, model, self._most)
                return read_request(instances, engine, caller, version, self._most)

            def write(answers: Sequence[Answer], engine: Engine) -> bytes:
                return encode_json(write_response(answers, engine, version, wanted))

            await self._post(scope, product, headers, receive, send, read, write, _v2.is_batch)
            return
        if rest not in ([], ["ready"]):
            raise _nothing(scope["path"])
        _only(scope, "GET")
        _named(scope, product)
        self._keys.caller(headers, Role.PREDICT, product)
        try:
            engine = self._front.engine(product, version)
        except Problem as problem:
            raise self._keys.told(problem, headers) from problem
        model = engine.model(version) if version else engine.live
        found = {"name": product, "ready": True} if rest else model_metadata(engine, model)
        await respond(send, 200, encode_json(found))

    async def _post(
        self,
        scope: Scope,
        product: str,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
        read: _Read,
        write: Write,
        has_several: Callable[[dict[str, Any]], bool],
    ) -> None:
        """One request for predictions, counted however it ends."""
        begun, is_batch = time.perf_counter(), False
        version, status, request_id, body, name, trace = "", 500, "", b"", "", None
        out_headers: Headers | None = None
        caller: Caller | None = None
        try:
            _only(scope, "POST")
            _named(scope, product)
            name = self._keys.caller(headers, Role.PREDICT, product)
            caller = caller_of(headers, name)
            request_id, trace = caller.id, self._front.begin(caller, headers)
            try:
                raw = await read_body(receive, headers, self._body_limit)
            finally:  # how long a body takes is its sender's doing
                caller.begin()
                begun = time.perf_counter()
            parsed = read_json(raw, headers)
            is_batch = has_several(parsed)
            id = parsed.get("id", caller.id)
            request_id = id if isinstance(id, str) else ""
            version, body, deprecation, is_logged = await self._front.answer(
                product,
                request_id,
                digest_of(scope["path"], raw) if request_id else b"",
                _deadline(headers),
                read=lambda engine: read(engine, parsed, caller),
                write=write,
                trace=trace,
            )
            status = 200
            if deprecation or not is_logged:
                out_headers = _headers_of(deprecation, is_logged)
        except Disconnected:
            status = _GONE
            raise
        except (Problem, ServingError, asyncio.CancelledError) as error:
            self._front.note_gone(error, name)
            problem = self._keys.told(_problem(error), headers)
            self._front.told(product, request_id, caller.trace if caller is not None else "", problem)
            said = request_id if len(request_id) <= LONGEST_ID else ""
            status, body, out_headers = problem.status, problem.body(said), _headers(problem, headers)
        finally:
            self._front.counted(product, version, status, begun, is_batch=is_batch)
            if trace is not None:
                trace.end(f"POST {scope['path'][:_LONGEST]}", product=product, version=version, status=status)
        await (respond(send, status, body) if out_headers is None else respond(send, status, body, out_headers))

    async def _get(self, scope: Scope, path: str, headers: Mapping[bytes, bytes], send: Send) -> None:
        make = self._gets.get(path)
        if make is not None:
            _only(scope, "GET")
            shown: _Products = None
            if not path.startswith("/v2/health/"):
                self._keys.caller(headers, Role.PREDICT)
                shown = self._keys.products(headers)
            status, found = make(shown)
            await respond(send, status, encode_json(found))
        elif path == "/metrics":
            _only(scope, "GET")
            self._keys.caller(headers, Role.METRICS)
            await respond(send, 200, self._exposition(), _TEXT)
        elif path == "/docs":
            _only(scope, "GET")
            await respond(send, 200, page(), _HTML)
        elif path.startswith("/docs/") and (file := page_file(path[6:])) is not None:
            _only(scope, "GET")
            await respond(send, 200, file[0], [(b"content-type", file[1])])
        else:
            raise _nothing(path)

    @property
    def is_ready(self) -> bool:
        """Whether what has to be answered can be; see `LiveProducts.is_ready`."""
        return self._live.is_ready and not self._is_ending and not self._log_troubles

    def _ready(self) -> tuple[int, Any]:
        is_ready = self.is_ready
        found: dict[str, Any] = {"ready": is_ready}
        if troubles := {**{one.product: one.reason for one in self._live.troubles}, **self._log_troubles}:
            found["troubles"] = troubles
        return (200 if is_ready else 503), found

    def _products(self, shown: _Products) -> dict[str, Any]:
        products = [
            {
                "product": product,
                "policy": engine.deployment.to_json()["policy"],
                "versions": sorted(engine.models),
                "commit": engine.deployment.commit,
            }
            for product, engine in sorted(_of(self._live.engines, shown).items())
        ]
        found: dict[str, Any] = {"products": products, "seen": self._live.seen}
        if self._live.lake_trouble:
            found["lake"] = self._live.lake_trouble
        if troubles := _of({trouble.product: trouble.reason for trouble in self._live.troubles}, shown):
            found["troubles"] = troubles
        return found

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._begin(self._follow_lake)
                self._begin(self._keep_counts)
                # The lake, and then this machine's copies, are given up before; what may still wait is the log's disk.
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._has_looked.wait(), 3 * PATIENCE)
                if self._grpc is not None:
                    await self._grpc.start()
                gc.collect()
                gc.freeze()  # what is loaded stays: no later collection looks through it while somebody waits
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._end()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _end(self) -> None:
        """Ends what goes on beside the requests, and makes durable what is counted, whatever of it fails."""
        self._is_ending = True
        for task in (beside := tuple(self._beside)):
            task.cancel()
        with ExitStack() as last:
            last.callback(self._failures.close)
            if self._retired is not None:
                last.callback(self._retired.keep)
            last.callback(self._desk.close)
            if beside:
                await asyncio.wait(beside)
            if self._grpc is not None:
                await self._grpc.ended()

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Does something beside the requests; after a fault of ours, which the loop reports, it begins again."""
        if self._is_ending:
            return
        task = asyncio.create_task(work())
        self._beside.add(task)
        task.add_done_callback(lambda done: self._ended(done, work))

    def _ended(self, task: asyncio.Task[None], work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            loop = asyncio.get_running_loop()
            loop.call_exception_handler(
                {"message": "work beside the requests failed, and begins again", "exception": error}
            )
            loop.call_later(self._follow, self._begin, work)

    async def _follow_lake(self) -> None:
        """Looks at the lake again and again, beside the requests; what else there is to do waits for no lake that hangs."""
        while True:
            if not await self._look():
                await self._hold()
            elif not self._live.lake_trouble:
                self._metrics.refreshed.set(time.time())
            self._log_troubles = await self._desk.prepare(self._live.engines)
            await asyncio.get_running_loop().run_in_executor(None, self._write_failures, tuple(self._live.engines))
            self._show()
            self._has_looked.set()
            await asyncio.sleep(self._follow)

    async def _keep_counts(self) -> None:
        """Makes the counts of refused calls durable, in a thread: a slow disk holds nothing up."""
        while self._retired is not None:
            await asyncio.sleep(_KEEP)
            await asyncio.get_running_loop().run_in_executor(None, self._retired.keep)

    def _write_failures(self, products: Sequence[str]) -> None:
        self._failures.prepare(products)
        self._failures.write()

    async def _look(self) -> bool:
        """One look, in a thread that the process does not wait for at its end: a lake that hangs holds nothing up.

        It is the same thread every time: the lake keeps connections for each that ever asked. A look that takes too long goes on there, and
        what it found is live as soon as it ends.

        Returns:
            Whether it ended well, or one that was begun before.
        """
        if not self._looker.is_alive():  # none was there, or a fault of ours ended it
            self._looker = threading.Thread(target=self._look_when_asked, name="lake", daemon=True)
            self._looker.start()
        if self._looking is None:
            loop = asyncio.get_running_loop()
            self._looking = loop.create_future()
            self._looks.put((loop, self._looking))
            await asyncio.wait([self._looking], timeout=PATIENCE)  # `wait_for` may lose that the service ends
        if not self._looking.done():
            return False
        is_well = self._looking.result()
        self._looking = None
        return is_well

    async def _hold(self) -> None:
        """Goes on with what was taken last, for products that nothing is live of; a disk that hangs is waited for as briefly."""
        if self._holding is None or self._holding.done():
            self._holding = asyncio.get_running_loop().run_in_executor(None, self._live.hold)
        await asyncio.wait([self._holding], timeout=PATIENCE)
        if self._holding.done():
            self._holding.result()  # a fault of ours is reported

    def _look_when_asked(self) -> None:
        while True:
            loop, look = self._looks.get()
            is_well = False
            try:
                self._live.refresh()
                is_well = True
            finally:  # a fault of ours is reported by the thread, which ends; the next one may find better
                with suppress(RuntimeError):  # the loop has ended meanwhile
                    loop.call_soon_threadsafe(look.set_result, is_well)

    def _show(self) -> None:
        """What is live, in the metrics."""
        metrics, live = self._metrics, self._live
        metrics.lake_away.set(bool(live.lake_trouble))
        metrics.ready.set(self.is_ready)
        deployed: set[tuple[str, ...]] = {
            (product, version, engine.deployment.policy.kind, engine.deployment.commit)
            for product, engine in live.engines.items()
            for version in engine.models
        }
        for product, engine in live.engines.items():
            promised = engine.deployment.latency.total_seconds()
            schema = engine.live.schema
            views = {view.name: schema.defaulted.get(view.name, 0.0) for view in schema.views}
            metrics.begin(product, engine.variants, views, promised=promised)
        show(metrics.deployed, {**dict.fromkeys(self._shown, 0), **dict.fromkeys(deployed, 1)})
        self._shown = deployed
        in_trouble = {one.product for one in live.troubles if not one.is_served}
        known = {*self._in_trouble, *live.engines}
        show(metrics.trouble, {**{(name,): 0 for name in known}, **{(name,): 1 for name in in_trouble}})
        self._in_trouble = in_trouble


def _deadline(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds that the caller waits, as its header says in milliseconds."""
    said = headers.get(b"x-request-timeout-ms")
    if said is None:
        return None
    if not said.isdigit() or len(said) > 7 or not 0 < int(said) <= 3_600_000:
        raise Problem(400, "timeout", "X-Request-Timeout-Ms is no number of milliseconds from 1 to 3600000.")
    return int(said) / 1_000


def _only(scope: Scope, method: str) -> None:
    said = scope["method"]
    if said != method and not (method == "GET" and said == "HEAD"):
        raise Problem(405, "method", f"{scope['path'][:200]} takes {method}, not {said[:20]}.", allow=method)


def _named(scope: Scope, product: str) -> None:
    """Refuses a path in which a product's name is empty, before anybody is told what there is."""
    if not product:
        raise Problem(
            404, "no_product", f"{scope['path'][:200]} names no product. /docs shows the paths that there are."
        )


def _of(found: Mapping[str, _T], shown: _Products) -> Mapping[str, _T]:
    """What is found of the products that a key is good for."""
    return found if shown is None else {product: one for product, one in found.items() if product in shown}


def _nothing(path: str) -> Problem:
    return Problem(404, "not_found", f"There is nothing at {path[:200]}. /docs shows what there is.")


def _problem(error: BaseException) -> Problem:
    """The answer that an error becomes."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ServingError):
        return problem_of(error)
    return Problem(503, "ending", "The service ends, and the request took too long. Ask again.", retry_after=1)


def _headers_of(deprecation: str, is_logged: bool) -> list[tuple[bytes, bytes]]:
    """Of an answer with something to say beside it."""
    found = [(b"content-type", JSON)]
    if deprecation:
        found.append((b"deprecation", deprecation.encode()))
    if not is_logged:
        found.append(_UNLOGGED)
    return found


def _headers(problem: Problem, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Of a refusal; a caller who waits for leave to send the body sends none, so that the connection cannot go on."""
    return [*problem.headers(), _CLOSE] if b"expect" in headers else problem.headers()
