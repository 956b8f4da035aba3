"""How a batch of records stands in a segment of a log: its mark, length, checksum, records. Zeros are room that nobody used yet.

A frame is written with one call and synced before the next one begins. So only the last frame of a segment can be torn, and
nothing in it was ever promised. Each segment has a mark of its own that nobody can guess, so that no record can hold a frame.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

MARK_BYTES: Final = 8
HEAD: Final = struct.Struct(f"<{MARK_BYTES}sII")
_LENGTH: Final = struct.Struct("<I")


class Frame(NamedTuple):
    """One frame.

    Attributes:
        records: Its records.
        end: Byte behind it.
    """

    records: tuple[bytes, ...]
    end: int


def encode(records: Sequence[bytes], mark: bytes) -> bytes:
    """The frame of some records."""
    body = b"".join(part for record in records for part in (_LENGTH.pack(len(record)), record))
    return HEAD.pack(mark, len(body), zlib.crc32(body)) + body


def frame_size(records: Sequence[bytes]) -> int:
    """Bytes of the frame of some records."""
    return HEAD.size + sum(_LENGTH.size + len(record) for record in records)


def decode(data: bytes | memoryview, offset: int, mark: bytes) -> Frame | None:
    """The frame at a byte, None when there is none or it is torn."""
    if offset + HEAD.size > len(data):
        return None
    found, length, checksum = HEAD.unpack_from(data, offset)
    start, end = offset + HEAD.size, offset + HEAD.size + length
    if found != mark or end > len(data) or zlib.crc32(data[start:end]) != checksum:
        return None
    return Frame(records=tuple(_records(data, start, end)), end=end)


def size_at(data: bytes, offset: int, mark: bytes) -> int | None:
    """Bytes of the frame that a head at a byte announces, None when no head is there; the frame itself may be torn."""
    if offset + HEAD.size > len(data):
        return None
    found, length, _ = HEAD.unpack_from(data, offset)
    return HEAD.size + length if found == mark else None


def _records(data: bytes | memoryview, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        yield bytes(data[start : start + length])
        start += length


def next_whole(data: bytes, offset: int, mark: bytes) -> int | None:
    """The first byte behind `offset` at which a whole frame begins, None when none does."""
    at = data.find(mark, offset)
    while at >= 0:
        if decode(data, at, mark) is not None:
            return at
        at = data.find(mark, at + 1)
    return None
