"""Where a lakeFS lake is, and how patient its client is."""

import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from headwater.names import InvalidNameError

_REPOSITORY: Final = re.compile(r"^[a-z0-9][a-z0-9-]{2,62}$")
API_PATH: Final = "/api/v1"


@dataclass(frozen=True, kw_only=True)
class LakeFSSettings:
    """How to reach a lakeFS server.

    Attributes:
        endpoint: URL of the server, such as `http://127.0.0.1:8000`; REST and S3 gateway both answer there.
        access_key: Access key id.
        secret_key: Its secret.
        repository: Repository id.
        storage_namespace: Where a new repository keeps its objects; empty asks the server for its default.
        gateway: URL of the S3 gateway when it differs from `endpoint`.
        cache: Folder for downloaded folders; None takes one of this user's below the system's temporary folder.
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds to wait for an answer.
        tries: How often a call is tried in all, at least 1.
        lease: Seconds for which `gc` takes a working branch for that of a live process, whatever its grace.
        backoff: Seconds before the second try; doubled for each further one, with jitter. A server's `Retry-After` is
            waited for when it is longer.
        deadline: Seconds after which a call that went unanswered is not tried again: it ends within this and one
            `read_timeout`.
    """

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    repository: str
    storage_namespace: str = ""
    gateway: str = ""
    cache: Path | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 60.0
    tries: int = 6
    lease: float = 3600.0
    backoff: float = 0.1
    deadline: float = 180.0

    def __post_init__(self) -> None:
        if not _REPOSITORY.fullmatch(self.repository):
            raise InvalidNameError(
                what="Repository",
                name=self.repository,
                rule="lakeFS takes 3 to 63 lower-case letters, digits and '-', starting with a letter or digit.",
            )
        if not self.endpoint.startswith(("http://", "https://")):
            raise InvalidNameError(
                what="Endpoint", name=self.endpoint, rule="Give the server's URL, such as http://127.0.0.1:8000."
            )

    @property
    def url(self) -> str:
        """The server's URL without the API's path."""
        return self.endpoint.rstrip("/").removesuffix(API_PATH)

    @property
    def gateway_url(self) -> str:
        """The S3 gateway's URL."""
        return (self.gateway or self.url).rstrip("/")

    @property
    def location(self) -> str:
        """The lake for people: server and repository, no secret."""
        return f"{self.url}/{self.repository}"

    @property
    def cache_folder(self) -> Path:
        """Where downloaded folders are kept."""
        return self.cache or Path(tempfile.gettempdir()) / f"headwater-lakefs-{os.getuid()}"

    @property
    def storage_options(self) -> dict[str, str]:
        """Options for delta-rs and Polars: S3 gateway, path style, conditional put."""
        return {
            "aws_endpoint_url": self.gateway_url,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "aws_region": "us-east-1",
            "aws_allow_http": str(self.gateway_url.startswith("http://")).lower(),
            "aws_virtual_hosted_style_request": "false",
            "aws_conditional_put": "etag",
            "connect_timeout": f"{self.connect_timeout}s",
            "timeout": f"{self.read_timeout}s",
            "retry_timeout": f"{max(self.read_timeout, 1.0)}s",
        }
