"""A stranger runs the conformance suite over a lake of their own, as its docstring says, and it can fail."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from headwater.testing import lake_suite

_HONEST = """
from headwater.lake._embedded import EmbeddedLake

def MyLake(location):
    return EmbeddedLake.open(location)
"""
_FORGETFUL = (
    _HONEST
    + """
EmbeddedLake.tags = lambda self: ()
"""
)


def _example() -> str:
    """The code of the docstring."""
    lines = (lake_suite.__doc__ or "").splitlines()
    return textwrap.dedent("\n".join(line for line in lines if not line.strip() or line.startswith("    ")))


@pytest.mark.parametrize(("implementation", "code"), [(_HONEST, 0), (_FORGETFUL, 1)], ids=["honest", "forgetful"])
def test_the_example_of_the_docstring_runs_the_suite(tmp_path: Path, implementation: str, code: int) -> None:
    (tmp_path / "test_mine.py").write_text(implementation + _example())
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-k", "tag"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("passed" in done.stdout) if code == 0 else ("test_a_tag_never_moves" in done.stdout)


def test_a_lake_that_does_not_say_how_to_open_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from headwater.testing.lake_suite import LakeSuite\nclass TestMine(LakeSuite):\n    pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "test_a_branch_exists_once"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Override the `lake` fixture" in done.stdout
