"""Merging one branch into another, and undoing a commit."""

import secrets
from datetime import UTC, datetime

from headwater.lake._interface import Commit, Published
from headwater.lake._merge import Outcome, Sides, judge
from headwater.lake._records import Record
from headwater.lake.errors import MergeConflictError, RevertConflictError
from headwater.lake.lakefs._manifest import PATHS_KEY, marker_of
from headwater.lake.lakefs._merging import Merger, Merging
from headwater.lake.lakefs._server import paths_value
from headwater.lake.lakefs._snapshot import Parts
from headwater.lake.lakefs._working import make_equal, scratch
from headwater.names import TRANSACTION_KEY, check_ref
from headwater.provenance import Output, Provenance


def merge(parts: Parts, source: str, *, into: str, message: str, provenance: Provenance | None) -> Published:
    """What `source` changed since it parted from `into`, as one merge commit on `into`. Raises MergeConflictError."""
    head, theirs = parts.history.head(check_ref(into)), parts.history.resolve(source)
    if provenance is not None and (earlier := _published(parts, provenance.transaction, head)):
        return Published(commit=earlier, changed=False, replayed=True)
    metadata = provenance.to_metadata() if provenance else {TRANSACTION_KEY: secrets.token_hex(16)}
    merging = Merging(source=theirs, name=source, into=into, message=message, metadata=metadata, since=head)
    merged = Merger(parts).merge(merging)
    return Published(commit=merged.commit or parts.history.head(into), changed=merged.commit is not None)


def _published(parts: Parts, transaction: str, head: Commit) -> Commit | None:
    """The commit on a branch that an earlier try of a merge made: merge commits carry no marker, their log tells."""
    for commit in parts.history.first_parents(head):
        if commit.metadata.get(TRANSACTION_KEY) == transaction:
            return commit
    return None


def revert(parts: Parts, commit: str, *, into: str, message: str | None, actor: str) -> Published:
    """A commit on `into` that undoes `commit`. Raises RevertConflictError when a later one changed its paths again."""
    id, started = secrets.token_hex(16), datetime.now(UTC).isoformat()
    head, undone = parts.history.head(check_ref(into)), parts.history.resolve(commit)
    before = parts.history.resolve(f"{undone.id}~1")
    paths = _undone(parts, undone, before, head, into=into)
    if not paths:
        return Published(commit=head, changed=False)
    provenance = Provenance(
        transaction=id,
        action="revert",
        outputs=tuple(output for path in paths if (output := _output(parts, before, path)) is not None),
        input_commit=head.id,
        started=started,
        actor=actor,
    )
    text = message or f"Revert {undone.id[:12]}: {undone.message}"
    metadata = {**provenance.to_metadata(), PATHS_KEY: paths_value(paths)}
    with scratch(parts.server, source=head.id) as branch:
        for path in paths:
            make_equal(parts, branch, path, wanted=before.id)

        def mark() -> Commit:
            parts.objects.put(branch, marker_of(id), f"{id}\n{secrets.token_hex(8)}\n".encode())
            return parts.server.commit(branch, message=text, metadata=metadata)

        merging = Merging(
            source=mark(),
            name=f"the undoing of {undone.id[:12]}",
            into=into,
            message=text,
            metadata=metadata,
            since=head,
            renew=mark,
            appends=False,
        )
        try:
            merged = Merger(parts).merge(merging)
        except MergeConflictError as conflict:
            raise RevertConflictError(commit=undone.id, into=into, paths=conflict.paths) from None
    return Published(commit=merged.commit or parts.history.head(into), changed=merged.commit is not None)


def _undone(parts: Parts, undone: Commit, before: Commit, head: Commit, *, into: str) -> list[str]:
    """Paths to put back."""
    history = parts.history
    then, now = history.tree(before.id), history.tree(undone.id)
    changed, conflicts = [], []
    for path in sorted(then.keys() | now.keys()):
        if then.get(path) == now.get(path):
            continue
        sides = Sides(
            path=path,
            base=_record(parts, undone, path),
            source=_record(parts, before, path),
            target=_record(parts, head, path),
        )
        outcome = judge(sides, both_append=lambda: False)
        if outcome is Outcome.TAKE:
            changed.append(path)
        elif outcome is Outcome.CONFLICT:
            conflicts.append(path)
    if conflicts:
        raise RevertConflictError(commit=undone.id, into=into, paths=conflicts)
    return changed


def _record(parts: Parts, commit: Commit, path: str) -> Record | None:
    found = parts.history.manifest(commit.id, path)
    return found.record if found is not None else None


def _output(parts: Parts, commit: Commit, path: str) -> Output | None:
    record = _record(parts, commit, path)
    if record is None:
        return None
    entry = record.entry
    return Output(path=path, kind=entry.kind.value, data_version=entry.data_version, rows=entry.rows, bytes=entry.bytes)
