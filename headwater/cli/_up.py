"""`headwater up`: Dagster UI, daemon with its sensors, prediction service, review page, watch and MLflow, on loopback, until Ctrl-C."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from headwater.cli._guard import stop_groups
from headwater.cli._guarded import guarded, named_to
from headwater.errors import HeadwaterError
from headwater.lake.errors import LakeError

if TYPE_CHECKING:
    from resources.settings import Settings

LOOPBACK: Final = "127.0.0.1"
_OPTIONAL: Final = {"review": "headwater review open", "watch": "headwater watch"}
"""What may end without taking everything else along, and what opens it again: a product that cannot be loaded has its place in the
Dagster UI."""
_PORT = click.IntRange(1, 65535)
_ROOT: Final = Path(__file__).resolve().parents[2]


class PortTakenError(HeadwaterError):
    """Another program listens on a port that `up` needs."""

    def __init__(self, *, port: int, option: str) -> None:
        self.port = port
        super().__init__(f"Port {port} on {LOOPBACK} is taken. Stop what uses it, or choose another with {option}.")


class AlreadyUpError(HeadwaterError):
    """The services of this state folder run already."""

    def __init__(self, *, state: Path, process: str) -> None:
        self.state = state
        super().__init__(
            f"`headwater up` runs already over {state} (process {process or 'unknown'}). Stop it, or set HEADWATER_STATE "
            "to another state folder."
        )


class ServiceEndedError(HeadwaterError):
    """A service ended by itself."""

    def __init__(self, *, name: str, code: int, log: Path) -> None:
        super().__init__(f"{name} ended by itself with {code}. Its log is {log}.")


@click.command()
@click.option("--port", default=3000, type=_PORT, show_default=True, help="Port of the Dagster UI.")
@click.option("--mlflow-port", default=5000, type=_PORT, show_default=True, help="Port of MLflow.")
@click.option("--no-mlflow", is_flag=True, help="Leave MLflow out.")
@click.option("--serve-port", default=8080, type=_PORT, show_default=True, help="Port of the prediction service.")
@click.option("--no-serve", is_flag=True, help="Leave the prediction service out.")
@click.option("--review-port", default=8081, type=_PORT, show_default=True, help="Port of the review page.")
@click.option("--no-review", is_flag=True, help="Leave the review page out.")
@click.option("--watch-port", default=9108, type=_PORT, show_default=True, help="Port of the watch's /metrics.")
@click.option("--no-watch", is_flag=True, help="Leave the watch out.")
def up(
    port: int,
    mlflow_port: int,
    no_mlflow: bool,
    serve_port: int,
    no_serve: bool,
    review_port: int,
    no_review: bool,
    watch_port: int,
    no_watch: bool,
) -> None:
    """Opens Dagster UI, daemon with its sensors, prediction service, review page, watch and MLflow. Ctrl-C stops all of it."""
    from resources.dagster_home import prepare_dagster_home
    from resources.settings import load_settings

    settings = load_settings()
    with _only_one(settings.state):
        ports, commands = {"Dagster UI": port}, {"dagster": _dagster(port)}
        _check_port(port, "--port")
        if not no_mlflow:
            _check_port(mlflow_port, "--mlflow-port")
            settings.mlflow_folder.mkdir(parents=True, exist_ok=True)
            ports["MLflow"], commands["mlflow"] = mlflow_port, _mlflow(mlflow_port, settings.mlflow_folder)
        if not no_serve:
            _check_port(serve_port, "--serve-port")
            ports["Service"], commands["service"] = serve_port, _service(serve_port)
        if not no_watch:
            _check_port(watch_port, "--watch-port")
            ports["Watch"], commands["watch"] = watch_port, _watch(watch_port)
        if not no_review:
            _check_port(review_port, "--review-port")
            ports["Review"], commands["review"] = review_port, _review(review_port)
        _begin_lake(settings)
        home = prepare_dagster_home(settings.dagster_home, postgres=settings.postgres)
        variables = _environment(settings.state, home, settings.scratch)
        _begin_storage(home, variables)
        logs = settings.state / "logs"
        logs.mkdir(exist_ok=True)
        for name, number in ports.items():
            click.echo(f"{name:<10}  http://{LOOPBACK}:{number}")
        click.echo(f"Logs in {logs}. Ctrl-C stops everything.")
        _run_until_stopped(commands, variables, logs, ports)


def _begin_lake(settings: "Settings") -> None:
    """Makes the lake of a new state folder. One that cannot be opened stops nothing: the service has its copies, and the sensors tell."""
    from resources.opening import open_lake

    try:
        open_lake(settings, create=True)
    except LakeError as error:
        click.echo(f"headwater: {error} The service answers from its copies; nothing is built meanwhile.", err=True)


def _begin_storage(home: Path, variables: Mapping[str, str]) -> None:
    """Makes Dagster's storage before anything that opens it: the UI, the daemon, code servers and the watch start at once, and of those that
    made the same tables one ended. What cannot be made is told by those that need it.
    """
    from resources.dagster_home import has_storage
    from resources.settings import POSTGRES

    if not has_storage(home, postgres=variables.get(POSTGRES, "")):
        subprocess.run([sys.executable, "-m", "resources.begin_storage"], env=dict(variables), check=False, cwd=_ROOT)


@contextmanager
def _only_one(state: Path) -> Iterator[None]:
    """Holds the lock of the services over a state folder; the operating system frees it when this process dies."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise AlreadyUpError(state=state, process=lock.read().strip()) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _dagster(port: int) -> list[str]:
    program = [_tool("dagster"), "dev", "--host", LOOPBACK, "--port", str(port)]
    return [*program, "--workspace", str(_ROOT / "workspace.yaml")]


def _service(port: int) -> list[str]:
    return [sys.executable, "-m", "headwater.cli", "serve", "--port", str(port)]


def _watch(port: int) -> list[str]:
    return [sys.executable, "-m", "headwater.cli", "watch", "--port", str(port)]


def _review(port: int) -> list[str]:
    return [sys.executable, "-m", "headwater.cli", "review", "open", "--port", str(port)]


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


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _run_until_stopped(
    commands: Mapping[str, list[str]], environment: Mapping[str, str], logs: Path, ports: Mapping[str, int]
) -> None:
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _frame: stopping.append(caught))
    running: dict[str, subprocess.Popen[bytes]] = {}
    silent = dict(ports)
    with guarded() as guard:
        try:
            for name, command in commands.items():
                running[name] = _start(command, environment, logs / f"{name}.log", guard)
            while not stopping:
                time.sleep(0.2)
                for name, process in list(running.items()):
                    if (code := process.poll()) is None:
                        continue
                    ended = ServiceEndedError(name=name, code=code, log=logs / f"{name}.log")
                    if name not in _OPTIONAL:
                        raise ended
                    click.echo(f"{ended} All else goes on; `{_OPTIONAL[name]}` opens it again.", err=True)
                    del running[name]
                for name in [name for name, port in silent.items() if _answers(port)]:
                    click.echo(f"{name} answers.")
                    del silent[name]
        finally:
            _stop(list(running.values()))
    click.echo("Stopped.")


def _start(
    command: list[str], environment: Mapping[str, str], log: Path, guard: "subprocess.Popen[str]"
) -> "subprocess.Popen[bytes]":
    with log.open("ab") as stream:
        return subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            process_group=0, preexec_fn=named_to(guard),
        )  # fmt: skip


def _stop(processes: list["subprocess.Popen[bytes]"]) -> None:
    """Stops every service with all that it started."""
    groups = [process.pid for process in processes]
    stop_groups(groups, ended=lambda: all(process.poll() is not None for process in processes))
    for process in processes:
        process.wait()
