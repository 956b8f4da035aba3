"""Dagster's home folder: made when missing, telemetry off."""

import fcntl
import hashlib
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headwater.errors import HeadwaterError
from resources.settings import POSTGRES, Settings, SettingsError

if TYPE_CHECKING:
    from dagster import DagsterInstance
    from dagster._core.instance.ref import InstanceRef

CONFIG: Final = """\
# Written by Headwater when missing; change it as Dagster's documentation says.
telemetry:
  enabled: false
nux:
  enabled: false
run_coordinator:
  module: resources.run_queue
  class: RunQueue
  config:
    # Dagster's own 5 seconds are half of what a landed file waits for its run.
    dequeue_interval_seconds: 1
# The sensor of landed files looks for as long as its tick lasts; the others do not wait for it.
sensors:
  use_threads: true
  num_workers: 4
run_monitoring:
  enabled: true
# By lane (resources/run_queue.py): a roll-back, and what it is decided by, waits for no training. What `headwater build` runs is in none.
concurrency:
  runs:
    max_concurrent_runs: -1
    tag_concurrency_limits:
      - key: headwater/lane
        value: training
        limit: 2
      - key: headwater/lane
        value: usual
        limit: 2
      - key: headwater/lane
        value: first
        limit: 2
"""
"""Dagster keeps its database beside this file unless told otherwise: no path in here, so that the folder may be moved."""

_IN_POSTGRES: Final = f"""\
storage:
  postgres:
    postgres_url:
      env: {POSTGRES}
"""
"""Where runs, events and ticks are when the setting names a PostgreSQL. The URL, with its password, is in no file."""

_STORAGES: Final = {"storage", "run_storage", "event_log_storage", "schedule_storage", "instance_class"}
"""Words of `dagster.yaml` by which somebody says where runs and events are."""
_FILES: Final = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
_BEGUN: Final = ".storage"
"""Says that all tables are made, and of which storage: SQLite's files are there before their tables."""
_PATIENCE: Final = 5
"""Seconds in which it has to answer."""
_OLDER: Final = (
    "2334d595c6244eb9bc806e09cf1b474087c56e7b2d1f24ce09800fbcd9d57a44",
    "0ca4a7d82f28a3cec50b8314aec173172448cfc76db8d297663036fd10d48241",
    "5aae913b9890c54dd1a35d873015cc500e582415334e927a6f2397f5f965b433",
)
"""SHA-256 of what older Headwaters wrote. Who changes `CONFIG` adds that of the text before."""
_STORAGE: Final = re.compile(r"storage:\n  sqlite:\n    base_dir: .*\n")


def prepare_dagster_home(home: Path, *, postgres: str = "") -> Path:
    """Makes the folder with a `dagster.yaml` unless it is there; returns it as an absolute path.

    A file that Headwater wrote and nobody changed is written anew when it is older, or when PostgreSQL comes in.

    Args:
        home: The folder.
        postgres: URL of the PostgreSQL with Dagster's storage; empty for SQLite in the folder.

    Raises:
        SettingsError: The file and the setting name different storages, or the package for PostgreSQL is missing.
    """
    wanted = CONFIG + (_IN_POSTGRES if postgres else "")
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    found = config.read_text() if config.exists() else None
    is_ours = found is None or _is_ours(_without_storage(found))
    if postgres:
        _check_postgres(config, wanted if is_ours or found is None else found)
    elif is_ours and found is not None and _IN_POSTGRES in found:  # others may be at work there
        raise SettingsError(
            variable=POSTGRES,
            problem=f"it is missing, and {config} says that Dagster's storage is there.",
            remedy="Set it; or remove that file, to begin anew in the state folder.",
        )
    if is_ours and found != wanted:
        part = config.with_name(f".dagster.yaml.{os.getpid()}.part")  # several processes may begin at once
        part.write_text(wanted)
        part.replace(config)
    return home


def _is_ours(text: str) -> bool:
    return text == CONFIG or hashlib.sha256(text.encode()).hexdigest() in _OLDER


def _without_storage(text: str) -> str:
    """What Headwater wrote, without the database that it named; the first ones named the folder they were made for."""
    return _STORAGE.sub("", text, count=1).replace(_IN_POSTGRES, "")


def _check_postgres(config: Path, text: str) -> None:
    if f"env: {POSTGRES}" not in text and "postgres_db:" not in text and "postgres_url:" not in text:
        raise SettingsError(
            variable=POSTGRES,
            problem=f"{config} was changed by hand and names no PostgreSQL.",
            remedy=f"Add to it, or move it away:\n{_IN_POSTGRES}",
        )
    if find_spec("dagster_postgres") is None:
        raise SettingsError(
            variable=POSTGRES, problem="dagster-postgres is not installed.", remedy="Install headwater[postgres]."
        )


class StorageAwayError(HeadwaterError):
    """The PostgreSQL with Dagster's storage does not answer, or refuses."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(
            f"The PostgreSQL of {POSTGRES} cannot be used: {reason}. Start it, or correct the setting; without the setting Dagster "
            "keeps its storage in the state folder."
        )


@contextmanager
def dagster_instance(settings: Settings, *, for_runs: bool = False) -> Iterator["DagsterInstance"]:
    """The Dagster instance whose storage lies in the state folder, or in the PostgreSQL of the settings.

    Args:
        settings: Where it is.
        for_runs: Whether runs are done in this process, one after another, so that its connections to their events are kept. Who looks
            on for days opens the files anew each time, and sees also those that took the place of others.

    Raises:
        SettingsError: See `prepare_dagster_home`.
        StorageAwayError: The PostgreSQL does not answer.
    """
    from dagster import DagsterInstance
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    home = settings.dagster_home.resolve()

    def relax(connection: Any, _record: object) -> None:
        _write_without_waiting(connection, home)

    event.listen(Engine, "connect", relax)
    try:
        prepare_dagster_home(home, postgres=settings.postgres)
        if settings.postgres:
            _check_answers(settings.postgres)
        with _begun_once(home, postgres=settings.postgres):
            opened = DagsterInstance.from_ref(_reference(home, is_kept=for_runs))
        with opened as instance:
            yield instance
    finally:
        event.remove(Engine, "connect", relax)


def _reference(home: Path, *, is_kept: bool) -> "InstanceRef":
    """What Dagster's configuration says; with connections that are kept where that is wanted, and the storage left to Dagster."""
    import yaml
    from dagster._core.instance.ref import InstanceRef

    if not is_kept or _STORAGES & (yaml.safe_load((home / "dagster.yaml").read_text()) or {}).keys():
        return InstanceRef.from_dir(str(home))
    usual = InstanceRef.config_defaults(str(home))["event_log_storage"]
    assert usual is not None
    kept = {"module": "resources.event_storage", "class": "KeptEventLog", "config": usual.config_dict}
    return InstanceRef.from_dir(str(home), overrides={"event_log_storage": kept})


def has_storage(home: Path, *, postgres: str = "") -> bool:
    """Whether Dagster's tables are made, all of them, in a folder that `prepare_dagster_home` made.

    Args:
        home: The folder.
        postgres: URL of the PostgreSQL that has them instead of the folder.
    """
    begun = home / _BEGUN
    is_there = bool(postgres) or all((home / name).is_file() for name in _FILES)
    return is_there and begun.is_file() and begun.read_text() == _named(postgres)


def _named(postgres: str) -> str:
    """Which storage it is, without its password."""
    return hashlib.sha256(postgres.encode()).hexdigest() if postgres else "sqlite"


@contextmanager
def _begun_once(home: Path, *, postgres: str) -> Iterator[None]:
    """Lets one process after the other open a storage whose tables are not made: of two that make them at once, one fails."""
    if has_storage(home, postgres=postgres):
        yield
        return
    with (home / ".storage.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        (home / _BEGUN).write_text(_named(postgres))


def storage_errors() -> tuple[type[Exception], ...]:
    """What reading Dagster's storage can raise."""
    from dagster._core.errors import DagsterError
    from sqlalchemy.exc import SQLAlchemyError

    if "dagster_postgres" not in sys.modules:
        return DagsterError, SQLAlchemyError
    from dagster_postgres.utils import DagsterPostgresException

    return DagsterError, SQLAlchemyError, DagsterPostgresException


def _check_answers(url: str) -> None:
    """Asks once: Dagster would ask for a quarter of a minute, and end with a trace."""
    import psycopg2

    try:
        psycopg2.connect(url, connect_timeout=_PATIENCE).close()
    except psycopg2.Error as error:
        raise StorageAwayError(reason=" ".join(str(error).split()).rstrip(".")) from error


def _write_without_waiting(connection: Any, home: Path) -> None:
    """Spares Dagster's SQLite files the wait for the disk at each of thousands of events.

    A killed process loses nothing by it; a power cut may lose events, which the lake does not need.
    """
    if not isinstance(connection, sqlite3.Connection):
        return
    file = connection.execute("pragma database_list").fetchone()[2]
    if file and home in Path(file).parents:
        connection.execute("pragma synchronous = off")
