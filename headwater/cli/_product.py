"""`headwater product`: a new product from the template, and what breaks the rules."""

import keyword
from pathlib import Path

import click

from headwater.cli._output import json_option, show_json, show_rows
from headwater.errors import HeadwaterError
from headwater.product import DeclarationError


class ProductNameError(HeadwaterError):
    """A product can't have this name."""

    def __init__(self, *, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name!r} is a word of Python's own, so no folder of Python code can have it as its name. Choose another, such "
            f"as '{name}s'."
        )


class ProductExistsError(HeadwaterError):
    """A folder of this name is there already."""

    def __init__(self, *, name: str, path: Path) -> None:
        self.name, self.path = name, path
        super().__init__(f"{path} exists already, so {name!r} was not made. Choose another name or remove the folder.")


@click.group()
def product() -> None:
    """Products: one question each, from data to release."""


@product.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """Every product found below assets/."""
    from assets._products import products

    rows = [
        {"name": p.name, "question": p.question, "owners": ", ".join(p.owners), "risk": p.risk.value}
        for p in products()
    ]
    show_rows(rows, ("name", "question", "owners", "risk"), as_json=as_json, empty="No products.")


@product.command()
@click.argument("name")
def new(name: str) -> None:
    """Makes a product that builds at once, with made-up rows, for you to change."""
    from headwater.product import Product
    from headwater.runtime import project_root
    from headwater.templates import render_product

    if keyword.iskeyword(name):
        raise ProductNameError(name=name)
    Product(name=name, question="?", owners=("team:new",))
    root = project_root()
    folder = root / "assets" / name
    if folder.exists() and any(inside.name != "__pycache__" for inside in folder.iterdir()):
        raise ProductExistsError(name=name, path=folder)
    for path, text in render_product(name).items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        click.echo(f"wrote {path}")
    click.echo(f"\nNow: headwater build {name}; headwater product check {name}; then change assets/{name}/.")


@product.command()
@click.argument("name")
@json_option
def check(name: str, as_json: bool) -> None:
    """What in a product breaks the rules. Exit code 1 when something does."""
    from assets._declared import declared
    from assets._products import product as find
    from headwater.testing.product_checks import check_product

    try:
        found = find(name)
        problems = check_product(found, declared(found))
    except DeclarationError as error:
        problems = (str(error),)
    if as_json:
        show_json({"product": name, "problems": list(problems)})
    else:
        click.echo("\n".join(problems) or f"{name} obeys the rules.")
    if problems:
        raise click.exceptions.Exit(1)
