"""Branches and tags of a lakeFS repository."""

import fnmatch
import re
from typing import Final

from headwater.lake._interface import Ref
from headwater.lake.errors import ProtectedBranchError, RefExistsError, RefNotFoundError
from headwater.lake.lakefs._history import INTERNAL
from headwater.lake.lakefs._snapshot import Parts
from headwater.names import COMMIT_PREFIX, MAIN, InvalidNameError, check_new_ref, check_ref

_BRANCH: Final = "branch"
_TAG: Final = "tag"
_BRANCH_ID: Final = re.compile(r"^\w[-\w]*$", re.ASCII)


class Refs:
    """Names for commits.

    Args:
        parts: The lake.
    """

    def __init__(self, parts: Parts) -> None:
        """Remembers the lake."""
        self._parts = parts

    def branches(self) -> tuple[Ref, ...]:
        """All branches but the lake's own, sorted by name."""
        patterns = self._parts.server.protected()
        return tuple(
            Ref(name=name, kind=_BRANCH, commit=commit, protected=_matches(name, patterns))
            for name, commit in sorted(self._parts.server.branches().items())
            if not name.startswith(INTERNAL)
        )

    def tags(self) -> tuple[Ref, ...]:
        """All tags, sorted by name."""
        found = sorted(self._parts.server.tags().items())
        return tuple(Ref(name=name, kind=_TAG, commit=commit) for name, commit in found)

    def create_branch(self, name: str, *, at: str, protected: bool) -> Ref:
        """A new branch. Raises RefExistsError, InvalidNameError, RefNotFoundError."""
        check_new_ref(name)
        if not _BRANCH_ID.fullmatch(name) or name.startswith(INTERNAL):
            raise InvalidNameError(
                what=_BRANCH.capitalize(),
                name=name,
                rule=f"lakeFS takes letters, digits, '_' and '-' in branch names; '{INTERNAL}' starts the lake's own.",
            )
        commit = self._parts.history.resolve(at)
        self._check_free(name)
        if not self._parts.server.create_branch(name, source=commit.id):
            found = self._parts.server.branch_head(name)
            if found != commit.id:
                raise RefExistsError(name=name, kind=_BRANCH, commit=found or "")
        if protected:
            self._parts.server.protect(name, on=True)
        return Ref(name=name, kind=_BRANCH, commit=commit.id, protected=protected)

    def _check_free(self, name: str) -> None:
        for kind, refs in ((_BRANCH, self._parts.server.branches()), (_TAG, self._parts.server.tags())):
            if name in refs:
                raise RefExistsError(name=name, kind=kind, commit=refs[name])
        self._check_hides_none(name)

    def _check_hides_none(self, name: str) -> None:
        if COMMIT_PREFIX.fullmatch(name) and (hidden := self._parts.server.commit_at(name)) is not None:
            raise InvalidNameError(what="Name", name=name, rule=f"It would hide commit {hidden.id}, which begins so.")

    def delete_branch(self, name: str) -> None:
        """Removes a branch. Raises ProtectedBranchError, RefNotFoundError."""
        if check_ref(name) == MAIN or _matches(name, self._parts.server.protected()):
            raise ProtectedBranchError(branch=name, action="deleted")
        if self._parts.server.branch_head(name) is None:
            raise RefNotFoundError(ref=name, known=[ref.name for ref in self.branches()])
        self._parts.server.delete_branch(name)

    def tag(self, name: str, *, at: str) -> Ref:
        """A new immutable tag. Raises RefExistsError when the name stands at another commit or is a branch."""
        check_new_ref(name, what=_TAG.capitalize())
        commit = self._parts.history.resolve(at).id
        if (branch := self._parts.server.branch_head(name)) is not None:
            raise RefExistsError(name=name, kind=_BRANCH, commit=branch)
        if COMMIT_PREFIX.fullmatch(name) and name not in self._parts.server.tags():
            self._check_hides_none(name)
        if not self._parts.server.create_tag(name, ref=commit):
            found = self._parts.server.tags().get(name, "")
            if found != commit:
                raise RefExistsError(name=name, kind=_TAG, commit=found)
        return Ref(name=name, kind=_TAG, commit=commit)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
