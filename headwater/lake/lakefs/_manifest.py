"""The record of each asset as an object in the tree, so that it branches and merges with the data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from headwater.lake._interface import Kind
from headwater.lake._records import Record
from headwater.lake.errors import LakeFormatError

FORMAT: Final = 1
ROOT: Final = "_headwater/"
_SUFFIX: Final = ".json"
MARKERS: Final = "_headwater_transactions/"
PATHS_KEY: Final = "headwater/paths"
"""Commit metadata: the asset paths that the commit changed, as a JSON list."""


@dataclass(frozen=True, kw_only=True)
class FolderFile:
    """One file of a folder asset: digest and size."""

    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the tree says about one asset.

    Attributes:
        record: Entry and digest state.
        files: Relative name to file, for folders.
        attempt: Random; two tries of one transaction never write equal manifests, so that a merge tells them apart.
    """

    record: Record
    files: Mapping[str, FolderFile] = field(default_factory=dict)
    attempt: str = ""

    @property
    def content_key(self) -> str:
        """Digest of a folder's list of files."""
        text = json.dumps({name: file.sha256 for name, file in sorted(self.files.items())}, sort_keys=True)
        return sha256(text.encode()).hexdigest()

    @property
    def kind(self) -> Kind:
        """Table or folder."""
        return self.record.entry.kind

    def to_bytes(self) -> bytes:
        """As kept in the tree."""
        raw: dict[str, Any] = {
            "format": FORMAT,
            "record": self.record.to_json(),
            "files": {name: [file.sha256, file.size] for name, file in self.files.items()},
            "attempt": self.attempt,
        }
        return json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, location: str) -> "Manifest":
        """The manifest that `to_bytes` wrote.

        Raises:
            LakeFormatError: A newer Headwater wrote it.
        """
        raw = json.loads(data)
        if int(raw["format"]) > FORMAT:
            raise LakeFormatError(location=location, found=str(raw["format"]), supported=str(FORMAT))
        return cls(
            record=Record.from_json(raw["record"]),
            files={name: FolderFile(sha256=digest, size=size) for name, (digest, size) in raw["files"].items()},
            attempt=raw["attempt"],
        )


def key_of(path: str) -> str:
    """Key of an asset's manifest."""
    return f"{ROOT}{path}{_SUFFIX}"


def path_of(key: str) -> str:
    """The asset whose manifest lies at a key."""
    return key.removeprefix(ROOT).removesuffix(_SUFFIX)


def marker_of(transaction: str) -> str:
    """Key of the object that says that a transaction is part of a tree."""
    return f"{MARKERS}{sha256(transaction.encode()).hexdigest()[:40]}"
