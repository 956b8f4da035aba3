"""Builds write Dagster's own files, with few connections to them."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from resources.dagster_home import CONFIG, dagster_instance, prepare_dagster_home
from resources.event_storage import KeptEventLog
from resources.settings import Settings

CHECKS = ("first", "second", "third")


@dg.asset(check_specs=[dg.AssetCheckSpec(name, asset="above") for name in CHECKS])
def above() -> Iterator[Any]:
    yield dg.Output(1, metadata={"rows": 1})
    for name in CHECKS:
        yield dg.AssetCheckResult(passed=name != "second", severity=dg.AssetCheckSeverity.WARN, check_name=name)


@dg.asset(deps=[above])
def below() -> None:
    raise dg.Failure("it is to fail")


DEFINITIONS = dg.Definitions(assets=[above, below])


def run(instance: dg.DagsterInstance) -> str:
    job = DEFINITIONS.resolve_implicit_global_asset_job_def()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return str(job.execute_in_process(instance=instance, run_config=quiet, raise_on_error=False).run_id)


@contextmanager
def connections() -> Iterator[Counter[str]]:
    """How often each file of SQLite is connected to."""
    found: Counter[str] = Counter()

    def count(connection: Any, _record: object) -> None:
        assert isinstance(connection, sqlite3.Connection)
        found[Path(connection.execute("pragma database_list").fetchone()[2]).name] += 1

    event.listen(Engine, "connect", count)
    try:
        yield found
    finally:
        event.remove(Engine, "connect", count)


def forget(storage: KeptEventLog) -> None:
    """A statement that works, and one that does not, in one transaction."""
    with storage.index_connection() as connection:
        connection.exec_driver_sql("delete from asset_keys")
        connection.exec_driver_sql("delete from no_such_table")


def test_dagster_reads_what_was_written_and_writes_on(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    with dagster_instance(settings, for_runs=True) as instance:
        assert isinstance(instance.event_log_storage, KeptEventLog)
        first = run(instance)
    with dagster_instance(settings) as instance:  # as the daemon, the web server and its runs open it
        assert not isinstance(instance.event_log_storage, KeptEventLog)
        second = run(instance)
    with dagster_instance(settings, for_runs=True) as instance:
        told = [[entry.dagster_event_type for entry in instance.all_logs(each)] for each in (first, second)]
        assert told[0] == told[1]
        assert len(told[0]) > 20
        assert (
            instance.get_run_by_id(first).status == instance.get_run_by_id(second).status == dg.DagsterRunStatus.FAILURE
        )
        found = instance.fetch_materializations(above.key, limit=5).records
        assert [record.run_id for record in found] == [second, first]
        for name in CHECKS:
            key = dg.AssetCheckKey(above.key, name)
            executed = instance.event_log_storage.get_asset_check_execution_history(key, limit=5)
            assert [(one.run_id, one.event.asset_check_evaluation.passed) for one in executed] == [
                (second, name != "second"),
                (first, name != "second"),
            ]


def test_a_build_opens_a_file_once_and_closes_what_it_opened(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    with dagster_instance(settings, for_runs=True) as instance:
        run(instance)
        with connections() as kept:
            runs = {f"{run(instance)}.db" for _ in range(3)}
        engines = instance.event_log_storage._engines
        assert len(engines) == 2, "all runs' and the last one's"
        pools = [engine.pool for engine in engines.values()]
    assert not engines
    assert not any(pool.checkedout() for pool in pools)
    assert kept["index.db"] <= 1, "one more for what is asked within a transaction"
    assert {name: count for name, count in kept.items() if name in runs and count > 2} == {}
    with dagster_instance(settings) as instance, connections() as anew:
        one = f"{run(instance)}.db"
    assert anew[one] > 20, "Dagster keeps its connections itself now: ours is not needed any more"


def test_a_failed_statement_leaves_a_connection_that_works(tmp_path: Path) -> None:
    with dagster_instance(Settings(state=tmp_path), for_runs=True) as instance:
        run(instance)
        storage = instance.event_log_storage
        assert isinstance(storage, KeptEventLog)
        with pytest.raises(OperationalError, match="no such table"):
            forget(storage)
        assert {key.to_user_string() for key in instance.all_asset_keys()} >= {"above"}
        run(instance)
        assert len(instance.fetch_materializations(above.key, limit=5).records) == 2


def test_a_storage_of_the_users_own_is_used(tmp_path: Path) -> None:
    home = prepare_dagster_home(tmp_path / "dagster")
    elsewhere = tmp_path / "elsewhere"
    (home / "dagster.yaml").write_text(f"{CONFIG}storage:\n  sqlite:\n    base_dir: {elsewhere}\n# mine\n")
    with dagster_instance(Settings(state=tmp_path), for_runs=True) as instance:
        assert not isinstance(instance.event_log_storage, KeptEventLog)
        done = run(instance)
    assert (elsewhere / "history" / "runs" / f"{done}.db").is_file()
    assert not (home / "history").exists()
