"""Where everything lies in an embedded lake's folder."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headwater.lake._locks import LifeSign, claimed
from headwater.names import MAIN

FORMAT: Final = 1
"""Version of the layout and of the catalog. A lake of a higher one is refused."""
FORMAT_PREFIX: Final = "headwater-lake "


@dataclass(frozen=True)
class Layout:
    """Paths below one lake folder."""

    location: Path

    @property
    def format(self) -> Path:
        """Marker file with the format's version."""
        return self.location / "format"

    @property
    def catalog(self) -> Path:
        """SQLite: nodes, commits, refs, publications, attestations."""
        return self.location / "catalog.sqlite"

    @property
    def objects(self) -> Path:
        """Contents by sha256, read only."""
        return self.location / "objects"

    @property
    def checkouts(self) -> Path:
        """One folder per list of files: what readers open."""
        return self.location / "checkouts"

    @property
    def work(self) -> Path:
        """Folders of open transactions and of checkouts in the making, each with a life sign."""
        return self.location / "tx"

    @property
    def locks(self) -> Path:
        """Lock files."""
        return self.location / "locks"

    @property
    def marks(self) -> Path:
        """Which commit each view shows, and since which boot the checkouts are trusted."""
        return self.location / "views"

    def view(self, branch: str) -> Path:
        """Folder of plain tables and folders at the head of a branch."""
        return self.location / MAIN if branch == MAIN else self.location / "branches" / branch

    def folders(self) -> tuple[Path, ...]:
        """Every folder that must exist."""
        named = (self.objects, self.checkouts, self.work, self.locks, self.marks, self.view(MAIN))
        return named + tuple(self.objects / f"{number:02x}" for number in range(256))


class Workspace:
    """A private folder below `tx/` that is swept when its process dies."""

    def __init__(self, layout: Layout, *, pins: str = "") -> None:
        """Makes the folder, after its life sign.

        Args:
            layout: The lake.
            pins: Id of a commit that `gc` keeps while this lives.
        """
        self.folder = layout.work / secrets.token_hex(8)
        self._sign = LifeSign(self.folder, says=pins)
        try:
            self.folder.mkdir()
        except OSError:
            self._sign.end()
            raise
        self._count = 0

    def fresh(self) -> Path:
        """A path below the folder that nothing uses yet."""
        self._count += 1
        return self.folder / str(self._count)

    def end(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._sign.end()


@contextmanager
def workspace(layout: Layout) -> Iterator[Workspace]:
    """A workspace for one operation."""
    space = Workspace(layout)
    try:
        yield space
    finally:
        space.end()


def live_pins(layout: Layout) -> tuple[str, ...]:
    """Ids of the commits that live transactions are pinned to."""
    found = []
    for entry in os.scandir(layout.work):
        if entry.name.endswith(".lock"):
            with suppress(FileNotFoundError):
                found.append(Path(entry.path).read_text(encoding="utf-8"))
    return tuple(pin for pin in found if pin)


def sweep(layout: Layout) -> int:
    """Removes the workspaces of dead processes, never a live one's, and returns how many."""
    names = {Path(entry.name.removesuffix(".lock")) for entry in os.scandir(layout.work)}
    swept = 0
    for name in names:
        folder = layout.work / name
        with claimed(folder) as dead:
            if dead:
                shutil.rmtree(folder, ignore_errors=True)
                folder.with_name(folder.name + ".lock").unlink(missing_ok=True)
                swept += 1
    return swept
