"""What a declaration says and what it refuses."""

from pathlib import Path

import polars as pl
import pytest

from headwater.product import DeclarationError, Inputs, Product, folder, table


@table("toy/numbers")
def numbers(inputs: Inputs) -> pl.DataFrame:
    """Numbers.

    A second paragraph,
    of two lines.
    """
    return pl.DataFrame({"x": [1]})


@folder("toy/report")
def report(inputs: Inputs, target: Path) -> None:
    """A report.

    A second paragraph,
    of two lines.
    """


def test_a_description_of_two_paragraphs_is_no_code_block() -> None:
    assert numbers.description == "Numbers.\n\nA second paragraph,\nof two lines."
    assert report.description == "A report.\n\nA second paragraph,\nof two lines."


@pytest.mark.parametrize("name", ["class", "import", "Flights", "2013", "a-b", ""])
def test_a_product_whose_name_is_no_python_folder_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match="not a Python folder name"):
        Product(name=name, question="Does it hold?", owners=("team:toy",))
