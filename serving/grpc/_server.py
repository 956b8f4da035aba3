"""The gRPC server on a port of its own, in the event loop of the service."""

import asyncio
import socket
from typing import Any, Final

import grpc

from serving.errors import ServingError
from serving.grpc._service import InferenceService

_BRACKETED: Final = ":"


class GrpcListenError(ServingError):
    """A gRPC port that cannot be listened on."""

    def __init__(self, *, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"Cannot listen for gRPC on {host}:{port}: {reason}. Is something else there? Give another --grpc-port."
        )


class GrpcServer:
    """Listens from `start` until `end`."""

    def __init__(self, service: InferenceService, *, host: str, port: int, message_limit: int, drain: float) -> None:
        """Prepares.

        Args:
            service: What answers.
            host: Address to listen on.
            port: Port, reserved before.
            message_limit: Bytes of a request.
            drain: Seconds that calls have to end in.
        """
        self._service, self._host, self._port = service, host, port
        self._limit, self._drain = message_limit, drain
        self._server: Any = None
        self._ending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Takes calls. Raises GrpcListenError."""
        options = [("grpc.max_receive_message_length", self._limit), ("grpc.so_reuseport", 1)]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self._service.handler(),))
        host = f"[{self._host}]" if _BRACKETED in self._host else self._host
        try:
            self._server.add_insecure_port(f"{host}:{self._port}")
        except RuntimeError as error:
            raise GrpcListenError(host=self._host, port=self._port, reason=str(error)) from error
        await self._server.start()

    def end(self) -> None:
        """Takes no new calls; those that are on their way may end."""
        if self._server is not None and self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._server.stop(self._drain))

    async def ended(self) -> None:
        """Waits until no call is on its way."""
        self.end()
        if self._ending is not None:
            await self._ending


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
            address = alone.getsockname()
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise GrpcListenError(host=host, port=port, reason=error.strerror or str(error)) from error
    return sock
