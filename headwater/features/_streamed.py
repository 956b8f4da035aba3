"""How a feature table is carried on from a stream between two publications."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import polars as pl

from headwater.features.errors import FeatureViewError
from headwater.lengths import LONGEST

_INSTANT: Final = timedelta(microseconds=1)
"""Times are whole microseconds."""


@dataclass(frozen=True, kw_only=True)
class StreamedView:
    """A feature view whose newest rows come from a stream.

    A row of event time T counts events from `T - lookback` up to, but not at T. With `inclusive` it counts those at T too, as a
    row does that is one event. It is known at `T + known_after` or later, in the batch table as well: no service can have it
    before its events have come in and a round has added it. Each time is a hundred years at most.

    Attributes:
        view: Name of the feature view.
        events: Lake path of the stream's table.
        lookback: How far back a row reads events; at least the longest window.
        compute: The very function that makes the feature table, from events to its rows. Of the events of a stretch of time it
            makes, for each T from one lookback after the beginning on, the rows that it makes of all events.
        known_after: How long after its event time a row is known; at least the stream's `arrives_within`. The difference is left for
            reading, computing, and the time between two rounds.
        windows: Lengths of the windows that it counts over.
        settles: So long before the newest published row, published rows may still lack events, as when a day's file lacks
            arrivals after midnight: from then on the stream's rows take their place. Those before are final.
        inclusive: Whether a row counts events of its own event time.
    """

    view: str
    events: str
    lookback: timedelta
    compute: Callable[[pl.LazyFrame], pl.LazyFrame]
    known_after: timedelta
    windows: tuple[timedelta, ...] = ()
    settles: timedelta = timedelta(0)
    inclusive: bool = False

    def __post_init__(self) -> None:
        if self.lookback <= timedelta(0):
            self._refuse(f"its lookback is {self.lookback}.", "Give more than zero.")
        if self.windows and max(self.windows) > self.lookback:
            self._refuse(
                f"it looks {self.lookback} back and has a window of {max(self.windows)}.",
                "Look back as far as the longest window.",
            )
        for name in ("settles", "known_after"):
            if getattr(self, name) < timedelta(0):
                self._refuse(f"its {name} is {getattr(self, name)}.", "Give zero or more.")
        for name in ("lookback", "settles", "known_after"):
            if getattr(self, name) > LONGEST:
                self._refuse(f"its {name} is {getattr(self, name)}.", f"Give {LONGEST} at most.")

    @property
    def after_row(self) -> timedelta:
        """How long after its event time the events that a row counts have an end."""
        return _INSTANT if self.inclusive else timedelta(0)

    def _refuse(self, problem: str, remedy: str) -> None:
        raise FeatureViewError(view=self.view, problem=problem, remedy=remedy)
