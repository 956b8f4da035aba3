"""Sources kept beside the bytecode: never of another content, never in the way."""

import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from headwater.code_source import source_of

PROGRAM = """
import inspect, json, sys
sys.path.insert(0, sys.argv[1])
import kept_sample as sample
from headwater.code_source import source_of
print(json.dumps({name: source_of(inspect.unwrap(getattr(sample, name))).text for name in ("double", "Point")}))
"""
CODE = '''
import functools


@functools.cache
def double(x):
    """Twice."""
    return {factor} * x  # a remark


class Point:
    """A place."""

    x = 1

    def moved(self):
        """Elsewhere."""
        return double(self.x)
'''


def seen(folder: Path) -> Mapping[str, str]:
    """What a new process sees in the sample."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], check=True, capture_output=True, text=True)
    found: Mapping[str, str] = json.loads(done.stdout)
    return found


def kept(folder: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(folder / "kept_sample.py"))).with_suffix(".code.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kept_sample.py").write_text(CODE.format(factor=2))
    return tmp_path


def test_a_second_process_reads_what_the_first_kept_and_a_changed_file_is_parsed_again(folder: Path) -> None:
    first = seen(folder)
    assert first["double"] == "def double(x):\n    return 2 * x"
    assert "Elsewhere" not in first["Point"]
    before = kept(folder).read_bytes()
    assert seen(folder) == first
    assert kept(folder).read_bytes() == before
    (folder / "kept_sample.py").write_text(CODE.format(factor=3))
    assert seen(folder)["double"] == "def double(x):\n    return 3 * x"
    assert kept(folder).read_bytes() != before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": 1}', "\0\0"])
def test_a_torn_or_strange_file_is_made_anew(folder: Path, text: str) -> None:
    first = seen(folder)
    kept(folder).write_text(text)
    assert seen(folder) == first
    assert json.loads(kept(folder).read_text())["sources"]


def test_what_was_kept_is_really_used(folder: Path) -> None:
    seen(folder)
    held = json.loads(kept(folder).read_text())
    (place,) = (name for name in held["sources"] if name.startswith("double:"))
    held["sources"][place]["text"] = "planted"
    kept(folder).write_text(json.dumps(held))
    assert seen(folder)["double"] == "planted"


def test_a_wrapped_function_whose_file_became_shorter_is_told_by_its_bytecode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`inspect` raises an OSError then; reading the lines ourselves gave an IndexError."""
    file = tmp_path / "wrapping_sample.py"
    text = (
        "\n" * 20 + "def wrap(f):\n    def inner(x):\n        return f(x)\n    return inner\n\n\nsample = wrap(abs)\n"
    )
    file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    sample = importlib.import_module("wrapping_sample").sample
    file.write_text("# nothing is left\n")
    assert source_of(sample).text
