"""The HTTP server around the double: loopback only, one thread a connection, faults on the way."""

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from headwater.testing.lakefs_double._faults import Drop, Fault, Faults
from headwater.testing.lakefs_double._gateway import Gateway
from headwater.testing.lakefs_double._http import Request, Response, json_response
from headwater.testing.lakefs_double._persist import load, save
from headwater.testing.lakefs_double._rest import BASE, Rest
from headwater.testing.lakefs_double._store import Store

LOOPBACK: Final = "127.0.0.1"
ACCESS_KEY: Final = "AKIAIOSFOLQUICKSTART"
SECRET_KEY: Final = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@dataclass(frozen=True, kw_only=True)
class Served:
    """One request that was served, for tests that count or look.

    Attributes:
        method: HTTP method.
        target: Path and query.
        status: Status of the answer, 0 when the connection was cut.
    """

    method: str
    target: str
    status: int


class LakeFSDouble:
    """A lakeFS server for tests: REST subset and S3 gateway over one store in memory.

    Attributes:
        store: Its state; it survives `stop` and `start`.
        faults: What goes wrong, armed by tests.
        access_key: The one known access key (lakeFS's public quickstart key).
        secret_key: Its secret.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        access_key: str = ACCESS_KEY,
        secret_key: str = SECRET_KEY,
        folder: Path | None = None,
    ) -> None:
        """Prepares a server; `start` or a `with` block makes it listen.

        Args:
            port: Port on 127.0.0.1; 0 takes a free one.
            access_key: Access key that clients must use.
            secret_key: Its secret.
            folder: Where the state is read from now and written to by `stop`; None keeps it in memory.
        """
        self.store = Store()
        self._folder = folder
        if folder is not None:
            load(self.store, folder)
        self.faults = Faults()
        self.access_key, self.secret_key = access_key, secret_key
        self._port = port
        self._rest = Rest(self.store, {access_key: secret_key})
        self._gateway = Gateway(self.store, {access_key: secret_key})
        self._served: list[Served] = []
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def endpoint(self) -> str:
        """URL of the server, REST and gateway alike."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def served(self) -> tuple[Served, ...]:
        """Requests since the start or the last `forget`."""
        return tuple(self._served)

    def forget(self) -> None:
        """Forgets the requests served so far."""
        self._served.clear()

    def start(self) -> Self:
        """Listens. After a `stop` it takes the same port again."""
        self._server = _Server((LOOPBACK, self._port), _Handler)
        self._server.double = self
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stops listening and cuts every connection; the state stays."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.cut()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None
            if self._folder is not None:
                save(self.store, self._folder)

    def __enter__(self) -> Self:
        """Starts."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops."""
        self.stop()

    def answer(self, request: Request) -> Response:
        """Does the work of one request."""
        rest = request.raw_path == BASE or request.raw_path.startswith(f"{BASE}/")
        return self._rest.answer(request) if rest else self._gateway.answer(request)

    def note(self, method: str, target: str, status: int) -> None:
        """Remembers a served request."""
        self._served.append(Served(method=method, target=target, status=status))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True
    double: LakeFSDouble

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of the server."""

    def cut(self) -> None:
        """Ends every open connection."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""

    def handle_expect_100(self) -> bool:
        """Asks for the body at once: the answer is buffered otherwise, and clients wait a second for it."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def _serve(self) -> None:
        double = self.server.double
        fault = double.faults.hit(self.command, self.path)
        body = self._body()
        if fault is not None and fault.delay:
            time.sleep(fault.delay)
        if fault is not None and fault.drop is Drop.BEFORE:
            self._cut()
            return
        response = self._respond(fault, body)
        if fault is not None and fault.drop is Drop.AFTER:
            self._cut()
            return
        self._send(response)

    def _respond(self, fault: Fault | None, body: bytes) -> Response:
        if fault is not None and fault.status:
            answer = json_response({"message": "fault injected"}, HTTPStatus(fault.status))
            asked = {"Retry-After": str(fault.retry_after)} if fault.retry_after else {}
            return replace(answer, headers={**answer.headers, **asked})
        request = Request(
            method=self.command,
            target=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            unconditional=fault is not None and fault.unconditional,
        )
        return self.server.double.answer(request)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = bytearray()
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return bytes(data)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, response: Response) -> None:
        self.server.double.note(self.command, self.path, response.status)
        self.send_response_only(response.status)
        headers = dict(response.headers)
        if response.status is not HTTPStatus.NO_CONTENT:
            headers.setdefault("Content-Length", str(len(response.body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)
        self.wfile.flush()

    def _cut(self) -> None:
        self.server.double.note(self.command, self.path, 0)
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - names that http.server looks up
