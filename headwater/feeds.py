"""What a table is fed from: records that arrive outside the lake, appended once, with the positions up to which they were taken.

Rows and positions reach the lake in one commit. So a build that is killed has taken nothing or all of what it took, and what
a feed may forget is what the positions on main cover.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

Positions: TypeAlias = Mapping[str, Any]
"""JSON values whose meaning is the feed's own; empty before anything was taken."""


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What waits in a feed.

    Attributes:
        records: Records that were not taken yet, or as many as were asked about.
        oldest: When the first of them arrived (UTC), None when none waits.
    """

    records: int
    oldest: datetime | None


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Where a table's rows come from, and when they are taken.

    Attributes:
        folder: Folder below the state folder in which records arrive; it need not be there.
        backlog: What waits behind some positions; counts as far as its third argument.
        settle: Forgets what positions on main cover. Called after each build, also after one that a kill cut short before.
        least_records: So many waiting records start a build.
        longest_wait: So long a waiting record may wait for others.
    """

    folder: str
    backlog: Callable[[Path, Positions, int], Backlog]
    settle: Callable[[Path, Positions], None]
    least_records: int = 10_000
    longest_wait: timedelta = timedelta(minutes=1)

    def is_due(self, backlog: Backlog, now: datetime) -> bool:
        """Whether what waits is enough, or waits long enough, for a build."""
        if backlog.oldest is None:
            return False
        # Of a time that lies ahead, by a clock that went wrong, nobody knows how long ago it was.
        return backlog.records >= self.least_records or abs(now - backlog.oldest) >= self.longest_wait


@dataclass(frozen=True, kw_only=True)
class Appended:
    """What the function of a fed table returns.

    Attributes:
        data: Rows to add; of `replaces`, all rows.
        positions: Up to where records were taken.
        rejected: Records that are no rows, added to the table at `<path>.rejected`.
        replaces: Whether `data` is all that shall stand.
        rejected_replaces: Whether `rejected` is all that shall stand there.
        facts: Small JSON values kept in the commit's provenance.
    """

    data: pl.DataFrame | pl.LazyFrame
    positions: Positions
    rejected: pl.DataFrame | None = None
    replaces: bool = False
    rejected_replaces: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
