"""How a batch of records stands in a segment: magic, length, checksum, records. Zeros are room that nobody used yet.

A frame is written with one call and synced before the next one begins. So only the last frame of a segment can be torn, and
nothing in it was ever answered.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

MAGIC: Final = b"HWP1"
HEAD: Final = struct.Struct("<4sII")
_LENGTH: Final = struct.Struct("<I")


class Frame(NamedTuple):
    """One frame.

    Attributes:
        records: Its records.
        end: Byte behind it.
    """

    records: tuple[bytes, ...]
    end: int


def encode(records: Sequence[bytes]) -> bytes:
    """The frame of some records."""
    body = b"".join(part for record in records for part in (_LENGTH.pack(len(record)), record))
    return HEAD.pack(MAGIC, len(body), zlib.crc32(body)) + body


def decode(data: bytes | memoryview, offset: int) -> Frame | None:
    """The frame at a byte, None when there is none or it is torn."""
    if offset + HEAD.size > len(data):
        return None
    magic, length, checksum = HEAD.unpack_from(data, offset)
    start, end = offset + HEAD.size, offset + HEAD.size + length
    if magic != MAGIC or end > len(data) or zlib.crc32(data[start:end]) != checksum:
        return None
    return Frame(records=tuple(_records(data, start, end)), end=end)


def _records(data: bytes | memoryview, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        yield bytes(data[start : start + length])
        start += length


def next_whole(data: bytes, offset: int) -> int | None:
    """The first byte behind `offset` at which a whole frame begins, None when none does."""
    at = data.find(MAGIC, offset)
    while at >= 0:
        if decode(data, at) is not None:
            return at
        at = data.find(MAGIC, at + 1)
    return None
