"""Verification: every content is hashed again, every node and commit is read again, every derived folder compared."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headwater.lake import _tree, _trees
from headwater.lake._catalog import as_bytes
from headwater.lake._commits import CommitRow
from headwater.lake._core import Core
from headwater.lake._files import hash_file, walk
from headwater.lake._gc import Needs, mark
from headwater.lake._history import BRANCH, TAG
from headwater.lake._interface import Finding, Kind, Verification
from headwater.lake._objects import Content, checkout_name
from headwater.lake._records import Record
from headwater.lake._tables import local, read_table
from headwater.lake._tree import node_hash
from headwater.lake._views import View
from headwater.lake.errors import DamagedLakeError, TableReadError

_SHA256: Final = re.compile(r"^[0-9a-f]{64}$")


class Verifier:
    """One verification of one lake.

    Args:
        core: The lake.
        deep: Whether data versions are computed again from content.
    """

    def __init__(self, core: Core, *, deep: bool) -> None:
        """Starts with nothing found."""
        self._core = core
        self._deep = deep
        self._findings: list[Finding] = []
        self._commits = 0
        self._objects = 0
        self._bytes = 0

    def run(self) -> Verification:
        """Checks everything. Publications go on meanwhile; `gc` waits."""
        with self._core.storing():
            try:
                self._check_catalog()
            except sqlite3.DatabaseError as error:
                self._found("catalog", self._core.layout.catalog.name, f"it cannot be read: {error}")
            else:
                needs = self._check_trees()
                self._check_objects(needs)
                self._check_checkouts(needs)
                self._check_views()
        return Verification(
            commits=self._commits, objects=self._objects, bytes=self._bytes, findings=tuple(self._findings)
        )

    def _found(self, what: str, name: str, problem: str) -> None:
        self._findings.append(Finding(what=what, name=name, problem=problem))

    # Catalog

    def _check_catalog(self) -> None:
        catalog = self._core.catalog
        catalog.forget_nodes()
        for (message,) in catalog.rows("PRAGMA integrity_check"):
            if message != "ok":
                self._found("catalog", self._core.layout.catalog.name, str(message))
        for hash, data in catalog.stream("SELECT hash, data FROM nodes"):
            if node_hash(as_bytes(data)) != hash:
                self._found("tree", hash, "the stored node has another hash than its name.")
        for id, tree, parent in catalog.rows("SELECT id, tree, parent FROM commits"):
            self._commits += 1
            row = self._commit(id)
            if row is None:
                self._found("commit", id, "the stored record has another hash than its id.")
                continue
            if row.tree != tree or (row.parents[0] if row.parents else None) != parent:
                self._found("commit", id, "its columns differ from its record.")
            for ancestor in row.parents:
                if self._commit(ancestor) is None:
                    self._found("commit", id, f"its parent {ancestor} is missing or damaged.")
        self._check_refs()

    def _commit(self, id: str) -> CommitRow | None:
        """A commit, None when it is missing or damaged."""
        try:
            return self._core.catalog.commit(id)
        except DamagedLakeError:
            return None

    def _check_refs(self) -> None:
        catalog = self._core.catalog
        for ref in (*catalog.refs(BRANCH), *catalog.refs(TAG)):
            row = self._commit(ref.commit)
            if row is None:
                self._found("ref", ref.name, f"it names commit {ref.commit}, which is missing or damaged.")
            elif row.collected:
                self._found("ref", ref.name, f"it names commit {ref.commit}, whose content was removed.")
        for id, commit in catalog.rows("SELECT id, commit_id FROM publications"):
            if self._commit(commit) is None:
                self._found("transaction", id, f"it published commit {commit}, which is missing or damaged.")

    def _check_trees(self) -> Needs:
        """Walks the tree of every commit whose content is kept and returns what they need."""
        needs = Needs()
        for (id,) in self._core.catalog.rows("SELECT id FROM commits WHERE collected = 0 ORDER BY number"):
            row = self._commit(id)
            if row is None or row.tree in needs.nodes:
                continue
            try:
                mark(self._core.catalog, (row.tree,), needs)
            except DamagedLakeError as error:
                self._found("commit", id, f"its tree cannot be read: {error}")
        return needs

    # Objects

    def _check_objects(self, needs: Needs) -> None:
        present = set()
        for name, entry in walk(self._core.layout.objects):
            folder, _, sha256 = name.partition("/")
            self._objects += 1
            self._bytes += entry.stat().st_size
            if not _SHA256.fullmatch(sha256) or not sha256.startswith(folder):
                self._found("object", name, "it is not named by a hash; nothing of the lake put it there.")
            elif hash_file(Path(entry.path)) != sha256:
                self._found("object", sha256, "its content has another hash than its name.")
            present.add(sha256)
        for sha256 in sorted(set(needs.contents) - present):
            self._found("object", sha256, "a kept commit needs it and it is missing.")

    # Derived folders

    def _check_checkouts(self, needs: Needs) -> None:
        known = {checkout_name(files): files for files in needs.files}
        for folder in sorted(self._core.layout.checkouts.iterdir()):
            if folder.name not in known:
                continue  # Of a collected commit, and the next gc removes it.
            try:
                texts = _tree.items(self._core.catalog, known[folder.name])
                self._check_checkout(folder, {name: Content.parse(text) for name, text in texts.items()})
            except DamagedLakeError:
                continue  # Its list of files is damaged, which was found above.
            except FileNotFoundError:
                if folder.exists():
                    self._found("view", folder.name, "a file of this checkout vanished while it was read.")

    def _check_checkout(self, folder: Path, contents: dict[str, Content]) -> None:
        found = dict(walk(folder))
        for name in sorted(set(found) - set(contents)):
            self._found("view", f"{folder.name}/{name}", "nothing of the lake put this file into the checkout.")
        for name, content in contents.items():
            if name not in found:
                self._found("view", f"{folder.name}/{name}", "this file of the checkout is missing.")
                continue
            status = found[name].stat()
            source = self._core.objects.path(content.sha256)
            if source.exists() and source.stat().st_ino == status.st_ino:
                continue
            if status.st_size != content.size or hash_file(folder / name) != content.sha256:
                self._found("view", f"{folder.name}/{name}", "this file of the checkout was changed.")

    def _check_views(self) -> None:
        for branch in self._core.marked_branches():
            with self._core.branch_lock(branch.name):
                self._check_view(View(self._core, branch.name))

    def _check_view(self, view: View) -> None:
        try:
            head = self._core.head(view.branch)
        except DamagedLakeError:
            return  # The damaged commit was found above.
        if view.shown != head.id:
            self._found("view", view.branch, f"it shows commit {view.shown}, the branch is at {head.id}.")
            return
        links = set(view.links())
        for path, record in self._records(head.tree):
            place = view.folder / path
            if path not in links:
                self._found("view", f"{view.branch}/{path}", "its link is missing.")
            elif not place.is_symlink() or str(place.readlink()) != view.target(path, record):
                self._found("view", f"{view.branch}/{path}", "it does not lead to what stands there.")
            elif not place.exists():
                self._found("view", f"{view.branch}/{path}", "what it leads to is missing.")
            else:
                if record.entry.kind is Kind.FOLDER:
                    self._check_beside(view, path, record)
                if self._deep:
                    self._check_version(path, record, place)
            links.discard(path)
        for name in sorted(links):
            self._found("view", f"{view.branch}/{name}", "nothing of the lake put this file into the view.")

    def _check_beside(self, view: View, path: str, record: Record) -> None:
        """The files that a folder has in the view; those it shares with its checkout were judged there."""
        contents = _trees.contents(self._core.catalog, record)
        folder = (view.folder / path).resolve()
        found = dict(walk(folder))
        for name in sorted(found.keys() ^ contents.keys()):
            said = "is missing" if name in contents else "was put there by nothing of the lake"
            self._found("view", f"{view.branch}/{path}/{name}", f"this file {said}.")
        checkout = self._core.objects.checkout_path(record.files)
        for name in sorted(found.keys() & contents.keys()):
            judged = checkout / name
            if judged.exists() and judged.stat().st_ino == found[name].stat().st_ino:
                continue
            if hash_file(folder / name) != contents[name].sha256:
                self._found("view", f"{view.branch}/{path}/{name}", "this file was changed.")

    def _records(self, tree: str) -> Iterator[tuple[str, Record]]:
        try:
            for path, hash in _tree.items(self._core.catalog, tree).items():
                yield path, _trees.read_record(self._core.catalog, hash)
        except DamagedLakeError:
            return  # The damaged node was found above.

    def _check_version(self, path: str, record: Record, folder: Path) -> None:
        if record.entry.kind is Kind.FOLDER:
            from headwater.lake._digest import digest_folder

            version = digest_folder(folder, identity=record.identity)
        else:
            try:
                after = read_table(local(folder), path=path, version=record.entry.delta_version)
            except TableReadError as error:
                self._found("table", path, str(error))
                return
            version = after.record.entry.data_version
        if version != record.entry.data_version:
            self._found("table", path, f"its content has data version {version}, not {record.entry.data_version}.")
