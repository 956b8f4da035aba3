"""The service as an ASGI application: paths to what answers them."""

import asyncio
import gc
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from serving.engine import Answer, Engine, RequestError, VersionNotServedError, VersionRetiredError
from serving.errors import ProductNotServedError, ServingError
from serving.http._desk import Desk
from serving.http._keys import Keys, Role
from serving.http._metrics import Metrics
from serving.http._openapi import describe, page, page_file
from serving.http._v1 import Caller, caller_of, read_request, write_answers
from serving.http._v2 import model_metadata, read_instances, server_metadata, write_response
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
from serving.live import LiveProducts
from serving.policies import Ensemble

_LOG: Final = logging.getLogger("headwater.serving")
_REMEMBERED: Final = 10_000
"""Answers to named requests that are kept, so that a caller who asks again hears the same."""
_LONGEST_REMEMBERED: Final = 2**16
_PATIENCE: Final = 20.0
"""Seconds that the first look at the lake may take before anything is accepted: another worker may answer meanwhile."""
_TEXT: Final = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
_HTML: Final = [(b"content-type", b"text/html; charset=utf-8")]
_DEPRECATED: Final = [(b"content-type", JSON), (b"deprecation", b"true")]
_Get = Callable[[], tuple[int, Any]]
_Answered = tuple[list[Answer], Any]
_Said = tuple[bytes, Headers | None]


class App:
    """One worker's application."""

    def __init__(
        self,
        *,
        live: LiveProducts,
        desk: Desk,
        metrics: Metrics,
        keys: Keys,
        body_limit: int,
        most_instances: int,
        follow: float,
        exposition: Callable[[], bytes],
    ) -> None:
        """Prepares.

        Args:
            live: What is live.
            desk: Where requests are answered.
            metrics: What is counted.
            keys: Who may ask.
            body_limit: Bytes of a body.
            most_instances: Instances of a request.
            follow: Seconds between two looks at the lake.
            exposition: Metrics as Prometheus reads them.
        """
        self._live, self._desk, self._metrics, self._keys = live, desk, metrics, keys
        self._body_limit, self._most, self._follow, self._exposition = body_limit, most_instances, follow, exposition
        self._answered: OrderedDict[tuple[str, str], tuple[bytes, _Said]] = OrderedDict()
        self._following: asyncio.Task[None] | None = None
        self._is_ending, self._has_looked = False, asyncio.Event()
        self._gets: dict[str, _Get] = {
            "/v2/health/live": lambda: (200, {"live": True}),
            "/v2/health/ready": self._ready,
            "/v2": lambda: (200, server_metadata()),
            "/v1/products": lambda: (200, self._products()),
            "/openapi.json": lambda: (200, describe(self._live.engines)),
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
            if path.startswith("/v1/") and path.endswith(":predict"):
                await self._predict(scope, path[4:-8], headers, receive, send)
            elif path.startswith("/v2/models/"):
                await self._model(scope, path[11:].split("/"), headers, receive, send)
            else:
                await self._get(scope, path, headers, send)
        except Problem as problem:
            await respond(send, problem.status, problem.body(""), problem.headers())
        except Disconnected:
            return

    async def _predict(
        self, scope: Scope, target: str, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        """`/v1/<product>:predict` and `/v1/<product>/versions/<version>:predict`."""
        product, _, rest = target.partition("/versions/")

        async def answer(engine: Engine, body: dict[str, Any], caller: Caller) -> _Answered:
            asked = read_request(body, engine, caller, rest, self._most)
            answers = await self._desk.ask(engine, asked, _deadline(headers))
            self._count(engine, answers)
            return answers, write_answers(answers, product, is_batch="instances" in body)

        await self._post(scope, product, headers, receive, send, answer)

    async def _model(
        self, scope: Scope, parts: list[str], headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        """`/v2/models/<name>[/versions/<version>][/ready|/infer]`."""
        product, rest = parts[0], parts[1:]
        version = ""
        if rest[:1] == ["versions"] and len(rest) > 1:
            version, rest = rest[1], rest[2:]
        if rest == ["infer"]:

            async def answer(engine: Engine, body: dict[str, Any], caller: Caller) -> _Answered:
                model = engine.model(version) if version else engine.live
                asked = read_request(read_instances(body, model, self._most), engine, caller, version, self._most)
                answers = await self._desk.ask(engine, asked, _deadline(headers))
                self._count(engine, answers)
                return answers, write_response(answers, engine, asked[0].id.rpartition("#")[0], version)

            await self._post(scope, product, headers, receive, send, answer)
            return
        if rest not in ([], ["ready"]):
            raise _nothing(scope["path"])
        _only(scope, "GET")
        self._keys.caller(headers, Role.PREDICT, product)
        engine = self._engine(product, version)
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
        answer: Callable[[Engine, dict[str, Any], Caller], Awaitable[_Answered]],
    ) -> None:
        """One request for predictions, counted however it ends."""
        begun = time.perf_counter()
        version, status, request_id, body = "", 200, "", b""
        out_headers: Headers | None = None
        try:
            _only(scope, "POST")
            caller = caller_of(headers, self._keys.caller(headers, Role.PREDICT, product))
            request_id = caller.id
            raw = await read_body(receive, headers, self._body_limit)
            parsed = read_json(raw, headers)
            engine = self._engine(product, "")
            name = parsed.get("id", caller.id)
            request_id = name if isinstance(name, str) else ""
            body, out_headers = self._before(product, request_id, scope["path"], raw)
            if not body:
                answers, found = await answer(engine, parsed, caller)
                version, body, out_headers = answers[0].version, encode_json(found), _warning(engine, answers)
                self._remember(product, request_id, scope["path"], raw, (body, out_headers))
        except (Problem, ServingError) as error:
            problem = error if isinstance(error, Problem) else _problem(error)
            status, body, out_headers = problem.status, problem.body(request_id), problem.headers()
        known = product if product in self._live.engines else ""
        counted = self._metrics.of_request(known, version, status)
        counted[0].inc()
        counted[1].observe(time.perf_counter() - begun)
        await (respond(send, status, body) if out_headers is None else respond(send, status, body, out_headers))

    def _before(self, product: str, request_id: str, path: str, raw: bytes) -> _Said:
        """What the same request was answered before; nothing for a new one. Raises Problem for an id used for another."""
        held = self._answered.get((product, request_id)) if request_id else None
        if held is None:
            return b"", None
        if held[0] != path.encode() + b"\0" + raw:
            said = f"The id {request_id[:128]!r} was used for another request. Give each request an id of its own."
            raise Problem(409, "id_used", said, fields={"id": "was used for another request"})
        return held[1]

    def _remember(self, product: str, request_id: str, path: str, raw: bytes, said: _Said) -> None:
        if request_id and len(raw) + len(said[0]) <= _LONGEST_REMEMBERED:
            self._answered[product, request_id] = (path.encode() + b"\0" + raw, said)
            if len(self._answered) > _REMEMBERED:
                self._answered.popitem(last=False)

    def _engine(self, product: str, version: str) -> Engine:
        try:
            engine = self._live.engine(product)
            if version:
                engine.model(version)
        except ServingError as error:
            raise _problem(error) from error
        return engine

    def _count(self, engine: Engine, answers: Any) -> None:
        for answer in answers:
            for view, reason in answer.reasons.items():
                self._metrics.defaulted.labels(engine.product, view, reason).inc()
            if answer.decision:
                self._metrics.positives.labels(engine.product, answer.version).inc()

    async def _get(self, scope: Scope, path: str, headers: Mapping[bytes, bytes], send: Send) -> None:
        make = self._gets.get(path)
        if make is not None:
            _only(scope, "GET")
            if not path.startswith("/v2/health/"):
                self._keys.caller(headers, Role.PREDICT)
            status, found = make()
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

    def _ready(self) -> tuple[int, Any]:
        is_ready = self._live.is_ready and not self._is_ending
        found: dict[str, Any] = {"ready": is_ready}
        if troubles := {trouble.product: trouble.reason for trouble in self._live.troubles}:
            found["troubles"] = troubles
        return (200 if is_ready else 503), found

    def _products(self) -> dict[str, Any]:
        products = [
            {
                "product": product,
                "policy": engine.deployment.to_json()["policy"],
                "versions": sorted(engine.models),
                "commit": engine.deployment.commit,
            }
            for product, engine in sorted(self._live.engines.items())
        ]
        found: dict[str, Any] = {"products": products, "seen": self._live.seen}
        if self._live.lake_trouble:
            found["lake"] = self._live.lake_trouble
        if troubles := {trouble.product: trouble.reason for trouble in self._live.troubles}:
            found["troubles"] = troubles
        return found

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._following = asyncio.create_task(self._follow_lake())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._has_looked.wait(), _PATIENCE)
                gc.collect()
                gc.freeze()  # what is loaded stays: no later collection looks through it while somebody waits
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self._is_ending = True
                if self._following is not None:
                    self._following.cancel()
                    with suppress(asyncio.CancelledError):
                        await self._following
                self._desk.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _follow_lake(self) -> None:
        """Looks at the lake again and again, beside the requests."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(None, self._live.refresh)
            except RuntimeError:  # the executor is gone: the process ends
                return
            self._show()
            self._has_looked.set()
            await asyncio.sleep(self._follow)

    def _show(self) -> None:
        """What is live, in the metrics."""
        metrics, live = self._metrics, self._live
        metrics.refreshed.set(time.time())
        metrics.lake_away.set(bool(live.lake_trouble))
        metrics.ready.set(live.is_ready)
        metrics.deployed.clear()
        metrics.trouble.clear()
        for product, engine in live.engines.items():
            metrics.trouble.labels(product).set(0)
            for version in engine.models:
                metrics.deployed.labels(product, version, engine.deployment.policy.kind, engine.deployment.commit).set(
                    1
                )
        for trouble in live.troubles:
            metrics.trouble.labels(trouble.product).set(1)


def _warning(engine: Engine, answers: Sequence[Answer]) -> Headers | None:
    """Headers of answers of which one comes from a deprecated version, None without one."""
    deprecated = engine.deployment.deprecated
    if not deprecated:
        return None
    combined = engine.models if engine.deployment.policy.kind == Ensemble.kind else ()
    answered = {*combined, *(answer.version for answer in answers)}
    return None if answered.isdisjoint(deprecated) else _DEPRECATED


def _deadline(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds that the caller waits, as its header says in milliseconds."""
    said = headers.get(b"x-request-timeout-ms")
    if said is None:
        return None
    if not said.isdigit() or not 0 < int(said) <= 3_600_000:
        raise Problem(400, "timeout", "X-Request-Timeout-Ms is no number of milliseconds from 1 to 3600000.")
    return int(said) / 1_000


def _only(scope: Scope, method: str) -> None:
    said = scope["method"]
    if said != method and not (method == "GET" and said == "HEAD"):
        raise Problem(405, "method", f"{scope['path']} takes {method}, not {said}.", allow=method)


def _nothing(path: str) -> Problem:
    return Problem(404, "not_found", f"There is nothing at {path[:200]}. /docs shows what there is.")


def _problem(error: ServingError) -> Problem:
    """The answer that an error becomes."""
    if isinstance(error, RequestError):
        return Problem(422, "invalid", str(error), fields=error.fields)
    if isinstance(error, ProductNotServedError) and error.is_expected:
        return Problem(503, "not_ready", str(error), retry_after=1)
    if isinstance(error, VersionRetiredError):
        return Problem(410, "retired", str(error))
    if isinstance(error, VersionNotServedError | ProductNotServedError):
        return Problem(404, "not_served", str(error))
    return Problem(500, "failed", str(error))
