"""The load that every contender gets: HTTP/1.1 over kept-alive connections on loopback, from a process of its own.

Each connection sends its next request when its last one is answered, so `connections` requests are under way all the time.
One epoll loop over plain sockets: it costs a few microseconds a request, so that what is measured is the server. Answers are
kept as they came and looked at when the clock has stopped; one that is not 200 or has another score makes the run void.

    python -m benchmarks._load < job.json > load.json
"""

import itertools
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

HOST: Final = "127.0.0.1"
PATIENCE: Final = 10.0
"""Seconds without any answer after which a server counts as hung."""
TOLERANCE: Final = 1e-6
"""Of a score: some servers round to seven digits."""
_CHUNK: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to send, and what must come back.

    Attributes:
        port: Of the server, on loopback.
        path: Of the endpoint.
        bodies: JSON bodies, sent in turn.
        scores: The score that must answer each body.
        at: Names and places on the way to the score in the answer, such as `("predictions", 0)`.
        connections: Requests under way at once.
        seconds: Measured time; more where a server is so slow that not every connection has been answered by then.
        warm_up: Seconds before it, under the same load.
    """

    port: int
    path: str
    bodies: Sequence[str]
    scores: Sequence[float]
    at: Sequence[str | int]
    connections: int
    seconds: float
    warm_up: float

    def request(self, number: int) -> bytes:
        """The bytes of one request."""
        body = self.bodies[number].encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True, kw_only=True)
class Load:
    """What came back.

    Attributes:
        connections: Requests under way at once.
        seconds: Measured time.
        requests: Answers within it.
        answers: All answers, those of the warm-up too.
        failures: Answers that were wrong, and connections that broke.
        failure: The first of them in words, empty without.
        per_second: Answers a second.
        p50: Median milliseconds from the first byte sent to the last one received.
        p95: As `p50`.
        p99: As `p50`.
        cpu: Microseconds of processor time that sending and receiving took here for each answer: the generator's own limit.
    """

    connections: int
    seconds: float
    requests: int
    answers: int
    failures: int
    failure: str
    per_second: float
    p50: float
    p95: float
    p99: float
    cpu: float


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The smallest of the ordered values that at least `percent` of a hundred do not exceed (nearest rank). From 1 to 100."""
    return ordered[-(-percent * len(ordered) // 100) - 1]


def parse(raw: bytes) -> tuple[int, bytes] | None:
    """Status and body of an answer, or None while it is not all there.

    Raises:
        ValueError: It is no HTTP/1.1 answer.
    """
    end = raw.find(b"\r\n\r\n")
    if end < 0:
        return None
    if not raw.startswith(b"HTTP/1.1 "):
        raise ValueError(f"not HTTP/1.1 but {raw[:40]!r}")
    head, status = raw[:end].lower(), int(raw[9:12])
    place = head.find(b"\r\ncontent-length:")
    if place >= 0:
        stop = head.find(b"\r\n", place + 2)
        length = int(head[place + 17 : stop if stop >= 0 else end])
        return (status, raw[end + 4 :]) if len(raw) - end - 4 >= length else None
    if b"\r\ntransfer-encoding: chunked" not in head:
        raise ValueError("an answer has neither a length nor chunks")
    return (status, _unchunked(raw[end + 4 :])) if raw.endswith(b"0\r\n\r\n") else None


def _unchunked(raw: bytes) -> bytes:
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        body, raw = body + raw[:length], raw[length + 2 :]
    return body


class _BrokenError(Exception):
    """A connection that the server closed, or that answers something else than HTTP/1.1."""


class _Connection:
    """One kept-alive connection and the request that is under way on it."""

    __slots__ = ("began", "buffer", "fd", "number", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=PATIENCE)
        self.socket.settimeout(None)  # with a timeout each call polls first
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self.socket.fileno()
        self.buffer = b""
        self.number = self.began = 0

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def ask(self, number: int, request: bytes) -> None:
        """Sends the next request."""
        self.number, self.buffer, self.began = number, b"", time.perf_counter_ns()
        try:
            self.socket.sendall(request)
        except OSError as error:
            raise _BrokenError(str(error)) from error

    def take(self) -> tuple[int, bytes] | None:
        """Status and body, None while more is to come."""
        try:
            came = self.socket.recv(_CHUNK)
            self.buffer = self.buffer + came if self.buffer else came
            found = parse(self.buffer)
        except (OSError, ValueError) as error:
            raise _BrokenError(str(error)) from error
        if not came:
            raise _BrokenError("the server closed a connection")
        return found


@dataclass
class _Record:
    """What one run leaves: answers as (number of the body, status, body), nanoseconds of the measured ones, what broke, and
    seconds: those measured, and those of processor time."""

    answers: list[tuple[int, int, bytes]]
    taken: list[int]
    broken: list[str]
    seconds: float = 1e-9
    cpu: float = 0.0


def drive(job: Job) -> Load:
    """Puts the load on a server and says what came back."""
    requests = [job.request(number) for number in range(len(job.bodies))]
    record, began = _Record([], [], []), time.process_time()
    with ExitStack() as stack, select.epoll() as poll:
        try:
            opened = [stack.enter_context(_Connection(job.port)) for _ in range(job.connections)]
            _loop(opened, itertools.cycle(enumerate(requests)), poll, record, job)
        except (OSError, _BrokenError) as error:
            record.broken.append(str(error))
    record.cpu = time.process_time() - began
    return _judge(job, record)


def _loop(
    connections: Sequence[_Connection],
    requests: Iterator[tuple[int, bytes]],
    poll: select.epoll,
    record: _Record,
    job: Job,
) -> None:
    clock = time.perf_counter_ns
    opened = {connection.fd: connection for connection in connections}
    now = clock()
    start = now + int(1e9 * job.warm_up)
    stop = start + int(1e9 * job.seconds)
    for connection in connections:
        poll.register(connection.fd, select.EPOLLIN)
        connection.ask(*next(requests))
    while opened and (now < stop or len(record.taken) < len(opened)):
        ready = poll.poll(PATIENCE)
        if not ready:
            record.broken.append(f"no answer within {PATIENCE:g} s")
            break
        for fd, _ in ready:
            connection = opened[fd]
            try:
                found = connection.take()
                now = clock()
                if found is None:
                    continue
                if now >= start:
                    record.taken.append(now - connection.began)
                record.answers.append((connection.number, *found))
                connection.ask(*next(requests))
            except _BrokenError as error:
                record.broken.append(str(error))
                poll.unregister(fd)
                del opened[fd]
    record.seconds = max(now - start, 1) / 1e9


def _judge(job: Job, record: _Record) -> Load:
    wrong = [why for answer in record.answers if (why := _wrong(job, *answer))] + record.broken
    if not record.taken:
        wrong = wrong or ["no answer in the measured time"]
    taken = sorted(record.taken) or [0]
    return Load(
        connections=job.connections,
        seconds=record.seconds,
        requests=len(record.taken),
        answers=len(record.answers),
        failures=len(wrong),
        failure=wrong[0] if wrong else "",
        per_second=len(record.taken) / record.seconds,
        p50=percentile(taken, 50) / 1e6,
        p95=percentile(taken, 95) / 1e6,
        p99=percentile(taken, 99) / 1e6,
        cpu=1e6 * record.cpu / max(1, len(record.answers)),
    )


def _wrong(job: Job, number: int, status: int, body: bytes) -> str:
    """What is wrong with an answer, empty when nothing is."""
    if status != 200:
        return f"status {status}: {body[:200]!r}"
    try:
        found: Any = json.loads(body)
        for step in job.at:
            found = found[step]
        right = abs(found - job.scores[number]) <= TOLERANCE
    except (ValueError, KeyError, IndexError, TypeError):
        right = False
    return "" if right else f"body {body[:200]!r} where the score is {job.scores[number]}"


def apart(job: Job) -> Load:
    """`drive` in a new process."""
    command = [sys.executable, "-m", "benchmarks._load"]
    done = subprocess.run(
        command, input=json.dumps(asdict(job)), capture_output=True, text=True, check=True,
        timeout=job.seconds + job.warm_up + 6 * PATIENCE, cwd=Path(__file__).resolve().parents[1],
    )  # fmt: skip
    return Load(**json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(drive(Job(**json.load(sys.stdin))))))
