"""Where requests for predictions come in, whatever protocol they speak: who asks the same twice, what is counted, who answers."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from headwater.replay import is_in_play
from headwater.tracing import Tracer
from serving.engine import (
    Answer,
    Asked,
    Engine,
    RequestError,
    Step,
    VersionNotServedError,
    VersionRetiredError,
)
from serving.errors import ProductNotServedError, ServingError
from serving.http._desk import Desk, Settled, nobody
from serving.http._failures import Failures, failures_among
from serving.http._memory import Memory
from serving.http._metrics import Metrics
from serving.http._trace import RequestTrace, is_wanted
from serving.http._v1 import LONGEST_ID, Caller
from serving.http._wire import Problem
from serving.live import LiveProducts
from serving.policies import Ensemble
from serving.retired_calls import RetiredCalls

_LOG: Final = logging.getLogger("headwater.serving")
_FAILED: Final = 500
_MARK: Final = b"\n"
"""Ends what stands before a remembered answer: when the version that gave it was deprecated, empty for one that was not."""
_UNLOGGED: Final = b"!"
"""Stands before that of an answer that does not stand in the log."""
_SINCE_UNKNOWN: Final = "true"
"""What the header said before RFC 9745 gave it a time; no order says when the version was deprecated."""
_NOT_READY: Final = "not_ready"
Read = Callable[[Engine], Sequence[Asked]]
Write = Callable[[Sequence[Answer], Engine], bytes]


class Answered(NamedTuple):
    """How a request was answered.

    Attributes:
        version: The version that answered; empty for an answer that was given before.
        body: The answer's bytes.
        deprecation: Its `Deprecation` header: empty for a version that is not deprecated, else when it was (RFC 9745), such as
            `@1735689600`.
        is_logged: Whether it stands in the log.
    """

    version: str
    body: bytes
    deprecation: str = ""
    is_logged: bool = True


class Front:
    """One worker's way from a request to the bytes of its answer."""

    def __init__(
        self,
        *,
        live: LiveProducts,
        desk: Desk,
        metrics: Metrics,
        failures: Failures,
        deadline: float,
        retired: RetiredCalls | None = None,
        tracer: Tracer | None = None,
        plays: bool = False,
    ) -> None:
        """Prepares.

        Args:
            live: What is live.
            desk: Where requests are answered.
            metrics: What is counted.
            failures: What could not be answered, for who decides about versions.
            deadline: Seconds within which a request is answered.
            retired: Where calls of versions that answer nobody any more are counted durably; None counts them in the metrics alone.
            tracer: Where traces go, None for nowhere.
            plays: Whether a replay asks: nobody else may take a request's name from one.
        """
        self._plays = plays
        self._retired, self._tracer = retired, tracer
        self._live, self._desk, self._metrics, self._deadline = live, desk, metrics, deadline
        self._failures = failures
        self._memory: Final = Memory()

    def engine(self, product: str, version: str = "") -> Engine:
        """What is live of a product. Raises Problem."""
        try:
            engine = self._live.engine(product)
            if version:
                engine.model(version)
        except ServingError as error:
            raise problem_of(error) from error
        return engine

    def begin(self, caller: Caller, headers: Mapping[bytes, bytes]) -> RequestTrace | None:
        """Begins the trace of a request, None when nobody wants any."""
        if self._tracer is None or not is_wanted(caller, headers):
            return None
        return RequestTrace(self._tracer, caller, headers)

    async def answer(
        self,
        product: str,
        id: str,
        digest: bytes,
        deadline: float | None,
        *,
        read: Read,
        write: Write,
        trace: RequestTrace | None = None,
    ) -> Answered:
        """The answer to a request.

        Args:
            product: Who is asked.
            id: The request's name, empty for none.
            digest: Of all that a named request says.
            deadline: Seconds that the caller waits, None for as long as the service does.
            read: Makes instances of the request.
            write: Makes bytes of the answers.
            trace: Its trace.

        Raises:
            Problem: It cannot be answered.
            ServingError: The request is wrong.
        """
        engine = self._engine_to_ask(product)
        if not self._plays and is_in_play(id):
            raise _of_replays(id)
        steps = trace.steps if trace is not None else None
        if not id or len(id) > LONGEST_ID:  # the latter is refused where it is read
            answers = await self._ask(engine, read(engine), deadline, steps=steps)
            self._count(engine, answers)
            if trace is not None:
                trace.answered(engine, answers)
            return Answered(answers[0].version, write(answers, engine), *_said(engine, answers))
        name, patience = (product, id), self._deadline if deadline is None else min(deadline, self._deadline)
        if body := await self._memory.find(name, digest, patience):
            mark, _, given = body.partition(_MARK)
            return Answered("", given, mark.removeprefix(_UNLOGGED).decode(), not mark.startswith(_UNLOGGED))
        written = b""

        def settled(answers: list[Answer] | None) -> None:
            nonlocal written
            try:
                if answers is not None:
                    self._count(engine, answers)
                    written = write(answers, engine)
            finally:
                mark = b"" if answers is None else _mark(*_said(engine, answers))
                self._memory.settle(name, mark + _MARK + written if written else b"")

        try:
            asked = read(engine)
        except BaseException:
            settled(None)
            raise
        answers = await self._ask(engine, asked, deadline, settled, steps)
        if trace is not None:
            trace.answered(engine, answers)
        return Answered(answers[0].version, written, *_said(engine, answers))

    def told(self, product: str, request_id: str, trace: str, problem: Problem) -> None:
        """Logs a fault of the service's own, so that its traceback in the log can be told from others; a refusal is no news."""
        if problem.status == _FAILED:
            said = {"product": product, "request_id": request_id, "trace": trace, "code": problem.code}
            _LOG.error("a request failed", extra=said)

    def counted(self, product: str, version: str, status: int, begun: float, *, is_batch: bool = False) -> None:
        """Counts a request that ended.

        Args:
            product: Who was asked.
            version: The version that answered; empty for none.
            status: How it ended, as HTTP says it.
            begun: The clock that measures, in seconds, when all of it was there.
            is_batch: Whether it asked about several instances.
        """
        known = product if product in self._live.engines else ""
        self._metrics.note_request(known, version, status, time.perf_counter() - begun, is_batch=is_batch)

    def note_gone(self, error: BaseException, caller: str) -> None:
        """Counts a call by name of a version that answers nobody any more, retired or not, whatever it became; anything else is none."""
        cause = error.__cause__ if isinstance(error, Problem) else error
        is_retired = isinstance(cause, VersionRetiredError)
        if isinstance(cause, VersionRetiredError) or (isinstance(cause, VersionNotServedError) and cause.is_known):
            counted = self._metrics.retired if is_retired else self._metrics.not_served
            counted.labels(cause.product, cause.version, caller).inc()
            if self._retired is not None:
                self._retired.note(cause.product, cause.version, caller, is_retired=is_retired)

    async def _ask(
        self,
        engine: Engine,
        asked: Sequence[Asked],
        deadline: float | None,
        settled: Settled = nobody,
        steps: list[Step] | None = None,
    ) -> list[Answer]:
        """The desk's answers. What was read well and gets none is a failure, unless it is the caller's doing."""
        try:
            return await self._desk.ask(engine, asked, deadline, settled, steps)
        except (Problem, ServingError) as error:
            problem = error if isinstance(error, Problem) else problem_of(error)
            failed = failures_among(engine, asked, error)
            self._failures.note(engine, failed, problem.code, is_versions=problem.is_versions)
            raise

    def _engine_to_ask(self, product: str) -> Engine:
        """What is live of a product, for a request: that there is nothing is a failure too, of a product that is known. Raises Problem."""
        try:
            return self.engine(product)
        except Problem as problem:
            if problem.code == _NOT_READY and self._live.knows(product):
                self._failures.note_unready(product, problem.code)
            raise

    def _count(self, engine: Engine, answers: Sequence[Answer]) -> None:
        self._metrics.of_answers(engine.product).inc(len(answers))
        for answer in answers:
            for view, reason in answer.reasons.items():
                self._metrics.defaulted.labels(engine.product, view, reason).inc()
            if answer.decision:
                self._metrics.of_positives(engine.product, answer.version).inc()
            if not answer.logged:
                self._metrics.unlogged.labels(engine.product).inc()


def _of_replays(id: str) -> Problem:
    """A stranger's request in a play would take the place of what earlier plays answered."""
    said = f"'id' {id[:LONGEST_ID]!r} begins like those of a replay, 'replay-', a number and '/'. Take another."
    return Problem(422, "invalid", said, fields={"id": "begins with 'replay-', a number and '/'"})


def _said(engine: Engine, answers: Sequence[Answer]) -> tuple[str, bool]:
    """When the version that answered was deprecated, and whether all answers stand in the log."""
    return _deprecation(engine, answers), all(answer.logged for answer in answers)


def _mark(deprecation: str, is_logged: bool) -> bytes:
    return (b"" if is_logged else _UNLOGGED) + deprecation.encode()


def _deprecation(engine: Engine, answers: Sequence[Answer]) -> str:
    """When the first of the deprecated versions among those that answered was; empty when none of them is."""
    deprecated = engine.deployment.deprecated
    if not deprecated:
        return ""
    combined = engine.models if engine.deployment.policy.kind == Ensemble.kind else ()
    found = {*combined, *(answer.version for answer in answers)}.intersection(deprecated)
    since = [engine.deployment.deprecated_since[name] for name in found if name in engine.deployment.deprecated_since]
    return (f"@{min(since)}" if since else _SINCE_UNKNOWN) if found else ""


def problem_of(error: ServingError) -> Problem:
    """The answer that an error becomes."""
    if isinstance(error, RequestError):
        return Problem(422, "invalid", str(error), fields=error.fields)
    if isinstance(error, ProductNotServedError) and error.is_expected:
        return Problem(503, _NOT_READY, str(error), retry_after=1)
    if isinstance(error, VersionRetiredError):
        return Problem(410, "retired", str(error))
    if isinstance(error, VersionNotServedError | ProductNotServedError):
        return Problem(404, "not_served", str(error))
    return Problem(500, "failed", str(error))
