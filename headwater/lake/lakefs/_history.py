"""Commits and trees of a lakeFS repository, remembered: both never change once made."""

import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Final

from headwater.lake._interface import Commit
from headwater.lake.errors import PathNotFoundError, RefNotFoundError
from headwater.lake.lakefs._manifest import PATHS_KEY, ROOT, Manifest, key_of, marker_of, path_of
from headwater.lake.lakefs._objects import Objects
from headwater.lake.lakefs._server import FIRST_PAGE, PAGE, Server
from headwater.names import TRANSACTION_KEY, check_path

INTERNAL: Final = "headwater-"
"""Branches with this prefix are the lake's own and are not shown."""
_REF: Final = re.compile(r"^(?P<base>[A-Za-z0-9_][A-Za-z0-9_.@-]{0,199})(?P<steps>(~\d{1,9})*)$")
_SHORT: Final = re.compile(r"^[0-9a-f]{1,5}$")
_TREES_KEPT: Final = 256
_MANIFESTS_KEPT: Final = 4096


class History:
    """Answers about commits and what stands in their trees.

    Args:
        server: Control.
        objects: Contents.
    """

    def __init__(self, server: Server, objects: Objects) -> None:
        """Starts with nothing remembered."""
        self._server = server
        self._objects = objects
        self._commits: dict[str, Commit] = {}
        self._trees: OrderedDict[str, Mapping[str, str]] = OrderedDict()
        self._manifests: OrderedDict[tuple[str, str], Manifest] = OrderedDict()
        self._lock = Lock()

    # Refs

    def resolve(self, ref: str) -> Commit:
        """The commit a ref names: branch, tag, commit id or unique prefix of 6 or more, or `REF~N`.

        Raises:
            RefNotFoundError: No such ref.
        """
        match = _REF.fullmatch(ref)
        if match is None:
            raise self._unknown(ref)
        base, expression = match["base"], ref
        if "@" in base:
            tagged = self._server.tags().get(base)
            if tagged is None:
                raise self._unknown(ref)
            expression = tagged + match["steps"]
        if expression in self._commits:
            return self._commits[expression]
        found = self._server.commit_at(expression)
        if found is None or (_SHORT.fullmatch(base) and found.id.startswith(base) and base not in self._names()):
            raise self._unknown(ref)
        self._commits[found.id] = found
        return found

    def head(self, branch: str) -> Commit:
        """The commit a branch names. Raises RefNotFoundError."""
        id = self._server.branch_head(branch) if _REF.fullmatch(branch) else None
        if id is None:
            raise self._unknown(branch)
        return self.commit(id)

    def commit(self, id: str) -> Commit:
        """The commit with this full id. Raises RefNotFoundError."""
        if id not in self._commits:
            found = self._server.commit_at(id)
            if found is None:
                raise RefNotFoundError(ref=id)
            self._commits[id] = found
        return self._commits[id]

    def _names(self) -> list[str]:
        names = [*self._server.branches(), *self._server.tags()]
        return sorted(name for name in names if not name.startswith(INTERNAL))

    def _unknown(self, ref: str) -> RefNotFoundError:
        return RefNotFoundError(ref=ref, known=self._names())

    # Logs

    def first_parents(self, head: Commit) -> Iterator[Commit]:
        """First-parent history, newest first; what is remembered is not asked again."""
        current: Commit | None = head
        while current is not None:
            yield current
            if not current.parents:
                return
            known = self._commits.get(current.parents[0])
            if known is None:
                known = self._read_ahead(current.parents[0])
            current = known

    def _read_ahead(self, id: str) -> Commit:
        """Remembers one page of history from `id` on; the further a walk has come, the larger the page."""
        amount = PAGE if len(self._commits) > FIRST_PAGE else FIRST_PAGE
        for commit in self._server.log_page(id, first_parent=True, amount=amount):
            self._commits[commit.id] = commit
        return self._commits[id]

    def changed(self, commit: Commit) -> tuple[str, ...]:
        """Asset paths that a commit changed against its first parent, sorted."""
        if PATHS_KEY in commit.metadata:
            return tuple(json.loads(commit.metadata[PATHS_KEY]))
        if not commit.parents:
            return ()
        before, after = self.tree(commit.parents[0]), self.tree(commit.id)
        return tuple(sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p)))

    def log(self, ref: str, *, path: str | None) -> Iterator[Commit]:
        """First-parent history of a ref; with `path`, only commits that changed it."""
        for commit in self.first_parents(self.resolve(ref)):
            if path is None or path in self.changed(commit):
                yield commit

    def last_write(self, ref: str, path: str) -> Commit:
        """The newest commit that changed `path`. Raises PathNotFoundError."""
        for commit in self.log(ref, path=check_path(path)):
            return commit
        raise PathNotFoundError(path=path, ref=ref, known=tuple(self.tree(self.resolve(ref).id)))

    def transaction(self, id: str, *, head: Commit) -> Commit | None:
        """The commit among the ancestors of `head` that transaction `id` published, None when it published nothing."""
        if not self._objects.has(head.id, marker_of(id)):
            return None
        for commit in self.first_parents(head):
            if commit.metadata.get(TRANSACTION_KEY) == id:
                return commit
        for commit in self._server.log(head.id, first_parent=False):
            if commit.metadata.get(TRANSACTION_KEY) == id:
                return commit
        return None

    # Trees

    def tree(self, commit: str) -> Mapping[str, str]:
        """Asset paths of a commit and the checksum of each one's manifest."""
        with self._lock:
            if commit in self._trees:
                self._trees.move_to_end(commit)
                return self._trees[commit]
        found = self.listing(commit)
        with self._lock:
            self._trees[commit] = found
            while len(self._trees) > _TREES_KEPT:
                self._trees.popitem(last=False)
        return found

    def listing(self, ref: str) -> Mapping[str, str]:
        """Like `tree`, of any ref, asked now."""
        return {path_of(item.path): item.checksum for item in self._server.list(ref, ROOT)}

    def manifest(self, commit: str, path: str) -> Manifest | None:
        """What stands at `path` in a commit, None when nothing does."""
        checksum = self.tree(commit).get(path)
        if checksum is None:
            return None
        key = (path, checksum)
        with self._lock:
            if key in self._manifests:
                self._manifests.move_to_end(key)
                return self._manifests[key]
        data = self._objects.get(commit, key_of(path))
        if data is None:
            return None
        found = Manifest.from_bytes(data, location=self._server.settings.location)
        with self._lock:
            self._manifests[key] = found
            while len(self._manifests) > _MANIFESTS_KEPT:
                self._manifests.popitem(last=False)
        return found
