"""Dagster's daemon, one tick at a time: the code that it runs in its loops, on a clock that the test moves."""

import asyncio
import logging
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.instance_for_test import instance_for_test
from dagster._core.loader import LoadingContextForTest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.test_utils import freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.asset_daemon import AssetDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from sqlalchemy import event
from sqlalchemy.engine import Engine

from headwater.lake import EmbeddedLake
from headwater.materialize import Run, materialize
from tests.sensors import toy_location

TICK = timedelta(seconds=60)
AFTER_COPY = timedelta(hours=2)
STATE, HOME = "state", "home"
_COORDINATOR = {"module": "dagster._core.run_coordinator", "class": "QueuedRunCoordinator"}
_LAUNCHER = {"module": "dagster._core.launcher.sync_in_memory_run_launcher", "class": "SyncInMemoryRunLauncher"}


class Daemon:
    """A Dagster instance, its workspace, the toy's lake and landing folder.

    Attributes:
        sensors: Whether a tick evaluates the sensors, or the conditions alone.
        failing: Names of the sensors whose newest tick failed.
    """

    def __init__(
        self, state: Path, instance: dg.DagsterInstance, workspace: WorkspaceProcessContext, location: ModuleType
    ) -> None:
        self.state, self.instance, self._workspace, self._location = state, instance, workspace, location
        self._assets = AssetDaemon(settings={}, pre_sensor_interval_seconds=5)
        self._now = datetime.now(UTC) + (AFTER_COPY if instance.all_instigator_state() else timedelta())
        self.sensors = True
        self.failing: set[str] = set()
        self.lake = EmbeddedLake.open(state / "lake")

    @property
    def now(self) -> datetime:
        """The clock of the newest tick."""
        return self._now

    @property
    def workspace(self) -> WorkspaceProcessContext:
        """The code location as the daemon has it."""
        return self._workspace

    def land(self, *values: int, name: str = "toy/numbers.csv") -> None:
        """Puts a file of numbers where the landing asset looks for it."""
        file = self.state / "landing" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(["x", *map(str, values)]) + "\n")

    def tick(self, *, may_fail: bool = False) -> list[str]:
        """One round of every sensor (unless `sensors` is off) and of all conditions; the runs that are queued after it."""
        self._now += TICK
        with freeze_time(self._now):
            logger = logging.getLogger("tick")
            for _ in execute_sensor_iteration(self._workspace, logger, None, None) if self.sensors else ():
                pass
            self._assets._run_iteration_impl(self._workspace, None, {}, {})
        self.failing = set(self._failed_ticks())
        assert may_fail or not self.failing, self.failing
        return self.queued()

    def queued(self) -> list[str]:
        """`path,path` of each queued run, oldest first."""
        return [_paths(run) for run in self._queued_runs()]

    def launch(self, *, cancel: str = "") -> list[str]:
        """Executes every queued run to its end, but cancels those of `cancel`; `path,path` of each."""
        runs = self._queued_runs()
        for run in runs:
            if _paths(run) == cancel:
                self.instance.report_run_canceled(run)
            else:
                self.instance.launch_run(run.run_id, self._workspace.create_request_context())
        return [_paths(run) for run in runs]

    def settle(self, ticks: int = 30, *, cancel: str = "") -> list[str]:
        """Ticks and launches until three ticks in a row start nothing; every run in order."""
        done: list[str] = []
        quiet = 0
        for _ in range(ticks):
            self.tick()
            started = self.launch(cancel=cancel)
            done += started
            quiet = 0 if started else quiet + 1
            if quiet == 3:
                return done
        raise AssertionError(f"Still starting runs after {ticks} ticks: {done}")

    def build_now(self, path: str) -> None:
        """Materializes one asset through Dagster at once, as somebody in the UI does."""
        job = self._location.defs.resolve_implicit_global_asset_job_def()
        done = job.execute_in_process(instance=self.instance, asset_selection=[dg.AssetKey(path.split("/"))])
        assert done.success

    def build_without_dagster(self, path: str) -> None:
        """Builds one asset by the library alone."""
        asset = next(asset for asset in self._location.ASSETS if asset.path == path)
        materialize(self.lake, asset, run=Run(), landing=self.state / "landing")

    def rows(self, path: str) -> list[dict[str, object]]:
        """What stands at a path."""
        return self.lake.at("main").table(path).collect().to_dicts()

    def commits(self, path: str) -> int:
        """How often something was published there."""
        return len(list(self.lake.log("main", path=path)))

    def shown(self, path: str, partition: str | None = None) -> str | None:
        """The data version that Dagster shows."""
        wanted = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(path.split("/")), asset_partitions=[partition] if partition else None
        )
        records = self.instance.fetch_materializations(wanted, limit=1).records
        found = records[0].asset_materialization if records else None
        return (found.tags or {}).get("dagster/data_version") if found else None

    def verdicts(self, path: str) -> dict[str, int]:
        """The ids of the newest verdicts that Dagster holds of an asset's checks, by name."""
        return {name: record.id for name, record in self._records(path).items()}

    def judged(self, path: str) -> set[str]:
        """The checks that passed on the newest materialization, by Dagster's own word."""
        context = LoadingContextForTest(self.instance)
        return {
            name
            for name, record in self._records(path).items()
            if record.status is AssetCheckExecutionRecordStatus.SUCCEEDED
            and asyncio.run(record.targets_latest_materialization(context))
        }

    def _records(self, path: str) -> dict[str, AssetCheckExecutionRecord]:
        key = dg.AssetKey(path.split("/"))
        checks = [
            one for one in self._location.defs.get_repository_def().asset_graph.asset_check_keys if one.asset_key == key
        ]
        found = self.instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
        return {one.name: record for one, record in found.items()}

    def standing(self, path: str, partition: str | None = None) -> str:
        """The data version that the lake has."""
        entry = self.lake.at("main").entry(path)
        return entry.partitions[partition] if partition else entry.data_version

    def runs(self, path: str) -> list[dg.DagsterRun]:
        """Every run that was to build an asset, oldest first."""
        key = dg.AssetKey(path.split("/"))
        return [run for run in reversed(self.instance.get_runs()) if key in (run.asset_selection or ())]

    def put(self, path: str, rows: pl.DataFrame) -> None:
        """Commits a table as somebody who knows nothing of Dagster."""
        with self.lake.transaction() as tx:
            tx.write_table(path, rows)
            tx.publish(message="From outside", provenance=None)

    def _failed_ticks(self) -> Iterator[str]:
        for state in self.instance.all_instigator_state():
            for tick in self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1):
                if tick.error is not None:
                    logging.getLogger("tick").warning("%s: %s", state.instigator_name, tick.error)
                    yield state.instigator_name

    def _queued_runs(self) -> list[dg.DagsterRun]:
        found = self.instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
        return list(reversed(found))


def _paths(run: dg.DagsterRun) -> str:
    return ",".join(sorted("/".join(key.path) for key in run.asset_selection or ()))


@contextmanager
def running(folder: Path, location: ModuleType = toy_location, *, home: str = HOME) -> Iterator[Daemon]:
    """A daemon over `folder/state`, its database in `folder/<home>`. HEADWATER_STATE has to name the state folder."""
    (folder / home).mkdir(exist_ok=True, parents=True)
    overrides = {"run_coordinator": _COORDINATOR, "run_launcher": _LAUNCHER, "telemetry": {"enabled": False}}
    origin = LoadableTargetOrigin(executable_path=sys.executable, python_file=str(location.__file__), attribute="defs")
    target = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(origin))
    with (
        _no_waiting_for_the_disk(),
        instance_for_test(overrides=overrides, temp_dir=str(folder / home)) as instance,
        WorkspaceProcessContext(instance, target) as workspace,
    ):
        yield Daemon(folder / STATE, instance, workspace, location)


def copied(source: Path, target: Path) -> Path:
    """A copy of a folder that `running` left: its state and its database."""
    for name in (STATE, HOME):
        shutil.copytree(source / name, target / name, symlinks=True)
    return target


@contextmanager
def _no_waiting_for_the_disk() -> Iterator[None]:
    def relax(connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("pragma synchronous = off")

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)
