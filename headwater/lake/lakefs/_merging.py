"""Merging into a branch: lakeFS merges what only one side changed, tables changed on both sides are judged here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from headwater.lake._interface import Commit
from headwater.lake._merge import (
    LogReader,
    Outcome,
    Sides,
    add_actions,
    added_rows,
    appends_since,
    data_file,
    grown,
    judge,
)
from headwater.lake._records import Record
from headwater.lake._steps import Step, reached
from headwater.lake._tables import LOG_FOLDER, Tally, delta_commit, open_delta, written
from headwater.lake._trees import check_no_nesting
from headwater.lake.errors import LakeUnavailableError, MergeConflictError
from headwater.lake.lakefs._calls import ServerAnswerError
from headwater.lake.lakefs._manifest import PATHS_KEY, Manifest
from headwater.lake.lakefs._server import DEST_WINS, paths_value
from headwater.lake.lakefs._snapshot import Parts
from headwater.lake.lakefs._staging import Stager
from headwater.lake.lakefs._working import make_equal, scratch
from headwater.names import TRANSACTION_KEY


@dataclass(kw_only=True)
class Plan:
    """What a merge does.

    Attributes:
        changed: Paths that become something else on the target.
        both: Paths that both sides rewrote, and what becomes of each.
        conflicts: Paths that both sides changed to something else.
    """

    changed: list[str] = field(default_factory=list)
    both: dict[str, Outcome] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Merging:
    """One merge to be made.

    Attributes:
        source: The commit to bring in.
        name: What people call it, for errors.
        into: Target branch.
        message: One line.
        metadata: Of the commit on the target; carries the transaction's id.
        since: Head of the target before the first try.
        renew: For a squash merge: makes an equal source that conflicts with a try still under way, so that at most one
            of them lands. None makes a merge commit with two parents, which the server refuses to make twice.
        appends: Whether blind appends of both sides are both kept.
    """

    source: Commit
    name: str
    into: str
    message: str
    metadata: Mapping[str, str]
    since: Commit
    renew: Callable[[], Commit] | None = None
    appends: bool = True

    @property
    def transaction(self) -> str:
        """The id by which a merge whose answer was lost is found again."""
        return self.metadata[TRANSACTION_KEY]


@dataclass(frozen=True, kw_only=True)
class Merged:
    """How a merge ended.

    Attributes:
        commit: The commit on the target, None when it had the content already.
        found: Whether it was found in the log rather than in an answer.
    """

    commit: Commit | None
    found: bool = False


class _UnansweredError(Exception):
    """A merge was asked for and no answer came: it may have been done."""


class Merger:
    """Merges commits into branches.

    Args:
        parts: The lake.
    """

    def __init__(self, parts: Parts) -> None:
        """Remembers the lake."""
        self._parts = parts

    def merge(self, merging: Merging) -> Merged:
        """Brings the source in, exactly once, whatever the server answers.

        Raises:
            MergeConflictError: Both sides changed a path to something else.
            LakeUnavailableError: No try was answered, or the target moved under each.
        """
        reason = f"the branch moved under each of {self._parts.settings.tries} tries"
        for number in range(self._parts.settings.tries):
            if number:
                self._parts.server.call.pause(number)
                if found := self._landed(merging):
                    return Merged(commit=found, found=True)
                if merging.renew is not None:
                    merging = replace(merging, source=merging.renew())
            try:
                return self._try(merging)
            except _UnansweredError as error:
                reason = str(error)
            except ServerAnswerError as error:
                if error.status != HTTPStatus.CONFLICT:
                    raise
        if found := self._landed(merging):
            return Merged(commit=found, found=True)
        raise LakeUnavailableError(
            location=self._parts.settings.location, action=f"merge into {merging.into}", reason=reason
        )

    def _try(self, merging: Merging) -> Merged:
        head = self._parts.history.head(merging.into)
        plan = self.plan(merging, head)
        reached(Step.MERGED)
        if plan.conflicts:
            if found := self._landed(merging):
                return Merged(commit=found, found=True)
            raise MergeConflictError(source=merging.name, into=merging.into, paths=plan.conflicts)
        if not plan.changed:  # equal to what stands there, perhaps because another try of this transaction put it there
            found = self._landed(merging)
            return Merged(commit=found, found=found is not None)
        metadata = {**merging.metadata, PATHS_KEY: paths_value(plan.changed)}
        if not plan.both:
            return self._carry_out(merging, merging.source.id, metadata)
        with scratch(self._parts.server, source=head.id) as branch:
            ready = self._reconcile(merging, plan, head, branch, metadata)
            reached(Step.OBJECTS_LINKED)
            return self._carry_out(merging, ready, metadata)

    def _carry_out(self, merging: Merging, source: str, metadata: Mapping[str, str]) -> Merged:
        try:
            id = self._parts.server.merge(
                source, merging.into, message=merging.message, metadata=metadata, squash=merging.renew is not None
            )
        except LakeUnavailableError as error:
            raise _UnansweredError(error.reason) from error
        except ServerAnswerError as error:
            found = self._landed(merging) if error.status == HTTPStatus.BAD_REQUEST else None
            if found is None:
                raise
            return Merged(commit=found, found=True)
        reached(Step.COMMITTED)
        return Merged(commit=self._parts.history.commit(id))

    def _landed(self, merging: Merging) -> Commit | None:
        """The commit that an earlier try made, or another process with the same transaction."""
        for commit in self._parts.history.first_parents(self._parts.history.head(merging.into)):
            if commit.id == merging.since.id:
                return None
            if commit.metadata.get(TRANSACTION_KEY) == merging.transaction:
                return commit
        return None

    def plan(self, merging: Merging, head: Commit) -> Plan:
        """What a merge does to a branch at `head`."""
        history, source = self._parts.history, merging.source
        base = history.commit(self._parts.server.merge_base(head.id, source.id))
        before, ours, theirs = history.tree(base.id), history.tree(head.id), history.tree(source.id)
        plan = Plan()
        for path in sorted(before.keys() | theirs.keys()):
            if before.get(path) == theirs.get(path):
                continue
            outcome = self._judge(path, base, source, head, appends=merging.appends)
            if outcome is Outcome.CONFLICT:
                plan.conflicts.append(path)
                continue
            if outcome is not Outcome.KEEP:
                plan.changed.append(path)
            if before.get(path) != ours.get(path):
                plan.both[path] = outcome
        kept = tuple(path for path in ours if path in theirs or path not in before)
        for path in plan.changed:
            if path in theirs and path not in ours:
                check_no_nesting(path, kept)
        return plan

    def _judge(self, path: str, base: Commit, source: Commit, head: Commit, *, appends: bool) -> Outcome:
        sides = Sides(
            path=path,
            base=self._record(base, path),
            source=self._record(source, path),
            target=self._record(head, path),
        )
        return judge(
            sides,
            both_append=lambda: (
                appends and self._added(path, base, head) is not None and self._added(path, base, source) is not None
            ),
        )

    def _record(self, commit: Commit, path: str) -> Record | None:
        found = self._parts.history.manifest(commit.id, path)
        return found.record if found is not None else None

    def _reconcile(self, merging: Merging, plan: Plan, head: Commit, branch: str, metadata: Mapping[str, str]) -> str:
        """A commit on a scratch branch that holds the merged state; returns its id."""
        server, source = self._parts.server, merging.source
        note = {TRANSACTION_KEY: f"{merging.transaction}/merge"}
        server.merge(source.id, branch, message=merging.message, metadata=note, strategy=DEST_WINS)
        stager = Stager(self._parts, branch=branch, transaction=merging.transaction)
        base = self._parts.history.commit(server.merge_base(head.id, source.id))
        for path, outcome in plan.both.items():
            match outcome:
                case Outcome.TAKE:
                    make_equal(self._parts, branch, path, wanted=source.id)
                case Outcome.KEEP:
                    make_equal(self._parts, branch, path, wanted=head.id)
                case Outcome.REPLAY:
                    self._replay(stager, branch, path, base=base, source=source, head=head)
        if next(server.staged(branch), None) is not None:
            server.commit(branch, message=merging.message, metadata=metadata)
        ready = server.branch_head(branch)
        assert ready is not None
        return ready

    def _log(self, ref: str, path: str) -> LogReader:
        def read(version: int) -> str | None:
            data = self._parts.objects.get(ref, f"{path}/{LOG_FOLDER}/{version:020d}.json")
            return data.decode() if data is not None else None

        return read

    def _added(self, path: str, base: Commit, after: Commit) -> Sequence[dict[str, Any]] | None:
        before, then = self._manifest(base, path), self._manifest(after, path)
        return appends_since(
            before.record, then.record, base_log=self._log(base.id, path), after_log=self._log(after.id, path)
        )

    def _manifest(self, commit: Commit, path: str) -> Manifest:
        found = self._parts.history.manifest(commit.id, path)
        assert found is not None
        return found

    def _replay(self, stager: Stager, branch: str, path: str, *, base: Commit, source: Commit, head: Commit) -> None:
        """The target's table with the source's appended files committed on top, as one Delta commit."""
        actions, target = self._added(path, base, source), self._manifest(head, path).record
        assert actions is not None
        make_equal(self._parts, branch, path, wanted=head.id, spare=frozenset(data_file(action) for action in actions))
        location, column = self._parts.table(branch, path), target.partition_column
        with self._parts.server.call.tables(f"replay appends to {path}"):
            delta = open_delta(location, path=path)
            origin = self._parts.table(source.id, path)
            rows = added_rows(delta, actions, file_uri=lambda name: f"{origin.uri}/{name}", options=origin.options)
            tally = Tally(rows.collect_schema(), column=column)
            tally.add(rows.collect())
            delta.create_write_transaction(
                add_actions(actions),
                mode="append",
                schema=delta.schema(),
                partition_by=delta.metadata().partition_columns,
                commit_properties=delta_commit(stager.transaction),
            )
            digest, parts = grown(target, tally.total, tally.partitions)
            after = written(
                open_delta(location, path=path),
                path=path,
                transaction=stager.transaction,
                column=column,
                digest=digest,
                parts=parts,
            )
        stager.keep(path, after.live)
        stager.finish(path, Manifest(record=after.record, attempt=stager.attempt))
