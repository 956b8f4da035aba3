"""Names and ref expressions: what lakeFS accepts, and what `main~2`, `main^1`, `main@`, `main$` mean."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headwater.testing.lakefs_double._errors import bad_request, not_found
from headwater.testing.lakefs_double._model import Repository, StoredCommit, StoredObject, Tree

REPOSITORY_ID: Final = re.compile(r"^[a-z0-9][a-z0-9-]{2,62}$")
BRANCH_ID: Final = re.compile(r"^\w[-\w]*$", re.ASCII)
_TAG_REFUSED: Final = re.compile(r"[\^:?*\[\\/]|\.\.|@\{|[\x00-\x20]|\.$|\.lock$|^@$")
_PARTS: Final = re.compile(r"(^|[~^@$])[^~^@$]*")
_HASH: Final = re.compile(r"^[0-9a-fA-F]{1,64}$")
_FULL_HASH: Final = 64


def check_repository_id(name: str) -> None:
    """Refuses what is no repository id."""
    if not REPOSITORY_ID.fullmatch(name):
        raise bad_request("repository id: invalid value: validation error")


def check_branch_id(name: str) -> None:
    """Refuses what is no branch id."""
    if not BRANCH_ID.fullmatch(name):
        raise bad_request("branch id: invalid value: validation error")


def check_tag_id(name: str) -> None:
    """Refuses what is no tag id."""
    if not name or _TAG_REFUSED.search(name):
        raise bad_request("tag id: invalid value: validation error")


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What a ref expression names.

    Attributes:
        commit: The commit.
        branch: The branch when the expression reads its staging too, else None.
        staging: What is staged there.
    """

    commit: StoredCommit
    branch: str | None = None
    staging: Mapping[str, StoredObject | None] | None = None

    def tree(self) -> Tree:
        """What is read through this ref."""
        if not self.staging:
            return self.commit.tree
        merged = dict(self.commit.tree)
        for path, stored in self.staging.items():
            if stored is None:
                merged.pop(path, None)
            else:
                merged[path] = stored
        return merged

    def find(self, path: str) -> StoredObject | None:
        """The object at `path`, None where there is none."""
        if self.staging is not None and path in self.staging:
            return self.staging[path]
        return self.commit.tree.get(path)


def resolve(repository: Repository, ref: str) -> Resolved:
    """What `ref` names.

    Raises:
        Refusal: 404 when there is no such thing, 400 when the expression is none.
    """
    parts = [match.group() for match in _PARTS.finditer(ref)]
    if not parts or not parts[0]:
        raise bad_request("ref: invalid value: validation error")
    base = _resolve_base(repository, parts[0])
    for modifier in parts[1:]:
        base = _apply(repository, base, modifier, alone=len(parts) == 2)
    return base


def resolve_commit(repository: Repository, ref: str) -> StoredCommit:
    """The commit that `ref` names; `main$` names none."""
    if ref.endswith("$"):
        raise bad_request("reference to staging area with $ is not a commit")
    return resolve(repository, ref).commit


def _resolve_base(repository: Repository, name: str) -> Resolved:
    if len(name) == _FULL_HASH and name in repository.commits:
        return Resolved(commit=repository.commits[name])
    if name in repository.branches:
        branch = repository.branches[name]
        return Resolved(commit=repository.commits[branch.commit], branch=name, staging=branch.staging)
    if name in repository.tags:
        return Resolved(commit=repository.commits[repository.tags[name]])
    if _HASH.fullmatch(name):
        found = [commit for id, commit in repository.commits.items() if id.startswith(name.lower())]
        if len(found) == 1:
            return Resolved(commit=found[0])
    raise not_found(f"ref {name}:")


def _apply(repository: Repository, base: Resolved, modifier: str, *, alone: bool) -> Resolved:
    sign, text = modifier[0], modifier[1:]
    if sign in "@$":
        if text or base.branch is None or not alone:
            raise bad_request("ref: invalid value: validation error")
        return base if sign == "$" else Resolved(commit=base.commit)
    if text and not text.isdecimal():
        raise bad_request(f"could not parse modifier {modifier}: ref: invalid value: validation error")
    count = int(text) if text else 1
    commit = base.commit
    if sign == "^":
        if count > len(commit.parents):
            raise bad_request("ref: invalid value: validation error")
        return Resolved(commit=repository.commits[commit.parents[count - 1]] if count else commit)
    for _ in range(count):
        if not commit.parents:
            raise not_found("commit")
        commit = repository.commits[commit.parents[0]]
    return Resolved(commit=commit)
