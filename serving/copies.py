"""Copies of folders of the lake on this machine's disk: whole or not there, and made anew where something changed one."""

import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headwater.lake import digest_folder
from headwater.lake._digest import IdentityError
from headwater.lake._files import sync, sync_all
from headwater.lake._locks import locked
from serving.errors import DamagedSourceError, NotHeldError, TamperedError

PART: Final = ".part-"
"""How the names of folders and files begin that are not whole yet."""
_LOCK: Final = ".lock"
_LOG: Final = logging.getLogger("headwater.serving")


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One folder of the lake, as this machine shall have it.

    Attributes:
        what: What it is, for people.
        folder: Where the copy is.
        aside: Where a damaged one is put, in place of one that was put there before.
        data_version: What its digest shall be.
        identity: Names or globs of the files that count for that; None for all.
    """

    what: str
    folder: Path
    aside: Path
    data_version: str
    identity: Sequence[str] | None

    @property
    def is_there(self) -> bool:
        """Whether there is any, whole or damaged."""
        return self.folder.is_dir()

    def check(self) -> Path:
        """The folder, with its data version. Raises NotHeldError, TamperedError."""
        if not self.is_there:
            raise NotHeldError(what=self.what)
        if (found := self._digest(self.folder)) != self.data_version:
            raise TamperedError(what=self.what, folder=str(self.folder), wanted=self.data_version, found=found)
        return self.folder

    def fetch(self, source: Callable[[], Path]) -> None:
        """Makes the copy. Several processes may do so at once.

        Args:
            source: Gives the folder of the lake.

        Raises:
            DamagedSourceError: What the lake gave is not what it recorded.
            OSError: The disk is full, or cannot be written.
        """
        with self._fetched(source) as part:
            self._put(part)

    def renew(self, source: Callable[[], Path]) -> bool:
        """Makes the copy anew in place of a damaged one, which is put aside. That one stays where the lake has none that is whole.

        Args:
            source: Gives the folder of the lake.

        Returns:
            Whether it was damaged: not when the lake gave the very same files, or another process was first.

        Raises:
            DamagedSourceError: What the lake gave is not what it recorded.
            OSError: The disk is full, or cannot be written.
        """
        self.aside.parent.mkdir(parents=True, exist_ok=True)
        with self._fetched(source) as part, locked(self.aside.parent / _LOCK):
            if self.is_there and digest_folder(self.folder) == digest_folder(part):
                return False
            shutil.rmtree(self.aside, ignore_errors=True)
            with suppress(FileNotFoundError):  # somebody removed it meanwhile
                os.rename(self.folder, self.aside)
            self._put(part)
            sync(self.aside.parent)
        said = "a damaged copy was fetched again; the damaged one was put aside, and may be removed"
        _LOG.warning(said, extra={"what": self.what, "folder": str(self.folder), "aside": str(self.aside)})
        return True

    @contextmanager
    def _fetched(self, source: Callable[[], Path]) -> Iterator[Path]:
        """A checked copy under another name, for as long as it is there."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        part = self.folder.with_name(f"{PART}{secrets.token_hex(8)}")
        try:
            shutil.copytree(source(), part)
            for path in part.rglob("*"):
                path.chmod(0o700 if path.is_dir() else 0o600)
            if (found := self._digest(part)) != self.data_version:
                raise DamagedSourceError(what=self.what, wanted=self.data_version, found=found)
            sync_all([*part.rglob("*"), part])
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _put(self, part: Path) -> None:
        try:
            os.rename(part, self.folder)
        except OSError:
            if not self.is_there:  # another process has made it meanwhile
                raise
        sync(self.folder.parent)

    def _digest(self, folder: Path) -> str | None:
        """The data version of a folder, None where none of the files is there that it is of."""
        try:
            return digest_folder(folder, self.identity)
        except IdentityError:
            return None
