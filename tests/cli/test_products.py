"""`headwater product ...`: names that no product can have, and products that are broken."""

import pytest

from tests.scenarios.workshop import PRODUCT, Workshop


@pytest.mark.parametrize("name", [PRODUCT, "a/b", "a b", "class", "import", "é", "x" * 300, "Churn", "1x", "", ".."])
def test_a_name_that_no_product_can_have_writes_nothing(built: Workshop, name: str) -> None:
    before = sorted((built.checkout / "assets").rglob("*.py"))
    assert "headwater: " in built.run("product", "new", name, code=2).stderr
    assert sorted((built.checkout / "assets").rglob("*.py")) == before


def test_a_new_product_obeys_the_rules(built: Workshop) -> None:
    assert built.json("product", "check", PRODUCT) == {"product": PRODUCT, "problems": []}
    assert [row["name"] for row in built.json("product", "list")] == [PRODUCT]


def test_check_says_what_breaks_the_rules(workshop: Workshop) -> None:
    workshop.edit("product.py", 'gates=(Gate(metric="auc", minimum=0.6), beats_baseline(by=0.0)),', "")
    done = workshop.run("product", "check", PRODUCT, code=1)
    assert "The model has no gate" in done.stdout


@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [
        ("PRODUCT = Product(", "PRODUCT = Product(((", "SyntaxError"),
        ("PRODUCT = Product(", "PRODUCT = Produkt(", "'Produkt' is not defined"),
        ("import CALLS,", "import NOTHING, CALLS,", "cannot import name 'NOTHING'"),
    ],
)
def test_a_broken_product_is_named_with_file_and_line(workshop: Workshop, before: str, after: str, answer: str) -> None:
    # Once any broken product ended every command with a traceback of forty lines.
    workshop.edit("product.py", before, after)
    for words in (("build",), ("product", "check", PRODUCT)):
        said = workshop.run(*words, code=2).stderr
        assert answer in said
        assert f"assets/{PRODUCT}/product.py, line " in said
