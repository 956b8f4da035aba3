"""Which predictions a person is asked about, and how a person answers."""

import hashlib
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from headwater.lengths import LONGEST
from headwater.product import DeclarationError

UNSURE: Final = "unsure"
"""The answer of somebody who cannot tell: it closes the question and labels nothing."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """The uncertainty band of a product: its predictions wait for a person.

    Attributes:
        low, high: Scores from `low` up to, and without, `high` are uncertain; 0 <= low < high <= 1.
        share: Share of those that are asked about, more than 0 and at most 1; drawn by the request's id, so that the same are
            drawn whenever somebody looks.
        open_for: How long after its request came in a question stays open, more than zero and at most a hundred years.
        negative, positive: What people say for the labels 0 and 1, such as `on time` and `late`.
    """

    low: float
    high: float
    share: float = 1.0
    open_for: timedelta = timedelta(days=7)
    negative: str = "no"
    positive: str = "yes"

    def __post_init__(self) -> None:
        if not (0 <= self.low < self.high <= 1):
            _refuse("low and high", f"they are {self.low} and {self.high}.", "Give 0 <= low < high <= 1.")
        if not (0 < self.share <= 1):
            _refuse("share", f"it is {self.share}.", "Give more than 0 and at most 1.")
        if not timedelta(0) < self.open_for <= LONGEST:
            _refuse("open_for", f"it is {self.open_for}.", f"Give more than zero, {LONGEST} at most.")
        words = {_folded(word) for word in (self.negative, self.positive)}
        if len(words) < 2 or words & {"", UNSURE, "0", "1"}:
            _refuse(
                "negative and positive",
                f"they are {self.negative!r} and {self.positive!r}.",
                f"Give two different words; 0, 1 and {UNSURE!r} have their meaning already.",
            )

    def draws(self, request_id: str) -> bool:
        """Whether a request of the band is among those asked about."""
        if self.share == 1:
            return True
        drawn = int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:8], "big")
        return drawn < math.ldexp(self.share, 64)

    def label(self, said: str) -> int | None:
        """The label that somebody's word means, None for unsure.

        Raises:
            KeyError: It means none.
        """
        meanings = {"0": 0, "1": 1, _folded(self.negative): 0, _folded(self.positive): 1, UNSURE: None}
        return meanings[_folded(said)]

    def word(self, label: int | None) -> str:
        """What people say for a label."""
        return UNSURE if label is None else (self.negative, self.positive)[label]

    @property
    def words(self) -> tuple[str, ...]:
        """What can be answered."""
        return self.negative, self.positive, UNSURE


def _folded(word: str) -> str:
    return " ".join(word.casefold().split())


def _refuse(name: str, problem: str, remedy: str) -> None:
    raise DeclarationError(what="Review", name=name, problem=problem, remedy=remedy)
