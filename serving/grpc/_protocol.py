"""gRPC on one connection: its calls as tasks of the event loop, each answer with one write."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from serving.grpc._frames import Code
from serving.grpc._heads import literal
from serving.grpc._http2 import Connection, Gone, Request
from serving.grpc._messages import (
    DONE,
    HEAD,
    PREFIX,
    CallError,
    Metadata,
    Status,
    body_of,
    head_alone,
    read_message,
    read_timeout,
    refusal,
    too_large,
    trailers_of,
)

_LOG: Final = logging.getLogger("headwater.serving")
PATIENCE: Final = 60.0
"""Seconds within which a call has to be there whole, and its answer taken: up to twice as many pass until it is ended, or the
connection is closed on which something smaller stays away so long."""
_LINGER: Final = 1.0
"""Seconds that a caller has to close a connection which is over."""
_IDLE: Final = 2 * 3600.0
"""Seconds without a call or a ping after which a connection is closed."""
_SPEAKS: Final = b"This port speaks gRPC, which goes over HTTP/2.\n"
_OTHER: Final = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: "
    + str(len(_SPEAKS)).encode()
    + b"\r\n\r\n"
    + _SPEAKS
)
_METHODS: Final = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"DELETE ", b"PATCH ")


class Call(NamedTuple):
    """One call.

    Attributes:
        message: The request, serialized.
        headers: Its metadata, names in lower case.
        remaining: Seconds that the caller waits; None for as long as it takes.
    """

    message: bytes
    headers: Mapping[bytes, bytes]
    remaining: float | None


class Reply(NamedTuple):
    """Its answer.

    Attributes:
        message: Serialized.
        metadata: What is said after it.
    """

    message: bytes
    metadata: Metadata = ()


Method = Callable[[Call], Awaitable[Reply]]
"""Answers a call, or raises CallError."""


class GrpcProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(
        self, methods: Mapping[bytes, Method], *, message_limit: int, patience: float, among: "set[GrpcProtocol]"
    ) -> None:
        """Prepares.

        Args:
            methods: What is answered, by path.
            message_limit: Bytes of a request.
            patience: Seconds between two looks at what has to come from the caller.
            among: The connections that are open; it is one of them while it is.
        """
        self._methods, self._limit, self._patience, self._among = methods, message_limit, patience, among
        self._connection = Connection(PREFIX + message_limit)
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._watch: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._slow: frozenset[int] = frozenset()
        self._read_before = -1
        self._is_full = self._was_full = self._is_over = False
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Says what may come."""
        self._transport, self._heard = transport, self._loop.time()
        self._among.add(self)
        self._watch = self._loop.call_later(self._patience, self._look)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the calls, for nobody waits for them."""
        self._among.discard(self)
        for timer in (self._watch, self._linger):
            if timer is not None:
                timer.cancel()
        for task in (*self._calls.values(),):
            task.cancel()
        self._calls.clear()

    def eof_received(self) -> None:
        """Who sends no more takes no answer either: HTTP/2 has no half of a connection."""

    def pause_writing(self) -> None:
        """What is not taken is not answered further: a caller who asks and never reads gets no memory of ours."""
        self._is_full = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Goes on."""
        self._is_full = False
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Takes what came."""
        self._heard = self._loop.time()
        for one in self._connection.receive(data):
            if isinstance(one, Gone):
                if (task := self._calls.pop(one.stream, None)) is not None:
                    task.cancel()
            else:
                self._begin(one)
        if self._connection.is_closed and not self._connection.has_opened and data.startswith(_METHODS):
            self._transport.write(_OTHER)
        self._flush()

    def go(self) -> None:
        """Takes no new calls, once the caller has heard it."""
        if not self._connection.has_opened:
            self._transport.abort()
        self._connection.go()
        self._flush()

    def refuse_more(self) -> None:
        """Takes no new calls."""
        self._connection.refuse_more()
        self._flush()

    def abort(self) -> None:
        """Ends at once."""
        self._transport.abort()

    def _begin(self, request: Request) -> None:
        if status := refusal(request.head):
            said = literal({b":status": str(status).encode(), b"content-type": b"text/plain"})
            self._connection.answer(request.stream, said, b"", b"")
            return
        task = self._loop.create_task(self._answer(request))
        self._calls[request.stream] = task

    async def _answer(self, request: Request) -> None:
        stream = request.stream
        try:
            reply = await self._reply(request)
            end = literal(trailers_of(Status.OK, "", reply.metadata)) if reply.metadata else DONE
            self._connection.answer(stream, HEAD, body_of(reply.message), end)
        except CallError as error:
            said = trailers_of(error.status, error.message, error.metadata)
            self._connection.answer(stream, head_alone(said), b"", b"")
        except asyncio.CancelledError:
            self._connection.cancel(stream, Code.CANCEL)
            raise
        except BaseException:
            self._connection.answer(stream, head_alone(trailers_of(Status.INTERNAL, "The call failed here.")), b"", b"")
            raise  # the loop reports it
        finally:
            self._calls.pop(stream, None)
            self._flush()

    async def _reply(self, request: Request) -> Reply:
        """The answer. Raises CallError."""
        head = request.head
        if (method := self._methods.get(head.path)) is None:
            path = head.path[:100].decode("latin-1")
            raise CallError(Status.UNIMPLEMENTED, f"There is no {path!r} here.")
        if request.body is None:
            raise too_large(self._limit)
        remaining = read_timeout(head.headers)
        return await method(Call(read_message(request.body, head.headers, self._limit), head.headers, remaining))

    def _flush(self) -> None:
        """Writes what there is to write. What is over ends as TCP wants it: who closes with something unread, such as the caller's
        last word on windows, takes from the caller what it has not read."""
        data = self._connection.take()
        if self._is_over or self._transport.is_closing():
            return
        if data:
            self._transport.write(data)
        if self._connection.has_gone:
            self._is_over = True
            self._transport.write_eof()
            self._linger = self._loop.call_later(_LINGER, self._let_go)

    def _let_go(self) -> None:
        """Closes what the caller does not, once the last answer is out; who does not take it is seen to by `_look`."""
        if self._transport.get_write_buffer_size():
            self._linger = self._loop.call_later(_LINGER, self._let_go)
        else:
            self._transport.abort()

    def _look(self) -> None:
        """Ends what lasts too long; one timer a connection, none a call."""
        self._watch = self._loop.call_later(self._patience, self._look)
        connection, waiting = self._connection, self._connection.waiting()
        connection.forgive()
        for stream in self._slow & waiting:
            connection.cancel(stream, Code.CANCEL)
        self._slow = waiting
        is_stuck = connection.is_within and connection.bytes_read == self._read_before
        self._read_before = connection.bytes_read if connection.is_within else -1
        if is_stuck or (self._is_full and self._was_full):
            self._transport.abort()
        elif self._loop.time() - self._heard >= _IDLE and not connection.under_way:
            self.refuse_more()
        else:
            self._flush()
        self._was_full = self._is_full
