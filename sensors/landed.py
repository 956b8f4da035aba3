"""Landed-data sensor: a file that arrived or changed becomes a run of its landing asset."""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import dagster as dg

from assets._bridge import asset_key
from assets._plan import Stale, stale_assets
from headwater.lake import Lake
from headwater.materialize import landed_sha256, record_of
from headwater.product import Asset
from resources.lake import ACTOR_TAG, ONLY_STALE_TAG, LakeResource
from resources.settings import Settings

ACTOR: Final = "sensor:landed_data"
TICK_SECONDS: Final = 5
PATIENCE: Final = 4.5
"""Seconds for which a tick looks: Dagster's daemon begins no tick within five seconds of the one before."""
SETTLE: Final = 1.0
"""Seconds for which nobody may have written a file before it is taken."""
_PAUSE: Final = 0.2
_WAITS: Final = 0
_TAKEN: Final = 1

Stat: TypeAlias = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class LandedFile:
    """A file in the landing folder.

    Attributes:
        path: Its landing asset.
        partition: Its partition, or None.
        name: Its name below `<landing>/<product>/`.
        stat: Modification time in nanoseconds, and size in bytes.
    """

    path: str
    partition: str | None
    name: str
    stat: Stat

    @property
    def key(self) -> str:
        """What the cursor calls it."""
        return f"{self.path.split('/', 1)[0]}/{self.name}"


def landed_sensor(assets: Sequence[Asset], *, patience: float = PATIENCE) -> dg.SensorDefinition:
    """The sensor over the landing assets among `assets`, whose ticks look for so many seconds."""
    landing = [asset for asset in assets if asset.landed]

    @dg.sensor(
        name="landed_data",
        asset_selection=dg.AssetSelection.assets(*(asset_key(asset.path) for asset in landing)),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a landing asset for each file that differs from what the lake was built from.",
    )
    def body(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        settings = lake.settings()
        seen = json.loads(context.cursor or "{}")
        files, settled = looked_for(lambda: landed_files(landing, settings.landing), seen, patience=patience)
        requests = _requests(lake.open(), landing, [file for file in files if file.key in settled], settings)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else f"{len(files)} files landed, {len(settled)} of them new; none differs.",
            cursor=json.dumps(remembered(files, seen, settled), sort_keys=True),
        )

    return body


def landed_files(assets: Sequence[Asset], landing: Path) -> tuple[LandedFile, ...]:
    """The declared files that are there. Those that `headwater land` has half written have other names (`.name.0f3a.part`)."""
    found = []
    for asset in assets:
        keys: Sequence[str | None] = asset.partitions.keys if asset.partitions else (None,)
        for name, key in ((name.format(partition=key), key) for key in keys for name in asset.landed):
            file = landing / asset.product / name
            if file.is_file():
                stat = file.stat()
                mark = (stat.st_mtime_ns, stat.st_size)
                found.append(LandedFile(path=asset.path, partition=key, name=name, stat=mark))
    return tuple(found)


def looked_for(
    look: Callable[[], Sequence[LandedFile]],
    seen: Mapping[str, Sequence[int]],
    *,
    patience: float = PATIENCE,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Sequence[LandedFile], frozenset[str]]:
    """Looks until a file that changed is settled, or for as long as a tick may last.

    Args:
        look: Gives the files that are there.
        seen: The cursor: what earlier ticks saw.
        patience: Seconds.
        clock: Seconds that pass.
        sleep: Waits so many seconds.

    Returns:
        The files as they were last seen, and the keys of those that are settled.
    """
    end, since = clock() + patience, dict[str, tuple[Stat, float]]()
    while True:
        files, now = look(), clock()
        settled = {file.key for file in settled_files(files, seen)}
        for file in files:
            if tuple(seen.get(file.key, ())) == (*file.stat, _TAKEN):
                continue
            stat, first = since.setdefault(file.key, (file.stat, now))
            if stat != file.stat:
                since[file.key] = (file.stat, now)
            elif now - first >= SETTLE:
                settled.add(file.key)
        if settled or now >= end:
            return files, frozenset(settled)
        sleep(_PAUSE)


def settled_files(files: Sequence[LandedFile], seen: Mapping[str, Sequence[int]]) -> tuple[LandedFile, ...]:
    """The files that changed some time before the last tick and not since: nobody is writing them any more."""
    return tuple(file for file in files if tuple(seen.get(file.key, ())) == (*file.stat, _WAITS))


def remembered(
    files: Sequence[LandedFile], seen: Mapping[str, Sequence[int]], settled: Collection[str]
) -> Mapping[str, Sequence[int]]:
    """The next cursor: time and size of each file, and whether it was looked into."""
    old = {file.key for file in files if tuple(seen.get(file.key, ())) == (*file.stat, _TAKEN)}
    return {file.key: [*file.stat, _TAKEN if file.key in old or file.key in settled else _WAITS] for file in files}


def to_build(files: Sequence[LandedFile], stale: Sequence[Stale]) -> tuple[LandedFile, ...]:
    """The files that differ in content from what the lake was built from, each asset and partition once."""
    differing = {(item.path, item.partition) for item in stale}
    once = {(file.path, file.partition): file for file in files if (file.path, file.partition) in differing}
    return tuple(once.values())


def _requests(
    lake: Lake, assets: Sequence[Asset], files: Sequence[LandedFile], settings: Settings
) -> list[dg.RunRequest]:
    if not files:
        return []
    now = lake.at(settings.branch)
    wanted = [asset for asset in assets if asset.path in {file.path for file in files}]
    stale = stale_assets(lake, wanted, branch=settings.branch, landing=settings.landing, snapshot=now)
    requests = []
    for file in to_build(files, stale):
        digest = landed_sha256(settings.landing / file.key)
        # The standing version is part of the key: the same bytes may come again after others were built.
        record = record_of(lake, now, file.path, file.partition)
        standing = record.commit.id if record else "nothing"
        requests.append(
            dg.RunRequest(
                run_key=f"landed/{file.path}/{file.partition or ''}/{digest}/{standing}",
                asset_selection=[asset_key(file.path)],
                partition_key=file.partition,
                tags={ONLY_STALE_TAG: "true", ACTOR_TAG: ACTOR},
            )
        )
    return requests
