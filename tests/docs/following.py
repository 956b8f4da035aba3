"""Follows `docs/add-a-product.md` to the letter: what it says to replace is taken from the page itself."""

import re
from pathlib import Path
from random import Random
from typing import Final

from tests.docs.pages import ROOT, fenced

PAGE: Final = ROOT / "docs" / "add-a-product.md"
MONTHS: Final = tuple(f"2025-{month:02d}" for month in range(1, 9))
_SOURCE = re.compile(r"^ +Source\(\n.*?^ {8}\),\n", re.MULTILINE | re.DOTALL)
_RETURN = re.compile(r"^    return rows\.sort\(.*\)\n", re.MULTILINE)
_FIELDS = re.compile(r"^PERIODS: .*?^\}\n", re.MULTILINE | re.DOTALL)


def declared(product: str) -> str:
    """`product.py` of the template with the page's source in place of the made-up one."""
    source, _, _ = fenced(PAGE, "python")
    indented = "".join(f"        {line}\n" for line in source.splitlines())
    return _once(_SOURCE, indented.rstrip("\n") + ",\n", product)


def typed(assets: str) -> str:
    """`assets.py` of the template with the page's months, types and names."""
    _, fields, names = fenced(PAGE, "python")
    return _once(_RETURN, names, _once(_FIELDS, fields, assets))


def _once(pattern: re.Pattern[str], text: str, whole: str) -> str:
    first = pattern.search(whole)
    assert first is not None, f"nothing in the template matches {pattern.pattern!r}"
    return whole[: first.start()] + text + whole[first.end() :]


def write_own_rows(folder: Path, customers: int = 500) -> None:
    """Files as step 2 describes them; those with many tickets cancel more often."""
    header = next(block for block in fenced(PAGE, "") if block.startswith("account,")).strip()
    draw = Random(7)
    people = [
        (f"A-{n}", draw.choice(("basic", "pro")), draw.randint(0, 40), draw.expovariate(1)) for n in range(customers)
    ]
    for number, month in enumerate(MONTHS):
        rows = [header]
        for account, plan, age, trouble in people:
            tickets = min(int(draw.expovariate(1 / (0.2 + trouble))), 20)
            cancelled = int(draw.random() < min(0.9, 0.05 + 0.1 * trouble + 0.05 * tickets))
            rows.append(
                f"{account},{month}-01,{plan},{age + number},{5 + 190 * draw.random():.2f},{tickets},{cancelled}"
            )
        (folder / f"{month}.csv").write_text("\n".join(rows) + "\n")
