"""The catalog: nodes, commits, refs, publications and attestations in one SQLite file."""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from headwater.lake._commits import CommitRow
from headwater.lake._tree import node_hash
from headwater.lake.errors import DamagedLakeError

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS nodes (hash TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS commits (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, parent TEXT, generation INTEGER NOT NULL, tree TEXT NOT NULL,
    created TEXT NOT NULL, data TEXT NOT NULL, collected INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS changes (path TEXT NOT NULL, commit_id TEXT NOT NULL, PRIMARY KEY (path, commit_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refs (
    name TEXT NOT NULL, kind TEXT NOT NULL, commit_id TEXT NOT NULL, protected INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS publications (
    id TEXT NOT NULL, branch TEXT NOT NULL, commit_id TEXT NOT NULL, PRIMARY KEY (id, branch)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attestations (number INTEGER PRIMARY KEY, path TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS attestations_by_path ON attestations (path, number);
"""
_WAIT_SECONDS: Final = 120.0
_CACHED_NODES: Final = 8192


@dataclass(frozen=True)
class RefRow:
    """One row of `refs`."""

    name: str
    kind: str
    commit: str
    protected: bool


def as_bytes(value: bytes | str) -> bytes:
    """A stored node; a tampered one may have become text."""
    return value.encode() if isinstance(value, str) else bytes(value)


def _ref(row: tuple[Any, ...]) -> RefRow:
    name, kind, commit, protected = row
    return RefRow(name, kind, commit, bool(protected))


class Catalog:
    """Reads and writes the catalog; one connection a thread, a fresh one after a fork.

    Args:
        file: The SQLite file.
        read_only: Opens a catalog that can't be written.
    """

    def __init__(self, file: Path, *, read_only: bool = False) -> None:
        """Remembers where the catalog is; connections are opened when needed."""
        self._file = file
        self._read_only = read_only
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._nodes: dict[str, bytes] = {}

    def create(self) -> None:
        """Makes the tables that are missing."""
        self._connection().executescript(_SCHEMA)

    def is_empty(self) -> bool:
        """Whether the tables are still to be made."""
        return not self.rows("SELECT 1 FROM sqlite_master WHERE name = 'refs'")

    def close(self) -> None:
        """Closes every connection that this object opened."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        if getattr(self._local, "process", None) != os.getpid():
            self._local.connection = self._connect()
            self._local.process = os.getpid()
        connection: sqlite3.Connection = self._local.connection
        return connection

    def _connect(self) -> sqlite3.Connection:
        if self._read_only:
            wal = self._file.with_name(self._file.name + "-wal")
            frozen = "" if wal.exists() and wal.stat().st_size else "&immutable=1"
            connection = sqlite3.connect(
                f"{self._file.resolve().as_uri()}?mode=ro{frozen}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
        else:
            connection = sqlite3.connect(
                self._file, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        self._connections.append(connection)
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One atomic, durable change."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self._connection().execute(query, values).fetchall()

    def stream(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Rows of a query as they are asked for."""
        cursor = self._connection().execute(query, values)
        try:
            yield from cursor
        finally:
            cursor.close()

    # Nodes

    def get(self, hash: str) -> bytes:
        """The node with this hash. Raises DamagedLakeError when it is missing or has another."""
        data = self._nodes.get(hash)
        if data is None:
            found = self.rows("SELECT data FROM nodes WHERE hash = ?", hash)
            data = as_bytes(found[0][0]) if found else b""
            if node_hash(data) != hash:
                raise DamagedLakeError(what="node", name=hash)
            if len(self._nodes) >= _CACHED_NODES:
                self._nodes.clear()
            self._nodes[hash] = data
        return data

    def is_collected(self, files: str) -> bool:
        """Whether `gc` removed the contents of a list of files that a tree which stays still names."""
        if not self.rows("SELECT 1 FROM sqlite_master WHERE name = 'collected_files'"):
            return False
        known = (
            "SELECT 1 FROM collected_files WHERE address = ? AND NOT EXISTS (SELECT 1 FROM nodes WHERE hash = address)"
        )
        return bool(self.rows(known, files))

    def forget_nodes(self) -> None:
        """Empties the cache, after nodes were removed."""
        self._nodes.clear()

    # Commits

    def commit(self, id: str) -> CommitRow | None:
        """The commit with this full id. Raises DamagedLakeError when its record was changed."""
        found = self.rows("SELECT data, generation, collected FROM commits WHERE id = ?", id)
        return CommitRow.parse(id, *found[0]) if found else None

    def commits_starting(self, prefix: str) -> list[str]:
        """Up to three ids that start with `prefix`."""
        found = self.rows("SELECT id FROM commits WHERE id >= ? AND id < ? LIMIT 3", prefix, prefix + "g")
        return [row[0] for row in found]

    def insert_commit(
        self, connection: sqlite3.Connection, row: CommitRow, *, changed: Iterable[str], nodes: Mapping[str, bytes]
    ) -> None:
        """Adds a commit with its nodes and the paths it changed, within `writing`."""
        connection.executemany("INSERT OR IGNORE INTO nodes VALUES (?, ?)", nodes.items())
        connection.execute(
            "INSERT INTO commits (id, parent, generation, tree, created, data) VALUES (?, ?, ?, ?, ?, ?)",
            (
                row.id,
                row.parents[0] if row.parents else None,
                row.generation,
                row.tree,
                row.created.isoformat(),
                row.text,
            ),
        )
        connection.executemany("INSERT INTO changes VALUES (?, ?)", [(path, row.id) for path in changed])

    # Refs

    def ref(self, kind: str, name: str) -> RefRow | None:
        """A branch or tag by name."""
        found = self.rows("SELECT name, kind, commit_id, protected FROM refs WHERE kind = ? AND name = ?", kind, name)
        return _ref(found[0]) if found else None

    def refs(self, kind: str) -> Sequence[RefRow]:
        """All branches or tags, by name."""
        found = self.rows("SELECT name, kind, commit_id, protected FROM refs WHERE kind = ? ORDER BY name", kind)
        return [_ref(row) for row in found]

    def publication(self, id: str, branch: str) -> str | None:
        """The commit that transaction `id` published into `branch`."""
        found = self.rows("SELECT commit_id FROM publications WHERE id = ? AND branch = ?", id, branch)
        return found[0][0] if found else None

    def publications(self, id: str) -> list[str]:
        """The commits that transaction `id` published, into any branch."""
        return [row[0] for row in self.rows("SELECT commit_id FROM publications WHERE id = ?", id)]


class NodeBuffer:
    """Nodes in the making: read through to the catalog, kept in memory until a commit stores them."""

    def __init__(self, catalog: Catalog) -> None:
        """Starts empty."""
        self._catalog = catalog
        self.pending: dict[str, bytes] = {}

    def get(self, hash: str) -> bytes:
        """The node with this hash."""
        data = self.pending.get(hash)
        return data if data is not None else self._catalog.get(hash)

    def put(self, data: bytes) -> str:
        """Keeps a node and returns its hash."""
        hash = node_hash(data)
        self.pending[hash] = data
        return hash
