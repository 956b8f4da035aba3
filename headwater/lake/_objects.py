"""The object store: file contents under their own sha256, and the checkouts made of them."""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headwater.lake._files import READ_ONLY, copy, link, sync_all
from headwater.lake._interface import Kind
from headwater.lake._layout import Layout, Workspace, workspace
from headwater.lake.errors import DamagedLakeError

_NAME_DIGITS: Final = 32


def checkout_name(files: str) -> str:
    """Name of the checkout of a list of files: its address, cut to 128 bits.

    ext4 keeps a link of less than 60 characters in its inode and a longer one in a block, which costs milliseconds.
    """
    return files[:_NAME_DIGITS]


@dataclass(frozen=True, order=True)
class Content:
    """A file's content: what it hashes to, and its size in bytes."""

    sha256: str
    size: int

    def __str__(self) -> str:
        """As it stands in a list of files."""
        return f"{self.sha256}:{self.size}"

    @classmethod
    def parse(cls, text: str) -> "Content":
        """Reads `str(content)`."""
        sha256, size = text.split(":")
        return cls(sha256, int(size))


@dataclass(frozen=True)
class NewFile:
    """A file in a workspace whose content the store may lack.

    Attributes:
        file: Where it lies.
        content: What it holds.
        share: Whether the object may share its inode. Delta never changes a file in place; other tools do.
    """

    file: Path
    content: Content
    share: bool


class Objects:
    """Contents by hash, and folders made of links to them."""

    def __init__(self, layout: Layout) -> None:
        """Opens the store of a lake."""
        self._layout = layout

    def path(self, sha256: str) -> Path:
        """Where the content with this hash lies."""
        return self._layout.objects / sha256[:2] / sha256

    def sync_new(self, files: Iterable[NewFile], space: Workspace) -> list[NewFile]:
        """Makes the contents durable where they lie and returns what `link_new` then links.

        Files that may not share their inode are copied within the workspace first.
        """
        ready = []
        for new in files:
            if not new.share:
                twin = space.fresh()
                copy(new.file, twin)
                new = NewFile(twin, new.content, True)
            os.chmod(new.file, READ_ONLY)
            ready.append(new)
        sync_all(new.file for new in ready)
        return ready

    def link_new(self, files: Iterable[NewFile]) -> None:
        """Gives durable contents their names and makes the names durable.

        An object of the right name and another size is damaged; the good content replaces it.
        """
        folders = set()
        for new in files:
            target = self.path(new.content.sha256)
            folders.add(target.parent)
            try:
                link(new.file, target)
            except FileExistsError:
                if target.stat().st_size != new.content.size:
                    os.replace(new.file, target)
        sync_all(folders)

    def checkout_path(self, files: str) -> Path:
        """Where the checkout of a list of files lies, made or not."""
        return self._layout.checkouts / checkout_name(files)

    def checkout(self, files: str, contents: Mapping[str, Content], kind: Kind) -> Path:
        """The folder with these files; made when first touched.

        Args:
            files: Address of the list of files.
            contents: The list itself, by relative name.
            kind: Tables are hard links; folders are copies, because tools truncate such files in place.
        """
        target = self.checkout_path(files)
        if not target.exists():
            with workspace(self._layout) as space:
                made = space.fresh()
                self.fill(made, contents, share=kind is Kind.TABLE)
                self.adopt(made, files)
        return target

    def fill(self, folder: Path, contents: Mapping[str, Content], *, share: bool) -> None:
        """Puts files into a folder of the workspace. Raises DamagedLakeError when a content is not there."""
        place = link if share else _copy_read_only
        objects, root = f"{self._layout.objects}", f"{folder}"
        made = {""}
        folder.mkdir(exist_ok=True)
        for name, content in contents.items():
            parent = name.rpartition("/")[0]
            if parent not in made:
                os.makedirs(f"{root}/{parent}", exist_ok=True)
                made.add(parent)
            try:
                place(f"{objects}/{content.sha256[:2]}/{content.sha256}", f"{root}/{name}")
            except FileNotFoundError:
                raise DamagedLakeError(what="object", name=content.sha256) from None
            if not share and os.stat(f"{root}/{name}").st_size != content.size:
                raise DamagedLakeError(what="object", name=content.sha256)

    def adopt(self, folder: Path, files: str) -> Path:
        """Makes a finished folder of a workspace the checkout of a list of files."""
        target = self.checkout_path(files)
        try:
            folder.rename(target)
        except OSError:
            if not target.exists():
                raise
            shutil.rmtree(folder, ignore_errors=True)
        return target


def _copy_read_only(source: str, target: str) -> None:
    copy(source, target)
    os.chmod(target, READ_ONLY)
