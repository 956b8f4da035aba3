"""The double's state and its operations, with lakeFS's semantics. Thread safe: one lock around everything."""

import fnmatch
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from headwater.testing.lakefs_double import _history as history
from headwater.testing.lakefs_double._errors import (
    bad_request,
    conflict,
    gone,
    not_found,
    precondition_failed,
    protected,
)
from headwater.testing.lakefs_double._model import Branch, Repository, StoredCommit, StoredObject, Tree, Upload
from headwater.testing.lakefs_double._refs import (
    Resolved,
    check_branch_id,
    check_repository_id,
    check_tag_id,
    resolve,
    resolve_commit,
)

_P = ParamSpec("_P")
_R = TypeVar("_R")
Condition = Callable[[StoredObject | None], bool]


def _locked(method: Callable[Concatenate["Store", _P], _R]) -> Callable[Concatenate["Store", _P], _R]:
    @wraps(method)
    def guarded(self: "Store", *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self._lock:
            return method(self, *args, **kwargs)

    return guarded


class Store:
    """Repositories of one server."""

    def __init__(self) -> None:
        """Starts with no repositories."""
        self._lock = threading.RLock()
        self._repositories: dict[str, Repository] = {}
        self._collected: set[str] = set()
        self.committer = "double"

    # Repositories

    @_locked
    def create_repository(self, name: str, *, namespace: str, default_branch: str = "main") -> Repository:
        """A new repository with one empty commit."""
        check_repository_id(name)
        check_branch_id(default_branch)
        if name in self._repositories:
            raise conflict("error creating repository: repository already exists: not unique")
        if any(other.namespace == namespace for other in self._repositories.values()):
            raise bad_request("failed to create repository: storage namespace already in use")
        first = StoredCommit.make({}, parents=(), message="Repository created", committer="", metadata={})
        repository = Repository(name=name, namespace=namespace, default_branch=default_branch, created=int(time.time()))
        repository.commits[first.id] = first
        repository.branches[default_branch] = Branch(commit=first.id)
        self._repositories[name] = repository
        return repository

    @_locked
    def repository(self, name: str) -> Repository:
        """The repository called `name`."""
        if name not in self._repositories:
            raise not_found("repository")
        return self._repositories[name]

    @_locked
    def repositories(self) -> list[Repository]:
        """All repositories, sorted by name."""
        return [self._repositories[name] for name in sorted(self._repositories)]

    @_locked
    def delete_repository(self, name: str) -> None:
        """Forgets a repository."""
        self.repository(name)
        del self._repositories[name]

    @_locked
    def protect(self, repository: str, patterns: Sequence[str]) -> None:
        """Replaces the branch protection rules."""
        self.repository(repository).protection = tuple(patterns)

    def _check_unprotected(self, repository: Repository, branch: str, action: str) -> None:
        if any(fnmatch.fnmatchcase(branch, pattern) for pattern in repository.protection):
            raise protected(f"cannot {action} to protected branch")

    # Refs

    @_locked
    def resolve(self, repository: str, ref: str) -> Resolved:
        """What a ref expression names, staging included for a branch."""
        return resolve(self.repository(repository), ref)

    @_locked
    def commit_at(self, repository: str, ref: str) -> StoredCommit:
        """The commit a ref expression names."""
        return resolve_commit(self.repository(repository), ref)

    @_locked
    def branch(self, repository: str, name: str) -> Branch:
        """A branch."""
        branches = self.repository(repository).branches
        if name not in branches:
            raise not_found("branch")
        return branches[name]

    @_locked
    def create_branch(self, repository: str, name: str, *, source: str, hidden: bool = False) -> str:
        """Makes a branch; returns its commit id."""
        check_branch_id(name)
        repo = self.repository(repository)
        if source.endswith("$"):
            raise bad_request("can't create a branch without commit")
        commit = resolve_commit(repo, source)
        if name in repo.branches:
            raise conflict("branch already exists: not unique")
        if name in repo.tags or name in repo.commits:
            raise conflict("branch name in use: not unique")
        repo.branches[name] = Branch(commit=commit.id, hidden=hidden)
        return commit.id

    @_locked
    def delete_branch(self, repository: str, name: str) -> None:
        """Removes a branch and what is staged on it."""
        repo = self.repository(repository)
        if name == repo.default_branch:
            raise protected("cannot delete repository default branch")
        self.branch(repository, name)
        del repo.branches[name]

    @_locked
    def create_tag(self, repository: str, name: str, *, ref: str) -> str:
        """Makes a tag; tags never move."""
        check_tag_id(name)
        repo = self.repository(repository)
        commit = resolve_commit(repo, ref)
        if name in repo.tags:
            raise conflict("tag already exists: not unique")
        repo.tags[name] = commit.id
        return commit.id

    @_locked
    def delete_tag(self, repository: str, name: str) -> None:
        """Removes a tag."""
        if self.repository(repository).tags.pop(name, None) is None:
            raise not_found("tag")

    # Objects

    @_locked
    def read(self, repository: str, ref: str, path: str) -> StoredObject:
        """The object at `path`; a branch shows its staging."""
        found = self.resolve(repository, ref).find(path)
        if found is None:
            raise not_found(f"path {path}:")
        if found.address in self._collected:
            raise gone("No data")
        return found

    @_locked
    def tree(self, repository: str, ref: str) -> Tree:
        """All objects of a ref."""
        return self.resolve(repository, ref).tree()

    @_locked
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

    @_locked
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
        self._check_unprotected(repo, branch, "write")
        return repo.branches[branch].staging

    @_locked
    def collect(self, repository: str, ref: str, path: str) -> None:
        """Plays the garbage collector: the object's data is gone, its entry stays."""
        self._collected.add(self.read(repository, ref, path).address)

    @_locked
    def damage(self, repository: str, ref: str, path: str, data: bytes) -> None:
        """Plays bit rot: the object's bytes change, its checksum does not."""
        object.__setattr__(self.read(repository, ref, path), "data", data)

    @_locked
    def reset(self, repository: str, branch: str, *, path: str = "", prefix: str = "") -> None:
        """Drops what is staged: all of it, one object's, or what lies below a prefix."""
        repo = self.repository(repository)
        staging = self.branch(repository, branch).staging
        self._check_unprotected(repo, branch, "write")
        for key in [k for k in staging if (k == path if path else k.startswith(prefix))]:
            del staging[key]

    # Multipart uploads

    @_locked
    def begin_upload(self, repository: str, upload: Upload) -> str:
        """Starts a multipart upload; returns its id."""
        self._staging(repository, upload.branch, upload.path)
        id = uuid.uuid4().hex
        self.repository(repository).uploads[id] = upload
        return id

    @_locked
    def upload(self, repository: str, id: str) -> Upload:
        """An upload under way."""
        uploads = self.repository(repository).uploads
        if id not in uploads:
            raise not_found("upload")
        return uploads[id]

    @_locked
    def end_upload(self, repository: str, id: str) -> None:
        """Forgets an upload."""
        self.upload(repository, id)
        del self.repository(repository).uploads[id]

    # History

    @_locked
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
        self._check_unprotected(repo, branch, "commit")
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

    @_locked
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

    @_locked
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
