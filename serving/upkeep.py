"""Takes out of an online store what nobody looks up any more. Several services, of several versions, may share one.

Nobody knows who else uses a store. So each service marks the names that it answers from, or may go back to, every five minutes, and
takes out a name whose mark no look of an hour saw move. It counts its own looks and reads no clock: whoever was held up for a day,
and sees old marks when it goes on, begins to count then. Who loses a name all the same, as one that stood still for longer, publishes
it again with its next look.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from headwater.errors import HeadwaterError
from headwater.features.online import OnlineStore
from serving.errors import name_of

_LOG: Final = logging.getLogger("headwater.serving")
_BY_SHAPE: Final = re.compile(r"(?P<product>.+)\.[0-9a-f]{16}")
"""Names that `store_name` gives. Others are somebody's own, and left."""


class Upkeep:
    """What one service does for the store that it shares."""

    def __init__(self, store: OnlineStore, *, every: float = 300.0, looks: int = 12) -> None:
        """Begins to count.

        Args:
            store: The store.
            every: Seconds between two looks at it, at least.
            looks: How many looks in a row a mark has to stand still.
        """
        self._store, self._every, self._looks = store, every, looks
        self._looked: float | None = None
        self._still: dict[str, tuple[str, int]] = {}
        self._working = threading.Lock()

    def look(self, uses: Callable[[], Iterable[tuple[str, str]]]) -> tuple[str, ...]:
        """Marks what is used, and takes out what nobody has marked for long, when it is time to.

        Args:
            uses: Gives product and name of all that this service answers from or may go back to. What was published of these products by
                a Headwater that marked nothing gets its first mark here.

        Returns:
            The names that were taken out.
        """
        now = time.monotonic()
        if (self._looked is not None and now - self._looked < self._every) or not self._working.acquire(blocking=False):
            return ()
        try:
            self._looked = now
            return self._withdrawn({name: product for product, name in uses()})
        except Exception as error:  # noqa: BLE001 - it costs nobody an answer, and others could not mark anything either
            self._still.clear()
            fault = None if isinstance(error, HeadwaterError | OSError) else error
            reason = str(error) if fault is None else name_of(error)
            _LOG.warning("cannot look after the online store", extra={"reason": reason}, exc_info=fault)
            return ()
        finally:
            self._working.release()

    def _withdrawn(self, used: Mapping[str, str]) -> tuple[str, ...]:
        for name in used:
            self._store.mark(name)
        marks = self._store.marks()
        for name, mark in marks.items():
            if not mark and (found := _BY_SHAPE.fullmatch(name)) and found["product"] in used.values():
                self._store.mark(name)
        self._still = self._counted({name: mark for name, mark in marks.items() if mark and name not in used})
        old = [name for name, (_, count) in self._still.items() if count >= self._looks]
        gone = tuple(name for name in old if self._store.withdraw(name, mark=marks[name]))
        for name in gone:
            _LOG.info("took out online features that nobody uses any more", extra={"online": name})
        return gone

    def _counted(self, marks: Mapping[str, str]) -> dict[str, tuple[str, int]]:
        """By name the mark, and how many looks saw it stand still."""
        found = {}
        for name, mark in marks.items():
            before, count = self._still.get(name, ("", 0))
            found[name] = (mark, count + 1 if before == mark else 0)
        return found
