"""Who still calls versions that answer nobody any more, retired or no longer served: counts by product, version, caller and day.

They are kept in one small file for all of a service's processes.

A refused call is no prediction, so the log has none of it, and a metric is gone with its process. Counts are bounded by what there is to
count: whoever calls again and again adds to one row.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from serving.errors import ServingError

RETIRED_FILE: Final = "retired_calls.db"
"""Beside the prediction logs of the products."""
_Key = tuple[str, str, str, str]
_LOG: Final = logging.getLogger("headwater.serving")
_PATIENCE: Final = 5.0
_RETIRED, _NOT_SERVED = "calls", "not_served"
"""Tables: the first is as an older Headwater has it, which may write to the same file."""
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS {} (product TEXT, version TEXT, caller TEXT, day TEXT, calls INTEGER NOT NULL, first INTEGER NOT NULL,
last INTEGER NOT NULL, PRIMARY KEY (product, version, caller, day)) WITHOUT ROWID
"""
_ADD: Final = """
INSERT INTO {} VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
calls = calls + excluded.calls, first = min(first, excluded.first), last = max(last, excluded.last)
"""


class RetiredCallsError(ServingError):
    """Counts of refused calls that cannot be read."""

    def __init__(self, *, file: Path, reason: str) -> None:
        super().__init__(
            f"The calls of retired versions in {file} cannot be read: {reason}. Look at the disk; move a damaged file away, and "
            "services begin another one."
        )


@dataclass(frozen=True, kw_only=True)
class RetiredCall:
    """The calls of one version by one caller on one day.

    Attributes:
        product, version: What was called.
        caller: Name of the caller's key, empty without.
        day: UTC day, `YYYY-MM-DD`.
        calls: How many.
        first, last: When, UTC.
        is_retired: Whether they were refused because the version is retired; otherwise it was not served then, as between its
            deprecation and its retirement.
    """

    product: str
    version: str
    caller: str
    day: str
    calls: int
    first: datetime
    last: datetime
    is_retired: bool = True


class RetiredCalls:
    """Counts in memory, added to the file whenever `keep` is called. Threads may note and keep at once."""

    def __init__(self, file: Path) -> None:
        """Uses a file, which need not be there yet."""
        self._file, self._lock, self._keeping = file, threading.Lock(), threading.Lock()
        self._counts: dict[tuple[str, _Key], tuple[int, int, int]] = {}
        self._has_failed = False

    def note(self, product: str, version: str, caller: str, *, is_retired: bool = True) -> None:
        """Counts one call that is refused now, of a version that is retired or that is not served. The name must be of a real one."""
        now = time.time_ns() // 1_000
        day = datetime.fromtimestamp(now / 1e6, UTC).date().isoformat()
        self._add((_RETIRED if is_retired else _NOT_SERVED, (product, version, caller, day)), (1, now, now))

    def keep(self) -> None:
        """Adds what was counted since to the file. What cannot be written now is kept for the next time, and said once."""
        with self._keeping:  # the last call finds what one before it could not write
            self._keep()

    def _keep(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with _opened(self._file) as connection, connection:
                for table in (_RETIRED, _NOT_SERVED):
                    rows = [(*key, *found) for (of, key), found in counts.items() if of == table]
                    connection.execute(_TABLE.format(table))
                    connection.executemany(_ADD.format(table), rows)
            self._has_failed = False
        except (sqlite3.Error, OSError) as error:
            for key, found in counts.items():
                self._add(key, found)
            if not self._has_failed:
                _LOG.warning("Calls of retired versions are not kept in %s for now: %s", self._file, error)
            self._has_failed = True

    def _add(self, key: tuple[str, _Key], found: tuple[int, int, int]) -> None:
        with self._lock:
            calls, first, last = self._counts.get(key, (0, found[1], found[2]))
            self._counts[key] = (calls + found[0], min(first, found[1]), max(last, found[2]))


def read_retired_calls(file: Path, product: str) -> tuple[RetiredCall, ...]:
    """The refused calls of a product's versions that are on this machine's record, by version, caller and day: of retired ones first.

    Raises:
        RetiredCallsError: The file cannot be read.
    """
    if not file.is_file():
        return ()
    try:
        with _opened(file) as connection:
            return tuple(one for table in (_RETIRED, _NOT_SERVED) for one in _rows(connection, table, product))
    except sqlite3.Error as error:
        raise RetiredCallsError(file=file, reason=str(error)) from error


def _rows(connection: sqlite3.Connection, table: str, product: str) -> Iterator[RetiredCall]:
    """The counts of one table, which need not be there."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
        return
    asked = f"SELECT * FROM {table} WHERE product = ? ORDER BY version, caller, day"
    for of, version, caller, day, calls, first, last in connection.execute(asked, (product,)):
        yield RetiredCall(
            product=of, version=version, caller=caller, day=day, calls=calls, first=_moment(first), last=_moment(last),
            is_retired=table == _RETIRED,
        )  # fmt: skip


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file, timeout=_PATIENCE)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        yield connection


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1e6, UTC)
