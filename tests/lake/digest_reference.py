"""The row hash in plain Python integers, written from its description and not from its code."""

import hashlib
import struct
from typing import Any

ALL = (1 << 64) - 1


def mix(x: int) -> int:
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & ALL
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & ALL
    return x ^ x >> 31


def key(family: str, slot: int) -> int:
    seed = int.from_bytes(hashlib.sha256(f"headwater/data-version/1/{family}".encode()).digest()[:8], "little")
    word = mix((seed + (slot + 1) * 0x9E3779B97F4A7C15) & ALL)
    return word | 1 if family.endswith("scale") else word


def absorb(pair: tuple[int, int], words: list[int] | None, width: int, slot: int) -> tuple[int, int]:
    a, b = pair
    for at in range(slot, slot + width):
        if words is None:
            a, b = a + key("null", at), b + key("null_scale", at)
        else:
            x = mix(words[at - slot] ^ key("key", at))
            a, b = a + x, b + x * key("scale", at)
    return a & ALL, b & ALL


def finish(pair: tuple[int, int], length: int) -> list[int]:
    return [(pair[0] + length * key("key", 1 << 40)) & ALL, (pair[1] + length * key("scale", 1 << 40)) & ALL]


def cell(value: Any, dtype: str) -> tuple[list[int] | None, int]:
    """The words of a cell (None for null) and how many its dtype has."""
    if dtype == "null":
        return None, 1
    width = 2 if dtype.startswith(("string", "binary", "list", "struct", "decimal")) else 1
    if value is None:
        return None, width
    if dtype.startswith(("string", "binary")):
        octets = value.encode() if isinstance(value, str) else value
        pair = (0, 0)
        for number in range(max(1, -(-len(octets) // 8))):
            word = int.from_bytes(octets[8 * number : 8 * number + 8].ljust(8, b"\0"), "little")
            pair = absorb(pair, [word], 1, number)
        return finish(pair, len(octets)), 2
    if dtype.startswith("list<"):
        pair = (0, 0)
        for number, item in enumerate(value):
            pair = absorb(pair, *cell(item, dtype[5:-1]), 4 * number)
        return finish(pair, len(value)), 2
    if dtype.startswith("struct<"):
        pair = (0, 0)
        for number, field in enumerate(dtype[7:-1].split(", ")):
            name, _, inner = field.partition(": ")
            pair = absorb(pair, *cell(value[name], inner), 4 * number)
        return list(pair), 2
    if dtype.startswith("decimal"):
        scaled = int(value.scaleb(int(dtype[:-1].split(", ")[1])))
        return [scaled & ALL, scaled >> 64 & ALL], 2
    if dtype.startswith("float"):
        bits = {"float64": ("<d", "<Q"), "float32": ("<f", "<I")}[dtype]
        quiet = {"float64": 0x7FF8000000000000, "float32": 0x7FC00000}[dtype]
        return [quiet if value != value else struct.unpack(bits[1], struct.pack(bits[0], value + 0.0))[0]], 1
    return [int(value) & ALL], 1


def lanes(rows: list[dict[str, Any]], schema: dict[str, str]) -> tuple[int, ...]:
    """The four sums over rows of plain values; temporal values come as integers."""
    sums = [0] * 4
    for row in rows:
        a, b = 0, 0
        for position, (name, dtype) in enumerate(schema.items()):
            a, b = absorb((a, b), *cell(row[name], dtype), 4 * position)
        turned = (b >> 32 | b << 32) & ALL
        for lane in range(4):
            slot = (1 << 41) + lane
            word = (a + key("key", slot)) * key("scale", slot) & ALL
            sums[lane] = (sums[lane] + mix(word ^ turned)) & ALL
    return tuple(sums)
