"""Runs whose process is gone. When everything is killed at once nobody tells Dagster, and such a run holds up all others."""

import os
from typing import Final

import dagster as dg

_CLOCK_SLACK: Final = 2.0


def fail_lost_runs(instance: dg.DagsterInstance, *, is_alone: bool) -> tuple[str, ...]:
    """Marks as failed each started run of this machine whose processes are all gone; returns their ids.

    Dagster's own run monitoring does it for launchers that can be asked for their workers' health (Kubernetes), and for no other: such a
    run would stay started for ever, with its place in the queue.

    Args:
        instance: Where the runs are.
        is_alone: Whether only this machine works over the lake, so that each run is its own, wherever Dagster keeps them. Runs in SQLite
            are in any case.
    """
    from dagster._core.storage.runs.sqlite import SqliteRunStorage  # brings SQLAlchemy: a third of a second

    if instance.run_launcher.supports_check_run_worker_health:
        return ()
    if not is_alone and not isinstance(instance.run_storage, SqliteRunStorage):
        return ()
    started = instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    lost = [run for run in started if _is_lost(instance, run)]
    for run in lost:
        instance.report_run_failed(run, "Its process is gone: it was killed together with the service that watched it.")
    return tuple(run.run_id for run in lost)


def is_running(process: int, *, since: float) -> bool:
    """Whether the process that had this number at a moment still runs.

    Args:
        process: Its number.
        since: The moment, in seconds since 1970. A process that began later got a number that was free again.
    """
    import psutil

    try:
        found = psutil.Process(process)
        return found.status() != psutil.STATUS_ZOMBIE and found.create_time() <= since + _CLOCK_SLACK
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return _is_hidden(process)


def _is_hidden(process: int) -> bool:
    """Whether a process runs that the system does not show to this user."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return False


def _is_lost(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether every process that the run said it runs in is gone; a run that named none is given time."""
    told = []
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event else None
        if pid is not None:
            told.append((int(str(pid.value)), entry.timestamp))
    return bool(told) and not any(is_running(pid, since=moment) for pid, moment in told)
