"""uvicorn's HTTP protocol with one write for an answer, and with limits on what may come before a request is whole.

uvicorn writes head and body one by one, which are two system calls here and two wake-ups at the caller's: a sixth of the time of a
prediction. And it takes headers of any size, and waits for the rest of a request for ever.
"""

import asyncio
import re
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD: Final = 2**16
"""Bytes of the headers of one request."""
_PATIENCE: Final = 60.0
"""Seconds within which a request has to be there whole; a connection that keeps quiet longer, or dawdles, is closed."""
_UPGRADE: Final = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class OneWriteProtocol(HttpToolsProtocol):
    """Answers with one write, and takes no request that never ends."""

    _came = 0
    """Bytes that came of a head which is not whole."""
    _begun = 0.0
    """When the request that is not whole began, or the connection; 0 while none is awaited."""
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Puts the joining transport between uvicorn and the socket."""
        super().connection_made(transport)
        self.transport = _Joining(transport, self.loop)  # type: ignore[assignment]
        self._begun = self.loop.time()
        self._watch = self.loop.call_later(_PATIENCE, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the watch."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what came. Nothing is upgraded here; asked to, the parser would take a request's body for something else."""
        if b"pgrade" in data or b"PGRADE" in data:
            data = _UPGRADE.sub(b"", data)
        self._came += len(data)
        super().data_received(data)
        if self._came > _HEAD and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._begun = self.loop.time()

    def on_headers_complete(self) -> None:
        """Its head is whole; what comes now is limited as a body."""
        super().on_headers_complete()
        self._came = -(2**62)

    def on_message_complete(self) -> None:
        """It is whole."""
        super().on_message_complete()
        self._came, self._begun = 0, 0.0

    def _look(self) -> None:
        """Closes a connection on which a request is awaited for too long; one timer a connection, none a request."""
        self._watch = self.loop.call_later(_PATIENCE, self._look)
        if self._begun and self.loop.time() - self._begun >= _PATIENCE and not self.transport.is_closing():
            self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        """Nobody can answer on this connection any more."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()


class _Joining:
    """A transport that joins the first write of a turn with the next one."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: bytes | None = None

    def write(self, data: bytes) -> None:
        """Holds the first part, writes it with the second; alone it goes at the end of the turn."""
        if self._held is None:
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            held, self._held = self._held, None
            self._transport.write(held + data)

    def close(self) -> None:
        """Writes what is held, then closes."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            if not self._transport.is_closing():  # the caller went away in the same turn
                self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
