"""A gRPC call as bytes on a plain socket, for a caller that costs next to nothing: fixed frames out, frames counted in.

It knows of HTTP/2 (RFC 9113) what one call after another on one connection needs, and is no client for anything else.
"""

import socket
import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
_HEAD: Final = 9
"""Bytes before a frame's payload."""
_WINDOW: Final = 2**30


class CallError(Exception):
    """A call that did not end with a message."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def headers(fields: list[tuple[bytes, bytes]]) -> bytes:
    """A header block (RFC 7541) of literals that no table remembers."""
    found = b""
    for name, value in fields:
        if max(len(name), len(value)) > 126:
            raise ValueError("longer texts need a longer length")
        found += b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value
    return found


class Caller:
    """One connection, one method, one message, asked again and again."""

    def __init__(self, port: int, *, path: str, message: bytes) -> None:
        """Connects.

        Args:
            port: Of the server, on loopback.
            path: `/package.Service/Method`.
            message: The request, serialized.
        """
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, _WINDOW)) + frame(
            WINDOW_UPDATE, 0, 0, struct.pack(">I", _WINDOW)
        )
        self._socket.sendall(PREFACE + opening)
        head = headers(
            [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", path.encode()),
                (b":authority", b"127.0.0.1"),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
            ]
        )
        body = b"\0" + struct.pack(">I", len(message)) + message
        first, second = frame(HEADERS, END_HEADERS, 0, head), frame(DATA, END_STREAM, 0, body)
        # Of a call to the next only the stream's number changes, which ends the head of each of its two frames.
        self._parts = first[: _HEAD - 4], first[_HEAD:] + second[: _HEAD - 4], second[_HEAD:]
        self._stream, self._buffer, self._taken = 1, b"", 0

    def call(self) -> bytes:
        """The answer's message, serialized. Raises CallError."""
        stream, self._stream = self._stream, self._stream + 2
        number, (first, second, third) = struct.pack(">I", stream), self._parts
        self._socket.sendall(b"".join((first, number, second, number, third)))
        found = b""
        while True:
            kind, flags, of, payload = self._frame()
            if of == stream and kind == DATA:
                found += payload
                self._taken += len(payload)
            elif kind == GOAWAY:
                raise CallError(f"the server goes away: {payload[8:]!r}")
            if of == stream and flags & END_STREAM and kind in (DATA, HEADERS):
                break
        if self._taken > _WINDOW // 2:
            self._socket.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._taken)))
            self._taken = 0
        if len(found) < 5:
            raise CallError("no message came back")
        return found[5:]

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def _frame(self) -> tuple[int, int, int, bytes]:
        """The next frame; settings and pings are answered on the way."""
        while True:
            size = _HEAD + int.from_bytes(self._more(3)[:3])
            data = self._more(size)
            self._buffer = data[size:]
            kind, flags, of = data[3], data[4], int.from_bytes(data[5:9]) & 0x7FFFFFFF
            payload = data[_HEAD:size]
            if kind in (SETTINGS, PING) and not flags & ACK:
                self._socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
                continue
            return kind, flags, of, payload

    def _more(self, size: int) -> bytes:
        """At least so many bytes."""
        while len(self._buffer) < size:
            came = self._socket.recv(65_536)
            if not came:
                raise CallError("the server closed the connection")
            self._buffer += came
        return self._buffer
