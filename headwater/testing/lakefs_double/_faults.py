"""Faults on demand: slow answers, error answers, lost answers, a store that ignores conditional writes."""

import re
import threading
from dataclasses import dataclass, field
from enum import StrEnum


class Drop(StrEnum):
    """When the connection is cut."""

    NEVER = "never"
    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with the requests that match.

    Attributes:
        method: HTTP method, `*` for any.
        path: Regular expression searched in `path?query`.
        times: How many matching requests it hits.
        skip: How many matching requests pass before.
        status: Answer with this status instead of doing the work; 0 does the work.
        retry_after: Seconds that an answer with `status` asks clients to wait; 0 asks nothing.
        delay: Seconds to wait first.
        drop: Cut the connection before the work is done, or after it (a lost answer).
        unconditional: Ignore `If-None-Match` and `If-Match`, as an unsafe store does.
    """

    method: str = "*"
    path: str = ""
    times: int = 1
    skip: int = 0
    status: int = 0
    retry_after: int = 0
    delay: float = 0.0
    drop: Drop = Drop.NEVER
    unconditional: bool = False


@dataclass(kw_only=True)
class _Armed:
    fault: Fault
    seen: int = 0
    hits: int = 0


@dataclass(kw_only=True)
class Faults:
    """The faults of one server, safe to change while it serves."""

    _armed: list[_Armed] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> None:
        """Arms a fault; several may stand, the first that matches hits."""
        with self._lock:
            self._armed.append(_Armed(fault=fault))

    def clear(self) -> None:
        """Disarms all."""
        with self._lock:
            self._armed.clear()

    @property
    def hits(self) -> int:
        """How many requests were hit by the faults that stand."""
        with self._lock:
            return sum(armed.hits for armed in self._armed)

    def hit(self, method: str, target: str) -> Fault | None:
        """The fault that hits this request, None when it goes well."""
        with self._lock:
            for armed in self._armed:
                fault = armed.fault
                if fault.method not in ("*", method) or not re.search(fault.path, target):
                    continue
                armed.seen += 1
                if armed.seen > fault.skip and armed.hits < fault.times:
                    armed.hits += 1
                    return fault
        return None
