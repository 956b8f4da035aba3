"""Whose pages may ask a service that wants no key: on loopback every browser of this machine reaches it, with any page that is open there."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from serving.http._server import is_loopback
from serving.http._wire import Problem

_READS: Final = frozenset(("GET", "HEAD"))
_OWN: Final = (b"same-origin", b"none")
"""What browsers say of a request that no other site's page made (Fetch Metadata): of a page of ours, or of the person."""


def check_page(method: str, headers: Mapping[bytes, bytes]) -> None:
    """Refuses what a browser sends for somebody else's page.

    A page whose name was made to mean this machine has another `Host`. One that posts from elsewhere has another `Origin`; it could not
    read the answer, but that would stand in the log. Programs send neither `Origin` nor `Sec-Fetch-Site`.

    Raises:
        Problem: The request names a host that is not this machine's loopback, or another site's page sent it.
    """
    host = headers.get(b"host")
    if host is not None and not _is_here(host):
        said = "Without API keys this service answers as localhost or a loopback address only. Ask it so, or give it --keys."
        raise Problem(403, "host", said)
    if method in _READS:
        return
    origin = headers.get(b"origin")
    if headers.get(b"sec-fetch-site", b"none") not in _OWN or (origin is not None and not _is_of(origin, host)):
        said = "Another site's page sent this. Without API keys a browser may ask from this service's own pages only."
        raise Problem(403, "origin", said)


def host_of(url: str) -> tuple[str, str]:
    """The host of a URL without and with its port; empty for one that is none."""
    try:
        found = urlsplit(url)
        return found.hostname or "", found.netloc
    except ValueError:
        return "", ""


@lru_cache(maxsize=64)
def _is_here(host: bytes) -> bool:
    return is_loopback(host_of(f"//{host.decode('latin-1')}")[0])


def _is_of(origin: bytes, host: bytes | None) -> bool:
    return host is not None and host_of(origin.decode("latin-1"))[1] == host.decode("latin-1")
