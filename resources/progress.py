"""Tells whoever listens in this process how a build goes. Nobody listening costs nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from headwater.materialize import Outcome


@dataclass(frozen=True, kw_only=True)
class Listener:
    """What to call when an asset starts and when it ends."""

    started: Callable[[str, str | None], None]
    ended: Callable[[Outcome], None]


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tells `listener` of every build in this context."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def telling_start(path: str, partition: str | None) -> None:
    """An asset's transaction begins."""
    if (listener := _listener.get()) is not None:
        listener.started(path, partition)


def told(outcome: Outcome) -> Outcome:
    """An asset's transaction ended; returns the outcome unchanged."""
    if (listener := _listener.get()) is not None:
        listener.ended(outcome)
    return outcome
