"""Calls to a server that may be down, slow or losing answers: bounded tries, backoff with jitter, one kind of error."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

from headwater.lake.errors import LakeError, LakeUnavailableError, TableReadError, TableWriteError

_T = TypeVar("_T")
_RETRIED: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_LONGEST_PAUSE: Final = 5.0
_LONGEST_ASKED: Final = 30.0
"""Seconds that a server's `Retry-After` is obeyed at most."""
_REMEDIES: Final = {
    HTTPStatus.UNAUTHORIZED: "Check the access key and its secret",
    HTTPStatus.FORBIDDEN: "Check the key's permissions and the branch protection rules",
    HTTPStatus.PRECONDITION_FAILED: "A hook of the repository said no: see its action's log in lakeFS",
    HTTPStatus.GONE: "The data was removed by lakeFS's garbage collection: lengthen its retention",
}
_UNREACHABLE: Final = ("generic s3 error", "error sending request", "http error", "client error with status 429")


class ServerAnswerError(LakeError):
    """The lake's server answered, and the answer is no."""

    def __init__(self, *, location: str, action: str, status: int, message: str) -> None:
        self.location, self.action, self.status, self.message = location, action, status, message
        remedy = (
            _REMEDIES.get(HTTPStatus(status), "Check the server's log") if 100 <= status < 600 else "Check the server"
        )
        super().__init__(
            f"The lake at {location} refused to {action}: {status} {message}. Nothing was published. {remedy} and run again."
        )


@dataclass(frozen=True, kw_only=True)
class _Failed:
    """One try that may be made again, not before the server's `wait` seconds have passed."""

    reason: str
    wait: float = 0.0


class Caller:
    """Tries calls again.

    Args:
        location: The lake, for errors.
        tries: Tries in all.
        backoff: Seconds before the second one.
        deadline: Seconds after which no further try is begun.
    """

    def __init__(self, *, location: str, tries: int, backoff: float, deadline: float) -> None:
        """Remembers how patient to be."""
        self._location = location
        self._tries = max(tries, 1)
        self._backoff = backoff
        self._deadline = deadline

    def __call__(
        self,
        action: str,
        work: Callable[[], _T],
        *,
        recover: Callable[[], _T | None] | None = None,
        tries: int | None = None,
    ) -> _T:
        """The result of `work`, tried until it answers.

        Args:
            action: What is done, as a verb with its object, for errors.
            work: The call. Unless `recover` is given it must be idempotent.
            recover: Asked before each further try whether an earlier one was done although its answer was lost.
            tries: Tries in all, when not the usual number.

        Raises:
            ServerAnswerError: The server said no.
            LakeUnavailableError: No try was answered.
        """
        failed, most, end = _Failed(reason="no try was made"), tries or self._tries, time.monotonic() + self._deadline
        made = 0
        for number in range(most):
            if number:
                if time.monotonic() + failed.wait >= end:
                    break
                self._pause(number, asked=failed.wait)
                found = recover() if recover is not None else None
                if found is not None:
                    return found
            outcome, made = self._try(action, work), number + 1
            if not isinstance(outcome, _Failed):
                return outcome
            failed = outcome
        raise LakeUnavailableError(location=self._location, action=action, reason=f"{failed.reason} (tries: {made})")

    def pause(self, number: int) -> None:
        """Waits before try `number` of something larger than a call."""
        self._pause(number)

    def _pause(self, number: int, *, asked: float = 0.0) -> None:
        longest = min(self._backoff * 2 ** (number - 1), _LONGEST_PAUSE)
        time.sleep(max(longest * random.uniform(0.5, 1.0), asked))

    def _try(self, action: str, work: Callable[[], _T]) -> "_T | _Failed":
        import urllib3.exceptions
        from botocore.exceptions import BotoCoreError, ClientError
        from lakefs_sdk.exceptions import ApiException

        try:
            return work()
        except ApiException as error:
            return self._judge(action, int(error.status or 0), _api_message(error), error, headers=error.headers)
        except ClientError as error:
            answer, said = error.response["ResponseMetadata"], error.response["Error"]
            message = f"{said.get('Code', '')} {said.get('Message', '')}".strip()
            return self._judge(action, int(answer["HTTPStatusCode"]), message, error, headers=answer.get("HTTPHeaders"))
        except (urllib3.exceptions.HTTPError, BotoCoreError) as error:
            return _Failed(reason=_short(error))

    def _judge(
        self, action: str, status: int, message: str, error: Exception, *, headers: Mapping[str, str] | None
    ) -> _Failed:
        if status in _RETRIED or status == 0:
            return _Failed(reason=f"it answered {status} {message}".rstrip(), wait=_asked(headers or {}))
        raise ServerAnswerError(location=self._location, action=action, status=status, message=message) from error

    @contextmanager
    def tables(self, action: str) -> Iterator[None]:
        """Tells a server that is away from a table that is damaged: delta-rs reports both as text.

        Raises:
            LakeUnavailableError: The text says that the server did not answer.
        """
        try:
            yield
        except (TableReadError, TableWriteError) as error:
            raise self._unavailable(action, error.reason, error) from error
        except OSError as error:
            raise self._unavailable(action, str(error), error) from error

    def _unavailable(self, action: str, text: str, error: Exception) -> Exception:
        if any(sign in text.lower() for sign in _UNREACHABLE):
            return LakeUnavailableError(location=self._location, action=action, reason=text.splitlines()[0].rstrip("."))
        return error


def _asked(headers: Mapping[str, str]) -> float:
    """Seconds that the server's `Retry-After` asks for; 0 when it asks nothing (or gives a date: backoff will do)."""
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return min(float(text), _LONGEST_ASKED) if text.strip().isdecimal() else 0.0


def _api_message(error: Exception) -> str:
    import json

    body = getattr(error, "body", None) or ""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(getattr(error, "reason", "") or body)[:300]


def _short(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
