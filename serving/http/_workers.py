"""Keeps workers running: one that ends is started again, and waits longer each time that this comes to nothing."""

import logging
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_LOG: Final = logging.getLogger("headwater.serving")
_STANDS: Final = 5.0
"""Seconds after which a worker has started; one that ends before is one that could not."""
_FIRST: Final = 0.5
_LONGEST: Final = 30.0
"""Seconds before a worker that could not start is started again: at first, and at most."""


@dataclass(kw_only=True)
class _Place:
    """A worker's place: who runs there, or when the next one is started.

    Attributes:
        child: The process, None while there is none.
        since: When it was started.
        due: When the next one is.
        failures: Starts in a row that came to nothing.
    """

    child: subprocess.Popen[bytes] | None = None
    since: float = 0.0
    due: float = 0.0
    failures: int = 0


class Workers:
    """Processes of which each place has one, or soon has another."""

    def __init__(
        self,
        start: Callable[[], subprocess.Popen[bytes]],
        count: int,
        *,
        gone: Callable[[int], None],
        stands: float = _STANDS,
        first: float = _FIRST,
    ) -> None:
        """Starts them.

        Args:
            start: Starts one.
            count: How many.
            gone: Told the number of each process that ended by itself.
            stands: Seconds after which one has started.
            first: Seconds that the first wait takes; each next one is twice as long, up to half a minute.

        Raises:
            OSError: The system starts no process.
        """
        self._start, self._gone, self._stands, self._first = start, gone, stands, first
        self._has_stood = False
        self._places = [_Place() for _ in range(count)]
        try:
            for place in self._places:
                place.child, place.since = start(), time.monotonic()
        except OSError:
            self.end(patience=0)
            raise

    def look(self) -> bool:
        """Looks after each place once.

        Returns:
            False when a worker ended by itself at its start and none ever stood: nobody could then.
        """
        for number, place in enumerate(self._places, start=1):
            now = time.monotonic()
            if place.child is None:
                self._again(number, place, now)
            elif (code := place.child.poll()) is None:
                self._stood(number, place, now)
            elif not self._ended(number, place, code, now):
                return False
        return True

    def end(self, *, patience: float) -> None:
        """Asks all to end, and kills who has not after so many seconds."""
        children = [place.child for place in self._places if place.child is not None]
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(timeout=patience)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _stood(self, number: int, place: _Place, now: float) -> None:
        if now - place.since < self._stands:
            return
        self._has_stood = True
        if place.failures:
            _LOG.info("worker %d runs again", number, extra={"failures": place.failures})
            place.failures = 0

    def _ended(self, number: int, place: _Place, code: int, now: float) -> bool:
        """Notes the end of a worker. False when nobody can start."""
        assert place.child is not None
        how, process, lasted = _said(code), place.child.pid, now - place.since
        if lasted >= self._stands:
            self._has_stood, place.failures = True, 0
        else:
            place.failures += 1
        is_hopeless = code > 0 and not self._has_stood
        self._gone(process)
        place.child = None
        if not is_hopeless:
            self._wait(number, place, f"process {process} ended by {how}", now)
        return not is_hopeless

    def _wait(self, number: int, place: _Place, what: str, now: float) -> None:
        seconds = min(self._first * 2 ** min(place.failures - 1, 16), _LONGEST) if place.failures else 0.0
        place.due = now + seconds
        said = (
            "What it wrote before says why"
            if place.failures < 2
            else "Mend what it wrote before; it comes by itself then"
        )
        _LOG.error(
            "worker %d: %s. %s; the other workers go on", number, what, said,
            extra={"failures": place.failures, "started_again_in": round(seconds, 3)},
        )  # fmt: skip

    def _again(self, number: int, place: _Place, now: float) -> None:
        if now < place.due:
            return
        try:
            place.child, place.since = self._start(), now
        except OSError as error:  # no process or memory to be had: the others need not end for it
            place.failures += 1
            self._wait(number, place, f"could not be started ({error.strerror or error})", now)


def _said(code: int) -> str:
    """How a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
