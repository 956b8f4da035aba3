"""`headwater serve`: the prediction service."""

import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headwater.cli._options import FiniteRange, ProductName

if TYPE_CHECKING:
    from headwater.features.online import OnlineStore
    from resources.settings import Settings


redis_option = click.option(
    "--redis",
    help="URL of a Redis with the online features, instead of what HEADWATER_REDIS says; '' takes the embedded store.",
)


@click.command()
@click.option(
    "--port", default=8080, type=click.IntRange(0, 65535), show_default=True, help="Port; 0 takes a free one."
)
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="Port for gRPC too; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address. Other than loopback it needs --keys.")
@click.option(
    "--product",
    "products",
    multiple=True,
    type=ProductName(),
    help="Serve this product; may be repeated. Default: all released.",
)
@click.option(
    "--workers", default=1, type=click.IntRange(1, 64), show_default=True, help="Processes that share the port."
)
@click.option("--keys", type=click.Path(path_type=Path), help="JSON file of API keys.")
@redis_option
@click.option(
    "--follow", default=1.0, type=FiniteRange(0.05), show_default=True, help="Seconds between looks at the lake."
)
@click.option(
    "--waiting", default=2_000, type=click.IntRange(1), show_default=True, help="Instances that may wait; more get 429."
)
@click.option(
    "--deadline", default=10.0, type=FiniteRange(0.001), show_default=True, help="Seconds to answer in; then 504."
)
@click.option("--no-sync", is_flag=True, help="Answer before the disk has the record: a power cut may lose some.")
@click.option("--plays", is_flag=True, hidden=True)
@click.option("--parent", default=0, type=int, hidden=True)
@click.option("--socket-fd", type=int, hidden=True)
def serve(
    port: int,
    grpc_port: int | None,
    host: str,
    products: tuple[str, ...],
    workers: int,
    keys: Path | None,
    redis: str | None,
    follow: float,
    waiting: int,
    deadline: float,
    no_sync: bool,
    plays: bool,
    parent: int,
    socket_fd: int | None,
) -> None:
    """Serves the released models: REST at /v1 and /v2 (Open Inference Protocol), gRPC with --grpc-port, /metrics, /docs. Ctrl-C stops it.

    It follows the lake: what a release says is live a second later, and nobody's request fails for it. While the lake is away it
    goes on with what it took last.
    """
    from resources.opening import open_lake
    from resources.settings import load_settings
    from serving.http import Limits, ServerSettings, run
    from serving.http._server import run_workers

    log_as_json()
    settings = load_settings()
    server = ServerSettings(
        cache=settings.serving / "cache",
        log=settings.prediction_log,
        failures=settings.failure_log,
        host=host,
        port=port,
        grpc_port=grpc_port,
        keys=keys,
        products=products,
        branch=settings.branch,
        limits=Limits(waiting=waiting, deadline=deadline),
        follow=follow,
        sync=not no_sync,
        traces=settings.traces,
        plays=plays,
    )
    if socket_fd is None and workers > 1:
        command = [sys.executable, "-m", "headwater.cli", *sys.argv[1:], "--parent", str(os.getpid())]
        sys.exit(run_workers(server, workers, command, on_listening=lambda *ports: _tell(host, *ports)))
    run(
        server,
        open_lake=lambda: open_lake(settings, create=False),
        open_store=lambda: open_store(settings, redis),
        inherited=socket.socket(fileno=socket_fd) if socket_fd is not None else None,
        parent=parent,
        on_listening=(lambda *ports: _tell(host, *ports)) if socket_fd is None else (lambda *ports: None),
    )


def open_store(settings: "Settings", redis: str | None = None) -> "OnlineStore":
    """The online store that a service looks features up in.

    Args:
        settings: Where everything is.
        redis: URL of a Redis, or empty for the embedded store; None takes what the settings say.

    Raises:
        SettingsError: It is no URL, or the package for Redis is missing.
    """
    from resources.opening import open_online_store

    return open_online_store(settings, redis=redis)


def _tell(host: str, port: int, grpc_port: int) -> None:
    place = f"[{host}]" if ":" in host else host
    also = f" gRPC on port {grpc_port}." if grpc_port else ""
    click.echo(f"Serving on http://{place}:{port} (process {os.getpid()}); /docs shows how to ask.{also}")


def log_as_json() -> None:
    """Sends the log of a process that serves to standard error, one JSON object a line."""
    from serving.http._logs import JsonFormatter

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
