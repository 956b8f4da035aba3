"""`docs/add-a-product.md` leads to a built product: followed to the letter, by the page's own blocks."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from headwater.templates import render_product
from tests.docs.following import MONTHS, declared, typed, write_own_rows
from tests.docs.pages import ROOT


def test_what_the_page_says_to_replace_is_in_the_template() -> None:
    files = {path.name: text for path, text in render_product("churn").items()}
    product, assets = declared(files["product.py"]), typed(files["assets.py"])
    compile(product, "product.py", "exec")
    compile(assets, "assets.py", "exec")
    assert "sample.csv" not in product
    assert 'months("2025-01", "2025-12")' in assets
    assert '"cancelled": Field(' in assets
    assert '"left": Field(' not in assets


@pytest.mark.heavy
def test_a_reader_of_the_page_ends_with_a_released_model(tmp_path: Path) -> None:
    checkout = _checkout(tmp_path / "checkout")
    _run(checkout, tmp_path, "product", "new", "churn")
    folder = checkout / "assets" / "churn"
    for name, change in (("product.py", declared), ("assets.py", typed)):
        (folder / name).write_text(change((folder / name).read_text()))
    rows = tmp_path / "rows"
    rows.mkdir()
    write_own_rows(rows)
    _run(checkout, tmp_path, "product", "check", "churn")
    for month in MONTHS:
        _run(checkout, tmp_path, "land", "churn", "customers", str(rows / f"{month}.csv"), "--partition", month)
    _run(checkout, tmp_path, "build", "churn")
    versions = json.loads(_run(checkout, tmp_path, "model", "list", "--product", "churn", "--json"))
    assert [(version["version"], version["state"]) for version in versions] == [("1.0.0", "live")]
    assert _run(checkout, tmp_path, "status", "churn").strip() == "Everything is up to date."


def _checkout(folder: Path) -> Path:
    """A copy of what is here but for what git ignores: a product is written into the checkout."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        if not (ROOT / name).is_file():
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    return folder


def _run(checkout: Path, place: Path, *words: str) -> str:
    command: Sequence[str] = (sys.executable, "-m", "headwater.cli", *words)
    environment = {**os.environ, "HEADWATER_STATE": str(place / "state"), "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout
