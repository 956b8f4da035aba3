"""The double's objects and history, with lakeFS's semantics."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from headwater.testing.lakefs_double import _history as history
from headwater.testing.lakefs_double._catalog import Catalog, locked
from headwater.testing.lakefs_double._errors import bad_request, conflict, gone, not_found, precondition_failed
from headwater.testing.lakefs_double._model import Repository, StoredCommit, StoredObject, Tree, Upload
from headwater.testing.lakefs_double._refs import Resolved, resolve_commit

Condition = Callable[[StoredObject | None], bool]


class Store(Catalog):
    """Everything one server holds.

    Attributes:
        collected: Addresses of objects whose data is gone.
        committer: Name in new commits.
    """

    def __init__(self) -> None:
        """Starts empty."""
        super().__init__()
        self.collected: set[str] = set()
        self.committer = "double"

    # Objects

    @locked
    def read(self, repository: str, ref: str, path: str) -> StoredObject:
        """The object at `path`; a branch shows its staging."""
        found = self.resolve(repository, ref).find(path)
        if found is None:
            raise not_found(f"path {path}:")
        if found.address in self.collected:
            raise gone("No data")
        return found

    @locked
    def tree(self, repository: str, ref: str) -> Tree:
        """All objects of a ref."""
        return self.resolve(repository, ref).tree()

    @locked
    def write(
        self, repository: str, branch: str, path: str, stored: StoredObject, *, condition: Condition | None = None
    ) -> StoredObject:
        """Stages an object on a branch.

        Args:
            repository: Repository.
            branch: Branch.
            path: Key.
            stored: The object.
            condition: Judges what stands there; False refuses with 412.
        """
        staging = self._staging(repository, branch, path)
        if condition is not None and not condition(self.resolve(repository, branch).find(path)):
            raise precondition_failed("path already exists")
        staging[path] = stored
        return stored

    @locked
    def delete(self, repository: str, branch: str, path: str) -> None:
        """Stages the removal of an object; removing nothing is fine."""
        staging = self._staging(repository, branch, path)
        commit = self.repository(repository).commits[self.branch(repository, branch).commit]
        if path in commit.tree:
            staging[path] = None
        else:
            staging.pop(path, None)

    def _staging(self, repository: str, branch: str, path: str) -> dict[str, StoredObject | None]:
        if not path:
            raise bad_request("path: required value: validation error")
        repo = self.repository(repository)
        self.branch(repository, branch)
        self.check_unprotected(repo, branch, "write")
        return repo.branches[branch].staging

    @locked
    def collect(self, repository: str, ref: str, path: str) -> None:
        """Plays the garbage collector: the object's data is gone, its entry stays."""
        self.collected.add(self.read(repository, ref, path).address)

    @locked
    def damage(self, repository: str, ref: str, path: str, data: bytes) -> None:
        """Plays bit rot: the object's bytes change, its checksum does not."""
        object.__setattr__(self.read(repository, ref, path), "data", data)

    @locked
    def reset(self, repository: str, branch: str, *, path: str = "", prefix: str = "") -> None:
        """Drops what is staged: all of it, one object's, or what lies below a prefix."""
        repo = self.repository(repository)
        staging = self.branch(repository, branch).staging
        self.check_unprotected(repo, branch, "write")
        for key in [k for k in staging if (k == path if path else k.startswith(prefix))]:
            del staging[key]

    # Multipart uploads

    @locked
    def begin_upload(self, repository: str, upload: Upload) -> str:
        """Starts a multipart upload; returns its id."""
        self._staging(repository, upload.branch, upload.path)
        id = uuid.uuid4().hex
        self.repository(repository).uploads[id] = upload
        return id

    @locked
    def upload(self, repository: str, id: str) -> Upload:
        """An upload under way."""
        uploads = self.repository(repository).uploads
        if id not in uploads:
            raise not_found("upload")
        return uploads[id]

    @locked
    def end_upload(self, repository: str, id: str) -> None:
        """Forgets an upload."""
        self.upload(repository, id)
        del self.repository(repository).uploads[id]

    # History

    @locked
    def commit(
        self,
        repository: str,
        branch: str,
        *,
        message: str,
        metadata: Mapping[str, str],
        allow_empty: bool = False,
        created: float | None = None,
    ) -> StoredCommit:
        """Commits what is staged on a branch."""
        repo = self.repository(repository)
        head = self.branch(repository, branch)
        self.check_unprotected(repo, branch, "commit")
        if not message:
            raise bad_request("message: required value: validation error")
        parent = repo.commits[head.commit]
        tree = Resolved(commit=parent, branch=branch, staging=head.staging).tree()
        if not history.diff(parent.tree, tree) and not allow_empty:
            raise bad_request("commit: no changes")
        return self._advance(repo, branch, tree, (parent,), message, metadata, created)

    def _advance(
        self,
        repo: Repository,
        branch: str,
        tree: Tree,
        parents: tuple[StoredCommit, ...],
        message: str,
        metadata: Mapping[str, str],
        created: float | None = None,
    ) -> StoredCommit:
        commit = StoredCommit.make(
            tree, parents=parents, message=message, committer=self.committer, metadata=metadata, created=created
        )
        repo.commits[commit.id] = commit
        repo.branches[branch].commit = commit.id
        repo.branches[branch].staging = {}
        return commit

    @locked
    def merge(self, repository: str, source: str, into: str, body: Mapping[str, Any]) -> StoredCommit:
        """Merges `source` (its commit, not its staging) into a branch. `body` is lakeFS's merge request."""
        repo = self.repository(repository)
        theirs = resolve_commit(repo, source)
        head = self.branch(repository, into)
        if head.staging:
            raise bad_request("update branch: uncommitted changes (dirty branch)")
        ours = repo.commits[head.commit]
        base = history.merge_base(repo.commits, theirs.id, ours.id)
        if theirs.tree_id == base.tree_id and not body.get("allow_empty") and not body.get("force"):
            raise bad_request("update branch main: no changes")
        strategy = body.get("strategy") or ""
        tree = history.three_way(base.tree, theirs.tree, ours.tree, strategy)
        parents = (ours,) if body.get("squash_merge") else (ours, theirs)
        metadata = {**(body.get("metadata") or {}), ".lakefs.merge.strategy": strategy or "default"}
        message = body.get("message") or f"Merge '{source}' into '{into}'"
        return self._advance(repo, into, tree, parents, message, metadata)

    @locked
    def revert(self, repository: str, branch: str, body: Mapping[str, Any]) -> StoredCommit:
        """Undoes a commit by a three-way merge; allowed on protected branches. `body` is lakeFS's revert request."""
        repo = self.repository(repository)
        undone = resolve_commit(repo, body["ref"])
        head = self.branch(repository, branch)
        number = int(body.get("parent_number") or 0)
        if len(undone.parents) > 1 and number <= 0:
            raise conflict("must specify 1-based parent number for reverting merge commit")
        if number > len(undone.parents):
            raise bad_request(f"given commit does not have the given parent number: parent {number}")
        if head.staging:
            raise bad_request("update branch: uncommitted changes (dirty branch)")
        before = repo.commits[undone.parents[max(number - 1, 0)]].tree if undone.parents else {}
        ours = repo.commits[head.commit]
        tree = history.three_way(undone.tree, before, ours.tree)
        if not history.diff(ours.tree, tree) and not body.get("allow_empty"):
            raise bad_request("update branch: no changes")
        overrides = body.get("commit_overrides") or {}
        message = overrides.get("message") or f"Revert {body['ref']}"
        return self._advance(repo, branch, tree, (ours,), message, overrides.get("metadata") or {})
