"""Errors of the cards."""

from headwater.errors import HeadwaterError


class CardError(HeadwaterError):
    """Any error of the cards."""


class UnstatableFactError(CardError):
    """A fact that a card cannot state as a value."""

    def __init__(self, *, where: str, value: str) -> None:
        self.where, self.value = where.lstrip("."), value
        super().__init__(
            f"The card's fact '{self.where}' is {value}, which no card can state. "
            "Leave it out (None) so that the card says it is missing, or give a finite number or a text."
        )
