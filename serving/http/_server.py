"""Runs the service: one process, or several that share a port."""

import ipaddress
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headwater.features.online import OnlineStore
from headwater.lake import Lake
from headwater.tracing import open_tracer
from serving.deployment import DeploymentCache
from serving.errors import ServingError
from serving.http._desk import Desk, Limits
from serving.http._keys import Keys, UnprotectedError
from serving.http._workers import Workers
from serving.live import LiveProducts
from serving.prediction_log import LogWriter
from serving.retired_calls import RETIRED_FILE, RetiredCalls

if TYPE_CHECKING:
    from serving.grpc import GrpcServer
    from serving.http._front import Front

_BACKLOG: Final = 2_048
_LOOK: Final = 0.1
"""Seconds between two looks at the workers."""


class ListenError(ServingError):
    """A port that cannot be listened on."""

    def __init__(self, *, host: str, port: int, reason: str) -> None:
        super().__init__(f"Cannot listen on {host}:{port}: {reason}. Is something else there? Give another --port.")


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Where and how a service runs.

    Attributes:
        cache: Folder for copies of what is served, and for the embedded online store.
        log: Folder of the prediction log; one below it for each product.
        failures: Folder of the logs of failures, likewise.
        host: Address to listen on. Other than loopback it needs keys.
        port: Port; 0 takes a free one.
        grpc_port: Port for gRPC on the same address; 0 takes a free one, None offers none.
        keys: File of API keys, None for none.
        products: What to serve; empty serves whatever is released.
        branch: Lake branch whose releases count.
        limits: How much it takes on.
        follow: Seconds between two looks at the lake.
        drain: Seconds that requests have to end in after SIGTERM.
        sync: Whether an answer waits for the disk itself.
        traces: Where traces go (OTLP over HTTP), empty for nowhere.
        plays: Whether a replay started it, which asks under names that nobody else may.
    """

    cache: Path
    log: Path
    failures: Path
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    keys: Path | None = None
    products: tuple[str, ...] = ()
    branch: str = "main"
    limits: Limits = field(default_factory=Limits)
    follow: float = 1.0
    drain: float = 10.0
    sync: bool = True
    traces: str = ""
    plays: bool = False


def run(
    settings: ServerSettings,
    *,
    open_lake: Callable[[], Lake],
    open_store: Callable[[], OnlineStore],
    inherited: socket.socket | None = None,
    parent: int = 0,
    on_listening: Callable[[int, int], None] = lambda port, grpc_port: None,
) -> None:
    """Serves until SIGTERM or SIGINT; then requests that are on their way are answered, and nothing new is taken.

    Args:
        settings: Where and how.
        open_lake: Opens the lake.
        open_store: Opens the online store.
        inherited: A listening socket of the parent process.
        parent: That process's number; 0 for none. The service ends when it does.
        on_listening: Told the port, and that of gRPC or 0, once requests are taken.

    Raises:
        UnprotectedError: Others could reach it, and there are no keys.
        KeysError: The file of keys cannot be used.
        ListenError: The port is taken.
        TracingError: Traces cannot be sent where the settings say.
    """
    import uvicorn
    from prometheus_client import CollectorRegistry, generate_latest, multiprocess

    from serving.http._app import App
    from serving.http._failures import SEGMENT_BYTES, Failures
    from serving.http._front import Front
    from serving.http._metrics import PROCESSES, Metrics
    from serving.http._protocol import OneWriteProtocol
    from serving.http._shared_metrics import share

    keys = checked_keys(settings)
    tracer = open_tracer(settings.traces, "headwater-serve")
    sock = inherited or listen(settings.host, settings.port)
    reserved = _reserved(settings) if inherited is None else None
    if PROCESSES in os.environ:
        share()
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    def exposition() -> bytes:
        if PROCESSES not in os.environ:
            return generate_latest(registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)
        return generate_latest(together)

    store = open_store()
    live = LiveProducts(
        open_lake=open_lake,
        cache=DeploymentCache(settings.cache),
        store=store,
        products=settings.products,
        branch=settings.branch,
    )
    desk = Desk(
        open_log=lambda product: LogWriter(settings.log / product, sync=settings.sync),
        limits=settings.limits,
        metrics=metrics,
    )
    retired = RetiredCalls(settings.log / RETIRED_FILE)
    failures = Failures(
        lambda product: LogWriter(settings.failures / product, segment_bytes=SEGMENT_BYTES, sync=settings.sync)
    )
    front = Front(
        live=live,
        desk=desk,
        metrics=metrics,
        failures=failures,
        deadline=settings.limits.deadline,
        retired=retired,
        tracer=tracer,
        plays=settings.plays,
    )
    grpc_port = reserved.getsockname()[1] if reserved else settings.grpc_port
    server = _grpc_server(settings, front, keys, grpc_port, is_ready=lambda: app.is_ready)
    app = App(
        live=live,
        desk=desk,
        front=front,
        failures=failures,
        grpc=server,
        metrics=metrics,
        keys=keys,
        body_limit=settings.limits.body,
        most_instances=settings.limits.instances,
        follow=settings.follow,
        exposition=exposition,
        retired=retired,
    )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=OneWriteProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,  # nothing here reads who or what a proxy says that it speaks for
        timeout_graceful_shutdown=int(settings.drain),
        timeout_keep_alive=75,
    )

    class Server(uvicorn.Server):
        """Ends gRPC with the rest: no new calls, and time for those that are on their way."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            if server is not None:
                server.end()
            await super().shutdown(sockets)

    service = Server(config)

    def end(caught: int, frame: object) -> None:
        service.should_exit = True

    # Heard before uvicorn listens to signals itself, and what it restores and raises again once it has drained: to be asked to
    # end is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    if parent:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    on_listening(sock.getsockname()[1], reserved.getsockname()[1] if reserved else 0)
    try:
        service.run(sockets=[sock])
    finally:
        if tracer is not None:
            tracer.close()
        store.close()
        sock.close()
        if reserved is not None:
            reserved.close()


def _reserved(settings: ServerSettings) -> socket.socket | None:
    """Holds the port of gRPC. Raises GrpcListenError."""
    if settings.grpc_port is None:
        return None
    from serving.grpc._server import reserve

    return reserve(settings.host, settings.grpc_port)


def _grpc_server(
    settings: ServerSettings, front: "Front", keys: Keys, port: int | None, *, is_ready: Callable[[], bool]
) -> "GrpcServer | None":
    if port is None:
        return None
    from serving.grpc._server import GrpcServer
    from serving.grpc._service import InferenceService

    service = InferenceService(front=front, keys=keys, most_instances=settings.limits.instances, is_ready=is_ready)
    return GrpcServer(
        service.methods(), host=settings.host, port=port, message_limit=settings.limits.body, drain=settings.drain
    )


def run_workers(
    settings: ServerSettings, workers: int, command: Sequence[str], *, on_listening: Callable[[int, int], None]
) -> int:
    """Serves from several processes that share a port; one that dies is started again, after a wait that grows while it cannot.

    Args:
        settings: Where and how.
        workers: How many.
        command: Starts a worker; options for the listening socket's descriptor and the port of gRPC are added.
        on_listening: Told the port, and that of gRPC or 0.

    Returns:
        0, or 1 when no worker can start. Where one could, one that cannot any more is tried again, and costs no other.

    Raises:
        UnprotectedError: Others could reach it, and there are no keys.
        KeysError: The file of keys cannot be used.
        ListenError: The port is taken.
        SharedMetricsError: There is no room for the metrics that they share.
    """
    from serving.http._metrics import PROCESSES
    from serving.http._shared_metrics import forget, shared_folder

    checked_keys(settings)
    sock = listen(settings.host, settings.port)
    reserved = _reserved(settings)
    grpc_port = reserved.getsockname()[1] if reserved is not None else 0
    given = ["--grpc-port", str(grpc_port)] if grpc_port else []
    on_listening(sock.getsockname()[1], grpc_port)
    ending: list[int] = []

    def start(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, *given, "--socket-fd", str(sock.fileno())], pass_fds=[sock.fileno()], env=environment
        )

    def end(number: int, frame: object) -> None:
        ending.append(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with shared_folder(settings.cache) as shared:
            environment = {**os.environ, PROCESSES: str(shared)}
            running = Workers(lambda: start(environment), workers, gone=lambda process: forget(shared, process))
            try:
                while not ending:
                    time.sleep(_LOOK)
                    if not running.look():
                        return 1
                return 0
            finally:
                running.end(patience=settings.drain + 5)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sock.close()
        if reserved is not None:
            reserved.close()


def checked_keys(settings: ServerSettings) -> Keys:
    """The keys. Raises UnprotectedError, KeysError."""
    if settings.keys is not None:
        return Keys.read(settings.keys)
    if not is_loopback(settings.host):
        raise UnprotectedError(host=settings.host)
    return Keys()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ListenError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(_BACKLOG)
            sock.setblocking(False)
            sock.set_inheritable(True)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise ListenError(host=host, port=port, reason=error.strerror or str(error)) from error
    return sock


def _end_with(parent: int) -> None:
    """Ends this process once its parent is gone: a killed one ends nobody."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
