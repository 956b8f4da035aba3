"""What was used, as it stands on record: commits, rebuilds that came out equal, refusals, and answers."""

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Final

import polars as pl

from headwater.lake import Commit, Lake
from headwater.provenance import Provenance

_REMOVING: Final = ("remove", "revert")
"""Actions after which a path may not stand any more."""


class Kind(StrEnum):
    """How a materialization ended."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    """It came out equal. Of each path the lake keeps the newest few records only."""
    REFUSED = "refused"
    """A check failed. On record as long as its branch is there."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """One transaction and what it used.

    Attributes:
        record: Its provenance.
        kind: How it ended.
        time: When, UTC.
        commit: Its commit; empty for one that came out equal.
        removed: Paths that stood before it, and not after.
    """

    record: Provenance
    kind: Kind
    time: datetime
    commit: str = ""
    removed: tuple[str, ...] = ()

    @property
    def products(self) -> tuple[str, ...]:
        """The products that it wrote for."""
        return tuple(sorted({output.path.split("/", 1)[0] for output in self.record.outputs}))


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What one version answered on one day.

    Attributes:
        product, version: Who.
        day: UTC day of the requests' receipt.
        requests: Predictions.
        seconds: From receipt to record, all together.
    """

    product: str
    version: str
    day: date
    requests: int
    seconds: float


def spent(lake: Lake, branch: str) -> tuple[Spent, ...]:
    """Every transaction on record, oldest first; each once. Published ones stand in the order of the log, whatever the clocks said.

    A commit without a record was made by others, and nobody knows what it cost. A run that failed before it wrote anything has
    none either.

    Args:
        lake: The lake.
        branch: Whose history.
    """
    found: dict[str, tuple[datetime, Spent]] = {}
    latest = datetime.min.replace(tzinfo=UTC)
    for one in _published(lake, branch):
        latest = max(latest, one.time)
        found.setdefault(one.record.transaction, (latest, one))
    others = sorted((*_refused(lake), *_unchanged(lake, branch)), key=lambda one: (one.time, one.record.transaction))
    for one in others:
        found.setdefault(one.record.transaction, (one.time, one))
    return tuple(one for _, one in sorted(found.values(), key=lambda placed: placed[0]))


def answered(
    lake: Lake, product: str, branch: str, *, since: datetime | None = None, until: datetime | None = None
) -> tuple[Answered, ...]:
    """What each version of a product answered, by day, of the predictions that are in the lake.

    Args:
        lake: The lake.
        product: The product.
        branch: Which state of it.
        since: Requests received from this instant on; None from the first.
        until: Those before this instant; None to the last.
    """
    snapshot, path = lake.at(branch), f"{product}/predictions"
    if not snapshot.has(path):
        return ()
    inside = pl.lit(True)
    if since is not None:
        inside &= pl.col("received") >= since.astimezone(UTC)
    if until is not None:
        inside &= pl.col("received") < until.astimezone(UTC)
    rows = (
        snapshot.table(path)
        .filter(inside)
        .group_by("version", day=pl.col("received").dt.convert_time_zone("UTC").dt.date())
    )
    counted = rows.agg(requests=pl.len(), seconds=pl.col("latency_us").sum() / 1e6).sort("day", "version").collect()
    return tuple(Answered(product=product, **row) for row in counted.to_dicts())


def _published(lake: Lake, branch: str) -> Iterator[Spent]:
    """The log, oldest first."""
    written: set[str] = set()
    for commit in reversed([*lake.log(branch)]):
        if (record := commit.provenance) is None:
            continue
        outputs = {output.path for output in record.outputs}
        removed = _removed(lake, commit, written - outputs) if record.action in _REMOVING else ()
        written = (written | outputs) - {*removed}
        yield replace(_of(commit, record, Kind.PUBLISHED), removed=removed)


def _removed(lake: Lake, commit: Commit, paths: Set[str]) -> tuple[str, ...]:
    """Those of some paths that a commit changed: it has no output there, so they went. The log says that of collected commits too."""
    newest = {path: next(lake.log(commit.id, path=path, limit=1), None) for path in sorted(paths)}
    return tuple(path for path, found in newest.items() if found is not None and found.id == commit.id)


def _refused(lake: Lake) -> Iterator[Spent]:
    for ref in lake.branches():
        if ref.name.startswith("tx-"):
            commit = lake.resolve(ref.commit)
            if commit.provenance is not None and commit.provenance.action == "refuse":
                yield _of(commit, commit.provenance, Kind.REFUSED)


def _unchanged(lake: Lake, branch: str) -> Iterator[Spent]:
    for path in lake.at(branch).paths():
        for record in lake.attestations(path):
            yield Spent(record=record, kind=Kind.UNCHANGED, time=_started(record))


def _of(commit: Commit, record: Provenance, kind: Kind) -> Spent:
    return Spent(record=record, kind=kind, time=commit.created, commit=commit.id)


def _started(record: Provenance) -> datetime:
    if not record.started:
        return datetime(1970, 1, 1, tzinfo=UTC)
    found = datetime.fromisoformat(record.started)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
