"""The row hash behind the data version: 64-bit arithmetic on numpy arrays, pinned by golden vectors in the tests.

The function, all arithmetic modulo 2^64 (docs/adr/0002-data-version.md says why):

- `mix(x)` is Stafford's variant 13 of the MurmurHash3 finalizer: `x ^= x >> 30; x *= 0xbf58476d1ce4e5b9; x ^= x >> 27;
  x *= 0x94d049bb133111eb; x ^= x >> 31`.
- Four families of keys: `R(i) = mix(seed_R + (i + 1) * 0x9e3779b97f4a7c15)`, where `seed_R` is the first 8 bytes, little
  endian, of SHA-256 of `headwater/data-version/1/R`. `scale` and `null_scale` are made odd with `| 1`.
- Absorbing word `w` at slot `i` into the pair `(a, b)`: `x = mix(w ^ key(i)); a += x; b += x * scale(i)`.
  A null cell instead adds `a += null(i); b += null_scale(i)`.
- A row is the pair that absorbs word `r` of the cell in column `c` at slot `4c + r`. So is a struct, over its fields.
- A string or binary value of `n` bytes is cut into little-endian words of 8 bytes, the last padded with zeros, at least one;
  word `j` is absorbed at slot `j`. A list absorbs word `r` of item `j` at slot `4j + r`. Both end with
  `a += n * key(2^40); b += n * scale(2^40)`. The pair is the cell's two words.
- The four lanes of a row: `mix((a + key(2^41 + k)) * scale(2^41 + k) ^ rotate(b, 32))`, `k` from 0 to 3.
"""

import hashlib
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
"""One unsigned 64-bit word for each cell."""
Mask = npt.NDArray[np.bool_]
"""True where a cell is null."""

LANES: Final = 4
WORDS_A_CELL: Final = 4
"""Slots that each column, field and item owns; a 256-bit decimal fills them all."""
LENGTH_SLOT: Final = 1 << 40
LANE_SLOT: Final = 1 << 41

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB
_ODD: Final = frozenset({"scale", "null_scale"})


def _seed(family: str) -> int:
    return int.from_bytes(hashlib.sha256(f"headwater/data-version/1/{family}".encode()).digest()[:8], "little")


def mix(words: Words, spare: Words) -> None:
    """Mixes every word in place, a bijection of 64 bits.

    Args:
        words: Changed in place.
        spare: Scratch of the same length.
    """
    np.right_shift(words, np.uint64(30), out=spare)
    words ^= spare
    words *= np.uint64(_FIRST)
    np.right_shift(words, np.uint64(27), out=spare)
    words ^= spare
    words *= np.uint64(_SECOND)
    np.right_shift(words, np.uint64(31), out=spare)
    words ^= spare


@lru_cache(maxsize=8192)
def constant(family: str, slot: int) -> np.uint64:
    """The key of one slot.

    Args:
        family: `key`, `scale`, `null` or `null_scale`.
        slot: 0 or more.
    """
    word = np.array([(_seed(family) + (slot + 1) * _GOLDEN) & _MASK], dtype=np.uint64)
    mix(word, np.empty_like(word))
    return np.uint64(word[0] | np.uint64(1)) if family in _ODD else np.uint64(word[0])


@lru_cache(maxsize=64)
def _table(family: str, bits: int) -> Words:
    words = np.arange(1, (1 << bits) + 1, dtype=np.uint64)
    words *= np.uint64(_GOLDEN)
    words += np.uint64(_seed(family))
    mix(words, np.empty_like(words))
    if family in _ODD:
        words |= np.uint64(1)
    words.flags.writeable = False
    return words


def constants(family: str, slots: int) -> Words:
    """The keys of slots 0 to `slots` - 1 at least; read only."""
    return _table(family, max(6, (slots - 1).bit_length()))


class Pair:
    """The state that absorbs the cells of one column after the other: two words for each row."""

    def __init__(self, rows: int) -> None:
        """Starts with `rows` empty rows."""
        self.a: Words = np.zeros(rows, dtype=np.uint64)
        self.b: Words = np.zeros(rows, dtype=np.uint64)
        self._spare: Words = np.empty(rows, dtype=np.uint64)

    def absorb(self, words: list[Words], null: Mask | None, position: int) -> None:
        """Absorbs one column.

        Args:
            words: One to four words for each row; overwritten.
            null: Rows whose cell is null, None when there are none.
            position: Of the column.
        """
        self.absorb_at(words, WORDS_A_CELL * position, null)

    def absorb_at(self, words: list[Words], slot: int, null: Mask | None = None) -> None:
        """Absorbs words at `slot` and the slots after it; see `absorb`."""
        for at, word in enumerate(words, slot):
            word ^= constant("key", at)
            mix(word, self._spare)
            np.multiply(word, constant("scale", at), out=self._spare)
            if null is not None:
                word[null] = constant("null", at)
                self._spare[null] = constant("null_scale", at)
            self.a += word
            self.b += self._spare

    def absorb_length(self, lengths: Words) -> None:
        """Absorbs the number of bytes or items of every value; `lengths` is overwritten."""
        np.multiply(lengths, constant("scale", LENGTH_SLOT), out=self._spare)
        lengths *= constant("key", LENGTH_SLOT)
        self.a += lengths
        self.b += self._spare

    def lanes(self) -> tuple[int, ...]:
        """The sums of the rows' four lanes. The pair is used up."""
        word, low = np.empty_like(self.a), self._spare
        np.right_shift(self.b, np.uint64(32), out=low)
        np.left_shift(self.b, np.uint64(32), out=self.b)
        self.b |= low
        sums = []
        for lane in range(LANE_SLOT, LANE_SLOT + LANES):
            np.add(self.a, constant("key", lane), out=word)
            word *= constant("scale", lane)
            word ^= self.b
            mix(word, self._spare)
            sums.append(int(word.sum(dtype=np.uint64)))
        return tuple(sums)


def segment_sums(words: Words, bounds: npt.NDArray[np.int64]) -> Words:
    """The sum of `words[bounds[i]:bounds[i + 1]]` for every i, modulo 2^64."""
    running = np.zeros(len(words) + 1, dtype=np.uint64)
    np.cumsum(words, out=running[1:])
    at = running[bounds]
    return at[1:] - at[:-1]
