"""Errors of the prediction service. Each names the product or version and the next step."""

from collections.abc import Sequence
from typing import Final

from headwater.errors import HeadwaterError

_LONGEST: Final = 60
"""Characters of a name that somebody sent: an answer must not grow with it."""
_NONE: Final = "none, as none of its files is there"


class ServingError(HeadwaterError):
    """Any error of the service."""


class UnforeseenError(ServingError):
    """What a product's content or code raised that nobody foresaw."""

    def __init__(self, *, product: str, error: BaseException) -> None:
        self.product, self.error = product, error
        super().__init__(
            f"The release of {product!r} cannot be followed: {name_of(error)}, which nobody foresaw. What was served before goes on, and "
            "the other products are followed. The service's log has the traceback. Mend what it names, or release another version; it is "
            "tried again with every look."
        )


class NotReleasedError(ServingError):
    """A product without a release."""

    def __init__(self, *, product: str, ref: str) -> None:
        self.product, self.ref = product, ref
        super().__init__(
            f"Nothing of {product!r} is released at {ref[:12]}. Build it (`headwater build {product}`) until its release is published."
        )


class AnotherLakeError(ServingError):
    """A lake that says nothing of a product, and does not know the commit by which it is served."""

    def __init__(self, *, product: str, commit: str) -> None:
        self.product, self.commit = product, commit
        super().__init__(
            f"{product!r} is served as commit {commit[:12]} said, which the lake that is there now does not know: it is another one, or "
            f"older. {product!r} is served on. Put its lake back, or release {product!r} in this one."
        )


class StatementError(ServingError):
    """A file that says what shall be served, and cannot be read."""

    def __init__(self, *, file: str, problem: str) -> None:
        self.file = file
        super().__init__(
            f"{file} does not say what shall be served: {problem}. What was served before goes on. Publish the release again."
        )


class UnfitFeaturesError(ServingError):
    """Versions that no online features of the lake have everything for."""

    def __init__(self, *, product: str, versions: Sequence[str], problem: str) -> None:
        self.product, self.versions, self.problem = product, tuple(versions), problem
        several = len(versions) > 1
        remedy = (
            "Promote one of them to everything"
            if several
            else "Build the product with the views that it was trained with, or promote a version that reads what there is"
        )
        super().__init__(
            f"No online features of {product!r} have what {', '.join(versions)} look{'' if several else 's'} up"
            f"{' together' if several else ''}. Of the newest: {problem}. What was served before goes on. {remedy} "
            f"(`headwater release promote {product} --to VERSION --reason REASON`)."
        )


class NotHeldError(ServingError):
    """A copy on this machine that is asked for and not there."""

    def __init__(self, *, what: str) -> None:
        self.what = what
        super().__init__(f"{what} is not on this machine. Start the service once while the lake can be reached.")


class NotRememberedError(ServingError):
    """A deployment that is live, and that a start without the lake would not know of."""

    def __init__(self, *, product: str, reason: str) -> None:
        self.product, self.reason = product, reason
        super().__init__(
            f"What is live of {product!r} could not be remembered on this machine's disk: {reason}. It is answered all the same, but "
            "a restart without the lake would serve what was remembered before. Make room; it is tried again with every look."
        )


class TamperedError(ServingError):
    """Content whose data version is not the one that the lake recorded."""

    def __init__(self, *, what: str, folder: str, wanted: str, found: str | None) -> None:
        self.what, self.wanted, self.found = what, wanted, found
        super().__init__(
            f"{what} in {folder} has data version {_shown(found)}, and the lake recorded {wanted[:12]}: something changed it. It is not "
            "served. The next look at the lake fetches it again."
        )


class DamagedSourceError(ServingError):
    """Content whose data version is not the recorded one as it comes from the lake."""

    def __init__(self, *, what: str, wanted: str, found: str | None) -> None:
        self.what, self.wanted, self.found = what, wanted, found
        super().__init__(
            f"{what} has data version {_shown(found)} as the lake gives it, and the lake recorded {wanted[:12]}: it is damaged there, or on "
            "the way. What was served before goes on. `headwater lake verify` names what is damaged; the service fetches it again within "
            "a minute."
        )


class ProductNotServedError(ServingError):
    """A product that this service does not answer for, or not yet.

    Attributes:
        is_expected: Whether it may be answered for later without anybody's doing.
    """

    def __init__(self, *, product: str, served: Sequence[str], reason: str = "", is_expected: bool = False) -> None:
        self.product, self.served, self.reason, self.is_expected = product, tuple(served), reason, is_expected
        there = f"served are {', '.join(sorted(served))}" if served else "nothing is served yet"
        super().__init__(f"{shortened(product)!r} is not served here; {there}.{f' {reason}' if reason else ''}")

    def told_to(self, products: frozenset[str] | None) -> str:
        """What it says to who may ask for these products alone, None for all: no other one is named."""
        if products is None:
            return str(self)
        there = ", ".join(sorted(products.intersection(self.served)))
        asked = shortened(self.product)
        said = f"{asked!r} is not served here; this API key may ask for {there or 'nothing else that is served'}."
        return f"{said} {self.reason}" if self.reason else said


def shortened(name: str) -> str:
    """A name that somebody sent, for an error."""
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."


def _shown(data_version: str | None) -> str:
    return _NONE if data_version is None else data_version[:12]


def name_of(error: BaseException) -> str:
    """What was raised, for people: its type, and what it says where it says anything."""
    said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
