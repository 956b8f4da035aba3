"""Arrow arrays as words for the row hash: the canonical bits of every cell.

Integers are sign-extended to 64 bits; booleans are 0 and 1. Every NaN is one NaN. Negative zero is zero, because they
compare equal and a sum may come out as either. Temporal values are integers in the canonical unit; a nanosecond that
microseconds cannot hold is an error, and so is an unsigned value above 2^63 - 1. Decimals are two's complement in 64-bit
words, low word first. What lies in memory behind a null is never looked at.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headwater.lake._digest_hash import (
    WORDS_A_CELL,
    Mask,
    Pair,
    Words,
    constants,
    mix,
    segment_sums,
)
from headwater.lake._digest_schema import UndigestibleError

Cells = tuple[list[Words], Mask | None]
"""One to four words for each cell, free to be overwritten, and which cells are null."""

_BLOCK_WORDS: Final = 1 << 15
"""Values longer than this in all are cut into smaller blocks of rows, so that scratch stays in the cache."""
_FEW_WORDS: Final = 8
_NAN32: Final = np.uint32(0x7FC00000)
_NAN64: Final = np.uint64(0x7FF8000000000000)
_TAIL: Final = np.array([(1 << 8 * n) - 1 for n in range(9)], dtype=np.uint64)
_MICROSECONDS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
_NANOSECONDS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def cells(array: pa.Array, *, column: str) -> Cells:
    """The words of every cell of an array.

    Args:
        array: Any Arrow array whose dtype has a canonical name.
        column: The column it belongs to, for errors.

    Raises:
        UndigestibleError: A value has no canonical form.
    """
    if len(array) == 0:
        return [], None
    dtype, types = array.type, pa.types
    if types.is_null(dtype):
        return [np.zeros(len(array), dtype=np.uint64)], np.ones(len(array), dtype=np.bool_)
    null = null_mask(array)
    if types.is_dictionary(dtype):
        return _dictionary(array, null, column)
    if types.is_struct(dtype):
        return _struct(array, null, column), null
    if types.is_fixed_size_list(dtype) or types.is_fixed_size_binary(dtype):
        width = dtype.list_size if types.is_fixed_size_list(dtype) else dtype.byte_width
        bounds = np.arange(array.offset, array.offset + len(array) + 1, dtype=np.int64) * width
        if types.is_fixed_size_list(dtype):
            return _list(array.values, bounds, column), null
        return _bytes(array.buffers()[1], bounds), null
    if types.is_list(dtype) or types.is_large_list(dtype) or types.is_map(dtype):
        return _list(_map_items(array) if types.is_map(dtype) else array.values, _bounds(array), column), null
    if types.is_string_view(dtype) or types.is_binary_view(dtype):
        array = array.cast(pa.large_binary() if types.is_binary_view(dtype) else pa.large_string())
    if types.is_large_string(array.type) or types.is_large_binary(array.type) or types.is_string(array.type):
        return _bytes(array.buffers()[2], _bounds(array)), null
    if types.is_binary(array.type):
        return _bytes(array.buffers()[2], _bounds(array)), null
    return _fixed(array, null, column), null


def null_mask(array: pa.Array) -> Mask | None:
    """Which cells are null; None when none is."""
    if array.null_count == 0:
        return None
    return ~_bits(array.buffers()[0], array.offset, len(array))


def _bits(buffer: pa.Buffer, offset: int, count: int) -> Mask:
    first = offset // 8
    octets = np.frombuffer(buffer, dtype=np.uint8)[first : (offset + count + 7) // 8]
    start = offset - 8 * first
    return np.unpackbits(octets, bitorder="little")[start : start + count].view(np.bool_)


def _bounds(array: pa.Array) -> npt.NDArray[np.int64]:
    large = pa.types.is_large_list(array.type) or pa.types.is_large_string(array.type)
    wide = np.int64 if large or pa.types.is_large_binary(array.type) else np.int32
    offsets = np.frombuffer(array.buffers()[1], dtype=wide)[array.offset : array.offset + len(array) + 1]
    return offsets.astype(np.int64)


def _map_items(array: pa.MapArray) -> pa.StructArray:
    keys, items = array.keys, array.items
    return pa.StructArray.from_arrays([keys, items], names=["key", "value"])


def _raw(array: pa.Array, dtype: npt.DTypeLike, words: int = 1) -> npt.NDArray[Any]:
    values = np.frombuffer(array.buffers()[1], dtype=dtype)
    return values[array.offset * words : (array.offset + len(array)) * words]


def _fixed(array: pa.Array, null: Mask | None, column: str) -> list[Words]:
    dtype, types = array.type, pa.types
    if types.is_boolean(dtype):
        return [_bits(array.buffers()[1], array.offset, len(array)).astype(np.uint64)]
    if types.is_floating(dtype):
        return [_floats(array)]
    if types.is_decimal(dtype):
        wide = pa.decimal256 if dtype.precision > 38 else pa.decimal128
        count = 4 if dtype.precision > 38 else 2
        limbs = _raw(array.cast(wide(dtype.precision, dtype.scale)), np.uint64, count).reshape(-1, count)
        return [limbs[:, limb].astype(np.uint64) for limb in range(count)]
    values = _raw(array, np.dtype(f"i{dtype.bit_width // 8}"))
    if types.is_uint64(dtype):
        _refuse(values < 0, null, column, "a value is above 2^63 - 1.", "Cast it to String or Decimal.")
    elif types.is_unsigned_integer(dtype):
        return [values.view(np.dtype(f"u{dtype.bit_width // 8}")).astype(np.uint64)]
    if types.is_date64(dtype):
        return _scaled(values, _MICROSECONDS["ms"], null, column)
    if types.is_time(dtype):
        return _scaled(values, _NANOSECONDS[dtype.unit], null, column)
    if types.is_timestamp(dtype) and dtype.unit == "ns":
        remedy = "Round it with `dt.cast_time_unit('us')` where you mean to."
        _refuse(values % 1000 != 0, null, column, "a timestamp lies between two microseconds.", remedy)
        return [(values // 1000).view(np.uint64)]
    if types.is_timestamp(dtype):
        return _scaled(values, _MICROSECONDS[dtype.unit], null, column)
    return [values.astype(np.int64).view(np.uint64)]


def _scaled(values: npt.NDArray[Any], factor: int, null: Mask | None, column: str) -> list[Words]:
    wide = values.astype(np.int64)
    if factor > 1:
        limit = (2**63 - 1) // factor
        far = (wide > limit) | (wide < -limit)
        _refuse(far, null, column, "a time is out of range.", "Correct it: the limit is 292,000 years from 1970.")
        wide *= factor
    return [wide.view(np.uint64)]


def _refuse(bad: npt.NDArray[np.bool_], null: Mask | None, column: str, problem: str, remedy: str) -> None:
    if bad.any() and (null is None or (bad & ~null).any()):
        raise UndigestibleError(column=column, problem=problem, remedy=remedy)


def _floats(array: pa.Array) -> Words:
    if array.type.bit_width == 64:
        wide = np.add(_raw(array, np.float64), 0.0)
        bits: Words = wide.view(np.uint64)
        bits[np.isnan(wide)] = _NAN64
        return bits
    narrow = np.add(_raw(array, np.dtype(f"f{array.type.bit_width // 8}")).astype(np.float32), np.float32(0))
    short = narrow.view(np.uint32)
    short[np.isnan(narrow)] = _NAN32
    return short.astype(np.uint64)


def _dictionary(array: pa.DictionaryArray, null: Mask | None, column: str) -> Cells:
    if len(array.dictionary) == 0:
        return cells(pa.nulls(len(array), array.type.value_type), column=column)
    words, null_values = cells(array.dictionary, column=column)
    codes = array.indices
    at = (pc.fill_null(codes, 0) if null is not None else codes).to_numpy(zero_copy_only=False).astype(np.int64)
    if null_values is not None:
        null = null_values[at] if null is None else null | null_values[at]
    return [word[at] for word in words], null


def _struct(array: pa.StructArray, null: Mask | None, column: str) -> list[Words]:
    state = Pair(len(array))
    fields = array.flatten() if null is not None else [array.field(index) for index in range(array.type.num_fields)]
    for position, field in enumerate(fields):
        state.absorb(*cells(field, column=column), position)
    return [state.a, state.b]


def _by_blocks(
    bounds: npt.NDArray[np.int64], limit: int, block: Callable[[npt.NDArray[np.int64]], Pair]
) -> list[Words]:
    rows = len(bounds) - 1
    if rows == 1 or bounds[-1] - bounds[0] <= limit:
        state = block(bounds)
        return [state.a, state.b]
    half = rows // 2
    left, right = _by_blocks(bounds[: half + 1], limit, block), _by_blocks(bounds[half:], limit, block)
    return [np.concatenate(both) for both in zip(left, right, strict=True)]


def _list(values: pa.Array, bounds: npt.NDArray[np.int64], column: str) -> list[Words]:
    def block(bounds: npt.NDArray[np.int64]) -> Pair:
        state, lengths = Pair(len(bounds) - 1), np.diff(bounds)
        total = int(bounds[-1] - bounds[0])
        words, null = cells(values.slice(bounds[0], total), column=column)
        starts = bounds - bounds[0]
        if total:
            slots = (np.arange(total) - np.repeat(starts[:-1], lengths)) * WORDS_A_CELL
        for index, word in enumerate(words):
            a, b = _keyed(word, slots + index, null)
            state.a += segment_sums(a, starts)
            state.b += segment_sums(b, starts)
        state.absorb_length(lengths.view(np.uint64))
        return state

    return _by_blocks(bounds, _BLOCK_WORDS, block)


def _keyed(word: Words, slots: npt.NDArray[np.int64], null: Mask | None) -> tuple[Words, Words]:
    count = int(slots.max()) + 1
    word ^= constants("key", count)[slots]
    scaled = np.empty_like(word)
    mix(word, scaled)
    np.multiply(word, constants("scale", count)[slots], out=scaled)
    if null is not None:
        word[null] = constants("null", count)[slots[null]]
        scaled[null] = constants("null_scale", count)[slots[null]]
    return word, scaled


def _bytes(buffer: pa.Buffer | None, bounds: npt.NDArray[np.int64]) -> list[Words]:
    octets = np.frombuffer(buffer or b"", dtype=np.uint8)

    def block(bounds: npt.NDArray[np.int64]) -> Pair:
        first, total = int(bounds[0]), int(bounds[-1] - bounds[0])
        padded = np.zeros(total // 8 + 2, dtype=np.uint64)
        padded.view(np.uint8)[:total] = octets[first : first + total]
        return _byte_pairs(padded, bounds - first)

    return _by_blocks(bounds, 8 * _BLOCK_WORDS, block)


def _byte_pairs(padded: Words, bounds: npt.NDArray[np.int64]) -> Pair:
    starts, lengths = bounds[:-1], np.diff(bounds)
    state = Pair(len(starts))
    counts = np.maximum((lengths + 7) >> 3, 1)
    if int(counts.max()) <= _FEW_WORDS:
        _absorb_few(state, padded, starts, lengths)
    else:
        _absorb_many(state, padded, starts, lengths, counts)
    state.absorb_length(lengths.view(np.uint64))
    return state


def _absorb_few(state: Pair, padded: Words, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> None:
    """The first words of all values, then the second words of those that have one, and so on."""
    state.absorb_at([_load(padded, starts, lengths)], 0)
    rows, position = np.flatnonzero(lengths > 8), 1
    while len(rows):
        at, left = starts[rows] + 8 * position, lengths[rows] - 8 * position
        part = Pair(len(rows))
        part.absorb_at([_load(padded, at, left)], position)
        state.a[rows] += part.a
        state.b[rows] += part.b
        rows, position = rows[left > 8], position + 1


def _absorb_many(
    state: Pair,
    padded: Words,
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
) -> None:
    """All words of all values at once."""
    row = np.repeat(np.arange(len(starts)), counts)
    firsts = np.concatenate([[0], np.cumsum(counts)])
    slots = np.arange(len(row)) - firsts[row]
    done = slots << 3
    a, b = _keyed(_load(padded, starts[row] + done, lengths[row] - done), slots, None)
    state.a, state.b = segment_sums(a, firsts), segment_sums(b, firsts)


def _load(padded: Words, at: npt.NDArray[np.int64], left: npt.NDArray[np.int64]) -> Words:
    """The 8 bytes at every byte position `at`, those beyond `left` as zeros. `padded` has a word to spare."""
    word, shift = at >> 3, (at & 7).view(np.uint64) << np.uint64(3)
    low = padded.take(word)
    low >>= shift
    word += 1
    high = padded.take(word)
    high <<= np.uint64(63) - shift
    high <<= np.uint64(1)
    low |= high
    low &= _TAIL.take(np.minimum(left, 8))
    return low
