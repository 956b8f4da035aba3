"""Merging one branch into another, and undoing a commit: both are three-way merges that make one commit."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from headwater.lake import _trees
from headwater.lake._catalog import NodeBuffer
from headwater.lake._commits import CommitRow
from headwater.lake._core import Change, Core, Side, record_of
from headwater.lake._history import merge_base, resolve, stored
from headwater.lake._interface import Published
from headwater.lake._layout import Workspace, workspace
from headwater.lake._merging import Merged, Merger
from headwater.lake._records import Record
from headwater.lake._staging import Stager
from headwater.lake._storage import storage_errors
from headwater.lake._views import View
from headwater.lake.errors import CollectedCommitError, MergeConflictError, RevertConflictError
from headwater.names import TRANSACTION_KEY, check_ref
from headwater.provenance import Output, Provenance


def merge(core: Core, source: str, *, into: str, message: str, provenance: Provenance | None) -> Published:
    """What `source` changed since it parted from `into`, as one commit on `into`. Raises MergeConflictError."""
    id = provenance.transaction if provenance else secrets.token_hex(16)
    with storage_errors(core.layout.location, "merged"), core.branch_lock(check_ref(into)), core.storing():
        head, theirs = core.head(into), resolve(core.catalog, source)
        if provenance and (earlier := core.catalog.publication(id, into)):
            return Published(commit=stored(core.catalog, earlier).commit, changed=False, replayed=True)
        base = merge_base(core.catalog, head, theirs)
        metadata = provenance.to_metadata() if provenance else {TRANSACTION_KEY: id}
        with workspace(core.layout) as space:
            buffer = NodeBuffer(core.catalog)
            merged = _merged(core, buffer, space, base=base, source=theirs, target=head, id=id, appends=True)
            if merged.conflicts:
                raise MergeConflictError(source=source, into=into, paths=merged.conflicts)
            if not merged.sides:
                return Published(commit=head.commit, changed=False)
            change = Change(
                branch=into,
                parents=(head, theirs),
                sides=merged.sides,
                message=message,
                metadata=metadata,
                publication=id,
            )
            return _publish(core, change, buffer, space)


def revert(core: Core, commit: str, *, into: str, message: str | None, actor: str) -> Published:
    """A commit on `into` that undoes `commit`. Raises RevertConflictError when a later one changed its paths again."""
    id = secrets.token_hex(16)
    started = datetime.now(UTC).isoformat()
    with storage_errors(core.layout.location, "reverted"), core.branch_lock(check_ref(into)), core.storing():
        head, undone = core.head(into), resolve(core.catalog, commit)
        before = resolve(core.catalog, f"{undone.id}~1")
        with workspace(core.layout) as space:
            buffer = NodeBuffer(core.catalog)
            merged = _merged(core, buffer, space, base=undone, source=before, target=head, id=id, appends=False)
            if merged.conflicts:
                raise RevertConflictError(commit=undone.id, into=into, paths=merged.conflicts)
            if not merged.sides:
                return Published(commit=head.commit, changed=False)
            provenance = Provenance(
                transaction=id,
                action="revert",
                outputs=_outputs(merged.sides),
                input_commit=head.id,
                started=started,
                actor=actor,
            )
            change = Change(
                branch=into,
                parents=(head,),
                sides=merged.sides,
                message=message or f"Revert {undone.id[:12]}: {undone.message}",
                metadata=provenance.to_metadata(),
                publication=id,
            )
            return _publish(core, change, buffer, space)


def _merged(
    core: Core,
    buffer: NodeBuffer,
    space: Workspace,
    *,
    base: CommitRow,
    source: CommitRow,
    target: CommitRow,
    id: str,
    appends: bool,
) -> Merged:
    for row in (base, source, target):
        if row.collected:
            raise CollectedCommitError(commit=row.id)
    changes: dict[str, Record | None] = {}
    for path, before, after in _trees.changed(core.catalog, base.tree, source.tree):
        for row, record in ((base, before), (source, after)):
            if record is not None and core.catalog.is_collected(record.files):
                raise CollectedCommitError(commit=row.id, path=path)
        changes[path] = after
    merger = Merger(core, buffer, Stager(core, buffer, space), transaction=id, replay_appends=appends)
    return merger.merge(changes, base=base.tree, target=target.tree)


def _publish(core: Core, change: Change, buffer: NodeBuffer, space: Workspace) -> Published:
    row = core.commit(change, buffer=buffer, space=space)
    View(core, change.branch).follow(row, space=space)
    return Published(commit=row.commit, changed=True)


def _outputs(sides: Mapping[str, Side]) -> tuple[Output, ...]:
    records = [record for side in sides.values() if (record := record_of(side)) is not None]
    return tuple(
        Output(
            path=record.entry.path,
            kind=record.entry.kind.value,
            data_version=record.entry.data_version,
            rows=record.entry.rows,
            bytes=record.entry.bytes,
        )
        for record in records
    )
