"""Repositories, branches and tags of the double. Thread safe: one lock around everything."""

import fnmatch
import threading
import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from headwater.testing.lakefs_double._errors import bad_request, conflict, not_found, protected
from headwater.testing.lakefs_double._model import Branch, Repository, StoredCommit
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
_S = TypeVar("_S", bound="Catalog")


def locked(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Holds the store's lock during a method."""

    @wraps(method)
    def guarded(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self.lock:
            return method(self, *args, **kwargs)

    return guarded


class Catalog:
    """Repositories of one server and the names in them.

    Attributes:
        lock: Held by every operation.
    """

    def __init__(self) -> None:
        """Starts with no repositories."""
        self.lock = threading.RLock()
        self._repositories: dict[str, Repository] = {}

    # Repositories

    @locked
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

    @locked
    def adopt(self, repository: Repository) -> None:
        """Takes in a repository that was read from elsewhere."""
        self._repositories[repository.name] = repository

    @locked
    def repository(self, name: str) -> Repository:
        """The repository called `name`."""
        if name not in self._repositories:
            raise not_found("repository")
        return self._repositories[name]

    @locked
    def repositories(self) -> list[Repository]:
        """All repositories, sorted by name."""
        return [self._repositories[name] for name in sorted(self._repositories)]

    @locked
    def delete_repository(self, name: str) -> None:
        """Forgets a repository."""
        self.repository(name)
        del self._repositories[name]

    @locked
    def protect(self, repository: str, patterns: Sequence[str]) -> None:
        """Replaces the branch protection rules."""
        self.repository(repository).protection = tuple(patterns)

    def check_unprotected(self, repository: Repository, branch: str, action: str) -> None:
        """Refuses an action on a protected branch."""
        if any(fnmatch.fnmatchcase(branch, pattern) for pattern in repository.protection):
            raise protected(f"cannot {action} to protected branch")

    # Refs

    @locked
    def resolve(self, repository: str, ref: str) -> Resolved:
        """What a ref expression names, staging included for a branch."""
        return resolve(self.repository(repository), ref)

    @locked
    def commit_at(self, repository: str, ref: str) -> StoredCommit:
        """The commit a ref expression names."""
        return resolve_commit(self.repository(repository), ref)

    @locked
    def branch(self, repository: str, name: str) -> Branch:
        """A branch."""
        branches = self.repository(repository).branches
        if name not in branches:
            raise not_found("branch")
        return branches[name]

    @locked
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

    @locked
    def delete_branch(self, repository: str, name: str) -> None:
        """Removes a branch and what is staged on it."""
        repo = self.repository(repository)
        if name == repo.default_branch:
            raise protected("cannot delete repository default branch")
        self.branch(repository, name)
        del repo.branches[name]

    @locked
    def create_tag(self, repository: str, name: str, *, ref: str) -> str:
        """Makes a tag; tags never move."""
        check_tag_id(name)
        repo = self.repository(repository)
        commit = resolve_commit(repo, ref)
        if name in repo.tags:
            raise conflict("tag already exists: not unique")
        repo.tags[name] = commit.id
        return commit.id

    @locked
    def delete_tag(self, repository: str, name: str) -> None:
        """Removes a tag."""
        if self.repository(repository).tags.pop(name, None) is None:
            raise not_found("tag")
