"""What a lake keeps about one path in one commit: the public entry and what is needed to go on from it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from headwater.lake._digest import TableDigest
from headwater.lake._interface import Entry, Kind


@dataclass(frozen=True, kw_only=True)
class Record:
    """One path's entry with the state behind its digests.

    Attributes:
        entry: What readers see.
        digest: State of the table's digest, so that an append adds to it instead of reading the table; None for folders.
        partition_column: The column a partitioned table is partitioned by, else None.
        partition_digests: Partition key to the state of that partition's digest.
        identity: The globs that make a folder's data version, None for all files.
        files: Where the lake keeps the list of files, in the lake's own terms.
    """

    entry: Entry
    digest: TableDigest | None = None
    partition_column: str | None = None
    partition_digests: Mapping[str, TableDigest] = field(default_factory=dict)
    identity: tuple[str, ...] | None = None
    files: str = ""

    def same_content(self, other: "Record | None") -> bool:
        """Whether both hold the same logical content: publishing one over the other would change nothing."""
        return (
            other is not None
            and self.entry.kind is other.entry.kind
            and self.entry.data_version == other.entry.data_version
            and dict(self.entry.partitions) == dict(other.entry.partitions)
        )

    def with_files(self, files: str) -> Self:
        """This record with another list of files."""
        return replace(self, files=files)

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads back."""
        return {
            "entry": {name: value for name, value in asdict(self.entry).items() if name != "schema"}
            | {"schema": list(self.entry.schema.items())},
            "digest": self.digest.to_json() if self.digest else None,
            "partition_column": self.partition_column,
            "partition_digests": {key: digest.to_json() for key, digest in self.partition_digests.items()},
            "identity": list(self.identity) if self.identity is not None else None,
            "files": self.files,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Record":
        """The record that `to_json` wrote."""
        entry = dict(raw["entry"])
        entry["kind"] = Kind(entry["kind"])
        entry["schema"] = dict(entry["schema"])
        return cls(
            entry=Entry(**entry),
            digest=TableDigest.from_json(raw["digest"]) if raw["digest"] else None,
            partition_column=raw["partition_column"],
            partition_digests={key: TableDigest.from_json(value) for key, value in raw["partition_digests"].items()},
            identity=tuple(raw["identity"]) if raw["identity"] is not None else None,
            files=raw["files"],
        )

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal records give equal bytes."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Record":
        """The record that `to_bytes` wrote."""
        return cls.from_json(json.loads(data))
