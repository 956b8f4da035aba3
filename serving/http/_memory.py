"""What named requests were answered, so that a caller who asks again hears the same and stands in the log once."""

import asyncio
import hashlib
from collections import OrderedDict
from typing import Final

from headwater.names import DEADLINE
from serving.http._wire import Problem

_COUNT: Final = 10_000
_BYTES: Final = 64 * 2**20
_LONGEST: Final = 2**16
Name = tuple[str, str]
"""A product and a request's id."""


class _Pending:
    """A request that is on its way, and those who ask the same meanwhile."""

    __slots__ = ("body", "digest", "ended")

    def __init__(self, digest: bytes) -> None:
        self.digest, self.body = digest, b""
        self.ended: asyncio.Event | None = None


class Memory:
    """The newest answers of one worker to requests that had an id."""

    def __init__(self, *, count: int = _COUNT, size: int = _BYTES) -> None:
        """Remembers nothing yet.

        Args:
            count: Answers at most.
            size: Their bytes at most.
        """
        self._most, self._size = count, size
        self._answered: OrderedDict[Name, tuple[bytes, bytes]] = OrderedDict()
        self._pending: dict[Name, _Pending] = {}
        self._bytes = 0

    async def find(self, name: Name, digest: bytes, patience: float) -> bytes:
        """What the same request was answered before, or is answered now; nothing when it is the caller's to answer and to `settle`.

        Args:
            name: Product and id.
            digest: Of all that the request says.
            patience: Seconds to wait for one that is on its way.

        Raises:
            Problem: The id is used for another request, or the one on its way takes too long.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while True:
            if (held := self._answered.get(name)) is not None:
                _check(name, held[0], digest)
                return held[1]
            if (pending := self._pending.get(name)) is None:
                self._pending[name] = _Pending(digest)
                return b""
            _check(name, pending.digest, digest)
            ended = pending.ended = pending.ended or asyncio.Event()
            try:
                await asyncio.wait_for(ended.wait(), end - loop.time())
            except TimeoutError as error:
                said = "The same request is on its way and was not answered in time. Ask again with the same id."
                raise Problem(504, DEADLINE, said, retry_after=1) from error
            if pending.body:
                return pending.body

    def settle(self, name: Name, body: bytes) -> None:
        """Keeps the answer to a request that was on its way; without one the next who asks is answered anew."""
        pending = self._pending.pop(name)
        pending.body = body
        if pending.ended is not None:
            pending.ended.set()
        if body and len(body) <= _LONGEST:
            self._answered[name] = (pending.digest, body)
            self._bytes += len(body)
            while len(self._answered) > self._most or self._bytes > self._size:
                self._bytes -= len(self._answered.popitem(last=False)[1][1])


def digest_of(path: str, body: bytes) -> bytes:
    """Tells requests apart."""
    return hashlib.blake2b(path.encode() + b"\0" + body, digest_size=16).digest()


def _check(name: Name, held: bytes, digest: bytes) -> None:
    if held != digest:
        said = f"The id {name[1][:128]!r} was used for another request. Give each request an id of its own."
        raise Problem(409, "id_used", said, fields={"id": "was used for another request"})
