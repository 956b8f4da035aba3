"""Runs the review page: one process, one thread that reads and writes the lake."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headwater.review import Explainer, ReviewDesk
from serving.http._keys import Keys, UnprotectedError
from serving.http._server import is_loopback, listen


@dataclass(frozen=True, kw_only=True)
class PageSettings:
    """Where the page is.

    Attributes:
        host: Address to listen on. Other than loopback it needs keys.
        port: Port; 0 takes a free one.
        keys: File of API keys, None for none.
    """

    host: str = "127.0.0.1"
    port: int = 8081
    keys: Path | None = None


def run(
    settings: PageSettings,
    *,
    desks: Mapping[str, ReviewDesk],
    explainers: Mapping[str, Explainer],
    actor: str,
    on_listening: Callable[[str], None] = lambda url: None,
) -> None:
    """Shows the page until SIGTERM or SIGINT.

    Args:
        settings: Where.
        desks: The queues, by product.
        explainers: What says how much each feature counted, by product.
        actor: Whose word an answer is where no keys say who asks.
        on_listening: Told the page's address once it can be asked.

    Raises:
        UnprotectedError: Others could reach it, and there are no keys.
        KeysError: The file of keys cannot be used.
        ListenError: The port is taken.
    """
    import uvicorn

    from serving.http._protocol import OneWriteProtocol
    from serving.review._app import ReviewApp

    keys = Keys.read(settings.keys) if settings.keys is not None else None
    if keys is None and not is_loopback(settings.host):
        raise UnprotectedError(host=settings.host)
    sock = listen(settings.host, settings.port)
    place = f"[{settings.host}]" if ":" in settings.host else settings.host
    app = ReviewApp(desks=desks, explainers=explainers, keys=keys, actor=actor)
    config = uvicorn.Config(
        app, http=OneWriteProtocol, ws="none", lifespan="off", access_log=False, log_config=None, server_header=False,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    service = uvicorn.Server(config)

    def end(caught: int, frame: object) -> None:
        service.should_exit = True

    # What uvicorn restores and raises again once it has ended: to be asked to end is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    on_listening(f"http://{place}:{sock.getsockname()[1]}")
    try:
        service.run(sockets=[sock])
    finally:
        sock.close()
