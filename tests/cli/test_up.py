"""`headwater up`: what it opens, where, and that nothing of it stays, however it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headwater.cli._up import _begin_lake
from resources.opening import open_lake
from resources.settings import Settings
from tests.ports import free_port
from tests.scenarios.workshop import Workshop

START_SECONDS, STOP_SECONDS = 240, 120
OPTIONS_OF_PORTS = ("--port", "--mlflow-port", "--serve-port", "--review-port", "--watch-port")


def processes_of(workshop: Workshop) -> list[int]:
    """Processes whose environment names this state folder."""
    mark, found = f"HEADWATER_STATE={workshop.state}\0".encode(), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if mark in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def listening() -> dict[int, set[str]]:
    """Port to the addresses that listen on it, IPv4 as eight hex digits and IPv6 as thirty-two."""
    found: dict[int, set[str]] = {}
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(file).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, port = local.split(":")
            if state == "0A":
                found.setdefault(int(port, 16), set()).add(address)
    return found


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


@contextmanager
def up(workshop: Workshop, *words: str) -> "Iterator[subprocess.Popen[str]]":
    process = subprocess.Popen(
        workshop.command("up", *words),
        cwd=workshop.checkout,
        env=workshop.variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        gone(workshop)
        for left in processes_of(workshop):
            os.kill(left, signal.SIGKILL)


def gone(workshop: Workshop) -> bool:
    deadline = time.monotonic() + STOP_SECONDS
    while processes_of(workshop) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not processes_of(workshop)


def wait_for(process: "subprocess.Popen[str]", workshop: Workshop, *urls: str) -> None:
    """Waits until each of `urls` has answered once.

    Raises:
        AssertionError: `up` ended, or one did not answer in time: which, and what the logs say.
    """
    deadline, silent = time.monotonic() + START_SECONDS, list(urls)
    while silent := [url for url in silent if not answers(url)]:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{silent} did not answer. {said_last(workshop)}"
        time.sleep(0.3)


def said_last(workshop: Workshop) -> str:
    """The end of each service's log."""
    logs = sorted((workshop.state / "logs").glob("*.log"))
    return "\n".join(f"{log.name}: {log.read_text()[-3000:]}" for log in logs)


def test_it_begins_the_lake_of_a_new_state_folder_and_no_other_where_one_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it runs reads a lake, and makes none. Without one it starts all the same: the service has copies of its own."""
    settings = Settings(state=tmp_path / "state")
    _begin_lake(settings)
    assert open_lake(settings).resolve("main")
    assert capsys.readouterr().err == ""
    settings.lake_folder.rename(tmp_path / "away")
    _begin_lake(settings)
    assert "is not where it was" in capsys.readouterr().err
    assert not settings.lake_folder.exists()


@pytest.mark.parametrize("end", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.heavy), signal.SIGKILL])
def test_everything_is_open_on_loopback_alone_and_nothing_stays(workshop: Workshop, end: signal.Signals) -> None:
    # Once a killed `up` left Dagster and MLflow running for ever.
    ui, mlflow, service, review, watch = free_port(), free_port(), free_port(), free_port(), free_port()
    words = (
        "--port",
        str(ui),
        "--mlflow-port",
        str(mlflow),
        "--serve-port",
        str(service),
        "--review-port",
        str(review),
        "--watch-port",
        str(watch),
    )
    with up(workshop, *words) as process:
        places = (
            f"{ui}/server_info",
            f"{mlflow}/health",
            f"{service}/v2/health/live",
            f"{review}/",
            f"{watch}/metrics",
        )
        wait_for(process, workshop, *(f"http://127.0.0.1:{place}" for place in places))
        ports = listening()
        assert ports[ui] == ports[mlflow] == ports[service] == ports[review] == ports[watch] == {"0100007F"}
        assert "runs already over" in workshop.run("up", "--port", str(free_port()), code=2).stderr
        if end is signal.SIGINT:
            os.killpg(process.pid, end)  # as a terminal's Ctrl-C reaches the whole group
        else:
            os.kill(process.pid, end)
        process.wait(timeout=STOP_SECONDS)
        assert gone(workshop)
        assert not {ui, mlflow, service, review, watch} & listening().keys()
        if end is not signal.SIGKILL:
            assert (process.returncode, "Stopped." in process.communicate()[0]) == (0, True)


def test_a_killed_ui_takes_nothing_along_that_stays(workshop: Workshop) -> None:
    port = free_port()
    with up(workshop, "--port", str(port), "--no-mlflow", "--no-serve", "--no-review", "--no-watch") as process:
        deadline = time.monotonic() + START_SECONDS
        while len(processes_of(workshop)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=STOP_SECONDS)
        assert gone(workshop)
        assert port not in listening()


@pytest.mark.parametrize("option", OPTIONS_OF_PORTS)
def test_a_taken_port_is_named_with_its_option(workshop: Workshop, option: str) -> None:
    ports = {name: str(free_port()) for name in OPTIONS_OF_PORTS}  # a `make up` of the tester's own has the usual ones
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports[option] = str(taken.getsockname()[1])
        said = workshop.run("up", *(word for item in ports.items() for word in item), code=2).stderr
    assert f"Port {ports[option]} on 127.0.0.1 is taken" in said
    assert f"another with {option}." in said


ENDING = """
import sys
from pathlib import Path
from headwater.cli._up import _run_until_stopped
ends = lambda code, after: [sys.executable, "-c", f"import sys, time; time.sleep({after}); sys.exit({code})"]
commands = {"watch": ends(2, 0), "review": ends(2, 0), "service": ends(3, 2)}
_run_until_stopped(commands, {}, Path(sys.argv[1]), {})
"""


def test_a_watch_or_a_review_that_ends_takes_nothing_along_and_the_service_does(tmp_path: Path) -> None:
    # A product that cannot be loaded ends both at their start.
    done = subprocess.run(
        [sys.executable, "-c", ENDING, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    for name, command in (("watch", "headwater watch"), ("review", "headwater review open")):
        assert f"{name} ended by itself with 2" in done.stderr
        assert f"`{command}` opens it again" in done.stderr
    assert "ServiceEndedError: service ended by itself with 3" in done.stderr
