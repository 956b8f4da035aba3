"""Whatever changes what a function does changes its code version, and nothing else does: told by small packages."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.code_version import code_version
from headwater.lake import Kind
from headwater.product import Asset

FILES = {
    "__init__.py": "",
    "deep.py": "OFFSET = 2\n\ndef deepest(x):\n    return x + OFFSET\n",
    "tools.py": '''
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
import numpy as np
from . import deep

HERE = Path(__file__).parent
WEIGHTS = np.array([1.0, 2.0])
NAMES = {"b", "a", "c", "d", "e"}

@dataclass(frozen=True)
class Rule:
    limit: int = 3

    def apply(self, x):
        return x * self.limit

RULE = Rule()

class Scaler:
    def __init__(self, by):
        self.by = by

    def scale(self, x):
        return x * self.by

SCALER = Scaler(5)

def twice(function):
    @wraps(function)
    def inner(*args):
        return 2 * function(*args)
    return inner

@cache
def cached(x):
    return x + 10

@twice
def decorated(x):
    """Says nothing."""
    return x + 20

def make(n):
    def made(x):
        return x + n
    return made

FIRST, SECOND = make(1), make(2)
PICK = [lambda x: x.real, lambda x: x in {"p", "q", "r"}][0]

def recursive():
    def walk(n):
        return walk(n - 1) if n else 0
    return walk

WALK = recursive()

def indirectly(x):
    from .deep import deepest
    return deepest(x)
''',
    "asset.py": """
import toyproj.deep
from toyproj import tools

def compute(inputs):
    x = tools.indirectly(tools.cached(tools.decorated(1)))
    y = tools.RULE.apply(x) + tools.FIRST(x) - tools.SECOND(x) + tools.PICK(x) + tools.WALK(3)
    return y, tools.HERE, tools.WEIGHTS, tools.NAMES, tools.SCALER.scale(y), toyproj.deep.OFFSET
""",
}

CHANGES = {
    "a helper two modules away": ("deep.py", "return x + OFFSET", "return x - OFFSET"),
    "a constant two modules away": ("deep.py", "OFFSET = 2", "OFFSET = 3"),
    "a dataclass default": ("tools.py", "limit: int = 3", "limit: int = 4"),
    "a method of a constant's class": ("tools.py", "return x * self.limit", "return x // self.limit"),
    "an argument of a constant object": ("tools.py", "Scaler(5)", "Scaler(6)"),
    "a method of a constant object": ("tools.py", "return x * self.by", "return x / self.by"),
    "a decorator's body": ("tools.py", "return 2 * function", "return 3 * function"),
    "a decorated function": ("tools.py", "return x + 20", "return x + 21"),
    "a cached function": ("tools.py", "return x + 10", "return x + 11"),
    "a value bound by a factory": ("tools.py", "make(1), make(2)", "make(1), make(3)"),
    "swapped closures": ("tools.py", "make(1), make(2)", "make(2), make(1)"),
    "an attribute in a lambda": ("tools.py", "x.real", "x.imag"),
    "an array": ("tools.py", "[1.0, 2.0]", "[1.0, 2.5]"),
    "a set": ("tools.py", '"d", "e"', '"d", "f"'),
}
SAME = {
    "a comment": ("tools.py", "def make(n):", "# makes\ndef make(n):"),
    "a docstring": ("tools.py", '"""Says nothing."""', '"""Says something else."""'),
    "formatting": ("tools.py", "return x + 20", "return (x  +  20)"),
    "lines above": ("tools.py", "HERE =", "\n\n\n\nHERE ="),
    "what nobody calls": ("deep.py", "OFFSET = 2", "OFFSET = 2\nOTHER = 9"),
}


@pytest.fixture(autouse=True)
def clean_modules() -> Iterator[None]:
    yield
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "toyproj"]:
        del sys.modules[name]


def written(folder: Path, change: tuple[str, str, str] | None = None) -> Path:
    for name, text in FILES.items():
        if change is not None and change[0] == name:
            assert change[1] in text
            text = text.replace(change[1], change[2])
        file = folder / "toyproj" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    _forget()
    importlib.invalidate_caches()
    monkeypatch.syspath_prepend(str(folder))
    module = importlib.import_module("toyproj.asset")
    assert Path(str(module.__file__)).is_relative_to(folder)
    return code_version(Asset(path="toy/a", kind=Kind.TABLE, compute=module.compute))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_changes_the_result_changes_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str, str]
) -> None:
    before = version(written(tmp_path / "one"), monkeypatch)
    assert version(written(tmp_path / "two", change), monkeypatch) != before


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_what_changes_nothing_keeps_the_version_also_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str, str]
) -> None:
    before = version(written(tmp_path / "one"), monkeypatch)
    assert version(written(tmp_path / "elsewhere" / "two", change), monkeypatch) == before


SCRIPT = """
import sys
{first}
from headwater.code_version import code_version
from headwater.lake import Kind
from headwater.product import Asset
import toyproj.asset
print(code_version(Asset(path="toy/a", kind=Kind.TABLE, compute=toyproj.asset.compute)))
"""


def test_processes_with_other_hash_seeds_and_import_orders_agree(tmp_path: Path) -> None:
    folder = written(tmp_path)
    found = set()
    for seed, first in (("1", ""), ("2", "import toyproj.tools, headwater.materialize")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{folder}{os.pathsep}{Path.cwd()}"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(first=first)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout.strip())
    assert len(found) == 1
