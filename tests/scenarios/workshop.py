"""A checkout of its own with one small product, a state folder, and the `headwater` command as a user runs it."""

import compileall
import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PRODUCT: Final = "churn"
LAST: Final = "2024-05"
CODE: Final = ("assets", "headwater", "resources", "sensors", "serving", "governance")
FILES: Final = ("pyproject.toml", "workspace.yaml", "dg.toml")
_SECONDS: Final = 240
Row = list[str]


@dataclass(frozen=True)
class Workshop:
    """One checkout and one state folder.

    Attributes:
        checkout: Code that a test may edit.
        state: The state folder.
        environment: Variables beside the process's own.
    """

    checkout: Path
    state: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def product(self) -> Path:
        """The product's code."""
        return self.checkout / "assets" / PRODUCT

    def command(self, *words: str) -> list[str]:
        """The command line of `headwater ...` in this checkout."""
        return [sys.executable, "-m", "headwater.cli", *words]

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of a command."""
        own = {"HEADWATER_STATE": str(self.state), "PYTHONPATH": str(self.checkout), "DAGSTER_HOME": str(self.home)}
        return {**os.environ, "HEADWATER_BRANCH": "main", **own, **self.environment, **more}

    @property
    def home(self) -> Path:
        """Dagster's folder."""
        return self.state / "dagster"

    def run(self, *words: str, code: int | None = 0, **more: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command to its end; its exit code has to be `code` unless that is None. Never a traceback."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.checkout,
            env=self.variables(**more),
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        said = f"{' '.join(words)}: {done.stdout}{done.stderr}"
        assert code is None or done.returncode == code, said
        assert "Traceback" not in done.stderr, said
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        """What a command says with `--json`: its whole standard output is one JSON value."""
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def head(self, branch: str = "main") -> str:
        """Id of a branch's newest commit."""
        return str(self.json("lake", "log", branch, "-n", "1")[0]["id"])

    def data(self, ref: str = "main") -> dict[str, str]:
        """Data version of every asset at a ref."""
        return {entry["path"]: entry["data_version"] for entry in self.json("lake", "show", ref)["assets"]}

    def published_since(self, commit: str) -> set[str]:
        """Assets (without the product's name) that later commits of main wrote."""
        found: set[str] = set()
        for row in self.json("lake", "log"):
            if row["id"] == commit:
                return found
            found |= {path.removeprefix(f"{PRODUCT}/") for path in row["paths"]}
        raise AssertionError(f"{commit} is not in main's history")

    def branches(self) -> list[str]:
        """Branches that refused transactions left."""
        return [row["name"] for row in self.json("lake", "branches") if row["name"].startswith("tx-")]

    def models(self) -> list[tuple[str, str]]:
        """Version and state of every model."""
        return [(row["version"], row["state"]) for row in self.json("model", "list")]

    def landed(self, month: str = LAST) -> Path:
        """The landed file of a month."""
        return self.state / "landing" / PRODUCT / "customers" / f"{month}.csv"

    def rewrite(self, change: Callable[[list[Row]], list[Row]], month: str = LAST) -> None:
        """Rewrites a landed file; `change` gets the rows with the header first."""
        file = self.landed(month)
        with file.open(newline="") as stream:
            rows = list(csv.reader(stream))
        with file.open("w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(change(rows))

    def edit(self, name: str, before: str, after: str) -> None:
        """Edits a file of the product's code."""
        text = (self.product / name).read_text()
        assert before in text, f"{name} has no {before!r}"
        (self.product / name).write_text(text.replace(before, after))


def cell(row: int, column: int, value: str) -> Callable[[list[Row]], list[Row]]:
    """A change of one cell; row 0 is the header."""

    def change(rows: list[Row]) -> list[Row]:
        rows[row][column] = value
        return rows

    return change


def make(folder: Path) -> Workshop:
    """A checkout with the template's product made small: five months, few rounds."""
    shop = Workshop(folder / "checkout", folder / "state")
    for half_made in (shop.checkout, shop.state):  # by a process that failed
        if half_made.exists():
            shutil.rmtree(half_made)
    for name in CODE:
        shutil.copytree(ROOT / name, shop.checkout / name, ignore=_caches_and_products)
    for name in FILES:
        shutil.copy(ROOT / name, shop.checkout / name)
    shop.run("product", "new", PRODUCT)
    shop.edit("assets.py", '"2024-08"', f'"{LAST}"')
    shop.edit("product.py", "rounds=100", "rounds=20")
    compileall.compile_dir(shop.checkout, quiet=2)  # else commands write bytecode while `copy` reads the folder
    return shop


def copy(shop: Workshop, folder: Path) -> Workshop:
    """The same in another place, without Dagster's database: it holds absolute paths, and the lake needs it not."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Workshop(folder / "checkout", folder / "state", shop.environment)
    for source, target in ((shop.checkout, found.checkout), (shop.state, found.state)):
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)
    shutil.rmtree(found.home, ignore_errors=True)
    return found


def _caches_and_products(folder: str, names: list[str]) -> list[str]:
    """Bytecode, and every product of the checkout: a workshop has its own only."""
    products = Path(folder) == ROOT / "assets"
    return [
        name
        for name in names
        if name == "__pycache__" or (products and not name.startswith("_") and (Path(folder) / name).is_dir())
    ]
