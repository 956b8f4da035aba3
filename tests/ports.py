"""Ports of loopback for programs that are told theirs."""

import itertools
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LOWEST: Final = 10_000
_SHARES: Final = 16
_TRIES: Final = 500


def free_port() -> int:
    """A port that nothing listens on, and that nothing takes before its program does.

    A port of the kernel's own choice, let go of, is anyone's again: the next server on port 0 or the next connection had it, and
    `up` waited for a service that could not bind. So it is below those that the kernel chooses from, out of this worker's share.
    """
    for port in itertools.islice(_PORTS, _TRIES):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"{_TRIES} ports are taken")


def _share() -> Iterator[int]:
    """The ports of this worker's share, round and round, from any of them on: another checkout's tests begin elsewhere."""
    chosen = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    end = (
        chosen if chosen >= _LOWEST + _SHARES * _TRIES else 2 * _LOWEST
    )  # a kernel that chooses from all leaves none apart
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
    ports = range(_LOWEST + worker, end, _SHARES)
    begin = secrets.randbelow(len(ports))
    return itertools.cycle([*ports[begin:], *ports[:begin]])


_PORTS: Final = _share()
