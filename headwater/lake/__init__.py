"""Versioned storage: the interface, its data, its errors, and the lake that needs no server.

What declares or reads only names of it stays quick to import: the embedded lake and the digests come when first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from headwater.lake._interface import (
    Change,
    Collected,
    Commit,
    Diff,
    Entry,
    Finding,
    Kind,
    Lake,
    PathChange,
    Published,
    Ref,
    Retention,
    Snapshot,
    TableData,
    Transaction,
    Verification,
    WriteMode,
)

if TYPE_CHECKING:
    from headwater.lake._digest import digest_folder
    from headwater.lake._embedded import EmbeddedLake

_LATER: Final = {"EmbeddedLake": "headwater.lake._embedded", "digest_folder": "headwater.lake._digest"}

__all__ = [
    "Change",
    "Collected",
    "Commit",
    "Diff",
    "EmbeddedLake",
    "Entry",
    "Finding",
    "Kind",
    "Lake",
    "PathChange",
    "Published",
    "Ref",
    "Retention",
    "Snapshot",
    "TableData",
    "Transaction",
    "Verification",
    "WriteMode",
    "digest_folder",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
