"""The benchmarks' load generator counts what a server really did: against a small one that this test runs."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._load import HOST, Job, Load, apart, drive, parse, percentile
from tests.ports import free_port

Respond = Callable[[int, dict[str, float]], bytes | None]
"""The answer to the n-th request of a connection with a body; None hangs up."""


def answer(score: object, *, status: str = "200 OK") -> bytes:
    body = json.dumps({"out": [{"score": score}]}).encode()
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def right(number: int, body: dict[str, float]) -> bytes:
    return answer(body["x"] / 2)


@contextmanager
def server(respond: Respond) -> Iterator[int]:
    """A server with a thread for each connection."""
    listening = socket.create_server((HOST, 0))
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:  # it ends when the load hangs up
            number = 0
            while lines.readline():
                length = 0
                while (line := lines.readline()) != b"\r\n":
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                said = respond(number, json.loads(lines.read(length)))
                if said is None:
                    return
                connection.sendall(said)
                number += 1

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for thread in (accepting, *threads):
            thread.join(10)


def load(respond: Respond, *, connections: int = 1, seconds: float = 0.3, run: Callable[[Job], Load] = drive) -> Load:
    with server(respond) as port:
        return run(
            Job(
                port=port, path="/predict", bodies=['{"x": 1}', '{"x": 3}'], scores=[0.5, 1.5], at=["out", 0, "score"],
                connections=connections, seconds=seconds, warm_up=0.05,
            )
        )  # fmt: skip


@pytest.mark.parametrize("connections", [1, 4])
def test_right_answers_are_counted_and_none_fails(connections: int) -> None:
    found = load(right, connections=connections)
    assert (found.failures, found.failure) == (0, "")
    assert 0 < found.requests <= found.answers
    assert found.seconds >= 0.3
    assert found.per_second == pytest.approx(found.requests / found.seconds)
    assert 0 < found.p50 <= found.p95 <= found.p99


def test_a_process_of_its_own_finds_the_same() -> None:
    found = load(right, connections=2, run=apart)
    assert found.failures == 0
    assert found.requests > 0


def test_each_connection_has_one_request_under_way() -> None:
    """Nobody is answered before all five have asked."""
    all_asked = threading.Barrier(5)

    def wait(number: int, body: dict[str, float]) -> bytes:
        if number == 0:
            all_asked.wait(10)
        return right(number, body)

    assert load(wait, connections=5).failures == 0


def test_a_slow_server_is_measured_until_each_connection_has_an_answer() -> None:
    """MLflow, asked by 64 at once, had answered none when half a second was over: slow is not wrong."""

    def slow(number: int, body: dict[str, float]) -> bytes:
        time.sleep(0.3)
        return right(number, body)

    found = load(slow, connections=3, seconds=0.05)
    assert (found.failures, found.requests >= 3) == (0, True)
    assert found.seconds > 0.05


def test_other_states_than_200_are_failures() -> None:
    found = load(lambda number, body: right(number, body) if number % 2 else answer(0, status="503 Busy"))
    assert found.failures in (found.answers // 2, found.answers // 2 + 1)
    assert found.failure.startswith("status 503")


@pytest.mark.parametrize("score", [0.1, None, "0.5", float("nan"), [0.5]])
def test_another_score_is_a_failure(score: object) -> None:
    found = load(lambda number, body: right(number, body) if number else answer(score), seconds=0.1)
    assert found.failures == 1
    assert "0.5" in found.failure


def test_an_answer_to_another_request_is_a_failure() -> None:
    found = load(lambda number, body: answer(0.5), seconds=0.1)
    assert found.failures == found.answers // 2


def test_a_closed_connection_is_a_failure_and_the_others_go_on() -> None:
    """Of two connections, the one that asks first is hung up on; the other is answered once that has happened."""
    left, hung_up = [1], Future[threading.Thread]()

    def hang_up_once(number: int, body: dict[str, float]) -> bytes | None:
        with suppress(IndexError):
            left.pop()
            hung_up.set_result(threading.current_thread())
            return None
        hung_up.result(10).join(10)
        return right(number, body)

    found = load(hang_up_once, connections=2)
    assert (found.failures, found.failure) == (1, "the server closed a connection")
    assert found.requests > 0


def test_a_server_that_only_hangs_up_leaves_no_figures() -> None:
    found = load(lambda number, body: None, connections=2)
    assert (found.requests, found.failures, found.p50) == (0, 2, 0)


def test_a_server_that_is_not_there_is_a_failure() -> None:
    job = Job(port=free_port(), path="/", bodies=["{}"], scores=[0], at=[], connections=1, seconds=0.1, warm_up=0)
    assert (drive(job).requests, drive(job).failures) == (0, 1)


def test_what_is_no_http_is_a_failure() -> None:
    found = load(lambda number, body: b"hello\r\n\r\n")
    assert "not HTTP/1.1" in found.failure


def test_latency_covers_all_that_a_server_takes() -> None:
    """20 ms an answer: never less, and no more answers than fit into the time."""

    def slow(number: int, body: dict[str, float]) -> bytes:
        time.sleep(0.02)
        return right(number, body)

    found = load(slow)
    assert found.p50 >= 20
    assert found.answers <= 19


def test_an_answer_is_read_whole_however_it_comes() -> None:
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nserver: x\r\n\r\n{}"
    chunked = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
    assert parse(plain) == (200, b"{}")
    assert parse(chunked) == (201, b"{}")
    assert [parse(raw[:n]) for raw in (plain, chunked) for n in range(len(raw))] == [None] * (len(plain) + len(chunked))


def test_an_answer_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        parse(b"HTTP/1.1 200 OK\r\nserver: x\r\n\r\n{}")


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=300), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_its_share_does_not_exceed(values: list[int], share: int) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert 100 * sum(value <= found for value in values) >= share * len(values)
    smaller = [value for value in values if value < found]
    assert 100 * len(smaller) < share * len(values)
