"""Branches, tags and attestations of an embedded lake."""

import json
import shutil
import sqlite3
from collections import Counter
from typing import Final

from headwater.lake._catalog import RefRow
from headwater.lake._core import Core
from headwater.lake._history import BRANCH, TAG, resolve
from headwater.lake._interface import Ref
from headwater.lake._storage import storage_errors
from headwater.lake.errors import ProtectedBranchError, RefExistsError, RefNotFoundError
from headwater.names import COMMIT_PREFIX, MAIN, InvalidNameError, check_new_ref, check_path, check_ref
from headwater.provenance import Provenance

_ATTESTATIONS_KEPT: Final = 20
"""For one path and partition; a freshness check needs the newest that fits, older ones only cost."""


class Refs:
    """Names for commits, and records about them.

    Args:
        core: The lake.
    """

    def __init__(self, core: Core) -> None:
        """Remembers the lake."""
        self._core = core
        self._catalog = core.catalog

    def all(self, kind: str) -> tuple[Ref, ...]:
        """Every branch or tag, sorted by name."""
        return tuple(_public(row) for row in self._catalog.refs(kind))

    def create_branch(self, name: str, *, at: str, protected: bool) -> Ref:
        """A new branch. Raises RefExistsError, InvalidNameError, RefNotFoundError."""
        check_new_ref(name)
        commit = resolve(self._catalog, at).id
        with storage_errors(self._core.layout.location, "written"), self._catalog.writing() as connection:
            self._check_free(name)
            connection.execute("INSERT INTO refs VALUES (?, ?, ?, ?)", (name, BRANCH, commit, int(protected)))
        return Ref(name=name, kind=BRANCH, commit=commit, protected=protected)

    def _check_free(self, name: str) -> None:
        for kind in (BRANCH, TAG):
            if found := self._catalog.ref(kind, name):
                raise RefExistsError(name=name, kind=kind, commit=found.commit)
        if hidden := COMMIT_PREFIX.fullmatch(name) and self._catalog.commits_starting(name):
            raise InvalidNameError(what="Name", name=name, rule=f"It would hide commit {hidden[0]}, which begins so.")

    def delete_branch(self, name: str) -> None:
        """Removes a branch and its view. Raises ProtectedBranchError, RefNotFoundError."""
        with storage_errors(self._core.layout.location, "written"), self._core.branch_lock(check_ref(name)):
            with self._catalog.writing() as connection:
                found = self._branch(name)
                if found.protected or name == MAIN:
                    raise ProtectedBranchError(branch=name, action="deleted")
                connection.execute("DELETE FROM refs WHERE kind = ? AND name = ?", (BRANCH, name))
            (self._core.layout.marks / name).unlink(missing_ok=True)
            shutil.rmtree(self._core.layout.view(name), ignore_errors=True)

    def protect(self, branch: str, *, on: bool) -> None:
        """Sets a branch's protection. Raises RefNotFoundError."""
        with storage_errors(self._core.layout.location, "written"), self._catalog.writing() as connection:
            self._branch(branch)
            connection.execute("UPDATE refs SET protected = ? WHERE kind = ? AND name = ?", (int(on), BRANCH, branch))

    def _branch(self, name: str) -> RefRow:
        found = self._catalog.ref(BRANCH, name)
        if found is None:
            raise RefNotFoundError(ref=name, known=[row.name for row in self._catalog.refs(BRANCH)])
        return found

    def tag(self, name: str, *, at: str) -> Ref:
        """A new immutable tag. Raises RefExistsError when the name stands at another commit or is a branch."""
        check_new_ref(name, what="Tag")
        commit = resolve(self._catalog, at).id
        with storage_errors(self._core.layout.location, "written"), self._catalog.writing() as connection:
            found = self._catalog.ref(TAG, name)
            if found is None:
                self._check_free(name)
                connection.execute("INSERT INTO refs VALUES (?, ?, ?, 0)", (name, TAG, commit))
            elif found.commit != commit:
                raise RefExistsError(name=name, kind=TAG, commit=found.commit)
        return Ref(name=name, kind=TAG, commit=commit)

    def attest(self, provenance: Provenance) -> None:
        """Keeps a record for each of its outputs."""
        text = json.dumps(provenance.to_metadata())
        with storage_errors(self._core.layout.location, "written"), self._catalog.writing() as connection:
            connection.executemany(
                "INSERT INTO attestations (path, record) VALUES (?, ?)",
                [(output.path, text) for output in provenance.outputs],
            )
            for path in {output.path for output in provenance.outputs}:
                connection.executemany("DELETE FROM attestations WHERE number = ?", _surplus(connection, path))

    def attestations(self, path: str) -> tuple[Provenance, ...]:
        """Records kept for `path`, newest first."""
        rows = self._catalog.rows(
            "SELECT number, record FROM attestations WHERE path = ? ORDER BY number DESC", check_path(path)
        )
        found = (Provenance.from_metadata(json.loads(text), commit=f"attestation {number}") for number, text in rows)
        return tuple(record for record in found if record is not None)


def _surplus(connection: sqlite3.Connection, path: str) -> list[tuple[int]]:
    """Numbers of the records of a path beyond the newest few of each partition."""
    rows = connection.execute("SELECT number, record FROM attestations WHERE path = ? ORDER BY number DESC", (path,))
    kept: Counter[str | None] = Counter()
    surplus = []
    for number, text in rows:
        record = Provenance.from_metadata(json.loads(text), commit=f"attestation {number}")
        partitions = {output.partition for output in record.outputs if output.path == path} if record else set()
        kept.update(partitions)
        if all(kept[partition] > _ATTESTATIONS_KEPT for partition in partitions):
            surplus.append((number,))
    return surplus


def _public(row: RefRow) -> Ref:
    return Ref(name=row.name, kind=row.kind, commit=row.commit, protected=row.protected)
