"""Serves a lakeFS double until it is told to end: `python -m headwater.testing.lakefs_double [PORT]`.

The first line on standard output is its endpoint; the keys are lakeFS's public quickstart keys. A process of its own
suits clients that hold Python's global lock while they wait for an answer.
"""

import sys

from headwater.testing.lakefs_double._server import LakeFSDouble


def main(port: int = 0) -> None:
    """Serves on 127.0.0.1 until standard input ends, so that it never outlives who started it."""
    with LakeFSDouble(port=port) as server:
        sys.stdout.write(f"{server.endpoint}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
