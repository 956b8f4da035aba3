"""Three-way merge in an embedded lake: what a target's paths become when a source's changes meet it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.lake import _trees
from headwater.lake._core import Core, Side, Staged, record_of
from headwater.lake._files import link
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
from headwater.lake._objects import Content
from headwater.lake._staging import Stager, inodes, logs
from headwater.lake._tables import LOG_FOLDER, delta_commit, local, open_delta, written
from headwater.lake._tally import Tally
from headwater.lake._tree import NodeStore


@dataclass
class Merged:
    """The outcome of a merge.

    Attributes:
        sides: Target paths that change, to their next state.
        conflicts: Paths that both sides changed to something else.
    """

    sides: dict[str, Side] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)


class Merger:
    """Merges changes into a target tree.

    Args:
        core: The lake.
        store: Nodes, old and in the making.
        stager: Where replayed tables are written.
        transaction: Id that replayed Delta commits carry.
        replay_appends: Whether blind appends on both sides are both kept.
    """

    def __init__(
        self, core: Core, store: NodeStore, stager: Stager, *, transaction: str, replay_appends: bool = True
    ) -> None:
        """Remembers the parts."""
        self._replay_appends = replay_appends
        self._core = core
        self._store = store
        self._stager = stager
        self._transaction = transaction

    def merge(self, changes: Mapping[str, Side], *, base: str, target: str) -> Merged:
        """Brings changes made since `base` into `target`, both tree roots."""
        merged = Merged()
        for path, side in sorted(changes.items()):
            sides = Sides(
                path=path,
                base=_trees.record_at(self._store, base, path),
                source=record_of(side),
                target=_trees.record_at(self._store, target, path),
            )
            match judge(sides, both_append=lambda sides=sides, side=side: self._both_append(sides, side)):  # type: ignore[misc]
                case Outcome.TAKE:
                    merged.sides[path] = side
                case Outcome.REPLAY:
                    merged.sides[path] = self._replay(sides, side)
                case Outcome.CONFLICT:
                    merged.conflicts.append(path)
        self._check_new(merged, target)
        return merged

    def _check_new(self, merged: Merged, target: str) -> None:
        added = [path for path, side in merged.sides.items() if side is not None]
        if any(_trees.record_at(self._store, target, path) is None for path in added):
            known = {path for path in _trees.paths(self._store, target) if merged.sides.get(path, True) is not None}
            for path in added:
                _trees.check_no_nesting(path, tuple(known | set(added)))

    def _both_append(self, sides: Sides, side: Side) -> bool:
        if not self._replay_appends:
            return False
        assert sides.base is not None
        assert sides.target is not None
        target = appends_since(
            sides.base, sides.target, base_log=self._log(sides.base), after_log=self._log(sides.target)
        )
        return target is not None and self._added(sides, side) is not None

    def _added(self, sides: Sides, side: Side) -> list[dict[str, Any]] | None:
        assert sides.base is not None
        assert sides.source is not None
        return appends_since(sides.base, sides.source, base_log=self._log(sides.base), after_log=self._log(side))

    def _log(self, side: Side) -> LogReader:
        locate = self._locate(side)

        def read(version: int) -> str | None:
            file = locate(f"{LOG_FOLDER}/{version:020d}.json")
            return file.read_text(encoding="utf-8") if file is not None else None

        return read

    def _locate(self, side: Side) -> Callable[[str], Path | None]:
        contents = self._stager.contents(side)
        if isinstance(side, Staged):
            return lambda name: side.folder / name if name in contents else None
        return lambda name: self._core.objects.path(contents[name].sha256) if name in contents else None

    def _replay(self, sides: Sides, side: Side) -> Staged:
        """The target's table with the source's appended files committed on top, as one Delta commit."""
        actions = self._added(sides, side)
        target = sides.target
        assert actions is not None
        assert target is not None
        old: dict[str, Content] = dict(self._stager.contents(target))
        folder = self._stager.working_copy(logs(old))
        known = inodes(folder)
        source_contents = self._stager.contents(side)
        locate = self._locate(side)
        for action in actions:
            name = data_file(action)
            old[name] = source_contents[name]
            source = locate(name)
            assert source is not None
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            link(source, folder / name)
        known_new = {name: inode for name, inode in inodes(folder).items() if name not in known}
        delta = open_delta(local(folder), path=sides.path)
        rows = added_rows(delta, actions, file_uri=lambda name: str(folder / name), options=None)
        tally = Tally(rows.collect_schema(), column=target.partition_column)
        tally.add(rows.collect())
        delta.create_write_transaction(
            add_actions(actions),
            mode="append",
            schema=delta.schema(),
            partition_by=delta.metadata().partition_columns,
            commit_properties=delta_commit(self._transaction),
        )
        digest, parts = grown(target, tally.total, tally.partitions)
        after = written(
            open_delta(local(folder), path=sides.path),
            path=sides.path,
            transaction=self._transaction,
            column=target.partition_column,
            digest=digest,
            parts=parts,
        )
        staged = self._stager.seal(folder, after, before=target, old=old, known=known | known_new)
        return _with_new_of(staged, side)


def _with_new_of(staged: Staged, side: Side) -> Staged:
    """A replayed table also owes the store the data files that its source had staged."""
    if not isinstance(side, Staged):
        return staged
    needed = set(staged.contents.values())
    return Staged(
        record=staged.record,
        folder=staged.folder,
        contents=staged.contents,
        new=(*staged.new, *(new for new in side.new if new.content in needed)),
    )
