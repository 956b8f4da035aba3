"""ASGI by hand: the body read within a limit, JSON out, and problems as answers."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

JSON: Final = b"application/json"
encode_json: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_JSON_HEADER: Final = (b"content-type", JSON)


MOST_NAMED: Final = 20
"""Culprits that an error names: an answer must not grow with what somebody sends."""


class Problem(Exception):  # noqa: N818 - a word of HTTP's own (RFC 9457)
    """An answer that is no success.

    Attributes:
        status: HTTP status.
        code: One word for programs.
        message: A sentence for people.
        fields: What is wrong, by field.
        retry_after: Seconds after which to try again.
        causes: By place why each instance that cannot be answered cannot; None where one cause is that of all.
        is_callers: Whether it is its caller's doing: more at once than is ever taken on, or a deadline before the answer was promised.
        is_versions: Whether a version may have had a part in it; not in what went wrong where answers are recorded and handed out.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        fields: Mapping[str, str] | None = None,
        retry_after: int | None = None,
        allow: str = "",
        causes: Mapping[int, Exception] | None = None,
        is_callers: bool = False,
        is_versions: bool = True,
    ) -> None:
        self.status, self.code, self.message, self.retry_after, self.allow = status, code, message, retry_after, allow
        self.causes, self.is_callers, self.is_versions = causes, is_callers, is_versions
        self.fields = dict(fields or {})
        super().__init__(message)

    def body(self, request_id: str) -> bytes:
        """The answer's JSON. `error` is a text, as the Open Inference Protocol has it."""
        found: dict[str, Any] = {"error": self.message, "code": self.code}
        if self.fields:
            found["fields"] = self.fields
        if request_id:
            found["id"] = request_id
        return encode_json(found)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of the answer."""
        found = [_JSON_HEADER]
        if self.retry_after is not None:
            found.append((b"retry-after", str(self.retry_after).encode()))
        if self.allow:
            found.append((b"allow", self.allow.encode()))
        if self.status == 401:
            found.append((b"www-authenticate", b"Bearer"))
        return found


def listed(names: Sequence[str]) -> str:
    """The first of some names that somebody sent."""
    first = ", ".join(repr(name[:60]) for name in names[:MOST_NAMED])
    return first if len(names) <= MOST_NAMED else f"{first} and {len(names) - MOST_NAMED} more"


class Disconnected(Exception):  # noqa: N818
    """The caller is gone; nobody reads an answer."""


async def respond(send: Send, status: int, body: bytes, headers: Headers = (_JSON_HEADER,)) -> None:
    """Sends an answer whole."""
    size = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, size]})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The body.

    Raises:
        Problem: It is larger than the limit.
        Disconnected: The caller went away.
    """
    said = headers.get(b"content-length", b"0")
    if said.isdigit() and int(said) > limit:
        raise _too_large(limit)
    message = await receive()
    if message["type"] != "http.request":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def read_json(body: bytes, headers: Mapping[bytes, bytes]) -> dict[str, Any]:
    """The body as a JSON object. Raises Problem."""
    kind = headers.get(b"content-type", JSON).split(b";", 1)[0].strip().lower()
    if kind != JSON and not kind.endswith(b"+json"):
        said = kind.decode("latin-1")
        raise Problem(415, "content_type", f"Content-Type is {said[:100]!r}. Send application/json.")
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed_json", f"The body is no JSON: {error}.") from error
    if type(found) is not dict:
        raise Problem(400, "no_object", "The body is JSON, but no object.")
    return found


def _too_large(limit: int) -> Problem:
    return Problem(413, "too_large", f"The body is larger than {limit} bytes. Send fewer instances at once.")
