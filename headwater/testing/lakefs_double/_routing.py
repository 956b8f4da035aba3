"""Routing of REST requests: path templates to handlers, authentication, errors as lakeFS writes them."""

import base64
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from headwater.testing.lakefs_double._errors import Refusal, not_found
from headwater.testing.lakefs_double._http import Request, Response, json_response
from headwater.testing.lakefs_double._store import Store

BASE: Final = "/api/v1"

Handler = Callable[["Rest", Request, list[str]], Response]
_routes: list[tuple[str, re.Pattern[str], Handler]] = []


def route(method: str, template: str) -> Callable[[Handler], Handler]:
    """Registers the handler of a method and a path template such as `/repositories/{repository}`."""
    pattern = re.compile("^" + re.sub(r"\{\w+\}", r"([^/]+)", template) + "$")

    def register(handler: Handler) -> Handler:
        _routes.append((method, pattern, handler))
        return handler

    return register


class Rest:
    """Answers REST requests."""

    def __init__(self, store: Store, credentials: Mapping[str, str]) -> None:
        """Serves `store` to whoever knows an access key and its secret."""
        self.store = store
        self._credentials = credentials

    def answer(self, request: Request) -> Response:
        """The answer to one request; refusals become lakeFS's JSON errors."""
        try:
            return self._dispatch(request)
        except Refusal as refusal:
            return json_response({"message": refusal.message}, refusal.status)

    def _dispatch(self, request: Request) -> Response:
        path = request.raw_path.removeprefix(BASE)
        if path == "/healthcheck":
            return Response(status=HTTPStatus.NO_CONTENT)
        self._authenticate(request)
        for method, pattern, handler in _routes:
            match = pattern.match(path)
            if match and method == request.method:
                return handler(self, request, [unquote(group) for group in match.groups()])
        raise not_found("invalid API endpoint")

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            key, _, secret = base64.b64decode(token).decode().partition(":")
        except ValueError:
            key = secret = ""
        if scheme.lower() != "basic" or self._credentials.get(key) != secret:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "error authenticating request")
