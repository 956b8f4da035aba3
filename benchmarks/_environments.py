"""Environments of peers, one each below `.envs/`, made with pip from pinned requirements and kept between runs."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ENVIRONMENTS: Final = Path(__file__).resolve().parent / ".envs"
_MADE: Final = "requirements.txt"


class NotInstalledError(Exception):
    """Pip could not install a peer; says why in pip's last words."""


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of an environment that has `requirements`; made when it is missing or was made of others.

    Raises:
        NotInstalledError: Pip refused.
    """
    folder, wanted = ENVIRONMENTS / name, "\n".join(requirements) + "\n"
    python, made = folder / "bin" / "python", folder / _MADE
    if made.is_file() and made.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {', '.join(requirements)}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NotInstalledError(said[-1] if said else f"pip ended with {done.returncode}")
    made.write_text(wanted)
    return python
