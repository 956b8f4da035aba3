"""Entities, times and values as bytes: one entity's rows stand together, in the order of time.

An entity's bytes never begin another's, so a row is of the entity exactly when its key, without the eight bytes of time, is
the entity's.
"""

import hashlib
import struct
from collections.abc import Callable, Sequence
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
_SHORT_HEADS: Final = _HEADS[:128]
"""Two such texts are shorter than what is hashed."""

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


def encoder_of(types: Sequence[type]) -> Callable[[Sequence[Any]], bytes]:
    """What makes the bytes of entities of these types: those of `entity_bytes`, sooner for one or two texts or a number.

    The encoder raises TypeError, ValueError, IndexError or `struct.error` for what is not such an entity, and for very long texts.
    """
    if tuple(types) == (str,):
        return _of_text
    if tuple(types) == (str, str):
        return _of_texts
    if tuple(types) == (int,):
        return _of_number

    def encode(entity: Sequence[Any]) -> bytes:
        if tuple(map(type, entity)) != types:
            raise TypeError
        return entity_bytes(entity)

    return encode


def _of_text(entity: Sequence[Any]) -> bytes:
    (value,) = entity
    if type(value) is not str:
        raise TypeError
    text = value.encode()
    return _SHORT_HEADS[len(text)] + text


def _of_number(entity: Sequence[Any]) -> bytes:
    (value,) = entity
    if type(value) is not int:
        raise TypeError
    return _NUMBER + _pack_number(value)


def _of_texts(entity: Sequence[Any]) -> bytes:
    left, right = entity
    if type(left) is not str or type(right) is not str:
        raise TypeError
    first, second = left.encode(), right.encode()
    return _SHORT_HEADS[len(first)] + first + _SHORT_HEADS[len(second)] + second


def _hashed(found: bytes) -> bytes:
    return _HASH + hashlib.sha256(found).digest()


def time_bytes(time: int) -> bytes:
    """Eight bytes that sort as the times do."""
    return _pack_time(time + _OFFSET)
