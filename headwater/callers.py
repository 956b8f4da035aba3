"""Who calls which version of a product: answers from its predictions, refusals from the service's own counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import polars as pl

from headwater.lake import Snapshot

_TOLD: Final = ("version", "caller", "state", "answered", "refused", "not_served")


class Refusals(Protocol):
    """Refused calls of one version by one caller on one day."""

    @property
    def version(self) -> str:
        """What was called."""
        ...

    @property
    def caller(self) -> str:
        """Name of the API key, empty without."""
        ...

    @property
    def calls(self) -> int:
        """How many."""
        ...

    @property
    def is_retired(self) -> bool:
        """Whether the version was retired then; otherwise it was not served."""
        ...

    @property
    def first(self) -> datetime:
        """When, UTC."""
        ...

    @property
    def last(self) -> datetime:
        """When, UTC."""
        ...


@dataclass(frozen=True, kw_only=True)
class Caller:
    """What one caller asked of one version.

    Attributes:
        version: The version, `ensemble` for several.
        caller: Name of the API key, empty without.
        state: Where the version stands: `live`, `deprecated`, `retired`, ...; empty for one that nobody published.
        answered: Predictions that it got.
        refused: Calls that were refused because the version is retired.
        not_served: Calls by name that were refused because the version was not served then, and not retired either.
        first, last: The first and the last of all of these, UTC.
    """

    version: str
    caller: str
    state: str
    answered: int
    refused: int
    not_served: int
    first: datetime
    last: datetime

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        told = {name: getattr(self, name) for name in _TOLD}
        times = {name: getattr(self, name).astimezone(UTC).isoformat() for name in ("first", "last")}
        return {**told, **times}


def callers(
    snapshot: Snapshot,
    product: str,
    refusals: Iterable[Refusals],
    states: Mapping[str, str],
    *,
    version: str | None = None,
    since: datetime | None = None,
) -> tuple[Caller, ...]:
    """Who called which version, those who called last first.

    Args:
        snapshot: The lake; answers that are not compacted yet are not in it.
        product: The product.
        refusals: What the service refused.
        states: Versions to where they stand.
        version: This version alone.
        since: Only calls from then on; refusals are counted by the day, and their last call decides.
    """
    rows = [_from_answers(row) for row in _answered(snapshot, product, since)]
    rows += [
        (one.version, one.caller, (0, one.calls, 0) if one.is_retired else (0, 0, one.calls), one.first, one.last)
        for one in refusals
        if since is None or one.last >= since
    ]
    found: dict[tuple[str, str], Caller] = {}
    for name, caller, counts, first, last in rows:
        if version is not None and name != version:
            continue
        before = found.get((name, caller))
        stood = (before.answered, before.refused, before.not_served) if before else (0, 0, 0)
        answered, refused, not_served = (one + more for one, more in zip(counts, stood, strict=True))
        found[name, caller] = Caller(
            version=name,
            caller=caller,
            state=states.get(name, ""),
            answered=answered,
            refused=refused,
            not_served=not_served,
            first=min(first, before.first) if before else first,
            last=max(last, before.last) if before else last,
        )
    return tuple(sorted(found.values(), key=lambda one: (one.last, one.version, one.caller), reverse=True))


def _answered(snapshot: Snapshot, product: str, since: datetime | None) -> list[dict[str, Any]]:
    path = f"{product}/predictions"
    if not snapshot.has(path):
        return []
    rows = snapshot.table(path)
    if since is not None:
        rows = rows.filter(pl.col("received") >= since)
    counted = rows.group_by("version", "caller").agg(
        answered=pl.len(), first=pl.col("received").min(), last=pl.col("received").max()
    )
    return counted.collect().to_dicts()


def _from_answers(row: Mapping[str, Any]) -> tuple[str, str, tuple[int, int, int], datetime, datetime]:
    return row["version"], row["caller"] or "", (row["answered"], 0, 0), row["first"], row["last"]
