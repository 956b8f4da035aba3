"""Templates that `headwater product new` fills in, and the made-up sample it starts with."""

import math
import random
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final

import jinja2

MONTHS: Final = 8
CUSTOMERS: Final = 400


def render_product(name: str) -> dict[Path, str]:
    """The files of a new product, by path relative to the checkout."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("headwater", "templates/product"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    texts = {
        Path("assets") / name / target: environment.get_template(f"{target}.jinja").render(name=name)
        for target in ("__init__.py", "product.py", "assets.py")
    }
    test = environment.get_template("test_product.py.jinja").render(name=name)
    return {
        **texts,
        Path("tests") / "assets" / name / f"test_{name}.py": test,
        Path("assets") / name / "sample.csv": "\n".join(_sample()) + "\n",
    }


def template_folder() -> Path:
    """Where the templates lie."""
    return Path(str(files("headwater.templates"))) / "product"


def _sample() -> Iterator[str]:
    """Made-up customers: those who call often on a monthly contract leave more."""
    yield "period,customer,at,contract,tenure_months,charge,calls,left"
    draw = random.Random(2024)
    for number in range(CUSTOMERS):
        contract = draw.choice(("monthly", "yearly"))
        tenure, charge, trouble = draw.randint(1, 60), draw.uniform(10, 90), draw.expovariate(1.0)
        for month in range(1, MONTHS + 1):
            calls = min(int(draw.expovariate(1.0 / (0.3 + trouble))), 30)
            odds = -2.0 + 0.9 * trouble + 0.25 * calls - 0.02 * tenure - (1.0 if contract == "yearly" else 0.0)
            left = int(draw.random() < 1.0 / (1.0 + math.exp(-odds)))
            at = f"2024-{month:02d}-01T00:00:00Z"
            yield f"2024-{month:02d},c{number:04d},{at},{contract},{tenure + month},{charge:.2f},{calls},{left}"
