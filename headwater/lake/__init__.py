"""Versioned storage: the interface, its data, its errors, and the lake that needs no server."""

from headwater.lake._digest import digest_folder
from headwater.lake._embedded import EmbeddedLake
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
