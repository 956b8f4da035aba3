"""Where requests wait for each other: all that come in one turn of the event loop are answered with one lookup, one score and one
sync of the log.

Nothing waits longer for it: a turn ends as soon as everything that has arrived is read. A sync takes a fraction of a millisecond and
is done in the loop; on a disk that takes longer it goes to a thread, so that health, metrics and deadlines go on. Which it will be shows
by the syncs before it: one that hangs after quick ones is waited for by everything, once. Segments of the log are made in the thread,
before they are needed.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter, perf_counter_ns
from typing import Final

from headwater.features.errors import FeatureError
from headwater.names import DEADLINE
from headwater.product import LogFull
from serving.engine import Answer, Asked, Engine, RequestError, Step
from serving.errors import ServingError
from serving.http._metrics import Metrics
from serving.http._wire import Problem
from serving.prediction_log import LogError, LogFullError, LogWriter

_LOG: Final = logging.getLogger("headwater.serving")
_SLOW: Final = 0.02
"""Seconds of a sync from which on the next ones are done in a thread, until one is quick again."""
_QUICK: Final = 0.005
_STALL: Final = 1.0
"""Seconds of a sync after which the disk is not trusted: where it hung once it may again."""
_WARY: Final = 600.0
"""Seconds for which syncs are done in a thread then, however quick they are."""
_FULL: Final = 1.0
"""Seconds for which a full log counts as full before room is looked for again, where answers go on without it."""
_ROUNDS: Final = 8
"""Of the event loop for which a turn waits at most while more requests come in with each."""
_TICK: Final = 0.001
"""Seconds by which a loop's timer may ring early."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a service takes on.

    Attributes:
        waiting: Instances that may wait at once; more get 429.
        instances: Instances of one request.
        explained: Instances that may wait to be explained; an explanation takes as long as some hundred scores.
        body: Bytes of one body.
        deadline: Seconds within which a request is answered; later it gets 504.
    """

    waiting: int = 2_000
    instances: int = 1_000
    explained: int = 32
    body: int = 4 * 2**20
    deadline: float = 10.0


Settled = Callable[[list[Answer] | None], None]
"""Told once of every request how it ended: with answers that stand in the log, or with none."""


def nobody(answers: list[Answer] | None) -> None:
    """For requests that nobody asks for again."""


LOG_CODES: Final = ("log_full", "log_failed")
"""Codes of what was refused because the disk did not take it."""
FEATURES_AWAY: Final = "online_features_away"
BUSY: Final = "too_many_requests"


class _Waiting:
    """One request with its instances."""

    __slots__ = ("asked", "at_log", "deadline", "done", "engine", "promised", "records", "settled", "steps")

    def __init__(
        self,
        engine: Engine,
        asked: Sequence[Asked],
        done: "asyncio.Future[list[Answer]]",
        deadline: float,
        promised: float,
        settled: Settled,
        steps: list[Step] | None,
    ) -> None:
        self.engine, self.asked, self.done, self.deadline, self.settled = engine, asked, done, deadline, settled
        self.promised, self.steps = promised, steps
        self.records: list[Answer] = []
        self.at_log = False
        """Whether a thread writes it now: what becomes of it shows later, whatever its caller was told."""

    def answer(self) -> None:
        """Its records are durable, or say that they are not."""
        settled, self.settled = self.settled, nobody
        settled(self.records)
        if not self.done.done():
            self.done.set_result(self.records)

    def fail(self, error: BaseException) -> None:
        """It stands not in the log, and never will."""
        settled, self.settled = self.settled, nobody
        settled(None)
        self.tell(error)

    def tell(self, error: BaseException) -> None:
        """Says to the caller, if still there, that there is no answer."""
        if not self.done.done():
            self.done.set_exception(error)


class Desk:
    """Takes requests in, and answers them turn by turn."""

    def __init__(self, *, open_log: Callable[[str], LogWriter], limits: Limits, metrics: Metrics) -> None:
        """Prepares.

        Args:
            open_log: Opens the prediction log of a product.
            limits: How much it takes on.
            metrics: What is counted.
        """
        self._open_log, self._limits, self._metrics = open_log, limits, metrics
        self._logs: dict[str, LogWriter] = {}
        self._opening = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._writing: list[_Waiting] = []
        self._count = self._explained = 0
        self._is_called = self._in_thread = False
        self._is_slow = True
        self._wary_until = 0.0
        self._handed = self._log_time = 0
        self._timer: tuple[float, asyncio.TimerHandle] | None = None
        self._full: dict[str, tuple[float, LogError]] = {}
        self._tended: set[str] = set()
        self._shown_full: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prediction-log")

    @property
    def count(self) -> int:
        """Instances that wait now."""
        return self._count

    async def ask(
        self,
        engine: Engine,
        asked: Sequence[Asked],
        deadline: float | None = None,
        settled: Settled = nobody,
        steps: list[Step] | None = None,
    ) -> list[Answer]:
        """The answers to one request's instances, durable in the log.

        Args:
            engine: Who answers.
            asked: The instances.
            deadline: Seconds from now, if less than the service's own. Who waits less than all instances one by one are promised in
                has himself to blame.
            settled: Told once how it ended, however that is; of a request that was too late, when its records are written.
            steps: Gets what was done for it, for who wants to know.

        Raises:
            Problem: Too many wait, it took too long, the log is full, or the online features are away.
            ServingError: An instance cannot be answered; of several, none is.
        """
        explained = len(asked) if asked[0].explain else 0
        if self._count + len(asked) > self._limits.waiting or self._explained + explained > self._limits.explained:
            settled(None)
            raise self._refused(len(asked), explained)
        loop = self._loop = self._loop or asyncio.get_running_loop()
        now, allowed = loop.time(), self._limits.deadline
        until = now + (allowed if deadline is None else min(deadline, allowed))
        promised = now + min(len(asked) * engine.deployment.latency.total_seconds(), allowed)
        one = _Waiting(engine, asked, loop.create_future(), until, promised, settled, steps)
        self._waiting.append(one)
        self._count += len(asked)
        self._explained += explained
        if self._in_thread:
            self._watch(one.deadline)
        elif not self._is_called:
            self._is_called = True
            loop.call_soon(self._gather, 0, _ROUNDS)
        try:
            return await one.done
        finally:
            self._count -= len(asked)
            self._explained -= explained

    async def prepare(self, engines: Mapping[str, Engine]) -> dict[str, str]:
        """Opens the logs of products that may be asked next, and looks for room in those that had none.

        Returns:
            Why one cannot be answered for its log, which could not be opened, by product.
        """
        for product in self._shown_full - engines.keys():
            self._show_full(product, None)
        wanted = [product for product in engines if product not in self._logs or product in self._shown_full]
        if not wanted:
            return {}
        failed = await asyncio.get_running_loop().run_in_executor(self._thread, self._opened, wanted)
        for product in wanted:
            self._show_full(product, failed.get(product))
        return {
            product: str(error)
            for product, error in failed.items()
            if product not in self._logs and not _may_go_unlogged(engines[product], error)
        }

    def close(self) -> None:
        """Ends the logs."""
        self._thread.shutdown(wait=True)
        for log in self._logs.values():
            log.close()
        self._logs.clear()

    def _refused(self, count: int, explained: int) -> Problem:
        if count > self._limits.waiting:
            said = f"There are {count} instances; no more than {self._limits.waiting} may wait at once."
            return Problem(413, "too_many_instances", said, is_callers=True)
        if explained > self._limits.explained:
            said = f"There are {count} instances to explain; {self._limits.explained} are explained at once. Ask for fewer, or without."
            return Problem(413, "too_many_explanations", said, is_callers=True)
        self._metrics.refused.inc()
        return Problem(429, BUSY, "More requests wait than are taken on. Try again.", retry_after=1)

    def _gather(self, before: int, rounds: int) -> None:
        """Begins the turn once the loop has gone round and brought nobody new: who came together is answered together."""
        count = len(self._waiting)
        if count > before and rounds:
            assert self._loop is not None
            self._loop.call_soon(self._gather, count, rounds - 1)
        else:
            self._turn()

    def _turn(self) -> None:
        """Answers everything that waits."""
        self._is_called = False
        waiting, self._waiting = self._waiting, []
        try:
            self._work(waiting)
        finally:  # nobody waits for ever for a fault of ours, which the loop reports
            for one in waiting:
                if not one.at_log:
                    one.fail(_failed(is_versions=False))

    def _work(self, waiting: list[_Waiting]) -> None:
        assert self._loop is not None
        now = self._loop.time()
        alive = [one for one in waiting if not one.done.done() and not self._is_late(one, now)]
        by_engine: dict[int, list[_Waiting]] = {}
        for one in alive:
            by_engine.setdefault(id(one.engine), []).append(one)
        for group in by_engine.values():
            self._metrics.batch.observe(sum(len(one.asked) for one in group))
            self._answer(group)
        ready: dict[str, list[_Waiting]] = {}
        for one in alive:
            if not one.done.done():
                ready.setdefault(one.engine.product, []).append(one)
        if not ready:
            return
        self._handed = perf_counter_ns()
        if self._is_slow or not self._fits(ready):
            self._log_in_thread(ready)
        else:
            self._finish(ready, self._log(ready))

    def _answer(self, group: list[_Waiting]) -> None:
        """Works out the answers of requests to one engine; what goes wrong goes to whose it is."""
        asked = [item for one in group for item in one.asked]
        steps: list[Step] | None = [] if any(one.steps is not None for one in group) else None
        try:
            answers = group[0].engine.answer(asked, steps, self._log_time)
        except FeatureError as error:  # the store is away, or somebody emptied it
            for one in group:
                said = f"Features cannot be looked up: {error}"
                one.fail(Problem(503, FEATURES_AWAY, said, retry_after=1))
            return
        except Exception as error:  # noqa: BLE001 - a fault that nobody foresaw: whose it is shows one by one
            if len(group) > 1:
                for one in group:
                    self._answer([one])
            else:
                self._report("a request could not be worked out", error)
                group[0].fail(_failed())
            return
        start = 0
        for one in group:
            if steps is not None and one.steps is not None:
                one.steps += steps
            own, start = answers[start : start + len(one.asked)], start + len(one.asked)
            wrong = [(place, answer) for place, answer in enumerate(own) if isinstance(answer, ServingError)]
            if wrong:
                one.fail(_combined(wrong, len(own)))
            else:
                one.records = own  # type: ignore[assignment]

    def _opened(self, products: Iterable[str]) -> dict[str, LogError]:
        found = {}
        for product in products:
            try:
                self._log_of(product).make_room()
                self._full.pop(product, None)
            except LogError as error:
                found[product] = error
        return found

    def _log_of(self, product: str) -> LogWriter:
        with self._opening:
            log = self._logs.get(product)
            if log is None:
                log = self._logs[product] = self._open_log(product)
            return log

    def _fits(self, ready: dict[str, list[_Waiting]]) -> bool:
        """Whether the records can be written without a segment that has to be made first, which takes as long as many syncs."""
        for product, group in ready.items():
            log = self._logs.get(product)
            if log is None or not log.fits(_records(group)):
                return False
        return True

    def _log(self, ready: dict[str, list[_Waiting]]) -> dict[str, Exception]:
        """Writes the records of each product with one sync; what failed, by product."""
        failed: dict[str, Exception] = {}
        begun = perf_counter()
        for product, group in ready.items():
            known = self._full.get(product)
            if known is not None and begun < known[0] and all(_may_go_unlogged(one.engine, known[1]) for one in group):
                failed[product] = known[1]
                continue
            traced = [one.steps for one in group if one.steps is not None]
            first = perf_counter_ns() if traced else 0
            try:
                self._log_of(product).append(_records(group))
            except LogError as error:
                failed[product] = error
                self._full[product] = (begun + _FULL, error)
            except Exception as error:  # noqa: BLE001 - a fault of ours at one product's log is none at another's
                failed[product] = error
            for steps in traced:
                steps.append(Step("log", first, perf_counter_ns(), {"headwater.turn_requests": len(group)}))
        ended = perf_counter()
        taken = ended - begun
        if taken > _STALL:
            self._wary_until = ended + _WARY
        self._is_slow = taken > (_QUICK if self._is_slow else _SLOW) or ended < self._wary_until
        self._metrics.sync.observe(taken)
        return failed

    def _log_in_thread(self, ready: dict[str, list[_Waiting]]) -> None:
        """The same while the loop goes on; who comes meanwhile waits for the next turn."""
        assert self._loop is not None
        work = self._loop.run_in_executor(self._thread, self._log, ready)
        self._in_thread = True
        self._writing = [one for ones in ready.values() for one in ones]
        for one in self._writing:
            one.at_log = True
        self._watch(min(one.deadline for one in self._writing))
        work.add_done_callback(lambda done: self._written(ready, done))

    def _written(self, ready: dict[str, list[_Waiting]], done: "asyncio.Future[dict[str, Exception]]") -> None:
        """The thread is back."""
        self._in_thread, writing, self._writing = False, self._writing, []
        if self._timer is not None:
            self._timer[1].cancel()
            self._timer = None
        if self._waiting and not self._is_called:
            assert self._loop is not None
            self._is_called = True
            self._loop.call_soon(self._gather, 0, _ROUNDS)
        try:
            self._finish(ready, done.result())
        finally:
            for one in writing:
                one.fail(_failed(is_versions=False))

    def _watch(self, deadline: float) -> None:
        """Sees to deadlines while a thread writes; one timer for all."""
        assert self._loop is not None
        if self._timer is not None:
            if self._timer[0] <= deadline:
                return
            self._timer[1].cancel()
        self._timer = (deadline, self._loop.call_at(deadline, self._expire))

    def _expire(self) -> None:
        assert self._loop is not None
        self._timer, now = None, self._loop.time() + _TICK
        there = [one for one in (*self._writing, *self._waiting) if not one.done.done() and not self._is_late(one, now)]
        self._waiting = [one for one in self._waiting if not one.done.done()]  # a disk that hangs piles nobody up
        if there:
            self._watch(min(one.deadline for one in there))

    def _is_late(self, one: _Waiting, now: float) -> bool:
        if now <= one.deadline:
            return False
        self._metrics.late.inc()
        said = "It was not answered in time. Ask again with the same id."
        problem = Problem(504, DEADLINE, said, retry_after=1, is_callers=now <= one.promised)
        (one.tell if one.at_log else one.fail)(problem)
        return True

    def _finish(self, ready: dict[str, list[_Waiting]], failed: dict[str, Exception]) -> None:
        self._log_time = (perf_counter_ns() - self._handed) // 1_000
        for product, group in ready.items():
            error = failed.get(product)
            self._show_full(product, error)
            if error is not None and not isinstance(error, LogError):
                self._report(f"answers of {product!r} could not be recorded", error)
            for one in group:
                if error is None:
                    self._give(one)
                elif not isinstance(error, LogError):
                    one.fail(_failed(is_versions=False))
                elif _may_go_unlogged(one.engine, error):
                    one.records = [answer._replace(logged=False) for answer in one.records]
                    self._give(one)
                else:
                    one.fail(_unlogged(error))
            self._tend(product)

    def _tend(self, product: str) -> None:
        """Has the thread see to a log's segments where that is due; the loop never makes or ends one."""
        log = self._logs.get(product)
        if log is None or product in self._tended or not log.wants_tending:
            return
        assert self._loop is not None
        self._tended.add(product)
        work = self._loop.run_in_executor(self._thread, log.tend)
        work.add_done_callback(lambda done: self._was_tended(product, done))

    def _was_tended(self, product: str, done: "asyncio.Future[None]") -> None:
        self._tended.discard(product)
        error = done.exception()
        if isinstance(error, LogError):
            said = {"product": product, "reason": str(error)}
            _LOG.warning("the next segment of the prediction log could not be made beforehand", extra=said)
        elif isinstance(error, Exception):
            self._report(f"the log of {product!r} could not be tended", error)

    def _give(self, one: _Waiting) -> None:
        try:
            one.answer()
        except Exception as error:  # noqa: BLE001 - a fault of ours in one answer's bytes is none in the others'
            self._report("an answer could not be handed out", error)
            one.fail(_failed(is_versions=False))

    def _report(self, said: str, error: Exception) -> None:
        """A fault of ours, with its traceback, to whoever reports those of the loop."""
        assert self._loop is not None
        self._loop.call_exception_handler({"message": said, "exception": error})

    def _show_full(self, product: str, error: Exception | None) -> None:
        is_full = isinstance(error, LogFullError)
        if is_full is (product in self._shown_full):
            return
        self._metrics.log_full.labels(product).set(is_full)
        (self._shown_full.add if is_full else self._shown_full.discard)(product)


def _records(group: Sequence[_Waiting]) -> list[bytes]:
    return [answer.record for one in group for answer in one.records]


def _may_go_unlogged(engine: Engine, error: Exception) -> bool:
    """Whether a product declares that it answers all the same: without room, and for nothing else that is wrong with the log."""
    return isinstance(error, LogFullError) and engine.deployment.log_full is LogFull.ANSWER


def _failed(*, is_versions: bool = True) -> Problem:
    said = "Something went wrong here that is not the request's fault. The service's log says what."
    return Problem(500, "failed", said, is_versions=is_versions)


def _unlogged(error: LogError) -> Problem:
    code = LOG_CODES[0] if isinstance(error, LogFullError) else LOG_CODES[1]
    said = f"The answer could not be recorded, so it is not given: {error}"
    return Problem(503, code, said, retry_after=5)


def _combined(wrong: list[tuple[int, ServingError]], count: int) -> BaseException:
    """One error for a request of several instances, which names them."""
    first = wrong[0][1]
    if count == 1:
        return first
    fields = {f"instances[{place}]": str(error) for place, error in wrong[:20]}
    is_callers_to_mend = all(isinstance(error, RequestError) for _, error in wrong)
    return Problem(
        *((422, "invalid") if is_callers_to_mend else (500, "failed")),
        f"{len(wrong)} of {count} instances cannot be answered, so none is. The first, instance {wrong[0][0]}: {first}",
        fields=fields,
        causes=dict(wrong),
    )
