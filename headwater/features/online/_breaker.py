"""Spares whoever looks up the wait for a server that does not answer: the first failure is waited for, those after it come at once."""

import threading
from collections.abc import Callable
from typing import Final

from headwater.features.errors import OnlineStoreError

PAUSE: Final = 0.25
"""Seconds between two attempts to reach the server again, in a thread of its own; and the least for which lookups fail at once."""


class Breaker:
    """Closed while the server answers, open from a failure until it answers again."""

    def __init__(self, probe: Callable[[], None], *, pause: float = PAUSE) -> None:
        """Closed.

        Args:
            probe: Asks the server for anything; raises OnlineStoreError while it is away.
            pause: Seconds before each attempt.
        """
        self._probe, self._pause = probe, pause
        self._away: OnlineStoreError | None = None
        self._ended, self._opening = threading.Event(), threading.Lock()

    def check(self) -> None:
        """Raises OnlineStoreError at once while it is open, with the newest reason."""
        if (away := self._away) is not None:
            raise away.again()

    def open(self, error: OnlineStoreError) -> None:
        """Lets everybody fail at once from now on, until the server answers."""
        with self._opening:
            if self._away is not None or self._ended.is_set():
                return
            self._away = error
        threading.Thread(target=self._wait, name="online-store-probe", daemon=True).start()

    def close(self) -> None:
        """Ends: nothing is asked any more."""
        self._ended.set()

    def _wait(self) -> None:
        try:
            while not self._ended.wait(self._pause):
                try:
                    self._probe()
                    return
                except OnlineStoreError as error:
                    self._away = error
        finally:  # also after a fault of ours: then the next lookup finds out for itself
            self._away = None
