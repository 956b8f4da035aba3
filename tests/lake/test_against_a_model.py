"""Random work on a lake, compared step by step with the obvious model: a dictionary for each commit."""

import random
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from headwater.lake import EmbeddedLake, Lake, WriteMode
from headwater.lake.errors import MergeConflictError
from headwater.names import MAIN

PATHS = ("shop/a", "shop/b", "other/c")
State = dict[str, tuple[int, ...]]


@dataclass
class Model:
    """What the lake should hold: the rows of each path at each branch, and at each commit made so far."""

    branches: dict[str, State] = field(default_factory=lambda: {MAIN: {}})
    commits: dict[str, State] = field(default_factory=dict)


def _state(lake: Lake, ref: str) -> State:
    snapshot = lake.at(ref)
    return {path: tuple(sorted(snapshot.table(path).collect().get_column("id").to_list())) for path in snapshot.paths()}


class Worker:
    """Does one random thing at a time to a lake and to its model."""

    def __init__(self, location: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.location = location
        self.lake = EmbeddedLake.open(location)
        self.model = Model()

    def _rows(self) -> list[int]:
        return [self.chance.randrange(4) for _ in range(self.chance.randrange(1, 4))]

    def write(self) -> None:
        """A transaction over one or two paths, published, refused or dropped."""
        branch = self.chance.choice(list(self.model.branches))
        state = dict(self.model.branches[branch])
        with self.lake.transaction(into=branch) as tx:
            for path in self.chance.sample(PATHS, self.chance.choice([1, 2])):
                rows, append = self._rows(), self.chance.random() < 0.5
                if path in state and self.chance.random() < 0.15:
                    tx.remove(path)
                    del state[path]
                    continue
                mode = WriteMode.APPEND if append else WriteMode.OVERWRITE
                tx.write_table(path, pl.DataFrame({"id": rows}), mode=mode)
                state[path] = tuple(sorted([*(state.get(path, ()) if append else ()), *rows]))
            end = self.chance.choice(["publish", "publish", "publish", "refuse", "discard"])
            if end == "refuse":
                commit = tx.refuse(message="Refuse", provenance=None)
                self.model.commits[commit.id] = state
                self.model.branches[tx.branch] = state
            elif end == "publish":
                done = tx.publish(message="Publish", provenance=None)
                assert done.changed == (state != self.model.branches[branch])
                self.model.branches[branch] = state
                self.model.commits[done.commit.id] = state

    def branch(self) -> None:
        """A new branch, or the end of one."""
        names = [name for name in self.model.branches if name != MAIN]
        if names and self.chance.random() < 0.4:
            name = self.chance.choice(names)
            self.lake.delete_branch(name)
            del self.model.branches[name]
            return
        source = self.chance.choice(list(self.model.branches))
        name = f"branch-{self.chance.randrange(10**9)}"
        self.lake.create_branch(name, at=source)
        self.model.branches[name] = dict(self.model.branches[source])

    def merge(self) -> None:
        """A merge whose outcome the model works out path by path, or a conflict that changes nothing."""
        source, into = (self.chance.choice(list(self.model.branches)) for _ in range(2))
        base = _state(self.lake, self.lake.diff(into, source).base)
        ours, theirs = self.model.branches[into], self.model.branches[source]
        both = [path for path in PATHS if base.get(path) != theirs.get(path) and base.get(path) != ours.get(path)]
        if conflicts := self._conflicts(source, into):
            assert conflicts <= set(both)
            return
        after = _state(self.lake, into)
        for path in PATHS:
            if path not in both:
                wanted = ours.get(path) if base.get(path) == theirs.get(path) else theirs.get(path)
                assert after.get(path) == wanted
            elif ours.get(path) != theirs.get(path) or after.get(path) != ours.get(path):
                added = [list(side[path]) for side in (ours, theirs)]
                for row in base[path]:
                    added[1].remove(row)
                assert after[path] == tuple(sorted([*added[0], *added[1]]))
        self.model.branches[into] = after
        self.model.commits[self.lake.resolve(into).id] = after

    def _conflicts(self, source: str, into: str) -> set[str]:
        try:
            self.lake.merge(source, into=into, message="Merge")
        except MergeConflictError as error:
            return set(error.paths)
        return set()

    def revert(self) -> None:
        """The undoing of a random commit of main, or a conflict that changes nothing."""
        commits = [commit for commit in self.lake.log(limit=4) if commit.parents]
        if not commits:
            return
        undone = self.chance.choice(commits)
        before, after = (_state(self.lake, ref) for ref in (f"{undone.id}~1", undone.id))
        now = self.model.branches[MAIN]
        touched = [path for path in PATHS if before.get(path) != after.get(path)]
        conflict = any(now.get(path) not in (before.get(path), after.get(path)) for path in touched)
        if conflict:
            with pytest.raises(MergeConflictError):
                self.lake.revert(undone.id)
            return
        self.lake.revert(undone.id)
        wanted = {path: rows for path in PATHS if (rows := (before if path in touched else now).get(path)) is not None}
        self.model.branches[MAIN] = wanted
        self.model.commits[self.lake.resolve(MAIN).id] = wanted

    def reopen(self) -> None:
        """Another process takes over."""
        self.lake.close()
        self.lake = EmbeddedLake.open(self.location, create=False)

    def collect(self) -> None:
        """Collection of what no branch reaches; the model forgets the same."""
        self.lake.gc(grace=timedelta(0))
        reached = {commit.id for name in self.model.branches for commit in self.lake.log(name)}
        self.model.commits = {id: state for id, state in self.model.commits.items() if id in reached}

    def check(self) -> None:
        """Every branch and every commit still holds what the model says."""
        for name, state in self.model.branches.items():
            assert _state(self.lake, name) == state
        for id in self.chance.sample(sorted(self.model.commits), min(3, len(self.model.commits))):
            assert _state(self.lake, id) == self.model.commits[id]


def _work(location: Path, *, seed: int, steps: int) -> None:
    worker = Worker(location, seed)
    choices = [worker.write] * 6 + [worker.branch, worker.branch, worker.merge, worker.merge, worker.revert]
    choices += [worker.reopen, worker.collect]
    for _ in range(steps):
        worker.chance.choice(choices)()
        worker.check()
    result = worker.lake.verify(deep=True)
    assert result.findings == ()


@pytest.mark.parametrize("seed", range(2))
def test_random_work_agrees_with_the_model(tmp_path: Path, seed: int) -> None:
    _work(tmp_path / "lake", seed=seed, steps=30)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(100, 130))
def test_long_random_work_agrees_with_the_model(tmp_path: Path, seed: int) -> None:
    _work(tmp_path / "lake", seed=seed, steps=120)
