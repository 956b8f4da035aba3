"""A request and a response, apart from any server."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from headwater.testing.lakefs_double._errors import bad_request


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, its body read.

    Attributes:
        method: HTTP method.
        target: Path and query as sent.
        headers: Names in lower case.
        body: All of it.
        unconditional: Whether conditions are to be ignored (a fault).
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    unconditional: bool = False

    @property
    def raw_path(self) -> str:
        """The path as sent."""
        return urlsplit(self.target).path

    @property
    def segments(self) -> list[str]:
        """Decoded path segments."""
        return [unquote(part) for part in self.raw_path.strip("/").split("/")]

    @property
    def query(self) -> dict[str, list[str]]:
        """Decoded query parameters."""
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    def parameter(self, name: str, default: str = "") -> str:
        """A query parameter's last value."""
        return self.query.get(name, [default])[-1]

    def flag(self, name: str) -> bool:
        """Whether a boolean query parameter is true."""
        return self.parameter(name).lower() == "true"

    def list(self, name: str) -> Sequence[str]:
        """All values of a query parameter."""
        return self.query.get(name, [])

    def json(self) -> Any:
        """The body as JSON."""
        try:
            return json.loads(self.body or b"{}")
        except ValueError as error:
            raise bad_request(f"invalid JSON: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Response:
    """One answer."""

    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def json_response(content: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """An answer in JSON."""
    return Response(status=status, headers={"Content-Type": "application/json"}, body=json.dumps(content).encode())


def ranged(data: bytes, spec: str) -> tuple[int, int] | None:
    """First and last byte of a `Range` header, None for no (or an unreadable) range.

    Raises:
        ValueError: The range lies outside the data.
    """
    if not spec.startswith("bytes=") or "," in spec:
        return None
    first, _, last = spec.removeprefix("bytes=").partition("-")
    if not first and last.isdecimal():
        start, end = max(len(data) - int(last), 0), len(data) - 1
    elif first.isdecimal():
        start, end = int(first), min(int(last), len(data) - 1) if last.isdecimal() else len(data) - 1
    else:
        return None
    if start > end or start >= len(data):
        raise ValueError(spec)
    return start, end
