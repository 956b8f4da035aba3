"""Refusals of the double: one exception, with the status codes that lakeFS gives."""

from http import HTTPStatus


class Refusal(Exception):  # noqa: N818 - an answer, not a defect
    """A request that the server answers with an error.

    Attributes:
        status: HTTP status.
        message: What lakeFS would say.
        code: S3 error code, for the gateway.
    """

    def __init__(self, status: HTTPStatus, message: str, *, code: str = "") -> None:
        self.status, self.message, self.code = status, message, code
        super().__init__(f"{status.value} {message}")


def bad_request(message: str) -> Refusal:
    """400: invalid value, nothing to commit, or a dirty branch."""
    return Refusal(HTTPStatus.BAD_REQUEST, message, code="BadRequest")


def not_found(what: str) -> Refusal:
    """404: no such repository, branch, ref, tag or object."""
    return Refusal(HTTPStatus.NOT_FOUND, f"{what} not found", code="NoSuchKey")


def conflict(message: str) -> Refusal:
    """409: it exists already, or both sides changed it."""
    return Refusal(HTTPStatus.CONFLICT, message, code="OperationAborted")


def protected(message: str) -> Refusal:
    """403: the branch is protected."""
    return Refusal(HTTPStatus.FORBIDDEN, message, code="AccessDenied")


def precondition_failed(message: str) -> Refusal:
    """412: a conditional write, or a hook, said no."""
    return Refusal(HTTPStatus.PRECONDITION_FAILED, message, code="PreconditionFailed")


def gone(message: str) -> Refusal:
    """410: the object's data was collected."""
    return Refusal(HTTPStatus.GONE, message, code="NoSuchVersion")
