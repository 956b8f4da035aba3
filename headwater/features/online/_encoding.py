"""Entities, times and values as bytes: one entity's rows stand together, in the order of time.

An entity's bytes never begin another's, so a row is of the entity exactly when its key, without the eight bytes of time, is
the entity's.
"""

import hashlib
import struct
from collections.abc import Sequence
from typing import Any, Final

import msgspec

_LONGEST: Final = 400
"""Bytes of an entity; LMDB's keys end at 511. Longer ones are told apart by their sha256."""
_OFFSET: Final = 2**63
TIME_BYTES: Final = 8
_TEXT, _NUMBER, _HASH = b"t", b"n", b"h"
_pack_time = struct.Struct(">Q").pack
_pack_length = struct.Struct(">H").pack
_pack_number = struct.Struct(">q").pack

_HEADS: Final = tuple(_TEXT + _pack_length(length) for length in range(_LONGEST + 1))

encode_values = msgspec.msgpack.Encoder().encode
decode_values = msgspec.msgpack.Decoder(tuple).decode
"""A row's event time and features."""


def entity_bytes(entity: Sequence[Any]) -> bytes:
    """The bytes of an entity: texts, whole numbers and booleans."""
    found = b""
    for value in entity:
        if type(value) is str:
            text = value.encode()
            found += _HEADS[len(text)] + text if len(text) <= _LONGEST else _hashed(text)
        else:
            found += _NUMBER + _pack_number(value)
    return found if len(found) <= _LONGEST else _hashed(found)


def _hashed(found: bytes) -> bytes:
    return _HASH + hashlib.sha256(found).digest()


def time_bytes(time: int) -> bytes:
    """Eight bytes that sort as the times do."""
    return _pack_time(time + _OFFSET)
