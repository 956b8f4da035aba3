"""The review page as an ASGI application: what waits, one question with what the model saw, and its answer.

Who answers is the key's name, or the user who runs the page. Nobody else's page can send an answer: a form carries a token that only
this process makes, browsers' `Origin` has to be this host, and without keys the host has to be a name of this machine.
"""

import asyncio
import hmac
import secrets
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlencode

from headwater.errors import HeadwaterError
from headwater.review import AnswerError, Explainer, NotAskedError, ReviewDesk, ReviewError, UnknownRequestError
from serving.http._keys import Keys, Role
from serving.http._origin import host_of
from serving.http._server import is_loopback
from serving.http._wire import Disconnected, Headers, Problem, Receive, Scope, Send, read_body, respond
from serving.review._page import STYLE, shown_answer, shown_detail, shown_list, shown_problem

_T = TypeVar("_T")
_BODY: Final = 2**16
_FORM: Final = b"application/x-www-form-urlencoded"
_SAFE: Final = (
    (b"content-security-policy", b"default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)  # fmt: skip
_HTML: Final = ((b"content-type", b"text/html; charset=utf-8"), *_SAFE)
_CSS: Final = ((b"content-type", b"text/css; charset=utf-8"), *_SAFE)
_MOST_SHOWN: Final = 200


class ReviewApp:
    """The page."""

    def __init__(
        self, *, desks: Mapping[str, ReviewDesk], explainers: Mapping[str, Explainer], keys: Keys | None, actor: str
    ) -> None:
        """Prepares.

        Args:
            desks: The queues, by product.
            explainers: By product.
            keys: Who may look and answer; None lets everybody on this machine in.
            actor: Whose word an answer is without keys.
        """
        self._desks, self._explainers, self._keys, self._actor = dict(desks), dict(explainers), keys, actor
        self._secret = secrets.token_bytes(32)
        # The lake keeps connections for each thread that ever asked: it is the same one every time.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lake")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        try:
            await self._answered(scope, headers, receive, send)
        except Problem as problem:
            await self._say(send, problem.status, shown_problem(problem.message), _challenge(problem))
        except HeadwaterError as error:
            await self._say(send, _status(error), shown_problem(str(error)))
        except Disconnected:
            return

    async def _answered(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        self._check_host(headers)
        if path == "/style.css" and method in ("GET", "HEAD"):
            await respond(send, 200, STYLE, _CSS)
            return
        query = _fields(scope["query_string"].decode("latin-1"))
        if path == "/" and method in ("GET", "HEAD"):
            who = self._caller(headers)
            await self._say(send, 200, await self._work(lambda: self._list(who, headers, query)))
        elif path == "/question" and method in ("GET", "HEAD"):
            who, desk = self._caller(headers, query.get("product", "")), self._desk(query.get("product", ""))
            token = self._token(who)
            await self._say(send, 200, await self._work(lambda: self._detail(desk, query.get("id", ""), token)))
        elif path == "/answer" and method == "POST":
            await self._take(headers, receive, send)
        else:
            raise Problem(404, "not_found", "There is nothing here.")

    async def _take(self, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        """An answer from the form; then the list again, so that a reload sends nothing twice."""
        _check_origin(headers)
        if headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower() != _FORM:
            raise Problem(415, "content_type", "Send the page's own form.")
        body = await read_body(receive, headers, _BODY)
        form = _fields(body.decode("latin-1"))
        who, desk = self._caller(headers, form.get("product", "")), self._desk(form.get("product", ""))
        if not hmac.compare_digest(form.get("token", "").encode(), self._token(who).encode()):
            raise Problem(
                403, "token", "The form is not from this page, or the page was started again. Load it and answer again."
            )
        id, word, reason = form.get("id", ""), form.get("label", ""), form.get("reason", "")
        try:
            given = await self._work(lambda: desk.answer(id, word, reason=reason, actor=who))
        except AnswerError as error:  # what was typed is still there
            problem = str(error)
            page = await self._work(lambda: self._detail(desk, id, self._token(who), problem=problem, reason=reason))
            await self._say(send, 422, page)
            return
        said = urlencode({"product": desk.product.name, "answered": given.request_id})
        await respond(send, 303, b"", [(b"location", f"/?{said}".encode()), *_SAFE])

    def _list(self, who: str, headers: Mapping[bytes, bytes], query: Mapping[str, str]) -> bytes:
        queues = []
        for name, desk in sorted(self._desks.items()):
            if self._may(headers, name):
                found = desk.open()
                queues.append((desk, found[:_MOST_SHOWN], len(found), desk.history(5)))
        note = shown_answer(query["answered"]) if "answered" in query else ""
        return shown_list(queues, who=who, note=note)

    def _detail(self, desk: ReviewDesk, id: str, token: str, *, problem: str = "", reason: str = "") -> bytes:
        found = desk.detail(id)
        moved = self._explainers[desk.product.name].explain(found.question.version, found.features)
        return shown_detail(desk, found, moved, token=token, problem=problem, reason=reason)

    def _desk(self, product: str) -> ReviewDesk:
        if product not in self._desks:
            raise Problem(404, "not_found", "No product with a review is called so.")
        return self._desks[product]

    def _caller(self, headers: Mapping[bytes, bytes], product: str | None = None) -> str:
        """Who asks, as an actor. Raises Problem."""
        if self._keys is None:
            return self._actor
        return f"key:{self._keys.caller(_with_key(headers), Role.REVIEW, product)}"

    def _may(self, headers: Mapping[bytes, bytes], product: str) -> bool:
        try:
            self._caller(headers, product)
        except Problem:
            return False
        return True

    def _token(self, who: str) -> str:
        return hmac.new(self._secret, who.encode(), "sha256").hexdigest()

    def _check_host(self, headers: Mapping[bytes, bytes]) -> None:
        """Without keys, a page of somebody else whose name was made to mean this machine gets nothing."""
        if self._keys is None and not is_loopback(host_of(f"//{_text(headers, b'host')}")[0]):
            raise Problem(421, "host", "This page answers as localhost or 127.0.0.1 only.")

    async def _work(self, do: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do)

    async def _say(self, send: Send, status: int, body: bytes, more: Headers = ()) -> None:
        await respond(send, status, body, [*_HTML, *more])


def _check_origin(headers: Mapping[bytes, bytes]) -> None:
    site, origin = _text(headers, b"sec-fetch-site"), _text(headers, b"origin")
    foreign = origin and host_of(origin)[1] != _text(headers, b"host")
    if foreign or site not in ("", "same-origin"):
        raise Problem(403, "origin", "An answer has to come from this page.")


def _with_key(headers: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
    """A browser asks for a name and a password: the password is the key."""
    scheme, _, said = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"basic":
        return headers
    try:
        key = b64decode(said.strip(), validate=True).partition(b":")[2]
    except Base64Error:
        key = b""
    return {b"x-api-key": key}


def _challenge(problem: Problem) -> Headers:
    asks = [(b"www-authenticate", b'Basic realm="review", charset="UTF-8"')]
    return asks if problem.status == 401 else []


def _status(error: HeadwaterError) -> int:
    if not isinstance(error, ReviewError):
        return 503  # the lake is away, or its disk is full
    if isinstance(error, UnknownRequestError):
        return 404
    return 409 if isinstance(error, NotAskedError) else 422


def _fields(text: str) -> dict[str, str]:
    """The first value of each field."""
    try:
        found: dict[str, list[Any]] = parse_qs(text, keep_blank_values=True, max_num_fields=20, errors="replace")
    except ValueError as error:
        raise Problem(400, "fields", "There are too many fields.") from error
    return {name: values[0] for name, values in found.items()}


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")
