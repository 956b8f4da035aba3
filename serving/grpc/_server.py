"""The gRPC server on a port of its own, in the event loop of the service."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Final

from serving.errors import ServingError
from serving.grpc._protocol import PATIENCE, GrpcProtocol, Method

_BACKLOG: Final = 2_048
_HEARD: Final = 1.0
"""Seconds within which callers hear that nothing more is taken."""
_LOOK: Final = 0.01


class GrpcListenError(ServingError):
    """A gRPC port that cannot be listened on."""

    def __init__(self, *, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"Cannot listen for gRPC on {host}:{port}: {reason}. Is something else there? Give another --grpc-port."
        )


class GrpcServer:
    """Listens from `start` until `end`."""

    def __init__(
        self,
        methods: Mapping[bytes, Method],
        *,
        host: str,
        port: int,
        message_limit: int,
        drain: float,
        patience: float = PATIENCE,
    ) -> None:
        """Prepares.

        Args:
            methods: What answers, by path.
            host: Address to listen on.
            port: Port, reserved before.
            message_limit: Bytes of a request.
            drain: Seconds that calls have to end in.
            patience: Seconds within which a call has to be there whole, and its answer taken.
        """
        self._methods, self._host, self._port = methods, host, port
        self._limit, self._drain, self._patience = message_limit, drain, patience
        self._server: asyncio.Server | None = None
        self._connections: set[GrpcProtocol] = set()
        self._ending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Takes calls. Raises GrpcListenError."""
        sock = _bound(self._host, self._port)
        try:
            self._server = await asyncio.get_running_loop().create_server(self._connect, sock=sock, backlog=_BACKLOG)
        except OSError as error:
            sock.close()
            raise _refused(self._host, self._port, error) from error

    def end(self) -> None:
        """Takes no new calls; those that are on their way may end."""
        if self._server is not None and self._ending is None:
            self._server.close()
            self._ending = asyncio.get_running_loop().create_task(self._end())

    async def ended(self) -> None:
        """Waits until no call is on its way."""
        self.end()
        if self._ending is not None:
            await self._ending

    def _connect(self) -> GrpcProtocol:
        return GrpcProtocol(self._methods, message_limit=self._limit, patience=self._patience, among=self._connections)

    async def _end(self) -> None:
        loop = asyncio.get_running_loop()
        end, heard = loop.time() + self._drain, loop.time() + min(_HEARD, self._drain / 2)
        for connection in tuple(self._connections):
            connection.go()
        while self._connections and (now := loop.time()) < end:
            if now >= heard:
                for connection in tuple(self._connections):
                    connection.refuse_more()
            await asyncio.sleep(_LOOK)
        for connection in tuple(self._connections):
            connection.abort()


def reserve(host: str, port: int) -> socket.socket:
    """A socket that holds a port for this service and its workers, and takes no calls itself.

    Args:
        host: Address.
        port: Port; 0 takes a free one.

    Raises:
        GrpcListenError: Somebody else has it.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as alone:  # a port that others would share is taken
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)
            port = alone.getsockname()[1]
    except OSError as error:
        raise _refused(host, port, error) from error
    return _bound(host, port)


def _bound(host: str, port: int) -> socket.socket:
    """A socket on a port that other processes of the service share. Raises GrpcListenError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise _refused(host, port, error) from error
    return sock


def _refused(host: str, port: int, error: OSError) -> GrpcListenError:
    return GrpcListenError(host=host, port=port, reason=error.strerror or str(error))
