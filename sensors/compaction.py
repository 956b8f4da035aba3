"""Compaction sensor: records that wait in a feed long enough, or in number, become a run of the table they are fed to."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from assets._bridge import asset_key
from headwater.feeds import Backlog, Feed
from headwater.materialize import POSITIONS_SUFFIX, read_positions
from headwater.product import Asset
from resources.lake import ACTOR_TAG, LakeResource
from resources.run_queue import FIRST
from sensors._busy import busy_assets

ACTOR: Final = "sensor:compaction"
TICK_SECONDS: Final = 10


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """One feed at one tick.

    Attributes:
        path: The table it feeds.
        feed: Its rules.
        taken: Data version of the published positions, empty before the first.
        backlog: What waits behind them.
    """

    path: str
    feed: Feed
    taken: str
    backlog: Backlog


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the cursor knows of a feed: the newest request.

    Attributes:
        taken: Data version of the positions then.
        at: When, in seconds since 1970.
        number: How many requests there were.
    """

    taken: str
    at: float
    number: int


def compaction_sensor(assets: Sequence[Asset]) -> dg.SensorDefinition:
    """The sensor over the fed tables among `assets`, of which there is at least one."""
    fed = [asset for asset in assets if asset.feed is not None]

    @dg.sensor(
        name="compaction",
        asset_selection=dg.AssetSelection.assets(*(asset_key(asset.path) for asset in fed)),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes what was answered out of the prediction log into the lake.",
    )
    def body(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        found = waiting(fed, lake)
        asked = {path: Asked(**item) for path, item in json.loads(context.cursor or "{}").items()}
        busy = busy_assets(context.instance, frozenset(asset.path for asset in fed))
        now = datetime.now(UTC)
        due = due_tables(found, asked, busy=busy, now=now)
        later = remembered(found, asked, due, now=now)
        records = sum(item.backlog.records for item in found)
        return dg.SensorResult(
            run_requests=[_request(path, later[path]) for path in due],
            skip_reason=None if due else f"{records} records wait; none of them long enough.",
            cursor=json.dumps({path: vars(item) for path, item in later.items()}, sort_keys=True),
        )

    return body


def waiting(assets: Sequence[Asset], lake: LakeResource) -> tuple[Waiting, ...]:
    """What waits in the feeds of some tables, counted as far as their rules ask."""
    settings = lake.settings()
    now = lake.open().at(settings.branch)
    found = []
    for asset in assets:
        assert asset.feed is not None
        aside = asset.path + POSITIONS_SUFFIX
        taken = now.entry(aside).data_version if now.has(aside) else ""
        folder, positions = settings.state / asset.feed.folder, read_positions(now, asset.path)
        backlog = asset.feed.backlog(folder, positions, asset.feed.least_records)
        found.append(Waiting(path=asset.path, feed=asset.feed, taken=taken, backlog=backlog))
    return tuple(found)


def due_tables(
    found: Sequence[Waiting], asked: Mapping[str, Asked], *, busy: Collection[str], now: datetime
) -> tuple[str, ...]:
    """The tables to build now: enough waits, none of their runs is on its way, and the newest one was not just in vain.

    Args:
        found: What waits.
        asked: The newest request of each.
        busy: Assets in progress.
        now: The time, UTC.
    """
    return tuple(
        item.path
        for item in found
        if item.path not in busy
        and item.feed.is_due(item.backlog, now)
        and not _was_in_vain(item, asked.get(item.path), now)
    )


def _was_in_vain(item: Waiting, asked: Asked | None, now: datetime) -> bool:
    """Whether the newest run took nothing: then the next one waits as long as a record does."""
    if asked is None or asked.taken != item.taken:
        return False
    return now.timestamp() - asked.at < item.feed.longest_wait.total_seconds()


def remembered(
    found: Sequence[Waiting], asked: Mapping[str, Asked], due: Collection[str], *, now: datetime
) -> Mapping[str, Asked]:
    """The next cursor: the newest request of each table."""
    later = dict(asked)
    for item in found:
        if item.path in due:
            before = asked.get(item.path)
            number = before.number + 1 if before else 1
            later[item.path] = Asked(taken=item.taken, at=now.timestamp(), number=number)
    return later


def _request(path: str, asked: Asked) -> dg.RunRequest:
    tags: dict[str, Any] = {ACTOR_TAG: ACTOR, **FIRST}
    return dg.RunRequest(
        run_key=f"compact/{path}/{asked.number}/{asked.taken}", asset_selection=[asset_key(path)], tags=tags
    )
