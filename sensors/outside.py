"""Outside-commit sensor: what somebody put into the lake without Dagster becomes an event, and what is below follows."""

from collections.abc import Iterator, Sequence
from typing import Final

import dagster as dg

from headwater.lake import Commit, Lake
from headwater.lake.errors import CollectedCommitError
from headwater.materialize import BY_HAND
from headwater.product import Asset
from resources.lake import LakeResource
from sensors._reports import Standing, materialization, standings

ACTOR: Final = "sensor:outside_commits"
TICK_SECONDS: Final = 5


def outside_sensor(assets: Sequence[Asset]) -> dg.SensorDefinition:
    """The sensor over the lake's main branch. Its first tick remembers the head; reconciliation reports the past."""
    known = frozenset(asset.path for asset in assets)

    @dg.sensor(
        name="outside_commits",
        asset_selection=dg.AssetSelection.all(),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports what reached the lake's main branch without a Dagster run.",
    )
    def body(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        opened, branch = lake.open(), lake.settings().branch
        head = opened.resolve(branch).id
        commits = outside(since(opened, head, context.cursor)) if context.cursor else ()
        events = [materialization(item, actor=ACTOR) for item in still_standing(opened, head, commits, known)]
        reason = None if events else f"No outside commit up to {head[:12]}."
        return dg.SensorResult(asset_events=events, cursor=head, skip_reason=reason)

    return body


def since(lake: Lake, head: str, cursor: str) -> tuple[Commit, ...]:
    """The commits after `cursor`, oldest first; none when the history no longer holds it."""
    found: list[Commit] = []
    for commit in lake.log(head):
        if commit.id == cursor:
            return tuple(reversed(found))
        found.append(commit)
    return ()


def outside(commits: Sequence[Commit]) -> tuple[Commit, ...]:
    """Those that no Dagster run made: no record, no run, or put there by hand (revert, import, merge)."""
    return tuple(commit for commit in commits if _is_outside(commit))


def _is_outside(commit: Commit) -> bool:
    record = commit.provenance
    return record is None or record.run_id is None or record.action in BY_HAND


def still_standing(lake: Lake, head: str, commits: Sequence[Commit], known: frozenset[str]) -> Iterator[Standing]:
    """What the commits put there and no later one replaced: an older version reported now would look like the newest."""
    now = lake.at(head)
    standing = {item for path in known if now.has(path) for item in map(_named, standings(now.entry(path), head))}
    for item in _changed(lake, commits, known):
        if _named(item) in standing:
            yield item


def _named(item: Standing) -> tuple[str, str | None, str]:
    return item.path, item.partition, item.data_version


def _changed(lake: Lake, commits: Sequence[Commit], known: frozenset[str]) -> Iterator[Standing]:
    for commit in commits:
        for parent in commit.parents[:1]:
            try:
                changes = lake.diff(parent, commit.id, two_dot=True).changes
            except CollectedCommitError:  # while nobody looked
                yield from _recorded(commit, known)
                continue
            for change in changes:
                if change.after is not None and change.path in known:
                    yield from standings(change.after, commit.id, change.before)


def _recorded(commit: Commit, known: frozenset[str]) -> Iterator[Standing]:
    """What a commit put there as its record says."""
    for output in commit.provenance.outputs if commit.provenance is not None else ():
        if output.path in known:
            version = output.data_version if output.partition is None else output.partition_version
            yield Standing(path=output.path, partition=output.partition, data_version=version or "", commit=commit.id)
