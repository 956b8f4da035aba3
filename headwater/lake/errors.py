"""Errors of the lake. Each names the thing and the next step."""

import difflib
from collections.abc import Sequence

from headwater.errors import HeadwaterError


def _near(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f" Did you mean {', '.join(map(repr, close))}?" if close else ""


class LakeError(HeadwaterError):
    """Any error of the lake."""


class RefNotFoundError(LakeError):
    """No branch, tag or commit has this name."""

    def __init__(self, *, ref: str, known: Sequence[str] = ()) -> None:
        self.ref = ref
        super().__init__(
            f"No branch, tag or commit is called {ref!r}.{_near(ref, known)} See `headwater lake branches` and `headwater lake log`."
        )


class RefExistsError(LakeError):
    """A branch or tag of this name exists already (tags never move)."""

    def __init__(self, *, name: str, kind: str, commit: str) -> None:
        self.name, self.kind, self.commit = name, kind, commit
        more = " Tags never move: choose another name." if kind == "tag" else " Choose another name."
        super().__init__(f"{kind.capitalize()} {name!r} exists already, at commit {commit[:12]}.{more}")


class ProtectedBranchError(LakeError):
    """A direct change to a protected branch."""

    def __init__(self, *, branch: str, action: str) -> None:
        self.branch, self.action = branch, action
        super().__init__(
            f"Branch {branch!r} is protected, so it can't be {action}. Publish through a transaction or a merge instead."
        )


class PathNotFoundError(LakeError):
    """Nothing stands at this path at this commit."""

    def __init__(
        self, *, path: str, ref: str, known: Sequence[str] = (), remedy: str = "Materialize it first."
    ) -> None:
        self.path, self.ref = path, ref
        super().__init__(f"Nothing stands at {path!r} at {ref[:12]}.{_near(path, known)} {remedy}")


class WrongKindError(LakeError):
    """A table was asked of a folder, or the other way round."""

    def __init__(self, *, path: str, wanted: str, found: str) -> None:
        self.path, self.wanted, self.found = path, wanted, found
        super().__init__(f"{path!r} is a {found}, not a {wanted}. Read it with `.{found}({path!r})`.")


class TableWriteError(LakeError):
    """Data that cannot become a Delta table here."""

    def __init__(self, *, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path!r} could not be written as a Delta table: {reason}")


class SchemaChangedError(TableWriteError):
    """Rows of a partition that have other columns than the table that stands; not a row was read yet."""


class TableReadError(LakeError):
    """A Delta table that cannot be read: truncated, damaged, or of a newer protocol."""

    def __init__(self, *, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path!r} could not be read as a Delta table: {reason} Run `headwater lake verify`.")


class MergeConflictError(LakeError):
    """Both sides changed the same paths."""

    def __init__(self, *, source: str, into: str, paths: Sequence[str]) -> None:
        self.source, self.into, self.paths = source, into, tuple(paths)
        super().__init__(
            f"{source!r} cannot be merged into {into!r}: both changed {', '.join(map(repr, paths))} since they parted. "
            f"Nothing was published. Run it again from the present head of {into!r}."
        )


class RevertConflictError(MergeConflictError):
    """A commit cannot be undone, because a later one changed its paths again."""

    def __init__(self, *, commit: str, into: str, paths: Sequence[str]) -> None:
        self.source, self.into, self.paths = commit, into, tuple(paths)
        LakeError.__init__(
            self,
            f"Commit {commit[:12]} cannot be undone on {into!r}: a later commit changed {', '.join(map(repr, paths))} again. "
            f"Nothing was published. Undo the later ones first, newest first: `headwater lake log {into} --path {paths[0]}`.",
        )


class LakeFormatError(LakeError):
    """The lake on disk was written by another format."""

    def __init__(self, *, location: str, found: str, supported: str) -> None:
        self.location, self.found, self.supported = location, found, supported
        super().__init__(
            f"The lake at {location} has format {found}, this Headwater reads {supported}. Upgrade Headwater; nothing was changed."
        )


class StorageError(LakeError):
    """The store refused a read or a write: full, read-only, or gone."""

    def __init__(self, *, location: str, action: str, reason: str, remedy: str) -> None:
        self.location, self.action, self.reason = location, action, reason
        super().__init__(f"{location} could not be {action}: {reason}. {remedy}")


class UnsafeStoreError(LakeError):
    """The store ignores conditional writes or locks, so concurrent commits would lose rows."""

    def __init__(
        self, *, location: str, reason: str, remedy: str = "Use one that honours `If-None-Match: *` on PUT."
    ) -> None:
        self.location, self.reason = location, reason
        super().__init__(f"The store at {location} is not safe for a lake: {reason}. {remedy}")


class LakeUnavailableError(LakeError):
    """The lake's server did not answer usefully, after retries."""

    def __init__(self, *, location: str, action: str, reason: str) -> None:
        self.location, self.action, self.reason = location, action, reason
        super().__init__(
            f"The lake at {location} could not {action}: {reason}. Nothing was published. Check the server and run again; a retry never publishes twice."
        )


class TransactionClosedError(LakeError):
    """A transaction was used after it was published, refused or discarded."""

    def __init__(self, *, id: str, action: str) -> None:
        self.id, self.action = id, action
        super().__init__(f"Transaction {id!r} is closed, so it can't {action}. Open another one.")


class FolderWriteError(LakeError):
    """A directory that cannot become a folder in the lake."""

    def __init__(self, *, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path!r} could not be written as a folder: {reason}")


class CollectedCommitError(LakeError):
    """The content of a commit, or of one path of it, was removed by `gc`; its record is still there."""

    def __init__(self, *, commit: str, path: str | None = None) -> None:
        self.commit, self.path = commit, path
        where = f" at {path!r}" if path is not None else ""
        super().__init__(
            f"The content of commit {commit[:12]}{where} was removed by `headwater lake gc`; its log entry and provenance remain. "
            "Tag what must stay readable, or keep more with a longer retention."
        )


class DamagedLakeError(LakeError):
    """The lake lacks something that it names, or holds it changed."""

    def __init__(self, *, what: str, name: str) -> None:
        self.what, self.name = what, name
        super().__init__(
            f"The lake's {what} {name!r} is missing or damaged. Run `headwater lake verify`, and restore it from a copy."
        )
