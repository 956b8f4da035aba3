"""Plays the days of a replay: asks, lands, builds, looks at what was decided, and remembers how far it came."""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from headwater.cli._guarded import heeding_signals
from headwater.cli._replay import summary_line
from headwater.cli._replay_landed import landed_files, next_day, refuse_cuts, require_something
from headwater.cli._replay_play import asked, begun
from headwater.cli._replay_service import Service, service_of
from headwater.lake import Lake
from headwater.replay import (
    ReplayDay,
    ReplaySource,
    write_progress,
)

if TYPE_CHECKING:
    from headwater.product import Product
    from resources.settings import Settings

_WHOLE: Final = 7
"""So many days, and everything is built, what only a training reads too."""
_MARGIN: Final = timedelta(days=1)


def play(
    product: "Product",
    source: ReplaySource,
    first: date,
    last: date,
    *,
    restart: bool,
    every_table: bool,
    by_sensors: bool,
    pace: Iterator[None],
    out: Console,
    quiet: bool,
) -> dict[str, Any]:
    """Plays the days that were not played yet, and writes the story.

    Raises:
        ReplayError: Nothing is released, another time is half played, nothing is known of that time, it would replace landed
            files by shorter ones, or the service ended.
    """
    from headwater.cli._replay_sensors import daemon_of, wait_until_built
    from headwater.cli._replay_story import catch_up, tell
    from headwater.cli._stream import check_branch
    from resources.dbt_resource import kept_dbt
    from resources.lock import only_one_build
    from resources.opening import open_lake
    from resources.settings import load_settings

    settings = load_settings()
    lake, folder = open_lake(settings, create=False), settings.state / "replay" / product.name
    require_something(product.name, source, first, last)
    if product.streams:
        check_branch(product, settings)
    told = (lambda line: None) if quiet else (lambda line: out.print(line, soft_wrap=True, markup=False))
    with ExitStack() as stack:
        for context in (heeding_signals(), only_one_build(settings.state), kept_dbt()):
            stack.enter_context(context)
        # Only now: what was waited for may have been another replay.
        progress = begun(product, lake, settings, folder, first, last, restart=restart)
        if (begin := next_day(progress)) <= last:
            for day in source.days(begin, begin):
                refuse_cuts(product, settings.landing, day, progress)
        if not progress.days:  # a kill in the first day forgets neither which play it is nor what it allows
            write_progress(progress, folder)
        told(f"{product.name}  {first} to {last}; {len(progress.days)} days were played before.")
        service = stack.enter_context(service_of(settings, product.name))
        is_alive = stack.enter_context(daemon_of(settings, told)) if by_sensors else None
        try:
            for day in source.days(first, last):
                if day.day.isoformat() in progress.days:
                    continue
                refuse_cuts(product, settings.landing, day, progress)
                if not progress.days:
                    _begin_streams(product, lake, settings, source, day.begin)
                next(pace)
                is_whole = every_table or by_sensors or len(progress.days) % _WHOLE == _WHOLE - 1 or day.day == last

                def build(is_whole: bool = is_whole) -> Sequence[str]:
                    if is_alive is not None:
                        return wait_until_built(product, lake, settings, is_alive)
                    return _build(product, settings, is_whole=is_whole)

                facts = _play_day(product, lake, settings, service, source, asked(day, progress.play), build)
                progress = replace(progress, days={**progress.days, day.day.isoformat(): facts})
                write_progress(progress, folder)
                told(summary_line(facts))
                if is_whole:
                    catch_up(product, lake, settings, progress, folder, told)
        finally:
            page, story = tell(product, lake, settings, progress, folder, told)
            told(f"The story: {page}")
    return {"page": str(page), "days": len(progress.days), "conclusion": story}


def _begin_streams(product: "Product", lake: Lake, settings: "Settings", source: ReplaySource, begin: datetime) -> None:
    """The events of before the first day, as far back as a feature reads."""
    if product.streams:
        back = max(streamed.lookback + streamed.settles for streamed in product.streams)
        _stream(product, lake, settings, source, begin - back - _MARGIN, begin)


def _stream(
    product: "Product", lake: Lake, settings: "Settings", source: ReplaySource, start: datetime, end: datetime
) -> None:
    """What comes in meanwhile goes into the logs, the lake and the online features. What is there already counts once."""
    from headwater.cli._stream import ingested, refreshed
    from resources.opening import open_event_log

    came, streams = source.events(start, end), {stream.path: stream for stream in product.events}
    for path, events in came.items():
        log = open_event_log(settings, streams[path])
        try:
            log.append([event.data for event in events], partition=0, at=[event.arrives for event in events])
        finally:
            log.close()
    ingested(product, lake, settings)
    refreshed(product, lake, settings, until=end)


def _play_day(
    product: "Product",
    lake: Lake,
    settings: "Settings",
    service: Service,
    source: ReplaySource,
    day: ReplayDay,
    build: Callable[[], Sequence[str]],
) -> dict[str, Any]:
    begun = time.perf_counter()
    if (
        product.streams
    ):  # all of a day's events first: each row answers from when it is known, as a live service has it by then
        _stream(product, lake, settings, source, day.begin, day.end)
    seconds = service.ask(day)
    landed = _land(product, settings, day)
    errors = build()
    service.follow(lake.resolve(settings.branch).id)
    return {
        "day": day.day.isoformat(),
        "asked": len(day.requests),
        "p50_ms": 1_000 * statistics.median(seconds) if seconds else 0.0,
        "p99_ms": 1_000 * statistics.quantiles(seconds, n=100)[98] if len(seconds) > 1 else 0.0,
        "refused": list(errors),
        "landed": landed,
        "seconds": time.perf_counter() - begun,
        "ended": datetime.now(UTC).isoformat(),
        **_state(product, lake, settings),
    }


def _land(product: "Product", settings: "Settings", day: ReplayDay) -> list[str]:
    """Lands a day's files; which."""
    from resources.packaged import land_bytes

    files = landed_files(product, day)
    for file, content in files.items():
        land_bytes(content, settings.landing / file)
    return sorted(files)


def _build(product: "Product", settings: "Settings", *, is_whole: bool) -> Sequence[str]:
    """Builds what is out of date; what only a new training order could change waits for one.

    Args:
        product: The product.
        settings: Where the lake is.
        is_whole: Whether also tables are built that nothing reads before the next training.
    """
    from assets._build import run_assets, run_waves
    from assets._chain._paths import ChainPaths
    from assets._declared import declared
    from assets._plan import below, stale_assets
    from headwater.cli._build import logged, stands
    from headwater.cli._replay_plan import watched_assets
    from headwater.definitions import defs
    from headwater.runtime import user
    from resources.dagster_home import dagster_instance
    from resources.opening import open_lake
    from resources.progress import Listener, listening

    assets, paths = declared(product), ChainPaths(product=product.name)
    trained = below(frozenset({paths.training_set}), assets) if product.retraining is not None else frozenset()
    daily = frozenset(asset.path for asset in assets) - trained if is_whole else watched_assets(product, assets)
    lake = open_lake(settings)
    errors: list[str] = []
    stale = partial(stale_assets, lake, assets, branch=settings.branch, landing=settings.landing)
    there = partial(stands, lake, settings)
    quiet = Listener(started=lambda path, partition: None, ended=lambda outcome: None)
    with dagster_instance(settings, for_runs=True) as instance, listening(quiet), logged(settings.state):
        # As the compaction's sensor does all day: what was answered is in the lake before labels are joined to it.
        answered = frozenset({paths.predictions, paths.service_failures})
        errors += run_assets(defs, instance, answered, partition=None, actor=user(), only_stale=False).errors
        for is_last in (False, True):
            before, stood = (_entry(lake, settings, path) for path in (paths.training_order, paths.rollout_step))
            errors += run_waves(defs, instance, stale, there, assets, actor=user(), among=None if is_last else daily)
            if not is_last and _entry(lake, settings, paths.rollout_step) != stood:
                step = frozenset({paths.release})
                errors += run_assets(defs, instance, step, partition=None, actor=user()).errors
            if _entry(lake, settings, paths.training_order) == before:
                break
    return errors


def _entry(lake: Lake, settings: "Settings", path: str) -> str | None:
    snapshot = lake.at(settings.branch)
    return snapshot.entry(path).data_version if snapshot.has(path) else None


def _state(product: "Product", lake: Lake, settings: "Settings") -> dict[str, Any]:
    """What is live, what was decided last, and the newest judged week."""
    from assets._chain._paths import ChainPaths
    from assets._chain._performance import REPORT_FILE
    from assets._chain._performance_page import metric_of
    from assets._chain._retraining import DECISION_FILE
    from headwater.cli._release import rollout_stage
    from headwater.registry import live_version

    paths, snapshot = ChainPaths(product=product.name), lake.at(settings.branch)
    found: dict[str, Any] = {
        "live": live_version(lake, product.name, ref=settings.branch),
        "decision": "",
        "rollout": rollout_stage(lake, product.name, settings.branch),
    }
    if snapshot.has(paths.retraining):
        said = json.loads((snapshot.folder(paths.retraining) / DECISION_FILE).read_text())
        found["decision"] = f"{said['action']}: {said['reason']}"
    report = json.loads((snapshot.folder(paths.performance_report) / REPORT_FILE).read_text())
    judged = [window for window in report["windows"] if window["overall"]["judged"]]
    if judged and (metric := metric_of(judged[-1], "auc")) is not None:
        found |= {"auc": metric["value"], "auc_week": judged[-1]["start"][:10]}
    return found
