"""What a product gives so that its past can be played again: what was asked on each day, and what was known at its end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol

import polars as pl


class ReplayRequest(NamedTuple):
    """One question to the service.

    Attributes:
        id: The same whenever the day is read: asked under the play's own name (`asked_in`), what is asked again after a kill is known to be
            the same.
        at: The prediction time (UTC).
        entity: Fields of the request, JSON values.
    """

    id: str
    at: datetime
    entity: Mapping[str, Any]


class ReplayEvent(NamedTuple):
    """One event of a stream.

    Attributes:
        arrives: When it comes in (UTC).
        data: Its bytes, as the log takes them.
    """

    arrives: datetime
    data: bytes


@dataclass(frozen=True, kw_only=True)
class ReplayDay:
    """One day.

    Attributes:
        day: The day, on the product's own calendar.
        begin: Its first instant (UTC).
        end: The instant behind its last (UTC): what was known by then has landed.
        requests: What is asked during the day, in the order of prediction times.
        files: Source and partition to the rows of the landed file as it stands at the day's end, text as it arrived.
    """

    day: date
    begin: datetime
    end: datetime
    requests: tuple[ReplayRequest, ...]
    files: Mapping[tuple[str, str | None], pl.DataFrame]


class ReplaySource(Protocol):
    """A product's past."""

    def days(self, first: date, last: date) -> Iterator[ReplayDay]:
        """Each day from `first` to `last`, inclusive, in order."""
        ...

    def events(self, start: datetime, end: datetime) -> Mapping[str, Sequence[ReplayEvent]]:
        """What comes in from one instant up to, but not at, another: lake path of a stream to its events, in order."""
        ...
