"""Where requests for predictions come in, whatever protocol they speak: who asks the same twice, what is counted, who answers."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from serving.engine import Answer, Asked, Engine, RequestError, VersionNotServedError, VersionRetiredError
from serving.errors import ProductNotServedError, ServingError
from serving.http._desk import Desk, Settled, nobody
from serving.http._failures import Failures
from serving.http._memory import Memory
from serving.http._metrics import Metrics
from serving.http._v1 import LONGEST_ID
from serving.http._wire import Problem
from serving.live import LiveProducts
from serving.policies import Ensemble

_PLAIN, _WARNED = b"0", b"1"
"""Before a remembered answer: whether a deprecated version gave it."""
_TOO_LARGE: Final = 413
"""More instances than may ever wait: the caller's doing."""
Read = Callable[[Engine], Sequence[Asked]]
Write = Callable[[Sequence[Answer], Engine], bytes]


class Front:
    """One worker's way from a request to the bytes of its answer."""

    def __init__(
        self, *, live: LiveProducts, desk: Desk, metrics: Metrics, failures: Failures, deadline: float
    ) -> None:
        """Prepares.

        Args:
            live: What is live.
            desk: Where requests are answered.
            metrics: What is counted.
            failures: What could not be answered, for who decides about versions.
            deadline: Seconds within which a request is answered.
        """
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

    async def answer(
        self, product: str, id: str, digest: bytes, deadline: float | None, *, read: Read, write: Write
    ) -> tuple[str, bytes, bool]:
        """The version that answered, empty for an answer that was given before, the answer's bytes, and whether it is deprecated.

        Args:
            product: Who is asked.
            id: The request's name, empty for none.
            digest: Of all that a named request says.
            deadline: Seconds that the caller waits, None for as long as the service does.
            read: Makes instances of the request.
            write: Makes bytes of the answers.

        Raises:
            Problem: It cannot be answered.
            ServingError: The request is wrong.
        """
        engine = self.engine(product)
        if not id or len(id) > LONGEST_ID:  # the latter is refused where it is read
            answers = await self._ask(engine, read(engine), deadline)
            self._count(engine, answers)
            return answers[0].version, write(answers, engine), _is_deprecated(engine, answers)
        name, patience = (product, id), self._deadline if deadline is None else min(deadline, self._deadline)
        if body := await self._memory.find(name, digest, patience):
            return "", body[1:], body[:1] == _WARNED
        written = b""

        def settled(answers: list[Answer] | None) -> None:
            nonlocal written
            try:
                if answers is not None:
                    self._count(engine, answers)
                    written = write(answers, engine)
            finally:
                mark = _WARNED if answers is not None and _is_deprecated(engine, answers) else _PLAIN
                self._memory.settle(name, mark + written if written else b"")

        try:
            asked = read(engine)
        except BaseException:
            settled(None)
            raise
        answers = await self._ask(engine, asked, deadline, settled)
        return answers[0].version, written, _is_deprecated(engine, answers)

    def counted(self, product: str, version: str, status: int, begun: float) -> None:
        """Counts a request that ended, with the clock that measures when it came."""
        known = product if product in self._live.engines else ""
        counted = self._metrics.of_request(known, version, status)
        counted[0].inc()
        counted[1].observe(time.perf_counter() - begun)

    async def _ask(
        self, engine: Engine, asked: Sequence[Asked], deadline: float | None, settled: Settled = nobody
    ) -> list[Answer]:
        """The desk's answers. What was read well and gets none is a failure of the version that was drawn for it."""
        try:
            return await self._desk.ask(engine, asked, deadline, settled)
        except (Problem, ServingError) as error:
            problem = error if isinstance(error, Problem) else problem_of(error)
            if problem.status != _TOO_LARGE:
                wrong = [asked[place] for place in problem.places]
                self._failures.note(engine, wrong or asked, problem.code)
            raise

    def _count(self, engine: Engine, answers: Sequence[Answer]) -> None:
        for answer in answers:
            for view, reason in answer.reasons.items():
                self._metrics.defaulted.labels(engine.product, view, reason).inc()
            if answer.decision:
                self._metrics.positives.labels(engine.product, answer.version).inc()


def _is_deprecated(engine: Engine, answers: Sequence[Answer]) -> bool:
    """Whether one of the answers comes from a deprecated version."""
    deprecated = engine.deployment.deprecated
    if not deprecated:
        return False
    combined = engine.models if engine.deployment.policy.kind == Ensemble.kind else ()
    return not {*combined, *(answer.version for answer in answers)}.isdisjoint(deprecated)


def problem_of(error: ServingError) -> Problem:
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
