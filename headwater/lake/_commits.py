"""Commits as the catalog stores them: canonical JSON whose sha256 is the id."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from headwater.lake._interface import Commit
from headwater.lake.errors import DamagedLakeError


@dataclass(frozen=True, kw_only=True)
class CommitRow:
    """One commit.

    Attributes:
        id: sha256 of `text`, in hex.
        parents: Parent ids, first parent first.
        tree: Root of the map from path to record.
        message: One line.
        created: UTC.
        metadata: Strings to strings.
        text: Canonical JSON of all of the above but the id.
        generation: 1 + the highest generation of its parents.
        collected: Whether `gc` removed its content; the row stays, because lineage does.
    """

    id: str
    parents: tuple[str, ...]
    tree: str
    message: str
    created: datetime
    metadata: Mapping[str, str]
    text: str
    generation: int
    collected: bool = False

    @classmethod
    def make(
        cls,
        *,
        parents: tuple["CommitRow", ...],
        tree: str,
        message: str,
        created: datetime,
        metadata: Mapping[str, str],
    ) -> "CommitRow":
        """A new commit; its id follows from its content."""
        text = json.dumps(
            {
                "created": created.isoformat(),
                "message": message,
                "metadata": dict(metadata),
                "parents": [parent.id for parent in parents],
                "tree": tree,
            },
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
        )
        return cls(
            id=hashlib.sha256(text.encode()).hexdigest(),
            parents=tuple(parent.id for parent in parents),
            tree=tree,
            message=message,
            created=created,
            metadata=dict(metadata),
            text=text,
            generation=1 + max((parent.generation for parent in parents), default=0),
        )

    @classmethod
    def parse(cls, id: str, text: str, generation: int, collected: int) -> "CommitRow":
        """A commit from its row. Raises DamagedLakeError when the record has another hash than its id."""
        if hashlib.sha256(text.encode()).hexdigest() != id:
            raise DamagedLakeError(what="commit", name=id)
        raw = json.loads(text)
        return cls(
            id=id,
            parents=tuple(raw["parents"]),
            tree=raw["tree"],
            message=raw["message"],
            created=datetime.fromisoformat(raw["created"]),
            metadata=raw["metadata"],
            text=text,
            generation=generation,
            collected=bool(collected),
        )

    @property
    def commit(self) -> Commit:
        """As readers see it."""
        return Commit(
            id=self.id, parents=self.parents, message=self.message, created=self.created, metadata=self.metadata
        )
