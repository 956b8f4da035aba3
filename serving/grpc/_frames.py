"""Frames of HTTP/2 (RFC 9113), and the numbers in them."""

import struct
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST: Final = 2**14
"""Bytes of a frame when nobody says otherwise."""
MOST: Final = 2**31 - 1
"""Of windows and of streams."""
ENDS, ACK, WHOLE, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
"""Flags."""
HEAD: Final = struct.Struct(">BHBBI")
NUMBER: Final = struct.Struct(">I")
SETTING: Final = struct.Struct(">HI")


class Kind(IntEnum):
    """Kinds of frames."""

    DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR, PROTOCOL, INTERNAL, FLOW_CONTROL, TIMEOUT, STREAM_CLOSED, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION = (
        range(10)
    )
    CALM = 11


class Setting(IntEnum):
    """What either side says of itself."""

    TABLE, PUSH, STREAMS, WINDOW, FRAME, HEADERS = range(1, 7)


class ConnectionFault(Exception):  # noqa: N818
    """After this nothing on the connection can be understood, or needs to be."""

    def __init__(self, code: Code) -> None:
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame, of less than 16 MiB."""
    size = len(payload)
    return HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def goaway(last: int, code: Code) -> bytes:
    return frame(Kind.GOAWAY, 0, 0, NUMBER.pack(last) + NUMBER.pack(code))


def unpadded(payload: bytes) -> bytes:
    if not payload:
        raise ConnectionFault(Code.FRAME_SIZE)
    if payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL)
    return payload[1 : len(payload) - payload[0]]
