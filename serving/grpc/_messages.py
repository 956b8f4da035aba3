"""What gRPC says in HTTP/2 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): messages, deadlines, statuses."""

import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

from serving.grpc._heads import Head, literal

PREFIX: Final = 5
"""Bytes before a message: whether it is compressed, and its size."""
_PREFIX: Final = struct.Struct(">BI")
_UNITS: Final[Mapping[bytes, float]] = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_FORMATS: Final[Mapping[bytes, int]] = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
ACCEPTED: Final = "identity,deflate,gzip"
_KINDS: Final = frozenset((b"application/grpc", b"application/grpc+proto"))
_LONGEST: Final = 1_000
"""Bytes of a status's text; callers take trailers of some kilobytes only."""
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - {0x25}
Metadata = Sequence[tuple[str, str]]
HEAD: Final = literal({b":status": b"200", b"content-type": b"application/grpc"})
DONE: Final = literal({b"grpc-status": b"0"})


class Status(IntEnum):
    """How a call ended (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md)."""

    OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED = range(8)
    RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = range(8, 15)
    UNAUTHENTICATED = 16


class CallError(Exception):
    """A call that ends with a status and no message.

    Attributes:
        status: The status.
        message: A sentence for people.
        metadata: What else is said, by name.
    """

    def __init__(self, status: Status, message: str, metadata: Metadata = ()) -> None:
        self.status, self.message, self.metadata = status, message, metadata
        super().__init__(message)


def refusal(head: Head) -> int:
    """The HTTP status for what is no call of gRPC; 0 for one."""
    if head.method != b"POST":
        return 405
    kind = head.headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
    return 0 if kind in _KINDS else 415


def read_timeout(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds that the caller waits; None for as long as it takes. Raises CallError."""
    said = headers.get(b"grpc-timeout")
    if said is None:
        return None
    if (found := _TIMEOUT.fullmatch(said)) is None:
        raise CallError(
            Status.INVALID_ARGUMENT, f"grpc-timeout is {_shown(said)}, not up to 8 digits and one of H, M, S, m, u, n."
        )
    return int(found[1]) * _UNITS[found[2]]


def read_message(body: bytes, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The one message of a body.

    Args:
        body: What came, whole.
        headers: The request's.
        limit: Bytes of a message, those of a compressed one as it is without.

    Raises:
        CallError: There is none, or not one alone, or it is too large, or compressed in a way that is not known here.
    """
    if len(body) < PREFIX:
        raise CallError(Status.INVALID_ARGUMENT, "The call ends before its message.")
    flag, size = _PREFIX.unpack_from(body)
    if flag > 1:
        raise CallError(
            Status.INVALID_ARGUMENT, f"The message begins with {flag}, neither 0 nor 1 for a compressed one."
        )
    if size > limit:
        raise too_large(limit)
    if len(body) < PREFIX + size:
        raise CallError(
            Status.INVALID_ARGUMENT, f"The call ends within its message, after {len(body) - PREFIX} of {size} bytes."
        )
    if len(body) > PREFIX + size:
        raise CallError(Status.INVALID_ARGUMENT, "The call has more than one message. Calls here have one.")
    if not flag:
        return body[PREFIX:]
    return _decompressed(body[PREFIX:], headers.get(b"grpc-encoding", b"identity"), limit)


def too_large(limit: int) -> CallError:
    """Of a message."""
    return CallError(
        Status.RESOURCE_EXHAUSTED, f"The message is larger than max. {limit} bytes. Send fewer instances at once."
    )


def body_of(message: bytes) -> bytes:
    """The body with a message."""
    return _PREFIX.pack(0, len(message)) + message


def trailers_of(status: Status, message: str = "", metadata: Metadata = ()) -> dict[bytes, bytes]:
    """The trailers that end a call."""
    found = {b"grpc-status": str(int(status)).encode()}
    if message:
        found[b"grpc-message"] = _percent(message)
    found.update((name.encode(), value.encode("ascii", "replace")) for name, value in metadata)
    return found


def head_alone(trailers: Mapping[bytes, bytes]) -> bytes:
    """The head of an answer that has nothing else."""
    return HEAD + literal(trailers)


def _decompressed(data: bytes, encoding: bytes, limit: int) -> bytes:
    if encoding == b"identity":
        raise CallError(Status.INTERNAL, "The message is said to be compressed, and grpc-encoding does not say how.")
    if (form := _FORMATS.get(encoding)) is None:
        raise CallError(
            Status.UNIMPLEMENTED,
            f"The message is compressed as {_shown(encoding)}. Send one of {ACCEPTED}.",
            (("grpc-accept-encoding", ACCEPTED),),
        )
    reader = zlib.decompressobj(form)
    try:
        found = reader.decompress(data, limit + 1)
    except zlib.error as error:
        raise CallError(Status.INVALID_ARGUMENT, f"The message is no {encoding.decode()}: {error}.") from error
    if len(found) > limit:
        raise too_large(limit)
    if not reader.eof or reader.unused_data:
        raise CallError(
            Status.INVALID_ARGUMENT, f"The message is no {encoding.decode()} from its beginning to its end."
        )
    return found


def _percent(text: str) -> bytes:
    """A text as a header may have it."""
    data = text.encode("utf-8", "replace")
    if len(data) > _LONGEST:
        data = data[:_LONGEST].decode("utf-8", "ignore").encode() + b"..."
    return b"".join(bytes((one,)) if one in _PLAIN else b"%%%02X" % one for one in data)


def _shown(raw: bytes) -> str:
    return repr(raw[:40].decode("latin-1"))
