"""`headwater` with nothing installed but what the image has: whatever only other extras bring cannot be imported.

python only_the_image.py FILE EXTRAS WORD...

Writes which packages were used to FILE when it ends, one a line.
"""

import atexit
import importlib.metadata as metadata
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def installed(extras: Iterable[str]) -> set[str]:
    """Names of the distributions that `pip install headwater[extras]` brings."""
    open_ends = [("headwater", frozenset(extras))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while open_ends:
        if (found := open_ends.pop()) in seen:
            continue
        seen.add(found)
        name, wanted = found
        for text in metadata.requires(name) or ():
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *wanted)):
                open_ends.append((canonicalize_name(need.name), frozenset(need.extras)))
    return {name for name, _ in seen}


class OnlyTheImage(MetaPathFinder):
    """Finds first, and refuses what the image lacks."""

    def __init__(self, there: set[str]) -> None:
        self._brings = {
            module: {canonicalize_name(name) for name in names}
            for module, names in metadata.packages_distributions().items()
        }
        self._there = there

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        brings = self._brings.get(fullname.partition(".")[0])
        if brings and not brings & self._there:
            raise ModuleNotFoundError(f"{fullname} is not in the image", name=fullname)

    def used(self) -> list[str]:
        """Distributions of which something was imported."""
        modules = {name.partition(".")[0] for name in sys.modules}
        return sorted({name for module in modules for name in self._brings.get(module, ())} & self._there)


def main() -> None:
    """Runs the command."""
    file, extras, *words = sys.argv[1:]
    finder = OnlyTheImage(installed(extras.split(",")))
    for name in [name for name in sys.modules if finder._brings.get(name.partition(".")[0], set()) - finder._there]:
        del sys.modules[name]  # what the interpreter itself, or this file, had taken in
    sys.meta_path.insert(0, finder)
    atexit.register(lambda: Path(file).write_text("\n".join(finder.used())))
    sys.argv = ["headwater", *words]
    from headwater.cli import main as headwater

    headwater()


if __name__ == "__main__":
    main()
