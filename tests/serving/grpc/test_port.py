"""The port itself, in this process: callers who are slow, go away or speak something else, and a server that ends."""

import asyncio
import gzip
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from serving.grpc._frames import PREFACE, Kind, frame
from serving.grpc._heads import literal
from serving.grpc._messages import CallError, Status
from serving.grpc._protocol import Call, Reply
from serving.grpc._server import GrpcServer, reserve
from tests.serving.http.conftest import is_refused

LIMIT = 2**20
OPENING = PREFACE + frame(Kind.SETTINGS, 0, 0, b"")
HEAD = {
    b":method": b"POST",
    b":scheme": b"http",
    b":path": b"/t/Echo",
    b"te": b"trailers",
    b"content-type": b"application/grpc",
}


class Port:
    """A server in a loop of its own thread, and what happened there."""

    def __init__(self, patience: float = 60.0) -> None:
        self.cancelled: list[bytes] = []
        self.faults: list[str] = []
        self.arrived: list[bytes] = []
        self.echoed = 0
        methods = {b"/t/Echo": self.echo, b"/t/Wait": self.wait, b"/t/Fail": self.fail, b"/t/Refuse": self.refuse}
        held = reserve("127.0.0.1", 0)
        self.port = held.getsockname()[1]
        self.server = GrpcServer(
            methods, host="127.0.0.1", port=self.port, message_limit=LIMIT, drain=60, patience=patience
        )
        self.loop, self.thread = asyncio.new_event_loop(), threading.Thread(target=self._run)
        self.loop.set_exception_handler(lambda loop, context: self.faults.append(repr(context.get("exception"))))
        self.thread.start()
        self.do(self.server.start())
        held.close()
        self.let_go = asyncio.Event()

    async def echo(self, call: Call) -> Reply:
        self.echoed += 1
        return Reply(call.message, (("asked", call.headers.get(b"x-asked", b"").decode()),))

    async def wait(self, call: Call) -> Reply:
        self.arrived.append(call.message)
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(call.message)
            raise
        return Reply(call.message)

    async def fail(self, call: Call) -> Reply:
        raise ZeroDivisionError("planted")

    async def refuse(self, call: Call) -> Reply:
        raise CallError(Status.NOT_FOUND, "nothing is 100 % there: ü", (("headwater-code", "nothing"),))

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < end, "it never held"
            time.sleep(0.01)

    def stop(self) -> None:
        self.do(self.server.ended())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


@pytest.fixture
def begin() -> Iterator[Callable[..., Port]]:
    begun: list[Port] = []

    def start(**more: Any) -> Port:
        begun.append(Port(**more))
        return begun[-1]

    yield start
    for port in begun:
        port.loop.call_soon_threadsafe(port.let_go.set)
        port.stop()


@pytest.fixture
def port(begin: Callable[..., Port]) -> Port:
    return begin()


@pytest.fixture
def channel(port: Port) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{port.port}", options=[("grpc.max_receive_message_length", -1)]) as found:
        yield found


def raw(port: Port, data: bytes) -> bytes:
    """What comes back until the server closes."""
    found = b""
    with socket.create_connection(("127.0.0.1", port.port), timeout=10) as connection:
        try:
            connection.sendall(data)
            while part := connection.recv(65_536):
                found += part
        except ConnectionError:
            return found
    return found


def call(stream: int = 1, fields: dict[bytes, bytes] | None = None, body: bytes = b"\0\0\0\0\3abc") -> bytes:
    head = frame(Kind.HEADERS, 4, stream, literal({**HEAD, **(fields or {})}))
    return head + frame(Kind.DATA, 1, stream, body)


@pytest.mark.parametrize("size", [0, 1, 16_383, 65_536, LIMIT])
@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
def test_messages_of_every_size_go_both_ways(channel: grpc.Channel, size: int, compression: grpc.Compression) -> None:
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    ask = channel.unary_unary("/t/Echo")
    found, said = ask.with_call(
        message, timeout=20, compression=compression, metadata=[("x-asked", "yes"), ("some-bin", b"\0")]
    )
    assert found == message
    assert dict(said.trailing_metadata())["asked"] == "yes"


def test_many_calls_at_once_share_a_connection(port: Port, channel: grpc.Channel) -> None:
    ask = channel.unary_unary("/t/Echo")
    for size in (10, 100_000):
        asked = [(n.to_bytes(4) * (size // 4), n) for n in range(200)]
        calls = [ask.future(message, timeout=20) for message, _ in asked]
        assert [one.result() for one in calls] == [message for message, _ in asked]


def test_errors_come_as_statuses_with_their_text_and_metadata(port: Port, channel: grpc.Channel) -> None:
    def error(name: str, message: bytes = b"") -> Any:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(name)(message, timeout=20)
        return caught.value

    refused = error("/t/Refuse")
    assert (refused.code(), refused.details()) == (grpc.StatusCode.NOT_FOUND, "nothing is 100 % there: ü")
    assert dict(refused.trailing_metadata()) == {"headwater-code": "nothing"}
    assert error("/t/Nothing").code() is grpc.StatusCode.UNIMPLEMENTED
    assert error("/t/Echo", b"x" * (LIMIT + 1)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error("/t/Echo", b"x" * 20 * LIMIT).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error("/t/Fail").code() is grpc.StatusCode.INTERNAL
    port.until(lambda: port.faults == ["ZeroDivisionError('planted')"])
    assert channel.unary_unary("/t/Echo")(b"goes on", timeout=20) == b"goes on"


def test_a_caller_who_cancels_or_goes_away_ends_the_call(port: Port) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port.port}") as channel:
        one = channel.unary_unary("/t/Wait").future(b"cancelled", timeout=20)
        port.until(lambda: port.arrived == [b"cancelled"])
        one.cancel()
        port.until(lambda: port.cancelled == [b"cancelled"])
        late: list[Any] = []

        def has_arrived() -> bool:
            if not late or late[-1].done():  # its time may be over before it is there
                late.append(channel.unary_unary("/t/Wait").future(b"late", timeout=2))
            return b"late" in port.arrived

        port.until(has_arrived)
        assert {one.code() for one in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        port.until(lambda: port.cancelled == port.arrived)
        left = channel.unary_unary("/t/Wait").future(b"left", timeout=20)  # a call that nobody holds is cancelled
        port.until(lambda: b"left" in port.arrived)
        assert not left.done()
    port.until(lambda: b"left" in port.cancelled)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 505 HTTP Version Not Supported\r\n"), (b"\x16\x03\x01" + b"\0" * 200, b""), (PREFACE[:10] + b"nonsense" * 9, b""),
        (PREFACE + b"nonsense" * 90, b""), (OPENING + b"nonsense" * 90, b""), (OPENING + call(), b"\0\0\0\0\x03abc"),
        (OPENING + call(fields={b"content-type": b"text/plain"}), literal({b":status": b"415"})),
        (OPENING + call(fields={b":method": b"GET"}), literal({b":status": b"405"})),
        (OPENING + call(body=b"\0\0\0\0\4abc"), b"within"), (OPENING + call(fields={b"grpc-timeout": b"soon"}), b"soon"),
    ],
)  # fmt: skip
def test_who_speaks_something_else_hears_it_and_disturbs_nobody(
    port: Port, channel: grpc.Channel, sent: bytes, said: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", port.port), timeout=10) as connection:
        connection.sendall(sent)
        found = b""
        while not said or said not in found:  # an answer needs a turn of the loop; what ends the connection has none
            part = connection.recv(65_536)
            assert part or not said, found
            if not part:
                break
            found += part
    assert channel.unary_unary("/t/Echo")(b"goes on", timeout=20) == b"goes on"


def test_what_never_becomes_whole_is_ended(begin: Callable[..., Port]) -> None:
    port = begin(patience=0.5)
    with grpc.insecure_channel(f"127.0.0.1:{port.port}") as channel:
        kept = channel.unary_unary("/t/Wait").future(b"", timeout=20, wait_for_ready=True)
        port.until(lambda: port.arrived == [b""])
        for sent in (b"", PREFACE[:5], PREFACE, OPENING + b"\0", OPENING + frame(Kind.HEADERS, 0, 1, b"")):
            raw(port, sent)  # comes back once the server closes
        with socket.create_connection(("127.0.0.1", port.port), timeout=10) as connection:
            connection.sendall(OPENING + frame(Kind.HEADERS, 4, 1, literal(HEAD)) + frame(Kind.DATA, 0, 1, b"\0\0"))
            found = b""
            while frame(Kind.RESET, 0, 1, struct.pack(">I", 8)) not in found:
                part = connection.recv(65_536)
                assert part, found
                found += part
        port.loop.call_soon_threadsafe(port.let_go.set)
        assert kept.result() == b""


def test_a_caller_who_never_reads_is_not_answered_for_ever(begin: Callable[..., Port]) -> None:
    port = begin(patience=0.2)
    window = frame(Kind.SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)) + frame(
        Kind.WINDOW, 0, 0, struct.pack(">I", 2**30)
    )
    message = b"\0" + struct.pack(">I", 10_000) + b"x" * 10_000
    sent = b"".join(call(stream, body=message) for stream in range(1, 5_001, 2))
    with (
        socket.create_connection(("127.0.0.1", port.port), timeout=10) as connection,
        pytest.raises(OSError, match=r"reset|Broken pipe|timed out"),
    ):
        connection.sendall(PREFACE + window + sent)
    port.until(lambda: not port.server._connections)


def test_a_server_that_ends_answers_what_it_has_and_takes_no_more(begin: Callable[..., Port]) -> None:
    port = begin()
    with grpc.insecure_channel(f"127.0.0.1:{port.port}") as channel:
        under_way = [channel.unary_unary("/t/Wait").future(b"%d" % n, timeout=20) for n in range(20)]
        port.until(lambda: len(port.arrived) == 20)
        port.loop.call_soon_threadsafe(port.server.end)
        port.until(lambda: is_refused(port.port))
        # What is sent before the caller has heard of it is still answered.
        port.until(
            lambda: channel.unary_unary("/t/Echo").future(b"late", timeout=20).code() is grpc.StatusCode.UNAVAILABLE
        )
        port.loop.call_soon_threadsafe(port.let_go.set)
        assert [one.result() for one in under_way] == [b"%d" % n for n in range(20)]
    begun = time.monotonic()
    port.do(port.server.ended())
    assert time.monotonic() - begun < 20


def test_who_takes_its_answers_slowly_gets_them_from_a_server_that_ends(port: Port) -> None:
    """A connection was closed a second after its last answer was written, not a second after it went."""
    window = frame(Kind.SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)) + frame(
        Kind.WINDOW, 0, 0, struct.pack(">I", 2**30)
    )
    packed = gzip.compress(b"x" * LIMIT)
    body = b"\1" + struct.pack(">I", len(packed)) + packed
    sent = b"".join(call(stream, {b"grpc-encoding": b"gzip"}, body) for stream in range(1, 25, 2))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        connection.connect(("127.0.0.1", port.port))
        connection.settimeout(10)
        connection.sendall(PREFACE + window + sent)
        port.until(lambda: port.echoed == 12)
        port.until(lambda: {one._connection.under_way for one in port.server._connections} == {0})
        port.loop.call_soon_threadsafe(port.server.end)
        time.sleep(2.5)  # longer than a connection that is over may linger
        found = 0
        while part := connection.recv(2**20):
            found += part.count(b"x")
    assert found == 12 * LIMIT
