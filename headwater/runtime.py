"""Facts of the process that runs: code commit, environment digest, who asked. Read when asked, never at import."""

import getpass
import hashlib
import importlib.metadata
import platform
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class CodeState:
    """The git state of the project's checkout; both fields empty outside git."""

    commit: str | None
    dirty: bool


def project_root() -> Path:
    """The checkout (or site-packages folder) that holds the `headwater` package."""
    return Path(__file__).resolve().parent.parent


@cache
def code_state(root: Path | None = None) -> CodeState:
    """Commit and dirtiness of the checkout at `root` (default: the project's)."""
    folder, git = root or project_root(), shutil.which("git")
    if git is None or not (folder / ".git").exists():
        return CodeState(commit=None, dirty=False)
    head = _git(git, folder, "rev-parse", "HEAD")
    return CodeState(
        commit=head or None, dirty=bool(_git(git, folder, "status", "--porcelain", "--untracked-files=no"))
    )


def _git(git: str, folder: Path, *words: str) -> str:
    done = subprocess.run([git, "-C", str(folder), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


@cache
def environment_lock() -> str:
    """The interpreter and every installed distribution as sorted `name==version` lines."""
    found = {(d.name or "").lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()}
    lines = [f"{name}=={version}" for name, version in sorted(found.items()) if name]
    return "\n".join([f"# python {platform.python_version()} {platform.system()} {platform.machine()}", *lines, ""])


def environment_digest() -> str:
    """Short sha256 of `environment_lock`."""
    return hashlib.sha256(environment_lock().encode()).hexdigest()[:32]


def user() -> str:
    """The operating system's user as an actor, `user:<name>`."""
    try:
        return f"user:{getpass.getuser()}"
    except (OSError, KeyError):
        return "user:unknown"
