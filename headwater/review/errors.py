"""What is wrong with an answer."""

from collections.abc import Sequence

from headwater.errors import HeadwaterError


class ReviewError(HeadwaterError):
    """Base of the review queue's errors."""


class NoReviewError(ReviewError):
    """A product whose predictions nobody is asked about."""

    def __init__(self, *, product: str) -> None:
        self.product = product
        super().__init__(f"{product!r} declares no review. Add review=Review(low=..., high=...) to its product.")


class AnswerError(ReviewError):
    """An answer that cannot be: a word that is no label, no reason, no actor."""

    def __init__(self, *, request_id: str, problem: str, remedy: str) -> None:
        self.request_id, self.problem = request_id, problem
        super().__init__(f"Answer to {request_id!r}: {problem}. {remedy}")


class UnknownRequestError(ReviewError):
    """A request id that is none of the predictions'."""

    def __init__(self, *, product: str, request_id: str) -> None:
        self.request_id = request_id
        super().__init__(
            f"No prediction of {product!r} has the request id {request_id[:200]!r}. `headwater review list {product}` shows what is "
            f"asked; what was answered just now comes in with `headwater log compact --product {product}`."
        )


class NotAskedError(ReviewError):
    """A question that is not open: answered, expired, known, superseded, never asked."""

    def __init__(self, *, request_id: str, why: str, remedy: str) -> None:
        self.request_id, self.why = request_id, why
        super().__init__(f"{request_id!r} {why}. {remedy}")


def listed(words: Sequence[str]) -> str:
    """Words as a person reads them."""
    return ", ".join(repr(word) for word in words)
