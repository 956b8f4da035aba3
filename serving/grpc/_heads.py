"""Header blocks of HTTP/2 (RFC 7541): those that come, read by the `hpack` library, and those that go, which no table remembers."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from hpack import Decoder, HPACKError, OversizedHeaderListError

MOST_BYTES: Final = 2**14
"""Of the headers of one request, as HTTP/2 counts them: names, values and 32 for each. gRPC takes as much; more would hold the loop up."""
_KEPT: Final = 16
_LONGEST: Final = 2_048
"""Bytes of a block that is worth keeping."""
_PSEUDO: Final = (b":method", b":scheme", b":path", b":authority")
_REFUSED: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
"""Of HTTP/1.1's connections; a request that has one is malformed (RFC 9113, 8.2.2)."""


class Head(NamedTuple):
    """The head of a request.

    Attributes:
        method: Such as `POST`.
        path: Such as `/package.Service/Method`.
        headers: The rest by name, the last of each; not to be changed, for the next request may share it.
    """

    method: bytes
    path: bytes
    headers: Mapping[bytes, bytes]


class MalformedHeadError(Exception):
    """A request whose headers no request may have. The connection can go on."""


class BlockError(Exception):
    """A block that cannot be read, after which none on its connection can be.

    Attributes:
        is_too_large: Whether it was read as far as a block may be large.
    """

    def __init__(self, *, is_too_large: bool) -> None:
        self.is_too_large = is_too_large
        super().__init__("The headers are too large." if is_too_large else "The headers cannot be read.")


class HeadReader:
    """Reads one connection's blocks. A caller's calls look alike, so that most are known by their bytes."""

    def __init__(self) -> None:
        self._decoder: Final = Decoder(MOST_BYTES)
        self._known: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """The head that a block says. Raises MalformedHeadError, BlockError."""
        known = self._known.get(block)
        if known is not None:
            return known
        entries = self._decoder.header_table.dynamic_entries
        before = len(entries), entries[0] if entries else None
        try:
            fields = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError as error:
            raise BlockError(is_too_large=True) from error
        except (HPACKError, IndexError, ValueError) as error:
            raise BlockError(is_too_large=False) from error
        entries = self._decoder.header_table.dynamic_entries
        is_same = before[0] == len(entries) and (not entries or before[1] is entries[0])
        if not is_same:
            self._known.clear()  # what a block says depends on the table, which this one changed
        head = _head_of([(bytes(name), bytes(value)) for name, value in fields])
        if is_same and len(block) <= _LONGEST:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[block] = head
        return head


def literal(fields: Mapping[bytes, bytes]) -> bytes:
    """A block of fields that is read without any table (RFC 7541, 6.2.2).

    Args:
        fields: Values by name; names in lower case.
    """
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())


def _text(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    found, rest = bytearray((127,)), size - 127
    while rest >= 128:
        found.append(rest & 127 | 128)
        rest >>= 7
    found.append(rest)
    return bytes(found) + text


def _head_of(fields: list[tuple[bytes, bytes]]) -> Head:
    """Checks what RFC 9113, 8.2 and 8.3, asks of a request. Raises MalformedHeadError."""
    pseudo: dict[bytes, bytes] = {}
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] == b":":
            if headers or name in pseudo or name not in _PSEUDO:
                raise MalformedHeadError
            pseudo[name] = value
        else:
            if (
                not name
                or name in _REFUSED
                or name != name.lower()
                or b"\n" in value
                or b"\r" in value
                or b"\0" in value
            ):
                raise MalformedHeadError
            headers[name] = value
    if not pseudo.get(b":method") or not pseudo.get(b":path") or not pseudo.get(b":scheme"):
        raise MalformedHeadError
    return Head(pseudo[b":method"], pseudo[b":path"], headers)
