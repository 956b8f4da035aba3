"""Finds every product by its folder: `assets/<name>/product.py` holds `PRODUCT`. No central list."""

import importlib
from functools import cache
from pathlib import Path

from headwater.errors import HeadwaterError
from headwater.product import DeclarationError, Product


class UnknownProductError(HeadwaterError):
    """No product has this name."""

    def __init__(self, *, name: str, known: tuple[str, ...]) -> None:
        self.name, self.known = name, known
        super().__init__(f"No product is called {name!r}. There are: {', '.join(known) or 'none'}.")


@cache
def products() -> tuple[Product, ...]:
    """Every product below `assets/`, sorted by name.

    Raises:
        DeclarationError: A `product.py` has no `PRODUCT`, or its name is not its folder's.
    """
    return tuple(_load(file.parent.name) for file in sorted(Path(__file__).parent.glob("[a-z]*/product.py")))


def product(name: str) -> Product:
    """The product called `name`.

    Raises:
        UnknownProductError: There is none.
    """
    for found in products():
        if found.name == name:
            return found
    raise UnknownProductError(name=name, known=tuple(p.name for p in products()))


def _load(name: str) -> Product:
    declared = getattr(importlib.import_module(f"assets.{name}.product"), "PRODUCT", None)
    if not isinstance(declared, Product):
        raise DeclarationError(
            what="Product", name=name, problem="its product.py has no PRODUCT.", remedy="Write PRODUCT = Product(...)."
        )
    if declared.name != name:
        raise DeclarationError(
            what="Product",
            name=declared.name,
            problem=f"it lies in the folder assets/{name}.",
            remedy="Give folder and product one name.",
        )
    return declared
