"""What could not be answered, counted by version and written down about once a second, for who decides about versions.

The counters of `/metrics` begin at zero in each process and know no version of a request that failed. A kill loses what was counted
since the last write; a log that cannot be written is told once, and tried again.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from headwater.names import NO_VERSION
from serving.engine import Asked, Engine, ExplanationError, RefusedLookupError, RefusedValuesError
from serving.errors import ServingError
from serving.http._desk import BUSY, FEATURES_AWAY, LOG_CODES
from serving.http._wire import Problem
from serving.prediction_log import FailureRecord, LogError, LogWriter, encode_failure

_LOG: Final = logging.getLogger("headwater.serving")
SEGMENT_BYTES: Final = 64 * 2**10
"""Of a log that is mostly empty."""
_OF_NO_VERSION: Final = frozenset((*LOG_CODES, FEATURES_AWAY, BUSY))
"""Codes of what the service could not do, whichever version was drawn."""
_OF_CALLERS: Final = (RefusedLookupError, ExplanationError)
_Key = tuple[str, str, str, str]


def failures_among(engine: Engine, asked: Sequence[Asked], error: Problem | ServingError) -> list[Asked]:
    """Of a request that got no answer, the instances for which some version could have had one: all others are their caller's doing.

    Args:
        engine: Who was asked.
        asked: The instances of one request.
        error: What became of it.
    """
    causes = _causes(asked, error)
    found = {place: cause for place, cause in causes.items() if not isinstance(cause, _OF_CALLERS)}
    refused = [place for place, cause in found.items() if isinstance(cause, RefusedValuesError)]
    try:
        taken = engine.others_take([asked[place] for place in refused]) if refused else []
    except Exception:  # noqa: BLE001 - nobody can say, nobody is blamed, and what the request failed on is told
        taken = [False] * len(refused)
    callers = {place for place, is_taken in zip(refused, taken, strict=True) if not is_taken}
    return [asked[place] for place in found if place not in callers]


def _causes(asked: Sequence[Asked], error: Problem | ServingError) -> Mapping[int, Exception]:
    """By place why an instance got no answer; nothing of a request whose caller wanted too much."""
    if isinstance(error, Problem) and error.is_callers:
        return {}
    if isinstance(error, Problem) and error.causes is not None:
        return error.causes
    return dict.fromkeys(range(len(asked)), error)


class Failures:
    """One worker's counts."""

    def __init__(self, open_log: Callable[[str], LogWriter] | None = None) -> None:
        """Prepares.

        Args:
            open_log: Opens the log of failures of a product; None counts for nobody.
        """
        self._open_log = open_log
        self._logs: dict[str, LogWriter] = {}
        self._counts: dict[_Key, tuple[int, int]] = {}
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        """One at a time opens, writes and ends logs: at the end a thread may still be about it."""

    def note(self, engine: Engine, asked: Sequence[Asked], code: str, *, is_versions: bool = True) -> None:
        """Counts a request that got no answer: once for each version that was drawn for part of it, unless none had a part in it.

        What named its version was drawn for none, and so was what a draw fails on: that counts for no version.

        Args:
            engine: Who was asked.
            asked: Its instances that got none, but those that their caller asked wrongly.
            code: What became of it.
            is_versions: Whether a version may have had a part in it, as far as it was seen; some codes say that none had.
        """
        is_nobodys = not is_versions or code in _OF_NO_VERSION
        drawn = (NO_VERSION if one.version or is_nobodys else _variant(engine, one) for one in asked)
        for version in dict.fromkeys(drawn):
            self._count((engine.product, version, code, engine.deployment.commit))

    def note_unready(self, product: str, code: str) -> None:
        """Counts a request to a product that nothing is live of."""
        self._count((product, NO_VERSION, code, ""))

    def prepare(self, products: Iterable[str]) -> None:
        """Opens the logs of products that may be asked next, while the disk has room."""
        with self._writing:
            for product in list(products):
                self._log_of(product)

    def write(self) -> None:
        """Writes what was counted; what cannot be written now is kept for the next time."""
        with self._writing:
            self._write()

    def close(self) -> None:
        """Writes the rest and ends the logs; none is opened any more."""
        with self._writing:
            self._write()
            self._open_log = None
            for product, log in self._logs.items():
                try:
                    log.close()
                except LogError as error:
                    self._tell(product, error)
            self._logs.clear()

    def _count(self, key: _Key) -> None:
        if self._open_log is None:
            return
        with self._lock:
            self._counts[key] = (self._counts.get(key, (0, 0))[0] + 1, time.time_ns() // 1_000)

    def _write(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, {}
        for product in sorted({key[0] for key in counts}):
            own = {key: found for key, found in counts.items() if key[0] == product}
            log = self._log_of(product)
            if log is None:
                self._keep(own)
                continue
            try:
                log.append([_record(key, *found) for key, found in own.items()])
                self._told.discard(product)
            except LogError as error:
                self._tell(product, error)
                self._keep(own)

    def _keep(self, counts: dict[_Key, tuple[int, int]]) -> None:
        with self._lock:
            for key, (count, at) in counts.items():
                more = self._counts.get(key, (0, at))
                self._counts[key] = (more[0] + count, more[1])

    def _log_of(self, product: str) -> LogWriter | None:
        if self._open_log is None:
            return None
        if product not in self._logs:
            try:
                self._logs[product] = self._open_log(product)
            except LogError as error:
                self._tell(product, error)
                return None
        return self._logs[product]

    def _tell(self, product: str, error: LogError) -> None:
        """Says it once until it is over: it is tried every second, and a full disk may hold this log too."""
        if product not in self._told:
            self._told.add(product)
            _LOG.error("failures cannot be written", extra={"product": product, "reason": str(error)})


def _variant(engine: Engine, one: Asked) -> str:
    try:
        return engine.variant(one)
    except Exception:  # noqa: BLE001 - the draw is what the request failed on, and its caller is still to be told
        return NO_VERSION


def _record(key: _Key, count: int, at: int) -> bytes:
    product, version, code, commit = key
    return encode_failure(
        FailureRecord(failed_product=product, version=version, code=code, at=at, count=count, commit=commit)
    )
