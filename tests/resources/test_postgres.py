"""One setting keeps what Dagster remembers in PostgreSQL: a real one, with a real build and a real tick in it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
import yaml
from dagster._core.events import EngineEventData
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget

from headwater.cli._replay_sensors import daemon_of
from resources.dagster_home import CONFIG, StorageAwayError, dagster_instance, prepare_dagster_home
from resources.settings import POSTGRES, Settings, SettingsError, load_settings
from sensors._workers import fail_lost_runs
from tests.postgres import postgres
from tests.sensors import toy_location
from tests.sensors.daemon import Daemon

pytestmark = pytest.mark.filterwarnings("ignore:Function `AssetSelection.keys` is deprecated")
URL = "postgresql://ada:secret@db.example.org/headwater"


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture
def settled(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder whose Dagster is in the database."""
    monkeypatch.setenv("HEADWATER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv(POSTGRES, database)
    return tmp_path / "state"


def counts(database: str, *tables: str) -> list[int]:
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        found = []
        for table in tables:
            cursor.execute(f"select count(*) from {table}")
            found.append(cursor.fetchone()[0])
    connection.close()
    return found


def test_a_build_and_a_tick_are_in_postgresql_and_no_file_of_sqlite_is_there(settled: Path, database: str) -> None:
    origin = LoadableTargetOrigin(
        executable_path=sys.executable, python_file=str(toy_location.__file__), attribute="defs"
    )
    target = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(origin))
    with dagster_instance(load_settings()) as instance, WorkspaceProcessContext(instance, target) as workspace:
        daemon = Daemon(settled, instance, workspace, toy_location)
        daemon.land(1, 2)
        daemon.build_now("toy/landing/numbers")
        assert daemon.shown("toy/landing/numbers") == daemon.standing("toy/landing/numbers")
        daemon.tick()
        assert "toy/doubled" in ",".join(daemon.queued())
    runs, events, ticks = counts(database, "runs", "event_logs", "job_ticks")
    assert runs >= 2
    assert events > 10
    assert ticks >= 1
    assert not list((settled / "dagster").rglob("*.db"))
    with dagster_instance(load_settings()) as instance:
        assert len(instance.get_runs()) == runs, "another process sees them"


def test_a_run_whose_process_is_gone_does_not_stay_started(settled: Path) -> None:
    """Dagster's run monitoring asks launchers that can tell, and ours cannot: such a run kept its place in the queue for ever."""
    job = toy_location.defs.resolve_implicit_global_asset_job_def()
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended, dagster_instance(load_settings()) as instance:
        ended.wait()
        started = []
        for process in (ended.pid, os.getpid()):
            run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
            data = EngineEventData({"pid": dg.MetadataValue.text(str(process))})
            instance.report_engine_event("Started process for run", run, data)
            started.append(run.run_id)
        assert fail_lost_runs(instance, is_alone=False) == (), "it may be another machine's"
        assert fail_lost_runs(instance, is_alone=True) == (started[0],)
        statuses = [instance.get_run_by_id(run_id).status for run_id in started]  # type: ignore[union-attr]
        assert statuses == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED]
        instance.delete_run(started[1])


def test_the_daemon_of_a_replay_keeps_its_runs_there_too(settled: Path, database: str) -> None:
    """`headwater replay --by-sensors` made the folder without the setting: an error where others had named PostgreSQL in it, else SQLite."""
    told: list[str] = []
    with dagster_instance(load_settings()):
        pass
    with daemon_of(load_settings(), told.append) as is_alive:
        assert is_alive()
    assert "Dagster UI" in told[0]
    storage = yaml.safe_load((settled / "dagster" / "dagster.yaml").read_text())["storage"]
    assert storage == {"postgres": {"postgres_url": {"env": POSTGRES}}}
    assert not list((settled / "dagster").rglob("*.db"))


def test_a_database_that_is_away_is_said_in_one_sentence(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, postgres="postgresql://ada:secret@127.0.0.1:1/headwater")
    with pytest.raises(StorageAwayError, match="refused") as caught, dagster_instance(settings):
        pass
    assert "secret" not in str(caught.value)


def test_the_file_names_the_setting_and_holds_no_password(tmp_path: Path) -> None:
    file = prepare_dagster_home(tmp_path, postgres=URL) / "dagster.yaml"
    assert yaml.safe_load(file.read_text())["storage"] == {"postgres": {"postgres_url": {"env": POSTGRES}}}
    assert "secret" not in file.read_text()


def test_a_shell_without_the_setting_does_not_take_the_storage_from_those_with_it(tmp_path: Path) -> None:
    """A command that forgot the setting wrote the file anew, and what `headwater up` started next was in SQLite."""
    file = prepare_dagster_home(tmp_path) / "dagster.yaml"
    assert file.read_text() == CONFIG
    prepare_dagster_home(tmp_path, postgres=URL)
    there = file.read_text()
    with pytest.raises(SettingsError, match="it is missing"):
        prepare_dagster_home(tmp_path)
    assert file.read_text() == there
    file.unlink()
    prepare_dagster_home(tmp_path)
    assert file.read_text() == CONFIG


def test_a_file_of_the_users_own_that_names_another_storage_is_no_silent_sqlite(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(CONFIG + "# mine\n")
    with pytest.raises(SettingsError, match="names no PostgreSQL"):
        prepare_dagster_home(tmp_path, postgres=URL)
    own = "storage:\n  postgres:\n    postgres_url: postgresql://other\n"
    (tmp_path / "dagster.yaml").write_text(own)
    prepare_dagster_home(tmp_path, postgres=URL)
    assert (tmp_path / "dagster.yaml").read_text() == own
