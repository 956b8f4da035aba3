"""Views: folders in which any tool finds the tables and folders at a branch's head, as links to checkouts.

A view is derived. A mark remembers the commit it shows; when the mark is not the head, the view is brought up to date.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from headwater.lake import _tree, _trees
from headwater.lake._commits import CommitRow
from headwater.lake._core import Core
from headwater.lake._files import link
from headwater.lake._interface import Kind
from headwater.lake._layout import Workspace, workspace
from headwater.lake._records import Record
from headwater.names import MAIN


class View:
    """The view of one branch.

    Args:
        core: The lake.
        branch: Name of the branch.
    """

    def __init__(self, core: Core, branch: str) -> None:
        """Remembers which view."""
        self._core = core
        self.branch = branch
        self.folder = core.layout.view(branch)
        self._mark = core.layout.marks / branch

    @property
    def shown(self) -> str | None:
        """Id of the commit that the view shows, None when it is unknown."""
        try:
            return self._mark.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def follow(self, row: CommitRow, *, space: Workspace) -> None:
        """Shows a commit if the view was made before; main's always is. The caller holds the branch's lock.

        A disk that refuses does not undo the publication: the next one, or the next opening, brings the view up to date.
        """
        if self.shown is not None or self.folder == self._core.layout.view(MAIN):
            with suppress(OSError):
                self.show(row, space=space)

    def show(self, row: CommitRow, *, space: Workspace | None = None) -> None:
        """Makes the view show a commit. The caller holds the branch's lock."""
        shown = self.shown
        if shown == row.id:
            return
        if space is None:
            with workspace(self._core.layout) as space:
                self._bring(row, shown, space)
        else:
            self._bring(row, shown, space)

    def _bring(self, row: CommitRow, shown: str | None, space: Workspace) -> None:
        before = self._core.catalog.commit(shown) if shown else None
        store = self._core.catalog
        if before is None or before.collected:
            self._rebuild(row, space)
        else:
            for path, left, right in sorted(_tree.compare(store, before.tree, row.tree)):
                if right is None:
                    self._drop(path)
                else:
                    record = _trees.read_record(store, right)
                    if left is None or _trees.read_record(store, left).files != record.files:
                        self._point(path, record, space)
        self._remember(row.id)

    def _remember(self, commit: str) -> None:
        """Writes the mark in place, in one call of one length: renaming a new file over it would cost a journal write."""
        descriptor = os.open(self._mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(descriptor, commit.encode(), 0)
        finally:
            os.close(descriptor)

    def _rebuild(self, row: CommitRow, space: Workspace) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted = _tree.items(self._core.catalog, row.tree)
        for path in list(self.links()):
            if path not in wanted:
                self._drop(path)
        for path, hash in wanted.items():
            shutil.rmtree((self.folder / path).parent / _beside(path), ignore_errors=True)
            self._point(path, _trees.read_record(self._core.catalog, hash), space)

    def links(self) -> Iterator[str]:
        """Every name in the view that is not a directory, relative to it; what folders keep for themselves left out."""
        pending = [""]
        while pending:
            prefix = pending.pop()
            if not (self.folder / prefix).is_dir():
                continue
            with os.scandir(self.folder / prefix) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith("."):
                            pending.append(f"{prefix}{entry.name}/")
                    else:
                        yield prefix + entry.name

    def target(self, path: str, record: Record) -> str:
        """What the link of `path` says: the way from it to its files.

        A table's files are the checkout's. A folder's lie beside the link: MLflow opens no bundle whose real path is outside
        the directory that holds its name.
        """
        checkout = self._core.objects.checkout_path(record.files)
        if record.entry.kind is Kind.FOLDER:
            return f"{_beside(path)}/{checkout.name}"
        return os.path.relpath(checkout, (self.folder / path).parent)

    def _point(self, path: str, record: Record, space: Workspace) -> None:
        checkout = self._core.objects.checkout_path(record.files)
        if not checkout.exists():
            contents = _trees.contents(self._core.catalog, record)
            self._core.objects.checkout(record.files, contents, record.entry.kind)
        place, target = self.folder / path, self.target(path, record)
        place.parent.mkdir(parents=True, exist_ok=True)
        if record.entry.kind is Kind.FOLDER:
            self._put_beside(place, place.parent / target, checkout, space)
        made = space.fresh()
        made.symlink_to(target)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        made.replace(place)

    def _put_beside(self, place: Path, own: Path, checkout: Path, space: Workspace) -> None:
        """Links a checkout's files into the view; keeps those that the name shows until now, for whoever reads them."""
        kept = {own.name, place.readlink().name if place.is_symlink() else ""}
        if not own.is_dir():
            made = space.fresh()
            shutil.copytree(checkout, made, copy_function=link)
            own.parent.mkdir(exist_ok=True)
            made.rename(own)
        for old in own.parent.iterdir():
            if old.name not in kept:
                shutil.rmtree(old, ignore_errors=True)

    def _drop(self, path: str) -> None:
        place = self.folder / path
        place.unlink(missing_ok=True)
        shutil.rmtree(place.parent / _beside(path), ignore_errors=True)
        for parent in place.parents:
            if parent == self.folder or any(parent.iterdir()):
                return
            parent.rmdir()


def _beside(path: str) -> str:
    """The directory beside a folder's name that holds its files. No asset's name starts with a point."""
    return f".{path.rpartition('/')[2]}"
