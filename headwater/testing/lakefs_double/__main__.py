"""Serves a lakeFS double until its standard input ends: `python -m headwater.testing.lakefs_double [PORT [FOLDER]]`.

The first line on standard output is its endpoint; the keys are lakeFS's public quickstart keys. With a folder, the state
is read from there and written there at the end. A process of its own suits clients that hold Python's global lock while
they wait for an answer.
"""

import sys
from pathlib import Path

from headwater.testing.lakefs_double._server import LakeFSDouble


def main(port: str = "0", folder: str = "") -> None:
    """Serves on 127.0.0.1 until standard input ends, so that it never outlives who started it."""
    with LakeFSDouble(port=int(port), folder=Path(folder) if folder else None) as server:
        sys.stdout.write(f"{server.endpoint}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
