"""What the double keeps: objects, commits, branches, repositories."""

import hashlib
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One immutable object. Its data may have been collected (None).

    Attributes:
        data: The bytes.
        checksum: MD5 in hex, or `<md5>-<parts>` after a multipart upload.
        size: Bytes.
        mtime: Unix seconds.
        content_type: Media type.
        metadata: User metadata.
        address: Physical address.
    """

    data: bytes
    checksum: str
    size: int
    mtime: int
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    address: str = ""

    @classmethod
    def of(
        cls, data: bytes, *, content_type: str = "", metadata: Mapping[str, str] | None = None, checksum: str = ""
    ) -> "StoredObject":
        """A new object with these bytes."""
        return cls(
            data=data,
            checksum=checksum or hashlib.md5(data, usedforsecurity=False).hexdigest(),
            size=len(data),
            mtime=int(time.time()),
            content_type=content_type or "application/octet-stream",
            metadata=dict(metadata or {}),
            address=f"mem://double/{uuid.uuid4().hex}",
        )

    @property
    def identity(self) -> tuple[object, ...]:
        """What lakeFS compares: size, etag, user metadata and content type."""
        return (self.size, self.checksum, tuple(sorted(self.metadata.items())), self.content_type)


Tree = Mapping[str, StoredObject]


def tree_id(tree: Tree) -> str:
    """Digest of a tree: equal content gives equal ids."""
    digest = hashlib.sha256()
    for path in sorted(tree):
        digest.update(repr((path, tree[path].identity)).encode())
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class StoredCommit:
    """One commit: a whole tree and where it came from."""

    id: str
    parents: tuple[str, ...]
    message: str
    committer: str
    created: float
    metadata: Mapping[str, str]
    generation: int
    tree: Tree
    tree_id: str

    @classmethod
    def make(
        cls,
        tree: Tree,
        *,
        parents: tuple["StoredCommit", ...],
        message: str,
        committer: str,
        metadata: Mapping[str, str],
        created: float | None = None,
    ) -> "StoredCommit":
        """A new commit of `tree`."""
        when = time.time() if created is None else created
        ids = tuple(parent.id for parent in parents)
        content = tree_id(tree)
        text = repr((ids, message, committer, when, sorted(metadata.items()), content))
        return cls(
            id=hashlib.sha256(text.encode()).hexdigest(),
            parents=ids,
            message=message,
            committer=committer,
            created=when,
            metadata=dict(metadata),
            generation=max((parent.generation for parent in parents), default=0) + 1,
            tree=tree,
            tree_id=content,
        )


@dataclass(kw_only=True)
class Branch:
    """A pointer to a commit, plus what is staged: path to object, None where deleted."""

    commit: str
    staging: dict[str, StoredObject | None] = field(default_factory=dict)
    hidden: bool = False


@dataclass(kw_only=True)
class Upload:
    """A multipart upload under way."""

    branch: str
    path: str
    content_type: str
    metadata: Mapping[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass(kw_only=True)
class Repository:
    """One repository."""

    name: str
    namespace: str
    default_branch: str
    created: int
    branches: dict[str, Branch] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, StoredCommit] = field(default_factory=dict)
    protection: tuple[str, ...] = ()
    gc_rules: Mapping[str, object] | None = None
    uploads: dict[str, Upload] = field(default_factory=dict)
