"""Awkward events, a rival consumer, and the claim that each event is there once."""

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

from headwater.lake import Lake
from headwater.streams import EventLog, Limits, LogBatch, read_state
from tests.streams.scenario import PATH, SOURCE, minute, numbers, places, reading, rows_of

TABLES = (PATH, SOURCE.late_path, SOURCE.rejected_path)


class Feed:
    """Sends readings out of order, some of them twice, some of them late, some of them no readings."""

    def __init__(self, log: EventLog, seed: int) -> None:
        self.log, self.draw, self.sent = log, random.Random(seed), 0
        self.numbers: set[int] = set()
        self.bad = 0

    def send(self, count: int) -> None:
        fresh = list(range(self.sent, self.sent + count))
        again = self.draw.choices(range(self.sent + count), k=count // 3)
        self.sent += count
        self.numbers.update(fresh)
        # A reading's time follows from its number, so that one that is sent again is the same; every ninth is an hour behind.
        events = [reading(n, n * 0.5 - (60 if n % 9 == 8 else 0)) for n in (*fresh, *again)]
        events += [b"{torn", reading(-1, 10_000_000)]
        self.bad += 2
        self.draw.shuffle(events)
        for first in range(0, len(events), 5):
            self.log.append(
                events[first : first + 5], partition=self.draw.randrange(4), at=minute(self.sent * 0.5 + first)
            )


def check_each_once(lake: Lake, feed: Feed, log: EventLog) -> None:
    """Every number once, every malformed event once, every place of the log at most once, and the books balance."""
    taken = numbers(lake) + numbers(lake, SOURCE.late_path)
    assert Counter(taken) == Counter(feed.numbers)
    assert rows_of(lake.at("main"), SOURCE.rejected_path).height == feed.bad
    found = places(lake, TABLES)
    assert len(found) == len(set(found))
    state = read_state(lake.at("main"), PATH)
    assert state is not None
    assert state.offsets == log.ends()
    assert state.totals.events == sum(log.ends().values())
    assert state.totals.taken + state.totals.late == len(feed.numbers)
    assert lake.verify().clean


class Interrupted:
    """A log behind which something happens after it was read: what another consumer does meanwhile."""

    def __init__(self, log: EventLog, meanwhile: Any) -> None:
        self._log, self._meanwhile = log, meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def read(self, offsets: Mapping[int, int], *, limits: Limits) -> LogBatch:
        batch = self._log.read(offsets, limits=limits)
        meanwhile, self._meanwhile = self._meanwhile, lambda: None
        meanwhile()
        return batch
