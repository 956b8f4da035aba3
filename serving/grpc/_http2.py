"""The server's side of one HTTP/2 connection (RFC 9113): bytes in, requests out; answers in, bytes out. It touches no socket.

It knows what unary calls need: a request comes whole or not at all, an answer goes with its trailers in one piece. No push, no
priorities, no tables for headers that go.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from serving.grpc._frames import (
    ACK,
    ENDS,
    HEAD,
    LARGEST,
    MOST,
    NUMBER,
    PADDED,
    PREFACE,
    PRIORITY,
    SETTING,
    WHOLE,
    Code,
    ConnectionFault,
    Kind,
    Setting,
    frame,
    goaway,
    unpadded,
)
from serving.grpc._heads import MOST_BYTES, BlockError, Head, HeadReader, MalformedHeadError

MOST_STREAMS: Final = 1_000
"""Requests under way on one connection; more are refused before they begin, and callers wait with them."""
_WINDOW: Final = 2**24
"""Bytes that a connection may send before it hears that they came."""
_DEFAULT: Final = 65_535
_ANY: Final = MOST
"""A last stream that is none: whatever comes is still answered."""
_CONTINUATIONS: Final = 16
_BODIES: Final = 16
"""Bodies as large as may be that one connection may have half sent."""
_NOTHING: Final = 2**16
"""Bytes of frames that ask nothing, between two looks at a connection, after which it is a nuisance."""
_WORTH: Final = 256
"""Bytes of such frames that each call may bring: windows and pings."""
_GOING: Final = b"going.. "
"""Says, when it comes back, that the caller knows that we go."""


class Request(NamedTuple):
    """A request that is whole.

    Attributes:
        stream: What its answer is given for.
        head: Its head.
        body: Its body; None for one that is larger than the limit, of which nothing was kept.
    """

    stream: int
    head: Head
    body: bytes | None


class Gone(NamedTuple):
    """A request that nobody waits for any more."""

    stream: int


class _Stream:
    """A request from its head until its answer went."""

    __slots__ = ("has_ended", "head", "is_asked", "parts", "rest", "size", "taken", "trailers", "window")

    def __init__(self, head: Head | None, window: int) -> None:
        self.head, self.window = head, window
        self.parts: list[bytes] = []
        self.size = self.taken = 0
        self.has_ended = self.is_asked = False
        self.rest: memoryview | None = None
        self.trailers = b""


class Connection:
    """One connection.

    Attributes:
        has_opened: Whether the caller speaks HTTP/2.
        is_closed: Whether nothing more is taken or said; what `take` gives is the last.
        is_going: Whether the caller was told to send no more.
    """

    def __init__(self, body_limit: int) -> None:
        """Prepares.

        Args:
            body_limit: Bytes of a body.
        """
        self.has_opened = self.is_closed = self.is_going = False
        self._limit, self._heads, self._streams = body_limit, HeadReader(), dict[int, _Stream]()
        self._parked = dict[int, _Stream]()
        self._stream_window = min(body_limit + _DEFAULT, MOST)
        self._buffer = PREFACE[:0]
        self._is_set = False
        self._last, self._refused_after = 0, _ANY
        self._room, self._unsaid, self._held = _WINDOW, 0, 0
        self._send, self._send_stream, self._send_frame = _DEFAULT, _DEFAULT, LARGEST
        self._block: tuple[int, int, list[bytes]] | None = None
        self._all = self._nothing = 0
        self._found: list[Request | Gone] = []
        settings = {Setting.STREAMS: MOST_STREAMS, Setting.WINDOW: self._stream_window, Setting.HEADERS: MOST_BYTES}
        self._out = [
            frame(Kind.SETTINGS, 0, 0, b"".join(SETTING.pack(name, value) for name, value in settings.items())),
            frame(Kind.WINDOW, 0, 0, NUMBER.pack(_WINDOW - _DEFAULT)),
        ]
        self._handlers: tuple[Callable[[int, int, bytes], None], ...] = (
            self._data, self._headers, self._priority, self._reset, self._settings, self._push, self._ping, self._goaway,
            self._window_update, self._continuation,
        )  # fmt: skip

    @property
    def under_way(self) -> int:
        """Requests that have begun and are not answered."""
        return len(self._streams)

    @property
    def is_within(self) -> bool:
        """Whether something has begun to come and is not whole: a frame or a header block."""
        return bool(self._buffer) or self._block is not None or not self._is_set

    @property
    def bytes_read(self) -> int:
        """Bytes of the frames that came whole."""
        return self._all

    def waiting(self) -> frozenset[int]:
        """Streams whose caller has to do something: to send the rest of the request, or to take that of the answer."""
        return frozenset(
            number for number, stream in self._streams.items() if not stream.is_asked or stream.rest is not None
        )

    def forgive(self) -> None:
        """What asked nothing is forgotten; called again and again, so that a connection may ping for days."""
        self._nothing = 0

    def take(self) -> bytes:
        """What is to be sent; nothing to who has not said that HTTP/2 is understood."""
        if not self.has_opened:
            return b""
        found = b"".join(self._out)
        self._out.clear()
        return found

    def receive(self, data: bytes) -> list[Request | Gone]:
        """What came, as requests that are whole, and as those that are gone."""
        self._found = []
        if not self.is_closed:
            try:
                self._read(self._buffer + data if self._buffer else data)
            except ConnectionFault as fault:
                self._close(fault.code)
        return self._found

    def answer(self, stream: int, head: bytes, body: bytes, trailers: bytes) -> None:
        """Answers a request; one that is gone is passed over.

        Args:
            stream: The request's.
            head: A block of headers; with the trailers smaller than a frame.
            body: The body.
            trailers: A block of trailers; empty for an answer that is a head alone.
        """
        asked = self._streams.get(stream)
        if asked is None or self.is_closed:
            return
        if not trailers:
            self._out.append(frame(Kind.HEADERS, WHOLE | ENDS, stream, head))
            self._finish(stream, asked)
            return
        size = len(body)
        if size <= self._send and size <= asked.window and size <= self._send_frame:
            self._send -= size
            self._out.append(
                b"".join(
                    (
                        frame(Kind.HEADERS, WHOLE, stream, head),
                        frame(Kind.DATA, 0, stream, body),
                        frame(Kind.HEADERS, WHOLE | ENDS, stream, trailers),
                    )
                )
            )
            self._finish(stream, asked)
            return
        self._out.append(frame(Kind.HEADERS, WHOLE, stream, head))
        asked.rest, asked.trailers = memoryview(body), trailers
        self._parked[stream] = asked
        self._send_on(stream, asked)

    def cancel(self, stream: int, code: Code) -> None:
        """Ends a request without an answer."""
        if self._drop(stream):
            self._out.append(frame(Kind.RESET, 0, stream, NUMBER.pack(code)))

    def go(self) -> None:
        """Asks the caller to send no more. What is on its way meanwhile is still answered, until the caller has heard it."""
        if not self.is_going and not self.is_closed:
            self.is_going = True
            self._out.append(goaway(_ANY, Code.NO_ERROR) + frame(Kind.PING, 0, 0, _GOING))

    def refuse_more(self) -> None:
        """What comes now is not answered; the caller is told which that is and may ask elsewhere."""
        if self._refused_after == _ANY and not self.is_closed:
            self.is_going, self._refused_after = True, self._last
            self._out.append(goaway(self._last, Code.NO_ERROR))

    @property
    def has_gone(self) -> bool:
        """Whether nothing more is coming and nothing is left to answer."""
        return self.is_closed or (self._refused_after != _ANY and not self._streams)

    def _close(self, code: Code) -> None:
        if self.has_opened:
            self._out.append(goaway(min(self._last, self._refused_after), code))
        self.is_closed = True
        self._found = [one for one in self._found if isinstance(one, Gone)]
        self._streams.clear()
        self._parked.clear()
        self._buffer, self._block = b"", None

    def _read(self, data: bytes) -> None:
        place, end = 0, len(data)
        if not self.has_opened:
            if data[: len(PREFACE)] != PREFACE[:end]:
                raise ConnectionFault(Code.PROTOCOL)
            if end < len(PREFACE):
                self._buffer = data
                return
            self.has_opened, place = True, len(PREFACE)
        while end - place >= 9:
            high, low, kind, flags, stream = HEAD.unpack_from(data, place)
            size = high << 16 | low
            if size > LARGEST:
                raise ConnectionFault(Code.FRAME_SIZE)
            start, stop = place + 9, place + 9 + size
            if stop > end:
                break
            self._frame(kind, flags, stream & MOST, data[start:stop])
            place = stop
        self._buffer = data[place:]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and (kind != Kind.CONTINUATION or stream != self._block[0]):
            raise ConnectionFault(Code.PROTOCOL)
        if not self._is_set:
            if kind != Kind.SETTINGS or flags & ACK:
                raise ConnectionFault(Code.PROTOCOL)
            self._is_set = True
        size = len(payload)
        self._all += 9 + size
        if kind > Kind.HEADERS or not size:
            self._nothing += 9 + size
            if self._nothing > _NOTHING:
                raise ConnectionFault(Code.CALM)
        if kind < len(self._handlers):
            self._handlers[kind](flags, stream, payload)

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        if not number or number > self._last:
            raise ConnectionFault(Code.PROTOCOL)
        self._room -= size
        if self._room < 0:
            raise ConnectionFault(Code.FLOW_CONTROL)
        self._unsaid += size
        if self._unsaid > _WINDOW // 2:
            self._out.append(frame(Kind.WINDOW, 0, 0, NUMBER.pack(self._unsaid)))
            self._room, self._unsaid = self._room + self._unsaid, 0
        body = unpadded(payload) if flags & PADDED else payload
        stream = self._streams.get(number)
        if stream is None:
            return  # it was on its way when the stream ended
        if stream.has_ended:
            self._lose(number, Code.STREAM_CLOSED)
            return
        stream.taken += size
        if stream.taken > self._stream_window:
            self._lose(number, Code.FLOW_CONTROL)
            return
        if body and not stream.is_asked:
            stream.parts.append(body)
            stream.size += len(body)
            self._held += len(body)
            if stream.size > self._limit or self._held > _BODIES * self._limit:
                self._ask(number, stream, is_kept=False)
        if flags & ENDS:
            self._end(number, stream)
        elif size > len(body) and not stream.is_asked:  # padding is no part of the limit
            stream.taken -= size - len(body)
            self._out.append(frame(Kind.WINDOW, 0, number, NUMBER.pack(size - len(body))))

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number & 1:
            raise ConnectionFault(Code.PROTOCOL)
        block = unpadded(payload) if flags & PADDED else payload
        if flags & PRIORITY:
            if len(block) < 5:
                raise ConnectionFault(Code.FRAME_SIZE)
            block = block[5:]
        if flags & WHOLE:
            self._begin(number, flags, block)
        else:
            self._block = number, flags, [block]

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL)
        _, first, parts = self._block
        parts.append(payload)
        if len(parts) > _CONTINUATIONS or sum(map(len, parts)) > MOST_BYTES:
            raise ConnectionFault(Code.CALM)
        if flags & WHOLE:
            self._block = None
            self._begin(number, first, b"".join(parts))

    def _begin(self, number: int, flags: int, block: bytes) -> None:
        """A request's head, or its trailers."""
        head: Head | None
        try:
            head = self._heads.read(block)
        except MalformedHeadError:
            head = None
        except BlockError as error:
            raise ConnectionFault(Code.CALM if error.is_too_large else Code.COMPRESSION) from error
        if number <= self._last:
            if (stream := self._streams.get(number)) is None:
                return  # it was on its way when the stream ended
            if stream.has_ended or not flags & ENDS:
                self._lose(number, Code.STREAM_CLOSED if stream.has_ended else Code.PROTOCOL)
            else:
                self._end(number, stream)  # trailers, of which a call has none that matter
            return
        self._last = number
        if number > self._refused_after:
            return
        if head is None or len(self._streams) >= MOST_STREAMS:
            code = Code.PROTOCOL if head is None else Code.REFUSED
            self._out.append(frame(Kind.RESET, 0, number, NUMBER.pack(code)))
            return
        stream = self._streams[number] = _Stream(head, self._send_stream)
        if flags & ENDS:
            self._end(number, stream)

    def _end(self, number: int, stream: _Stream) -> None:
        stream.has_ended = True
        if not stream.is_asked:
            self._ask(number, stream, is_kept=True)

    def _ask(self, number: int, stream: _Stream, *, is_kept: bool) -> None:
        assert stream.head is not None
        parts = stream.parts
        body = (parts[0] if len(parts) == 1 else b"".join(parts)) if is_kept else None
        self._found.append(Request(number, stream.head, body))
        self._held -= stream.size
        self._nothing = max(0, self._nothing - _WORTH)
        stream.is_asked, stream.parts, stream.size, stream.head = True, [], 0, None

    def _lose(self, number: int, code: Code) -> None:
        """A stream that cannot go on; the connection can."""
        self.cancel(number, code)
        self._found.append(Gone(number))

    def _reset(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE)
        if not number or number > self._last:
            raise ConnectionFault(Code.PROTOCOL)
        if self._drop(number):
            self._found.append(Gone(number))

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL)
        if len(payload) % 6 or (flags & ACK and payload):
            raise ConnectionFault(Code.FRAME_SIZE)
        if flags & ACK:
            return
        for name, value in SETTING.iter_unpack(payload):
            if name == Setting.PUSH and value > 1:
                raise ConnectionFault(Code.PROTOCOL)
            if name == Setting.FRAME:
                if not LARGEST <= value < 2**24:
                    raise ConnectionFault(Code.PROTOCOL)
                self._send_frame = value
            if name == Setting.WINDOW:
                self._widen(value)
        self._out.append(frame(Kind.SETTINGS, ACK, 0, b""))
        self._send_all()

    def _widen(self, window: int) -> None:
        """Another window for all streams, those that are there too."""
        more, self._send_stream = window - self._send_stream, window
        if window > MOST or any(stream.window + more > MOST for stream in self._streams.values()):
            raise ConnectionFault(Code.FLOW_CONTROL)
        for stream in self._streams.values():
            stream.window += more

    def _window_update(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE)
        more = NUMBER.unpack(payload)[0] & MOST
        if number > self._last:
            raise ConnectionFault(Code.PROTOCOL)
        if not number:
            self._send += more
            if not more or self._send > MOST:
                raise ConnectionFault(Code.FLOW_CONTROL if more else Code.PROTOCOL)
            self._send_all()
        elif (stream := self._streams.get(number)) is not None:
            stream.window += more
            if not more or stream.window > MOST:
                self._lose(number, Code.FLOW_CONTROL if more else Code.PROTOCOL)
            elif stream.rest is not None:
                self._send_on(number, stream)

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) != 8:
            raise ConnectionFault(Code.PROTOCOL if number else Code.FRAME_SIZE)
        if not flags & ACK:
            self._out.append(frame(Kind.PING, ACK, 0, payload))
        elif payload == _GOING and self.is_going:
            self.refuse_more()

    def _goaway(self, flags: int, number: int, payload: bytes) -> None:
        """The caller will ask nothing more; what is under way is answered, and the caller closes."""
        if number or len(payload) < 8:
            raise ConnectionFault(Code.PROTOCOL if number else Code.FRAME_SIZE)

    def _priority(self, flags: int, number: int, payload: bytes) -> None:
        if not number or len(payload) != 5:
            raise ConnectionFault(Code.FRAME_SIZE if number else Code.PROTOCOL)

    def _push(self, flags: int, number: int, payload: bytes) -> None:
        raise ConnectionFault(Code.PROTOCOL)

    def _send_all(self) -> None:
        """Sends on what waited for room; streams take turns in the order in which they were asked."""
        for number, stream in tuple(self._parked.items()):
            if self._send <= 0:
                return
            if stream.window > 0:
                self._send_on(number, stream)

    def _send_on(self, number: int, stream: _Stream) -> None:
        assert stream.rest is not None
        while stream.rest:
            size = min(len(stream.rest), self._send, stream.window, self._send_frame)
            if size <= 0:
                return
            self._out.append(frame(Kind.DATA, 0, number, bytes(stream.rest[:size])))
            self._nothing = max(0, self._nothing - size // _WORTH)
            self._send, stream.window, stream.rest = self._send - size, stream.window - size, stream.rest[size:]
        self._out.append(frame(Kind.HEADERS, WHOLE | ENDS, number, stream.trailers))
        self._finish(number, stream)

    def _finish(self, number: int, stream: _Stream) -> None:
        """An answer is out; who still sends the request may stop (RFC 9113, 8.1)."""
        if not stream.has_ended:
            self._out.append(frame(Kind.RESET, 0, number, NUMBER.pack(Code.NO_ERROR)))
        self._drop(number)

    def _drop(self, number: int) -> bool:
        """Forgets a stream; whether it was there."""
        stream = self._streams.pop(number, None)
        if stream is None:
            return False
        self._parked.pop(number, None)
        self._held -= stream.size
        return True
