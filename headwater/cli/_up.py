"""`headwater up`: the Dagster UI, the daemon with its sensors, and MLflow, on loopback, until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from headwater.errors import HeadwaterError

LOOPBACK: Final = "127.0.0.1"
_GRACE_SECONDS: Final = 15.0


class PortTakenError(HeadwaterError):
    """Another program listens on a port that `up` needs."""

    def __init__(self, *, port: int, option: str) -> None:
        self.port = port
        super().__init__(f"Port {port} on {LOOPBACK} is taken. Stop what uses it, or choose another with {option}.")


class ServiceEndedError(HeadwaterError):
    """A service ended by itself."""

    def __init__(self, *, name: str, code: int, log: Path) -> None:
        super().__init__(f"{name} ended by itself with {code}. Its log is {log}.")


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port of the Dagster UI.")
@click.option("--mlflow-port", default=5000, show_default=True, help="Port of MLflow.")
@click.option("--no-mlflow", is_flag=True, help="Leave MLflow out.")
def up(port: int, mlflow_port: int, no_mlflow: bool) -> None:
    """Opens the Dagster UI, the daemon with its sensors, and MLflow. Ctrl-C stops all of it."""
    from resources.dagster_home import prepare_dagster_home
    from resources.settings import load_settings

    settings = load_settings()
    _check_port(port, "--port")
    commands = {"dagster": _dagster(port)}
    if not no_mlflow:
        _check_port(mlflow_port, "--mlflow-port")
        settings.mlflow_folder.mkdir(parents=True, exist_ok=True)
        commands["mlflow"] = _mlflow(mlflow_port, settings.mlflow_folder)
    home = prepare_dagster_home(settings.dagster_home)
    environment = _environment(settings.state, home, settings.scratch)
    logs = settings.state / "logs"
    logs.mkdir(exist_ok=True)
    click.echo(f"Dagster UI  http://{LOOPBACK}:{port}")
    if not no_mlflow:
        click.echo(f"MLflow      http://{LOOPBACK}:{mlflow_port}")
    click.echo(f"Logs in {logs}. Ctrl-C stops everything.")
    _run_until_stopped(commands, environment, logs)


def _dagster(port: int) -> list[str]:
    root = Path(__file__).resolve().parents[2]
    program = [_tool("dagster"), "dev", "--host", LOOPBACK, "--port", str(port)]
    return [*program, "--workspace", str(root / "workspace.yaml")]


def _mlflow(port: int, folder: Path) -> list[str]:
    store = f"sqlite:///{folder / 'mlflow.db'}"
    artifacts = (folder / "artifacts").as_uri()
    program = [_tool("mlflow"), "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    return [*program, "--backend-store-uri", store, "--default-artifact-root", artifacts]


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _environment(state: Path, home: Path, scratch: Path) -> Mapping[str, str]:
    return {
        **os.environ,
        "HEADWATER_STATE": str(state),
        "DAGSTER_HOME": str(home),
        "TMPDIR": str(scratch),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _check_port(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise PortTakenError(port=port, option=option) from error


def _run_until_stopped(commands: Mapping[str, list[str]], environment: Mapping[str, str], logs: Path) -> None:
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _frame: stopping.append(caught))
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            log = (logs / f"{name}.log").open("ab")
            running[name] = subprocess.Popen(
                command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                process_group=0, preexec_fn=_default_signals,
            )  # fmt: skip
            log.close()
        while not stopping:
            time.sleep(0.2)
            for name, process in running.items():
                if (code := process.poll()) is not None:
                    raise ServiceEndedError(name=name, code=code, log=logs / f"{name}.log")
    finally:
        _stop(list(running.values()))
    click.echo("Stopped.")


def _default_signals() -> None:
    # A shell that starts us in the background ignores SIGINT, and the ignoring is inherited: Dagster then can't stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _stop(processes: list["subprocess.Popen[bytes]"]) -> None:
    """Interrupts every process group, waits, and kills what is left of them."""
    for process in processes:
        _signal_group(process.pid, signal.SIGINT)
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(0.1)
    for process in processes:
        _signal_group(process.pid, signal.SIGTERM)
    time.sleep(1.0)
    for process in processes:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
