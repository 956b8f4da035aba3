"""What options of commands take."""

import math
from typing import Any

import click

from headwater.names import PRODUCT_NAME


class FiniteRange(click.FloatRange):
    """A number within bounds. Infinity and what is no number are none of them: `click.FloatRange` takes both."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return found


class ProductName(click.ParamType):
    """A product's name. Whether there is such a product is another question."""

    name = "product"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name."""
        if not PRODUCT_NAME.fullmatch(value):
            self.fail(f"{value!r} is no product's name. Those have lower-case letters, digits and '_'.", param, ctx)
        return value


def check_text(words: list[str]) -> None:
    """Raises click.UsageError for the first argument with bytes that are no UTF-8: it could stand in no record."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise click.UsageError(
                f"The argument {word!r} is no UTF-8. Write it in UTF-8, or set the terminal to it."
            ) from error
